package view

import (
	"encoding/json"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/wire"
)

// Key returns an API key as it is at now, without its secret.
func Key(k *callbackd.Key, now time.Time) wire.Key {
	out := wire.Key{
		APIKey: k.APIKey, Account: k.Account, Name: k.Name, Live: k.Live, State: k.State(now),
		SessionsExpireAfter: callbackd.FormatDuration(k.SessionTimeFrame()), CreatedAt: k.CreatedAt.UTC(),
		ExpiresAt: timeOrNull(k.ExpiresAt), RevokedAt: timeOrNull(k.RevokedAt),
	}
	out.Limits, out.CallbackPolicy = KeyLimits(k.Limits), json.RawMessage("{}")
	if k.CallbackPolicy != "" {
		out.CallbackPolicy = json.RawMessage(k.CallbackPolicy)
	}
	out.RetentionEvents = json.RawMessage("{}")
	if k.RetentionEvents != "" {
		out.RetentionEvents = json.RawMessage(k.RetentionEvents)
	}
	if k.Retention != 0 {
		out.Retention = new(callbackd.FormatDuration(k.Retention))
	}
	if k.CaptureURL != "" {
		out.CaptureURL = new(string(k.CaptureURL))
	}
	if k.OldSecret != "" && now.Before(k.OldUntil) {
		out.OldSecretEndsAt = timeOrNull(k.OldUntil)
	}
	return out
}

// CallbackState returns where a callback sends and how it does, without headers and
// payload. owner is its API key.
func CallbackState(cb *callbackd.Callback, owner string, now time.Time) wire.CallbackState {
	return wire.CallbackState{
		APIKey: owner, Callback: int64(cb.ID), Event: string(cb.Event), Name: cb.Name, URL: cb.URL, Method: cb.Method,
		Paused: cb.Paused(), PauseReason: string(cb.Pause.Reason), PausedAt: timeOrNull(cb.Pause.At),
		FailingSince: timeOrNull(cb.FailingSince), ClosedUntil: timeOrNull(cb.StillClosed(now)),
		CreatedAt: cb.CreatedAt.UTC(), UpdatedAt: cb.UpdatedAt.UTC(),
	}
}

// Stats returns the counts of one interval.
func Stats(b *store.Bucket) wire.Stats {
	return wire.Stats{At: b.At.UTC(), Delivered: b.Delivered, Failed: b.Failed, Canceled: b.Canceled, Expired: b.Expired, Attempts: b.Attempts, Faults: b.Faults, ByFault: byFault(&b.Counters), Repeats: b.Repeats}
}
