package callbacks

import (
	"context"

	"callbackd"
	"callbackd/internal/store"
)

// EraseStore has the methods of the store that find where to erase.
type EraseStore interface {
	ListKeys(ctx context.Context) ([]callbackd.Key, error)
	Session(ctx context.Context, key callbackd.KeyID, session string) (*callbackd.Session, error)
	SessionEvents(ctx context.Context, q store.SessionEventQuery) ([]store.SessionEvent, error)
}

// HasEvents reports whether an event of a session is stored.
func HasEvents(ctx context.Context, s EraseStore, key callbackd.KeyID, session string) (bool, error) {
	events, err := s.SessionEvents(ctx, store.SessionEventQuery{Key: key, Session: session, Limit: 1})
	return len(events) > 0, err
}

// KeysToErase returns the API keys in which an erasure over all keys looks, also revoked ones:
// for a session key those that have the session, else all. It fails with NotFound when there is
// none.
func KeysToErase(ctx context.Context, s EraseStore, by callbackd.EraseBy, value string) (keys []callbackd.Key, err error) {
	all, err := s.ListKeys(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range all {
		has := by != callbackd.EraseSession
		if !has {
			if has, err = HasEvents(ctx, s, key.ID, value); err != nil {
				return nil, err
			}
		}
		if !has {
			_, err := s.Session(ctx, key.ID, value)
			if has = err == nil; err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
				return nil, err
			}
		}
		if has {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, callbackd.Errorf(callbackd.KindNotFound, "There is no API key with such a session, so there is nothing to erase.")
	}
	return keys, nil
}
