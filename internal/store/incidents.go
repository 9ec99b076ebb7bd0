package store

import (
	"context"
	"time"

	"callbackd"
)

// Incidents stores incidents and finds what may be one. Their rules are those of
// [callbackd.Incident].
type Incidents interface {
	// Unwell returns the callbacks in force, of keys that are not revoked, that fail or are
	// paused.
	Unwell(ctx context.Context) ([]Unwell, error)
	// Look returns what else may be wrong with callbacks in force. It reads all pending
	// deliveries, and the policies of all callbacks.
	Look(ctx context.Context, at, certBefore time.Time) (Seen, error)
	// OpenIncident opens an incident as [callbackd.OpenIncident] says. When its subject has
	// an open one already, it changes that as [callbackd.Incident.See] says.
	OpenIncident(ctx context.Context, c *callbackd.Condition, at time.Time) (*callbackd.Incident, error)
	// ChangeIncident runs change on an incident of the key, or of any key with AllKeys, and
	// stores the result, in one transaction. change may run more than once. Its error is
	// returned, and nothing is written. ChangeIncident fails with NotFound when there is no
	// such incident.
	ChangeIncident(ctx context.Context, key callbackd.KeyID, id callbackd.IncidentID, change func(*callbackd.Incident) error) (*callbackd.Incident, error)
	// Incident returns one incident of the key, or of any key with AllKeys.
	Incident(ctx context.Context, key callbackd.KeyID, id callbackd.IncidentID) (*callbackd.Incident, error)
	// ListIncidents returns incidents, newest first.
	ListIncidents(ctx context.Context, q IncidentQuery) (IncidentPage, error)
}

// Unwell is a callback that fails or is paused.
type Unwell struct {
	ID           callbackd.CallbackID
	FailingSince time.Time
	Pause        callbackd.Pause
}

// Seen is what Look found.
type Seen struct {
	Backlogs     []callbackd.CallbackBacklog        // of callbacks with pending deliveries
	Certificates map[callbackd.CallbackID]time.Time // when the receiver's certificate ends, if that is before a time
	Expecting    []callbackd.CallbackID             // whose policy has an expect
}

// IncidentQuery chooses incidents.
type IncidentQuery struct {
	Key    callbackd.KeyID // AllKeys is possible, and has those of the whole server
	Open   bool            // only those that are open
	Untold bool            // only those of which a channel was not told yet
	After  callbackd.IncidentID
	Limit  int // 1 to MaxPage
}

// IncidentPage is one page. Next is 0 at the end.
type IncidentPage struct {
	Incidents []callbackd.Incident
	Next      callbackd.IncidentID
}
