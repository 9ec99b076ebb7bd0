package cli

import (
	"context"
	"io"
	"time"

	"callbackd/internal/clock"
	"callbackd/internal/progress"
)

// followed is something long that a server does, which a command follows by asking for it.
type followed[T any] struct {
	get     func(context.Context) (T, error)
	running func(T) bool
	same    func(a, b T) bool // says the same when it is printed
	bar     *progress.Bar     // nil: lines are printed
	show    func(T)           // on the bar
	print   func(io.Writer, T) error
}

// The server is asked soon at first, because most of what is followed is short, and then less
// often.
const (
	firstAsk = 200 * time.Millisecond
	askEvery = time.Second
)

// followBar returns a bar for what is followed. Without a terminal for both standard output and
// standard error, and with --json, there is none, and lines are printed instead.
func followBar(e *env, asJSON bool, unit string, format func(int64) string) *progress.Bar {
	if asJSON || !isTerminal(e.stdout) {
		return nil
	}
	return progress.New(e.stderr, unit, format)
}

// follow shows the progress until the end, which it prints: as a bar on a terminal, and elsewhere
// as a line after each change. now was printed already.
func (f *followed[T]) follow(e *env, now T) error {
	defer f.bar.Clear()
	for wait := firstAsk; f.running(now); wait = min(2*wait, askEvery) {
		if f.bar != nil {
			f.show(now)
		}
		if !clock.Sleep(e.ctx, wait) {
			return nil // what is followed goes on
		}
		before := now
		var err error
		if now, err = f.get(e.ctx); err != nil {
			return err
		}
		if f.running(now) && (f.bar != nil || f.same(before, now)) {
			continue
		}
		f.bar.Clear()
		if err := f.print(e.stdout, now); err != nil {
			return err
		}
	}
	return nil
}
