package app

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/archive"
	"callbackd/internal/store"
)

// archiveVolume mounts a small file system at dir, and returns what takes all that is left of it
// and gives it back. ok is false where nothing can be mounted.
func archiveVolume(t *testing.T, dir string) (fill, free func(), ok bool) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Logf("nothing can be mounted: %v", err)
		return nil, nil, false
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	filler := filepath.Join(dir, "filler")
	fill = func() {
		if err := os.WriteFile(filler, make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the volume ends with %v, want that it is full", err)
		}
	}
	free = func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
	return fill, free, true
}

// archivedIn returns how often each event stands in an archive, which must be sound.
func archivedIn(t *testing.T, dir string) map[string]int {
	t.Helper()
	var out bytes.Buffer
	if err := archive.Cat(t.Context(), dir, archive.Filter{}, &out); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	n := int64(0)
	for _, l := range linesOf(t, out.Bytes()) {
		seen[l.ID]++
		n++
	}
	if r, err := archive.Verify(t.Context(), dir, nil); err != nil || len(r.Faults) > 0 || r.Events != n {
		t.Errorf("the archive has %d events and is %+v, %v", n, r, err)
	}
	return seen
}

// acceptOld stores events of one session whose data has size bytes that do not compress.
func (w *watched) acceptOld(key callbackd.KeyID, n, size int) {
	w.t.Helper()
	b := store.Batch{Key: key, At: time.Now()}
	for range n {
		data := make([]byte, size/2)
		rand.Read(data)
		b.Events = append(b.Events, store.NewEvent{Type: callbackd.Complete, Session: "S", Data: fmt.Appendf(nil, `{"x":"%s"}`, hex.EncodeToString(data))})
	}
	if _, err := w.store.Accept(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
}

// The volume of the archive is full: what was archived before stays sound, nothing else is
// removed, and the operator is told. When there is room, also after a restart of the writer, the
// rest is archived once, and the operator is told of the end.
func TestAFullArchiveVolumeLosesNothing(t *testing.T) {
	operators := tellMe(t)
	c := config(t.TempDir())
	c.NoticeKey, c.Archive = "operator", filepath.Join(t.TempDir(), "archive")
	fill, free, ok := archiveVolume(t, c.Archive)
	if !ok {
		return
	}
	w := startWatched(t, c)
	told, _ := w.client("operator")
	_, k := w.client("acme")
	register(t, told, operators.URL, nil, nil, callbackd.NoticeArchive)
	w.acceptOld(k.ID, stepSize, 100)    // fit
	w.acceptOld(k.ID, stepSize, 30_000) // 3 MB compressed, which do not fit
	all := linesByID(t, exported(t, w.store, k.ID, 0))

	sweep := &eventSweep{store: w.store, log: w.log, retention: -48 * time.Hour, archive: w.archive}
	// lost checks that every event is stored or archived, and none of the stored ones is missing.
	lost := func(archived int) {
		t.Helper()
		left, kept := linesByID(t, exported(t, w.store, k.ID, 0)), archivedIn(t, c.Archive)
		n := 0
		for id := range all {
			if _, stored := left[id]; stored && kept[id] > 0 || !stored && kept[id] != 1 {
				t.Fatalf("event %s is archived %d times; stored: %v", id, kept[id], stored)
			}
			n += kept[id]
		}
		if n != archived {
			t.Errorf("%d events are archived, want %d", n, archived)
		}
	}
	fails := func() {
		t.Helper()
		if _, err := sweep.step(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the step ends with %v, want that the disk is full", err)
		}
	}
	if _, err := sweep.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost(stepSize)
	fails() // in the middle of the events
	lost(stepSize)
	fill()
	fails() // at the first byte
	lost(stepSize)

	first := w.next(operators)
	if first.Event != string(callbackd.NoticeArchive) || first.State != "open" || !strings.Contains(first.Text, "no space left") {
		t.Errorf("the notice is %+v, want that the disk is full", first)
	}
	if since, err := w.archiveFailing(); err == nil || since.IsZero() {
		t.Errorf("the archive is failing since %v: %v", since, err)
	}

	if err := w.archive.to.Close(); err != nil {
		t.Fatal(err)
	}
	w.archive.to = archive.NewWriter(c.Archive, func() string { return "local" }) // as after a restart
	fails()
	lost(stepSize)
	free()
	if err := syscall.Mount("tmpfs", c.Archive, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	steps(t, sweep)
	lost(2 * stepSize)
	if n := w.next(operators); n.State != "closed" || n.Incident != first.Incident {
		t.Errorf("the notice of the end is %+v", n)
	}
	if r, err := w.store.Check(t.Context()); err != nil || r.FaultN > 0 {
		t.Errorf("fsck finds %v, %v", r.Faults, err)
	}
}

// A day that begins on a full volume has its files when there is room.
func TestADayOfTheArchiveBeginsOnAFullVolume(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "archive")
	fill, free, ok := archiveVolume(t, dir)
	if !ok {
		return
	}
	w := archive.NewWriter(dir, func() string { return "local" })
	defer w.Close()
	day := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	id := callbackd.FirstEventID(day)
	add := func(at time.Time) error {
		return w.Add(at, func(to io.Writer) (archive.Added, error) {
			id++
			_, err := fmt.Fprintf(to, `{"api_key":"k","id":"%s","accepted_at":"2026-01-31T00:00:00Z","deliveries":[]}`+"\n", id)
			return archive.Added{Counts: archive.Counts{Events: 1}, First: id, Last: id}, err
		})
	}
	if err := add(day); err != nil {
		t.Fatal(err)
	}
	fill()
	for range 2 {
		if err := add(day.Add(24 * time.Hour)); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("a new day begins with %v, want that the disk is full", err)
		}
	}
	if n := len(archivedIn(t, dir)); n != 1 {
		t.Errorf("%d events are archived, want the one of the day before", n)
	}
	free()
	if err := add(day.Add(24 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := len(archivedIn(t, dir)); n != 2 {
		t.Errorf("%d events are archived, want one of each day", n)
	}
}
