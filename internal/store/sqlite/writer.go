package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"

	"github.com/ncruces/go-sqlite3"
)

// maxAccepted bounds the events of a group: beyond it no further command
// joins. With it the buffer has fewer events than the cache of sequences has
// sessions.
const maxAccepted = 4096

// syncWithin is how long a commit of nothing but outcomes waits for a sync at most.
const syncWithin = 250 * time.Millisecond

// maxBytes bounds the data of the events of a group, in the same way.
const maxBytes = 2 << 20

// job is one command for the writer.
type job struct {
	run     func(*tx) error
	outcome bool // it records an attempt: no caller of the API waits for it
	// deferred marks a command that need not be synced by itself: an outcome that
	// changes nothing but its delivery (when it is lost with the power, the attempt
	// is made again), or a flush (which is made again).
	deferred bool
	canWait  bool // an outcome that waits some time for other commands to join
	err      error
	done     chan struct{}
}

// tx is what the commands of one group share. A command reads and writes
// through it. Its effects outside the database are functions that it adds to
// after; they run in order once the group is durable. A command is run again
// when another one of its group failed, so it keeps no other state.
type tx struct {
	*db
	s          *Store
	lastID     callbackd.EventID
	ends       map[store.SessionID]sessionEnd
	sessions   map[store.SessionID]core.SessionWork
	accepted   []*callbackd.Event
	bytes      int                           // data of accepted
	moved      map[callbackd.DeliveryID]bool // deliveries that leave the buffer
	flushed    int                           // how many of the buffer's oldest events
	counts     map[string]int                // what the counts of deliveries grow by
	scratch    []byte                        // for attempts
	deliveries []callbackd.Delivery
	after      []func()
	settings   bool  // a command of the group changed keys or callbacks
	before     int64 // how many rows the connection had changed when the group began
}

func (t *tx) reset() {
	t.before, t.settings = t.conn.TotalChanges(), false
	t.lastID = t.s.w.lastID
	clear(t.ends)
	clear(t.sessions)
	clear(t.moved)
	clear(t.counts)
	clear(t.accepted)
	t.accepted, t.bytes, t.flushed = t.accepted[:0], 0, 0
	clear(t.deliveries)
	t.deliveries = t.deliveries[:0]
	clear(t.after)
	t.after = t.after[:0]
}

// write runs a command in the next group commit. It returns when the command is durable
// or is known not to be: ctx can end the wait for a place in the queue, but not the wait
// for the result.
func (s *Store) write(ctx context.Context, run func(*tx) error) error {
	once := func(t *tx) error { return s.RunOnce(ctx, t, func() error { return run(t) }) }
	return s.do(ctx, &job{run: once, done: make(chan struct{})})
}

// do hands a command to the writer and waits for its result.
func (s *Store) do(ctx context.Context, j *job) error {
	if s.dir.readOnly != nil {
		return s.dir.readOnly
	}
	select {
	case s.queues.of(j) <- j:
		s.queues.queued(j)
	case <-s.queues.closing:
		return store.ErrStopping
	case <-ctx.Done():
		return store.Busy(ctx.Err())
	}
	select {
	case <-j.done:
		return j.err
	case <-s.queues.writerDone:
	}
	select { // it may have been the writer's last
	case <-j.done:
		return j.err
	default: // it was queued after the writer had ended
		return store.ErrStopping
	}
}

// writer owns the one connection that writes. While it commits, the next group
// gathers in the queues. A lone command is committed at once, but for an outcome that
// can wait.
func (s *Store) writer(t *tx) {
	defer close(s.queues.writerDone)
	defer s.awaitCheckpoint()
	group := make([]*job, 0, maxGroup)
	for first := s.first(); first != nil; first = s.first() {
		group = s.queues.gather(append(group[:0], first))
		s.commit(t, &group)
		for i, j := range group {
			close(j.done)
			group[i] = nil
		}
		s.queues.rest()
		if s.failure() == nil {
			s.checkpoint()
		}
	}
	s.flushAll(t)
}

// first waits for the first command of a group. It returns nil when the store was closed
// and no command waits any more. Meanwhile it syncs what must not wait longer.
func (s *Store) first() *job {
	q := &s.queues
	if s.w.versionDue == nil {
		s.w.versionDue = time.After(versionEvery)
	}
	for {
		if s.w.syncDue == nil && s.w.log != nil && s.w.log.unsynced {
			s.w.syncDue = time.After(syncWithin)
		}
		select {
		case j := <-q.jobs:
			return j
		case j := <-q.outcomes:
			return j
		case <-q.wake:
			select {
			case j := <-q.patient:
				return j
			default: // they have joined another group
			}
		case <-s.w.syncDue:
			s.w.syncDue = nil
			s.syncLog()
		case <-s.w.versionDue:
			s.w.versionDue = s.watchKeys()
		case <-q.closing:
			return q.next(nil)
		}
	}
}

// watchKeys looks whether another process has committed something, so that keys in use are
// not read again only because nothing was committed here. It returns when to look next; nil:
// after the next commit.
func (s *Store) watchKeys() <-chan time.Time {
	if !s.keys.inUse() || s.failure() != nil {
		return nil
	}
	// After an error the keys are dropped when they are too old.
	_ = s.keys.noteVersion(s.w.db, time.Now())
	return time.After(versionEvery)
}

// flushAll flushes the whole buffer when the database stops, so that the next
// start has nothing to read. Without it nothing is lost.
func (s *Store) flushAll(t *tx) {
	if s.dir.secondary || len(s.buffer.events) == 0 {
		return
	}
	s.commit(t, &[]*job{{run: (*tx).flushAll, done: make(chan struct{})}})
}

// commit runs the group, and the commands that join it meanwhile, in one
// transaction.
func (s *Store) commit(t *tx, group *[]*job) {
	if err := s.failure(); err != nil {
		for _, j := range *group {
			j.err = err
		}
		return
	}
	t.reset()
	err := s.runGroup(t, group)
	if err == nil {
		s.checkFiles()
		err = s.failure()
	}
	if err != nil {
		s.refuseGroup(t, *group, err)
		return
	}
	s.publish(t, len(*group), t.conn.TotalChanges() != t.before)
}

// runGroup runs the transaction of a group.
func (s *Store) runGroup(t *tx, group *[]*job) error {
	at := time.Now()
	if err := t.query("BEGIN IMMEDIATE", nil); err != nil {
		return err
	}
	if err := s.keys.noteVersion(t.db, at); err != nil {
		return err
	}
	for i := 0; i < len(*group); i++ {
		if err := s.apply(t, (*group)[:i+1]); err != nil {
			return err
		}
		if i == len(*group)-1 && len(*group) < maxGroup && len(t.accepted) < maxAccepted && t.bytes < maxBytes {
			if j := s.queues.next(*group); j != nil {
				*group = append(*group, j)
			}
		}
	}
	deferred := !slices.ContainsFunc(*group, func(j *job) bool { return !j.deferred })
	if err := s.flushOldest(t, deferred); err != nil {
		return err
	}
	if err := t.writeCounts(); err != nil {
		return err
	}
	return s.end(t, deferred)
}

// flushOldest flushes events when the buffer has enough of them. It leaves that to a
// commit that is not synced, for which no caller waits, until there are an eighth more.
func (s *Store) flushOldest(t *tx, deferred bool) error {
	limit := s.w.flushAt
	if !deferred {
		limit += s.w.flushAt / 8
	}
	buffered := len(s.buffer.events) - t.flushed
	if buffered <= limit {
		return nil
	}
	over := buffered - limit
	return t.flush(max(1, over-flushBatch), min(max(flushBatch, over), buffered))
}

// end commits the transaction. With deferred the commit is not synced.
func (s *Store) end(t *tx, deferred bool) error {
	commit := func() error { return t.query("COMMIT", nil) }
	if s.w.log == nil {
		return commit()
	}
	return s.w.log.commit(deferred, commit)
}

// syncLog syncs the commits that were written without a sync.
func (s *Store) syncLog() error {
	if s.w.log == nil || s.failure() != nil {
		return nil
	}
	err := s.w.log.syncDeferred()
	if err != nil {
		s.fail(err)
	}
	return err
}

// refuseGroup answers a group whose transaction failed.
func (s *Store) refuseGroup(t *tx, group []*job, err error) {
	full := isFull(err)
	err = s.storeFault(err)
	if !t.conn.GetAutocommit() {
		t.conn.Exec("ROLLBACK")
	}
	if full && s.failure() == nil {
		s.fillDisk()
	}
	s.refusals.Refuse(len(group), err)
	for _, j := range group {
		j.err = err
	}
}

// apply runs the last job of the group. When it fails after it has written,
// the transaction starts over without it. The error returned is the store's;
// the job's own is left in the job.
func (s *Store) apply(t *tx, group []*job) error {
	j := group[len(group)-1]
	before := t.conn.TotalChanges()
	deliveries, accepted, bytes := len(t.deliveries), len(t.accepted), t.bytes
	if j.err = j.run(t); j.err == nil {
		return nil
	}
	if isStoreFault(j.err) {
		return j.err
	}
	if t.conn.TotalChanges() == before {
		t.deliveries, t.accepted, t.bytes = t.deliveries[:deliveries], t.accepted[:accepted], bytes
		return nil
	}
	if err := t.conn.Exec("ROLLBACK; BEGIN IMMEDIATE"); err != nil {
		return err
	}
	t.reset()
	for _, k := range group[:len(group)-1] {
		if k.err != nil {
			continue
		}
		if err := k.run(t); err != nil {
			return fmt.Errorf("a command did not repeat: %w", err)
		}
	}
	return nil
}

// publish makes a durable group visible in memory, in commit order.
func (s *Store) publish(t *tx, n int, wrote bool) {
	s.w.lastID = t.lastID
	for id, end := range t.ends {
		s.w.ends.Put(id, end)
	}
	t.publishSessions()
	s.buffer.committed(t)
	if t.settings {
		s.ended.own.Add(1)
	}
	for _, f := range t.after {
		f()
	}
	if len(t.deliveries) > 0 && s.onCommit != nil {
		s.onCommit(t.deliveries)
	}
	s.hub.Committed(t.accepted)
	s.refusals.Committed(n, wrote && !s.w.diskFull)
}

// isStoreFault reports whether an error is one of SQLite and not the answer of a
// command. A row that a constraint refuses is the fault of the command alone.
func isStoreFault(err error) bool {
	var e *sqlite3.Error
	var c sqlite3.ErrorCode
	var x sqlite3.ExtendedErrorCode
	if errors.Is(err, sqlite3.CONSTRAINT) {
		return false
	}
	return errors.As(err, &e) || errors.As(err, &c) || errors.As(err, &x)
}

// storeFault turns an error of SQLite into the one that callers get. It stops the store
// when the file can no longer be trusted: after a failed sync it is unknown what is on
// the disk, so the store never tries again.
func (s *Store) storeFault(err error) error {
	switch {
	case isFull(err):
		return callbackd.Wrap(callbackd.KindUnavailable, err, "the disk is full: nothing was accepted; free some space and try again")
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED):
		return callbackd.Wrap(callbackd.KindUnavailable, err, "the database is held by another process; try again")
	case errors.Is(err, sqlite3.READONLY):
		return callbackd.Wrap(callbackd.KindUnavailable, err, "the data directory cannot be written; nothing was accepted")
	case errors.Is(err, sqlite3.IOERR), errors.Is(err, sqlite3.CORRUPT), errors.Is(err, sqlite3.NOTADB):
		s.fail(err)
		return s.failure()
	}
	return fmt.Errorf("store: %w", err)
}

// isFull reports whether err says that the disk is full. The index of the log is a
// mapped file, which can also find no space.
func isFull(err error) bool {
	return errors.Is(err, sqlite3.FULL) || errors.Is(err, sqlite3.IOERR_SHMSIZE)
}

func (s *Store) fail(err error) {
	s.failFor(callbackd.Wrap(callbackd.KindUnavailable, err, "the store failed and accepts nothing more; what was acknowledged is on disk, and callbackd has it after the next start"))
}

func (s *Store) failFor(err error) {
	s.failed.once.Do(func() {
		s.failed.err = err
		close(s.failed.closed)
	})
}

func (s *Store) failure() error {
	select {
	case <-s.failed.closed:
		return s.failed.err
	default:
		return nil
	}
}

// Failed is closed when the database file can no longer be trusted. The
// process should then end: a restart recovers from the log.
func (s *Store) Failed() <-chan struct{} { return s.failed.closed }

// Failure returns why Failed is closed; nil before.
func (s *Store) Failure() error { return s.failure() }

// deliver is write for commands that only the server may run: they accept events or
// record outcomes.
func (s *Store) deliver(ctx context.Context, run func(*tx) error) error {
	if s.dir.secondary {
		return errSecondary
	}
	return s.write(ctx, run)
}

// recordOutcome is write for outcomes.
func (s *Store) recordOutcome(ctx context.Context, j *job) error {
	if s.dir.secondary {
		return errSecondary
	}
	return s.do(ctx, j)
}

var errSecondary = errors.New("a database that was opened by a command accepts no events and no outcomes")
