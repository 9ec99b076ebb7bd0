package core

import (
	"context"
	"math"
	"time"

	"callbackd"
)

// PendingCallbacks is part of [store.Queue].
func (s *Store) PendingCallbacks(ctx context.Context) (pending []callbackd.PendingCallback, err error) {
	var all []callbackd.CallbackID
	err = s.db.ReadFlushed(ctx, func(tx Tx) error {
		all, err = pendingIndex.callbacks(tx, math.MaxInt32)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, id := range all {
		cb, err := s.CallbackByID(ctx, id)
		if err != nil {
			return nil, err
		}
		if !cb.Deleted() {
			pending = append(pending, callbackd.PendingCallback{Key: cb.Key, Callback: id})
		}
	}
	return pending, nil
}

// DueBy returns up to limit of the deliveries, which are in the order of Due, that
// are due by a time, and when the next one is due; zero when there is none.
func DueBy(ds []callbackd.Delivery, until time.Time, limit int) (due []callbackd.Delivery, next time.Time) {
	for i, d := range ds {
		if i == limit || d.Due.After(until) {
			return ds[:i], d.Due
		}
	}
	return ds, time.Time{}
}

// DecideAfterEnd changes the decision of an outcome when the callback has ended. It may
// use a state of the callback that is [store.MaxKeyAge] old.
func (s *Store) DecideAfterEnd(ctx context.Context, o *callbackd.Outcome) error {
	ended, err := s.Ended(ctx, o.Delivery.ID.Callback)
	if err == nil && ended {
		o.Attempt.Decision = o.Attempt.AfterEnd()
	}
	return err
}
