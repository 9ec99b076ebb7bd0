package postgres

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// note is a change of a session that adds a note and, when fire is set, fires an event.
func note(at time.Time, fire bool) func(*callbackd.Session) (store.SessionChange, error) {
	return func(x *callbackd.Session) (store.SessionChange, error) {
		x.Notes++
		c := store.SessionChange{Notes: []callbackd.Note{{Title: fmt.Sprint(x.Notes), InsertedAt: at}}}
		if fire {
			c.Events = []store.NewEvent{{Type: callbackd.Complete, Data: []byte("{}")}}
		}
		return c, nil
	}
}

// Nodes change one session at the same time: each change is made on the result of the one
// before, with its events. Changes that fire nothing are ordered too, although they lock
// no sequence.
func TestNodesChangeASessionTogether(t *testing.T) {
	t.Parallel()
	for _, fire := range []bool{true, false} {
		d, nodes := newDatabase(t, stock.URL(t), 3)
		now := time.Now().UTC().Truncate(time.Millisecond)
		d.must(nodes[0].CreateSession(t.Context(), &callbackd.Session{Key: d.key.ID, SessionKey: "S", Status: callbackd.StatusIdle, CreatedAt: now}, nil))
		const each = 40
		var work sync.WaitGroup
		for _, s := range nodes {
			work.Go(func() {
				for range each {
					if _, _, err := s.ChangeSession(t.Context(), d.key.ID, "S", time.Now(), note(now, fire)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		work.Wait()
		got, err := nodes[0].Session(t.Context(), d.key.ID, "S")
		d.must(err)
		notes, err := nodes[1].SessionNotes(t.Context(), d.key.ID, "S")
		d.must(err)
		for i, n := range notes {
			if n.Title != fmt.Sprint(i+1) {
				t.Fatalf("note %d is %q", i+1, n.Title)
			}
		}
		want := 3 * each
		d.equal("changes", got.Notes, want)
		d.equal("notes", len(notes), want)
		if fire {
			d.equal("events", d.checked(nodes[2]), int64(want))
		}
	}
}

// A change whose commit was not answered is made once, with events or without.
func TestLostAnswerOfASessionChange(t *testing.T) {
	t.Parallel()
	ln, u := newLine(t, stock.URL(t))
	d, nodes := newDatabase(t, u, 1)
	s, now := nodes[0], time.Now()
	ln.swallowNext("COMMIT")
	d.must(s.CreateSession(t.Context(), &callbackd.Session{Key: d.key.ID, SessionKey: "S", Status: callbackd.StatusIdle, CreatedAt: now}, nil))
	for i, fire := range []bool{false, true, false} {
		ln.swallowNext("COMMIT")
		got, _, err := s.ChangeSession(t.Context(), d.key.ID, "S", now, note(now, fire))
		d.must(err)
		d.equal("notes of the session", got.Notes, i+1)
		d.equal("cuts", ln.cuts.Load(), int64(i+2))
	}
	notes, err := s.SessionNotes(t.Context(), d.key.ID, "S")
	d.must(err)
	d.equal("notes", len(notes), 3)
	d.equal("events", d.checked(s), int64(1))
	ln.swallowNext("COMMIT")
	_, _, err = s.ChangeSession(t.Context(), d.key.ID, "S", now, func(*callbackd.Session) (store.SessionChange, error) {
		return store.SessionChange{Remove: true}, nil
	})
	if err != nil || ln.cuts.Load() != 5 {
		t.Errorf("a removal: %v after %d cuts", err, ln.cuts.Load())
	}
}

// asked is the event that the creation of a session with a phone number fires.
var asked = store.NewEvent{Type: callbackd.SMSRequested, Data: []byte("{}")}

// A creation that fires, and whose commit was not answered, is made once.
func TestLostAnswerOfACreationThatFires(t *testing.T) {
	t.Parallel()
	ln, u := newLine(t, stock.URL(t))
	d, nodes := newDatabase(t, u, 1)
	for i := range 3 {
		ln.swallowNext("COMMIT")
		x := &callbackd.Session{Key: d.key.ID, SessionKey: fmt.Sprint("S", i), Status: callbackd.StatusIdle, CreatedAt: time.Now()}
		if err := nodes[0].CreateSession(t.Context(), x, nil, asked); err != nil || ln.cuts.Load() != int64(i+1) {
			t.Fatalf("%v after %d cuts", err, ln.cuts.Load())
		}
		if _, err := nodes[0].Session(t.Context(), d.key.ID, x.SessionKey); err != nil || d.checked(nodes[0]) != int64(i+1) {
			t.Errorf("%s: %v, %d events", x.SessionKey, err, d.checked(nodes[0]))
		}
	}
}

// When nodes create one session at the same time, one succeeds, and only that one fires.
func TestNodesCreateASessionTogether(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 3)
	const sessions = 20
	made := make([]atomic.Int64, sessions)
	var work sync.WaitGroup
	for _, s := range nodes {
		for i := range sessions {
			work.Go(func() {
				x := &callbackd.Session{Key: d.key.ID, SessionKey: fmt.Sprint("S", i), Status: callbackd.StatusIdle, CreatedAt: time.Now()}
				switch err := s.CreateSession(t.Context(), x, nil, asked); {
				case err == nil:
					made[i].Add(1)
				case callbackd.KindOf(err) != callbackd.KindConflict:
					t.Error(err)
				}
			})
		}
	}
	work.Wait()
	for i := range made {
		if n := made[i].Load(); n != 1 {
			t.Errorf("session %d was created %d times", i, n)
		}
	}
	if n := d.checked(nodes[0]); n != sessions {
		t.Errorf("%d events of %d creations", n, sessions)
	}
}

// Another node changes the session between a commit that was not answered and its retry.
// It cannot be known any more whether the change was made, and it is not made twice.
func TestASessionChangeThatCannotBeKnown(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	s, now := nodes[0], time.Now()
	d.must(s.CreateSession(t.Context(), &callbackd.Session{Key: d.key.ID, SessionKey: "S", Status: callbackd.StatusIdle, CreatedAt: now}, nil))
	group := []*acceptRequest{{command: newCommand(), batch: store.Batch{Key: d.key.ID, At: now}, change: &change{session: "S", f: note(now, false)}}}
	first := newAcceptGroup(s, group, nil)
	_, err := s.tryAccept(t.Context(), first)
	d.must(err)
	retry := newAcceptGroup(s, group, []*acceptGroup{first})
	if _, err = s.tryAccept(t.Context(), retry); err != nil || retry.committed != first {
		t.Errorf("before the other change: made %v, %v", retry.committed != nil, err)
	}
	_, _, err = nodes[1].ChangeSession(t.Context(), d.key.ID, "S", now, note(now, false))
	d.must(err)
	if _, err := s.tryAccept(t.Context(), newAcceptGroup(s, group, []*acceptGroup{first})); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("after the other change: %v", err)
	}
	got, err := s.Session(t.Context(), d.key.ID, "S")
	d.must(err)
	d.equal("the notes of the session", got.Notes, 2)
}

// A reader goes from cursor to cursor while nodes whose clocks are a minute apart accept
// events, and misses none.
func TestCatchUpOverNodesMissesNothing(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 4)
	reader, writers := nodes[0], nodes[1:]
	const workers, each = 3, 40
	var work sync.WaitGroup
	var mu sync.Mutex
	var accepted []callbackd.EventID
	for n, s := range writers {
		for w := range workers {
			work.Go(func() {
				for i := range each {
					evs, err := d.accept(s, time.Now().Add(time.Duration(n-1)*30*time.Second), fmt.Sprint("S", n, w, i))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					accepted = append(accepted, evs[0].ID)
					mu.Unlock()
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	var got []callbackd.EventID
	read := func(after callbackd.EventID) callbackd.EventID {
		page, err := reader.EventsAfter(t.Context(), store.EventQuery{Key: d.key.ID, After: after, Limit: store.MaxPage})
		d.must(err)
		for _, ev := range page.Events {
			got = append(got, ev.ID)
		}
		return page.Next
	}
	at := callbackd.EventID(0)
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		at = read(at)
	}
	for next := read(at); next != at; next = read(at) {
		at = next
	}
	slices.Sort(accepted)
	if !slices.Equal(got, accepted) {
		t.Errorf("%d of %d events were read, or not in order", len(got), len(accepted))
	}
}

// delivered records the deliveries as delivered.
func (d *database) delivered(s *Store, ids []callbackd.DeliveryID) {
	var group []*outcome
	for _, id := range ids {
		group = append(group, &outcome{command: newCommand(), detail: []byte{1},
			Outcome: &callbackd.Outcome{Delivery: callbackd.Delivery{ID: id}, Attempt: callbackd.Attempt{Version: 1, Decision: callbackd.Decision{State: callbackd.Delivered}}}})
	}
	for chunk := range slices.Chunk(group, maxGroup) {
		s.recordGroup(chunk, false)
	}
}

// Nodes step one replay at the same time: each of its deliveries is made due once.
func TestNodesStepAReplayTogether(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 3)
	const total = 1200
	var all []callbackd.DeliveryID
	for range total / 200 {
		evs, err := d.accept(nodes[0], time.Now(), slices.Repeat([]string{"A", "B"}, 100)...)
		d.must(err)
		for _, ev := range evs {
			all = append(all, callbackd.DeliveryID{Event: ev.ID, Callback: d.cb.ID})
		}
	}
	d.delivered(nodes[0], all)
	r, err := nodes[0].CreateReplay(t.Context(), callbackd.Replay{Key: d.key.ID, CreatedAt: time.Now()})
	d.must(err)
	due := map[callbackd.DeliveryID]int{}
	for range 20 {
		var mu sync.Mutex
		var work sync.WaitGroup
		var now []callbackd.DeliveryID
		for i := range 6 {
			work.Go(func() {
				step, err := nodes[i%3].StepReplay(t.Context(), r.ID, time.Now())
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				for _, v := range step.Due {
					due[v.ID]++
					now = append(now, v.ID)
				}
			})
		}
		work.Wait()
		d.delivered(nodes[1], now)
	}
	for id, n := range due {
		if n != 1 {
			t.Errorf("%s was made due %d times", id, n)
		}
	}
	r, err = nodes[1].Replay(t.Context(), d.key.ID, r.ID)
	d.must(err)
	d.equal("deliveries that were made due", len(due), total)
	d.equal("the replay's state", r.State, callbackd.ReplayDone)
	d.equal("delivered", r.Delivered, int64(total))
	d.equal("skipped", r.Skipped, int64(0))
	d.checked(nodes[2])
}

// A delivery changes while its outcome is being recorded: the outcome is recorded once,
// on the changed delivery.
func TestOutcomeOfADeliveryThatChangesMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	evs, err := d.accept(nodes[0], time.Now(), "A", "B")
	d.must(err)
	other, err := nodes[0].shared.Begin(ctx)
	d.must(err)
	_, err = other.Exec(ctx, "UPDATE pending SET due = 1 WHERE event_id = $1", int64(evs[1].ID))
	d.must(err)
	var work sync.WaitGroup
	work.Go(func() {
		d.delivered(nodes[0], []callbackd.DeliveryID{{Event: evs[0].ID, Callback: d.cb.ID}, {Event: evs[1].ID, Callback: d.cb.ID}})
	})
	for waits := 0; waits == 0; {
		d.must(other.QueryRow(ctx, "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE datname = current_database() AND NOT granted").Scan(&waits))
	}
	d.must(other.Commit(ctx))
	work.Wait()
	var ended, pending int
	d.must(nodes[0].shared.QueryRow(ctx, "SELECT (SELECT count(*) FROM attempts WHERE n = 1), (SELECT count(*) FROM pending)").Scan(&ended, &pending))
	if d.checked(nodes[0]); ended != 2 || pending != 0 {
		t.Errorf("%d outcomes, want 2; %d deliveries wait, want none", ended, pending)
	}
}
