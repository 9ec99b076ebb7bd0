package app

import (
	"context"
	"fmt"
	"slices"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/eventtypes"
)

// catalogue returns the types of events that the server has.
func catalogue(c Config) (*eventtypes.Catalogue, error) {
	kinds, err := api.EventKinds()
	if err != nil {
		return nil, err
	}
	return eventtypes.New(slices.Concat(kinds, c.EventTypes), c.Validate)
}

// addEventTypes stores the names of the platform's own types of events.
func (a *App) addEventTypes(ctx context.Context, c Config) error {
	if len(c.EventTypes) == 0 {
		return nil
	}
	types := make([]callbackd.EventType, len(c.EventTypes))
	for i, k := range c.EventTypes {
		types[i] = callbackd.EventType(k.Type)
	}
	if err := a.store.AddEventTypes(ctx, types); err != nil {
		return fmt.Errorf("store the types of events: %w", err)
	}
	return nil
}
