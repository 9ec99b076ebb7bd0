package app

import (
	"context"
	"sync"
	"time"
)

// KeysetEvery is how often a server looks whether its keyset file has changed.
const KeysetEvery = 2 * time.Second

// keysetWatch has the keys in use follow the keyset file.
type keysetWatch struct {
	a        *App
	mu       sync.Mutex
	keys     string // that are in use, as they were last told
	complain string // the last error
}

func (w *keysetWatch) start(a *App) { w.a, w.keys = a, a.store.Keyset().String() }

// step reads the keyset file again when it has changed. The store may have done so itself,
// when it met a secret that is sealed with a new key.
func (w *keysetWatch) step(context.Context) (time.Duration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.a.store.ReloadKeyset()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != w.complain {
		if w.complain = text; err != nil {
			w.a.log.Error("the keyset is not read again, and the keys in use stay as they are", "error", err)
		}
	}
	keys := w.a.store.Keyset()
	if keys.String() == w.keys {
		return 0, nil
	}
	if err := w.a.shareKeys(); err != nil {
		return 0, err
	}
	w.keys = keys.String()
	w.a.log.Info("the keyset has changed", "seals_with", uint32(keys.Primary), "keys", keys.String())
	return 0, nil
}

// shareKeys gives the connections to other nodes the keys in use.
func (a *App) shareKeys() error {
	shared, ok := a.store.(nodeStore)
	if !ok || a.homes == nil {
		return nil
	}
	keys, err := shared.Derive(betweenNodes)
	if err == nil {
		a.homes.SetKeys(keys)
	}
	return err
}

// Reload has the server read its keyset file again now.
func (a *App) Reload(ctx context.Context) error {
	_, err := a.keyset.step(ctx)
	return err
}
