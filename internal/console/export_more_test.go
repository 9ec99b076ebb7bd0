package console

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/wire"
)

// WallOf is the classes of the bars that a chart of one callback has, slot by
// slot from the left; "-" where there is none.
func WallOf(slots []store.Counters, since, failingSince time.Time) (out []string) {
	r := reach{"test", "Test", store.Hour, len(slots)}
	c := wall(slots, r, since, failingSince, float64(len(slots)), 100)
	for i := range slots {
		s := ""
		if c != nil {
			for _, b := range c.Bars {
				if int(b.X) == i {
					s += b.Class + " "
				}
			}
		}
		out = append(out, s)
	}
	return out
}

// SharesOf is what a page shows of success.
func SharesOf(s *store.Counters, overdue int) (attempts, deliveries string) {
	v := sharesOf(s, overdue)
	return v.Attempts, v.Deliveries
}

// PhasesOf names the phases that an attempt's picture has.
func PhasesOf(t wire.Timings, fault callbackd.Fault) (names []string) {
	for _, p := range bars(t, t.Total, fault).Parts {
		names = append(names, p.Name)
	}
	return names
}

// Stamp and Span are how pages write times and durations.
func Stamp(t time.Time) string { return stamp(t).Short }

// Span writes a duration.
func Span(d time.Duration) string { return span(d) }
