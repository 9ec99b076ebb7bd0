package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/humanize"
	"callbackd/internal/store/postgres"
)

const listsHelp = `
The goal is 100 ms for each list. With -postgres the deliveries are copies, because
accepting ten million would take an hour.
`

func listsCommand(fs *flag.FlagSet) func() error {
	x := &extremes{}
	fs.IntVar(&x.finished, "finished", 10_000_000, "finished deliveries")
	fs.BoolVar(&x.onPostgres, "postgres", false, "on a PostgreSQL of its own instead of SQLite")
	x.dirFlag(fs)
	return func() error {
		if err := x.open(); err != nil {
			return err
		}
		return x.lists()
	}
}

// pagesOf is the number of times that each page is read.
const pagesOf = 31

// lists measures how fast list pages are when the history is long.
func (x *extremes) lists() error {
	step("%d finished deliveries, then their lists", x.finished)
	history := x.longHistory
	if x.onPostgres {
		db, err := startDatabase()
		if err != nil {
			return err
		}
		history = func() (*fixture, error) { return x.longHistoryOn(db) }
	}
	f, err := history()
	if err != nil {
		return err
	}
	if err := f.fill(callbackd.Complete, 10_000, 900, false); err != nil {
		return err
	}
	_, cl, err := f.serve(x.server)
	if err != nil {
		return err
	}
	console, err := signedIn(cl)
	if err != nil {
		return err
	}
	printHead(fmt.Sprintf("%s finished deliveries; medians", humanize.Number(x.finished)), "list", "time")
	middle := url.QueryEscape(time.Now().Add(-time.Second).UTC().Format(time.RFC3339))
	for _, page := range []string{"/v1/deliveries?", "/v1/deliveries?state=pending", "/v1/deliveries?state=failed", "/v1/deliveries?state=delivered", "/v1/deliveries?session_key=BEN-0000000007",
		"/v1/deliveries?callback=1", "/v1/deliveries?status=5xx", "/v1/deliveries?fault=timeout&state=pending", "/v1/deliveries?until=" + middle,
		"/v1/events?", "/v1/events?event=SESSION:NOTE_INSERT", "/v1/events?after=start", "/v1/events?after=now", "/v1/replays?", "/v1/logs?",
		"/console/", "/console/?over=week", "/console/callbacks", "/console/sessions", "/console/sessions/BEN-0000000007", "/console/deliveries", "/console/deliveries?state=failed", "/console/deliveries?status=5xx",
		"/console/logs", "/console/replays"} {
		get := func() error { return console(page) }
		if strings.HasPrefix(page, "/v1/") {
			page = strings.ReplaceAll(page+"&limit=50", "?&", "?")
			get = func() error { return cl.Do(context.Background(), "GET", page, nil, nil) }
		}
		took, err := medianOf(get)
		if err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
		printRow("GET "+page, humanize.Latency(took))
	}
	return nil
}

func medianOf(get func() error) (time.Duration, error) {
	took := make([]time.Duration, pagesOf)
	for i := range took {
		begin := time.Now()
		if err := get(); err != nil {
			return 0, err
		}
		took[i] = time.Since(begin)
	}
	return median(took), nil
}

// signedIn reads pages of the console as a user who logged in with the key.
func signedIn(cl *client.Client) (func(page string) error, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	h := &http.Client{Jar: jar}
	get := func(page string) error {
		res, err := h.Get(cl.Base + page)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Request.URL.Path, "/console/") || res.Request.URL.Path == "/console/sign-in" {
			return fmt.Errorf("%s from %s", res.Status, res.Request.URL)
		}
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	res, err := h.PostForm(cl.Base+"/console/sign-in", url.Values{"as": {"key"}, "api_key": {cl.APIKey}, "secret": {cl.APISecret}})
	if err != nil {
		return nil, err
	}
	res.Body.Close()
	return get, get("/console/")
}

// longHistory makes a store whose deliveries were accepted and recorded.
func (x *extremes) longHistory() (*fixture, error) {
	f, err := x.fixture("lists")
	if err != nil {
		return nil, err
	}
	return f, errors.Join(f.twoCallbacks(), f.fill(callbackd.StatusChange, x.finished, 900, true))
}

func (f *fixture) twoCallbacks() (err error) {
	for _, ev := range []callbackd.EventType{callbackd.StatusChange, callbackd.Complete} {
		if e := f.callback(f.key.ID, ev, "default", "http://127.0.0.1:9/"); e != nil {
			err = e
		}
	}
	return err
}

// SQL copies the rows of an event that was accepted and recorded: one every tenth of a
// second until now, twenty a session, one in a hundred failed. The rows are inserted in
// the order of ids, so that indexes grow at their end.
const (
	copyEvents = `INSERT INTO events SELECT ($1::bigint - ($2::bigint - g) * 100) << 21, e.key_no, e.type, 'OLD-' || lpad((g / 20)::text, 10, '0'), 1 + g % 20, false, e.owed, e.data
		FROM (SELECT * FROM events ORDER BY id DESC LIMIT 1) e, generate_series($3::bigint, $4::bigint) g`
	copyAttempts = `INSERT INTO attempts SELECT ($1::bigint - ($2::bigint - g) * 100) << 21, a.callback_no, 1, a.version, CASE WHEN g % 100 = 0 THEN 'failed' ELSE a.state END, a.detail
		FROM (SELECT * FROM attempts ORDER BY event_id DESC LIMIT 1) a, generate_series($3::bigint, $4::bigint) g`
	copySequences = `INSERT INTO session_sequences SELECT key_no, session, max(sequence), max(id) FROM events WHERE session LIKE 'OLD-%' GROUP BY key_no, session`
	bulkOf        = 500_000
)

// longHistoryOn is longHistory on PostgreSQL: ten million deliveries through
// the store would take an hour, so all but the last are copies.
func (x *extremes) longHistoryOn(db *database) (*fixture, error) {
	ctx := context.Background()
	keyset := filepath.Join(x.dir, "secret-keys.json")
	s, err := postgres.Open(ctx, postgres.Options{URL: db.server.URL(""), KeysetFile: keyset})
	if err != nil {
		return nil, err
	}
	f := &fixture{Store: s, place: []string{"--database-url", db.server.URL(""), "--secret-keys", keyset}}
	f.key, err = f.newKey("bench")
	if err := errors.Join(err, f.twoCallbacks(), f.fill(callbackd.StatusChange, 1000, 900, true)); err != nil {
		return nil, err
	}
	last, n := time.Now().Add(-time.Minute).UnixMilli(), int64(x.finished)
	progress := newStoring(n, bulkOf)
	defer progress.bar.Clear()
	for from := int64(0); from < n; from += bulkOf {
		progress.stored(from)
		to := min(from+bulkOf, n) - 1
		for _, sql := range []string{copyEvents, copyAttempts} {
			if _, err := db.conn.Exec(ctx, sql, last, n, from, to); err != nil {
				return nil, err
			}
		}
	}
	for _, sql := range []string{copySequences, "VACUUM ANALYZE", "CHECKPOINT"} {
		if _, err := db.conn.Exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	return f, nil
}
