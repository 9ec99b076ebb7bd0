package store

import (
	"fmt"

	"callbackd"
)

// Report is the result of Check.
type Report struct {
	Events    int64
	Erased    int64 // events among them whose data was erased
	Callbacks []Balance
	Faults    []string // sentences that name the row; at most MaxFaults
	FaultN    int64    // how many there are
	Sealed    SealedCounts
}

// MaxFaults is how many faults a Report spells out.
const MaxFaults = 100

// Fault adds a fault to the report.
func (r *Report) Fault(format string, args ...any) {
	r.FaultN++
	if len(r.Faults) < MaxFaults {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
	}
}

// Balance has the counts of one callback. Its deliveries are in exactly one state when
// Accepted = Delivered + Failed + Canceled + Expired + Pending.
type Balance struct {
	Callback                                       *callbackd.Callback
	Accepted, Delivered, Failed, Canceled, Expired int64
	Pending                                        int64
	Attempts, Repeats                              int64
}

// Add counts a delivery. A delivery that is lost is in no state.
func (b *Balance) Add(a *callbackd.DeliveryAudit) {
	b.Accepted++
	attempts, repeats := a.Count()
	b.Attempts += attempts
	b.Repeats += repeats
	switch a.State() {
	case callbackd.Delivered:
		b.Delivered++
	case callbackd.Failed:
		b.Failed++
	case callbackd.Canceled:
		b.Canceled++
	case callbackd.Expired:
		b.Expired++
	case callbackd.Pending:
		b.Pending++
	}
}

// Balanced reports whether every accepted delivery is in one of the states.
func (b *Balance) Balanced() bool {
	return b.Accepted == b.Delivered+b.Failed+b.Canceled+b.Expired+b.Pending
}
