package view

import (
	"context"

	"callbackd"
	"callbackd/internal/keylimit"
	"callbackd/internal/store"
	"callbackd/wire"
)

// KeyLimits returns limits as settings have them: null stands for the server's default, and
// 0 for no limit.
func KeyLimits(l callbackd.KeyLimits) (out wire.KeyLimits) {
	out.PublishRate = limitOrNull(l.PublishRate)
	out.PendingDeliveries, out.PendingBytes = limitOrNull(l.Pending), limitOrNull(l.PendingBytes)
	out.Callbacks = limitOrNull(l.Callbacks)
	return out
}

func limitOrNull[T int | int64 | float64](n T) *T {
	if n == 0 {
		return nil
	}
	return new(max(0, n))
}

// Limits returns the limits in force of a key, and what it uses of them.
func Limits(ctx context.Context, cbs store.Callbacks, limits *keylimit.Limiter, key *callbackd.Key) (wire.Limits, error) {
	use, err := limits.Use(ctx, key)
	if err != nil {
		return wire.Limits{}, err
	}
	page, err := cbs.ListCallbacks(ctx, store.CallbackQuery{Key: key.ID})
	if err != nil {
		return wire.Limits{}, err
	}
	of, most := map[callbackd.EventType]int64{}, int64(0)
	for _, cb := range page.Callbacks {
		of[cb.Event]++
		most = max(most, of[cb.Event])
	}
	l := limits.Of(key)
	out := wire.Limits{
		APIKey:            key.APIKey,
		PublishRate:       wire.RateLimit{Limit: max(0, l.PublishRate)},
		PendingDeliveries: wire.Limit{Limit: max(0, l.Pending), Used: use.Deliveries},
		PendingBytes:      wire.Limit{Limit: max(0, l.PendingBytes), Used: use.Bytes},
		Callbacks:         wire.Limit{Limit: int64(l.Callbacks), Used: most},
		CountedAt:         use.CountedAt.UTC(),
	}
	if l.LimitsRate() {
		out.PublishRate.Burst, out.PublishRate.Left = int64(l.PublishBurst()), int64(use.Publish)
	}
	return out, nil
}
