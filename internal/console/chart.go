package console

import (
	"fmt"
	"math"
	"strings"

	"callbackd"
	"callbackd/wire"
)

// Charts are drawn on a canvas that is stretched to its place, so there is no
// text in them: labels are HTML beside them.

// bar is one rectangle.
type bar struct {
	X, Y, W, H float64
	Class      string
}

// timing is one attempt as a row of phases.
type timing struct {
	Bars  []bar
	Parts []part
	Total string
}

type part struct{ Class, Name, Value string }

// bars draws an attempt's phases on a canvas of 1000, where most milliseconds
// are the whole width. A phase that never happened has no bar. Without an answer
// the time that is left belongs to the phase in which the attempt failed.
func bars(t wire.Timings, most float64, fault callbackd.Fault) timing {
	rest := max(0, t.Total-t.DNS-t.Connect-t.TLS)
	wait, body := 0.0, 0.0
	if t.FirstByte > 0 {
		wait, body = max(0, t.FirstByte-t.DNS-t.Connect-t.TLS), max(0, t.Total-t.FirstByte)
	} else {
		switch fault {
		case callbackd.FaultDNS:
			t.DNS += rest
		case callbackd.FaultConnect:
			t.Connect += rest
		case callbackd.FaultTLS:
			t.TLS += rest
		case callbackd.FaultTimeout, callbackd.FaultProtocol, callbackd.FaultShutdown:
			wait = rest
		}
	}
	out := timing{Total: millis(t.Total)}
	x := 0.0
	for _, p := range []struct {
		class, name string
		ms          float64
	}{{"dns", "DNS", t.DNS}, {"connect", "connect", t.Connect}, {"tls", "TLS", t.TLS}, {"wait", waitName(t), wait}, {"body", "body", body}} {
		if p.ms <= 0 || most <= 0 {
			continue
		}
		w := max(3, 1000*p.ms/most)
		out.Bars = append(out.Bars, bar{X: x, W: w, H: 10, Class: p.class})
		out.Parts = append(out.Parts, part{p.class, p.name, millis(p.ms)})
		x += w
	}
	return out
}

// waitName is what the wait for the answer ended with.
func waitName(t wire.Timings) string {
	if t.FirstByte > 0 {
		return "first byte"
	}
	return "no answer"
}

// none stands in a line where there is nothing to draw.
var none = math.NaN()

// line is the points of a polyline through values on a canvas of w by h,
// where most is the top. It begins at the first value; one alone is a dot.
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

// nice is a round number at or above v, for the top of an axis.
func nice(v float64) float64 {
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

// decades is the powers of ten around values, for an axis on which each
// decade has the same room. It spans an even number of them, so that its
// middle is one too.
func decades(values []float64) (low, high float64) {
	least, most := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if v > 0 { // not when there is none
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
