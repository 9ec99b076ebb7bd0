package sqlite

import "callbackd"

// Watch is part of [store.Events].
func (s *Store) Watch(key callbackd.KeyID) (<-chan struct{}, func()) { return s.hub.Watch(key) }
