package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/humanize"
	"callbackd/internal/signature"
)

// place is where a call goes: callbackd with an API key's signature, or the relay.
type place struct {
	url     string
	headers http.Header
}

// eventsPlace returns POST /v1/events, signed for the next five minutes.
func eventsPlace(cl *client.Client) place { return place{cl.Base + "/v1/events", signed(cl)} }

func signed(cl *client.Client) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	signature.SetHeaders(h, cl.Account, cl.APIKey, cl.APISecret, time.Now())
	return h
}

// answered holds how long calls took.
type answered struct {
	took     time.Duration // all of them together
	p50, p99 time.Duration // one
}

// call is one call of a load: the number i of n, made by one of c workers, each of which
// has a connection to every server that it calls. at is when it is sent, or when it was
// to be sent if all workers were busy then.
type call struct {
	i, worker int
	at        time.Time
	body      *bytes.Buffer
}

var pad = strings.Repeat("x", 850)

// writeEvent writes an event of 1 KiB.
func (c *call) writeEvent(ev callbackd.EventType, session string) {
	fmt.Fprintf(c.body, `{"event":"%s","session_key":"%s","data":{"status":"PROCESS","previous_status":"STARTED","at":%d,"pad":"%s"}}`, ev, session, c.at.UnixNano(), pad)
}

func sessionName(i int) string { return fmt.Sprintf("BEN-%010d", i) }

// load publishes n events of 1 KiB from c connections, one event a call, over the given
// number of sessions. With rate > 0 it publishes that many a second.
func load(to place, n, c, sessions int, rate float64) (answered, error) {
	return loadWith(n, c, rate, singly(to, sessions))
}

// singly makes calls with one event.
func singly(to place, sessions int) func(call) place {
	return func(c call) place {
		c.writeEvent(callbackd.StatusChange, sessionName(c.i%sessions))
		return to
	}
}

// loadArrays publishes n events of 1 KiB, size of them a call. n is a multiple of size.
func loadArrays(to place, n, size, c, sessions int) (answered, error) {
	return loadWith(n/size, c, 0, func(c call) place {
		for i := range size {
			c.body.WriteByte("[,"[min(i, 1)])
			c.writeEvent(callbackd.StatusChange, sessionName((c.i*size+i)%sessions))
		}
		c.body.WriteByte(']')
		return to
	})
}

// loadWith makes n calls. request writes the body of a call and returns its target.
func loadWith(n, c int, rate float64, request func(call) place) (answered, error) {
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: c, DisableCompression: true}, Timeout: 30 * time.Second}
	defer hc.CloseIdleConnections()
	var next atomic.Int64
	var failed atomic.Value
	var wg sync.WaitGroup
	latency := make([]time.Duration, n)
	start := time.Now()
	for worker := range c {
		wg.Go(func() {
			var body bytes.Buffer
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				at := time.Now()
				if rate > 0 {
					due := start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
					if wait := due.Sub(at); wait > 0 {
						time.Sleep(wait)
						at = time.Now()
					} else {
						at = due
					}
				}
				body.Reset()
				to := request(call{i, worker, at, &body})
				if err := post(hc, to, body.Bytes()); err != nil {
					failed.CompareAndSwap(nil, err)
				}
				latency[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	if err, ok := failed.Load().(error); ok {
		return answered{}, err
	}
	out := answered{took: time.Since(start)}
	out.p50, out.p99 = percentiles(latency)
	return out, nil
}

// percentiles sorts v.
func percentiles(v []time.Duration) (p50, p99 time.Duration) {
	if len(v) == 0 {
		return 0, 0
	}
	slices.Sort(v)
	return v[len(v)/2], v[len(v)*99/100]
}

// sentAgain is how many calls were refused because of an overload, and sent again.
var sentAgain atomic.Int64

// maxRefusals is how often a call is sent again after a refusal.
const maxRefusals = 20

// post makes a call. Like a sender in production, it waits and sends it again when the server
// refuses it and says when to come back.
func post(hc *http.Client, to place, body []byte) error {
	for refusals := 0; ; refusals++ {
		after, err := postOnce(hc, to, body)
		if after == 0 || refusals == maxRefusals {
			return err
		}
		sentAgain.Add(1)
		time.Sleep(after)
	}
}

// postOnce makes a call. When it is refused for now, after is when to send it again.
func postOnce(hc *http.Client, to place, body []byte) (after time.Duration, err error) {
	req, err := http.NewRequest(http.MethodPost, to.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = to.headers
	resp, err := hc.Do(req)
	if err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode/100 == 2 {
		return 0, err
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && resp.StatusCode == http.StatusServiceUnavailable {
		after = time.Duration(seconds) * time.Second
	}
	return after, fmt.Errorf("%s answers %d: %s", to.url, resp.StatusCode, answer)
}

// printSentAgain says that refusals are part of the figures above.
func printSentAgain() {
	if n := sentAgain.Swap(0); n > 0 {
		fmt.Printf("\nThe server refused %s calls because of an overload. They were sent again after Retry-After, and that wait is in the figures.\n", humanize.Number(int(n)))
	}
}

// asked reads the report of a sink.
func asked(sinkURL, query string) (arrived, error) {
	resp, err := http.Get(sinkURL + query)
	if err != nil {
		return arrived{}, err
	}
	defer resp.Body.Close()
	var a arrived
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// arrivalLimit limits the wait for the arrival of all events.
const arrivalLimit = 2 * time.Minute

// awaitArrivals waits until the sink has n different events.
func awaitArrivals(sinkURL string, n int) error {
	deadline := time.Now().Add(arrivalLimit)
	for time.Now().Before(deadline) {
		a, err := asked(sinkURL, "/")
		if err != nil || a.Taken-a.Repeated >= n {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return fmt.Errorf("not every event arrived within %v", arrivalLimit)
}

func loadCommand(fs *flag.FlagSet) func() error {
	var cl client.Client
	fs.StringVar(&cl.Base, "server", "http://127.0.0.1:8080", "callbackd on loopback")
	fs.StringVar(&cl.Account, "account", "", "account")
	fs.StringVar(&cl.APIKey, "key", "", "API key")
	fs.StringVar(&cl.APISecret, "secret", "", "API secret")
	sinkURL := fs.String("sink", "", "URL of `bench sink`, where the key's callback points")
	n, c := fs.Int("events", 20_000, "events"), fs.Int("c", 64, "connections")
	rate := fs.Float64("rate", 0, "events a second; 0 for as many as possible")
	array := fs.Int("array", 0, "publish arrays of this many events, as fast as possible; 0 for single events")
	return func() error {
		publish := func() (answered, error) { return load(eventsPlace(&cl), *n, *c, 2000, *rate) }
		if *array > *n {
			return fmt.Errorf("-events %d is less than one array of %d", *n, *array)
		}
		if *array > 0 {
			*n -= *n % *array
			publish = func() (answered, error) { return loadArrays(eventsPlace(&cl), *n, *array, *c, 2000) }
		}
		a, err := publish()
		if err != nil {
			return err
		}
		fmt.Printf("%d events accepted in %v: %.0f a second; accepted within p50 %v, p99 %v\n", *n, a.took, float64(*n)/a.took.Seconds(), a.p50, a.p99)
		if *sinkURL == "" {
			return nil
		}
		if err := awaitArrivals(*sinkURL, *n); err != nil {
			return err
		}
		at, err := asked(*sinkURL, "/?full=1")
		fmt.Printf("all arrived, %d more than once; publish to arrival p50 %v, p99 %v\n", at.Repeated, at.P50, at.P99)
		return err
	}
}
