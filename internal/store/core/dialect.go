package core

import "strings"

// Dialect holds what the databases cannot say alike. A statement takes the
// difference from here; no rule asks which database it runs on.
type Dialect struct {
	// InList tests whether the column before it is in a list of integers or
	// texts; @ stands for the parameter. See [Dialect.In].
	InList string
	// EachOf makes a table, o, of a list: its columns are key, which grows
	// with the place in the list, and value. @ stands for the parameter, and #
	// for PostgreSQL's type of an element. See [Dialect.Each].
	EachOf string
	// Lock follows a SELECT whose rows must stay as they are until the end of
	// the transaction; SkipLocked also leaves out rows that another
	// transaction holds. SQLite has one writer and needs neither.
	Lock, SkipLocked string
}

// In returns the test that a column is in the list param: "id " + d.In("$1").
func (d *Dialect) In(param string) string {
	return strings.ReplaceAll(d.InList, "@", param)
}

// Each returns the table o (key, value) of the list param, for FROM. typ is
// PostgreSQL's type of an element, such as "bigint".
func (d *Dialect) Each(param, typ string) string {
	return strings.NewReplacer("@", param, "#", typ).Replace(d.EachOf)
}
