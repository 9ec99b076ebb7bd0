-- When an erasure removed the data of an event; null before.
ALTER TABLE events ADD COLUMN erased_at bigint;

CREATE TABLE erases (
  id          bigint PRIMARY KEY,        -- holds the time of creation
  key_no      bigint NOT NULL,
  selected_by text COLLATE "C" NOT NULL, -- a callbackd.EraseBy
  subject     text COLLATE "C" NOT NULL, -- the session key, or the keyed hash of another value
  dry_run     boolean NOT NULL,
  created_at  bigint NOT NULL,
  ended_at    bigint,
  up_to       bigint NOT NULL,           -- the newest event that it covers
  phase       text COLLATE "C" NOT NULL, -- a callbackd.ErasePhase
  progress    text NOT NULL,             -- JSON
  salt        bytea,                     -- null at the end
  match       bytea,                     -- the hash, with the salt, of the value; null at the end
  receipt     bytea,                     -- null before the end
  CONSTRAINT erases_end CHECK ((ended_at IS NOT NULL) = (phase = 'done') AND (receipt IS NOT NULL) = (phase = 'done') AND (phase <> 'done' OR (salt IS NULL AND match IS NULL)))
) WITH (fillfactor = 50);
CREATE INDEX erases_by_key ON erases (key_no, id);
CREATE INDEX erases_open ON erases (id) WHERE ended_at IS NULL;

-- The sessions that a running erasure has found.
CREATE TABLE erase_sessions (
  erase_id bigint NOT NULL,
  session  text COLLATE "C" NOT NULL,
  PRIMARY KEY (erase_id, session)
);
