package progress

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd/internal/humanize"
)

// bar returns a bar whose clock the test moves, and what it has drawn.
func bar(unit string) (b *Bar, out *bytes.Buffer, clock *time.Time) {
	out, clock = &bytes.Buffer{}, new(time.Time)
	*clock = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	return newBar(out, unit, humanize.Number[int64], func() int { return 0 }, func() time.Time { return *clock }), out, clock
}

// wantLine fails the test unless the last line is want.
func wantLine(t *testing.T, out *bytes.Buffer, want string) {
	t.Helper()
	lines := strings.Split(out.String(), "\r")
	if got := lines[len(lines)-1]; got != want {
		t.Errorf("the line is %q, want %q", got, want)
	}
}

func TestBar(t *testing.T) {
	b, out, clock := bar("events")
	b.Show(0, 3000, "")
	wantLine(t, out, "[..............................] 0/3,000 events\x1b[K")
	*clock = clock.Add(500 * time.Millisecond)
	b.Show(100, 3000, "")
	wantLine(t, out, "[#.............................] 100/3,000 events\x1b[K")
	*clock = clock.Add(9500 * time.Millisecond)
	b.Show(1000, 3000, "2 failed")
	wantLine(t, out, "[##########....................] 1,000/3,000 events, 2 failed, 20 s left\x1b[K")
	*clock = clock.Add(every / 2) // too soon to draw
	b.Show(1500, 3000, "")
	wantLine(t, out, "[##########....................] 1,000/3,000 events, 2 failed, 20 s left\x1b[K")
	*clock = clock.Add(time.Second)
	b.Show(900, 3000, "") // told late
	wantLine(t, out, "[##########....................] 1,000/3,000 events, 2 failed, 20 s left\x1b[K")
	b.Show(4000, 3000, "")
	wantLine(t, out, "[##############################] 3,000/3,000 events\x1b[K")
	b.Clear()
	wantLine(t, out, "\x1b[K")
	before := out.Len()
	b.Clear()
	b.Show(1, 0, "")
	if out.Len() != before {
		t.Errorf("it draws %q for nothing", out.String()[before:])
	}
}

// What was done before the first call does not count for the time that is left.
func TestTheTimeLeftOfWhatGoesOn(t *testing.T) {
	b, out, clock := bar("")
	b.Show(900, 1000, "")
	*clock = clock.Add(10 * time.Second)
	b.Show(910, 1000, "")
	wantLine(t, out, "[###########################...] 910/1,000, 1 min 30 s left\x1b[K")
}

func TestABarWithoutAFormatSaysAPercentage(t *testing.T) {
	b, out, clock := bar("")
	b.format = nil
	b.Show(0, 300, "nothing")
	*clock = clock.Add(10 * time.Second)
	b.Show(100, 300, "some")
	wantLine(t, out, "[##########....................] 33 %, some, 20 s left\x1b[K")
}

func TestAStatusHasNoBar(t *testing.T) {
	b, out, clock := bar("")
	b.Status("looking")
	b.Status("too soon")
	wantLine(t, out, "looking\x1b[K")
	*clock = clock.Add(every)
	b.Status("found")
	wantLine(t, out, "found\x1b[K")
	b.Clear()
	wantLine(t, out, "\x1b[K")
}

// A line that does not fit would go on in the next one of the terminal, which is never cleared.
func TestALineFitsTheTerminal(t *testing.T) {
	b, out, clock := bar("events")
	columns := 46
	b.columns = func() int { return columns }
	b.Show(1, 3, "")
	wantLine(t, out, "[##########....................] 1/3 events\x1b[K")
	columns = 41
	*clock = clock.Add(10 * time.Second)
	b.Show(2, 3, "")
	wantLine(t, out, "2/3 events, 10 s left\x1b[K")
	columns = 5
	*clock = clock.Add(10 * time.Second)
	b.Status("a – b")
	wantLine(t, out, "a – \x1b[K")
	columns = 1
	*clock = clock.Add(10 * time.Second)
	b.Status("a – b")
	wantLine(t, out, "\x1b[K")
}

func TestNoBarWithoutATerminal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, b := range []*Bar{New(file, "events", humanize.Number[int64]), New(&bytes.Buffer{}, "events", humanize.Number[int64])} {
		if b != nil {
			t.Error("there is a bar")
		}
		b.Show(1, 2, "")
		b.Status("looking")
		b.Clear()
	}
	if info, err := file.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
}

func TestABarIsUsedConcurrently(t *testing.T) {
	b, _, _ := bar("events")
	var all sync.WaitGroup
	for i := range int64(50) {
		all.Go(func() {
			b.Show(i, 50, "")
			b.Clear()
		})
	}
	all.Wait()
}
