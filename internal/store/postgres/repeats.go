package postgres

import (
	"bytes"
	"maps"
	"slices"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

// token names an idempotency key.
type token struct {
	key  callbackd.KeyID
	hash string
}

// repeat is the first answer to an idempotency key.
type repeat struct {
	digest []byte
	ids    []callbackd.EventID // of a stored answer
	events []*callbackd.Event
	isNew  bool // the group made it
}

// checkRepeats refuses a batch whose idempotency keys were used with other content,
// before any of it is accepted.
func (g *acceptGroup) checkRepeats(b *store.Batch) error {
	within := map[token][]byte{}
	g.needRepeats(b)
	for i := range b.Events {
		n := &b.Events[i]
		if n.Idempotency == "" {
			continue
		}
		own, digest := token{b.Key, string(codec.EventHash(n.Idempotency))}, codec.EventDigest(n)
		before, ok := within[own]
		if r := g.repeats[own]; r != nil {
			before, ok = r.digest, true
			if _, err := r.answer(); err != nil {
				return err
			}
		}
		if ok && !bytes.Equal(before, digest) {
			return store.ErrOtherEvent
		}
		within[own] = digest
	}
	return nil
}

// needRepeats notes the idempotency keys that were not known when the group was
// read: those of events that changes of sessions fire. When one of them was used
// before, the commit fails on it, and the next try reads it too.
func (g *acceptGroup) needRepeats(b *store.Batch) {
	for i := range b.Events {
		key := b.Events[i].Idempotency
		if key == "" {
			continue
		}
		t := token{b.Key, string(codec.EventHash(key))}
		if _, known := g.repeats[t]; !known {
			g.unreadTokens = append(g.unreadTokens, t)
		}
	}
}

func (r *repeat) answer() ([]*callbackd.Event, error) {
	if !r.isNew && len(r.events) != len(r.ids) {
		return nil, callbackd.Errorf(callbackd.KindNotFound, "the event with this idempotency key was removed; events are removed some time after they ended")
	}
	return r.events, nil
}

func sortedTokens(repeats map[token]*repeat) []token {
	return slices.SortedFunc(maps.Keys(repeats), compareTokens)
}
