package callbacks

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Limits of a [Trial].
const (
	TrialEvents  = 100 // fewer when their data has more than store.MaxPageData
	TrialTimeout = 5 * time.Second
)

// Trial shows what a filter and a choice of fields would do, by events that a key has had.
type Trial struct {
	Filter *callbackd.Filter   // nil for none
	Fields *callbackd.Fields   // nil for all
	Type   callbackd.EventType // "" for all types
	// Session is the session whose events are tried; "" for all.
	Session string
}

// Tried is one event of a trial.
type Tried struct {
	*callbackd.Event
	Matches bool
	Failed  string // the term of the filter that did not hold
	Sent    []byte // the data with the chosen fields
}

// TrialStore has the methods of the store that a trial needs.
type TrialStore interface {
	ListEvents(ctx context.Context, q store.EventQuery) (store.EventPage, error)
	Session(ctx context.Context, key callbackd.KeyID, sessionKey string) (*callbackd.Session, error)
}

// Run judges the newest events of a key, newest first, without tests. Sessions are as
// they are now: what they were when an event was accepted is not stored.
func (t *Trial) Run(ctx context.Context, from TrialStore, key callbackd.KeyID) ([]Tried, error) {
	ctx, cancel := context.WithTimeout(ctx, TrialTimeout)
	defer cancel()
	page, err := from.ListEvents(ctx, store.EventQuery{Key: key, Type: t.Type, Session: t.Session, Limit: TrialEvents})
	if err != nil {
		return nil, err
	}
	sessions := map[string]*callbackd.Session{}
	out := []Tried{}
	for _, ev := range page.Events {
		if ev.Test {
			continue
		}
		one := Tried{Event: ev, Matches: true, Sent: t.Fields.Of(ev.Data)}
		if t.Filter != nil {
			s, err := t.session(ctx, from, ev, sessions)
			if err != nil {
				return nil, err
			}
			one.Failed, one.Matches = t.Filter.Match(&callbackd.FilterInput{Data: ev.Data, Session: s})
		}
		out = append(out, one)
	}
	return out, nil
}

// session reads the session of an event once, and only when the filter uses it.
func (t *Trial) session(ctx context.Context, from TrialStore, ev *callbackd.Event, known map[string]*callbackd.Session) (*callbackd.Session, error) {
	if !t.Filter.UsesSession() {
		return nil, nil
	}
	s, ok := known[ev.Session]
	if ok {
		return s, nil
	}
	s, err := from.Session(ctx, ev.Key, ev.Session)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		s, err = nil, nil
	}
	known[ev.Session] = s
	return s, err
}

// Matching returns how many of the events match.
func Matching(tried []Tried) (n int) {
	for i := range tried {
		if tried[i].Matches {
			n++
		}
	}
	return n
}
