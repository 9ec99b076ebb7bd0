-- Which events of each key retention has removed, so that a reader with an older cursor
-- learns about the gap. removals counts how often events were removed.
CREATE TABLE removed_events (
  key_no   bigint PRIMARY KEY,
  newest   bigint NOT NULL,              -- id of the newest event that was removed
  removals bigint NOT NULL
);

-- The answers to calls with an idempotency key. The keys of published events are in the
-- table idempotency.
CREATE TABLE answers (
  key_no bigint  NOT NULL,
  hash   bytea   NOT NULL,               -- of method, path and idempotency key
  digest bytea   NOT NULL,               -- of query and body
  at     bigint  NOT NULL,               -- ms
  status integer NOT NULL,
  answer bytea   NOT NULL,               -- sealed, because it may contain a secret
  PRIMARY KEY (key_no, hash)
);
CREATE INDEX answers_by_time ON answers (at);
