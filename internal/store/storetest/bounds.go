package storetest

import (
	"bytes"
	"fmt"

	"callbackd"
	"callbackd/internal/store"
)

// pagesEndBySize reads lists of large rows: a page ends at MaxPageData, with
// what is beyond it left unread, and nothing is left out or comes twice.
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
			if got += len(page.Events); len(page.Events) > full || len(page.Events) < full && page.Next != 0 {
				s.Errorf("a page of %d events of %d bytes", len(page.Events), len(data))
			}
			if page.Next == 0 {
				break
			}
			q.After = page.Next
		}
		if got != n {
			s.Errorf("%d events of type %q in all", got, typ)
		}
	}
	for after, got := int64(0), 0; ; {
		page, err := s.SessionEvents(s.ctx(), store.SessionEventQuery{Key: s.key.ID, Session: "S", After: after, Limit: store.MaxPage})
		s.must(err)
		got += len(page)
		if !store.SessionEventsFull(page, store.MaxPage) {
			if got != n {
				s.Errorf("%d events of the session", got)
			}
			break
		}
		if len(page) != full {
			s.Errorf("a page of %d events of a session", len(page))
		}
		after = page[len(page)-1].Sequence
	}
	s.largeSessions()
}

func (s *suite) largeSessions() {
	const n = 100
	for i := range n {
		s.must(s.CreateSession(s.ctx(), &callbackd.Session{Key: s.key.ID, SessionKey: fmt.Sprintf("ACM-%010d", i), Status: callbackd.StatusIdle, CreatedAt: s.at, UpdatedAt: s.at,
			ExpiresAt: s.at.Add(callbackd.DefaultTimeFrame), Reference: bytes.Repeat([]byte("r"), callbackd.MaxReference)}))
	}
	q, got := store.SessionQuery{Key: s.key.ID, Limit: store.MaxPage}, 0
	for {
		page, err := s.ListSessions(s.ctx(), q)
		s.must(err)
		if got += len(page.Sessions); len(page.Sessions)*callbackd.MaxReference > store.MaxPageData+callbackd.MaxReference {
			s.Errorf("a page of %d sessions", len(page.Sessions))
		}
		if page.Next == (store.SessionCursor{}) {
			break
		}
		q.After = page.Next
	}
	if got != n {
		s.Errorf("%d sessions in all", got)
	}
}
