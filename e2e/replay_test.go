package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"callbackd/client"
	"callbackd/wire"
)

// callAs is a command that calls the server as a client's key.
func callAs(cl *client.Client, args ...string) []string {
	return append(args, "--server", cl.Base, "--account", cl.Account, "--key", cl.APIKey, "--secret", cl.APISecret)
}

// says runs a command that must succeed and print each part, and returns what it
// prints.
func says(t *testing.T, args []string, parts ...string) string {
	t.Helper()
	out, errs, code := run(t, args...)
	if code != 0 {
		t.Fatalf("%q ends with %d, want 0: %s%s", args, code, out, errs)
	}
	for _, p := range parts {
		if !strings.Contains(out, p) {
			t.Errorf("%q prints %q, want it to have %q", args, out, p)
		}
	}
	return out
}

// refuses runs a command that must fail and name the reason.
func refuses(t *testing.T, args []string, reason string) {
	t.Helper()
	out, errs, code := run(t, args...)
	if code != 1 {
		t.Errorf("%q ends with %d, want 1: %s%s", args, code, out, errs)
	}
	if !strings.Contains(errs, reason) {
		t.Errorf("%q says %q, want %q", args, errs, reason)
	}
}

// A replay goes on after kill -9 where it was: everything arrives, and what
// comes twice was in flight.
func TestAReplaySurvivesKillNine(t *testing.T) {
	t.Parallel()
	const n = 2000
	sk := newSink(t)
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	for i := range n / 500 {
		var b []client.NewEvent
		for j := range 500 {
			b = append(b, client.NewEvent{Event: event, SessionKey: fmt.Sprint("S", i, "-", j), Data: map[string]int{"i": i}})
		}
		if err := cl.Do(t.Context(), "POST", "/v1/events", b, nil); err != nil {
			t.Fatal(err)
		}
	}
	hook(t, cl, sk.URL, event)
	says(t, callAs(cl, "replay", "start", "--target", "default", "--event", event, "--since", "1h", "--dry-run"), "2,000 deliveries would be sent\n")
	var r wire.Replay
	if err := json.Unmarshal([]byte(says(t, callAs(cl, "replay", "start", "--target", "default", "--event", event, "--json"))), &r); err != nil {
		t.Fatal(err)
	}
	if r.Total != n {
		t.Fatalf("the replay has %d deliveries, want %d", r.Total, n)
	}
	broken := map[try]int{} // by kills, before they were recorded
	for _, at := range []int{n / 8, n / 2} {
		sk.await(t, "part of the replay", func() bool { return len(sk.ids) >= at })
		srv.kill()
		sk.await(t, "what was under way ends", func() bool { return sk.conns == 0 })
		sk.notRecorded(recorded(t, dir), broken)
		srv = serve(t, dir)
		cl.Base = srv.url
	}
	sk.await(t, "the whole replay", func() bool { return len(sk.ids) == n })
	sk.wantRepeatsOf(t, broken)
	if code := srv.term(t); code != 0 {
		t.Errorf("the stop ends with %d, want 0", code)
	}
	fsck(t, dir)
	srv = serve(t, dir)
	cl.Base = srv.url
	replayCommands(t, cl, r.ID)
}

// notRecorded adds the attempts that arrived and were not recorded to broken, and
// returns how many they are.
func (s *sink) notRecorded(recorded map[try]bool, broken map[try]int) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range s.tries {
		if !recorded[a] {
			broken[a]++
			n++
		}
	}
	return n
}

// wantRepeatsOf checks that only those attempts came more than once that were broken
// off, and returns how many repeats there were.
func (s *sink) wantRepeatsOf(t *testing.T, broken map[try]int) (repeats int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for a, times := range s.tries {
		repeats += times - 1
		if most := 1 + broken[a]; times > most {
			t.Errorf("attempt %d of %s was made %d times, want %d or fewer: that is how many kills broke it off, and one", a.n, a.id, times, most)
		}
	}
	return repeats
}

// replayCommands tries the commands on a replay that is done.
func replayCommands(t *testing.T, cl *client.Client, id string) {
	t.Helper()
	says(t, callAs(cl, "replay", "show", id), "2,000 of 2,000 made due: 2,000 delivered, 0 failed, 0 pending")
	says(t, callAs(cl, "replay", "start", "--state", "delivered", "--session", "S0-7", "--follow"), "done  1 of 1 made due: 1 delivered")
	list := says(t, callAs(cl, "replay", "list"), id)
	if n := strings.Count(list, "\n"); n != 3 {
		t.Errorf("the list has %d lines, want a heading and 2 replays:\n%s", n, list)
	}
	for _, args := range [][]string{{"pause", id}, {"cancel", id}, {"resume", "rpl_0000000000001"}, {"start", "--since", "yesterday"}, {"start", "--state", "x"}} {
		if out, errs, code := run(t, callAs(cl, append([]string{"replay"}, args...)...)...); code == 0 || errs == "" {
			t.Errorf("%v ends with %d and prints %q and %q, want an error", args, code, out, errs)
		}
	}
}
