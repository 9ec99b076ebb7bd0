-- Which events of each key retention has removed, so that a reader with an older cursor
-- learns about the gap. removals counts how often events were removed.
CREATE TABLE removed_events (
  key_no   INTEGER PRIMARY KEY,
  newest   INTEGER NOT NULL,            -- id of the newest event that was removed
  removals INTEGER NOT NULL
) STRICT;

-- The answers to calls with an idempotency key. The keys of published events are in the
-- table idempotency.
CREATE TABLE answers (
  key_no INTEGER NOT NULL,
  hash   BLOB    NOT NULL,              -- of method, path and idempotency key
  digest BLOB    NOT NULL,              -- of query and body
  at     INTEGER NOT NULL,              -- ms
  status INTEGER NOT NULL,
  answer BLOB    NOT NULL,              -- sealed, because it may contain a secret
  PRIMARY KEY (key_no, hash)
) WITHOUT ROWID, STRICT;
CREATE INDEX answers_by_time ON answers (at);
