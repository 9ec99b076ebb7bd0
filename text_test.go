package callbackd_test

import (
	"testing"
	"time"

	"callbackd"
)

func TestDurationsHaveOneStyle(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 300 * time.Microsecond: "0 ms", 999 * time.Millisecond: "999 ms", time.Second: "1 s", 1999 * time.Millisecond: "1 s", 3*time.Minute + 29*time.Second: "3 min 29 s",
		5 * time.Minute: "5 min", time.Hour + time.Second: "1 h", 26 * time.Hour: "1 d 2 h", 48*time.Hour + 59*time.Minute: "2 d", -time.Minute: "-1 min",
	} {
		if got := callbackd.DurationText(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// A delivery that was made due again waits since then, not since its event.
func TestWaitsSince(t *testing.T) {
	accepted := time.UnixMilli(1_700_000_000_000).UTC()
	due, failed := accepted.Add(72*time.Hour), accepted.Add(73*time.Hour)
	id := callbackd.DeliveryID{Event: callbackd.FirstEventID(accepted), Callback: 1}
	for name, c := range map[string]struct {
		d    callbackd.Delivery
		want time.Time
	}{
		"fresh":             {callbackd.Delivery{ID: id}, accepted},
		"retried":           {callbackd.Delivery{ID: id, Due: due, FirstFailedAt: failed}, accepted},
		"sent again":        {callbackd.Delivery{ID: id, Due: due, Manual: true}, due},
		"replayed":          {callbackd.Delivery{ID: id, Due: due, Replay: 1}, due},
		"replayed, failing": {callbackd.Delivery{ID: id, Due: failed.Add(time.Hour), FirstFailedAt: failed, Replay: 1}, failed},
	} {
		if got := c.d.WaitsSince(); !got.Equal(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
