-- When an erasure removed the data of an event; null before.
ALTER TABLE events ADD COLUMN erased_at INTEGER;

CREATE TABLE erases (
  id          INTEGER PRIMARY KEY,      -- holds the time of creation
  key_no      INTEGER NOT NULL,
  selected_by TEXT NOT NULL,            -- a callbackd.EraseBy
  subject     TEXT NOT NULL,            -- the session key, or the keyed hash of another value
  dry_run     INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  ended_at    INTEGER,
  up_to       INTEGER NOT NULL,         -- the newest event that it covers
  phase       TEXT NOT NULL,            -- a callbackd.ErasePhase
  progress    TEXT NOT NULL,            -- JSON
  salt        BLOB,                     -- null at the end
  match       BLOB,                     -- the hash, with the salt, of the value; null at the end
  receipt     BLOB,                     -- null before the end
  CONSTRAINT erases_end CHECK ((ended_at IS NOT NULL) = (phase = 'done') AND (receipt IS NOT NULL) = (phase = 'done') AND (phase <> 'done' OR (salt IS NULL AND match IS NULL)))
) STRICT;
CREATE INDEX erases_by_key ON erases (key_no, id);
CREATE INDEX erases_open ON erases (id) WHERE ended_at IS NULL;

-- The sessions that a running erasure has found.
CREATE TABLE erase_sessions (
  erase_id INTEGER NOT NULL,
  session  TEXT NOT NULL,
  PRIMARY KEY (erase_id, session)
) WITHOUT ROWID, STRICT;
