ALTER TABLE keys ADD COLUMN time_frame INTEGER NOT NULL DEFAULT 604800000; -- milliseconds: 7 days

-- One row for each session. Fields that no query needs are in the document.
CREATE TABLE sessions (
  no         INTEGER PRIMARY KEY,
  key_no     INTEGER NOT NULL,
  session    TEXT NOT NULL,
  status     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  ended_at   INTEGER,                   -- null until the status is final
  due        INTEGER,                   -- when time changes the session next
  search     TEXT NOT NULL,             -- session key, VIN and reference in upper case
  reference  BLOB,
  results    BLOB,
  document   BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX sessions_by_key ON sessions (key_no, session);
CREATE INDEX sessions_by_time ON sessions (key_no, created_at, session);
CREATE INDEX sessions_by_status ON sessions (key_no, status, created_at, session);
CREATE INDEX sessions_due ON sessions (due) WHERE due IS NOT NULL;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE session_notes (
  session_no  INTEGER NOT NULL,
  n           INTEGER NOT NULL,
  title       TEXT NOT NULL,
  description TEXT NOT NULL,
  inserted_by TEXT NOT NULL,
  inserted_at INTEGER NOT NULL,
  PRIMARY KEY (session_no, n)
) WITHOUT ROWID, STRICT;
