package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
)

// oneDelivery registers a callback and publishes an event to it. It returns the
// number of the callback and the id of the delivery.
func (s *site) oneDelivery(receiver string) (callback, delivery string) {
	s.T.Helper()
	ctx, c := context.Background(), s.Client(s.Key)
	_, err := c.CreateCallback(ctx, client.NewCallback{Event: string(callbackd.StatusChange), URL: receiver, Retry: []string{"0s"}})
	if err != nil {
		s.T.Fatal(err)
	}
	var policy struct{ Callback int64 }
	if err := c.Do(ctx, "GET", "/v1/callbacks/SESSION:STATUS_CHANGE/policy", nil, &policy); err != nil {
		s.T.Fatal(err)
	}
	ev := s.Publish(s.Key, callbackd.StatusChange, "ACM-0000000001", map[string]any{"status": "STARTED"})
	callback = fmt.Sprint(policy.Callback)
	return callback, "dlv_" + strings.TrimPrefix(ev, "evt_") + "-" + callback
}

// hostile is what may come in every text that a client or a receiver sends.
const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>` + "\u202egnp.exe\u2066\u0007\u0000{{.}}"

// Long and hostile texts neither run nor break the layout on a phone.
func TestHostileTextsFitOnAPhone(t *testing.T) {
	s := startSite(t)
	long := strings.Repeat("x", 100<<10)
	recv := newReceiver(t)
	recv.Answers(func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Evil", "<script>alert(1)</script>")
		w.WriteHeader(http.StatusFound)
		fmt.Fprint(w, hostile, long)
	})
	_, err := s.Client(s.Key).CreateCallback(context.Background(), client.NewCallback{
		Event:   string(callbackd.NoteInsert),
		URL:     recv.URL + "/?q=%3Cscript%3Ealert(1)%3C/script%3E",
		Retry:   []string{"0s"},
		Headers: map[string]string{"X-Own": "<b>secret</b>"},
		Payload: map[string]any{"x": hostile},
	})
	if err != nil {
		t.Fatal(err)
	}
	const session = `<script>alert(1)</script>"'>`
	ev := s.Publish(s.Key, callbackd.NoteInsert, session, map[string]any{"note": map[string]any{"title": hostile, "description": long}, hostile: long})
	b := s.browser(t)
	b.signIn(s.Key)
	b.device(true)
	delivery := "/console/deliveries/dlv_" + strings.TrimPrefix(ev, "evt_") + "-1"
	b.open(delivery)
	b.sees("The only attempt failed")
	for _, path := range []string{
		"/console/", "/console/callbacks", "/console/callbacks/1", "/console/callbacks/1/edit", "/console/callbacks/1/delete",
		"/console/callbacks/1/test", "/console/callbacks/1/secret", "/console/deliveries", delivery,
		"/console/deliveries?session=" + url.QueryEscape(hostile), "/console/sessions", "/console/sessions?q=" + url.QueryEscape(hostile),
		"/console/sessions/" + url.PathEscape(session), "/console/events/" + ev, "/console/logs?path=" + url.QueryEscape(hostile),
	} {
		b.open(path)
		b.unfold()
		b.fits(path)
	}
	b.clean()
}

// Every link and button of a page is reached with the tabulator, and seen
// when it is.
func TestEveryActionIsReachedByKeyboard(t *testing.T) {
	s := startSite(t)
	recv := newReceiver(t)
	callback, id := s.oneDelivery(recv.URL)
	b := s.browser(t)
	b.open("/console/sign-in")
	b.tabsThrough()
	b.signIn(s.Key)
	for _, path := range []string{"/console/", "/console/callbacks/" + callback, "/console/callbacks/" + callback + "/secret", "/console/deliveries", "/console/deliveries/" + id, "/console/replays/new", "/console/callbacks/new"} {
		b.open(path)
		b.unfold()
		b.tabsThrough()
	}
	b.clean()
}
