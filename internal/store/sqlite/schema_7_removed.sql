-- What retention took of the events of each key, so that a reader whose cursor
-- is older is told. removals counts the times.
CREATE TABLE removed_events (
  key_no   INTEGER PRIMARY KEY,
  newest   INTEGER NOT NULL,            -- id of the newest event that was removed
  removals INTEGER NOT NULL
) STRICT;

-- The answers that idempotency keys of calls stand for. Those of published
-- events are in idempotency.
CREATE TABLE answers (
  key_no INTEGER NOT NULL,
  hash   BLOB    NOT NULL,              -- of method, path and idempotency key
  digest BLOB    NOT NULL,              -- of query and body
  at     INTEGER NOT NULL,              -- ms
  status INTEGER NOT NULL,
  answer BLOB    NOT NULL,              -- sealed, for it may hold a secret
  PRIMARY KEY (key_no, hash)
) WITHOUT ROWID, STRICT;
CREATE INDEX answers_by_time ON answers (at);
