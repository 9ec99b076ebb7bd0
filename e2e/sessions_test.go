package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
)

// story reads all events of a session.
func story(t *testing.T, cl *client.Client, key string) (out []wire.SessionEvent) {
	t.Helper()
	for cursor := ""; ; {
		page, err := cl.SessionEvents(t.Context(), key, cursor)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page.Data...)
		if page.Next == nil {
			return out
		}
		cursor = *page.Next
	}
}

// inspector adds notes and photos to a session until ctx ends, through kills,
// and keeps what was acknowledged.
type inspector struct {
	key   string
	notes map[string]string // title to the event's id
	event map[string]bool
}

func (in *inspector) work(ctx context.Context, cl client.Client, base *atomic.Pointer[string], acked *atomic.Int64) {
	for i := 0; ctx.Err() == nil; i++ {
		cl.Base = *base.Load()
		var c wire.SessionChange
		var err error
		title := fmt.Sprint("note ", i)
		if i%2 == 0 {
			c, err = cl.AddNote(ctx, in.key, client.NewNote{Title: title})
		} else {
			c, err = cl.AddPhoto(ctx, in.key, client.NewPhoto{PhotoCode: 4, URL: fmt.Sprintf("https://p.example/%d.jpg", i), Approved: true})
		}
		if err != nil {
			continue
		}
		acked.Add(1)
		for _, ev := range c.Events {
			in.event[ev.ID] = true
			if i%2 == 0 {
				in.notes[title] = ev.ID
			}
		}
	}
}

// newInspector starts a session.
func newInspector(t *testing.T, cl *client.Client) *inspector {
	t.Helper()
	s, err := cl.CreateSession(t.Context(), client.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.StartSession(t.Context(), s.SessionKey); err != nil {
		t.Fatal(err)
	}
	return &inspector{s.SessionKey, map[string]string{}, map[string]bool{}}
}

// Kill -9 under changes of sessions: what was acknowledged is there, and a
// session is what its events say.
func TestSessionsSurviveKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	var base atomic.Pointer[string]
	base.Store(&srv.url)
	var acked atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var all []*inspector
	for range 6 {
		in := newInspector(t, cl)
		all = append(all, in)
		work.Go(func() { in.work(ctx, *cl, &base, &acked) })
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 6 {
		for more := acked.Load() + 20 + rand.Int64N(200); acked.Load() < more; {
			<-tick.C
		}
		srv.kill()
		srv = serve(t, dir)
		base.Store(&srv.url)
	}
	stop()
	work.Wait()
	cl.Base = srv.url
	for _, in := range all {
		told := in.replay(t, story(t, cl, in.key))
		if len(in.event) > 0 {
			t.Errorf("%s: acknowledged events are lost: %v", in.key, in.event)
		}
		told.wantShown(t, cl)
	}
	if code := srv.term(t); code != 0 {
		t.Errorf("SIGTERM: exit %d, want 0\n%s", code, srv.log)
	}
	fsck(t, dir)
}

// told is what the events of a session say of it.
type told struct {
	key    string
	status string
	photo  string   // the URL of the last one
	notes  []string // their titles
}

// replay goes through the events of the session and strikes them off the
// acknowledged ones.
func (in *inspector) replay(t *testing.T, events []wire.SessionEvent) told {
	t.Helper()
	s := told{key: in.key, status: "IDLE", notes: []string{}}
	for i, ev := range events {
		if ev.Sequence != int64(i+1) {
			t.Fatalf("%s: event %d is in place %d", in.key, ev.Sequence, i+1)
		}
		delete(in.event, ev.ID)
		var d struct {
			Status   string    `json:"status"`
			Previous string    `json:"previous_status"`
			PhotoURL string    `json:"photo_url"`
			Note     wire.Note `json:"note"`
		}
		if err := json.Unmarshal(ev.Data, &d); err != nil {
			t.Fatal(err)
		}
		switch ev.Event {
		case "SESSION:STATUS_CHANGE":
			if d.Previous != s.status {
				t.Errorf("%s moves from %s, but was %s", in.key, d.Previous, s.status)
			}
			s.status = d.Status
		case "SESSION:STAGE_CHANGE":
			s.photo = d.PhotoURL
		case "SESSION:NOTE_INSERT":
			s.notes = append(s.notes, d.Note.Title)
		}
	}
	return s
}

// wantShown checks that the API shows the session as its events tell it.
func (s told) wantShown(t *testing.T, cl *client.Client) {
	t.Helper()
	session, err := cl.Session(t.Context(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	if session.Status != s.status {
		t.Errorf("%s is %s, its events say %s", s.key, session.Status, s.status)
	}
	photos, err := cl.Photos(t.Context(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	if len(photos) != 1 {
		t.Fatalf("%s has %d photos, want 1 as its events say", s.key, len(photos))
	}
	if photos[0].URL != s.photo {
		t.Errorf("%s has the photo %s, its events say %s", s.key, photos[0].URL, s.photo)
	}
	notes, err := cl.Notes(t.Context(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	titles := []string{}
	for _, n := range notes {
		titles = append(titles, n.Title)
	}
	if diff := cmp.Diff(s.notes, titles); diff != "" {
		t.Errorf("%s has other notes than its events say (-events +notes):\n%s", s.key, diff)
	}
}

// The time frame of a key holds while the server runs and while it does not.
func TestSessionsOfAShortKeyExpire(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClientWith(t, dir, "--sessions-expire-after", "1s")
	cl.Base = srv.url
	create := func() string {
		s, err := cl.CreateSession(t.Context(), client.NewSession{})
		if err != nil {
			t.Fatal(err)
		}
		return s.SessionKey
	}
	expires := func(key string) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		deadline := time.After(patience)
		for {
			s, err := cl.Session(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if s.Status == "EXPIRED" {
				break
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%s is still %s", key, s.Status)
			}
		}
		evs := story(t, cl, key)
		if len(evs) != 1 {
			t.Fatalf("%d events of the expired session, want 1", len(evs))
		}
		if data := string(evs[0].Data); !strings.HasPrefix(data, `{"status":"EXPIRED","timestamp":"`) {
			t.Errorf("the event of the expired session has the data %s", data)
		}
	}
	expires(create())
	key := create()
	if code := srv.term(t); code != 0 {
		t.Fatal(code)
	}
	srv = serve(t, dir)
	cl.Base = srv.url
	expires(key)
	if _, errs, code := run(t, "keys", "create", "--account", "a", "--sessions-expire-after", "1ms", "--data", dir); code == 0 || !strings.Contains(errs, "--sessions-expire-after 1ms is invalid; give a duration from 1s to") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestSimulate(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	dir, srv, cl := begin(t, sk)
	with := func(more ...string) (string, string, int) {
		return run(t, append([]string{"simulate", "--server", srv.url, "--account", cl.Account, "--key", cl.APIKey, "--secret", cl.APISecret}, more...)...)
	}
	out, errs, code := with("--sessions", "30", "--speed", "max", "--seed", "5")
	wantExit(t, "simulate", code, 0, out, "30 inspections, seed 5", "COMPLETE", "events in")
	if errs != "" {
		t.Errorf("simulate writes to standard error:\n%s", errs)
	}
	again, _, _ := with("--sessions", "30", "--speed", "max", "--seed", "5")
	table := func(s string) string { s, _, _ = strings.Cut(s, "deliveries"); return s }
	if table(again) != table(out) {
		t.Errorf("the same seed gives\n%s\nand\n%s", out, again)
	}
	for _, bad := range [][]string{{"--speed", "fast"}, {"--reject", "2"}, {"--reject", "1"}, {"--sessions", "0"}, {"--abandon", "0.6", "--invalid", "0.6"}, {"--secret", "wrong"}} {
		if out, errs, code := with(bad...); code == 0 || len(errs) < 20 {
			t.Errorf("%v: %d %s%s", bad, code, out, errs)
		}
	}
	if out, _, code := run(t, "fsck", "--data", dir); code != 0 {
		t.Errorf("%d\n%s", code, out)
	}
}
