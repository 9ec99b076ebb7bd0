package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/humanize"
)

const overloadHelp = `
Measures what many more events than a server can take do to those that it accepts. It first
finds the rate that the server sustains, as the rate at full load of -c connections, and how
soon events are accepted at two thirds of it, which counts as normal. Then it offers -times
the sustained rate for -for, on -connections connections, without waiting for answers to
slow down; a connection has one call at a time. A refused call is not repeated. How soon calls
are accepted is not counted in the first twentieth of the time, in which the connections are
made. In the end it waits until everything that was accepted has arrived at the receiver. The
column "aim" says what a figure should be on an idle machine. The measurement ends by itself
after -limit.
`

// overload measures a server to which many more events come than it can take.
type overload struct {
	bench
	times       float64
	connections int
	lasts       time.Duration
}

func overloadCommand(fs *flag.FlagSet) func() error {
	o := &overload{}
	o.flags(fs, 20_000, 1)
	fs.Float64Var(&o.times, "times", 10, "what is offered, in times the sustained rate")
	fs.IntVar(&o.connections, "connections", 1000, "connections of the overload")
	fs.DurationVar(&o.lasts, "for", time.Minute, "how long it lasts")
	return o.compare
}

func (o *overload) compare() error {
	if err := o.open(); err != nil {
		return err
	}
	f, err := o.fixture("overload")
	if err != nil {
		return err
	}
	if err := f.callback(f.key.ID, callbackd.StatusChange, "default", o.sink.url); err != nil {
		return err
	}
	p, cl, err := f.serve(o.server)
	if err != nil {
		return err
	}
	defer p.stop()
	step("the rate that is sustained")
	full, err := load(eventsPlace(cl), o.n, o.c, o.sessions, 0)
	if err != nil {
		return err
	}
	if err := awaitArrivals(o.sink.url, o.n); err != nil {
		return err
	}
	rate := float64(o.n) / full.took.Seconds()
	step("%.0f events a second; now two thirds of that", rate)
	var normal answered
	normalIn, err := slowest(p.url, func() (err error) {
		normal, err = load(eventsPlace(cl), o.n, o.c, o.sessions, rate*2/3)
		return err
	})
	if err != nil {
		return err
	}
	if err := awaitArrivals(o.sink.url, 2*o.n); err != nil {
		return err
	}
	step("now %g times the rate for %v", o.times, o.lasts)
	var got flooded
	in, err := slowest(p.url, func() (err error) {
		got, err = o.flood(cl, rate*o.times)
		return err
	})
	if err != nil {
		return err
	}
	step("waiting until all have arrived")
	lost := 0
	if err := awaitArrivals(o.sink.url, 2*o.n+got.accepted); err != nil {
		a, err := asked(o.sink.url, "/")
		if err != nil {
			return err
		}
		lost = 2*o.n + got.accepted - (a.Taken - a.Repeated)
	}
	o.show(rate, normal, got, lost, [2]time.Duration{normalIn, in})
	return nil
}

// show prints the result. in is the 99th percentile in the server, without and in the overload.
func (o *overload) show(rate float64, normal answered, got flooded, lost int, in [2]time.Duration) {
	p50, p99 := percentiles(got.waits)
	seconds := o.lasts.Seconds()
	printHead(fmt.Sprintf("events of 1 KiB, %d connections, then %s for %v", o.c, humanize.Number(o.connections), o.lasts), "figure", "two thirds of the sustained rate", fmt.Sprintf("%g times the sustained rate", o.times), "ratio", "aim")
	printRow("offered, events/s", countText(rate*2/3), countText(float64(got.sent)/seconds), ratioText(float64(got.sent)/seconds/rate)+" of the sustained rate", fmt.Sprintf("%g", o.times))
	printRow("accepted, events/s", countText(rate*2/3), countText(float64(got.accepted)/seconds), ratioText(float64(got.accepted)/seconds/rate)+" of the sustained rate", "0.8 or more")
	printRow("accepted within, p50", humanize.Latency(normal.p50), humanize.Latency(p50), ratioText(float64(p50)/float64(normal.p50)), "")
	printRow("accepted within, p99", humanize.Latency(normal.p99), humanize.Latency(p99), ratioText(float64(p99)/float64(normal.p99)), "5 or less")
	printRow("accepted within, p99, in the server (about)", humanize.Latency(in[0]), humanize.Latency(in[1]), ratioText(float64(in[1])/float64(in[0])), "5 or less")
	printRow("refused with 503", "0", fmt.Sprintf("%.0f %%", 100*float64(got.refused)/float64(max(1, got.sent))), "", "")
	printRow("other answers and errors", "0", humanize.Number(got.others), "", "0")
	printRow("accepted and lost", "0", humanize.Number(lost), "", "0")
}

// flooded is what became of the calls of an overload.
type flooded struct {
	sent, accepted, refused, others int
	waits                           []time.Duration // of accepted calls, from sending them, after the first twentieth of the time
}

// flood sends events at a rate. Each connection sends its next call when that is due, or when
// the one before was answered if that is later.
func (o *overload) flood(cl *client.Client, rate float64) (out flooded, err error) {
	to := eventsPlace(cl)
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.connections, MaxConnsPerHost: o.connections, DisableCompression: true}, Timeout: 30 * time.Second}
	defer hc.CloseIdleConnections()
	start := time.Now()
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range o.connections {
		wg.Go(func() {
			var mine flooded
			var body bytes.Buffer
			for {
				due := start.Add(time.Duration(float64(next.Add(1)) / rate * float64(time.Second)))
				if wait := time.Until(due); wait > 0 {
					time.Sleep(wait)
				}
				at := time.Now()
				if at.Sub(start) >= o.lasts {
					break
				}
				body.Reset()
				c := call{at: at, body: &body}
				c.writeEvent(callbackd.StatusChange, sessionName(int(at.UnixNano())%o.sessions))
				mine.sent++
				switch status := statusOf(hc, to, body.Bytes()); status {
				case http.StatusAccepted:
					mine.accepted++
					if at.Sub(start) > o.lasts/20 {
						mine.waits = append(mine.waits, time.Since(at))
					}
				case http.StatusServiceUnavailable:
					mine.refused++
				default:
					mine.others++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			out.sent, out.accepted, out.refused, out.others = out.sent+mine.sent, out.accepted+mine.accepted, out.refused+mine.refused, out.others+mine.others
			out.waits = append(out.waits, mine.waits...)
		})
	}
	wg.Wait()
	if len(out.waits) == 0 {
		return out, fmt.Errorf("of %d calls none was accepted after the first twentieth of the time", out.sent)
	}
	return out, nil
}

// slowest returns the 99th percentile of how long the publishes that a server accepts during f
// take, from their headers to the answer, without what the client and the network add. It is
// interpolated between the bounds of the server's histogram.
func slowest(url string, f func() error) (time.Duration, error) {
	before, _, err := publishSeconds(url)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, bounds, err := publishSeconds(url)
	if err != nil {
		return 0, err
	}
	last := len(bounds) - 1
	want := 0.99 * (after[last] - before[last])
	low, below := 0.0, 0.0
	for i, bound := range bounds {
		n := after[i] - before[i]
		if n >= want && i < last {
			return time.Duration((low + (bound-low)*(want-below)/(n-below)) * float64(time.Second)), nil
		}
		low, below = bound, n
	}
	return time.Duration(bounds[last-1] * float64(time.Second)), nil
}

// publishSeconds returns the counts of callbackd_publish_seconds up to its bounds, of which the
// last is infinite.
func publishSeconds(url string) (counts, bounds []float64, err error) {
	err = metrics(url, func(line string) {
		text, ok := strings.CutPrefix(line, `callbackd_publish_seconds_bucket{le="`)
		bound, count, found := strings.Cut(strings.TrimSpace(text), `"} `)
		if !ok || !found {
			return
		}
		b, _ := strconv.ParseFloat(bound, 64)
		n, _ := strconv.ParseFloat(count, 64)
		bounds, counts = append(bounds, b), append(counts, n)
	})
	if err == nil && len(bounds) < 2 {
		err = errors.New("the server does not say how long publishes take")
	}
	return counts, bounds, err
}

// statusOf makes a call and returns the status of its answer; 0 when it got none.
func statusOf(hc *http.Client, to place, body []byte) int {
	req, err := http.NewRequest(http.MethodPost, to.url, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header = to.headers
	resp, err := hc.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}
