package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"callbackd/client"
	"callbackd/internal/humanize"
)

// sessionsCommand compares the cost of a photo that changes a session in callbackd, and
// so makes a STAGE_CHANGE event, with that of publishing the same event.
func sessionsCommand(fs *flag.FlagSet) func() error {
	b := &bench{}
	b.flags(fs, 20_000, 5)
	return b.sessionRow
}

// photoURL is so long that the event has 1 KiB.
var photoURL = "https://photos.example.com/" + strings.Repeat("x", 830) + ".jpg"

func (b *bench) sessionRow() error {
	if err := b.open(); err != nil {
		return err
	}
	data := filepath.Join(b.dir, "data")
	srv, err := serve(b.server, "--data", data)
	if err != nil {
		return err
	}
	cl, err := b.prepare(b.server, srv, "--data", data)
	if err != nil {
		return err
	}
	keys, err := b.inspections(cl)
	if err != nil {
		return err
	}
	if _, err := cl.CreateCallback(context.Background(), client.NewCallback{Event: "SESSION:STAGE_CHANGE", URL: b.sink.url}); err != nil {
		return err
	}
	var photos, published []measured
	for i := range rounds(b.rounds) {
		step("round %d of %d", i+1, b.rounds)
		f, err := b.loadedBy(srv, b.calls(cl, func(i int, body *bytes.Buffer) string {
			fmt.Fprintf(body, `{"event":"SESSION:STAGE_CHANGE","session_key":"%s","data":{"photo_url":"%s","photo_status":"ACCEPTED","photo_code":4,"photo_label":"Left"}}`, keys[i%len(keys)], photoURL)
			return cl.Base + "/v1/events"
		}))
		if err != nil {
			return err
		}
		published = append(published, f)
		f, err = b.loadedBy(srv, b.calls(cl, func(i int, body *bytes.Buffer) string {
			fmt.Fprintf(body, `{"photo_code":4,"url":"%s","approved":true}`, photoURL)
			return cl.Base + "/v1/sessions/" + keys[i%len(keys)] + "/photos"
		}))
		if err != nil {
			return err
		}
		photos = append(photos, f)
	}
	printHead(fmt.Sprintf("%s STAGE_CHANGE events of 1 KiB, %d connections, %s sessions, %s interleaved",
		humanize.Number(b.n), b.c, humanize.Number(b.sessions), humanize.Plural(b.rounds, "round")), "figure", "POST /v1/events", "POST …/photos", "ratio")
	cpu := func(f measured) time.Duration { return f.cpu }
	rate := func(f measured) float64 { return f.rate }
	pc, ec, pr, er := of(photos, cpu), of(published, cpu), of(photos, rate), of(published, rate)
	printRow("CPU an event, server process", spread(ec, cpuText), spread(pc, cpuText), spread(ratios(pc, ec), ratioText))
	printRow("events/s end to end, durable", spread(er, countText), spread(pr, countText), spread(ratios(pr, er), ratioText))
	return nil
}

// calls makes n signed calls of one kind.
func (b *bench) calls(cl *client.Client, request func(int, *bytes.Buffer) string) func(n int) error {
	return func(n int) error {
		h := signed(cl)
		_, err := loadWith(n, b.c, 0, func(c call) place { return place{request(c.i, c.body), h} })
		return err
	}
}

// inspections creates sessions and brings each to PROCESS, with half of its photos.
func (b *bench) inspections(cl *client.Client) ([]string, error) {
	keys, errs := make([]string, b.sessions), make([]error, b.sessions)
	with := *cl
	with.HTTP = &http.Client{Transport: &http.Transport{MaxConnsPerHost: b.c, MaxIdleConnsPerHost: b.c}}
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			ctx := context.Background()
			s, err := with.CreateSession(ctx, client.NewSession{})
			if err == nil {
				_, err = with.StartSession(ctx, s.SessionKey)
			}
			for code := 1; code <= 6 && err == nil; code++ {
				_, err = with.AddPhoto(ctx, s.SessionKey, client.NewPhoto{PhotoCode: code, URL: "https://photos.example.com/p.jpg", Approved: true})
			}
			keys[i], errs[i] = s.SessionKey, err
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return keys, awaitArrivals(b.sink.url, 2*b.sessions) // STARTED and PROCESS
}
