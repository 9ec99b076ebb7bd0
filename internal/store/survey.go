package store

import "time"

// Survey is what can be known of a database without opening it as a store.
type Survey struct {
	// Made is false when there is no store yet: the first start makes it.
	Made bool
	// Schema is the version of the schema, and Program the one that this program needs.
	Schema, Program int
	// Newest is the time in the id of the newest event; zero when there is none.
	Newest time.Time
	// Ahead is how far the clock of this machine is ahead of the database's.
	Ahead time.Duration
	// Server is the database server; nil for a data directory.
	Server *ServerSurvey
}

// ServerSurvey is what PostgreSQL says of itself.
type ServerSurvey struct {
	// Version is its number, such as 150004 for 15.4.
	Version int
	// Settings has "on" or another value for fsync, full_page_writes, synchronous_commit
	// and autovacuum.
	Settings map[string]string
	// Connections is how many the user of callbackd may open, besides those that other
	// programs have.
	Connections int
}
