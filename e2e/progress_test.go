package e2e

import (
	"net/url"
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
	for range 3 {
		publish(t, cl, client.NewEvent{Event: event, SessionKey: "S"})
	}
	eventually(t, "all are delivered", func() bool {
		page, err := cl.Deliveries(t.Context(), url.Values{"state": {"delivered"}})
		return err == nil && len(page.Data) == 3
	})
	for _, c := range []struct {
		name, bar, end string
		args           []string
	}{
		{"fsck", "[##############################] 3/3 events", "every delivery is in exactly one state", []string{"fsck", "--data", dir}},
		{"backup", "] ", "Copied", []string{"backup", "--data", dir, "--to", filepath.Join(t.TempDir(), "copy")}},
		{"replay", "/3 deliveries, running", "made due", []string{"replay", "start", "--state", "delivered", "--rate", "1", "--follow", "--server", cl.Base}},
		{"simulate", "/2 sessions, ", "events in", []string{"simulate", "--sessions", "2", "--speed", "max", "--server", cl.Base}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tty := openTerminal(t)
			cmd := withKey(cl, command(c.args...))
			tty.run(t, cmd)
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
	for _, args := range [][]string{{"fsck", "--data", dir}, {"backup", "--data", dir, "--to", filepath.Join(t.TempDir(), "copy")}} {
		out, errs, code := run(t, args...)
		wantExit(t, args[0], code, 0, out+errs)
		if strings.ContainsAny(out+errs, "\r\x1b") {
			t.Errorf("%s prints a bar without a terminal: %q %q", args[0], out, errs)
		}
	}
}
