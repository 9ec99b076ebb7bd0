package storetest

import (
	"context"
	"time"

	"callbackd"
)

// ReplaceCallback gives the callback of c the setting of c.
func (s *suite) ReplaceCallback(ctx context.Context, c callbackd.Callback, at time.Time) (*callbackd.Callback, error) {
	return s.ChangeCallback(ctx, c.Key, c.Event, c.Name, func(stored *callbackd.Callback) error {
		stored.Replace(&c, at)
		return nil
	})
}

// DeleteCallback ends a callback.
func (s *suite) DeleteCallback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, at time.Time) (*callbackd.Callback, error) {
	return s.ChangeCallback(ctx, key, ev, name, func(cb *callbackd.Callback) error {
		cb.Delete(at)
		return nil
	})
}

// PauseCallback sets or ends a pause.
func (s *suite) PauseCallback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, p callbackd.Pause) (*callbackd.Callback, error) {
	return s.ChangeCallback(ctx, key, ev, name, func(cb *callbackd.Callback) error {
		cb.SetPause(p)
		return nil
	})
}

// RotateSecret gives a callback another signing secret.
func (s *suite) RotateSecret(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, next callbackd.Secret, keep, at time.Time) (*callbackd.Callback, error) {
	return s.ChangeCallback(ctx, key, ev, name, func(cb *callbackd.Callback) error {
		return cb.RotateSecret(next, keep, at)
	})
}

// RevokeKey ends a key.
func (s *suite) RevokeKey(ctx context.Context, apiKey string, at time.Time) error {
	return s.ChangeKey(ctx, apiKey, func(k *callbackd.Key) error {
		k.Revoke(at)
		return nil
	})
}

// RotateKey gives a key another secret.
func (s *suite) RotateKey(ctx context.Context, apiKey string, next callbackd.Secret, keep time.Time) error {
	return s.ChangeKey(ctx, apiKey, func(k *callbackd.Key) error { return k.Rotate(next, keep) })
}

// SetCaptureURL gives a key a template of its sessions' links, or none.
func (s *suite) SetCaptureURL(ctx context.Context, apiKey string, t callbackd.CaptureTemplate) error {
	return s.ChangeKey(ctx, apiKey, func(k *callbackd.Key) error {
		k.CaptureURL = t
		return nil
	})
}
