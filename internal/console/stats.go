package console

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// chart is bars on a canvas, with a sentence for who cannot see it.
type chart struct {
	Label string
	Top   string // what the canvas's height stands for
	Bars  []bar
}

// span of time that the overview and its charts look back over.
type reach struct {
	Name, Label string
	Width       store.Interval
	Slots       int
}

var reaches = []reach{
	{"hour", "Hour", store.Minute, 60},
	{"day", "Day", store.Hour, 24},
	{"week", "Week", store.Hour, 7 * 24},
}

func (r reach) width() time.Duration { return time.Duration(r.Width) }

// since is the beginning of the first slot, the last one being the one now.
func (r reach) since(now time.Time) time.Time {
	return now.UTC().Truncate(r.width()).Add(-time.Duration(r.Slots-1) * r.width())
}

// slots is the sums of the reach, one for every slot.
func (c *Console) slots(v *visit, key callbackd.KeyID, cb callbackd.CallbackID, r reach) ([]store.Counters, error) {
	since := r.since(c.now())
	got, err := c.Store.ListStats(v.Context(), store.StatsQuery{Key: key, Callback: cb, Interval: r.Width, Since: since, Until: since.Add(time.Duration(r.Slots) * r.width())})
	if err != nil {
		return nil, err
	}
	out := make([]store.Counters, r.Slots)
	for i := range got {
		if n := int(got[i].At.Sub(since) / r.width()); n >= 0 && n < r.Slots {
			out[n].Merge(&got[i].Counters)
		}
	}
	return out, nil
}

func total(slots []store.Counters) (out store.Counters) {
	for i := range slots {
		out.Merge(&slots[i])
	}
	return out
}

// volume draws attempts: those that succeeded and on top of them those that
// failed, on a canvas of w by h, and what was canceled without one.
func volume(slots []store.Counters, w, h float64) *chart {
	most := 0.0
	for i := range slots {
		most = max(most, float64(slots[i].Attempts+slots[i].Canceled))
	}
	all := total(slots)
	top := nice(most)
	c := &chart{Top: num(int64(math.Ceil(top))), Label: attemptsText(&all)}
	step := w / float64(len(slots))
	for i := range slots {
		s := &slots[i]
		c.stack(float64(i)*step, step, h, top, s.Attempts-s.Faults, s.Faults, s.Canceled)
	}
	return c
}

// attemptsText says what a chart of attempts shows.
func attemptsText(s *store.Counters) string {
	return fmt.Sprintf("%s attempts succeeded, %s failed", num(s.Attempts-s.Faults), num(s.Faults))
}

// stack adds one slot's bars at x: what is there is seen, however little it is.
func (c *chart) stack(x, step, h, top float64, ok, bad, idle int64) {
	y := h
	for _, part := range []struct {
		n     int64
		class string
	}{{ok, "f-ok"}, {bad, "f-bad"}, {idle, "f-idle"}} {
		if part.n <= 0 {
			continue
		}
		tall := max(h/40, h*float64(part.n)/top)
		y -= tall
		c.Bars = append(c.Bars, bar{X: round(x + step*.12), Y: round(max(0, y)), W: round(step * .76), H: round(tall), Class: part.class})
	}
}

// wall draws a callback's attempts as shares: each slot is as tall as any
// other, and red as far as its attempts failed. A slot in which a receiver that
// fails was not even tried is red too: nothing could be delivered in it. nil
// when nothing happened.
func wall(slots []store.Counters, r reach, since, failingSince time.Time, w, h float64) *chart {
	all := total(slots)
	c := &chart{Label: attemptsText(&all)}
	step := w / float64(len(slots))
	for i := range slots {
		s, x := &slots[i], float64(i)*step
		end := since.Add(time.Duration(i+1) * r.width())
		switch {
		case s.Attempts > 0:
			c.stack(x, step, h, float64(s.Attempts), s.Attempts-s.Faults, s.Faults, 0)
		case !failingSince.IsZero() && end.After(failingSince):
			c.stack(x, step, h, 1, 0, 1, 0)
		}
	}
	if len(c.Bars) == 0 {
		return nil
	}
	return c
}

func round(f float64) float64 { return math.Round(f*10) / 10 }

// curve is one line of a plot.
type curve struct{ Class, Name, Value, Points string }

// plot is lines over time.
type plot struct {
	Label, Top, Middle, Bottom string
	Curves                     []curve
	Empty                      bool
}

// latency draws quantiles of the time from acceptance to success, milliseconds
// and minutes on one scale. A slot in which nothing was delivered keeps the
// value before it.
func latency(slots []store.Counters) plot {
	all := total(slots)
	quantiles := []struct {
		name, class string
		q           float64
	}{{"p50", "s-ok w2", .5}, {"p95", "s-warn w2 dash2", .95}, {"p99", "s-bad w2 dash", .99}}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	values, seen := make([][]float64, len(quantiles)), []float64{}
	for i, q := range quantiles {
		last := none
		for j := range slots {
			if slots[j].Latency.Count() > 0 {
				last = ms(slots[j].Latency.Quantile(q.q))
			}
			values[i] = append(values[i], last)
		}
		seen = append(seen, values[i]...)
	}
	low, high := decades(seen)
	p := plot{Label: "Time from acceptance to success", Top: millis(high), Middle: millis(math.Sqrt(low * high)), Bottom: millis(low), Empty: all.Latency.Count() == 0}
	for i, q := range quantiles {
		for j, v := range values[i] {
			values[i][j] = math.Log10(v / low)
		}
		p.Curves = append(p.Curves, curve{q.class, q.name, millis(ms(all.Latency.Quantile(q.q))), line(values[i], 1000, 100, math.Log10(high/low))})
	}
	return p
}

// success draws the share of attempts that succeeded. A slot without attempts
// keeps the share before it.
func success(slots []store.Counters) plot {
	all := total(slots)
	p := plot{Label: "Share of attempts that succeeded", Top: "100 %", Middle: "50 %", Bottom: "0 %", Empty: all.Attempts == 0}
	last := none
	var values []float64
	for i := range slots {
		if n := slots[i].Attempts; n > 0 {
			last = float64(n-slots[i].Faults) / float64(n)
		}
		values = append(values, last)
	}
	p.Curves = []curve{{"s-accent w2", "succeeded", rate(all.Attempts-all.Faults, all.Attempts), line(values, 1000, 100, 1)}}
	return p
}

// rate writes a share so that what is not everything does not look so.
func rate(n, of int64) string {
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

// sparkSlots is what a sparkline shows: the last day.
var sparkSlots = reaches[1]

// shares is how much succeeds: of attempts, and of the deliveries that should
// have been delivered by now.
type shares struct{ Attempts, Deliveries string }

// sharesOf counts what is overdue as not delivered: a receiver that is away
// must not look well because its deliveries are still tried again.
func sharesOf(s *store.Counters, overdue int) shares {
	return shares{rate(s.Attempts-s.Faults, s.Attempts), rate(s.Delivered, s.Delivered+s.Failed+int64(overdue))}
}

// rowStats fills in what the list shows of each callback.
func (c *Console) rowStats(v *visit, rows []webhookRow) error {
	for i := range rows {
		slots, err := c.slots(v, rows[i].Key, rows[i].ID, sparkSlots)
		if err != nil {
			return err
		}
		all := total(slots)
		rows[i].Spark = wall(slots, sparkSlots, sparkSlots.since(c.now()), rows[i].FailingSince, 240, 28)
		rows[i].Shares = sharesOf(&all, rows[i].Overdue)
	}
	return nil
}

func (c *Console) webhookStats(v *visit, p *webhookPage) error {
	slots, err := c.slots(v, p.CB.Key, p.CB.ID, sparkSlots)
	if err != nil {
		return err
	}
	now := c.now()
	p.Sums = total(slots)
	p.Day = wall(slots, sparkSlots, sparkSlots.since(now), p.CB.FailingSince, 960, 100)
	p.Backlog, err = c.Store.CountPending(v.Context(), p.CB.ID, store.PendingQuery{OverdueBefore: now.Add(-callbackd.OverdueAfter), Limit: store.MaxPendingShown})
	p.Shares = sharesOf(&p.Sums, p.Backlog.Overdue)
	if !p.Backlog.Since.IsZero() {
		p.Longest = span(now.Sub(p.Backlog.Since))
	}
	return err
}
