// Package session keeps inspection sessions: it runs the domain's rules in
// the store's transactions and gives the events they fire their data.
package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
	"callbackd/wire"
)

// Rule is a change of a session by the domain's rules.
type Rule func(*callbackd.Session) ([]callbackd.Fired, error)

// Change applies a rule to a stored session: the change and the events it
// fires are one transaction.
func Change(ctx context.Context, st store.Sessions, key callbackd.KeyNo, sessionKey string, now time.Time, rule Rule) (*callbackd.Session, []*callbackd.Event, error) {
	return st.ChangeSession(ctx, key, sessionKey, now, func(s *callbackd.Session) (c store.SessionChange, err error) {
		fired, err := rule(s)
		if err != nil {
			return c, err
		}
		return changeOf(s, fired)
	})
}

// changeOf gives what was fired its words.
func changeOf(s *callbackd.Session, fired []callbackd.Fired) (c store.SessionChange, err error) {
	c.Events = make([]store.NewEvent, len(fired))
	for i := range fired {
		c.Events[i].Type = fired[i].Type
		if c.Events[i].Data, err = Data(s, &fired[i]); err != nil {
			return c, err
		}
		if len(c.Events[i].Data) > callbackd.MaxEventData {
			return c, callbackd.Errorf(callbackd.KindTooLarge, "The data of %s would be larger than %d bytes; put smaller results.", fired[i].Type, callbackd.MaxEventData)
		}
		if fired[i].Type == callbackd.NoteInsert {
			c.Notes = append(c.Notes, fired[i].Note)
		}
	}
	return c, nil
}

// Data is the data of an event that s fired.
func Data(s *callbackd.Session, f *callbackd.Fired) ([]byte, error) {
	switch f.Type {
	case callbackd.StatusChange:
		return marshal(wire.StatusChange{Status: string(f.To), PreviousStatus: string(f.From), Reason: f.Reason})
	case callbackd.StageChange:
		step, _ := callbackd.StepOf(f.Photo.Code)
		return marshal(wire.StageChange{PhotoURL: f.Photo.URL, PhotoStatus: f.Photo.Verdict(), Message: f.Photo.Typed, PhotoCode: step.Code, PhotoLabel: step.Label})
	case callbackd.NoteInsert:
		return marshal(wire.NoteInsert{Note: ShowNote(f.Note)})
	case callbackd.SMSProcess:
		return marshal(wire.SMSProcess{Phone: f.SMS.Phone, Status: string(f.SMS.State), Message: f.SMS.Message})
	case callbackd.Complete:
		inner, err := completed(s)
		return append(append([]byte(`{"session":`), inner...), '}'), err
	}
	return nil, errors.New("session: an event of an unknown type was fired")
}

// Results is the body of GET …/results: what COMPLETE delivers, byte for byte
// except for a reference that is gone by now.
func Results(s *callbackd.Session) ([]byte, error) {
	inner, err := completed(s)
	return append(append([]byte(`{"event":"SESSION:COMPLETE","session":`), inner...), '}'), err
}

// ownMembers are those of a completed session that results do not add to it.
// Of them, what results say of the photos stands in the place of what is known
// here, and what they say of the vehicle before it.
var ownMembers = map[string]bool{
	"session_key": true, "theme": true, "active": true, "status": true, "redirect_url": true, "inspect_started_at": true,
	"inspect_ended_at": true, "created_at": true, "updated_at": true, "language": true, "options": true, "source": true,
	"capture_duration": true, "inspect_duration": true, "vehicle": true, "photos": true,
}

// completed is the whole session with the platform's results, whose values
// pass through byte for byte.
func completed(s *callbackd.Session) ([]byte, error) {
	shown := Show(s)
	vehicle := shown.Vehicle
	shown.Vehicle = nil
	b, err := marshal(struct {
		wire.Session
		CaptureDuration int64 `json:"capture_duration"`
		InspectDuration int64 `json:"inspect_duration"`
	}{shown, seconds(s.CapturedAt.Sub(s.StartedAt)), seconds(s.EndedAt.Sub(s.StartedAt))})
	if err != nil {
		return nil, err
	}
	b = b[:len(b)-1]
	add := func(name string, value []byte) {
		b = append(strictjson.AppendString(append(b, ','), name), ':')
		b = append(b, value...)
	}
	var results []strictjson.Member
	if s.Results != nil {
		if results, err = strictjson.Object(s.Results); err != nil {
			return nil, err
		}
	}
	for _, known := range []struct {
		name  string
		value any
	}{{"vehicle", vehicle}, {"photos", ShowPhotos(s)}} {
		raw, err := marshal(known.value)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(results, func(m strictjson.Member) bool { return m.Name == known.name })
		switch {
		case i < 0 || results[i].Value.IsNull():
		case known.name == "vehicle":
			if raw, err = complement(results[i].Value, raw); err != nil {
				return nil, err
			}
		default:
			raw = results[i].Value
		}
		add(known.name, raw)
	}
	for _, m := range results {
		if !ownMembers[m.Name] {
			add(m.Name, m.Value)
		}
	}
	return append(b, '}'), nil
}

// complement is the object given, byte for byte, with what it does not name of
// known, which is an object or null.
func complement(given, known []byte) ([]byte, error) {
	members, err := strictjson.Object(given)
	if err != nil {
		return nil, err
	}
	if strictjson.Value(known).IsNull() {
		return given, nil
	}
	more, err := strictjson.Object(known)
	if err != nil {
		return nil, err
	}
	out := slices.Clip(given[:bytes.LastIndexByte(given, '}')])
	for _, m := range more {
		if slices.ContainsFunc(members, func(g strictjson.Member) bool { return g.Name == m.Name }) {
			continue
		}
		if len(members) > 0 {
			out = append(out, ',')
		}
		members = append(members, m)
		out = append(append(strictjson.AppendString(out, m.Name), ':'), m.Value...)
	}
	return append(out, '}'), nil
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// marshal writes JSON without escaping HTML and without a line's end.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Now is the time as sessions keep it: milliseconds of the wall clock alone.
func Now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// New is a session that was created now.
func New(key *callbackd.Key, now time.Time) *callbackd.Session {
	return &callbackd.Session{
		Key: key.No, SessionKey: callbackd.NewSessionKey(key.Account), Status: callbackd.StatusIdle, Theme: callbackd.DefaultTheme,
		Language: callbackd.DefaultLanguage, SourceType: callbackd.DefaultSource, CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(key.SessionTimeFrame()),
	}
}

// advanceAtOnce is how many due sessions are changed side by side, so that
// they share commits.
const advanceAtOnce = 64

// Advance makes the changes that time itself makes and that are due: sessions
// expire, references go. It returns when the next is due; zero when none is.
// A session that another node advances too is changed once.
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
