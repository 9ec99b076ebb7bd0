package sqlite

import (
	"path/filepath"
	"slices"

	"callbackd"
	"callbackd/internal/store/core"
)

// Figures is part of [core.Driver].
func (d seam) Figures(core.Tx) (callbackd.Figures, error) {
	path := d.s.dir.path
	return callbackd.Figures{
		Database: size(path),
		Local: &callbackd.LocalFigures{
			Log: size(path + "-wal"), DiskFree: d.s.DiskFree(), Buffer: d.s.buffer.len(),
		},
	}, nil
}

// Unflushed is part of [core.Driver].
func (d seam) Unflushed() []callbackd.CallbackBacklog { return d.s.buffer.backlogs() }

// UnflushedOf is part of [core.Driver].
func (d seam) UnflushedOf(key callbackd.KeyID) map[callbackd.EventID]int64 {
	return d.s.buffer.unflushedOf(key)
}

// unflushedOf counts the unflushed deliveries of each event of a key.
func (b *eventBuffer) unflushedOf(key callbackd.KeyID) map[callbackd.EventID]int64 {
	out := map[callbackd.EventID]int64{}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, c := range b.unflushed {
		for _, ev := range c.events {
			if ev == nil {
				continue
			}
			if ev.Key != key { // all events of a callback are of one key
				break
			}
			out[ev.ID]++
		}
	}
	return out
}

// backlogs counts the unflushed deliveries of each callback. None was tried, so they are
// due since their events were accepted.
func (b *eventBuffer) backlogs() (out []callbackd.CallbackBacklog) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for cb, c := range b.unflushed {
		oldest := c.events[slices.IndexFunc(c.events, func(ev *callbackd.Event) bool { return ev != nil })]
		out = append(out, callbackd.CallbackBacklog{ID: cb, Pending: int64(c.count), OldestDue: oldest.ID.Time()})
	}
	return out
}

// countDeliveries adds to the counts of deliveries when the group is committed.
func (t *tx) countDeliveries(name string, n int) { t.counts[name] += n }

// writeCounts writes what the group counted: one row for each name, however many commands
// it has.
func (t *tx) writeCounts() error {
	for name, n := range t.counts {
		if err := t.s.Count(t, name, n); err != nil {
			return err
		}
	}
	return nil
}

// recount corrects the counts of deliveries when a server starts, if that is needed. It
// comes after the buffer was read.
func (s *Store) recount() error {
	if err := s.w.query("BEGIN IMMEDIATE", nil); err != nil {
		return err
	}
	if err := core.Recount(s.w.db, &dialect, s.buffer.unflushedCount); err != nil {
		s.w.query("ROLLBACK", nil)
		return err
	}
	return s.w.query("COMMIT", nil)
}

// DiskFree returns how many bytes are free on the volume of the data directory.
func (s *Store) DiskFree() int64 { return int64(available(filepath.Dir(s.dir.path))) }
