-- The deliveries of replays have an index of their own.
ALTER TABLE pending ADD COLUMN replay INTEGER NOT NULL DEFAULT 0;
DROP INDEX pending_due;
CREATE INDEX pending_due ON pending (callback_no, due) WHERE due IS NOT NULL AND replay = 0;
CREATE INDEX pending_replayed ON pending (callback_no, due) WHERE replay != 0;
CREATE INDEX pending_untried ON pending (replay, callback_no) WHERE replay != 0 AND first_failed_at IS NULL;

-- The late targets of an event: callbacks that a replay added after the event was
-- accepted.
CREATE TABLE owed_later (
  event_id    INTEGER NOT NULL,
  callback_no INTEGER NOT NULL,
  PRIMARY KEY (event_id, callback_no)
) WITHOUT ROWID, STRICT;
CREATE INDEX owed_later_by_callback ON owed_later (callback_no, event_id);

CREATE TABLE replays (
  id         INTEGER PRIMARY KEY,       -- holds the time of creation
  key_no     INTEGER NOT NULL,
  filter     TEXT NOT NULL,
  rate       REAL NOT NULL,
  state      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  ended_at   INTEGER,
  next_due   INTEGER,                   -- the rate allows no step before it
  total      INTEGER NOT NULL,
  due        INTEGER NOT NULL DEFAULT 0,
  skipped    INTEGER NOT NULL DEFAULT 0,
  created    INTEGER NOT NULL DEFAULT 0,
  delivered  INTEGER NOT NULL DEFAULT 0,
  failed     INTEGER NOT NULL DEFAULT 0,
  canceled   INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX replays_by_key ON replays (key_no, id);
CREATE INDEX replays_open ON replays (id) WHERE state IN ('running', 'paused');

-- The set of a replay by callback, so that a receiver that is down delays only its own
-- part: the progress, and the events in chunks.
CREATE TABLE replay_parts (
  replay_id   INTEGER NOT NULL,
  callback_no INTEGER NOT NULL,
  total       INTEGER NOT NULL,
  done        INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (replay_id, callback_no)
) WITHOUT ROWID, STRICT;
CREATE TABLE replay_events (
  replay_id   INTEGER NOT NULL,
  callback_no INTEGER NOT NULL,
  chunk       INTEGER NOT NULL,
  ids         BLOB NOT NULL,            -- ascending, as varints of the differences
  PRIMARY KEY (replay_id, callback_no, chunk)
) WITHOUT ROWID, STRICT;

CREATE TABLE logs (
  key_no   INTEGER NOT NULL,
  id       INTEGER NOT NULL,            -- holds the time
  method   TEXT NOT NULL,
  path     TEXT NOT NULL,
  status   INTEGER NOT NULL,
  duration INTEGER NOT NULL,            -- microseconds
  message  TEXT NOT NULL,
  address  TEXT NOT NULL,
  count    INTEGER NOT NULL,            -- 0: one call
  PRIMARY KEY (key_no, id)
) WITHOUT ROWID, STRICT;

-- Counters by subject: 0 is everything, 1 a key, 2 a callback.
CREATE TABLE slots (
  subject   INTEGER NOT NULL,
  no        INTEGER NOT NULL,
  width     INTEGER NOT NULL,           -- milliseconds
  at        INTEGER NOT NULL,
  delivered INTEGER NOT NULL,
  failed    INTEGER NOT NULL,
  canceled  INTEGER NOT NULL,
  attempts  INTEGER NOT NULL,
  faults    INTEGER NOT NULL,
  repeats   INTEGER NOT NULL,
  latency   BLOB NOT NULL,              -- counts of store.Latency as varints
  PRIMARY KEY (subject, no, width, at)
) WITHOUT ROWID, STRICT;
CREATE INDEX slots_by_age ON slots (width, at);

CREATE TABLE receivers (
  callback_no    INTEGER PRIMARY KEY,
  last_success   INTEGER,
  last_failure   INTEGER,
  last_fault     TEXT NOT NULL DEFAULT '',
  last_status    INTEGER NOT NULL DEFAULT 0,
  cert_not_after INTEGER
) STRICT;
CREATE INDEX receivers_cert ON receivers (cert_not_after) WHERE cert_not_after IS NOT NULL;
CREATE INDEX callbacks_paused ON callbacks (no) WHERE pause_reason != '' AND deleted_at IS NULL;
CREATE INDEX callbacks_failing ON callbacks (no) WHERE failing_since IS NOT NULL AND deleted_at IS NULL;
