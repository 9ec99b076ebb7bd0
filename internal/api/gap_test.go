package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"callbackd/internal/store"
)

// sweep is retention: everything that has ended and is older than now goes.
func (s *server) sweep() {
	s.t.Helper()
	for q := (store.Sweep{Before: time.Now().Add(time.Second), Limit: 100}); ; {
		swept, err := s.store.Sweep(s.t.Context(), q)
		if err != nil {
			s.t.Fatal(err)
		}
		if q.After = swept.Next; swept.Done {
			return
		}
	}
}

// A reader that comes back after events that it had not read were removed is told of a gap.
// Other readers are not.
func TestACursorOlderThanWhatIsKeptIsTold(t *testing.T) {
	onBothStores(t, aCursorOlderThanWhatIsKeptIsTold)
}

func aCursorOlderThanWhatIsKeptIsTold(t *testing.T, on func(*setup)) {
	s := start(t, on)
	other := s.as(s.newKey("other", false))
	_, others := other.after("now")
	_, begin := s.after("start")
	var last string
	for range 4 {
		last = s.publish("SESSION:COMPLETE", "S", `{}`).ID
	}
	first, behindOne := s.after(begin + "&limit=1")
	_, caughtUp := s.after(behindOne)
	s.sweep()
	added := s.publish("SESSION:COMPLETE", "S", `{}`).ID
	for _, cursor := range []string{begin, behindOne, first[0]} {
		s.call("GET", "/v1/events?after="+cursor, "").says(410, "Events after "+cursor+" were removed", "after=start")
		s.call("GET", "/v1/events?after="+cursor+"&wait=1&event=SESSION:COMPLETE", "").ok(410)
	}
	for _, cursor := range []string{caughtUp, last, "start"} {
		if ids, _ := s.after(cursor); len(ids) != 1 || ids[0] != added {
			t.Errorf("after %s: %v, want %s", cursor, ids, added)
		}
	}
	if ids, _ := other.after(others); len(ids) != 0 {
		t.Errorf("another key: %v", ids)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := s.listen(ctx, "", behindOne)
	defer l.close()
	for _, want := range []string{"id: " + behindOne, "event: gap", `data: {"message":"Events after ` + behindOne + ` were removed`, "id: " + added} {
		l.line(t, want)
	}
	l = s.listen(ctx, "", caughtUp)
	defer l.close()
	if text := l.line(t, "id: "+added); strings.Contains(text, "gap") {
		t.Errorf("a reader that missed nothing is told of a gap: %s", text)
	}
}

// An event with a pending delivery is stored longer than later events that ended. A reader
// that goes on from it has missed no event that was stored when it began.
func TestWhatWasRemovedBeforeAReaderBeganIsNoGap(t *testing.T) {
	onBothStores(t, whatWasRemovedBeforeAReaderBeganIsNoGap)
}

func whatWasRemovedBeforeAReaderBeganIsNoGap(t *testing.T, on func(*setup)) {
	s := start(t, on)
	s.register("SESSION:COMPLETE", "http://127.0.0.1:1/hook", "")
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200)
	pending := s.publish("SESSION:COMPLETE", "S", `{}`).ID
	s.publish("SESSION:NOTE_INSERT", "T", `{}`)
	s.sweep()
	kept := s.publish("SESSION:NOTE_INSERT", "T", `{}`).ID
	ids, next := s.after("start&limit=1")
	if len(ids) != 1 || ids[0] != pending {
		t.Fatalf("from the start: %v, want %s", ids, pending)
	}
	if ids, _ := s.after(next); len(ids) != 1 || ids[0] != kept {
		t.Errorf("after %s: %v, want %s", next, ids, kept)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := s.listen(ctx, "", next)
	defer l.close()
	if text := l.line(t, "id: "+kept); strings.Contains(text, "gap") {
		t.Errorf("a reader that missed nothing is told of a gap: %s", text)
	}
	s.sweep()
	s.publish("SESSION:NOTE_INSERT", "S", `{}`)
	s.call("GET", "/v1/events?after="+next, "").says(410, "were removed")
	s.call("GET", "/v1/events?after="+next+"x", "").says(400, "after must be")
}

// line reads on to a line that begins with want, and returns what came before.
func (l *listener) line(t *testing.T, want string) string {
	t.Helper()
	var seen strings.Builder
	for {
		text, err := l.lines.ReadString('\n')
		if strings.HasPrefix(text, want) {
			return seen.String()
		}
		if seen.WriteString(text); err != nil {
			t.Fatalf("no line %q in\n%s", want, seen.String())
		}
	}
}
