-- What retention took of the events of each key, so that a reader whose cursor
-- is older is told. removals counts the times.
CREATE TABLE removed_events (
  key_no   bigint PRIMARY KEY,
  newest   bigint NOT NULL,              -- id of the newest event that was removed
  removals bigint NOT NULL
);

-- The answers that idempotency keys of calls stand for. Those of published
-- events are in idempotency.
CREATE TABLE answers (
  key_no bigint  NOT NULL,
  hash   bytea   NOT NULL,               -- of method, path and idempotency key
  digest bytea   NOT NULL,               -- of query and body
  at     bigint  NOT NULL,               -- ms
  status integer NOT NULL,
  answer bytea   NOT NULL,               -- sealed, for it may hold a secret
  PRIMARY KEY (key_no, hash)
);
CREATE INDEX answers_by_time ON answers (at);
