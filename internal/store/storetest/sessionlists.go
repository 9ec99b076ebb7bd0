package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var sessionListTests = map[string]func(*suite){
	"SessionLists":             (*suite).sessionLists,
	"SessionListsWithoutMatch": (*suite).sessionListEmpty,
	"SessionsByVIN":            (*suite).sessionsByVIN,
}

// forty creates 40 sessions, several of them in one millisecond, and returns
// them newest first. Each fourth has a VIN and each fifth has been started. There
// is one session of another key.
func (s *suite) forty() (made []*callbackd.Session) {
	s.Helper()
	s.newSession(s.newKey("k2"), nil)
	start := s.at
	for i := range 40 {
		s.at = start.Add(time.Duration(i/3) * time.Second)
		x := s.newSession(s.key, func(x *callbackd.Session) {
			x.Reference = fmt.Appendf(nil, `"Lead-%02d <%%_>"`, i)
			if i%4 == 0 {
				x.Vehicle.VIN = fmt.Sprintf("JN1CV6AR9BM0000%02d", i)
			}
		})
		if i%5 == 0 {
			x, _ = s.start(x)
		}
		made = append(made, x)
	}
	slices.SortFunc(made, func(a, b *callbackd.Session) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.SessionKey, a.SessionKey))
	})
	return made
}

func (s *suite) sessionLists() {
	since, until := s.at.Add(2*time.Second), s.at.Add(9*time.Second)
	all := s.forty()
	within := func(x *callbackd.Session) bool { return !x.CreatedAt.Before(since) && x.CreatedAt.Before(until) }
	for _, c := range []struct {
		q    store.SessionQuery
		fits func(*callbackd.Session) bool
	}{
		{store.SessionQuery{}, func(*callbackd.Session) bool { return true }},
		{store.SessionQuery{Status: callbackd.StatusStarted}, func(x *callbackd.Session) bool { return x.Status == callbackd.StatusStarted }},
		{store.SessionQuery{Since: since, Until: until}, within},
		{store.SessionQuery{Since: since, Until: until, Status: callbackd.StatusIdle}, func(x *callbackd.Session) bool { return within(x) && x.Status == callbackd.StatusIdle }},
		{store.SessionQuery{Text: "lead-1"}, func(x *callbackd.Session) bool { return strings.Contains(string(x.Reference), "Lead-1") }},
		{store.SessionQuery{Text: "<%_>"}, func(*callbackd.Session) bool { return true }},
		{store.SessionQuery{Text: "bm000036"}, func(x *callbackd.Session) bool { return x.Vehicle.VIN == "JN1CV6AR9BM000036" }},
		{store.SessionQuery{Text: all[11].SessionKey}, func(x *callbackd.Session) bool { return x == all[11] }},
	} {
		c.q.Key, c.q.Limit = s.key.ID, 7
		var want []store.SessionID
		for _, x := range all {
			if c.fits(x) {
				want = append(want, store.SessionID{Key: x.Key, SessionKey: x.SessionKey})
			}
		}
		sameList(s, fmt.Sprintf("sessions of %+v", c.q), s.listSessions(c.q), want)
	}
}

func (s *suite) sessionListEmpty() {
	s.newSession(s.key, nil)
	page, err := s.ListSessions(s.ctx(), store.SessionQuery{Key: s.key.ID, Text: "no such", Limit: 5})
	s.must(err)
	s.equal("sessions with a text that none has", page, store.SessionPage{})
}

// sessionsByVIN shows that a whole VIN is found in upper and lower case, and only in the
// VIN of a session.
func (s *suite) sessionsByVIN() {
	const vin = "1FTEW1EP5NKD00001"
	x := s.newSession(s.key, func(x *callbackd.Session) { x.Vehicle.VIN = vin; x.CreatedAt = s.at.Add(-time.Hour).UTC() })
	s.newSession(s.key, func(x *callbackd.Session) { x.Vehicle.VIN = "2" + vin[1:] })
	s.newSession(s.key, func(x *callbackd.Session) { x.Reference = []byte(`"` + vin + `"`) })
	s.newSession(s.newKey("k2"), func(x *callbackd.Session) { x.Vehicle.VIN = vin })
	for _, text := range []string{vin, strings.ToLower(vin)} {
		got := s.listSessions(store.SessionQuery{Key: s.key.ID, VIN: text, Limit: 10})
		sameList(s, "sessions of "+text, got, []store.SessionID{{Key: s.key.ID, SessionKey: x.SessionKey}})
	}
}
