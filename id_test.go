package callbackd_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"callbackd"

	"pgregory.net/rapid"
)

func TestIDsRoundTripAndSortAsTheirTextDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := callbackd.EventID(rapid.Int64Range(0, math.MaxInt64).Draw(t, "a"))
		b := callbackd.EventID(rapid.Int64Range(0, math.MaxInt64).Draw(t, "b"))
		if got, ok := callbackd.ParseEventID(a.String()); !ok || got != a {
			t.Fatalf("%s reads as %d, %v", a, got, ok)
		}
		if (a < b) != (strings.Compare(a.String(), b.String()) < 0) {
			t.Fatalf("%s and %s sort apart from %d and %d", a, b, a, b)
		}
		d := callbackd.DeliveryID{Event: a, Callback: callbackd.CallbackID(rapid.Int64Range(1, math.MaxInt64).Draw(t, "cb"))}
		if got, ok := callbackd.ParseDeliveryID(d.String()); !ok || got != d {
			t.Fatalf("%s reads as %v, %v", d, got, ok)
		}
		// Standard Webhooks signs "id.timestamp.body": an id has no dot.
		if strings.Contains(a.String(), ".") {
			t.Fatal("an event id has a dot")
		}
	})
}

func TestIDsRefuseOtherSpellings(t *testing.T) {
	ev := callbackd.EventID(1 << 40).String()
	for _, s := range []string{"", "evt_", ev[:len(ev)-1], ev + "0", strings.ToUpper(ev), "evt_8000000000000", "evt_zzzzzzzzzzzzz", "evt_iiiiiiiiiiiii", "dlv_" + ev[4:] + "-1"} {
		if id, ok := callbackd.ParseEventID(s); ok {
			t.Errorf("%q reads as event %d", s, id)
		}
	}
	dlv := "dlv_" + ev[4:]
	for _, s := range []string{"", dlv, dlv + "-", dlv + "-0", dlv + "--1", dlv + "-01", dlv + "-+1", dlv + "-9223372036854775808", ev} {
		if id, ok := callbackd.ParseDeliveryID(s); ok {
			t.Errorf("%q reads as delivery %v", s, id)
		}
	}
}

func TestEventIDsGrowWhateverTheClockDoes(t *testing.T) {
	now := t0
	id := callbackd.NextEventID(0, now)
	if got := id.Time(); !got.Equal(now.Truncate(time.Millisecond)) {
		t.Errorf("time is %v, want %v", got, now)
	}
	for _, step := range []time.Duration{0, -time.Hour, time.Nanosecond, 24 * time.Hour, -48 * time.Hour, 0} {
		now = now.Add(step)
		next := callbackd.NextEventID(id, now)
		if next <= id {
			t.Fatalf("after a step of %v the id fell from %d to %d", step, id, next)
		}
		id = next
	}
	if first := callbackd.FirstEventID(t0.Add(-time.Millisecond)); first >= callbackd.FirstEventID(t0) {
		t.Error("the bounds of two milliseconds do not differ")
	}
	if callbackd.FirstEventID(time.Unix(-1, 0)) != 0 || callbackd.FirstEventID(time.Unix(1<<50, 0)) != math.MaxInt64 {
		t.Error("bounds outside the range of ids do not clamp")
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	const plain = "whsec_plain"
	s := callbackd.Secret(plain)
	h := callbackd.Header{Name: "Authorization", Value: s}
	for _, got := range []string{
		fmt.Sprint(s), fmt.Sprintf("%s %v %+v %#v %q", s, s, s, s, s), fmt.Sprintf("%v %+v %#v", h, h, &h), s.LogValue().String(),
	} {
		if strings.Contains(got, plain) {
			t.Errorf("printed as %s", got)
		}
	}
	if b, err := s.MarshalJSON(); err != nil || strings.Contains(string(b), plain) {
		t.Errorf("marshals as %s, %v", b, err)
	}
	if s.Reveal() != plain {
		t.Error("Reveal does not")
	}
}
