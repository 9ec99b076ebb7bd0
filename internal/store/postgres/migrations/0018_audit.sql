-- Who changed what. The entries of an API key are a chain: hash is of the entry and of the
-- hash before it. old_state and new_state are JSON, or NULL. A node of an older version
-- that runs during the upgrade writes no entries.
CREATE TABLE audit (
  key_no        bigint NOT NULL,  -- 0: no API key
  n             bigint NOT NULL,  -- from 1
  at            bigint NOT NULL,
  action        text NOT NULL,
  actor_kind    text NOT NULL,
  actor_name    text NOT NULL,
  actor_address text NOT NULL,
  subject       text NOT NULL,
  target        bigint NOT NULL,  -- the callback; 0: none
  old_state     bytea,
  new_state     bytea,
  hash          bytea NOT NULL,
  PRIMARY KEY (key_no, n)
);
CREATE INDEX audit_by_time ON audit (at, key_no, n);

-- The chains: the first and the last entry, the hashes before the first and of the last,
-- and a keyed hash of all this. A transaction that adds entries locks the row.
CREATE TABLE audit_chains (
  key_no     bigint PRIMARY KEY,
  first      bigint NOT NULL,
  last       bigint NOT NULL,
  start_hash bytea NOT NULL,
  head_hash  bytea NOT NULL,
  at         bigint,
  chains     bigint NOT NULL,  -- of key_no 0: how many others there are
  seal       bytea NOT NULL
) WITH (fillfactor = 50);

-- The key of the hashes, sealed.
CREATE TABLE audit_key (
  no     bigint PRIMARY KEY,
  sealed bytea NOT NULL
);
