package callbackd_test

import (
	"testing"
	"time"

	"callbackd"

	"github.com/google/go-cmp/cmp"
)

// sent returns a callback in its first version that has a past at its origin.
func sent() callbackd.Callback {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	return callbackd.Callback{Version: 1, URL: "https://a.example/in", Method: "POST", Payload: []byte("{}"), Secrets: []callbackd.SigningSecret{{Value: "old"}},
		FailingSince: at, ClosedUntil: at, Proven: true, CreatedAt: at, UpdatedAt: at,
		Policy: callbackd.Policy{Auth: bearer("old")}, OldAuth: callbackd.OldAuth{Auth: bearer("older"), EndsAt: at}}
}

func bearer(token callbackd.Secret) *callbackd.Auth {
	return &callbackd.Auth{Bearer: &callbackd.BearerAuth{Token: token}}
}

// The events of a callback for one session are replaced too. They are not part of what is
// sent, so they make no new version. Those of any other callback stay.
func TestReplaceTheEventsOfASessionsCallback(t *testing.T) {
	at := time.UnixMilli(1_700_000_100_000).UTC()
	types := []callbackd.EventType{callbackd.Complete, callbackd.NoteInsert}
	for _, session := range []string{"", "S"} {
		c := sent()
		c.Session = session
		next := c
		next.Types = types
		want := c
		if session != "" {
			want.Types, want.UpdatedAt = types, at
		}
		c.Replace(&next, at)
		if diff := cmp.Diff(want, c); diff != "" {
			t.Errorf("session %q (-want +got):\n%s", session, diff)
		}
	}
}

func TestReplace(t *testing.T) {
	at := time.UnixMilli(1_700_000_100_000).UTC()
	for _, c := range []struct {
		name    string
		pause   callbackd.PauseReason
		replace func(next *callbackd.Callback)
		want    func(c *callbackd.Callback) // what differs from the callback before
	}{
		{"with the same setting", callbackd.NotPaused, func(*callbackd.Callback) {}, func(*callbackd.Callback) {}},
		{"with the same setting, paused by a person", callbackd.PausedByUser, func(*callbackd.Callback) {}, func(*callbackd.Callback) {}},
		{"with the same setting, paused without success", callbackd.PausedNoAnswer, func(*callbackd.Callback) {}, func(c *callbackd.Callback) {
			c.Pause, c.FailingSince, c.UpdatedAt, c.ReleasedAt, c.Releasing = callbackd.Pause{}, time.Time{}, at, at, true
		}},
		{"with another policy", callbackd.NotPaused, func(n *callbackd.Callback) { n.Policy.Rate = 3 }, func(c *callbackd.Callback) {
			c.Policy.Rate, c.UpdatedAt = 3, at
		}},
		{"with other credentials", callbackd.NotPaused, func(n *callbackd.Callback) { n.Policy.Auth = bearer("new") }, func(c *callbackd.Callback) {
			c.Policy.Auth, c.OldAuth = bearer("new"), callbackd.OldAuth{Auth: bearer("old"), EndsAt: at.Add(24 * time.Hour)}
			c.UpdatedAt, c.ReleasedAt, c.Releasing = at, at, true
		}},
		{"without credentials", callbackd.NotPaused, func(n *callbackd.Callback) { n.Policy.Auth = nil }, func(c *callbackd.Callback) {
			c.Policy.Auth, c.OldAuth, c.UpdatedAt, c.ReleasedAt, c.Releasing = nil, callbackd.OldAuth{}, at, at, true
		}},
		{"with another payload", callbackd.NotPaused, func(n *callbackd.Callback) { n.Payload = []byte(`{"a":1}`) }, func(c *callbackd.Callback) {
			c.Payload, c.Version, c.FailingSince, c.UpdatedAt = []byte(`{"a":1}`), 2, time.Time{}, at
		}},
		{"with another path", callbackd.PausedByUser, func(n *callbackd.Callback) { n.URL = "https://a.example/new" }, func(c *callbackd.Callback) {
			c.URL, c.Version, c.FailingSince, c.UpdatedAt, c.ReleasedAt, c.Releasing = "https://a.example/new", 2, time.Time{}, at, at, true
		}},
		{"with another origin", callbackd.PausedGone, func(n *callbackd.Callback) { n.URL = "https://b.example/in" }, func(c *callbackd.Callback) {
			c.URL, c.Version, c.Pause, c.FailingSince, c.UpdatedAt, c.ReleasedAt, c.Releasing = "https://b.example/in", 2, callbackd.Pause{}, time.Time{}, at, at, true
			c.Secrets, c.ClosedUntil, c.Proven = []callbackd.SigningSecret{{Value: "new"}}, time.Time{}, false
			c.OldAuth = callbackd.OldAuth{}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, want := sent(), sent()
			got.Pause = callbackd.Pause{c.pause, at.Add(-time.Hour)}
			want.Pause = got.Pause
			if c.pause == callbackd.NotPaused {
				got.Pause, want.Pause = callbackd.Pause{}, callbackd.Pause{}
			}
			next := sent()
			next.Secrets = []callbackd.SigningSecret{{Value: "new"}}
			c.replace(&next)
			c.want(&want)
			got.Replace(&next, at)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSetPause(t *testing.T) {
	before, at := time.UnixMilli(1_700_000_000_000).UTC(), time.UnixMilli(1_700_000_100_000).UTC()
	for _, c := range []struct {
		name      string
		have, set callbackd.Pause
		want      callbackd.Pause
		released  bool
	}{
		{"a first one", callbackd.Pause{}, callbackd.Pause{callbackd.PausedByUser, at}, callbackd.Pause{callbackd.PausedByUser, at}, false},
		{"the same one again keeps its time", callbackd.Pause{callbackd.PausedByUser, before}, callbackd.Pause{callbackd.PausedByUser, at}, callbackd.Pause{callbackd.PausedByUser, before}, false},
		{"one for another reason", callbackd.Pause{callbackd.PausedGone, before}, callbackd.Pause{callbackd.PausedByUser, at}, callbackd.Pause{callbackd.PausedByUser, at}, false},
		{"the end of one", callbackd.Pause{callbackd.PausedGone, before}, callbackd.Pause{At: at}, callbackd.Pause{}, true},
		{"the end of none", callbackd.Pause{}, callbackd.Pause{At: at}, callbackd.Pause{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, want := sent(), sent()
			got.Pause, want.Pause = c.have, c.want
			if c.released {
				want.FailingSince, want.ClosedUntil, want.ReleasedAt, want.Releasing = time.Time{}, time.Time{}, at, true
			}
			got.SetPause(c.set)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestACallbackEndsWithItsKey(t *testing.T) {
	early, late := time.UnixMilli(1_700_000_000_000).UTC(), time.UnixMilli(1_700_000_100_000).UTC()
	for _, c := range []struct {
		name                   string
		deleted, revoked, want time.Time
	}{
		{"both in force", time.Time{}, time.Time{}, time.Time{}},
		{"deleted", early, time.Time{}, early},
		{"revoked", time.Time{}, late, late},
		{"deleted, then revoked", early, late, early},
		{"revoked, then deleted", late, early, early},
	} {
		cb := callbackd.Callback{DeletedAt: c.deleted}
		if got := cb.OfKey(&callbackd.Key{RevokedAt: c.revoked}).DeletedAt; !got.Equal(c.want) {
			t.Errorf("%s: ended at %v, want %v", c.name, got, c.want)
		}
		if !cb.DeletedAt.Equal(c.deleted) {
			t.Errorf("%s: the callback itself was changed", c.name)
		}
	}
}
