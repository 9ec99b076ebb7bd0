package callbacks

import (
	"cmp"
	"encoding/json"
	"errors"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
	"callbackd/internal/view"
)

// Sample returns the event of a test-send. It is marked as a test, has complete data of
// the callback's event type, and the callback is its only target. That of a callback for one
// session is an event of that session, because nothing else may refer to the callback. own
// returns the data of a platform's own type, and nil for another.
func Sample(cb *callbackd.Callback, own func(callbackd.EventType) []byte) store.NewEvent {
	t := cb.SampleType()
	data := own(t)
	if data == nil {
		data = SampleData(t)
	}
	return store.NewEvent{Type: t, Session: cmp.Or(cb.Session, session.SampleKey), Data: data, OnlyTo: cb.ID}
}

// SampleData returns the data of a sample of an event.
func SampleData(t callbackd.EventType) []byte {
	if t.IsOwn() {
		return []byte("{}") // a type that the platform does not have any more
	}
	if t.IsNotice() {
		return sampleNotice(t)
	}
	return session.Sample(t)
}

// SampleBody returns the body that a receiver gets with a sample of an event.
func SampleBody(t callbackd.EventType) []byte {
	body := strictjson.AppendString([]byte(`{"event":`), string(t))
	body = strictjson.AppendString(append(body, `,"session_key":`...), session.SampleKey)
	return append(append(body, ','), SampleData(t)[1:]...)
}

// sampleNotice returns the data of a notice about a callback, a volume or a node that does
// not exist.
func sampleNotice(t callbackd.EventType) []byte {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	i := callbackd.OpenIncident(sampleCondition(t, at), nil, at)
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

// sampleCondition returns the condition of a notice at a time.
func sampleCondition(t callbackd.EventType, at time.Time) *callbackd.Condition {
	hour := at.Add(-time.Hour)
	cb := &callbackd.Callback{ID: 1, Event: callbackd.Complete, Name: callbackd.DefaultName, URL: "https://receiver.example/", UpdatedAt: hour, Policy: callbackd.Policy{Expect: time.Hour}}
	switch t {
	case callbackd.NoticePaused:
		return callbackd.CallbackCondition(cb, time.Time{}, callbackd.Pause{Reason: callbackd.PausedGone, At: at})
	case callbackd.NoticeBacklog:
		return callbackd.BacklogCondition(cb, callbackd.CallbackBacklog{ID: 1, Pending: 12, OldestDue: hour}, callbackd.DefaultBacklogOld, at)
	case callbackd.NoticeCertificate:
		return callbackd.CertificateCondition(cb, at.Add(callbackd.CertificateEndsWithin), false, at)
	case callbackd.NoticeSilence:
		return callbackd.SilenceCondition(cb, hour, at)
	case callbackd.NoticeDisk:
		return callbackd.DiskCondition(callbackd.DefaultDiskLow/2, callbackd.DefaultDiskLow)
	case callbackd.NoticeArchive:
		return callbackd.ArchiveCondition(hour, errors.New("write /srv/archive/2026-01-02.local.jsonl.zst: no space left on device"))
	case callbackd.NoticeNodeLost:
		return callbackd.NodeLostCondition("node-2", callbackd.NodesOfName{Newest: 2, N: 1})
	}
	c := callbackd.CallbackCondition(cb, at.Add(-callbackd.FailingAfter), callbackd.Pause{})
	c.Facts.Status = 503
	if t == callbackd.NoticeExhausted {
		c.Kind = t
	}
	return c
}
