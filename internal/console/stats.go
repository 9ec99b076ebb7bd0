package console

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// timeRange is how far the overview and the charts look back.
type timeRange struct {
	Name, Label string
	From        string // the label of its beginning
	view.StatsRange
}

var timeRanges = []timeRange{
	{"hour", "Hour", "an hour ago", view.LastHour},
	{"day", "Day", "24 hours ago", view.LastDay},
	{"week", "Week", "7 days ago", view.LastWeek},
}

// lastDay is the range of the chart of one callback.
var lastDay = timeRanges[1]

// buckets returns the counters of a range, one for each interval. Key 0 and
// callback 0 mean all.
func (c *Console) buckets(req *userRequest, key callbackd.KeyID, cb callbackd.CallbackID, r timeRange) ([]store.Counters, error) {
	return r.Read(req.Context(), c.Store, key, cb, c.now())
}

// chart is a chart of bars. Label describes it to those who cannot see it.
type chart struct {
	Label string
	Top   string // the label of the top of the axis
	Bars  []bar
}

// volumeChart draws attempts: those that succeeded, on top of them those that
// failed, then what was canceled or expired.
func volumeChart(buckets []store.Counters, w, h float64) *chart {
	most := 0.0
	for i := range buckets {
		most = max(most, float64(buckets[i].Attempts+buckets[i].Canceled+buckets[i].Expired))
	}
	sum := view.SumOf(buckets)
	top := axisTop(most)
	c := &chart{Top: humanize.Number(int64(math.Ceil(top))), Label: attemptsText(&sum)}
	step := w / float64(len(buckets))
	for i := range buckets {
		b := &buckets[i]
		c.stack(float64(i)*step, step, h, top, b.Attempts-b.Faults, b.Faults, b.Canceled+b.Expired)
	}
	return c
}

// attemptsText says what a chart of attempts shows.
func attemptsText(s *store.Counters) string {
	return fmt.Sprintf("%s succeeded, %s failed", humanize.Plural(s.Attempts-s.Faults, "attempt"), humanize.Number(s.Faults))
}

// stack adds the bars of one bucket at x. A bar has a least height, so that one
// failure among thousands is visible.
func (c *chart) stack(x, step, h, top float64, succeeded, failed, unsent int64) {
	y := h
	for _, part := range []sharePart{{succeeded, "f-ok"}, {failed, "f-bad"}, {unsent, "f-idle"}} {
		if part.n <= 0 {
			continue
		}
		tall := max(h/40, h*float64(part.n)/top)
		y -= tall
		c.Bars = append(c.Bars, bar{
			X:     coordinate(x + step*.12),
			Y:     coordinate(max(0, y)),
			W:     coordinate(step * .76),
			H:     coordinate(tall),
			Class: part.class,
		})
	}
}

// failureChart draws the attempts of a callback as shares: all buckets are
// equally tall, and as red as the share of attempts that failed. A bucket
// without attempts is red when the receiver was failing, because nothing could
// be delivered in it. The chart is nil when nothing happened.
func failureChart(buckets []store.Counters, r timeRange, since, failingSince time.Time, w, h float64) *chart {
	sum := view.SumOf(buckets)
	c := &chart{Label: attemptsText(&sum)}
	step := w / float64(len(buckets))
	for i := range buckets {
		b, x := &buckets[i], float64(i)*step
		end := since.Add(time.Duration(i+1) * time.Duration(r.Interval))
		switch {
		case b.Attempts > 0:
			c.stack(x, step, h, float64(b.Attempts), b.Attempts-b.Faults, b.Faults, 0)
		case !failingSince.IsZero() && end.After(failingSince):
			c.stack(x, step, h, 1, 0, 1, 0)
		}
	}
	if len(c.Bars) == 0 {
		return nil
	}
	return c
}

// plot is a chart of lines over time.
type plot struct {
	Label, Top, Middle, Bottom string
	Curves                     []curve
	Empty                      bool
}

// curve is one line of a plot.
type curve struct{ Class, Name, Value, Points string }

// quantiles are the lines of the plot of latencies.
var quantiles = []struct {
	name, class string
	q           float64
}{
	{"p50", "s-ok w2", .5},
	{"p95", "s-warn w2 dash2", .95},
	{"p99", "s-bad w2 dash", .99},
}

// latencyPlot draws quantiles of the time from acceptance to success. Its axis
// is logarithmic, so that it shows milliseconds and minutes alike. A bucket
// without deliveries repeats the value before it.
func latencyPlot(buckets []store.Counters) plot {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	values, all := make([][]float64, len(quantiles)), []float64{}
	for i, q := range quantiles {
		last := noValue
		for j := range buckets {
			if buckets[j].Latency.Count() > 0 {
				last = ms(buckets[j].Latency.Quantile(q.q))
			}
			values[i] = append(values[i], last)
		}
		all = append(all, values[i]...)
	}
	sum := view.SumOf(buckets)
	low, high := decades(all)
	p := plot{
		Label:  "Time from acceptance to success",
		Top:    latency(milliseconds(high)),
		Middle: latency(milliseconds(math.Sqrt(low * high))),
		Bottom: latency(milliseconds(low)),
		Empty:  sum.Latency.Count() == 0,
	}
	for i, q := range quantiles {
		for j, v := range values[i] {
			values[i][j] = math.Log10(v / low)
		}
		points := line(values[i], chartWidth, 100, math.Log10(high/low))
		p.Curves = append(p.Curves, curve{q.class, q.name, latency(sum.Latency.Quantile(q.q)), points})
	}
	return p
}

// successPlot draws the share of attempts that succeeded. A bucket without
// attempts repeats the share before it.
func successPlot(buckets []store.Counters) plot {
	last := noValue
	var values []float64
	for i := range buckets {
		if n := buckets[i].Attempts; n > 0 {
			last = float64(n-buckets[i].Faults) / float64(n)
		}
		values = append(values, last)
	}
	sum := view.SumOf(buckets)
	value := percent(sum.Attempts-sum.Faults, sum.Attempts)
	return plot{
		Label:  "Share of attempts that succeeded",
		Top:    "100 %",
		Middle: "50 %",
		Bottom: "0 %",
		Empty:  sum.Attempts == 0,
		Curves: []curve{{"s-accent w2", "succeeded", value, line(values, chartWidth, 100, 1)}},
	}
}

// percent writes a share. It writes "100 %" for the whole only.
func percent(n, of int64) string {
	if of == 0 {
		return "–"
	}
	share := 100 * float64(n) / float64(of)
	if n < of {
		share = min(share, 99.99)
	}
	s := strconv.FormatFloat(share, 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + " %"
}

// successRates are the share of attempts that succeeded, and the share of
// deliveries that were delivered of those that should have been by now.
type successRates struct{ Attempts, Deliveries string }

// successRatesOf counts overdue deliveries as not delivered. Otherwise a
// receiver that is down would look well while its deliveries are retried.
func successRatesOf(s *store.Counters, overdue int) successRates {
	return successRates{
		Attempts:   percent(s.Attempts-s.Faults, s.Attempts),
		Deliveries: percent(s.Delivered, s.Delivered+s.Failed+int64(overdue)),
	}
}
