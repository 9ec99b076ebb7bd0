package archive_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/archive"

	"github.com/google/go-cmp/cmp"
)

var day = time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)

func local() string { return "local" }

// line is a line of an event that was accepted n hours after day.
func line(n int, key string) string {
	id := callbackd.FirstEventID(day) + callbackd.EventID(n+1)
	return fmt.Sprintf(`{"api_key":%q,"id":%q,"accepted_at":%q,"data":{"n":%d,"text":%q},"deliveries":[{"history":[{},{}]},{"history":[]}]}`+"\n",
		key, id, day.Add(time.Duration(n)*time.Hour).Format(time.RFC3339), n, strings.Repeat("abc", 200))
}

// add writes events n and following.
func add(t *testing.T, w *archive.Writer, at time.Time, n, count int) {
	t.Helper()
	if err := w.Add(at, rows(n, count)); err != nil {
		t.Fatal(err)
	}
}

func rows(n, count int) func(io.Writer) (archive.Added, error) {
	return func(to io.Writer) (a archive.Added, err error) {
		for i := n; i < n+count && err == nil; i++ {
			_, err = io.WriteString(to, line(i, fmt.Sprint("k", i%2)))
		}
		first := callbackd.FirstEventID(day) + callbackd.EventID(n+1)
		return archive.Added{Counts: archive.Counts{Events: int64(count), Deliveries: 2 * int64(count), Attempts: 2 * int64(count)}, First: first, Last: first + callbackd.EventID(count-1)}, err
	}
}

func verify(t *testing.T, dir string) *archive.Report {
	t.Helper()
	r, err := archive.Verify(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func cat(t *testing.T, dir string, q archive.Filter) string {
	t.Helper()
	var out bytes.Buffer
	if err := archive.Cat(t.Context(), dir, q, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// filled returns an archive of two days with ten events, and closes it.
func filled(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "a", "b")
	w := archive.NewWriter(dir, local)
	add(t, w, day, 0, 3)
	add(t, w, day.Add(time.Hour), 3, 2)
	if err := w.Close(); err != nil { // a restart
		t.Fatal(err)
	}
	add(t, w, day.Add(2*time.Hour), 5, 3)
	add(t, w, day.Add(24*time.Hour), 8, 2)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

const first, manifest = "2026-01-31.local.jsonl.zst", "2026-01-31.local.manifest.json"

func TestWhatIsAddedIsRead(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	r := verify(t, dir)
	want := &archive.Report{Files: 2, Counts: archive.Counts{Events: 10, Deliveries: 20, Attempts: 20}, Bytes: r.Bytes, Faults: []archive.Fault{}, Unfinished: []string{}}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	all := ""
	for i := range 10 {
		all += line(i, fmt.Sprint("k", i%2))
	}
	if got := cat(t, dir, archive.Filter{}); got != all {
		t.Errorf("the archive has\n%s", got)
	}
	if got := cat(t, dir, archive.Filter{Since: day.Add(4 * time.Hour), Until: day.Add(9 * time.Hour), Key: "k1"}); got != line(5, "k1")+line(7, "k1") {
		t.Errorf("a part of the archive is\n%s", got)
	}
	info, err := os.Stat(filepath.Join(dir, first))
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() > 3000 {
		t.Errorf("the file is %v, %v; want it compressed and for its owner only", info, err)
	}
}

func TestVerifyFindsEachFault(t *testing.T) {
	t.Parallel()
	change := func(name string, f func([]byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), f(raw), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	copyOf := func(from, to string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			raw, err := os.ReadFile(filepath.Join(dir, from))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, to), raw, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
	}
	for name, c := range map[string]struct {
		harm func(t *testing.T, dir string)
		file string
		says string
	}{
		"a flipped byte":         {change(first, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), first, "another SHA-256"},
		"a flipped first byte":   {change(first, func(b []byte) []byte { b[0] ^= 1; return b }), first, "another SHA-256"},
		"a missing file":         {remove(first), first, "is missing"},
		"a missing manifest":     {remove(manifest), first, "has no manifest"},
		"a truncated last frame": {change(first, func(b []byte) []byte { return b[:len(b)-1] }), first, "its end is missing"},
		"an empty file":          {change(first, func([]byte) []byte { return nil }), first, "its end is missing"},
		"another count":          {change(manifest, replace(`"events": 8`, `"events": 9`)), first, "has 8 events"},
		"another last event":     {change(manifest, replace(`"last": "evt_`, `"last": "evt_0`)), first, "from"},
		"a later format":         {change(manifest, replace(`"format": 1`, `"format": 2`)), manifest, "later version"},
		"no manifest":            {change(manifest, func([]byte) []byte { return []byte("x") }), manifest, "not a manifest"},
		"another day":            {change(manifest, replace(`"day": "2026-01-31"`, `"day": "2026-01-30"`)), manifest, "not the manifest"},
		"another node":           {change(manifest, replace(`"node": "local"`, `"node": "n7"`)), manifest, "not the manifest"},
		"that of another day":    {copyOf("2026-02-01.local.manifest.json", manifest), manifest, "not the manifest"},
		"garbage as a file":      {change(first, func(b []byte) []byte { return bytes.Repeat([]byte("\xff\x00garbage"), len(b)) }), first, "another SHA-256"},
		"a huge window":          {change(first, func(b []byte) []byte { return append([]byte("\x28\xb5\x2f\xfd\x00\xff"), b...) }), first, "another SHA-256"},
		"a path elsewhere":       {change(manifest, replace(`"file": "`, `"file": "../`)), manifest, "not the manifest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filled(t)
			c.harm(t, dir)
			r := verify(t, dir)
			if len(r.Faults) != 1 || r.Faults[0].File != c.file || !strings.Contains(r.Faults[0].Message, c.says) {
				t.Errorf("the faults are %v, want one of %s that says %q", r.Faults, c.file, c.says)
			}
			if len(r.Unfinished) > 0 {
				t.Errorf("%v has a fault, and is said to have only more than its manifest says", r.Unfinished)
			}
			var out bytes.Buffer
			err := archive.Cat(t.Context(), dir, archive.Filter{Since: day.Add(8 * time.Hour)}, &out)
			counted := name == "another count" || name == "another last event"
			if (err == nil) != counted || out.String() != line(8, "k0")+line(9, "k1") {
				t.Errorf("the other file is printed as %q, %v", out.String(), err)
			}
			// A damaged file of today is never added to.
			w := archive.NewWriter(dir, local)
			defer w.Close()
			if err := w.Add(day, rows(20, 1)); (err == nil) != counted {
				t.Errorf("an addition to it: %v", err)
			}
			add(t, w, day.Add(48*time.Hour), 20, 1) // another day has another file
		})
	}
	if _, err := archive.Verify(t.Context(), filepath.Join(t.TempDir(), "none"), nil); callbackd.KindOf(err) != callbackd.KindSetting {
		t.Errorf("no directory: %v", err)
	}
}

// A verification that is interrupted says so, also in the last file, and calls no file damaged.
func TestAnInterruptedVerificationFindsNoFault(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	for at := range int64(2) {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := archive.Verify(ctx, dir, func(done, _ int64) {
			if done == at {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted in file %d: %+v, %v", at+1, r, err)
		}
	}
}

// What an interrupted write left does not count, and the next one cuts it off.
func TestWhatAnInterruptedWriteLeftIsCutOff(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	before := cat(t, dir, archive.Filter{})
	f, err := os.OpenFile(filepath.Join(dir, first), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "\x28\xb5\x2f\xfd a frame without an end")
	f.Close()
	if r := verify(t, dir); len(r.Faults) > 0 || len(r.Unfinished) != 1 || r.Unfinished[0] != first {
		t.Errorf("the report is %+v", r)
	}
	if got := cat(t, dir, archive.Filter{}); got != before {
		t.Errorf("the archive has\n%s", got)
	}
	w := archive.NewWriter(dir, local)
	defer w.Close()
	full := errors.New("the store is away")
	err = w.Add(day, func(to io.Writer) (archive.Added, error) {
		io.WriteString(to, strings.Repeat(line(30, "k"), 10_000))
		return archive.Added{}, full
	})
	if !errors.Is(err, full) {
		t.Errorf("the failure is %v", err)
	}
	if r := verify(t, dir); len(r.Faults)+len(r.Unfinished) > 0 || r.Events != 10 {
		t.Errorf("after a write that failed: %+v", r)
	}
	add(t, w, day, 10, 1)
	if r := verify(t, dir); len(r.Faults)+len(r.Unfinished) > 0 || r.Events != 11 {
		t.Errorf("after the next write: %+v", r)
	}
}

func TestTwoServersDoNotShareAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := archive.NewWriter(dir, local), archive.NewWriter(dir, local)
	defer a.Close()
	defer b.Close()
	add(t, a, day, 0, 1)
	if err := b.Add(day, rows(1, 1)); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a second server: %v", err)
	}
	other := archive.NewWriter(dir, func() string { return "n2" })
	defer other.Close()
	add(t, other, day, 1, 1)
	add(t, a, day, 2, 1)
	if r := verify(t, dir); r.Events != 3 || len(r.Faults) > 0 {
		t.Errorf("the report is %+v", r)
	}
}

// writesTo is set in the process that TestAKilledWriter kills.
const writesTo = "CALLBACKD_TEST_ARCHIVE"

func TestMain(m *testing.M) {
	dir := os.Getenv(writesTo)
	if dir == "" {
		os.Exit(m.Run())
	}
	w := archive.NewWriter(dir, local)
	for n := 0; ; n += 40 {
		if err := w.Add(day, rows(n, 40)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("durable")
	}
}

// A writer that is killed at any time has lost nothing that it said was durable.
func TestAKilledWriterLosesNothing(t *testing.T) { // alone: a process that starts has copies of locked files for a moment
	dir, acknowledged := t.TempDir(), 0
	for round := range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writesTo+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(out)
		for i := 0; said.Scan(); i++ {
			if said.Text() != "durable" {
				t.Fatal(said.Text())
			}
			if acknowledged++; i == round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		r := verify(t, dir)
		if len(r.Faults) > 0 || r.Events < int64(40*acknowledged) {
			t.Fatalf("after %d acknowledged writes and a kill: %+v", acknowledged, r)
		}
	}
}
