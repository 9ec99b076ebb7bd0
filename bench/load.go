package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"callbackd/client"
)

// target is what the load is sent to, in turn: callbackd's POST /v1/events with an API
// key, on one node or on several, or the relay.
type target []place

type place struct {
	url     string
	headers http.Header
}

// answered holds how long calls took.
type answered struct {
	took     time.Duration // all of them together
	p50, p99 time.Duration // one
}

// load publishes n events of 1 KiB from c connections, one event a request,
// over the given number of sessions. With rate > 0 it publishes that many a second.
func load(t target, n, c, sessions int, rate float64) (answered, error) {
	pad := strings.Repeat("x", 850)
	return loadWith(n, c, rate, func(i int, body *bytes.Buffer) place {
		fmt.Fprintf(body, `{"event":"SESSION:STATUS_CHANGE","session_key":"BEN-%010d","data":{"status":"PROCESS","previous_status":"STARTED","at":%d,"pad":"%s"}}`, i%sessions, time.Now().UnixNano(), pad)
		return t[i%len(t)]
	})
}

// loadWith makes n calls. request writes the body of call i and returns its target.
func loadWith(n, c int, rate float64, request func(i int, body *bytes.Buffer) place) (answered, error) {
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: c, DisableCompression: true}, Timeout: 30 * time.Second}
	var next atomic.Int64
	var failed atomic.Value
	var wg sync.WaitGroup
	latency := make([]time.Duration, n)
	start := time.Now()
	for range c {
		wg.Go(func() {
			var body bytes.Buffer
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if rate > 0 {
					if d := time.Until(start.Add(time.Duration(float64(i) / rate * float64(time.Second)))); d > 0 {
						time.Sleep(d)
					}
				}
				body.Reset()
				to := request(i, &body)
				begin := time.Now()
				if err := post(hc, to, body.Bytes()); err != nil {
					failed.CompareAndSwap(nil, err)
				}
				latency[i] = time.Since(begin)
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

func post(hc *http.Client, to place, body []byte) error {
	req, err := http.NewRequest(http.MethodPost, to.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = to.headers
	resp, err := hc.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s answers %d: %s", to.url, resp.StatusCode, answer)
	}
	return err
}

// asked reads what a sink reports.
func asked(sinkURL, query string) (arrived, error) {
	resp, err := http.Get(sinkURL + query)
	if err != nil {
		return arrived{}, err
	}
	defer resp.Body.Close()
	var a arrived
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// awaitArrivals waits until the sink has n different events.
func awaitArrivals(sinkURL string, n int) error {
	return awaitFor(sinkURL, n, 2*time.Minute)
}

func awaitFor(sinkURL string, n int, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		a, err := asked(sinkURL, "/")
		if err != nil || a.Taken-a.Repeated >= n {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return fmt.Errorf("not every event arrived within %v", patience)
}

func loadCommand(fs *flag.FlagSet) func() error {
	var cl client.Client
	fs.StringVar(&cl.Base, "server", "http://127.0.0.1:8080", "callbackd on loopback")
	fs.StringVar(&cl.Account, "account", "", "account")
	fs.StringVar(&cl.APIKey, "key", "", "API key")
	fs.StringVar(&cl.APISecret, "secret", "", "API secret")
	sinkURL := fs.String("sink", "", "URL of `bench sink`, where the key's callback points")
	n, c := fs.Int("events", 20_000, "events"), fs.Int("c", 64, "connections")
	rate := fs.Float64("rate", 0, "events a second; 0 for as many as go")
	return func() error {
		a, err := load(eventsTarget(&cl), *n, *c, 2000, *rate)
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
