package callbackd_test

import (
	"slices"
	"testing"
	"time"

	"callbackd"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestReplayFilterMatches(t *testing.T) {
	failed := []callbackd.State{callbackd.Failed}
	tests := []struct {
		name  string
		f     callbackd.ReplayFilter
		state callbackd.State
		ended bool
		want  bool
	}{
		{"no states: delivered", callbackd.ReplayFilter{}, callbackd.Delivered, false, true},
		{"no states: failed", callbackd.ReplayFilter{}, callbackd.Failed, false, true},
		{"no states: pending is not chosen", callbackd.ReplayFilter{}, callbackd.Pending, false, false},
		{"a state", callbackd.ReplayFilter{States: failed}, callbackd.Failed, false, true},
		{"another state", callbackd.ReplayFilter{States: failed}, callbackd.Delivered, false, false},
		{"a deleted callback", callbackd.ReplayFilter{States: failed}, callbackd.Failed, true, false},
		{"a target: any state", callbackd.ReplayFilter{Target: 7}, callbackd.Pending, false, true},
		{"a target: a state", callbackd.ReplayFilter{Target: 7, States: failed}, callbackd.Failed, false, true},
		{"a target: another state", callbackd.ReplayFilter{Target: 7, States: failed}, callbackd.Pending, false, false},
		{"a target: a deleted callback", callbackd.ReplayFilter{Target: 7}, callbackd.Canceled, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.f.Matches(tt.state, tt.ended); got != tt.want {
				t.Errorf("Matches(%s, ended=%v) = %v, want %v", tt.state, tt.ended, got, tt.want)
			}
		})
	}
}

func TestReplayFilterSkips(t *testing.T) {
	pending := []callbackd.State{callbackd.Pending}
	tests := []struct {
		name string
		f    callbackd.ReplayFilter
		want []callbackd.State
	}{
		{"any", callbackd.ReplayFilter{}, pending},
		{"one that hastens", callbackd.ReplayFilter{States: pending}, nil},
		{"missing", callbackd.ReplayFilter{Missing: true}, []callbackd.State{callbackd.Pending, callbackd.Delivered}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []callbackd.State
			for _, s := range append(callbackd.States, "") {
				if tt.f.Skips(s) {
					got = append(got, s)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("states that are skipped (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	want := map[callbackd.State]bool{callbackd.Pending: false, callbackd.Delivered: false, callbackd.Failed: true, callbackd.Canceled: true, "": true}
	for state, missing := range want {
		if got := callbackd.Missing(state); got != missing {
			t.Errorf("Missing(%q) = %v, want %v", state, got, missing)
		}
	}
}

func TestReplayFilterResolve(t *testing.T) {
	target := &callbackd.Callback{ID: 7, Key: 1, Event: callbackd.StatusChange}
	deleted := *target
	deleted.DeletedAt = t0
	tests := []struct {
		name   string
		f      callbackd.ReplayFilter
		key    callbackd.KeyID
		target *callbackd.Callback
		want   callbackd.Kind // of the error; KindInternal: none
		typ    callbackd.EventType
	}{
		{"no target", callbackd.ReplayFilter{States: []callbackd.State{callbackd.Failed}}, 1, nil, callbackd.KindInternal, ""},
		{"canceled without a target", callbackd.ReplayFilter{States: []callbackd.State{callbackd.Canceled}}, 1, nil, callbackd.KindInternal, ""},
		{"missing", callbackd.ReplayFilter{Missing: true}, 1, nil, callbackd.KindInternal, ""},
		{"missing with states", callbackd.ReplayFilter{Missing: true, States: []callbackd.State{callbackd.Failed}}, 1, nil, callbackd.KindInvalid, ""},
		{"missing with states to a target", callbackd.ReplayFilter{Missing: true, States: []callbackd.State{callbackd.Failed}, Target: 7}, 1, target, callbackd.KindInternal, callbackd.StatusChange},
		{"canceled to a target", callbackd.ReplayFilter{States: []callbackd.State{callbackd.Canceled}, Target: 7}, 1, target, callbackd.KindInternal, callbackd.StatusChange},
		{"a target gives its type", callbackd.ReplayFilter{Target: 7}, 1, target, callbackd.KindInternal, callbackd.StatusChange},
		{"a target of another type", callbackd.ReplayFilter{Target: 7, Type: callbackd.Complete}, 1, target, callbackd.KindInvalid, callbackd.Complete},
		{"another key's target", callbackd.ReplayFilter{Target: 7}, 2, target, callbackd.KindInvalid, ""},
		{"a deleted target", callbackd.ReplayFilter{Target: 7}, 1, &deleted, callbackd.KindInvalid, ""},
		{"an unknown target", callbackd.ReplayFilter{Target: 7}, 1, nil, callbackd.KindInvalid, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.f.Resolve(tt.key, tt.target)
			if got := callbackd.KindOf(err); got != tt.want || (err == nil) != (tt.want == callbackd.KindInternal) {
				t.Errorf("Resolve: %v, want an error of kind %d", err, tt.want)
			}
			if tt.f.Type != tt.typ {
				t.Errorf("type %q, want %q", tt.f.Type, tt.typ)
			}
		})
	}
}

func TestReplaySetState(t *testing.T) {
	const (
		changes   = "changes"
		unchanged = "unchanged"
		refused   = "refused"
	)
	states := []callbackd.ReplayState{callbackd.ReplayRunning, callbackd.ReplayPaused, callbackd.ReplayDone, callbackd.ReplayCanceled}
	want := map[callbackd.ReplayState][]string{ // by the state before; in the order of states
		callbackd.ReplayRunning:  {unchanged, changes, changes, changes},
		callbackd.ReplayPaused:   {changes, unchanged, refused, changes},
		callbackd.ReplayDone:     {refused, refused, unchanged, refused},
		callbackd.ReplayCanceled: {refused, refused, refused, unchanged},
	}
	for _, from := range states {
		for i, to := range states {
			t.Run(string(from)+" to "+string(to), func(t *testing.T) {
				r := callbackd.Replay{State: from}
				changed, err := r.SetState(to, t0)
				got := unchanged
				switch {
				case err != nil:
					got = refused
				case changed:
					got = changes
				}
				if got != want[from][i] {
					t.Errorf("%s, want %s: %v", got, want[from][i], err)
				}
				if err != nil && callbackd.KindOf(err) != callbackd.KindConflict {
					t.Errorf("kind %d, want a conflict", callbackd.KindOf(err))
				}
				if after := map[bool]callbackd.ReplayState{true: from, false: to}[err != nil]; r.State != after {
					t.Errorf("state %s, want %s", r.State, after)
				}
				if ended := changed && to.Ended(); r.EndedAt.IsZero() == ended {
					t.Errorf("ended at %v", r.EndedAt)
				}
			})
		}
	}
}

func TestReplayCanStep(t *testing.T) {
	later := t0.Add(time.Second)
	tests := []struct {
		name string
		r    callbackd.Replay
		want bool
		next time.Time
	}{
		{"running", callbackd.Replay{State: callbackd.ReplayRunning, Total: 9}, true, time.Time{}},
		{"paused", callbackd.Replay{State: callbackd.ReplayPaused, Total: 9}, false, time.Time{}},
		{"canceled", callbackd.Replay{State: callbackd.ReplayCanceled, Total: 9}, false, time.Time{}},
		{"held by its rate", callbackd.Replay{State: callbackd.ReplayRunning, Total: 9, NextDue: later}, false, later},
		{"its time has come", callbackd.Replay{State: callbackd.ReplayRunning, Total: 9, NextDue: t0}, true, time.Time{}},
		{"nothing left that the rate could hold", callbackd.Replay{State: callbackd.ReplayRunning, Total: 9, Due: 9, NextDue: later}, true, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ok, next := tt.r.CanStep(t0)
			if ok != tt.want || !next.Equal(tt.next) {
				t.Errorf("CanStep = %v, %v; want %v, %v", ok, next, tt.want, tt.next)
			}
		})
	}
}

func TestReplayDivide(t *testing.T) {
	part := func(left, untried int64) callbackd.ReplayPart {
		return callbackd.ReplayPart{Total: left + 10, Done: 10, Untried: untried}
	}
	ended := callbackd.ReplayPart{Total: 5000, Done: 10, Ended: true}
	tests := []struct {
		name  string
		rate  float64
		parts []callbackd.ReplayPart
		want  []int64
	}{
		{"no parts", 0, nil, []int64{}},
		{"one part gets the whole step", 0, []callbackd.ReplayPart{part(5000, 0)}, []int64{512}},
		{"a part that is nearly done", 0, []callbackd.ReplayPart{part(3, 0)}, []int64{3}},
		{"two share equally", 0, []callbackd.ReplayPart{part(5000, 0), part(5000, 0)}, []int64{256, 256}},
		{"what one leaves goes to the next", 0, []callbackd.ReplayPart{part(12, 0), part(5000, 0)}, []int64{12, 500}},
		{"a full window takes nothing", 0, []callbackd.ReplayPart{part(5000, 512), part(5000, 0)}, []int64{0, 512}},
		{"less than half a window free takes nothing", 0, []callbackd.ReplayPart{part(5000, 257)}, []int64{0}},
		{"half a window free", 0, []callbackd.ReplayPart{part(5000, 256)}, []int64{256}},
		{"a few that fit do not wait for half a window", 0, []callbackd.ReplayPart{part(5, 500)}, []int64{5}},
		{"a few that do not fit wait", 0, []callbackd.ReplayPart{part(13, 500)}, []int64{0}},
		{"the rate bounds a step to a second", 10, []callbackd.ReplayPart{part(5000, 0)}, []int64{10}},
		{"a high rate does not raise the bound", 9999, []callbackd.ReplayPart{part(5000, 0)}, []int64{512}},
		{"less than one a second", 0.2, []callbackd.ReplayPart{part(5000, 0), part(5000, 0)}, []int64{1, 0}},
		{"a low rate and many parts", 2, []callbackd.ReplayPart{part(9, 0), part(9, 0), part(9, 0)}, []int64{1, 1, 0}},
		{"an ended callback is taken whole and costs nothing", 0, []callbackd.ReplayPart{part(5000, 0), ended, part(5000, 0)}, []int64{170, 4990, 342}},
		{"an ended callback after the budget is used up", 1, []callbackd.ReplayPart{part(5000, 0), ended}, []int64{1, 4990}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := callbackd.Replay{Rate: tt.rate}
			if got := r.Divide(tt.parts); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestReplayDueAt(t *testing.T) {
	tests := []struct {
		rate float64
		n    int64
		want time.Duration
	}{
		{0, 0, 0},
		{0, 500, 0},
		{10, 0, 0},
		{10, 9, 900 * time.Millisecond},
		{0.5, 3, 6 * time.Second},
		{10_000, 3, 300 * time.Microsecond},
	}
	for _, tt := range tests {
		r := callbackd.Replay{Rate: tt.rate}
		if got := r.DueAt(t0, tt.n).Sub(t0); got != tt.want {
			t.Errorf("at %v a second, delivery %d is due after %v, want %v", tt.rate, tt.n, got, tt.want)
		}
	}
}

func TestReplayAdvance(t *testing.T) {
	running := callbackd.Replay{State: callbackd.ReplayRunning, Total: 100, Due: 40, Skipped: 10, Delivered: 30}
	with := func(f func(*callbackd.Replay)) callbackd.Replay {
		r := running
		f(&r)
		return r
	}
	tests := []struct {
		name    string
		r       callbackd.Replay
		p       callbackd.ReplayProgress
		want    callbackd.Replay
		changed bool
	}{
		{"nothing", running, callbackd.ReplayProgress{}, running, false},
		{
			"some of the set", running, callbackd.ReplayProgress{Taken: 20, Skipped: 5, Created: 3},
			with(func(r *callbackd.Replay) { r.Due, r.Skipped, r.Created = 60, 15, 3 }), true,
		},
		{
			"the rate sets the next step", with(func(r *callbackd.Replay) { r.Rate = 10 }), callbackd.ReplayProgress{Taken: 20, Skipped: 5},
			with(func(r *callbackd.Replay) {
				r.Rate, r.Due, r.Skipped, r.NextDue = 10, 60, 15, t0.Add(1500*time.Millisecond)
			}), true,
		},
		{
			"the rest of the set is pending", running, callbackd.ReplayProgress{Taken: 60},
			with(func(r *callbackd.Replay) { r.Due = 100 }), true,
		},
		{
			"the rest of the set is skipped", running, callbackd.ReplayProgress{Taken: 60, Skipped: 60},
			with(func(r *callbackd.Replay) {
				r.Due, r.Skipped, r.State, r.EndedAt = 100, 70, callbackd.ReplayDone, t0
			}), true,
		},
		{
			"the last outcome came", with(func(r *callbackd.Replay) { r.Due, r.Delivered, r.Failed, r.Canceled = 100, 70, 15, 5 }), callbackd.ReplayProgress{},
			with(func(r *callbackd.Replay) {
				r.Due, r.Delivered, r.Failed, r.Canceled, r.State, r.EndedAt = 100, 70, 15, 5, callbackd.ReplayDone, t0
			}), true,
		},
		{
			"an empty set", callbackd.Replay{State: callbackd.ReplayRunning}, callbackd.ReplayProgress{},
			callbackd.Replay{State: callbackd.ReplayDone, EndedAt: t0}, true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.r
			if changed := got.Advance(tt.p, t0); changed != tt.changed {
				t.Errorf("changed = %v, want %v", changed, tt.changed)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("the replay differs (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever the parts are, steps never exceed the budget or a window, and a
// replay whose deliveries are tried gets through its set.
func TestReplayStepsReachTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := callbackd.Replay{State: callbackd.ReplayRunning, Rate: rapid.SampledFrom([]float64{0, 0.5, 1, 7, 300, 5000}).Draw(t, "rate")}
		parts := make([]callbackd.ReplayPart, rapid.IntRange(1, 30).Draw(t, "parts"))
		for i := range parts {
			parts[i].Total = rapid.Int64Range(0, 40).Draw(t, "total")
			parts[i].Ended = rapid.IntRange(0, 9).Draw(t, "ended") == 0
			r.Total += parts[i].Total
		}
		at := t0
		for range 3000 {
			var p callbackd.ReplayProgress
			made := int64(0)
			for i, n := range r.Divide(parts) {
				part := &parts[i]
				part.Done += n
				p.Taken += n
				if part.Done > part.Total {
					t.Fatalf("part %d: took %d of %d", i, part.Done, part.Total)
				}
				if part.Ended {
					p.Skipped += n
				} else {
					made += n
				}
			}
			if made > callbackd.MaxReplayStep {
				t.Fatalf("a step made %d due", made)
			}
			r.Advance(p, at)
			if r.State == callbackd.ReplayDone {
				return
			}
			if r.NextDue.After(at) {
				at = r.NextDue
			}
			r.Delivered = r.Due - r.Skipped // the receivers answer before the next step
		}
		t.Fatalf("not done: %+v", r)
	})
}
