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
	return append(args, "--url", cl.Base, "--account", cl.Account, "--key", cl.APIKey, "--secret", cl.APISecret)
}

// A replay goes on after kill -9 where it was: everything arrives, and what
// comes twice was in flight.
func TestAReplaySurvivesKillNine(t *testing.T) {
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
	out, errs, code := run(t, callAs(cl, "replay", "start", "--target", "default", "--event", event, "--since", "1h", "--dry-run")...)
	if code != 0 || out != "2,000 deliveries would be sent\n" {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	out, errs, code = run(t, callAs(cl, "replay", "start", "--target", "default", "--event", event, "--json")...)
	var r wire.Replay
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || r.Total != n {
		t.Fatalf("%v, %d %s%s", err, code, out, errs)
	}
	broken := map[try]int{} // by kills, before they were recorded
	for _, at := range []int{n / 8, n / 2} {
		sk.await(t, "part of the replay", func() bool { return len(sk.ids) >= at })
		srv.kill()
		sk.await(t, "what was under way ends", func() bool { return sk.conns == 0 })
		done := recorded(t, dir)
		sk.mu.Lock()
		for a := range sk.tries {
			if !done[a] {
				broken[a]++
			}
		}
		sk.mu.Unlock()
		srv = serve(t, dir)
		cl.Base = srv.url
	}
	sk.await(t, "the whole replay", func() bool { return len(sk.ids) == n })
	sk.mu.Lock()
	for a, times := range sk.tries {
		if times > 1+broken[a] {
			t.Errorf("attempt %d of %s was made %d times, and %d kills broke it off", a.n, a.id, times, broken[a])
		}
	}
	sk.mu.Unlock()
	if code := srv.term(t); code != 0 {
		t.Errorf("stop: %d", code)
	}
	fsck(t, dir)
	srv = serve(t, dir)
	cl.Base = srv.url
	out, errs, code = run(t, callAs(cl, "replay", "show", r.ID)...)
	if code != 0 || !strings.Contains(out, "2,000 of 2,000 made due: 2,000 delivered, 0 failed, 0 pending") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	out, errs, code = run(t, callAs(cl, "replay", "start", "--state", "delivered", "--session", "S0-7", "--follow")...)
	if code != 0 || !strings.Contains(out, "done  1 of 1 made due: 1 delivered") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	out, _, code = run(t, callAs(cl, "replay", "list")...)
	if code != 0 || strings.Count(out, "\n") != 3 || !strings.Contains(out, r.ID) {
		t.Errorf("%d %s", code, out)
	}
	for _, args := range [][]string{{"pause", r.ID}, {"cancel", r.ID}, {"resume", "rpl_0000000000001"}, {"start", "--since", "yesterday"}, {"start", "--state", "x"}} {
		if out, errs, code := run(t, callAs(cl, append([]string{"replay"}, args...)...)...); code == 0 || errs == "" {
			t.Errorf("%v: %d %s%s", args, code, out, errs)
		}
	}
}
