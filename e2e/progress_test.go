package e2e

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"callbackd/client"
)

// Long commands show how far they are on a terminal, and print nothing of it elsewhere.
func TestLongCommandsShowTheirProgressOnATerminal(t *testing.T) {
	t.Parallel()
	receiver, _ := program(t, ok)
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	if _, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: event, URL: receiver}); err != nil {
		t.Fatal(err)
	}
	publish(t, cl, client.NewEvent{Event: event, SessionKey: "S"})
	delivered := func(n int) {
		t.Helper()
		eventually(t, "all are delivered", func() bool {
			page, err := cl.Deliveries(t.Context(), url.Values{"state": {"delivered"}})
			return err == nil && len(page.Data) == n
		})
	}
	delivered(1) // the others are accepted later, as the bar of an export needs it
	for range 2 {
		publish(t, cl, client.NewEvent{Event: event, SessionKey: "S"})
	}
	delivered(3)
	for _, c := range []struct {
		name, bar, end string
		args           []string
	}{
		{"fsck", "[##############################] 3/3 events", "every delivery is in exactly one state", []string{"fsck", "--data", dir}},
		{"backup", "] ", "Copied", []string{"backup", "--data", dir, "--to", filepath.Join(t.TempDir(), "copy")}},
		{"export", " %, ", "exported", []string{"export", "events", "--data", dir, "--out", filepath.Join(t.TempDir(), "events")}},
		{"audit verify", "] 3/3 entries", "no entry was changed, added or removed", []string{"audit", "verify", "--data", dir}},
		{"reseal", " %, ", "Nothing in the store needs another key", []string{"keyset", "reseal", "--data", dir}},
		{"replay", "/3 deliveries, running", "made due", []string{"replay", "start", "--state", "delivered", "--rate", "1", "--follow", "--server", cl.Base}},
		{"simulate", "/2 sessions, ", "events in", []string{"simulate", "--sessions", "2", "--speed", "max", "--server", cl.Base}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tty := openTerminal(t)
			cmd := withKey(cl, command(c.args...))
			tty.runClearing(t, cmd)
			tty.until(t, c.bar)
			tty.until(t, c.end)
			if c.name == "replay" {
				return // the whole takes as long as the rate says
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, args := range [][]string{{"export", "events", "--data", dir}, {"keyset", "reseal", "--data", dir}, {"fsck", "--data", dir}, {"backup", "--data", dir, "--to", filepath.Join(t.TempDir(), "copy")}} {
		out, errs, code := run(t, args...)
		wantExit(t, args[0], code, 0, out+errs)
		if strings.ContainsAny(out+errs, "\r\x1b") {
			t.Errorf("%s prints a bar without a terminal: %q %q", args[0], out, errs)
		}
	}
}

// What a server does for a command that follows it is shown too.
func TestWhatIsFollowedShowsItsProgressOnATerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	if _, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: event, URL: "http://127.0.0.1:1/"}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		publish(t, cl, client.NewEvent{Event: event, SessionKey: "S", Data: map[string]string{"vin": "WVWZZZ1JZXW000001"}})
	}
	token := newToken(t, dir, "test", "full")
	for _, c := range []struct {
		name, bar, end string
		args           []string
	}{
		{"cancel", "[..............................] 0/3 deliveries, running", "3 of 3 canceled", []string{"deliveries", "cancel", "--all", "--follow"}},
		{"erase", "looking for it in sessions: sessions: 0", "receipt {", []string{"erase", "start", "--vin", "WVWZZZ1JZXW000001", "--follow"}},
		{"erase all", "[..............................] 0/1 API keys", "receipt {", []string{"erase", "all", "--vin", "WVWZZZ1JZXW000001", "--follow", "--token", token}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tty := openTerminal(t)
			cmd := withKey(cl, command(append(c.args, "--server", cl.Base)...))
			tty.runClearing(t, cmd)
			tty.until(t, c.bar)
			tty.until(t, c.end)
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The measurements show how many of their rounds are over.
func TestBenchShowsItsProgressOnATerminal(t *testing.T) {
	t.Parallel()
	bench := filepath.Join(t.TempDir(), "bench")
	build := exec.Command("go", "build", "-o", bench, "../bench")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as callbackd was built, so only little is compiled
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tty := openTerminal(t)
	cmd := by(bench, command("sessions", "-events", "20", "-sessions", "2", "-rounds", "2"))
	tty.runClearing(t, cmd)
	tty.until(t, "round 1 of 2")
	tty.until(t, "[..............................] 0/2 rounds")
	tty.until(t, "[###############...............] 1/2 rounds")
	tty.until(t, "round 2 of 2")
	tty.until(t, "CPU an event, server process")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
