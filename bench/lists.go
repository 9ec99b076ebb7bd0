package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"callbackd"
	"callbackd/client"
)

// pagesOf is how often each page is read.
const pagesOf = 31

// lists is how soon the pages come that people look at, with a long history.
func (x *extremes) lists() error {
	f, err := x.fixture("lists")
	if err != nil {
		return err
	}
	for _, ev := range []callbackd.EventType{callbackd.StatusChange, callbackd.Complete} {
		if _, err := f.callback(ev, "default", "http://127.0.0.1:9/"); err != nil {
			return err
		}
	}
	if err := f.fill(callbackd.StatusChange, x.finished, true); err != nil {
		return err
	}
	if err := f.fill(callbackd.Complete, 10_000, false); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	p, cl, err := x.serve(f.dir)
	if err != nil {
		return err
	}
	defer p.stop()
	middle := time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
	for _, page := range []string{"/v1/deliveries?", "/v1/deliveries?state=pending", "/v1/deliveries?state=failed", "/v1/deliveries?state=delivered", "/v1/deliveries?session_key=BEN-0000000007",
		"/v1/deliveries?callback=1", "/v1/deliveries?status=5xx", "/v1/deliveries?fault=timeout&state=pending", "/v1/deliveries?until=" + url.QueryEscape(middle),
		"/v1/events?", "/v1/events?event=SESSION:NOTE_INSERT", "/v1/events?after=start", "/v1/events?after=now", "/v1/replays?", "/v1/logs?"} {
		median, err := medianOf(cl, page)
		if err != nil {
			return err
		}
		row(fmt.Sprintf("median of GET %s&limit=50, %d finished deliveries", page, x.finished), "%v", median.Round(10*time.Microsecond))
	}
	return nil
}

func medianOf(cl *client.Client, page string) (time.Duration, error) {
	took := make([]time.Duration, pagesOf)
	for i := range took {
		begin := time.Now()
		if err := cl.Do(context.Background(), "GET", page+map[bool]string{true: "", false: "&"}[page[len(page)-1] == '?']+"limit=50", nil, nil); err != nil {
			return 0, fmt.Errorf("%s: %w", page, err)
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
