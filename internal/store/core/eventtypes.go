package core

import (
	"context"
	"maps"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

// ReadEventTypes reads the types of a platform's events, by their numbers.
func ReadEventTypes(tx Tx) (map[int64]callbackd.EventType, error) {
	names := map[int64]callbackd.EventType{}
	err := tx.Query("SELECT no, name FROM event_types", func(row Row) error {
		var n int64
		var name string
		err := row.Scan(&n, &name)
		names[n] = callbackd.EventType(name)
		return err
	})
	return names, err
}

// AddEventTypes is part of [store.EventTypes].
func (s *Store) AddEventTypes(ctx context.Context, types []callbackd.EventType) error {
	var after map[int64]callbackd.EventType
	err := s.db.Write(ctx, Repeatable|Settings, func(tx Tx) error {
		names, err := ReadEventTypes(tx)
		if err != nil {
			return err
		}
		var known codec.EventTypes
		known.Set(names)
		for _, t := range types {
			if known.Number(t) != 0 {
				continue
			}
			n, ok := known.Next()
			if !ok {
				return callbackd.Invalid("There are %d event types of this platform, and no more can be stored. Remove some of the new ones.", len(names))
			}
			if _, err := tx.Exec("INSERT INTO event_types (no, name) VALUES ($1, $2)", n, string(t)); err != nil {
				return err
			}
			names = maps.Clone(names)
			names[n] = t
			known.Set(names)
		}
		after = names
		return nil
	})
	if err == nil {
		s.EventTypes.Set(after)
	}
	return err
}

// typeNumber returns the number of a type that something is stored for. The type "" has 0.
func (s *Store) typeNumber(t callbackd.EventType) (int64, error) {
	n := s.EventTypes.Number(t)
	if n == 0 && t != "" {
		return 0, store.NoEventType(t)
	}
	return n, nil
}

// CheckEventTypes refuses events of a type that is not stored, and callbacks for one.
func (s *Store) CheckEventTypes(events []store.NewEvent) error {
	for i := range events {
		if _, err := s.typeNumber(events[i].Type); err != nil {
			return err
		}
		if cb := events[i].Callback; cb != nil {
			if _, err := s.EventTypes.OwnSet(cb.Types); err != nil {
				return err
			}
		}
	}
	return nil
}
