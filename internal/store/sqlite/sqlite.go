// Package sqlite is the embedded driver of the store: one file, one writer,
// group commits, synced to disk before anything is acknowledged to a caller.
//
// The write-ahead log is synced at every commit (synchronous=FULL), except for
// commits of nothing but outcomes, which the next sync includes; with NORMAL a
// power cut loses acknowledged events. One goroutine owns the one
// connection that writes; a few query-only connections read. Deliveries that
// have not ended are rows of one small table, except those of the newest events:
// the events above a mark are in a buffer, which a start reads from the table of
// events. docs/decisions.md has the figures.
package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"
	"callbackd/internal/store/memo"
	"callbackd/internal/store/seal"
	"callbackd/internal/system"

	"github.com/ncruces/go-sqlite3"
)

// Files in the data directory.
const (
	dbFile     = "callbackd.db"
	lockFile   = "callbackd.lock"
	KeysetFile = "secret-keys.json"
	movedFile  = "callbackd.moved"
)

// Sizes of what is kept in memory, in entries if nothing else is said.
const (
	maxReaders       = 4
	maxSequences     = 1 << 16
	maxTargetsCached = 32 << 20 // bytes
	maxSessions      = 1 << 12
)

// Options says what to open.
type Options struct {
	Dir string // the data directory; made when missing
	// KeysetFile holds the keys that seal secrets; default secret-keys.json
	// in Dir.
	KeysetFile string
	// Secondary opens the database for a command while a server runs on it. No
	// lock on the directory is taken and none is needed. It takes no events
	// and no outcomes, because only the server has the buffer.
	Secondary bool
	Hooks     store.Hooks

	vfs         string // of the power-cut tests
	synchronous string // FULL; the tests' control runs without
	flushAt     int    // default flushAt; tests flush at once
	readers     int    // default maxReaders
}

// Store is an open database. See [store.Store] for its contract.
type Store struct {
	*core.Store // the commands that are not hot

	sealer   *seal.Sealer
	dir      directory
	readers  readerPool
	queues   queues
	failed   failed
	refusals store.Refusals
	reserve  reserve
	hub      store.Hub
	onCommit func([]callbackd.Delivery) // set before the first command
	buffer   *eventBuffer
	w        writerState
	keys     keyAge
	ended    endedBuffered
}

// directory is what is known of the data directory. It is set while the store is opened
// and does not change until it is closed.
type directory struct {
	path      string // of the database file
	secondary bool
	readOnly  error      // why nothing may be written; nil: it may
	locks     []*os.File // held until the end
	watched   []watched  // must stay in place
	newest    time.Time  // the time of the newest event at the start
}

// readerPool holds the connections that read. A goroutine that takes one from free is its
// only user.
type readerPool struct {
	free chan *db
	open int // how many there are; used by Open and Close only
}

// failed is set once, when the files can no longer be trusted. err may be read when the
// channel is closed.
type failed struct {
	closed chan struct{}
	once   sync.Once
	err    error
}

// writerState belongs to the goroutine of the writer alone, once the store is open.
type writerState struct {
	*db                              // the only connection that writes
	log             *logFile         // of db; nil in tests that sync less
	syncDue         <-chan time.Time // gets a value when the log must be synced; nil: it is
	versionDue      <-chan time.Time // gets a value when other processes' commits are looked for
	lastID          callbackd.EventID
	diskFull        bool // the reserve was given back, and what takes space is refused
	shortLog        bool // the disk was full, and there is no reserve since: the log is kept short
	checkpoint      checkpointer
	flushAt         int // the constant, except in tests, which also change checkpointPages
	checkpointPages int

	ends       *memo.Cache[store.SessionID, sessionEnd]
	candidates *memo.Sized[subject, *callbackd.Candidates]
	sessions   *memo.Cache[store.SessionID, core.SessionWork]
}

// keyAge says how old the cached API keys can be.
type keyAge struct {
	mu     sync.Mutex
	readAt time.Time // no cached key was read before

	version   int64     // SQLite's data version of the writer, which others' commits change
	known     int64     // the version when keys were dropped last
	checkedAt time.Time // before the transaction in which version was read
	askedAt   time.Time // when a key was asked for last
}

var _ store.Store = (*Store)(nil)

// subject is what callbacks are registered for.
type subject struct {
	key callbackd.KeyID
	typ callbackd.EventType
}

// Open opens the database in o.Dir, making it when it is not there.
func Open(_ context.Context, o Options) (*Store, error) {
	if err := system.MakeDir(o.Dir); err != nil {
		return nil, unusable(o.Dir, err)
	}
	s := newStore(o)
	if _, err := os.Stat(filepath.Join(o.Dir, movedFile)); err == nil {
		if s.dir.readOnly = movedError(o.Dir); !o.Secondary {
			return nil, callbackd.Errorf(callbackd.KindSetting, "%s", s.dir.readOnly)
		}
	}
	if err := s.open(o); err != nil {
		return nil, errors.Join(err, s.release())
	}
	go s.writer(s.newTx())
	return s, nil
}

func newStore(o Options) *Store {
	return &Store{
		readers:  readerPool{free: make(chan *db, maxReaders)},
		queues:   newQueues(),
		failed:   failed{closed: make(chan struct{})},
		refusals: store.Refusals{Hooks: o.Hooks},
		buffer:   newEventBuffer(),
		w: writerState{
			ends:       memo.New[store.SessionID, sessionEnd](maxSequences),
			candidates: newTargetsCache(),
			sessions:   memo.New[store.SessionID, core.SessionWork](maxSessions),
		},
	}
}

func (s *Store) newTx() *tx {
	return &tx{db: s.w.db, s: s, ends: map[store.SessionID]sessionEnd{}, sessions: map[store.SessionID]core.SessionWork{}, moved: map[callbackd.DeliveryID]bool{}, counts: map[string]int{}}
}

// open opens the database in its steps: the files, the schema, the secrets, what is
// held in memory, and the connections that read.
func (s *Store) open(o Options) error {
	path := filepath.Join(o.Dir, dbFile)
	s.dir.path = path
	if o.vfs == "" {
		if err := s.takeDir(o, path); err != nil {
			return err
		}
	}
	o.synchronous = cmp.Or(o.synchronous, "FULL")
	o.KeysetFile = cmp.Or(o.KeysetFile, filepath.Join(o.Dir, KeysetFile))
	dsn := uri(path, cmp.Or(o.vfs, vfsName))
	created, err := s.openWriter(o, dsn)
	if err != nil {
		return err
	}
	if err := s.openSecrets(o, path); err != nil {
		return err
	}
	if err := s.load(o, dsn); err != nil {
		return err
	}
	if err := s.openReaders(dsn, cmp.Or(o.readers, maxReaders)); err != nil {
		return err
	}
	if o.vfs != "" {
		return nil
	}
	for _, suffix := range sideFiles {
		if created { // SQLite has created new ones
			copyMode(path+suffix, path)
		}
	}
	if o.Secondary {
		return nil
	}
	return s.watch(path)
}

// openWriter opens the connection that writes and brings the schema up to date.
// created reports whether the database was empty.
func (s *Store) openWriter(o Options, dsn string) (created bool, err error) {
	if s.w.db, err = openDB(dsn, "busy_timeout=5000"); err != nil {
		return false, unusable(o.Dir, err)
	}
	have, err := identify(s.w.db, o.Dir)
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(filepath.Join(o.Dir, KeysetFile)); err == nil && have == 0 {
		return false, lostDatabase(o.Dir, "empty")
	}
	err = s.w.pragmas("journal_mode=WAL", "synchronous="+o.synchronous, "wal_autocheckpoint=0",
		"journal_size_limit=67108864", "secure_delete=ON", "cache_size=-16384", "foreign_keys=OFF", "temp_store=MEMORY")
	if err != nil {
		return false, unusable(o.Dir, err)
	}
	if !o.Secondary {
		if err := s.truncateLog(); err != nil {
			return false, err
		}
	}
	return have == 0, s.migrate()
}

// openSecrets opens the keyset, or makes it when the database has no key yet, and
// proves that it opens the secrets there.
func (s *Store) openSecrets(o Options, path string) error {
	var keys bool
	err := s.w.query("SELECT EXISTS (SELECT 1 FROM keys)", func(st *sqlite3.Stmt) error { keys = st.ColumnBool(0); return nil })
	if err != nil {
		return err
	}
	_, missing := os.Stat(o.KeysetFile)
	if s.sealer, err = seal.Open(o.KeysetFile, !keys); err != nil {
		return err
	}
	s.Store = core.New(seam{s}, &dialect, s.sealer)
	types, err := core.ReadEventTypes(s.w.db)
	if err != nil {
		return err
	}
	s.EventTypes.Set(types)
	if err := s.checkKeyset(s.w.db); err != nil {
		return err
	}
	if missing != nil && o.vfs == "" && filepath.Dir(o.KeysetFile) == filepath.Clean(o.Dir) {
		copyMode(o.KeysetFile, path)
	}
	return nil
}

// load reads what the writer keeps in memory: the newest id and the buffer.
func (s *Store) load(o Options, dsn string) (err error) {
	err = s.w.query("SELECT max(id) FROM events", func(st *sqlite3.Stmt) error {
		s.w.lastID = callbackd.EventID(st.ColumnInt64(0))
		return nil
	})
	if err != nil {
		return err
	}
	s.dir.newest = s.w.lastID.Time()
	s.w.flushAt = cmp.Or(o.flushAt, flushAt)
	s.w.checkpointPages, s.w.checkpoint.done = checkpointPages, make(chan error, 1)
	if o.synchronous == "FULL" {
		if s.w.log, err = logOf(s.w.conn); err != nil {
			return err
		}
	}
	s.w.conn.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error { s.w.checkpoint.pages = pages; return nil })
	if s.w.checkpoint.db, err = openDB(dsn, "synchronous="+o.synchronous); err != nil {
		return err
	}
	if s.dir.secondary = o.Secondary; s.dir.secondary {
		return nil
	}
	if err := s.loadBuffer(); err != nil {
		return fmt.Errorf("read the events that were not flushed: %w", err)
	}
	if err := s.recount(); err != nil {
		return fmt.Errorf("count the pending deliveries: %w", err)
	}
	return nil
}

// openReaders opens n connections that read.
func (s *Store) openReaders(dsn string, n int) error {
	for range n {
		r, err := openDB(dsn, "busy_timeout=5000", "query_only=ON", "cache_size=-2048")
		if err != nil {
			return err
		}
		s.readers.free <- r
		s.readers.open++
	}
	return nil
}

// takeDir makes the files of the database that do not exist, all with one mode and one
// owner, and locks them.
func (s *Store) takeDir(o Options, path string) error {
	_, err := os.Stat(filepath.Join(o.Dir, KeysetFile))
	if size(path) == 0 && size(path+"-wal") == 0 && err == nil {
		how := "empty"
		if _, err := os.Stat(path); err != nil {
			how = "missing"
		}
		return lostDatabase(o.Dir, how)
	}
	if err := createLike(path, o.Dir); err != nil {
		return unusable(o.Dir, err)
	}
	if o.Secondary {
		err = s.lockCommand(o.Dir)
	} else if err = createLike(filepath.Join(o.Dir, lockFile), path); err == nil {
		copyMode(filepath.Join(o.Dir, lockFile), path)
		if err = s.lockServer(o.Dir); err == nil {
			s.startOnFullDisk(o.Dir)
		}
	}
	for _, suffix := range sideFiles {
		if err == nil {
			err = createLike(path+suffix, path)
		}
		if err == nil && !o.Secondary {
			copyMode(path+suffix, path)
		}
	}
	if err != nil && callbackd.KindOf(err) == callbackd.KindInternal {
		return unusable(o.Dir, err)
	}
	return err
}

// uri returns the name of a file as a URI of SQLite. It escapes the three characters that
// have a meaning there.
func uri(path, vfs string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) + "?vfs=" + vfs
}

// truncateLog moves the content of the log into the database file before anything is
// added. After a failed sync, the log may read back correctly from the kernel's cache but
// have holes on the disk, which no later sync fills. A power cut would lose a commit that
// is appended behind such a hole.
func (s *Store) truncateLog() error {
	_, _, err := s.w.conn.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
	if errors.Is(err, sqlite3.BUSY) {
		return fmt.Errorf("another process reads the database: wait until `callbackd fsck` or a backup is done, and start again: %w", err)
	}
	if errors.Is(err, sqlite3.FULL) {
		return fmt.Errorf("the disk is full: the database's log holds what must come into its file before a start; free %d MiB and start again: %w", reserveSize>>20, err)
	}
	if err != nil {
		return fmt.Errorf("recover the database from its log: %w", err)
	}
	return nil
}

// read runs f on a query-only connection within one snapshot.
func (s *Store) read(ctx context.Context, f func(*db) error) error {
	var d *db
	select {
	case d = <-s.readers.free:
	case <-s.queues.closing:
		return store.ErrStopping
	case <-ctx.Done():
		return store.Busy(ctx.Err())
	}
	defer func() { s.readers.free <- d }()
	if err := d.query("BEGIN", nil); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	err := f(d)
	if end := d.query("ROLLBACK", nil); end != nil {
		err = errors.Join(err, end)
	}
	return err
}

// checkKeyset proves that the secrets are sealed with this keyset.
func (s *Store) checkKeyset(d *db) error {
	return d.query("SELECT api_key, secret FROM keys ORDER BY no DESC LIMIT 1", func(st *sqlite3.Stmt) error {
		if _, err := s.sealer.OpenKey(st.ColumnRawBlob(1), st.ColumnText(0)); err != nil {
			return callbackd.Wrap(callbackd.KindSetting, err, "the keyset is not the one that this database is sealed with: put the right one back, or name it with --secret-keys")
		}
		return nil
	})
}

// Newest returns the time in the id of the event that was the newest at the start.
func (s *Store) Newest() time.Time { return s.dir.newest }

// OnCommit is part of [store.Queue].
func (s *Store) OnCommit(f func([]callbackd.Delivery)) { s.onCommit = f }

// Close is part of [store.Store].
func (s *Store) Close() error {
	s.queues.closeOnce.Do(func() { close(s.queues.closing) })
	<-s.queues.writerDone
	return s.release()
}

func (s *Store) release() error {
	var errs []error
	for ; s.readers.open > 0; s.readers.open-- {
		errs = append(errs, (<-s.readers.free).close()) // waits for the reads under way
	}
	if s.w.checkpoint.db != nil {
		errs = append(errs, s.w.checkpoint.db.close())
		s.w.checkpoint.db = nil
	}
	if s.w.db != nil {
		errs = append(errs, s.syncLog())
		if s.failure() == nil {
			s.w.conn.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE) // best effort: the log is as durable
			s.w.conn.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, false)   // and removes it
		}
		errs = append(errs, s.w.close())
		s.w.db = nil
	}
	errs = append(errs, s.unlock())
	return errors.Join(errs...)
}
