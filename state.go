package callbackd

import (
	"fmt"
	"time"
)

// DeliveryRows is what a store keeps of one delivery.
type DeliveryRows struct {
	// Pending is the delivery's row in the queue; nil when it has none.
	Pending *Delivery
	// Last is the newest row of its attempts; the zero value before the first.
	Last AttemptRow
}

// AttemptRow is one row of a delivery's attempts, without what happened.
type AttemptRow struct {
	Number  int
	Version int64 // of the setting that was sent; 0: a cancellation
	State   State // of the delivery after it
}

// Canceled tells whether the row stands for a cancellation. Such a row has a
// number like all others, but it is no attempt.
func (r *AttemptRow) Canceled() bool { return r.Version == 0 && r.Number > 0 }

// DeliveryState says where a delivery stands.
type DeliveryState struct {
	State    State // empty: there is no such delivery
	Attempts int
	Due      time.Time // of the next attempt; zero: at once or ended
	Manual   bool
	Replay   ReplayID  // that made it due and has it pending; 0: none
	Since    time.Time // since when it has been waiting; zero unless it is pending
}

// StateOf derives where a delivery stands from its rows. A row in the queue
// counts more than any attempt, for a delivery that ended can be sent again.
// ended tells that the callback was deleted or its key revoked: what is pending
// then counts as canceled, even before a row says so.
func StateOf(rows DeliveryRows, ended bool) DeliveryState {
	if d := rows.Pending; d != nil {
		state := DeliveryState{State: Pending, Attempts: d.Attempts, Due: d.Due, Manual: d.Manual, Replay: d.Replay, Since: d.WaitsSince()}
		if ended {
			state.State, state.Due, state.Since = Canceled, time.Time{}, time.Time{}
		}
		return state
	}
	state := DeliveryState{State: rows.Last.State, Attempts: rows.Last.Number}
	if rows.Last.Canceled() {
		state.Attempts--
	}
	return state
}

// Resend returns the delivery of an event to a callback as it is when a person
// sends it again: due at the given time, from the start of its schedule. changed
// is false when it waits for its first attempt: it keeps its turn in its lane. ended
// is as for [StateOf]. Resend fails when nothing is owed to the callback any more.
func (r DeliveryRows) Resend(ev *Event, cb CallbackID, ended bool, at time.Time) (d Delivery, changed bool, err error) {
	d = Delivery{ID: DeliveryID{Event: ev.ID, Callback: cb}, Session: ev.Session, Sequence: ev.Sequence, Test: ev.Test, Attempts: r.Last.Number}
	switch {
	case StateOf(r, ended).State == Canceled:
		return d, false, Errorf(KindConflict, "delivery %s was canceled with its callback and cannot be sent again", d.ID)
	case ended:
		return d, false, Errorf(KindConflict, "the callback of delivery %s was deleted or its API key revoked; nothing is sent to it any more", d.ID)
	}
	if p := r.Pending; p != nil {
		d.Attempts, d.Replay = p.Attempts, p.Replay
		if p.Attempts == 0 && p.Due.IsZero() {
			return d, false, nil
		}
	}
	d.Manual, d.Due = true, at
	return d, true, nil
}

// DeliveryAudit is everything that a store keeps of one delivery: the evidence
// that the delivery is in exactly one state.
type DeliveryAudit struct {
	ID       DeliveryID
	Pending  *Delivery    // its row in the queue; nil when it has none
	Attempts []AttemptRow // in the order of their numbers
	Ended    bool         // its callback was deleted or its key revoked
}

// State returns where the delivery stands; empty when it is lost.
func (a *DeliveryAudit) State() State {
	if a.lost() {
		return ""
	}
	rows := DeliveryRows{Pending: a.Pending}
	if n := len(a.Attempts); n > 0 {
		rows.Last = a.Attempts[n-1]
	}
	return StateOf(rows, a.Ended).State
}

// lost tells whether the delivery is neither pending nor ended.
func (a *DeliveryAudit) lost() bool {
	n := len(a.Attempts)
	return a.Pending == nil && (n == 0 || !a.Attempts[n-1].State.Terminal())
}

// Count returns how many attempts were made, and how many of them came after
// the delivery had ended.
func (a *DeliveryAudit) Count() (attempts, repeats int64) {
	var before State
	for _, row := range a.Attempts {
		if !row.Canceled() {
			attempts++
			if before.Terminal() {
				repeats++
			}
		}
		before = row.State
	}
	return attempts, repeats
}

// Faults returns a sentence for each way in which the delivery breaks the rule
// that it is in exactly one state: it either is pending or has ended, and no
// attempt is missing. Only a delivery that a person sends again is both.
func (a *DeliveryAudit) Faults() (faults []string) {
	var last State
	for i, row := range a.Attempts {
		want := 1
		if i > 0 {
			want = a.Attempts[i-1].Number + 1
		}
		if row.Number != want {
			faults = append(faults, fmt.Sprintf("delivery %s has attempt %d where %d was expected", a.ID, row.Number, want))
		}
		last = row.State
	}
	switch {
	case a.Pending != nil && last.Terminal() && !a.Pending.Manual:
		faults = append(faults, fmt.Sprintf("delivery %s is %s and pending as well", a.ID, last))
	case a.lost():
		faults = append(faults, fmt.Sprintf("delivery %s is neither pending nor ended: it is lost", a.ID))
	}
	return faults
}
