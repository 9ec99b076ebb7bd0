// Package session changes inspection sessions. It runs the domain's rules in the
// store's transactions and makes the data of the events that they fire.
package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// Rule changes a session and returns the events that the change fires.
type Rule func(*callbackd.Session) ([]callbackd.Fired, error)

// Change applies a rule to a stored session. The change and its events are stored in
// one transaction.
func Change(ctx context.Context, st store.Sessions, key callbackd.KeyID, sessionKey string, now time.Time, rule Rule) (*callbackd.Session, []*callbackd.Event, error) {
	return ChangeByHand(ctx, st, key, sessionKey, now, "", rule)
}

// ChangeByHand is Change for a person, whose action the audit log has.
func ChangeByHand(ctx context.Context, st store.Sessions, key callbackd.KeyID, sessionKey string, now time.Time, action callbackd.AuditAction, rule Rule) (*callbackd.Session, []*callbackd.Event, error) {
	return st.ChangeSession(ctx, key, sessionKey, now, func(s *callbackd.Session) (c store.SessionChange, err error) {
		fired, err := rule(s)
		if err != nil {
			return c, err
		}
		c, err = changeOf(s, fired)
		c.Action = action
		return c, err
	})
}

// Create stores a new session, with a callback of its own unless given is nil, and the
// events that its creation fires, in one transaction. It returns the number of events. link leads to the session's capture
// pages.
func Create(ctx context.Context, st store.Sessions, s *callbackd.Session, given *callbackd.Callback, link string) (fired int, err error) {
	c, err := changeOf(s, s.Created(link))
	if err != nil {
		return 0, err
	}
	return len(c.Events), st.CreateSession(ctx, s, given, c.Events...)
}

// changeOf returns the change of a session that fired these events, with their data.
func changeOf(s *callbackd.Session, fired []callbackd.Fired) (c store.SessionChange, err error) {
	c.Events = make([]store.NewEvent, len(fired))
	for i := range fired {
		c.Events[i].Type = fired[i].Type
		if c.Events[i].Data, err = Data(s, &fired[i]); err != nil {
			return c, err
		}
		if len(c.Events[i].Data) > callbackd.MaxEventData {
			return c, callbackd.Errorf(callbackd.KindTooLarge, "The data of %s would be larger than %s bytes. Put smaller results.", fired[i].Type, humanize.Number(callbackd.MaxEventData))
		}
		if fired[i].Type == callbackd.NoteInsert {
			c.Notes = append(c.Notes, fired[i].Note)
		}
	}
	return c, nil
}

// Data returns the data of an event that s fired.
func Data(s *callbackd.Session, f *callbackd.Fired) ([]byte, error) {
	switch f.Type {
	case callbackd.StatusChange:
		return marshal(wire.StatusChange{Status: string(f.To), Timestamp: wire.Timestamp(s.UpdatedAt), PreviousStatus: string(f.From), Reason: f.Reason})
	case callbackd.StageChange:
		step, _ := callbackd.StepOf(f.Photo.Code)
		return marshal(wire.StageChange{PhotoURL: f.Photo.URL, PhotoStatus: f.Photo.Verdict(), Message: f.Photo.Typed, PhotoCode: step.Code, PhotoLabel: step.Label})
	case callbackd.NoteInsert:
		return marshal(wire.NoteInsert{Note: view.Note(f.Note)})
	case callbackd.SMSProcess:
		return marshal(wire.SMSProcess{Phone: f.SMS.Phone, Status: string(f.SMS.State), Message: f.SMS.Message})
	case callbackd.SMSRequested:
		return marshal(wire.SMSRequested{Phone: f.Request.Phone, Name: view.OrNull(f.Request.Name), Link: view.OrNull(f.Request.Link)})
	case callbackd.Complete:
		members, err := completed(s)
		return object(members), err
	}
	return nil, errors.New("session: an event of an unknown type was fired")
}

// marshal writes JSON without escaping HTML and without a line break at the end.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Now returns the current time as sessions store it.
func Now() time.Time { return Time(time.Now()) }

// Time returns t as sessions store it: in UTC and in whole milliseconds.
func Time(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// New returns a new session of a key.
func New(key *callbackd.Key, now time.Time) *callbackd.Session {
	return &callbackd.Session{
		Key: key.ID, SessionKey: callbackd.NewSessionKey(key.Account), Status: callbackd.StatusIdle, Theme: callbackd.DefaultTheme,
		Language: callbackd.DefaultLanguage, SourceType: callbackd.DefaultSource, CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(key.SessionTimeFrame()),
	}
}

// advanceAtOnce is how many due sessions are changed at the same time, so that they
// share commits.
const advanceAtOnce = 64

// Advance makes the changes of sessions that are due: sessions expire, and references
// are removed. It returns the number of fired events, and when the next change is due;
// zero when there is none. A session that another node advances too is changed once.
func Advance(ctx context.Context, st store.Sessions, now time.Time) (fired int, next time.Time, err error) {
	due, next, err := st.DueSessions(ctx, now, advanceAtOnce)
	if err != nil {
		return 0, next, err
	}
	events, errs := make([]int, len(due)), make([]error, len(due))
	var wg sync.WaitGroup
	for i, id := range due {
		wg.Go(func() {
			_, evs, err := st.ChangeSession(ctx, id.Key, id.SessionKey, now, func(s *callbackd.Session) (store.SessionChange, error) {
				fired, changed := s.Advance(now)
				if !changed {
					return store.SessionChange{Unchanged: true}, nil
				}
				return changeOf(s, fired)
			})
			if events[i] = len(evs); callbackd.KindOf(err) != callbackd.KindNotFound { // deleted meanwhile
				errs[i] = err
			}
		})
	}
	wg.Wait()
	for _, n := range events {
		fired += n
	}
	return fired, next, errors.Join(errs...)
}
