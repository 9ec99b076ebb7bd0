package main

import (
	"fmt"
	"iter"
	"os"
	"time"

	"callbackd/internal/humanize"
	"callbackd/internal/progress"
)

// current is the bar of the rounds that run; nil without a terminal and between them.
var current struct {
	bar         *progress.Bar
	over, total int64
}

// rounds yields the numbers of n rounds, which take about the same time. On a terminal it shows
// how many of them are over, and how much time is left.
func rounds(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		current.bar, current.total = progress.New(os.Stderr, "rounds", humanize.Number[int64]), int64(n)
		defer func() {
			current.bar.Clear()
			current.bar = nil
		}()
		for i := range n {
			current.over = int64(i)
			current.bar.Show(current.over, current.total, "")
			if !yield(i) {
				return
			}
		}
	}
}

// step tells the user which step begins. The bar stays below it.
func step(format string, args ...any) {
	current.bar.Clear()
	fmt.Fprintf(os.Stderr, "%6v  %s\n", time.Since(begun).Round(time.Second), fmt.Sprintf(format, args...))
	current.bar.Show(current.over, current.total, "")
}

// storing shows on a terminal how many of n rows are stored, and how much time is left. Elsewhere
// it prints a line now and then.
type storing struct {
	bar   *progress.Bar
	n     int64
	lines int64 // a line after so many rows
}

func newStoring(n, lines int64) *storing {
	return &storing{bar: progress.New(os.Stderr, "rows stored", humanize.Number[int64]), n: n, lines: lines}
}

func (s *storing) stored(i int64) {
	if s.bar == nil && i%s.lines == 0 && i > 0 {
		step("%s of %s rows stored", humanize.Number(i), humanize.Number(s.n))
	}
	s.bar.Show(i, s.n, "")
}
