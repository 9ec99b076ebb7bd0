package api_test

import (
	"net/http"
	"testing"

	"callbackd/wire"
)

// The statistics of a callback have what its receiver answered, and what waits.
func TestStatsOfACallback(t *testing.T) {
	s := start(t)
	recv := listen(t, func(w http.ResponseWriter, n int) {
		if n == 2 {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	read := func(at string) wire.CallbackStats {
		t.Helper()
		return decode[wire.CallbackStats](s.call("GET", at, "").ok(200))
	}
	const at = "/v1/callbacks/SESSION:COMPLETE/stats"
	s.register("SESSION:COMPLETE", recv.url, "")
	fresh := read(at)
	equal(t, "attempts before the first", fresh.Week.Attempts, int64(0))
	equal(t, "failures before the first", fresh.Week.ByFault, wire.ByFault{})
	equal(t, "a latency before the first", fresh.Week.Latency == nil, true)
	equal(t, "whether it fails before the first", fresh.Failing, false)
	s.publish("SESSION:COMPLETE", "A", `{}`)
	s.publish("SESSION:COMPLETE", "A", `{}`)
	var got wire.CallbackStats
	s.until("both attempts are counted", func() bool {
		s.book.Flush(t.Context())
		got = read(at)
		return got.Hour.Attempts == 2
	})
	for name, w := range map[string]wire.StatsWindow{"hour": got.Hour, "day": got.Day, "week": got.Week} {
		equal(t, "counts of the "+name, []int64{w.Attempts, w.Succeeded, w.Faults, w.Delivered, w.Failed, w.Canceled}, []int64{2, 1, 1, 1, 0, 0})
		equal(t, "failed attempts of the "+name+" by kind", w.ByFault, wire.ByFault{"status_4xx": 1})
		equal(t, "whether there are latencies of the "+name, w.Latency != nil && w.Latency.P50 > 0 && w.Latency.P99 >= w.Latency.P50, true)
	}
	equal(t, "whether it fails", got.Failing, true)
	equal(t, "the last fault", got.LastFault, "status")
	equal(t, "the last status", got.LastStatus, http.StatusTeapot)
	equal(t, "pending deliveries", got.Pending, 1)
	equal(t, "whether there are more", got.PendingMore, false)
	equal(t, "whether there is a time of the last success", got.LastSuccess != nil && got.WaitingSince != nil, true)
	s.call("GET", "/v1/callbacks/SESSION:NOTE_INSERT/stats", "").says(404, "does not have callback setting")
}
