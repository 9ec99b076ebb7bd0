package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"callbackd/client"
)

// A stream goes on behind the last message when its connection ends, also after heartbeats,
// and tells of gaps.
func TestFollowEventsGoesOn(t *testing.T) {
	answers := []string{
		": 15\nid: c0\n\nid: c1\nevent: E\ndata: {\"id\":\"evt_1\",\"data\":{\"n\":1.0}}\n\n: 15\nid: c2\n\nid: c9\nevent: E\ndata: {\"id\":\"cut off",
		"event: gap\ndata: {\"message\":\"some are gone\"}\n\nid: c3\nevent: E\ndata: {\"id\":\"evt_3\"}\n\n",
	}
	var after []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		after = append(after, r.URL.RawQuery)
		if len(after) <= len(answers) {
			io.WriteString(w, answers[len(after)-1])
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"message":"no"}`)
	}))
	defer web.Close()
	c := &client.Client{Base: web.URL}
	var got []string
	interrupted := 0
	err := c.FollowEvents(t.Context(), client.Stream{Event: "E", Interrupted: func(error, time.Duration) { interrupted++ }}, func(m client.StreamMessage) error {
		if m.Event != nil {
			m.Text = m.Event.ID + string(m.Event.Data)
		}
		got = append(got, fmt.Sprintf("%s %s %s", m.Cursor, m.Type, m.Text))
		return nil
	})
	var answer *client.Error
	if !errors.As(err, &answer) || answer.Status != 401 || answer.Message != "no" {
		t.Errorf("the error is %v, want 401", err)
	}
	if want := []string{`c1 E evt_1{"n":1.0}`, " gap some are gone", "c3 E evt_3"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := []string{"event=E", "after=c2&event=E", "after=c3&event=E"}; !slices.Equal(after, want) {
		t.Errorf("it asked with %q, want %q", after, want)
	}
	if interrupted != 2 {
		t.Errorf("it was interrupted %d times, want 2", interrupted)
	}
}

// The error of the reader ends the stream.
func TestFollowEventsEndsWithItsReader(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "id: c1\nevent: E\ndata: {}\n\n")
	}))
	defer web.Close()
	full := errors.New("the disk is full")
	err := (&client.Client{Base: web.URL}).FollowEvents(t.Context(), client.Stream{}, func(client.StreamMessage) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("the error is %v, want %v", err, full)
	}
}
