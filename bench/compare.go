package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"callbackd/internal/humanize"
)

const compareHelp = `
Compares the CPU time of an event between two builds, precisely enough to tell 2 % from
noise: the builds run side by side, and many short rounds measure one after the other, in
an order that changes. Their callback uses no setting but the URL, so this also tells what
a new feature costs those who do not use it. The build before runs twice: the ratio of
its two processes is what the noise of the machine makes of "no change". A ratio is the
median of the ratios of each round, with the interval that has the true median in 95 of
100 runs. A difference is shown when that interval leaves out 1.
`

// compareCommand compares this build, or another, with an earlier one.
func compareCommand(fs *flag.FlagSet) func() error {
	c := &comparison{}
	c.flags(fs, 3000, 40)
	fs.DurationVar(&c.steadyFor, "steady", time.Second, fmt.Sprintf("how long the fixed rate of %d/s is held in each round", steadyRate))
	fs.StringVar(&c.before, "before", "", "the build to compare with: a file, or a commit of this repository; required")
	fs.StringVar(&c.after, "after", "", "the other build: a file or a commit; default: the source as it is")
	return c.run
}

type comparison struct {
	table
	before, after string
}

func (c *comparison) run() error {
	if c.before == "" {
		return fmt.Errorf("give -before FILE or -before COMMIT: what to compare with")
	}
	if err := c.open(); err != nil {
		return err
	}
	before, err := buildOf(c.before)
	if err != nil {
		return err
	}
	after := c.server
	if c.after != "" {
		if after, err = buildOf(c.after); err != nil {
			return err
		}
	}
	var sides []*side
	for _, s := range []struct{ name, build string }{{"before", before}, {"before, again", before}, {"after", after}} {
		made, err := c.serverSide(s.name, s.build)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if _, err := c.loaded(made.p, made.to); err != nil { // files, caches and the heap get their size
			return fmt.Errorf("%s: %w", s.name, err)
		}
		sides = append(sides, made)
	}
	for i := range rounds(c.rounds) {
		step("round %d of %d", i+1, c.rounds)
		for _, s := range turn(sides, i) {
			if err := c.shortRound(s); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	c.print(sides[0], sides[1], sides[2])
	return nil
}

// turn returns the order of the sides in a round. Each side is as often first as last, so
// that what a measurement leaves behind for the next one falls on all of them.
func turn(sides []*side, round int) []*side {
	at := round / 2 % len(sides)
	order := slices.Concat(sides[at:], sides[:at])
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

// shortRound measures a side once, at full load and at the fixed rate.
func (c *comparison) shortRound(s *side) (err error) {
	var r tableRun
	if r.full, err = c.measure(s.p, c.n, func() error {
		_, err := load(s.to(), c.n, c.c, c.sessions, 0)
		return err
	}); err != nil {
		return err
	}
	n := max(1, int(steadyRate*c.steadyFor.Seconds()))
	if r.steady, err = c.measure(s.p, n, func() error {
		_, err := load(s.to(), n, c.c, c.sessions, steadyRate)
		return err
	}); err != nil {
		return err
	}
	s.runs = append(s.runs, r)
	return nil
}

func (c *comparison) print(before, again, after *side) {
	printHead(fmt.Sprintf("%s events of 1 KiB in each of %s, %d connections, %s sessions",
		humanize.Number(c.n), humanize.Plural(c.rounds, "round"), c.c, humanize.Number(c.sessions)),
		"figure", before.name, after.name, "ratio (95 %)", "the build before to itself (95 %)")
	for _, at := range []struct {
		name string
		get  func(tableRun) time.Duration
	}{
		{"CPU an event, at full load", func(r tableRun) time.Duration { return r.full.cpu }},
		{"CPU an event at 1,000/s", func(r tableRun) time.Duration { return r.steady.cpu }},
	} {
		b, a, o := of(before.runs, at.get), of(again.runs, at.get), of(after.runs, at.get)
		printRow(at.name, cpuText(median(b)), cpuText(median(o)), likely(ratios(o, b)), likely(ratios(a, b)))
	}
}

// likely writes the median of ratios with its 95 % interval.
func likely(v []float64) string {
	text := func(r float64) string { return strconv.FormatFloat(r, 'f', 3, 64) }
	low, high, ok := medianInterval(v)
	if !ok {
		return text(median(v)) + " (too few rounds for an interval)"
	}
	return fmt.Sprintf("%s (%s to %s)", text(median(v)), text(low), text(high))
}

// medianInterval returns the interval that has the true median of what v was drawn from
// with a probability of at least 95 %, by the order of the values alone: as many of them
// are below the median as a fair coin shows heads. Fewer than six values have none.
func medianInterval(v []float64) (low, high float64, ok bool) {
	v = slices.Clone(v)
	slices.Sort(v)
	n := len(v)
	p := 1.0 // the probability of k heads, from k = 0
	for range n {
		p /= 2
	}
	k := 0
	for tail := p; tail <= 0.025; tail += p {
		k++
		p *= float64(n-k+1) / float64(k)
	}
	if k == 0 {
		return 0, 0, false
	}
	return v[k-1], v[n-k], true
}

// buildOf returns the program that name means: a file, or a commit, which is built.
func buildOf(name string) (string, error) {
	if _, err := os.Stat(name); err == nil {
		return filepath.Abs(name)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "callbackd-commit-")
	if err != nil {
		return "", err
	}
	atExit(func() { os.RemoveAll(dir) })
	archive := filepath.Join(dir, "source.tar")
	for _, args := range [][]string{
		{"git", "-C", root, "archive", "-o", archive, "--end-of-options", name},
		{"tar", "-xf", archive, "-C", dir},
	} {
		if text, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%q is neither a file nor a commit that can be built: %w\n%s", name, err, text)
		}
	}
	return buildFrom(dir)
}
