// Package progress shows on a terminal how far something long has come, and how much time is
// left. Elsewhere it prints nothing.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"callbackd/internal/humanize"

	"golang.org/x/term"
)

// Bar is a line of a terminal that is drawn again and again. It may be used concurrently. A
// nil bar draws nothing.
type Bar struct {
	out     io.Writer
	unit    string
	format  func(int64) string
	columns func() int // of the terminal; 0 when it does not say
	now     func() time.Time

	mu    sync.Mutex
	first time.Time // of the first call of Show
	base  int64     // what was done then
	done  int64
	drawn time.Time // zero when the line is empty
}

// New returns a bar that counts in a unit, such as events; an empty one is left out. format
// writes a number; without it the bar says a percentage. It returns nil unless out is a terminal
// that can clear a line.
func New(out io.Writer, unit string, format func(int64) string) *Bar {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	columns := func() int {
		n, _, err := term.GetSize(int(file.Fd()))
		if err != nil {
			return 0
		}
		return n
	}
	return newBar(out, unit, format, columns, time.Now)
}

func newBar(out io.Writer, unit string, format func(int64) string, columns func() int, now func() time.Time) *Bar {
	if unit != "" {
		unit = " " + unit
	}
	return &Bar{out: out, unit: unit, format: format, columns: columns, now: now}
}

const (
	width = 30                     // of the bar, in characters
	every = 100 * time.Millisecond // how often the line is drawn at most
	soon  = time.Second            // how long it takes until the time left can be estimated
)

// Show says that done of total are done. What comes after a larger number is ignored. note is
// added to the line.
func (b *Bar) Show(done, total int64, note string) {
	if b == nil || total <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if b.first.IsZero() {
		b.first, b.base = now, done
	}
	done = min(done, total)
	if done < b.done || done < total && now.Sub(b.drawn) < every {
		return
	}
	b.done, b.drawn = done, now
	line := b.count(done, total)
	if note != "" {
		line += ", " + note
	}
	if left, known := b.left(now, total); known {
		line += ", " + humanize.Duration(left) + " left"
	}
	full := int(width * float64(done) / float64(total))
	bar := "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "] "
	if b.fits(bar + line) {
		line = bar + line
	}
	b.draw(line)
}

// Status shows a text without a bar, for something whose end is not known.
func (b *Bar) Status(text string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.now(); now.Sub(b.drawn) >= every {
		b.drawn = now
		b.draw(text)
	}
}

// count returns how much is done.
func (b *Bar) count(done, total int64) string {
	if b.format == nil {
		return fmt.Sprintf("%d %%", int(100*float64(done)/float64(total)))
	}
	return b.format(done) + "/" + b.format(total) + b.unit
}

// fits reports whether a line needs no second one. The last column stays free, because some
// terminals begin the next line after it.
func (b *Bar) fits(line string) bool {
	columns := b.columns()
	return columns <= 0 || utf8.RuneCountInString(line) < columns
}

// draw draws the line, cut to the width of the terminal: of a longer line, a part would stay.
func (b *Bar) draw(line string) {
	if !b.fits(line) {
		line = string([]rune(line)[:b.columns()-1])
	}
	io.WriteString(b.out, "\r"+line+"\x1b[K")
}

// left estimates how much time is left, when enough has happened to do so.
func (b *Bar) left(now time.Time, total int64) (time.Duration, bool) {
	took := now.Sub(b.first)
	if took < soon || b.done <= b.base || b.done >= total {
		return 0, false
	}
	left := time.Duration(float64(took) / float64(b.done-b.base) * float64(total-b.done))
	return max(left.Round(time.Second), time.Second), true
}

// Clear removes the line. The next call of Show draws it again.
func (b *Bar) Clear() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.drawn.IsZero() {
		io.WriteString(b.out, "\r\x1b[K")
		b.drawn = time.Time{}
	}
}
