package console

import (
	"log/slog"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// For the tests of texts.
var (
	Quote    = quote
	Sample   = sample
	RateText = rateText
)

// Patterns returns the pattern of every route.
func Patterns() []string {
	var out []string
	for _, r := range New(Options{Log: slog.New(slog.DiscardHandler)}).routes() {
		out = append(out, r.pattern)
	}
	return out
}

// LeastRoles returns the least role of every route, by its pattern.
func LeastRoles() map[string]callbackd.ConsoleRole {
	out := map[string]callbackd.ConsoleRole{}
	for _, r := range New(Options{Log: slog.New(slog.DiscardHandler)}).routes() {
		out[r.pattern] = r.least
	}
	return out
}

// Stylesheet returns the text of the stylesheet.
func Stylesheet() string {
	raw, err := staticFiles.ReadFile("static/console.css")
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// FailureChart returns the classes of the bars in each bucket of the chart of a
// callback, from the left.
func FailureChart(buckets []store.Counters, since, failingSince time.Time) []string {
	r := timeRange{StatsRange: view.StatsRange{Interval: store.Hour, Buckets: len(buckets)}}
	c := failureChart(buckets, r, since, failingSince, float64(len(buckets)), 100)
	out := make([]string, len(buckets))
	if c == nil {
		return out
	}
	for _, b := range c.Bars {
		out[int(b.X)] += b.Class + " "
	}
	return out
}

// SuccessRates returns the rates that a page shows.
func SuccessRates(s *store.Counters, overdue int) (attempts, deliveries string) {
	rates := successRatesOf(s, overdue)
	return rates.Attempts, rates.Deliveries
}

// Phases names the phases in the drawing of an attempt.
func Phases(t wire.Timings, fault callbackd.Fault) (names []string) {
	for _, p := range timingBars(t, t.Total, fault).Phases {
		names = append(names, p.Name)
	}
	return names
}

// TimeText returns the short form of a time on a page.
func TimeText(t time.Time) string { return formatTime(t).Short }

// Duration returns a duration as pages show it.
func Duration(d time.Duration) string { return duration(d) }

// ColourSheet returns the stylesheet for a colour.
func ColourSheet(colour string) string {
	sheet, err := colourSheet(colour)
	if err != nil {
		panic(err)
	}
	return sheet
}
