package storetest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var incidentTests = map[string]func(*suite){
	"IncidentsAreStored":              (*suite).incidentStored,
	"OneOpenIncidentOfASubject":       (*suite).incidentOnce,
	"IncidentsOfOtherKeys":            (*suite).incidentsOfOthers,
	"ListsOfIncidents":                (*suite).incidentLists,
	"ClosedIncidentsAreRemoved":       (*suite).incidentsPruned,
	"CallbacksThatFailOrArePaused":    (*suite).unwell,
	"AnIncidentRemembersTheOneBefore": (*suite).incidentBefore,
	"WhatElseMayBeWrong":              (*suite).look,
	"IncidentsAndMailsAreCounted":     (*suite).incidentCounts,
}

// condition returns a pause of a callback of the suite's key, which is made if there is none
// with that number; 0 is no callback.
func (s *suite) condition(cb callbackd.CallbackID) *callbackd.Condition {
	s.Helper()
	for made := callbackd.CallbackID(0); made < cb; {
		if _, err := s.CallbackByID(s.ctx(), cb); err == nil {
			break
		}
		made = s.newCallback(s.key, ev1, fmt.Sprintf("incident-%d-%d", cb, made)).ID
	}
	return &callbackd.Condition{Kind: callbackd.NoticePaused, Key: s.key.ID, Name: strconv.FormatInt(int64(cb), 10), Callback: cb,
		Facts: callbackd.IncidentFacts{Event: ev1, Name: "Zoë", Origin: "https://a.example", Pause: callbackd.PausedGone, Since: s.at.UTC()}}
}

func (s *suite) opened(c *callbackd.Condition, at time.Time) *callbackd.Incident {
	s.Helper()
	i, err := s.OpenIncident(s.ctx(), c, at)
	s.must(err)
	return i
}

// closed ends an incident.
func (s *suite) closed(i *callbackd.Incident, at time.Time) {
	s.Helper()
	s.must(second(s.ChangeIncident(s.ctx(), store.AllKeys, i.ID, func(i *callbackd.Incident) error {
		i.Miss(at, callbackd.EndedDeleted)
		return nil
	})))
}

func (s *suite) incidentStored() {
	i := s.opened(s.condition(1), s.at)
	want := callbackd.OpenIncident(s.condition(1), nil, s.at)
	want.ID, want.OpenedAt = i.ID, s.at.UTC()
	want.GoneAt, want.ClosedAt, want.Facts.Ended = s.at.Add(time.Minute).UTC(), s.at.Add(time.Minute).UTC(), callbackd.EndedDeleted
	want.AckedAt, want.AckedBy, want.MutedUntil = s.at.UTC(), "Zoë", s.at.Add(time.Hour).UTC()
	want.Stage, want.Told = 2, map[callbackd.Channel]int{callbackd.ToKey: 1, callbackd.ToOperator: -2, callbackd.ToMail: 2}
	want.Mail = callbackd.Mailing{Failed: 3, At: s.at.Add(time.Second).UTC()}
	_, err := s.ChangeIncident(s.ctx(), s.key.ID, i.ID, func(i *callbackd.Incident) error {
		i.Acknowledge("Zoë", s.at)
		i.Mute(s.at.Add(time.Hour), s.at)
		i.Miss(s.at.Add(time.Minute), callbackd.EndedDeleted)
		i.Told, i.Mail = want.Told, want.Mail
		return nil
	})
	s.must(err)
	s.reopen()
	got, err := s.Incident(s.ctx(), s.key.ID, i.ID)
	s.must(err)
	s.equal("the incident after a restart", *got, want)
}

func (s *suite) incidentOnce() {
	var work sync.WaitGroup
	ids := make([]callbackd.IncidentID, 8)
	c := s.condition(7)
	for n := range ids {
		work.Go(func() {
			if i, err := s.OpenIncident(s.ctx(), c, s.at); err == nil {
				ids[n] = i.ID
			} else {
				s.Error(err)
			}
		})
	}
	work.Wait()
	for _, id := range ids {
		s.equal("the incident", id, ids[0])
	}
	given := *s.condition(8)
	given.Kind, given.N = callbackd.NoticeExhausted, 3
	s.opened(&given, s.at)
	s.equal("deliveries of two reports", s.opened(&given, s.at).Count, int64(6))
}

func (s *suite) incidentsOfOthers() {
	other := s.newKey("other")
	i := s.opened(s.condition(1), s.at)
	_, err := s.Incident(s.ctx(), other.ID, i.ID)
	s.kind(err, callbackd.KindNotFound)
	_, err = s.ChangeIncident(s.ctx(), other.ID, i.ID, func(*callbackd.Incident) error { return nil })
	s.kind(err, callbackd.KindNotFound)
	page, err := s.ListIncidents(s.ctx(), store.IncidentQuery{Key: other.ID, Limit: 10})
	s.must(err)
	s.equal("another key's incidents", len(page.Incidents), 0)
	refused := callbackd.Invalid("no")
	_, err = s.ChangeIncident(s.ctx(), s.key.ID, i.ID, func(i *callbackd.Incident) error {
		i.Acknowledge("me", s.at)
		return refused
	})
	s.kind(err, callbackd.KindInvalid)
	got, err := s.Incident(s.ctx(), s.key.ID, i.ID)
	s.must(err)
	s.equal("who acknowledged it", got.AckedBy, "")
}

func (s *suite) incidentCounts() {
	for n := range callbackd.CallbackID(4) {
		i := s.opened(s.condition(n+1), s.at)
		s.must(second(s.ChangeIncident(s.ctx(), store.AllKeys, i.ID, func(i *callbackd.Incident) error {
			switch n {
			case 0:
				i.Mail.Fail(s.at)
			case 1: // told, and closed: the mail of its end is to be sent
				i.Told[callbackd.ToMail] = 1
				i.Miss(s.at, callbackd.EndedDeleted)
			case 2:
				i.Told[callbackd.ToMail] = -1
			}
			return nil
		})))
	}
	f, err := s.Figures(s.ctx())
	s.must(err)
	s.equal("the counts", f.Incidents, callbackd.IncidentCounts{Open: 3, Mails: 3, MailsFailing: 1})
}

// incidentIDs lists incidents, two on each page.
func (s *suite) incidentIDs(q store.IncidentQuery) (ids []callbackd.IncidentID) {
	s.Helper()
	for q.Limit = 2; ; {
		page, err := s.ListIncidents(s.ctx(), q)
		s.must(err)
		for i := range page.Incidents {
			ids = append(ids, page.Incidents[i].ID)
		}
		if q.After = page.Next; q.After == 0 {
			return ids
		}
	}
}

func (s *suite) incidentLists() {
	var all []callbackd.IncidentID
	for n := range callbackd.CallbackID(5) {
		i := s.opened(s.condition(n+1), s.at)
		all = append([]callbackd.IncidentID{i.ID}, all...)
		if n == 2 {
			s.closed(i, s.at)
		}
		if n == 3 {
			s.must(second(s.ChangeIncident(s.ctx(), s.key.ID, i.ID, func(i *callbackd.Incident) error {
				i.Told = map[callbackd.Channel]int{callbackd.ToKey: 1, callbackd.ToOperator: -1, callbackd.ToMail: 1}
				return nil
			})))
		}
	}
	server := s.condition(0)
	server.Key = 0
	whole := s.opened(server, s.at).ID
	s.equal("those of the key", s.incidentIDs(store.IncidentQuery{Key: s.key.ID}), all)
	s.equal("all", s.incidentIDs(store.IncidentQuery{}), append([]callbackd.IncidentID{whole}, all...))
	s.equal("the open ones", s.incidentIDs(store.IncidentQuery{Key: s.key.ID, Open: true}), []callbackd.IncidentID{all[0], all[1], all[3], all[4]})
	s.equal("those to tell of", s.incidentIDs(store.IncidentQuery{Untold: true}), []callbackd.IncidentID{whole, all[0], all[2], all[3], all[4]})
}

func (s *suite) incidentsPruned() {
	old, open, young := s.opened(s.condition(1), s.at), s.opened(s.condition(2), s.at), s.opened(s.condition(3), s.at)
	s.closed(old, s.at)
	s.closed(young, s.at.Add(time.Hour))
	n, err := s.Prune(s.ctx(), store.Prune{Incidents: s.at.Add(time.Minute)}, 10)
	s.must(err)
	s.equal("removed", n, 1)
	s.equal("what stays", s.incidentIDs(store.IncidentQuery{}), []callbackd.IncidentID{young.ID, open.ID})
}

func (s *suite) incidentBefore() {
	i := s.opened(s.condition(1), s.at)
	s.closed(i, s.at.Add(time.Minute))
	s.opened(s.condition(12), s.at)
	again := s.opened(s.condition(1), s.at.Add(2*time.Minute))
	s.equal("how often it came back", again.Flaps, 1)
}

func (s *suite) unwell() {
	for n, reason := range []callbackd.PauseReason{callbackd.NotPaused, callbackd.PausedByUser, callbackd.PausedGone} {
		cb := s.newCallback(s.key, ev1, fmt.Sprint("n", n))
		s.must(second(s.PauseCallback(s.ctx(), s.key.ID, ev1, cb.Name, callbackd.Pause{Reason: reason, At: s.at.UTC()})))
	}
	failing := s.newCallback(s.key, ev2, "failing")
	s.publish(s.key, ev2, "S")
	s.fails(failing)
	revoked := s.newKey("revoked")
	gone := s.newCallback(revoked, ev1, "gone")
	s.must(second(s.PauseCallback(s.ctx(), revoked.ID, ev1, gone.Name, callbackd.Pause{Reason: callbackd.PausedGone, At: s.at})))
	s.must(s.ChangeKey(s.ctx(), "revoked", func(k *callbackd.Key) error { k.Revoke(s.at); return nil }))
	list, err := s.Unwell(s.ctx())
	s.must(err)
	got := map[callbackd.PauseReason]store.Unwell{}
	for _, u := range list {
		got[u.Pause.Reason] = u
	}
	s.equal("how many", len(list), 3)
	s.equal("the failing one", got[callbackd.NotPaused], store.Unwell{ID: failing.ID, FailingSince: s.at.UTC()})
	s.equal("when the pause began", got[callbackd.PausedGone].Pause.At, s.at.UTC())
}

// look finds backlogs, certificates that end, and callbacks that expect events.
func (s *suite) look() {
	waiting, quiet, ends := s.newCallback(s.key, ev1, "waiting"), s.newCallback(s.key, ev2, "quiet"), s.newCallback(s.key, ev2, "ends")
	evs := s.publish(s.key, ev1, "S1", "S2")
	s.must(second(s.ChangeCallback(s.ctx(), s.key.ID, ev2, quiet.Name, func(cb *callbackd.Callback) error {
		cb.Policy.Expect = time.Hour
		return nil
	})))
	s.must(s.AddCounters(s.ctx(), []store.MinuteCounters{
		{Callback: ends.ID, Key: s.key.ID, Minute: s.at.Truncate(time.Minute), Receiver: store.Receiver{CertNotAfter: s.at.Add(time.Hour).UTC()}},
		{Callback: quiet.ID, Key: s.key.ID, Minute: s.at.Truncate(time.Minute), Receiver: store.Receiver{CertNotAfter: s.at.Add(3 * time.Hour).UTC()}},
	}))
	got, err := s.Look(s.ctx(), s.at.Add(time.Minute), s.at.Add(2*time.Hour))
	s.must(err)
	s.equal("backlogs", got.Backlogs, []callbackd.CallbackBacklog{{ID: waiting.ID, Pending: 2, OldestDue: evs[0].ID.Time()}})
	s.equal("certificates", got.Certificates, map[callbackd.CallbackID]time.Time{ends.ID: s.at.Add(time.Hour).UTC()})
	s.equal("those that expect events", got.Expecting, []callbackd.CallbackID{quiet.ID})
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev2, quiet.Name, s.at)))
	got, err = s.Look(s.ctx(), s.at, s.at)
	s.must(err)
	s.equal("those that expect events after a deletion", len(got.Expecting), 0)
}

// SpoilIncidents checks that fsck finds what cannot be right about incidents. exec runs
// statements on the database of a closed store.
func SpoilIncidents(t *testing.T, open Open, exec func(t *testing.T, dir string, statements ...string)) {
	for name, c := range map[string]struct {
		statement string
		want      []string // %[2]s and %[3]s are the second and the third incident
	}{
		"nothing":                      {"UPDATE incidents SET count = count", nil},
		"a key that does not exist":    {"UPDATE incidents SET key_no = 99 WHERE name = '2'", []string{"incident %[2]s is about the API key 99, which does not exist"}},
		"a callback that is not there": {"UPDATE incidents SET callback_no = 99", []string{"incident %[2]s is open and about callback 99, which does not exist", "incident %[3]s is open and about callback 99, which does not exist"}},
		"closed before opened":         {"UPDATE incidents SET closed_at = opened_at - 1 WHERE name = '2'", []string{"incident %[2]s was closed before it was opened"}},
		"no count":                     {"UPDATE incidents SET count = 0 WHERE name = '2'", []string{"incident %[2]s has the count 0; it must be 1 or more"}},
		"no stage":                     {"UPDATE incidents SET stage = 0 WHERE name = '2'", []string{"incident %[2]s has the stage 0; it must be 1 or more"}},
		"told of what did not happen":  {"UPDATE incidents SET told_operator = -5 WHERE name = '2'", []string{"incident %[2]s has 1 stages, and the channel operator was told of stage 5"}},
		"a kind of another topic":      {"UPDATE incidents SET kind = 'DISK:LOW' WHERE name = '2'", []string{`incident %[2]s has the kind "DISK:LOW", which is none of its topic "callback"`}},
		"acknowledged at no time":      {"UPDATE incidents SET acked_by = 'me' WHERE name = '2'", []string{"incident %[2]s was acknowledged by somebody, but at no time"}},
		"two open ones":                {"DROP INDEX incidents_open; UPDATE incidents SET name = '2'", []string{"incidents %[2]s and %[3]s are open, and about the same: callback 2 of API key 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &suite{T: t, dir: t.TempDir(), open: open, at: time.Now().Truncate(time.Millisecond)}
			s.Store = open(t, s.dir)
			s.key = s.newKey("k1")
			closed := s.opened(s.condition(1), s.at)
			s.closed(closed, s.at)
			second, third := s.opened(s.condition(2), s.at), s.opened(s.condition(3), s.at)
			s.must(s.Store.Close())
			exec(t, s.dir, strings.Split(c.statement, "; ")...)
			s.Store = open(t, s.dir)
			report, err := s.Check(s.ctx())
			s.must(err)
			var want []string
			for _, w := range c.want {
				want = append(want, strings.NewReplacer("%[2]s", second.ID.String(), "%[3]s", third.ID.String()).Replace(w))
			}
			s.equal("what fsck finds", report.Faults, want)
			s.must(s.Store.Close())
		})
	}
}
