package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"callbackd/client"
)

// sessionsCommand compares the cost of a photo that changes a session in callbackd, and
// so makes a STAGE_CHANGE event, with that of publishing the same event.
func sessionsCommand(fs *flag.FlagSet) func() error {
	b := &bench{}
	fs.IntVar(&b.n, "events", 20_000, "events of each measurement")
	fs.IntVar(&b.c, "c", 64, "connections")
	fs.IntVar(&b.rounds, "rounds", 5, "interleaved repetitions")
	fs.IntVar(&b.sessions, "sessions", 2000, "sessions the events are spread over")
	fs.StringVar(&b.dir, "dir", "", "directory on the disk to measure; default a temporary one")
	return b.sessionRow
}

// photoURL is so long that the event has 1 KiB.
var photoURL = "https://photos.example.com/" + strings.Repeat("x", 830) + ".jpg"

func (b *bench) sessionRow() error {
	dir, err := os.MkdirTemp(b.dir, "callbackd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, self, err := buildBoth(dir)
	if err != nil {
		return err
	}
	if b.sink, err = start(self, "sink"); err != nil {
		return err
	}
	defer b.sink.stop()
	data := filepath.Join(dir, "data")
	srv, err := start(server, "serve", "--listen", "127.0.0.1:0", "--data", data, "--allow-target", "127.0.0.0/8", "--log-level", "warn")
	if err != nil {
		return err
	}
	defer srv.stop()
	cl, err := b.prepare(server, srv, "--data", data)
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
	var photos, published []figures
	for i := range b.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", i+1, b.rounds)
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
	cpu := func(f figures) time.Duration { return f.cpu }
	rate := func(f figures) float64 { return f.rate }
	pc, ec, pr, er := median(of(photos, cpu)), median(of(published, cpu)), median(of(photos, rate)), median(of(published, rate))
	fmt.Printf("%s, %s, %d cores; %d STAGE_CHANGE events of 1 KiB, %d connections, %d sessions, %d rounds interleaved, medians\n\n",
		time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), b.n, b.c, b.sessions, b.rounds)
	fmt.Println("| figure | POST /v1/events | POST …/photos | ratio |\n|---|---|---|---|")
	fmt.Printf("| CPU an event, server process | %v | %v | %.2f |\n", ec, pc, float64(pc)/float64(ec))
	fmt.Printf("| events/s end to end, durable | %.0f | %.0f | %.2f |\n", er, pr, pr/er)
	return nil
}

// calls makes n signed calls of one kind.
func (b *bench) calls(cl *client.Client, request func(int, *bytes.Buffer) string) func(n int) error {
	return func(n int) error {
		h := signed(cl)
		_, err := loadWith(n, b.c, 0, func(i int, body *bytes.Buffer) place { return place{request(i, body), h} })
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
