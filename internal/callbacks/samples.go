package callbacks

import (
	"cmp"
	"encoding/json"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// Sample returns the event of a test-send. It is marked as a test, has complete data of
// the callback's event type, and the callback is its only target. That of a callback for one
// session is an event of that session, because nothing else may refer to the callback.
func Sample(cb *callbackd.Callback) store.NewEvent {
	t := cb.SampleType()
	return store.NewEvent{Type: t, Session: cmp.Or(cb.Session, session.SampleKey), Data: SampleData(t), OnlyTo: cb.ID}
}

// SampleData returns the data of a sample of an event.
func SampleData(t callbackd.EventType) []byte {
	if t.IsNotice() {
		return sampleNotice(t)
	}
	return session.Sample(t)
}

// sampleNotice returns the data of a notice about a callback that does not exist.
func sampleNotice(t callbackd.EventType) []byte {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	kind := t
	if t == callbackd.NoticeRecovered {
		kind = callbackd.NoticeFailing
	}
	c := callbackd.Condition{Kind: kind, Callback: 1, Name: "1", Facts: callbackd.IncidentFacts{
		Since: at.Add(-callbackd.FailingAfter), Event: callbackd.Complete, Name: callbackd.DefaultName, Origin: "https://receiver.example", Status: 503,
	}}
	if kind == callbackd.NoticePaused {
		c.Facts.Pause = callbackd.PausedNoAnswer
	}
	i := callbackd.OpenIncident(&c, nil, at)
	i.ID = callbackd.IncidentID(callbackd.FirstEventID(at))
	if t == callbackd.NoticeRecovered {
		i.ClosedAt = at.Add(10 * time.Minute)
	}
	data, err := json.Marshal(view.Notice(&i, &callbackd.Key{Account: "acme", Name: "sample"}))
	if err != nil {
		panic(err) // plain values only
	}
	return data
}
