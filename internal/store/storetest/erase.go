package storetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var eraseTests = map[string]func(*suite){
	"ASessionIsErased":                   (*suite).eraseSession,
	"ErasuresLookForValues":              (*suite).eraseByValue,
	"ADryRunErasesNothing":               (*suite).eraseDryRun,
	"ErasedEventsAreNotSentAgain":        (*suite).erasedIsNotSent,
	"ErasedDuringAnAttempt":              (*suite).eraseInFlight,
	"ErasedWhileOutcomesAreRecorded":     (*suite).eraseInARace,
	"ErasedIdempotencyKeysStay":          (*suite).eraseKeys,
	"WhatIsAcceptedLaterIsNotErased":     (*suite).eraseUpToItsStart,
	"ErasuresOverAllKeys":                (*suite).eraseGroup,
	"CallbacksOfASessionAreErasedAndEnd": (*suite).eraseSessionCallbacks,
	"ErasuresAreLimitedAndOfTheirKey":    (*suite).erasesListed,
	"ErasuresGoOnAfterARestart":          (*suite).eraseAfterRestart,
	"ErasedTwice":                        (*suite).eraseTwice,
	"ALongSessionIsErasedInManySteps":    (*suite).eraseLong,
	"ErasuresThatAreNone":                (*suite).noErases,
	"FsckFindsWhatAnErasureMustRemove":   (*suite).eraseChecked,
	"OtherKeysAndSessionsAreNotTouched":  (*suite).eraseOthers,
}

// erase starts an erasure.
func (s *suite) erase(by callbackd.EraseBy, value string, dryRun bool) *callbackd.Erase {
	s.Helper()
	normal, ok := by.EraseValue(value)
	if !ok {
		s.Fatalf("%q cannot be a %s", value, by)
	}
	e, err := s.CreateErase(s.ctx(), callbackd.Erase{Key: s.key.ID, By: by, DryRun: dryRun, CreatedAt: s.at}, normal)
	s.must(err)
	return e
}

// stepped makes steps until the erasure has ended, and returns it with what was canceled.
func (s *suite) stepped(id callbackd.EraseID) (*callbackd.Erase, []callbackd.Delivery) {
	s.Helper()
	var canceled []callbackd.Delivery
	for range 10_000 {
		step, err := s.StepErase(s.ctx(), id, s.at)
		s.must(err)
		canceled = append(canceled, step.Canceled...)
		if !step.Erase.Running() {
			return step.Erase, canceled
		}
	}
	s.Fatal("the erasure does not end")
	return nil, nil
}

// erased erases one session and returns the counts.
func (s *suite) erased(session string) callbackd.EraseCounts {
	s.Helper()
	e, _ := s.stepped(s.erase(callbackd.EraseSession, session, false).ID)
	return e.Progress.Counts
}

func (s *suite) eraseSession() {
	p := s.plant()
	e, canceled := s.stepped(s.erase(callbackd.EraseSession, p.session.SessionKey, false).ID)
	s.equal("what the engine must let go of", len(canceled), 4)
	s.equal("the key and session of the first one", []any{canceled[0].Key, canceled[0].Session}, []any{s.key.ID, p.session.SessionKey})
	s.equal("what was erased", e.Progress.Counts, callbackd.EraseCounts{Sessions: 1, Documents: 1, Photos: 2, Notes: 1, Events: 8, Canceled: 4, Attempts: 3, Callbacks: 1, Idempotency: 8, Logs: 1, Reasons: 1})
	s.receipt(e)
	s.reopen()
	again, err := s.Erase(s.ctx(), s.key.ID, e.ID)
	s.must(err)
	s.equal("the erasure after a restart", again, e)
	x, err := s.Session(s.ctx(), s.key.ID, p.session.SessionKey)
	s.must(err)
	s.equal("the name", x.FirstName, callbackd.Erased)
	s.equal("the phone number and the VIN", x.SMS.To+x.Vehicle.VIN, "")
	s.equal("the status", x.Status, callbackd.StatusProcess)
	s.equal("the photos' steps", []int{x.Photos[0].Code, x.Photos[1].Code}, []int{1, 4})
	notes, err := s.SessionNotes(s.ctx(), s.key.ID, x.SessionKey)
	s.must(err)
	s.equal("the note", notes, []callbackd.Note{{Title: callbackd.Erased, Description: callbackd.Erased, InsertedBy: callbackd.Erased, InsertedAt: notes[0].InsertedAt}})
	evs, err := s.SessionEvents(s.ctx(), store.SessionEventQuery{Key: s.key.ID, Session: x.SessionKey, Limit: 100})
	s.must(err)
	s.equal("from whom an event was withheld", len(evs[1].Withheld), 1)
	s.equal("the term of the filter", evs[1].Withheld[0].Term, "")
	for i, ev := range evs {
		s.equal("a sequence number", ev.Sequence, int64(i+1))
		s.equal("the data", string(ev.Data), "{}")
		s.equal("when it was erased", ev.ErasedAt.Equal(s.at), true)
	}
	s.ended(p.cb.ID, ends{Accepted: 6, Delivered: 1, Failed: 1, Canceled: 4})
	s.why(p.pending[0].ID, p.pending[0].Attempts, callbackd.WhyErased)
	for _, vin := range []string{markVIN, markText} {
		page, err := s.ListSessions(s.ctx(), store.SessionQuery{Key: s.key.ID, Text: vin, Limit: 10})
		s.must(err)
		s.equal("sessions that a search for "+vin+" finds", len(page.Sessions), 0)
	}
	report, err := s.Check(s.ctx())
	s.must(err)
	s.equal("erased events that fsck counts", report.Erased, int64(8))
}

// eraseSessionCallbacks erases every version of the callbacks that are for a session, and ends
// them, also when they had ended before. Those of other sessions, and those that were given or
// changed after the start of the erasure, stay.
func (s *suite) eraseSessionCallbacks() {
	give := func(url, session string) *callbackd.Callback {
		cb := given(url)
		cb.Headers, cb.Payload = []callbackd.Header{{Name: "X", Value: markText}}, []byte(`{"name":"`+markText+`"}`)
		s.must(second(s.give(cb, session)))
		all := s.ofSession(session)
		return all[len(all)-1]
	}
	inForce, deleted := give("https://a.example/"+markText, "S"), give("https://b.example/", "S")
	other := give("https://c.example/"+markText, "T")
	for _, cb := range []*callbackd.Callback{inForce, other} {
		_, err := s.ChangeCallback(s.ctx(), s.key.ID, "", cb.Name, func(cb *callbackd.Callback) error {
			next := *cb
			next.URL += "/2"
			cb.Replace(&next, s.at)
			return nil
		})
		s.must(err)
	}
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, "", deleted.Name, s.at)))
	dry, _ := s.stepped(s.erase(callbackd.EraseSession, "S", true).ID)
	s.equal("callbacks that a dry run counts", dry.Progress.Counts.Callbacks, int64(2))
	s.equal("callbacks in force after a dry run", len(s.ofSession("S")), 1)
	e := s.erase(callbackd.EraseSession, "S", false)
	s.at = s.at.Add(time.Second)
	later := give("https://d.example/", "S")
	e, _ = s.stepped(e.ID)
	s.equal("callbacks that were erased", e.Progress.Counts.Callbacks, int64(2))
	s.equal("what is in force", []callbackd.CallbackID{s.ofSession("S")[0].ID, s.ofSession("T")[0].ID}, []callbackd.CallbackID{later.ID, other.ID})
	s.equal("the later one", string(s.ofSession("S")[0].Payload), `{"name":"`+markText+`"}`)
	s.reopen()
	for _, v := range []struct {
		id      callbackd.CallbackID
		version int64
	}{{inForce.ID, 1}, {inForce.ID, 2}, {deleted.ID, 1}} {
		cb, err := s.CallbackVersion(s.ctx(), v.id, v.version)
		s.must(err)
		s.equal("an erased version", []any{cb.URL, string(cb.Payload), len(cb.Headers), cb.Deleted()}, []any{callbackd.ErasedURL, "{}", 0, true})
	}
	cb, err := s.CallbackVersion(s.ctx(), other.ID, 1)
	s.must(err)
	s.equal("the callback of another session", []any{cb.URL, len(cb.Headers), cb.Deleted()}, []any{"https://c.example/" + markText, 1, false})
	s.equal("callbacks that are erased again", s.erased("S").Callbacks, int64(1)) // the later one
	report, err := s.Check(s.ctx())
	s.must(err)
	s.equal("faults", report.Faults, []string(nil))
}

// receipt checks that a receipt is canonical JSON and has nothing of the person.
func (s *suite) receipt(e *callbackd.Erase) {
	s.Helper()
	var members map[string]any
	s.must(json.Unmarshal(e.Receipt, &members))
	canonical, err := json.Marshal(members)
	s.must(err)
	s.equal("the receipt", string(e.Receipt), string(canonical))
	s.equal("its id", members["id"], any(e.ID.String()))
	s.equal("its hash is that of its bytes", len(callbackd.ReceiptHash(e.Receipt)), 64)
	for _, mark := range Marks {
		if bytes.Contains(e.Receipt, []byte(mark)) {
			s.Errorf("the receipt contains %s: %s", mark, e.Receipt)
		}
	}
}

func (s *suite) eraseByValue() {
	p := s.plant()
	other := s.newSession(s.key, nil)
	s.must(second(s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{
		{Type: ev1, Session: "published", Data: []byte(`{"a":[{"deep":"` + strings.ToLower(markVIN) + `"}],"ref":4711}`)},
		{Type: ev1, Session: "unrelated", Data: []byte(`{"vin":"1MARKERMARKER0002","text":"about ` + markVIN + `"}`)},
	}})))
	for _, c := range []struct {
		by    callbackd.EraseBy
		value string
		want  int64
	}{
		{callbackd.EraseVIN, strings.ToLower(markVIN), 2},
		{callbackd.ErasePhone, "0015555550177", 1},
		{callbackd.ErasePhone, "15555550178", 0},
		{callbackd.EraseReference, markText, 1},
		{callbackd.EraseReference, "4711", 1},
	} {
		e, _ := s.stepped(s.erase(c.by, c.value, true).ID)
		s.equal(fmt.Sprintf("sessions that %s %s finds", c.by, c.value), e.Progress.Counts.Sessions, c.want)
		s.equal("the value itself is not stored", e.Subject[:12], "hmac-sha256:")
		s.equal("what found it is removed", len(e.Salt)+len(e.Match), 0)
	}
	e, _ := s.stepped(s.erase(callbackd.EraseVIN, markVIN, false).ID)
	s.equal("sessions that were erased", e.Progress.Counts.Sessions, int64(2))
	s.equal("events that were erased", e.Progress.Counts.Events, int64(9))
	s.stored("the session of somebody else", other)
	x, err := s.Session(s.ctx(), s.key.ID, p.session.SessionKey)
	s.must(err)
	s.equal("the session was erased", x.ErasedAt.Equal(s.at), true)
	e, _ = s.stepped(s.erase(callbackd.EraseVIN, markVIN, true).ID)
	s.equal("sessions that the VIN finds afterwards", e.Progress.Counts.Sessions, int64(0))
}

func (s *suite) eraseDryRun() {
	p := s.plant()
	// A digest that belongs to another session too counts once.
	b := store.Batch{Key: s.key.ID, At: s.at, Idempotency: "of two sessions", Digest: [32]byte{9}}
	for _, session := range []string{"another", p.session.SessionKey, p.session.SessionKey} {
		b.Events = append(b.Events, store.NewEvent{Type: ev2, Session: session, Data: []byte("{}")})
	}
	s.must(second(s.Accept(s.ctx(), b)))
	dry, canceled := s.stepped(s.erase(callbackd.EraseSession, p.session.SessionKey, true).ID)
	s.equal("canceled deliveries", len(canceled), 0)
	s.stored("the session after a dry run", func() *callbackd.Session {
		x, err := s.Session(s.ctx(), s.key.ID, p.session.SessionKey)
		s.must(err)
		s.equal("its name", x.FirstName, markText)
		return x
	}())
	e, _ := s.stepped(s.erase(callbackd.EraseSession, p.session.SessionKey, false).ID)
	s.equal("what the dry run counted", dry.Progress.Counts, e.Progress.Counts)
}

func (s *suite) erasedIsNotSent() {
	p := s.plant()
	s.erased(p.session.SessionKey)
	id := callbackd.DeliveryID{Event: p.events[0].ID, Callback: p.cb.ID}
	err := second(s.Resend(s.ctx(), s.key.ID, id, s.at))
	s.kind(err, callbackd.KindConflict)
	if err == nil || !strings.Contains(err.Error(), "erased") {
		s.Errorf("the error is %v; want one that says that the event was erased", err)
	}
	canceled := p.pending[0].ID
	s.kind(second(s.Resend(s.ctx(), s.key.ID, canceled, s.at)), callbackd.KindConflict)
	s.why(canceled, p.pending[0].Attempts, callbackd.WhyErased)
	late := s.newCallback(s.key, ev1, "late")
	for _, f := range []callbackd.ReplayFilter{{States: callbackd.States}, {Target: late.ID}, {Missing: true}} {
		r := s.replay(f, 0)
		step := s.step(r, s.at)
		s.equal("what a replay made due", len(step.Due), 0)
		s.equal("all of it is skipped", s.reread(r).Skipped, r.Total)
	}
	s.why(canceled, p.pending[0].Attempts, callbackd.WhyErased)
}

func (s *suite) eraseInFlight() {
	p := s.plant()
	s.erased(p.session.SessionKey)
	for i, state := range []callbackd.State{callbackd.Delivered, callbackd.Pending} {
		d := p.pending[i]
		o := result(d, state, s.at, s.at.Add(time.Hour), time.Time{})
		o.Attempt.Body, o.Attempt.Headers = []byte(markText), markText
		rec, err := s.Record(s.ctx(), o)
		s.must(err)
		want := map[callbackd.State]callbackd.State{callbackd.Delivered: callbackd.Delivered, callbackd.Pending: callbackd.Canceled}[state]
		s.equal("the state", rec.State, want)
		s.captureErased(d.ID)
	}
}

// captureErased checks that the last attempt of a delivery has neither request nor answer.
func (s *suite) captureErased(id callbackd.DeliveryID) {
	s.Helper()
	v, err := s.Delivery(s.ctx(), s.key.ID, id, 0)
	s.must(err)
	for i := range v.History {
		a := &v.History[i]
		s.equal("what is stored of the attempt", a.Capture, callbackd.CaptureErased)
		s.equal("texts of the attempt", string(a.Body)+a.Headers+a.Error+a.Location+a.RetryAfter, "")
	}
}

// eraseInARace erases while outcomes of the same deliveries are recorded: whichever comes
// first, no answer is left.
func (s *suite) eraseInARace() {
	cb := s.newCallback(s.key, ev1, "default")
	var sessions []string
	for range 40 {
		sessions = append(sessions, "S")
	}
	s.publish(s.key, ev1, sessions...)
	ds := s.fresh(cb.ID)
	e := s.erase(callbackd.EraseSession, "S", false)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.stepped(e.ID)
	}()
	s.atOnce(ds, func(_ int, d callbackd.Delivery) {
		o := result(d, callbackd.Delivered, s.at, time.Time{}, time.Time{})
		o.Attempt.Body = []byte(markText)
		s.must(second(s.Record(s.ctx(), o)))
	})
	<-done
	s.ended(cb.ID, ends{Accepted: 40, Delivered: 40})
	for _, d := range ds {
		s.captureErased(d.ID)
	}
}

func (s *suite) eraseKeys() {
	p := s.plant()
	s.erased(p.session.SessionKey)
	b := store.Batch{Key: s.key.ID, At: s.at, Idempotency: "batch", Digest: [32]byte{7}, Events: []store.NewEvent{{Type: ev1, Session: "x", Data: []byte("{}")}}}
	s.kind(second(s.Accept(s.ctx(), b)), callbackd.KindConflict)
	ctx := s.onceWith("PUT /v1/sessions/"+p.session.SessionKey, "{}")
	err := s.Answered(ctx, store.OnceOf(ctx))
	s.kind(err, callbackd.KindConflict)
	if err == nil || !strings.Contains(err.Error(), "erased") {
		s.Errorf("a repeated call gets %v; want an error that says that the answer was erased", err)
	}
}

func (s *suite) eraseUpToItsStart() {
	p := s.plant()
	e := s.erase(callbackd.EraseSession, p.session.SessionKey, false)
	later := s.publish(s.key, ev1, p.session.SessionKey)
	done, _ := s.stepped(e.ID)
	s.equal("events that were erased", done.Progress.Counts.Events, int64(8))
	ev, err := s.Event(s.ctx(), s.key.ID, later[0].ID)
	s.must(err)
	s.equal("the data of the event that came later", string(ev.Data), `{"i":0}`)
	s.equal("its sequence number", ev.Sequence, int64(9))
}

func (s *suite) erasesListed() {
	var all []callbackd.EraseID
	for range callbackd.MaxErases {
		all = append(all, s.erase(callbackd.EraseSession, "S", false).ID)
	}
	s.kind(second(s.CreateErase(s.ctx(), callbackd.Erase{Key: s.key.ID, By: callbackd.EraseSession, CreatedAt: s.at}, "S")), callbackd.KindLimited)
	first, _ := s.stepped(all[0])
	s.equal("what an erasure of an unknown session erased", first.Progress.Counts, callbackd.EraseCounts{Sessions: 1})
	page, err := s.ListErases(s.ctx(), store.EraseQuery{Key: s.key.ID, Limit: 2})
	s.must(err)
	s.equal("the newest two", []callbackd.EraseID{page.Erases[0].ID, page.Erases[1].ID, page.Next}, []callbackd.EraseID{all[19], all[18], all[18]})
	page, err = s.ListErases(s.ctx(), store.EraseQuery{Key: store.AllKeys, Running: true, Limit: 100})
	s.must(err)
	s.equal("those that run", len(page.Erases), callbackd.MaxErases-1)
	other := s.newKey("k2")
	s.kind(second(s.Erase(s.ctx(), other.ID, all[0])), callbackd.KindNotFound)
	page, err = s.ListErases(s.ctx(), store.EraseQuery{Key: other.ID, Limit: 2})
	s.must(err)
	s.equal("those of another key", len(page.Erases), 0)
}

func (s *suite) eraseAfterRestart() {
	p := s.plant()
	e := s.erase(callbackd.EraseVIN, markVIN, false)
	for e.Running() {
		step, err := s.StepErase(s.ctx(), e.ID, s.at)
		s.must(err)
		e = step.Erase
		s.reopen()
	}
	s.equal("what was erased", e.Progress.Counts, callbackd.EraseCounts{Sessions: 1, Documents: 1, Photos: 2, Notes: 1, Events: 8, Canceled: 4, Attempts: 3, Callbacks: 1, Idempotency: 8, Logs: 1, Reasons: 1})
	s.captureErased(p.pending[0].ID)
}

func (s *suite) eraseTwice() {
	p := s.plant()
	s.erased(p.session.SessionKey)
	s.equal("what a second erasure erases", s.erased(p.session.SessionKey), callbackd.EraseCounts{Sessions: 1, Documents: 1, Photos: 2, Notes: 1})
}

func (s *suite) eraseLong() {
	cb := s.newCallback(s.key, ev1, "default")
	var sessions []string
	for range 130 {
		sessions = append(sessions, "S", "T")
	}
	s.publish(s.key, ev1, sessions...)
	s.equal("what was erased", s.erased("S"), callbackd.EraseCounts{Sessions: 1, Events: 130, Canceled: 130})
	s.ended(cb.ID, ends{Accepted: 260, Canceled: 130, Pending: 130})
	s.equal("the stats", s.canceled(cb.ID), int64(130))
}

func (s *suite) noErases() {
	s.kind(second(s.Erase(s.ctx(), s.key.ID, 1)), callbackd.KindNotFound)
	s.kind(second(s.StepErase(s.ctx(), 1, s.at)), callbackd.KindNotFound)
}

// eraseChecked shows that an outcome that an erasure must have removed is a fault: it is
// one that the engine did not record as canceled.
func (s *suite) eraseChecked() {
	p := s.plant()
	s.erased(p.session.SessionKey)
	r, err := s.Check(s.ctx())
	s.must(err)
	s.equal("faults", r.FaultN, int64(0))
}

func (s *suite) eraseOthers() {
	p := s.plant()
	mine := s.key
	s.key = s.newKey("k2")
	other := *p.session
	other.Key = s.key.ID
	s.must(s.CreateSession(s.ctx(), &other, nil))
	evs := s.publish(s.key, ev1, p.session.SessionKey)
	s.key = mine
	s.erased(p.session.SessionKey)
	ev, err := s.Event(s.ctx(), other.Key, evs[0].ID)
	s.must(err)
	s.equal("the data of another key's event in a session of this name", string(ev.Data), `{"i":0}`)
	s.stored("the session of another key with this name", &other)
}

// Erasures makes erasures of every kind, with every step.
func Erasures(t *testing.T, st store.Store) {
	s := &suite{T: t, Store: st, at: time.Now().Truncate(time.Millisecond)}
	s.key = s.newKey("erasures")
	p := s.plant()
	s.stepped(s.erase(callbackd.EraseVIN, markVIN, true).ID)
	s.erased(p.session.SessionKey)
	s.must(second(s.ListErases(s.ctx(), store.EraseQuery{Key: s.key.ID, Limit: 2})))
	s.must(second(s.ListErases(s.ctx(), store.EraseQuery{Key: store.AllKeys, Running: true, Limit: 2})))
	d := p.pending[0]
	s.must(second(s.Record(s.ctx(), result(d, callbackd.Delivered, s.at, time.Time{}, time.Time{}))))
}
