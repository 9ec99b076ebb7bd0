package app

import (
	"callbackd/internal/api"
	"callbackd/internal/eventtypes"
)

// catalogue returns the types of events that the server has.
func catalogue(c Config) (*eventtypes.Catalogue, error) {
	kinds, err := api.EventKinds()
	if err != nil {
		return nil, err
	}
	return eventtypes.New(kinds, c.Validate)
}
