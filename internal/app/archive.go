package app

import (
	"context"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/internal/archive"
	"callbackd/internal/doctor"
	"callbackd/internal/export"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// archiver writes events to the archive before retention removes them.
type archiver struct {
	dir     string
	to      *archive.Writer
	from    export.Exporter
	events  atomic.Int64                   // that were written since the start
	failure atomic.Pointer[archiveFailure] // nil: the last try was well
}

// archiveFailure says why the archive cannot be written, and since when.
type archiveFailure struct {
	since time.Time
	err   error
}

// tried notes how a try to write the archive ended.
func (r *archiver) tried(err error) {
	if err == nil {
		r.failure.Store(nil)
		return
	}
	f := &archiveFailure{since: time.Now(), err: err}
	if before := r.failure.Load(); before != nil {
		f.since = before.since
	}
	r.failure.Store(f)
}

// archiveFailing returns why the archive cannot be written, and since when; nil when it can be.
// Only the node that removes old events knows it.
func (a *App) archiveFailing() (since time.Time, err error) {
	if a.archive == nil || !a.runsSingletonJobs() {
		return since, nil
	}
	f := a.archive.failure.Load()
	if f == nil {
		return since, nil
	}
	return f.since, f.err
}

// newArchiver returns nil when the server has no archive.
func (a *App) newArchiver(dir string, preview view.Preview) *archiver {
	if dir == "" {
		return nil
	}
	node := func() string {
		if a.member == nil {
			return "local"
		}
		return "n" + strconv.FormatInt(int64(a.member.ID()), 10)
	}
	w := archive.NewWriter(dir, node)
	a.teardown.add("archive", func(context.Context) error { return w.Close() })
	return &archiver{dir: dir, to: w, from: export.Exporter{From: a.store, Preview: preview}}
}

// write makes events durable in the archive.
func (r *archiver) write(ctx context.Context, events map[callbackd.EventID]int) error {
	ids := slices.Sorted(maps.Keys(events))
	err := r.to.Add(time.Now(), func(to io.Writer) (archive.Added, error) {
		p, err := r.from.Write(ctx, ids, to)
		return archive.Added{Counts: archive.Counts{Events: p.Events, Deliveries: p.Deliveries, Attempts: p.Attempts}, First: p.First, Last: p.Last}, err
	})
	if err == nil {
		r.events.Add(int64(len(ids)))
	}
	return err
}

// remove removes the events of a step. With an archive, it first writes them there: so
// nothing is removed while the archive cannot be written.
func (s *eventSweep) remove(ctx context.Context, q store.Sweep) (store.Swept, error) {
	if s.archive == nil {
		return s.store.Sweep(ctx, q)
	}
	look := q
	look.Look = true
	swept, err := s.store.Sweep(ctx, look)
	if err != nil {
		return swept, err
	}
	if len(swept.Events) > 0 {
		err = s.archive.write(ctx, swept.Events)
		if ctx.Err() == nil {
			s.archive.tried(err)
		}
	}
	if err != nil || len(swept.Events) == 0 {
		return swept, err
	}
	q.Only = swept.Events
	return s.store.Sweep(ctx, q)
}

// free returns how many bytes are free on the volume of the archive. ok is false when that is
// not known.
func (r *archiver) free() (bytes int64, ok bool) {
	v, err := doctor.ThisMachine().Volume(r.dir)
	return int64(v.Free), err == nil
}
