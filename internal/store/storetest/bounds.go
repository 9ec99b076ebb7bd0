package storetest

import (
	"bytes"
	"fmt"

	"callbackd"
	"callbackd/internal/store"
)

// pagesEndBySize reads lists of large rows: a page ends at MaxPageData and reads nothing
// beyond it, and no row is missing or comes twice.
func (s *suite) pagesEndBySize() {
	const n = 10
	full := store.MaxPageData / callbackd.MaxEventData
	data := []byte(`{"x":"` + string(bytes.Repeat([]byte("x"), callbackd.MaxEventData-8)) + `"}`)
	for range n {
		_, err := s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: "S", Data: data}}})
		s.must(err)
	}
	for _, typ := range []callbackd.EventType{"", ev1} {
		q, got := store.EventQuery{Key: s.key.ID, Type: typ, Limit: store.MaxPage}, 0
		for {
			page, err := s.ListEvents(s.ctx(), q)
			s.must(err)
			got += len(page.Events)
			if page.Next == 0 {
				s.equal(fmt.Sprintf("whether the last page of type %q has %d events at most", typ, full), len(page.Events) <= full, true)
				break
			}
			s.equal(fmt.Sprintf("events of type %q on a page before the last", typ), len(page.Events), full)
			q.After = page.Next
		}
		s.equal(fmt.Sprintf("events of type %q in all", typ), got, n)
	}
	for after, got := int64(0), 0; ; {
		page, err := s.SessionEvents(s.ctx(), store.SessionEventQuery{Key: s.key.ID, Session: "S", After: after, Limit: store.MaxPage})
		s.must(err)
		got += len(page)
		if !store.SessionEventsFull(page, store.MaxPage) {
			s.equal("events of the session in all", got, n)
			break
		}
		s.equal("events of a session on a page before the last", len(page), full)
		after = page[len(page)-1].Sequence
	}
	s.largeSessions()
}

func (s *suite) largeSessions() {
	const n = 100
	for i := range n {
		s.must(s.CreateSession(s.ctx(), &callbackd.Session{Key: s.key.ID, SessionKey: fmt.Sprintf("ACM-%010d", i), Status: callbackd.StatusIdle, CreatedAt: s.at, UpdatedAt: s.at,
			ExpiresAt: s.at.Add(callbackd.DefaultTimeFrame), Reference: bytes.Repeat([]byte("r"), callbackd.MaxReference)}, nil))
	}
	q, got := store.SessionQuery{Key: s.key.ID, Limit: store.MaxPage}, 0
	for {
		page, err := s.ListSessions(s.ctx(), q)
		s.must(err)
		got += len(page.Sessions)
		if size := len(page.Sessions) * callbackd.MaxReference; size > store.MaxPageData+callbackd.MaxReference {
			s.Errorf("a page has %d sessions with references of %d bytes in all; want %d at most and one more session", len(page.Sessions), size, store.MaxPageData)
		}
		if page.Next == (store.SessionCursor{}) {
			break
		}
		q.After = page.Next
	}
	s.equal("sessions in all", got, n)
}
