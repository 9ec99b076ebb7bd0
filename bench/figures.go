package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd/internal/humanize"
)

// median returns the middle of v, or the mean of the two in the middle.
func median[T interface{ ~int64 | ~float64 }](v []T) T {
	v = slices.Clone(v)
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func of[F, T any](fs []F, get func(F) T) (out []T) {
	for _, f := range fs {
		out = append(out, get(f))
	}
	return out
}

// spread writes the median of the rounds, and the lowest and the highest.
func spread[T interface{ ~int64 | ~float64 }](v []T, text func(T) string) string {
	if len(v) == 0 {
		return ""
	}
	mid, low, high := text(median(v)), text(slices.Min(v)), text(slices.Max(v))
	if low == high {
		return mid
	}
	number, unit, _ := strings.Cut(low, " ")
	if strings.HasSuffix(high, " "+unit) {
		low, high = number, strings.TrimSuffix(high, " "+unit)
	}
	return fmt.Sprintf("%s (%s to %s)", mid, low, high)
}

// ratios returns the quotients of each round. A round measures both sides one after
// the other, so that what slows the machine for a while slows both.
func ratios[T interface{ ~int64 | ~float64 }](v, base []T) (out []float64) {
	for i := range v {
		out = append(out, float64(v[i])/float64(base[i]))
	}
	return out
}

// over returns by how much v exceeds base in each round.
func over(v, base []time.Duration) (out []time.Duration) {
	for i := range v {
		out = append(out, v[i]-base[i])
	}
	return out
}

func ratioText(r float64) string { return strconv.FormatFloat(r, 'f', 2, 64) }

func countText(n float64) string { return humanize.Number(int(n + 0.5)) }

func memoryText(mib float64) string { return strconv.FormatFloat(mib, 'f', 0, 64) + " MiB" }

// cpuText writes processor time in microseconds, so that the values of a column are easy
// to compare.
func cpuText(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 0, 64) + " µs"
}

func moreText(d time.Duration) string {
	if d < 0 {
		return "-" + humanize.Latency(-d)
	}
	return "+" + humanize.Latency(d)
}

// printRow prints a row of a Markdown table.
func printRow(cells ...string) { fmt.Println("| " + strings.Join(cells, " | ") + " |") }

// printHead prints what was measured on what, and the head of a table.
func printHead(what string, columns ...string) {
	fmt.Printf("Measured %s, %s, %d cores, load average %s; %s:\n\n", time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), loadAverage(), what)
	printRow(columns...)
	fmt.Println("|" + strings.Repeat("---|", len(columns)))
}

// loadAverage returns how many threads wanted to run in the last minute, including those
// of the measured program.
func loadAverage() string {
	raw, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(raw), " ")
	return first
}

// fsyncTime is the median of writing and syncing one page.
func fsyncTime(dir string) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var took []time.Duration
	page := make([]byte, 4096)
	for range 200 {
		begin := time.Now()
		if _, err := f.Write(page); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begin))
	}
	return median(took), nil
}
