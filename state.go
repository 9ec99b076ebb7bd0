package callbackd

import (
	"fmt"
	"slices"
	"time"
)

// DeliveryRows has the rows of one delivery that decide about its state.
type DeliveryRows struct {
	// Pending is the delivery's row in the queue; nil when it has none.
	Pending *Delivery
	// Last is the newest row of its attempts; the zero value before the first.
	Last AttemptRow
}

// AttemptRow is one row of a delivery's attempts, without the result.
type AttemptRow struct {
	Number  int
	Version int64 // of the setting that was sent; 0 for an end without an attempt
	State   State // of the delivery after it
}

// Unsent reports whether the row records an end without an attempt: the delivery was
// canceled or has expired. Such a row has a number like the others, but it is not an attempt.
func (r *AttemptRow) Unsent() bool { return r.Version == 0 && r.Number > 0 }

// DeliveryState is the state of a delivery, and what it is waiting for.
type DeliveryState struct {
	State    State // empty when there is no such delivery
	Attempts int
	Due      time.Time // of the next attempt; zero when it may start at once or there is none
	Manual   bool
	Replay   ReplayID  // the replay that made it due, while it is pending; or 0
	Since    time.Time // since when it has been waiting; zero unless it is pending
	// ExpiresAt is [Delivery.ExpiresAt] while it is pending.
	ExpiresAt time.Time
	Deferred  bool // it is pending and waits for its event's DeliverAt
}

// StateOf returns the state of a delivery with these rows. A row in the queue counts
// more than any attempt, because a delivery that has ended can be sent again. ended says
// that the callback was deleted or its key revoked: a pending delivery then counts as
// canceled, even before a row says so.
func StateOf(rows DeliveryRows, ended bool) DeliveryState {
	if d := rows.Pending; d != nil {
		state := DeliveryState{State: Pending, Attempts: d.Attempts, Due: d.Due, Manual: d.Manual, Replay: d.Replay, Since: d.WaitsSince(), ExpiresAt: d.ExpiresAt, Deferred: d.Deferred()}
		if ended {
			state = DeliveryState{State: Canceled, Attempts: d.Attempts, Manual: d.Manual, Replay: d.Replay}
		}
		return state
	}
	state := DeliveryState{State: rows.Last.State, Attempts: rows.Last.Number}
	if rows.Last.Unsent() {
		state.Attempts--
	}
	return state
}

// Resend returns the delivery of an event to a callback after a person resent it: it is
// due at the given time, and its retry schedule starts again. changed is false when the
// delivery waits for its first attempt, because it then keeps its turn in its lane. ended
// means the same as in [StateOf]. Resend fails when the callback has ended. A delivery that
// was canceled or has expired goes on where it was: the row that says so must be removed.
// It does not expire again.
func (r DeliveryRows) Resend(ev *Event, cb CallbackID, ended bool, at time.Time) (d Delivery, changed bool, err error) {
	if ev.IsErased() {
		return d, false, ev.ErrErased()
	}
	d = Delivery{ID: DeliveryID{Event: ev.ID, Callback: cb}, Key: ev.Key, Session: ev.Session, Sequence: ev.Sequence, Test: ev.Test, Attempts: StateOf(r, ended).Attempts}
	switch {
	case ended && StateOf(r, ended).State == Canceled:
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

// DeliveryAudit has all rows of one delivery. It shows whether the delivery is in
// exactly one state.
type DeliveryAudit struct {
	ID       DeliveryID
	Pending  *Delivery    // its row in the queue; nil when it has none
	Attempts []AttemptRow // in the order of their numbers
	Ended    bool         // its callback was deleted or its key revoked
	Event    *Event       // nil when it is not known
}

// State returns the state of the delivery. It is empty when the delivery is lost.
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

// lost reports whether the delivery is neither pending nor ended.
func (a *DeliveryAudit) lost() bool {
	n := len(a.Attempts)
	return a.Pending == nil && (n == 0 || !a.Attempts[n-1].State.Terminal())
}

// Count returns how many attempts were made, and how many of them were made after the
// delivery had ended.
func (a *DeliveryAudit) Count() (attempts, repeats int64) {
	var before State
	for _, row := range a.Attempts {
		if !row.Unsent() {
			attempts++
			if before.Terminal() {
				repeats++
			}
		}
		before = row.State
	}
	return attempts, repeats
}

// Faults returns a sentence for each fault of the rows. A delivery is either pending or
// has ended, and no attempt is missing. Only a delivery that a person resends is both.
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
	return slices.Concat(faults, a.unsentFaults(), a.timeFaults())
}

// unsentFaults returns what is wrong with rows that end a delivery without an attempt.
func (a *DeliveryAudit) unsentFaults() (faults []string) {
	if i := slices.IndexFunc(a.Attempts, func(r AttemptRow) bool { return r.Unsent() }); i >= 0 && (i < len(a.Attempts)-1 || a.Pending != nil) {
		faults = append(faults, fmt.Sprintf("delivery %s goes on and has a row that says that it was canceled or expired", a.ID))
	}
	for _, row := range a.Attempts {
		if row.Unsent() && row.State != Canceled && row.State != Expired {
			faults = append(faults, fmt.Sprintf("delivery %s has a row without an attempt that says %s", a.ID, row.State))
		}
	}
	return faults
}

// timeFaults returns how the times of a pending delivery contradict those of its event.
func (a *DeliveryAudit) timeFaults() (faults []string) {
	if p, ev := a.Pending, a.Event; p != nil && ev != nil {
		if !ev.ExpiresAt.IsZero() && p.ExpiresAt.After(ev.ExpiresAt) {
			faults = append(faults, fmt.Sprintf("delivery %s expires after its event", a.ID))
		}
		if !p.DeliverAt.IsZero() && !p.DeliverAt.Equal(ev.DeliverAt) {
			faults = append(faults, fmt.Sprintf("delivery %s is deferred to another time than its event", a.ID))
		}
	}
	return faults
}
