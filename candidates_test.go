package callbackd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// filterOf returns a filter with n operators, whose first one has the given value and whose
// last one alone does not match an empty event.
func filterOf(t *testing.T, value, n int) *Filter {
	t.Helper()
	terms := []string{fmt.Sprintf(`{"data.a":{"ne":%d}}`, value)}
	for i := range n - 2 {
		terms = append(terms, fmt.Sprintf(`{"data.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o":{"ne":%d}}`, i))
	}
	terms = append(terms, `{"session.status":{"eq":"IDLE"}}`)
	f, err := ParseFilter("filter", []byte(`{"all":[`+strings.Join(terms, ",")+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What an event costs is bounded by the operators of different filters, however many
// callbacks have them.
func TestEqualFiltersAreJudgedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		filters int // different ones, of MaxCallbacks callbacks
		terms   int
		judged  int
		fits    bool
	}{
		"one for all":            {1, MaxFilterTerms, MaxFilterTerms, true},
		"as many as are allowed": {MaxFilterSum / 4, 4, MaxFilterSum, true},
		"one too many":           {MaxFilterSum/MaxFilterTerms + 1, MaxFilterTerms, MaxFilterSum/MaxFilterTerms*MaxFilterTerms + MaxFilterTerms, false},
	} {
		t.Run(name, func(t *testing.T) {
			all := &Candidates{}
			all.Add(1, nil, 0)
			var want []CallbackID
			for i := range MaxCallbacks {
				want = append(want, CallbackID(2+i))
				all.Add(CallbackID(2+i), filterOf(t, i%c.filters, c.terms), 0)
			}
			in := &FilterInput{Data: []byte(`{}`)}
			targets, withheld := all.choose(in)
			if in.judged != c.judged {
				t.Errorf("%d operators are judged, want %d", in.judged, c.judged)
			}
			var from []CallbackID
			for _, w := range withheld {
				from = append(from, w.Callback)
				if w.Term != `session.status eq "IDLE" (missing)` {
					t.Fatalf("the term that failed is %q", w.Term)
				}
			}
			if !slices.Equal(targets, []CallbackID{1}) || !slices.Equal(from, want) {
				t.Errorf("targets are %v and it is withheld from %v", targets, from)
			}
			err := all.CheckFilters(Complete)
			if fits := err == nil; fits != c.fits {
				t.Errorf("the filters fit: %v, want %v: %v", fits, c.fits, err)
			}
			if err != nil && (KindOf(err) != KindInvalid || !strings.Contains(err.Error(), "SESSION:COMPLETE would have 416 operators. At most 400 are allowed; equal filters count once.")) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// Without a filter, and for callbacks that have none beside others, the order stays.
func TestCandidatesWithoutFilters(t *testing.T) {
	var none *Candidates
	if targets, withheld := none.Choose([]byte(`{}`), nil); targets != nil || withheld != nil {
		t.Errorf("no candidates have the targets %v and %v", targets, withheld)
	}
	all := &Candidates{}
	all.Add(1, nil, 0)
	all.Add(2, nil, 0)
	all.Add(3, filterOf(t, 1, 2), 0)
	all.Add(4, nil, 0)
	targets, withheld := all.Choose([]byte(`{}`), &Session{Status: "IDLE"})
	if !slices.Equal(targets, []CallbackID{1, 2, 3, 4}) || withheld != nil || !all.UseSession() {
		t.Errorf("targets are %v, withheld %v", targets, withheld)
	}
}
