package storetest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Texts of a person, which plant writes.
const (
	markVIN   = "1MARKERMARKER0001"
	markPhone = "+1 (555) 555-0177"
	markText  = "MarkerOfAPerson"
)

// Marks are texts of a person, which stand wherever a person's data can be.
var Marks = []string{markVIN, markPhone, markText}

// planted is what plant has made.
type planted struct {
	session *callbackd.Session
	cb      *callbackd.Callback
	events  []*callbackd.Event // published ones
	pending []callbackd.Delivery
}

// plant writes a person's data wherever the store can have it.
func (s *suite) plant() (p planted) {
	s.Helper()
	at := s.at.UTC()
	p.cb = s.newCallback(s.key, ev1, "default")
	f, err := callbackd.ParseFilter("filter", []byte(`{"data.vin":{"eq":"another"}}`))
	s.must(err)
	_, _, err = s.CreateCallback(s.ctx(), callbackd.Callback{Key: s.key.ID, Event: ev1, Name: "others", URL: "https://b.example/h", Method: "POST",
		Policy: callbackd.Policy{Filter: f}, Secrets: []callbackd.SigningSecret{{Value: "w"}}}, at)
	s.must(err)
	p.session = s.newSession(s.key, func(x *callbackd.Session) {
		x.FirstName, x.LastName, x.ClientID, x.RedirectURL = markText, markText, markText, "https://a.example/"+markText
		x.SMS = callbackd.SMS{To: markPhone, ToName: markText, From: markPhone, By: markText}
		x.Vehicle = callbackd.Vehicle{VIN: markVIN, Make: markText, OdomReading: markText}
		x.Reference, x.SourceProperties = []byte(`{"lead":"`+markText+`"}`), []byte(`{"api_name":"`+markText+`"}`)
		x.Status = callbackd.StatusProcess
		x.Photos = []callbackd.Photo{{Code: 1, Typed: markVIN, Approved: true, CreatedAt: at, UpdatedAt: at}, {Code: 4, URL: "https://p.example/" + markText, Reason: markText, CreatedAt: at, UpdatedAt: at}}
	})
	key := p.session.SessionKey
	note := callbackd.Note{Title: markText, Description: markText, InsertedBy: markText, InsertedAt: at.UTC()}
	_, _, err = s.ChangeSession(s.onceWith("PUT /v1/sessions/"+key, `{"session_key":"`+key+`","name":"`+markText+`"}`), s.key.ID, key, at, func(x *callbackd.Session) (store.SessionChange, error) {
		x.Notes++
		x.Results = []byte(`{"vin":"` + markVIN + `"}`)
		return store.SessionChange{Notes: []callbackd.Note{note}, Events: []store.NewEvent{{Type: callbackd.NoteInsert, Data: []byte(`{"note":"` + markText + `"}`)}}}, nil
	})
	s.must(err)
	b := store.Batch{Key: s.key.ID, At: at, Idempotency: "batch", Digest: [32]byte{7}}
	for i := range 6 {
		b.Events = append(b.Events, store.NewEvent{Type: ev1, Session: key, Idempotency: fmt.Sprint("one", i), Data: fmt.Appendf(nil, `{"vin":%q,"phone":%q,"name":%q,"long":%q}`, markVIN, markPhone, markText, strings.Repeat(markText, 500))})
	}
	p.events, err = s.Accept(s.ctx(), b)
	s.must(err)
	own := given("https://c.example/"+markText, ev2)
	own.Payload = []byte(`{"name":"` + markText + `","vin":"` + markVIN + `"}`)
	s.must(second(s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: at, Events: []store.NewEvent{{Type: callbackd.SMSProcess, Session: key, Data: []byte("{}"), Callback: own}}})))
	s.attempts(p.cb.ID)
	p.pending = append(s.fresh(p.cb.ID), s.dueOf(callbackd.Retries, p.cb.ID)...)
	s.cancelOne(key)
	s.must(s.AppendLogs(s.ctx(), []store.LogEntry{{Key: s.key.ID, At: at, Method: "PUT", Path: "/v1/sessions/" + key, Status: 400, Message: "vin " + markVIN + " of " + markText, Address: "192.0.2.1"}}))
	return p
}

// attempts makes attempts of the first deliveries of a callback, whose requests and answers
// have a person's data.
func (s *suite) attempts(cb callbackd.CallbackID) {
	s.Helper()
	due := s.at.Add(time.Hour)
	for _, state := range []callbackd.State{callbackd.Delivered, callbackd.Failed, callbackd.Pending} {
		var at time.Time
		if state == callbackd.Pending {
			at = due
		}
		o := result(s.fresh(cb)[0], state, s.at, at, time.Time{})
		o.Attempt.Body, o.Attempt.Headers, o.Attempt.Location = []byte(strings.Repeat(markText+markVIN, 300)), "X: "+markText+"\n", "/"+markText
		o.Attempt.RetryAfter, o.Attempt.Error = markPhone, "the receiver answered "+markText
		s.must(second(s.Record(s.ctx(), o)))
	}
}

// cancelOne cancels the retries of a session, with a reason in a person's words.
func (s *suite) cancelOne(session string) {
	s.Helper()
	by := callbackd.Cancellation{By: callbackd.ByKey(s.key.ID), Reason: "asked by " + markText}
	r, err := s.CreateReplay(s.ctx(), callbackd.Replay{Key: s.key.ID, Filter: callbackd.CancelFilter(callbackd.ReplayFilter{Session: session, Type: callbackd.SMSProcess}), Cancel: &by, CreatedAt: s.at})
	s.must(err)
	s.step(r, s.at)
}

// onceWith is the context of a call with an idempotency key, with its answer.
func (s *suite) onceWith(where, body string) context.Context {
	o := store.NewOnce(s.key.ID, where, "once", []byte("sent"), s.at)
	o.Show = func(any) (store.Answer, error) { return store.Answer{Status: 200, Body: []byte(body)}, nil }
	return store.WithOnce(s.ctx(), o)
}

// Traces plants a person's data in a store and erases it. texts returns everything that the
// store's files have, or its tables. They must have the person's data before and not after.
func Traces(t *testing.T, st store.Store, texts func() []byte) {
	s := &suite{T: t, Store: st, at: time.Now().Truncate(time.Millisecond)}
	s.key = s.newKey("k1")
	p := s.plant()
	for i := range 60 { // so that rows share pages with others, and move when pages are split
		other := s.newSession(s.key, func(x *callbackd.Session) { x.FirstName = strings.Repeat("x", 20*i) })
		s.publish(s.key, ev1, fmt.Sprint("S", i))
		for _, key := range []string{p.session.SessionKey, other.SessionKey} {
			_, _, err := s.ChangeSession(s.ctx(), s.key.ID, key, s.at, func(x *callbackd.Session) (store.SessionChange, error) {
				x.ClientID = strings.Repeat(x.ClientID[:1], 1+i*37%900)
				return store.SessionChange{}, nil
			})
			s.must(err)
		}
	}
	s.must(second(s.StepErase(s.ctx(), s.erase(callbackd.EraseSession, "nobody", false).ID, s.at))) // flushes
	before := texts()
	for _, mark := range Marks {
		if !bytes.Contains(before, []byte(mark)) {
			t.Errorf("%s is nowhere before the erasure: the test looks at the wrong place", mark)
		}
	}
	s.erased(p.session.SessionKey)
	after := texts()
	for _, mark := range Marks {
		if i := bytes.Index(after, []byte(mark)); i >= 0 {
			t.Errorf("%s is still there after the erasure: …%q…", mark, after[max(0, i-60):min(len(after), i+80)])
		}
	}
	s.balanced()
}
