package callbackd_test

import (
	"testing"
	"time"

	"callbackd"

	"github.com/google/go-cmp/cmp"
)

func TestRevoke(t *testing.T) {
	first := time.UnixMilli(1_700_000_000_000).UTC()
	later := first.Add(time.Hour)
	for _, c := range []struct {
		name    string
		revoked time.Time // before
		want    time.Time
	}{
		{"a key in force", time.Time{}, later},
		{"a key that was revoked before", first, first},
	} {
		k := callbackd.Key{APIKey: "k", Secret: "s", RevokedAt: c.revoked}
		k.Revoke(later)
		want := callbackd.Key{APIKey: "k", Secret: "s", RevokedAt: c.want}
		if diff := cmp.Diff(want, k); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestRotateKey(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000).UTC()
	before, keep := now.Add(time.Minute), now.Add(time.Hour)
	for _, c := range []struct {
		name    string
		key     callbackd.Key
		want    callbackd.Key
		refused bool
	}{
		{"the first rotation",
			callbackd.Key{Secret: "one"},
			callbackd.Key{Secret: "two", OldSecret: "one", OldUntil: keep}, false},
		{"a rotation while the secret before signs along",
			callbackd.Key{Secret: "one", OldSecret: "zero", OldUntil: before},
			callbackd.Key{Secret: "two", OldSecret: "one", OldUntil: keep}, false},
		{"a rotation that is repeated",
			callbackd.Key{Secret: "two", OldSecret: "one", OldUntil: before},
			callbackd.Key{Secret: "two", OldSecret: "one", OldUntil: before}, false},
		{"a revoked key",
			callbackd.Key{Secret: "one", RevokedAt: now},
			callbackd.Key{Secret: "one", RevokedAt: now}, true},
	} {
		got := c.key
		err := got.Rotate("two", keep)
		if refused := callbackd.KindOf(err) == callbackd.KindConflict; refused != c.refused {
			t.Errorf("%s: the error is %v; want a conflict: %v", c.name, err, c.refused)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestKeysExpire(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	for _, c := range []struct {
		name             string
		expires, revoked time.Time
		state            string
	}{
		{"without an end", time.Time{}, time.Time{}, "active"},
		{"before its end", now.Add(1), time.Time{}, "active"},
		{"at its end", now, time.Time{}, "expired"},
		{"revoked", now.Add(1), now.Add(-1), "revoked"},
		{"revoked and expired", now.Add(-1), now.Add(-1), "revoked"},
	} {
		k := callbackd.Key{ExpiresAt: c.expires, RevokedAt: c.revoked}
		if got := k.State(now); got != c.state {
			t.Errorf("%s: the state is %s, want %s", c.name, got, c.state)
		}
		if got := k.InForce(now); got != (c.state == "active") {
			t.Errorf("%s: in force is %v", c.name, got)
		}
	}
}
