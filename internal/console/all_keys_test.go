package console_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/signature"
	"callbackd/internal/store"
)

// walk follows a list from page to page, and returns how often each text of a
// link with the class main-link was shown.
func (v *visitor) walk(path string) map[string]int {
	v.t.Helper()
	shown := map[string]int{}
	for pages := 0; path != ""; pages++ {
		if pages == 50 {
			v.t.Fatalf("the list does not end: %s", path)
		}
		a := v.get(path)
		if a.StatusCode != http.StatusOK {
			v.t.Fatalf("%s answers %s, want 200", path, a.Status)
		}
		path = ""
		for n := range elements(parse(v.t, a), "a") {
			if strings.HasPrefix(attr(n, "class"), "main-link") {
				shown[text(n)]++
			}
			if attr(n, "rel") == "next" {
				path = attr(n, "href")
			}
		}
	}
	return shown
}

// everyPage returns the words of all pages of a list.
func (v *visitor) everyPage(path string) string {
	v.t.Helper()
	var all strings.Builder
	for path != "" {
		a := v.get(path)
		all.WriteString(words(v.t, a))
		path = ""
		if next := linksSaying(v.t, a, "Older"); len(next) == 1 {
			path = next[0]
		}
	}
	return all.String()
}

// A page of a filtered list ends where the store has looked at enough rows. Older
// rows of another key are on a later page. The store's own tests hold both stores to
// that.
func TestFilteredLogsOfAllKeysReachEveryRow(t *testing.T) {
	s := startSite(t)
	other := s.NewKey("blue", "production")
	s.Stop()
	st := s.Store(false)
	at := time.Now().Add(-time.Hour)
	entries := []store.LogEntry{{Key: other.ID, At: at, Method: "DELETE", Path: "/v1/callbacks/the-old-one", Status: 404}}
	for i := range store.MaxScan + 1 {
		entries = append(entries, store.LogEntry{Key: s.Key.ID, At: at.Add(time.Duration(i+1) * time.Millisecond), Method: "GET", Path: "/v1/callbacks", Status: 200})
	}
	if err := st.AppendLogs(context.Background(), entries); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	s.Start()

	v := s.visitor(t).operator()
	const path = "/console/logs?method=DELETE"
	first := v.get(path)
	if first.StatusCode != http.StatusOK {
		t.Fatalf("the first page answers %s, want 200 OK", first.Status)
	}
	if got, want := words(t, first), "older ones may match"; !strings.Contains(got, want) {
		t.Errorf("the first page says %q, want %q", got, want)
	}
	next := linksSaying(t, first, "Older")
	if len(next) != 1 {
		t.Fatalf("the first page has %d links to older calls, want 1", len(next))
	}
	if got, want := words(t, v.get(next[0])), "/v1/callbacks/the-old-one"; !strings.Contains(got, want) {
		t.Errorf("the second page says %q, want %q", got, want)
	}
}

// manyKeys is more keys than one page of a list has rows.
const manyKeys = 60

// account is the account of key i.
func account(i int) string { return fmt.Sprintf("account-%02d", i) }

// session is the session of key i.
func session(i int) string { return fmt.Sprintf("KEY-%010d", i) }

// oneOfEach gives each of many keys a callback, a session with an event, a
// logged call and a replay. The keys are made one after the other, so that
// those of the first key are the oldest.
func (s *site) oneOfEach(receiver string) {
	s.T.Helper()
	s.Stop()
	st, ctx, at := s.Store(false), context.Background(), time.Now().Add(-time.Minute)
	must := func(err error) {
		s.T.Helper()
		if err != nil {
			s.T.Fatal(err)
		}
	}
	for i := range manyKeys {
		at := at.Add(time.Duration(i) * time.Millisecond)
		k, err := apikey.New(account(i), "", true, at)
		must(err)
		k, err = st.CreateKey(ctx, k)
		must(err)
		cb := callbackd.Callback{Key: k.ID, Event: callbackd.Complete, Name: account(i), URL: receiver, Method: "POST", Secrets: []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}}
		_, _, err = st.CreateCallback(ctx, cb, at)
		must(err)
		_, err = st.Accept(ctx, store.Batch{Key: k.ID, At: at, Events: []store.NewEvent{{Type: callbackd.Complete, Session: session(i), Data: []byte("{}")}}})
		must(err)
		must(st.AppendLogs(ctx, []store.LogEntry{{Key: k.ID, At: at, Method: "GET", Path: "/v1/" + account(i), Status: 200}}))
		_, err = st.CreateReplay(ctx, callbackd.Replay{Key: k.ID, Filter: callbackd.ReplayFilter{States: []callbackd.State{callbackd.Failed}}, CreatedAt: at})
		must(err)
	}
	must(st.Close())
	s.Start()
}

// The operator's lists over all keys have the rows of every key, however many keys
// there are. The store's own tests hold both stores to that.
func TestListsOfAllKeysHaveEveryKey(t *testing.T) {
	s := startSite(t)
	s.oneOfEach(newReceiver(t).URL)
	v := s.visitor(t).operator()
	t.Run("callbacks", func(t *testing.T) {
		if n := v.walk("/console/callbacks")["COMPLETE"]; n != manyKeys {
			t.Errorf("%d callbacks are listed, want %d", n, manyKeys)
		}
	})
	t.Run("sessions", func(t *testing.T) {
		shown := v.walk("/console/sessions")
		for i := range manyKeys {
			if n := shown[session(i)]; n != 1 {
				t.Errorf("session %s is listed %d times, want once", session(i), n)
			}
		}
	})
	t.Run("deliveries", func(t *testing.T) {
		if n := v.walk("/console/deliveries")["COMPLETE"]; n != manyKeys {
			t.Errorf("%d deliveries are listed, want %d", n, manyKeys)
		}
	})
	t.Run("replays", func(t *testing.T) {
		n := 0
		for _, times := range v.walk("/console/replays") {
			n += times
		}
		if n != manyKeys {
			t.Errorf("%d replays are listed, want %d", n, manyKeys)
		}
	})
	t.Run("logs", func(t *testing.T) {
		all := v.everyPage("/console/logs")
		for i := range manyKeys {
			if want := "/v1/" + account(i); !strings.Contains(all, want) {
				t.Errorf("the list lacks the call of %s", want)
			}
		}
	})
	t.Run("choice of callbacks", func(t *testing.T) {
		got := words(t, v.get("/console/deliveries"))
		if want := account(0) + " → "; !strings.Contains(got, want) {
			t.Errorf("the filter does not offer the callback of the first key: no %q", want)
		}
	})
	t.Run("search", func(t *testing.T) {
		to := v.get("/console/search?q=" + session(0)).Header.Get("Location")
		if want := "/console/sessions/" + session(0) + "?key="; !strings.HasPrefix(to, want) {
			t.Errorf("the search leads to %q, want %q", to, want)
		}
	})
}
