package api_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/store"
	"callbackd/wire"
)

func (s *server) after(query string) (ids []string, next string) {
	s.t.Helper()
	l := decode[wire.EventList](s.call("GET", "/v1/events?after="+query, "").ok(200))
	for _, ev := range l.Data {
		ids = append(ids, ev.ID)
	}
	return ids, *l.Next
}

func TestAReaderGoesFromNextToNextAndMissesNothing(t *testing.T) {
	onBothStores(t, aReaderGoesFromNextToNextAndMissesNothing)
}

func aReaderGoesFromNextToNextAndMissesNothing(t *testing.T, on func(*setup)) {
	s := start(t, on)
	other := s.as(s.newKey("other", false))
	_, begin := s.after("now")
	var want []string
	for i := range 5 {
		want = append(want, s.publish("SESSION:COMPLETE", fmt.Sprint("S", i%2), `{}`).ID)
		other.publish("SESSION:COMPLETE", "S0", `{}`)
	}
	var got []string
	for next := begin; ; {
		var ids []string
		if ids, next = s.after(next + "&limit=2"); len(ids) == 0 {
			break
		}
		got = append(got, ids...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if ids, _ := s.after("start"); !slices.Equal(ids, want) {
		t.Errorf("from the start: %v", ids)
	}
	if ids, _ := s.after(begin + "&session_key=S1&event=SESSION:COMPLETE"); len(ids) != 2 {
		t.Errorf("of one session: %v", ids)
	}
	for query, says := range map[string]string{"after=x": "after must be", "after=now&wait=31": "wait must be", "after=now&cursor=x": "Unknown parameter", "wait=1": "after must be"} {
		s.call("GET", "/v1/events?"+query, "").says(400, says)
	}
}

// A poll that waits answers when there is something, not at its end.
func TestAPollIsWokenByAnEvent(t *testing.T) { onBothStores(t, aPollIsWokenByAnEvent) }

func aPollIsWokenByAnEvent(t *testing.T, on func(*setup)) {
	s := start(t, on)
	_, next := s.after("now")
	got := make(chan []string)
	go func() {
		ids, _ := s.after(next + "&wait=30")
		got <- ids
	}()
	id := s.publish("SESSION:COMPLETE", "S", `{}`).ID
	select {
	case ids := <-got:
		if !slices.Equal(ids, []string{id}) {
			t.Errorf("%v, want %s", ids, id)
		}
	case <-time.After(patience):
		t.Error("the poll slept through an event")
	}
}

// watching tells when a call begins to wait for events.
type watching struct {
	store.Store
	begun chan struct{}
}

func (w watching) Watch(key callbackd.KeyID) (changed <-chan struct{}, stop func()) {
	changed, stop = w.Store.Watch(key)
	w.begun <- struct{}{}
	return changed, stop
}

// A poll that waits while its key is revoked does not get what is accepted after that.
func TestAPollEndsWithItsKey(t *testing.T) { onBothStores(t, aPollEndsWithItsKey) }

func aPollEndsWithItsKey(t *testing.T, on func(*setup)) {
	begun := make(chan struct{}, 1)
	s := start(t, on, func(c *setup) { c.wrap = func(s store.Store) store.Store { return watching{s, begun} } })
	got := make(chan reply)
	go func() { got <- s.call("GET", "/v1/events?after=now&wait=30", "") }()
	<-begun
	if err := s.store.ChangeKey(t.Context(), s.key.APIKey, func(k *callbackd.Key) error {
		k.Revoke(time.Now())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	_, err := s.store.Accept(t.Context(), store.Batch{Key: s.key.ID, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}}})
	if err != nil {
		t.Fatal(err)
	}
	(<-got).says(401, "revoked or has expired")
}

// The server's deadline of writing is for answers; a stream outlasts it.
func TestAStreamOutlastsTheServersDeadline(t *testing.T) {
	t.Parallel()                    // it waits
	const timeout = 3 * time.Second // a slow machine begins the stream within it
	s := start(t, func(c *setup) { c.http = func(h *http.Server) { h.WriteTimeout = timeout } })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := s.listen(ctx, "", "")
	l.id(t)
	<-time.After(timeout + time.Second)
	evs, err := s.store.Accept(ctx, store.Batch{Key: s.key.ID, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.id(t); got != evs[0].ID.String() {
		t.Errorf("%s, want %s", got, evs[0].ID)
	}
}

func TestReadersOfAKeyAreLimited(t *testing.T) {
	s := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range api.MaxWaiting {
		s.listen(ctx, "", "").id(t)
	}
	s.call("GET", "/v1/events?after=now&wait=1", "").says(429, "32 calls")
	s.call("GET", "/v1/events/stream", "").says(429, "32 calls")
	s.as(s.newKey("other", false)).listen(ctx, "", "").id(t)
}

// listener reads server-sent events.
type listener struct {
	lines *bufio.Reader
	close func()
}

func (s *server) listen(ctx context.Context, query, last string) *listener {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/v1/events/stream"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.sign(req)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("%s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	return &listener{bufio.NewReader(resp.Body), func() { resp.Body.Close() }}
}

// message is the next one: id, event, data. It is an error when none comes.
func (l *listener) message(t *testing.T) (id, event, data string, err error) {
	t.Helper()
	defer time.AfterFunc(patience, l.close).Stop()
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			return "", "", "", err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			data = value
		case "":
			if value == "" && id != "" {
				return id, event, data, nil
			}
		}
	}
}

func (l *listener) id(t *testing.T) string {
	t.Helper()
	id, _, _, err := l.message(t)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAStreamGoesOnWhereItsReaderWas(t *testing.T) {
	onBothStores(t, aStreamGoesOnWhereItsReaderWas)
}

func aStreamGoesOnWhereItsReaderWas(t *testing.T, on func(*setup)) {
	s := start(t, on)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := s.listen(ctx, "", "")
	begun := l.id(t)
	first := s.publish("SESSION:COMPLETE", "S", `{"a":"line\nbreak"}`).ID
	id, event, data, err := l.message(t)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the id of the message", id, first)
	equal(t, "the event of the message", event, "SESSION:COMPLETE")
	contains(t, "the data of the message", data, `"data":{"a":"line\nbreak"}`)
	if !strings.HasPrefix(data, `{"id":"`+first) {
		t.Errorf("the data of the message is %s, want it to begin with the id %s", data, first)
	}
	l.close()
	missed := s.publish("SESSION:NOTE_INSERT", "S", `{}`).ID
	l = s.listen(ctx, "", first)
	if got := []string{l.id(t), l.id(t)}; !slices.Equal(got, []string{first, missed}) { // the first is the place, without data
		t.Errorf("%v, want %s and %s", got, first, missed)
	}
	l = s.listen(ctx, "?event=SESSION:NOTE_INSERT&after="+begun, "")
	if got := []string{l.id(t), l.id(t)}; !slices.Equal(got, []string{begun, missed}) {
		t.Errorf("%v, want %s and %s", got, begun, missed)
	}
	s.call("GET", "/v1/events/stream?after=x", "").says(400, "after must be")
}

// A reader that takes nothing holds up nobody, and gets everything later.
func TestASlowReaderIsCaughtUpFromTheStore(t *testing.T) {
	onBothStores(t, aSlowReaderIsCaughtUpFromTheStore)
}

func aSlowReaderIsCaughtUpFromTheStore(t *testing.T, on func(*setup)) {
	s := start(t, on)
	ctx := t.Context() // each message has its own patience: a slow machine needs long for all
	l := s.listen(ctx, "?after=start", "")
	last := l.id(t)
	data := `{"x":"` + strings.Repeat("x", 100<<10) + `"}`
	var want []string
	for range 200 { // 20 MB: more than the sockets hold
		want = append(want, s.publish("SESSION:COMPLETE", "S", data).ID)
	}
	for i, id := range want {
		got, _, _, err := l.message(t)
		if err != nil { // the server took the reader for stuck; it comes back as readers do
			l = s.listen(ctx, "", last)
			l.id(t) // its place, without data
			got = l.id(t)
		}
		for got == last { // the place once more, of a heartbeat: a slow machine gets some
			got = l.id(t)
		}
		if got != id {
			t.Fatalf("message %d is %s, want %s", i, got, id)
		}
		last = id
	}
}

func TestAStreamEndsWithItsKeyAndWithTheServer(t *testing.T) {
	onBothStores(t, aStreamEndsWithItsKeyAndWithTheServer)
}

func aStreamEndsWithItsKeyAndWithTheServer(t *testing.T, on func(*setup)) {
	s := start(t, on)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := s.listen(ctx, "", "")
	l.id(t)
	if err := s.store.ChangeKey(ctx, s.key.APIKey, func(k *callbackd.Key) error {
		k.Revoke(time.Now())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	_, err := s.store.Accept(ctx, store.Batch{Key: s.key.ID, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}}})
	if err != nil {
		t.Fatal(err)
	}
	if id, _, _, err := l.message(t); err == nil {
		t.Errorf("a revoked key got %s", id)
	}
	other := s.as(s.newKey("other", false))
	l = other.listen(ctx, "", "")
	l.id(t)
	s.api.Close()
	if _, _, _, err := l.message(t); err == nil {
		t.Error("the stream outlived the server")
	}
}
