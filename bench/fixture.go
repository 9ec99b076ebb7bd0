package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
)

// fixture is a data directory that is filled through the store, which is faster than
// through HTTP.
type fixture struct {
	store.Store
	place []string // where the store is, for a server
	key   callbackd.Key
}

func (b *bench) fixture(name string) (*fixture, error) {
	dir := filepath.Join(b.dir, name)
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	f := &fixture{Store: s, place: []string{"--data", dir}}
	f.key, err = f.newKey("bench")
	return f, err
}

// newKey makes an API key whose secret is "bench".
func (f *fixture) newKey(apiKey string) (callbackd.Key, error) {
	return f.CreateKey(context.Background(), callbackd.Key{Account: "bench", APIKey: apiKey, Secret: "bench", CreatedAt: time.Now()})
}

func (f *fixture) callback(key callbackd.KeyID, ev callbackd.EventType, name, url string) error {
	_, _, err := f.CreateCallback(context.Background(), callbackd.Callback{Key: key, Event: ev, Name: name, URL: url, Method: "POST", Payload: []byte("{}"),
		Secrets: []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}}, time.Now())
	return err
}

// serve closes the store and starts a server on it.
func (f *fixture) serve(server string) (*process, *client.Client, error) {
	if err := f.Close(); err != nil {
		return nil, nil, err
	}
	p, err := serve(server, f.place...)
	if err != nil {
		return nil, nil, err
	}
	return p, f.client(p, f.key.APIKey), nil
}

func (f *fixture) client(p *process, apiKey string) *client.Client {
	return &client.Client{Base: p.url, Account: "bench", APIKey: apiKey, APISecret: "bench"}
}

// fill accepts n events with size bytes of data, in sessions of 20. With finish set,
// each delivery is recorded as delivered.
func (f *fixture) fill(ev callbackd.EventType, n, size int, finish bool) error {
	data := fmt.Appendf(nil, `{"status":"PROCESS","pad":"%s"}`, strings.Repeat("x", size))
	progress := newStoring(int64(n), 100_000)
	defer progress.bar.Clear()
	for i := 0; i < n; i += callbackd.MaxBatch {
		progress.stored(int64(i))
		b := store.Batch{Key: f.key.ID, At: time.Now()}
		for j := i; j < min(n, i+callbackd.MaxBatch); j++ {
			b.Events = append(b.Events, store.NewEvent{Type: ev, Session: sessionName(j / 20), Data: data})
		}
		evs, err := f.Accept(context.Background(), b)
		if err == nil && finish {
			err = f.deliver(evs)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deliver records the first delivery of each event as delivered.
func (f *fixture) deliver(evs []*callbackd.Event) error {
	return atOnce(len(evs), len(evs), func(i int) error {
		_, err := f.Record(context.Background(), &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[i].ID, Callback: evs[i].Targets[0]}},
			Attempt: callbackd.Attempt{Number: 1, Version: 1, Result: callbackd.Result{StartedAt: time.Now(), Status: 200, Address: "127.0.0.1:80"}, Decision: callbackd.Decision{State: callbackd.Delivered, Why: "the receiver answered 200"}}})
		return err
	})
}

// atOnce calls f with 0 to n-1, on c goroutines, so that commands share commits.
func atOnce(n, c int, f func(i int) error) error {
	errs := make([]error, c)
	var work sync.WaitGroup
	for worker := range c {
		work.Go(func() {
			for i := worker; i < n && errs[worker] == nil; i += c {
				errs[worker] = f(i)
			}
		})
	}
	work.Wait()
	return errors.Join(errs...)
}
