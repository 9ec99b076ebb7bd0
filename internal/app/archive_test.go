package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/archive"
	"callbackd/internal/export"
	"callbackd/internal/store"
)

// sweepInto returns the step of retention with an archive, for all events that have ended.
func sweepInto(t *testing.T, s store.Store, dir string) *eventSweep {
	t.Helper()
	w := archive.NewWriter(dir, func() string { return "local" })
	t.Cleanup(func() { w.Close() })
	return &eventSweep{store: s, log: slog.New(slog.DiscardHandler), retention: -48 * time.Hour,
		archive: &archiver{dir: dir, to: w, from: export.Exporter{From: s, Preview: preview, Told: func(export.Progress) {}}}}
}

// steps runs steps until one says that there is no more to do.
func steps(t *testing.T, e *eventSweep) {
	t.Helper()
	for wait := time.Duration(1); wait > 0; {
		var err error
		if wait, err = e.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// Retention removes what it has archived, and nothing else; what the archive has is what an
// export had. While the archive cannot be written, nothing is removed.
func TestRetentionArchives(t *testing.T) { onStores(t, retentionArchives) }

func retentionArchives(t *testing.T, server, _ store.Store) {
	before := linesByID(t, exported(t, server, store.AllKeys, 0))
	dir := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // in the place of the directory
		t.Fatal(err)
	}
	e := sweepInto(t, server, dir)
	for range 3 {
		if _, err := e.step(t.Context()); err == nil {
			t.Fatal("retention goes on without its archive")
		}
	}
	if now := linesByID(t, exported(t, server, store.AllKeys, 0)); len(now) != len(before) || e.archive.failure.Load() == nil {
		t.Fatalf("%d of %d events are left while the archive cannot be written", len(now), len(before))
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	steps(t, e)
	if e.archive.failure.Load() != nil {
		t.Error("the archive counts as failing after it was written")
	}
	left := linesByID(t, exported(t, server, store.AllKeys, 0))
	var out bytes.Buffer
	if err := archive.Cat(t.Context(), dir, archive.Filter{}, &out); err != nil {
		t.Fatal(err)
	}
	kept := linesByID(t, out.Bytes())
	if len(kept) == 0 || len(left) == 0 || len(left)+len(kept) != len(before) {
		t.Errorf("%d events are stored and %d archived, of %d", len(left), len(kept), len(before))
	}
	for id, line := range kept {
		if line != before[id] {
			t.Errorf("event %s is archived as\n%s\nand was exported as\n%s", id, line, before[id])
		}
	}
	if r, err := archive.Verify(t.Context(), dir, nil); err != nil || len(r.Faults) > 0 || r.Events != int64(len(kept)) {
		t.Errorf("the archive is %+v, %v", r, err)
	}
	if r, err := server.Check(t.Context()); err != nil || r.FaultN > 0 {
		t.Errorf("fsck finds %v, %v", r.Faults, err)
	}
}

func linesByID(t *testing.T, raw []byte) map[string]string {
	t.Helper()
	lines := map[string]string{}
	for text := range bytes.Lines(raw) {
		lines[linesOf(t, text)[0].ID] = string(text)
	}
	return lines
}

// A crash after the write and before the removal repeats events and loses none.
func TestACrashBeforeTheRemovalRepeats(t *testing.T) { onStores(t, crashBeforeRemoval) }

func crashBeforeRemoval(t *testing.T, server, _ store.Store) {
	dir := t.TempDir()
	e := sweepInto(t, server, dir)
	look, err := server.Sweep(t.Context(), store.Sweep{Before: time.Now().Add(48 * time.Hour), Limit: stepSize, Look: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.archive.write(t.Context(), look.Events); err != nil {
		t.Fatal(err)
	}
	if err := e.archive.to.Close(); err != nil {
		t.Fatal(err)
	}
	again := sweepInto(t, server, dir) // after the crash
	steps(t, again)
	var out bytes.Buffer
	if err := archive.Cat(t.Context(), dir, archive.Filter{}, &out); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, l := range linesOf(t, out.Bytes()) {
		seen[l.ID]++
	}
	for id := range look.Events {
		if seen[id.String()] != 2 {
			t.Errorf("event %s is in the archive %d times, want 2", id, seen[id.String()])
		}
		if _, err := server.Event(t.Context(), store.AllKeys, id); callbackd.KindOf(err) != callbackd.KindNotFound {
			t.Errorf("event %s is still stored: %v", id, err)
		}
	}
}
