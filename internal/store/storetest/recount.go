package storetest

import (
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Recounts checks that the counts of an upgraded store have everything, and have it again
// after they were lost or became wrong. start opens the store, and starts what counts again.
// A statement of tamper makes the counts wrong in the way that its name says.
func Recounts(t *testing.T, start func() store.Store, tamper map[string][]string, exec func(sql string) error) {
	t.Helper()
	check := func(when string) {
		t.Helper()
		st := start()
		defer st.Close()
		f, err := st.Figures(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := st.Backlogs(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if b.Pending == 0 {
			t.Fatal("nothing is pending")
		}
		if got := f.Counts.Pending(); got != b.Pending {
			t.Errorf("%s: by the counts %d deliveries are pending, and %d are: %+v", when, got, b.Pending, f.Counts)
		}
		r, err := st.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r.FaultN > 0 {
			t.Errorf("%s: %q", when, r.Faults)
		}
		for _, reason := range callbackd.AcceptReasons {
			if f.Counts.Accepted[reason] < 0 && reason != callbackd.AcceptedFound {
				t.Errorf("%s: %d deliveries became pending for the reason %s", when, f.Counts.Accepted[reason], reason)
			}
		}
	}
	check("after the upgrade")
	check("after another start")
	for how, statements := range tamper {
		for _, sql := range statements {
			if err := exec(sql); err != nil {
				t.Fatalf("%s: %s: %v", how, sql, err)
			}
		}
		check("after the counts " + how)
	}
}
