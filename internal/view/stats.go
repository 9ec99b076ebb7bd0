package view

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
	"callbackd/wire"
)

// StatsRange is how far statistics look back: a number of whole intervals, of which the
// last is the current one.
type StatsRange struct {
	Interval store.Interval
	Buckets  int
}

// The ranges of statistics.
var (
	LastHour = StatsRange{store.Minute, 60}
	LastDay  = StatsRange{store.Hour, 24}
	LastWeek = StatsRange{store.Hour, 7 * 24}
)

// Since returns when the first interval of the range began.
func (r StatsRange) Since(now time.Time) time.Time {
	width := time.Duration(r.Interval)
	return now.UTC().Truncate(width).Add(-time.Duration(r.Buckets-1) * width)
}

// Read returns the counters of each interval of the range. Key 0 and callback 0 mean all.
func (r StatsRange) Read(ctx context.Context, from store.Stats, key callbackd.KeyID, cb callbackd.CallbackID, now time.Time) ([]store.Counters, error) {
	since, width := r.Since(now), time.Duration(r.Interval)
	got, err := from.ListStats(ctx, store.StatsQuery{
		Key: key, Callback: cb, Interval: r.Interval,
		Since: since, Until: since.Add(time.Duration(r.Buckets) * width),
	})
	if err != nil {
		return nil, err
	}
	out := make([]store.Counters, r.Buckets)
	for i := range got {
		if n := int(got[i].At.Sub(since) / width); n >= 0 && n < r.Buckets {
			out[n].Merge(&got[i].Counters)
		}
	}
	return out, nil
}

// SumOf adds up counters.
func SumOf(buckets []store.Counters) (sum store.Counters) {
	for i := range buckets {
		sum.Merge(&buckets[i])
	}
	return sum
}

// CallbackStats returns the statistics of a callback at now.
func CallbackStats(ctx context.Context, from store.Stats, cb *callbackd.Callback, apiKey string, now time.Time) (wire.CallbackStats, error) {
	h, err := from.Health(ctx, cb.ID, store.PendingQuery{OverdueBefore: now.Add(-callbackd.OverdueAfter), Limit: store.MaxCounted})
	if err != nil {
		return wire.CallbackStats{}, err
	}
	out := wire.CallbackStats{
		APIKey: apiKey, Event: string(cb.Event), Name: cb.Name, Callback: int64(cb.ID),
		Failing: !cb.FailingSince.IsZero(), FailingSince: timeOrNull(cb.FailingSince), Paused: cb.Paused(), PauseReason: string(cb.Pause.Reason),
		Pending: h.Pending, PendingMore: h.Pending == store.MaxCounted, Overdue: h.Overdue, WaitingSince: timeOrNull(h.Since),
		LastSuccess: timeOrNull(h.LastSuccess), LastFailure: timeOrNull(h.LastFailure), LastFault: string(h.LastFault), LastStatus: h.LastStatus,
		CertificateEnds: timeOrNull(h.CertNotAfter),
	}
	for _, w := range []struct {
		r  StatsRange
		to *wire.StatsWindow
	}{{LastHour, &out.Hour}, {LastDay, &out.Day}, {LastWeek, &out.Week}} {
		buckets, err := w.r.Read(ctx, from, cb.Key, cb.ID, now)
		if err != nil {
			return out, err
		}
		sum := SumOf(buckets)
		*w.to = statsWindow(&sum, w.r.Since(now))
	}
	return out, nil
}

func statsWindow(c *store.Counters, since time.Time) wire.StatsWindow {
	w := wire.StatsWindow{
		Since: since, Attempts: c.Attempts, Succeeded: c.Attempts - c.Faults, Faults: c.Faults, ByFault: byFault(c), Repeats: c.Repeats,
		Delivered: c.Delivered, Failed: c.Failed, Canceled: c.Canceled, Expired: c.Expired,
	}
	if c.Latency.Count() > 0 {
		ms := func(q float64) float64 {
			return float64(c.Latency.Quantile(q).Microseconds()) / 1000
		}
		w.Latency = &wire.Latency{P50: ms(.5), P95: ms(.95), P99: ms(.99)}
	}
	return w
}

// byFault returns the failed attempts by kind.
func byFault(c *store.Counters) wire.ByFault {
	out := wire.ByFault{}
	for kind, n := range c.ByFault {
		if n > 0 {
			out[callbackd.FailureKinds[kind]] = int64(n)
		}
	}
	return out
}

// FailureTexts says for people how many attempts failed by kind, the most frequent first.
func FailureTexts(c *store.Counters) (texts []string) {
	kinds := make([]int, 0, len(c.ByFault))
	for kind, n := range c.ByFault {
		if n > 0 {
			kinds = append(kinds, kind)
		}
	}
	slices.SortStableFunc(kinds, func(a, b int) int { return cmp.Compare(c.ByFault[b], c.ByFault[a]) })
	for _, kind := range kinds {
		texts = append(texts, humanize.Number(int64(c.ByFault[kind]))+" "+strings.ReplaceAll(callbackd.FailureKinds[kind], "_", " "))
	}
	return texts
}
