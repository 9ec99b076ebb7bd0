package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"
)

// An export of a PostgreSQL database that is killed in the middle of its writes, several
// times, ends as the file that one run writes. Erased events are marked in it.
func TestAKilledExportGoesOn(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Stop()
	store := []string{"--database-url", pg.Schema(t), "--secret-keys", filepath.Join(t.TempDir(), "keys.json")}
	with := func(args ...string) []string { return append(args, store...) }
	out, errs, code := run(t, with("keys", "create", "--account", "acme", "--json")...)
	wantExit(t, "keys create", code, 0, errs)
	var k struct {
		APIKey    string `json:"api_key"`
		APISecret string `json:"api_secret"`
	}
	if err := json.Unmarshal([]byte(out), &k); err != nil {
		t.Fatal(err)
	}
	srv := listening(t, start(t, command(with("serve", "--listen", "127.0.0.1:0", "--allow-target", "127.0.0.0/8")...)))
	cl := &client.Client{Base: srv.url, Account: "acme", APIKey: k.APIKey, APISecret: k.APISecret, HTTP: &http.Client{Timeout: 30 * time.Second}}
	sk := newSink(t)
	hook(t, cl, sk.URL, event)
	const events, person = 600, "a text of a person"
	for i := range events {
		_, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: fmt.Sprint("S", i%60), Data: map[string]string{"name": person, "long": strings.Repeat("x", 1000)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	sk.await(t, "all events", func() bool { return len(sk.ids) == events })
	e, err := cl.EraseSession(t.Context(), "S7", false)
	if err != nil {
		t.Fatal(err)
	}
	sk.await(t, "the erasure", func() bool {
		e, err := cl.Erase(t.Context(), e.ID)
		return err == nil && e.State == "done"
	})
	if code := srv.term(t); code != 0 { // so that nothing changes any more
		t.Errorf("the server ends with %d", code)
	}
	dir := t.TempDir()
	whole, killed := filepath.Join(dir, "whole"), filepath.Join(dir, "killed")
	_, errs, code = run(t, with("export", "events", "--out", whole)...)
	wantExit(t, "an export", code, 0, errs, fmt.Sprintf("exported %d events", events))
	want, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for round := range 4 {
		p := start(t, command(with("export", "events", "--out", killed)...))
		over := int64(len(want)) * int64(round+1) / 6
		for range ticks.C {
			info, err := os.Stat(killed)
			if err == nil && info.Size() > over {
				break
			}
		}
		p.kill()
	}
	_, errs, code = run(t, with("export", "events", "--out", killed)...)
	wantExit(t, "the last run", code, 0, errs, "going on after evt_")
	got, err := os.ReadFile(killed)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("after the kills the file has %d bytes, want the same %d; %v", len(got), len(want), err)
	}
	erased := 0
	for text := range bytes.Lines(got) {
		var line struct {
			SessionKey string          `json:"session_key"`
			ErasedAt   *time.Time      `json:"erased_at"`
			Data       json.RawMessage `json:"data"`
			Deliveries []struct {
				History []struct{ Capture string }
			}
		}
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatal(err)
		}
		marked := line.ErasedAt != nil && string(line.Data) == "{}" && !bytes.Contains(text, []byte(person)) && line.Deliveries[0].History[0].Capture == "erased"
		if marked != (line.SessionKey == "S7") {
			t.Errorf("a line of session %s: %.300s", line.SessionKey, text)
		}
		if marked {
			erased++
		}
	}
	if erased != events/60 {
		t.Errorf("%d lines are marked as erased, want %d", erased, events/60)
	}
}
