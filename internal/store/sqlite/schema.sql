-- Some columns keep an older name than the code has: no is an ID, owed are an event's
-- targets, owed_later its late targets, and mark is the last flushed event. A command of
-- a new version upgrades the database of a server of an older one, which would fail if a
-- column were renamed. The PostgreSQL driver has the same names, because both drivers
-- share statements (docs/decisions.md).

CREATE TABLE keys (
  no         INTEGER PRIMARY KEY,
  account    TEXT NOT NULL,
  api_key    TEXT NOT NULL UNIQUE,
  secret     BLOB NOT NULL,             -- sealed
  name       TEXT NOT NULL,
  live       INTEGER NOT NULL,
  created_at INTEGER NOT NULL,          -- every time is in milliseconds since 1970
  revoked_at INTEGER
) STRICT;

CREATE TABLE callbacks (
  no            INTEGER PRIMARY KEY,
  key_no        INTEGER NOT NULL,
  type          INTEGER NOT NULL,       -- the place in callbackd.EventTypes
  name          TEXT NOT NULL,
  version       INTEGER NOT NULL,
  policy        TEXT NOT NULL,
  secrets       BLOB NOT NULL,          -- sealed
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL,
  deleted_at    INTEGER,
  pause_reason  TEXT NOT NULL DEFAULT '',
  paused_at     INTEGER,
  failing_since INTEGER
) STRICT;
CREATE UNIQUE INDEX callbacks_in_force ON callbacks (key_no, type, name) WHERE deleted_at IS NULL;
CREATE INDEX callbacks_by_key ON callbacks (key_no);
CREATE INDEX callbacks_deleted ON callbacks (no) WHERE deleted_at IS NOT NULL;

-- The versions of a callback's setting. Each attempt refers to the one that it sent.
CREATE TABLE callback_versions (
  callback_no INTEGER NOT NULL,
  version     INTEGER NOT NULL,
  url         TEXT NOT NULL,
  method      TEXT NOT NULL,
  headers     BLOB NOT NULL,            -- sealed
  payload     BLOB NOT NULL,
  at          INTEGER NOT NULL,
  PRIMARY KEY (callback_no, version)
) WITHOUT ROWID, STRICT;

CREATE TABLE events (
  id       INTEGER PRIMARY KEY,         -- holds the time of acceptance
  key_no   INTEGER NOT NULL,
  type     INTEGER NOT NULL,
  session  TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  test     INTEGER NOT NULL,
  owed     BLOB NOT NULL,               -- the targets: IDs of callbacks as varints
  data     BLOB NOT NULL
) STRICT;

-- The indexes of the flushed events. They are tables because the buffer writes them in
-- bulk and in order; buffer.go has the details.
CREATE TABLE session_events (
  key_no   INTEGER NOT NULL,
  session  TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  id       INTEGER NOT NULL,
  PRIMARY KEY (key_no, session, sequence)
) WITHOUT ROWID, STRICT;
CREATE TABLE key_events (
  key_no INTEGER NOT NULL,
  id     INTEGER NOT NULL,
  PRIMARY KEY (key_no, id)
) WITHOUT ROWID, STRICT;

CREATE TABLE meta (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  mark INTEGER NOT NULL                 -- the last event that was flushed
) STRICT;
INSERT INTO meta VALUES (1, 0);

-- One row for each delivery that has not ended. Deliveries of events that are not flushed
-- yet (above meta.mark) get their row with the flush or the first attempt. Until then a
-- delivery without a row and without an attempt is pending too.
CREATE TABLE pending (
  callback_no     INTEGER NOT NULL,
  event_id        INTEGER NOT NULL,
  session         TEXT NOT NULL,
  sequence        INTEGER NOT NULL,
  test            INTEGER NOT NULL,
  attempts        INTEGER NOT NULL,
  step            INTEGER NOT NULL,
  manual          INTEGER NOT NULL,
  first_failed_at INTEGER,
  due             INTEGER,              -- null before the first attempt
  holds_until     INTEGER,
  PRIMARY KEY (callback_no, event_id)
) WITHOUT ROWID, STRICT;
CREATE INDEX pending_by_lane ON pending (callback_no, session, event_id);
CREATE INDEX pending_due ON pending (callback_no, due) WHERE due IS NOT NULL;
CREATE INDEX pending_holding ON pending (callback_no, holds_until) WHERE holds_until IS NOT NULL;

-- Rows are never changed. A delivery that was canceled gets a last row with version 0,
-- which is not an attempt.
CREATE TABLE attempts (
  event_id    INTEGER NOT NULL,
  callback_no INTEGER NOT NULL,
  n           INTEGER NOT NULL,
  version     INTEGER NOT NULL,
  state       TEXT NOT NULL,            -- of the delivery after the attempt
  detail      BLOB NOT NULL,            -- everything else; attempt.go has its form
  PRIMARY KEY (event_id, callback_no, n)
) WITHOUT ROWID, STRICT;
CREATE INDEX attempts_ended ON attempts (state, callback_no, event_id) WHERE state IN ('failed', 'canceled');

CREATE TABLE idempotency (
  key_no INTEGER NOT NULL,
  hash   BLOB NOT NULL,                 -- of the scope and the idempotency key
  digest BLOB NOT NULL,                 -- of the request
  first  INTEGER NOT NULL,              -- the first event of the answer
  events BLOB NOT NULL,                 -- event ids, eight bytes each
  PRIMARY KEY (key_no, hash)
) WITHOUT ROWID, STRICT;
CREATE INDEX idempotency_by_event ON idempotency (first);
