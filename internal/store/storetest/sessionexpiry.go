package storetest

import (
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
)

// sessionExpiryTests are about sessions that expire, and their removal.
var sessionExpiryTests = map[string]func(*suite){
	"SessionsAreDueInOrder":    (*suite).sessionsDue,
	"ExpiredSessionsAreNotDue": (*suite).sessionsExpired,
	"SessionsExpireOnce":       (*suite).sessionExpiresOnce,
	"EndedSessionsAreSwept":    (*suite).sessionSweep,
}

// fiveExpire creates five sessions of two keys that expire in 5, 4, … 1 minutes.
func (s *suite) fiveExpire() (ids []store.SessionID) {
	s.Helper()
	other := s.newKey("k2")
	for i, key := range []callbackd.Key{s.key, other, s.key, other, s.key} {
		x := s.newSession(key, func(x *callbackd.Session) { x.ExpiresAt = s.minutes(5 - i).UTC() })
		ids = append(ids, store.SessionID{Key: x.Key, SessionKey: x.SessionKey})
	}
	return ids
}

// minutes returns the time n minutes from now.
func (s *suite) minutes(n int) time.Time { return s.at.Add(time.Duration(n) * time.Minute) }

// dueSessions compares the sessions that are due at a time, and when the next is.
func (s *suite) dueSessions(at time.Time, limit int, want []store.SessionID, wantNext time.Time) {
	s.Helper()
	ids, next, err := s.DueSessions(s.ctx(), at, limit)
	s.must(err)
	s.equal("sessions that are due", ids, want)
	s.equal("when the next is due", next, wantNext)
}

func (s *suite) sessionsDue() {
	ids := s.fiveExpire()
	s.dueSessions(s.minutes(1).Add(-time.Millisecond), 10, nil, s.minutes(1))
	s.dueSessions(s.minutes(1), 10, []store.SessionID{ids[4]}, s.minutes(2))
	s.dueSessions(s.minutes(3), 2, []store.SessionID{ids[4], ids[3]}, s.minutes(3))
	s.dueSessions(s.minutes(9), 10, []store.SessionID{ids[4], ids[3], ids[2], ids[1], ids[0]}, time.Time{})
}

func (s *suite) sessionsExpired() {
	ids := s.fiveExpire()
	_, _, err := session.Change(s.ctx(), s.Store, ids[4].Key, ids[4].SessionKey, s.at, func(x *callbackd.Session) ([]callbackd.Fired, error) {
		fired, _ := x.Advance(s.minutes(1).UTC())
		return fired, nil
	})
	s.must(err)
	s.reopen()
	s.dueSessions(s.minutes(2), 10, []store.SessionID{ids[3]}, s.minutes(3))
}

// sessionExpiresOnce lets four goroutines, as four nodes would, advance sessions
// that are due.
func (s *suite) sessionExpiresOnce() {
	cb := s.newCallback(s.key, callbackd.StatusChange, "default")
	const n = 150
	for i := range n {
		s.newSession(s.key, func(x *callbackd.Session) { x.ExpiresAt = s.at.UTC().Add(time.Duration(i) * time.Millisecond) })
	}
	later := s.newSession(s.key, func(x *callbackd.Session) { x.ExpiresAt = s.at.UTC().Add(time.Hour) })
	now := s.at.UTC().Add(time.Minute)
	var nodes sync.WaitGroup
	var total atomic.Int64
	for range 4 {
		nodes.Go(func() { total.Add(int64(s.advance(now, later.ExpiresAt))) })
	}
	nodes.Wait()
	s.equal("events that were fired", total.Load(), int64(n))
	want := `{"status":"EXPIRED","timestamp":"` + now.Format("2006-01-02T15:04:05+00:00") + `","previous_status":"IDLE"}`
	expired := map[string]int{}
	for _, d := range s.fresh(cb.ID) {
		expired[d.Session]++
		s.equal("the data of the event of "+d.Session, string(d.Event.Data), want)
	}
	s.equal("sessions that have an event", len(expired), n)
	for key, times := range expired {
		s.equal("how often session "+key+" expired", times, 1)
	}
}

// advance expires sessions until none is due at now, and returns how many events
// it fired.
func (s *suite) advance(now, wantNext time.Time) (total int) {
	for {
		fired, next, err := session.Advance(s.ctx(), s.Store, now)
		if err != nil {
			s.Error(err)
			return total
		}
		total += fired
		if next.After(now) || next.IsZero() {
			s.equal("when the next session is due", next, wantNext)
			return total
		}
	}
}

func (s *suite) sessionSweep() {
	ended := func(status callbackd.SessionStatus, ago time.Duration) *callbackd.Session {
		return s.newSession(s.key, func(x *callbackd.Session) { x.Status, x.EndedAt = status, s.at.UTC().Add(-ago) })
	}
	old := []*callbackd.Session{ended(callbackd.StatusComplete, 3*time.Hour), ended(callbackd.StatusExpired, 2*time.Hour), ended(callbackd.StatusInvalid, 2*time.Hour)}
	recent := []*callbackd.Session{ended(callbackd.StatusComplete, time.Minute), s.newSession(s.key, nil)}
	for _, want := range []int{2, 1, 0} {
		n, err := s.Prune(s.ctx(), store.Prune{Sessions: s.at.Add(-time.Hour)}, 2)
		s.must(err)
		s.equal("sessions that were removed, two at most", n, want)
	}
	for _, x := range old {
		s.kind(second(s.Session(s.ctx(), x.Key, x.SessionKey)), callbackd.KindNotFound)
		_, _, err := s.ChangeSession(s.ctx(), x.Key, x.SessionKey, s.at, func(*callbackd.Session) (store.SessionChange, error) { return store.SessionChange{}, nil })
		s.kind(err, callbackd.KindNotFound)
	}
	for _, x := range recent {
		s.must(second(s.Session(s.ctx(), x.Key, x.SessionKey)))
	}
}
