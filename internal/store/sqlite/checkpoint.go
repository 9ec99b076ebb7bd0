package sqlite

import (
	"errors"

	"github.com/ncruces/go-sqlite3"
)

// checkpointPages is how long the log gets before it is copied into the
// database file: 8 MiB.
const checkpointPages = 2000

// longestLog is how long the log may get, as a multiple of checkpointPages, before the
// writer makes it start over.
const longestLog = 4

// checkpointer copies the log into the database file while the writer goes on. If the
// writer copied it, all commands would wait: at a thousand events a second, the slowest
// 1% of them would wait for the copy. The log starts over only when all of it is copied.
// So from time to time the writer itself copies the pages that were written during the
// copy, and waits for the sync of the database file.
type checkpointer struct {
	db      *db
	pages   int // of the log, after the last commit
	before  int // the same, after the commit before
	at      int // when the log did not start over: its length at the next try
	running bool
	done    chan error // the result of a copy that has ended
}

// checkpoint starts a copy when the log is long enough. The writer calls it after each
// commit.
func (s *Store) checkpoint() {
	c := &s.w.checkpoint
	if c.pages < c.before {
		c.at = 0
	}
	c.before = c.pages
	if c.running {
		select {
		case err := <-c.done:
			c.running = false
			s.checkpointed(err)
			if err == nil && s.failure() == nil && (s.w.shortLog || c.pages >= longestLog*s.w.checkpointPages) {
				s.checkpointed(passive(s.w.db))
			}
			c.at = c.pages + s.longLog()
		default:
		}
		return
	}
	if c.pages >= max(c.at, s.longLog()) {
		c.running = true
		go func() { c.done <- passive(c.db) }()
	}
}

// longLog returns at how many pages of the log a checkpoint begins.
func (s *Store) longLog() int {
	if s.w.shortLog && s.reserve.has() {
		s.w.shortLog = false
	}
	if s.w.shortLog {
		return min(s.w.checkpointPages, fullCheckpointPages)
	}
	return s.w.checkpointPages
}

func passive(d *db) error {
	_, _, err := d.conn.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
	return err
}

// cutLog copies all of the log into the database file and cuts it off. It runs on the
// writer's goroutine and waits for nobody: it fails with BUSY while a reader needs the log.
func (s *Store) cutLog() error {
	s.awaitCheckpoint()
	if err := s.failure(); err != nil {
		return err
	}
	_, _, err := s.w.conn.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
	s.checkpointed(err)
	s.w.checkpoint.pages = 0
	return err
}

// checkpointed handles the error of a checkpoint. Pages that could not be copied are
// still in the log, so the copy is tried again. A file that can no longer be trusted ends
// the store.
func (s *Store) checkpointed(err error) {
	if err != nil && !errors.Is(err, sqlite3.BUSY) && !errors.Is(err, sqlite3.LOCKED) {
		s.storeFault(err)
	}
}

// awaitCheckpoint waits for a running checkpoint. The writer calls it before it ends.
func (s *Store) awaitCheckpoint() {
	if s.w.checkpoint.running {
		s.checkpointed(<-s.w.checkpoint.done)
		s.w.checkpoint.running = false
	}
}
