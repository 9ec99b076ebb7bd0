package e2e

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"callbackd/client"
)

const arrived = `{"name": "VEHICLE:ARRIVED", "description": "A vehicle came to a yard.",
	"schema": {"properties": {"vin": {"type": "string", "minLength": 17}}, "required": ["vin"]}, "sample": {"vin": "1HGCM82633A004352"}}`

// typesIn writes files of event types and returns their directory.
func typesIn(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A server does not start with a wrong file of an event type. It names the file, the place
// in it, and what to do.
func TestAWrongFileOfAnEventTypeFailsTheStart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		file string
		want []string
	}{
		{`{"name": "VEHICLE:ARRIVED",`, []string{"the file"}},
		{strings.Replace(arrived, "VEHICLE:ARRIVED", "SESSION:ARRIVED", 1), []string{"name: ", `"SESSION:ARRIVED"`, "The first word must not be one of SESSION"}},
		{strings.Replace(arrived, `"description"`, `"about"`, 1), []string{`"about" is unknown; a type has name, description, schema and sample`}},
		{strings.Replace(arrived, `"minLength": 17`, `"minLength": "17"`, 1), []string{"schema: ", "/properties/vin/minLength"}},
		{strings.Replace(arrived, `{"vin": "1HGCM82633A004352"}`, `{"vin": "short"}`, 1), []string{"sample: it does not fit the schema. /vin: minLength: got 5, want 17."}},
		{strings.Replace(arrived, `"VEHICLE:ARRIVED"`, `"VEHICLE:GONE"`, 1), []string{"VEHICLE:GONE is also in", "gone.json; remove one of them"}},
	} {
		dir := typesIn(t, map[string]string{"gone.json": strings.Replace(arrived, "ARRIVED", "GONE", 1), "wrong.json": tt.file, "README.md": "not read"})
		_, errs, code := runCmd(t, serveCmd(t.TempDir(), "--event-types", dir))
		wantExit(t, "serve", code, 78, errs, append(tt.want, "--event-types: "+filepath.Join(dir, "wrong.json")+": ")...)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	_, errs, code := runCmd(t, serveCmd(t.TempDir(), "--event-types", missing))
	wantExit(t, "serve without the directory", code, 78, errs, "--event-types: ", missing, "no such file or directory")
}

// A node that lacks a file of an event type delivers and shows the events of the type that
// another node accepted, also to a callback for one session, and accepts none. A call is
// answered by the home of its API key, whichever node it reaches.
func TestNodesWithDifferentEventTypes(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 0, 0)
	node := func(files map[string]string) *server {
		cmd := c.command(c.url)
		cmd.Args = append(cmd.Args, "--validate", "refuse", "--event-types", typesIn(t, files))
		return listening(t, start(t, cmd))
	}
	sold := strings.Replace(arrived, "VEHICLE:ARRIVED", "VEHICLE:SOLD", 1)
	lacks := node(map[string]string{"sold.json": sold}) // starts first, so that it has not read the type of the other
	has := node(map[string]string{"arrived.json": arrived, "sold.json": strings.Replace(sold, "17", "3", 1)})
	c.shared(2)
	at := func(srv *server, key *client.Client) *client.Client {
		cl := *key
		cl.Base = srv.url
		return &cl
	}
	var atHas, atLacks *client.Client // API keys whose home has the type, and lacks it
	for atHas == nil || atLacks == nil {
		key := c.newKey()
		if _, err := at(lacks, key).EventType(t.Context(), "VEHICLE:ARRIVED"); err == nil {
			atHas = key
		} else {
			refusedWith(t, "the type at the home that lacks it", err, noArrived)
			atLacks = key
		}
	}

	var open atomic.Bool
	sk := newSink(t)
	sk.answer = func(context.Context, try, int64) int {
		if open.Load() {
			return 200
		}
		return 503
	}
	cl := at(lacks, atHas)
	hook(t, cl, sk.URL, "VEHICLE:ARRIVED")
	for _, session := range []string{"A", "B", "C", "D"} {
		_, err := cl.Publish(t.Context(), client.NewEvent{Event: "VEHICLE:ARRIVED", SessionKey: session, Data: map[string]string{"vin": "1HGCM82633A004352"},
			Callback: &client.NewSessionCallback{URL: sk.URL + "/own", Events: []string{"VEHICLE:ARRIVED"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	short := client.NewEvent{Event: "VEHICLE:SOLD", SessionKey: "E", Data: map[string]string{"vin": "short"}}
	if _, err := cl.Publish(t.Context(), short); err != nil {
		t.Errorf("data that fits the file of the home: %v", err)
	}
	_, err := at(has, atLacks).Publish(t.Context(), short)
	refusedWith(t, "data that does not fit the file of the home", err, "/vin: minLength: got 5, want 17")
	if code := has.term(t); code != 0 {
		t.Errorf("the node that has the type ends with %d: %s", code, has.log)
	}
	open.Store(true)
	sk.await(t, "the other node delivers what this one accepted", func() bool { return len(sk.ids) == 4 && slices.Min(counts(sk.ids)) >= 2 })
	list, err := cl.Events(t.Context(), url.Values{"event": {"VEHICLE:ARRIVED"}})
	if err != nil || len(list.Data) != 4 || list.Data[0].Event != "VEHICLE:ARRIVED" {
		t.Errorf("the node that lacks the type lists %+v, %v", list, err)
	}
	own, err := cl.SessionCallbacks(t.Context(), "A")
	if err != nil || len(own.Data) != 1 || !slices.Equal(own.Data[0].Events, []string{"VEHICLE:ARRIVED"}) {
		t.Errorf("the node that lacks the type shows %+v, %v", own, err)
	}
	_, err = cl.Publish(t.Context(), client.NewEvent{Event: "VEHICLE:ARRIVED", SessionKey: "A"})
	refusedWith(t, "an event at the home that lacks the type", err, noArrived)
	_, err = cl.CreateCallback(t.Context(), client.NewCallback{Event: "VEHICLE:ARRIVED", URL: sk.URL, Name: "second"})
	refusedWith(t, "a callback at the home that lacks the type", err, noArrived)
	if err := cl.Do(t.Context(), http.MethodDelete, "/v1/callbacks/VEHICLE:ARRIVED", nil, nil); err != nil {
		t.Errorf("the callback is deleted at the node that lacks its type: %v", err)
	}
}

const noArrived = "There is no event VEHICLE:ARRIVED. GET /v1/event-types lists all of them."

func refusedWith(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

// counts returns how often each webhook-id was taken.
func counts(ids map[string]int) (out []int) {
	for _, n := range ids {
		out = append(out, n)
	}
	return out
}
