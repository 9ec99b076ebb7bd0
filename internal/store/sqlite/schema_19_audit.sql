-- Who changed what. The entries of an API key are a chain: hash is of the entry and of the
-- hash before it. old_state and new_state are JSON, or NULL.
CREATE TABLE audit (
  key_no        INTEGER NOT NULL,  -- 0: no API key
  n             INTEGER NOT NULL,  -- from 1
  at            INTEGER NOT NULL,
  action        TEXT NOT NULL,
  actor_kind    TEXT NOT NULL,
  actor_name    TEXT NOT NULL,
  actor_address TEXT NOT NULL,
  subject       TEXT NOT NULL,
  target        INTEGER NOT NULL,  -- the callback; 0: none
  old_state     BLOB,
  new_state     BLOB,
  hash          BLOB NOT NULL,
  PRIMARY KEY (key_no, n)
) WITHOUT ROWID, STRICT;
CREATE INDEX audit_by_time ON audit (at, key_no, n);

-- The chains: the first and the last entry, the hashes before the first and of the last,
-- and a keyed hash of all this.
CREATE TABLE audit_chains (
  key_no     INTEGER PRIMARY KEY,
  first      INTEGER NOT NULL,
  last       INTEGER NOT NULL,
  start_hash BLOB NOT NULL,
  head_hash  BLOB NOT NULL,
  at         INTEGER,
  chains     INTEGER NOT NULL,  -- of key_no 0: how many others there are
  seal       BLOB NOT NULL
) STRICT;

-- The key of the hashes, sealed.
CREATE TABLE audit_key (
  no     INTEGER PRIMARY KEY,
  sealed BLOB NOT NULL
) STRICT;
