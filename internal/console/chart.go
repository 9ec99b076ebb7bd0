package console

import (
	"fmt"
	"math"
	"strings"

	"callbackd"
	"callbackd/wire"
)

// Charts are SVG drawings that are stretched to the width of the page. Text in them would
// be stretched too, so labels are HTML next to them.

// chartWidth is the width of most drawings.
const chartWidth = 1000

// bar is one rectangle of a chart.
type bar struct {
	X, Y, W, H float64
	Class      string
}

// coordinate rounds to one decimal, to keep pages small.
func coordinate(f float64) float64 { return math.Round(f*10) / 10 }

// shareBars divides the width of a chart among parts, in proportion. A part
// without a class stays blank.
func shareBars(parts []sharePart) (bars []bar) {
	total := int64(0)
	for _, p := range parts {
		total += p.n
	}
	x := 0.0
	for _, p := range parts {
		if p.n <= 0 {
			continue
		}
		w := chartWidth * float64(p.n) / float64(total)
		if p.class != "" {
			bars = append(bars, bar{X: coordinate(x), W: coordinate(w), H: 10, Class: p.class})
		}
		x += w
	}
	return bars
}

type sharePart struct {
	n     int64
	class string
}

// dot is a mark on a line of time.
type dot struct {
	X     float64
	Class string
}

// dotAt places a dot at a share from 0 to 1 of the line, with a margin.
func dotAt(share float64, class string) dot {
	const margin = 8
	return dot{margin + (chartWidth-2*margin)*share, class}
}

// attemptTiming is an attempt as a row of phases.
type attemptTiming struct {
	Bars   []bar
	Phases []phase
	Total  string
}

// phase is a part of an attempt.
type phase struct{ Class, Name, Value string }

// timingBars draws the phases of an attempt. The full width represents longest, in
// milliseconds. A phase that did not happen has no bar.
func timingBars(t wire.Timings, longest float64, fault callbackd.Fault) attemptTiming {
	wait, body := splitPhases(&t, fault)
	waitName := "no answer"
	if t.FirstByte > 0 {
		waitName = "first byte"
	}
	out := attemptTiming{Total: latency(milliseconds(t.Total))}
	x := 0.0
	for _, p := range []struct {
		class, name string
		ms          float64
	}{
		{"dns", "DNS", t.DNS},
		{"connect", "connect", t.Connect},
		{"tls", "TLS", t.TLS},
		{"wait", waitName, wait},
		{"body", "body", body},
	} {
		if p.ms <= 0 || longest <= 0 {
			continue
		}
		w := max(3, chartWidth*p.ms/longest)
		out.Bars = append(out.Bars, bar{X: x, W: w, H: 10, Class: p.class})
		out.Phases = append(out.Phases, phase{p.class, p.name, latency(milliseconds(p.ms))})
		x += w
	}
	return out
}

// splitPhases returns how long an attempt waited for the answer and how long
// the body took, in milliseconds. Without an answer the rest of the time
// belongs to the phase in which the attempt failed, and is added to it.
func splitPhases(t *wire.Timings, fault callbackd.Fault) (wait, body float64) {
	before := t.DNS + t.Connect + t.TLS
	if t.FirstByte > 0 {
		return max(0, t.FirstByte-before), max(0, t.Total-t.FirstByte)
	}
	rest := max(0, t.Total-before)
	switch fault {
	case callbackd.FaultDNS:
		t.DNS += rest
	case callbackd.FaultConnect:
		t.Connect += rest
	case callbackd.FaultTLS:
		t.TLS += rest
	case callbackd.FaultTimeout, callbackd.FaultProtocol, callbackd.FaultShutdown:
		return rest, 0
	}
	return 0, 0
}

// noValue is where a line has no point.
var noValue = math.NaN()

// line returns the points of a polyline through values, in a drawing of w by h
// whose top is at most. It begins at the first value. A single value is a dot.
func line(values []float64, w, h, most float64) string {
	var b strings.Builder
	points := 0
	for i, v := range values {
		if math.IsNaN(v) {
			continue
		}
		x, y := w, h
		if len(values) > 1 {
			x = w * float64(i) / float64(len(values)-1)
		}
		if most > 0 {
			y = h - h*min(v, most)/most
		}
		fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
		points++
	}
	s := strings.TrimSuffix(b.String(), " ")
	if points == 1 {
		s += " " + s
	}
	return s
}

// axisTop returns a round number at or above v, for the top of an axis.
func axisTop(v float64) float64 {
	if v <= 1 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 1.5, 2, 2.5, 3, 4, 5, 6, 8} {
		if step*f >= v {
			return step * f
		}
	}
	return step * 10
}

// decades returns the powers of ten around values, for a logarithmic axis. It
// spans an even number of decades, so that the middle of the axis is a power of
// ten too.
func decades(values []float64) (low, high float64) {
	least, most := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if v > 0 { // false for noValue
			least, most = min(least, v), max(most, v)
		}
	}
	if math.IsInf(most, -1) {
		return 1, 100
	}
	lo, hi := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	for hi-lo < 2 || int(hi-lo)%2 == 1 {
		hi++
	}
	return math.Pow(10, lo), math.Pow(10, hi)
}
