-- Every time is in milliseconds since 1970 and comes in as a parameter.
-- Texts compare byte by byte: an index must not depend on a locale's rules.

-- Counts changes of keys and callbacks, in the order of their commits: its
-- row is locked until the change is durable. Nodes ask for what is newer than
-- what they know.
CREATE TABLE settings (
  one      boolean PRIMARY KEY DEFAULT true CHECK (one),
  revision bigint NOT NULL,
  canary   bytea                         -- opens with the right keyset only
);
INSERT INTO settings (revision) VALUES (0);

CREATE TABLE keys (
  no         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account    text COLLATE "C" NOT NULL,
  api_key    text COLLATE "C" NOT NULL UNIQUE,
  secret     bytea NOT NULL,             -- sealed
  name       text COLLATE "C" NOT NULL,
  live       boolean NOT NULL,
  created_at bigint NOT NULL,
  revoked_at bigint,
  revision   bigint NOT NULL
);
CREATE INDEX keys_by_revision ON keys (revision);
CREATE INDEX keys_revoked ON keys (no) WHERE revoked_at IS NOT NULL;

CREATE TABLE callbacks (
  no            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key_no        bigint NOT NULL,
  type          smallint NOT NULL,       -- the place in callbackd.EventTypes
  name          text COLLATE "C" NOT NULL,
  version       bigint NOT NULL,
  policy        text NOT NULL,
  secrets       bytea NOT NULL,          -- sealed
  created_at    bigint NOT NULL,
  updated_at    bigint NOT NULL,
  deleted_at    bigint,
  pause_reason  text NOT NULL DEFAULT '',
  paused_at     bigint,
  failing_since bigint,
  revision      bigint NOT NULL
);
CREATE UNIQUE INDEX callbacks_in_force ON callbacks (key_no, type, name) WHERE deleted_at IS NULL;
CREATE INDEX callbacks_by_key ON callbacks (key_no);
CREATE INDEX callbacks_by_revision ON callbacks (revision);
CREATE INDEX callbacks_deleted ON callbacks (no) WHERE deleted_at IS NOT NULL;

-- What was sent, for every attempt to point at.
CREATE TABLE callback_versions (
  callback_no bigint NOT NULL,
  version     bigint NOT NULL,
  url         text NOT NULL,
  method      text NOT NULL,
  headers     bytea NOT NULL,            -- sealed
  payload     bytea NOT NULL,
  at          bigint NOT NULL,
  PRIMARY KEY (callback_no, version)
);

-- The last number and the last id of each session. Locking the row orders
-- the session's events over all nodes.
CREATE TABLE session_sequences (
  key_no   bigint NOT NULL,
  session  text COLLATE "C" NOT NULL,
  sequence bigint NOT NULL,
  last_id  bigint NOT NULL,
  PRIMARY KEY (key_no, session)
) WITH (fillfactor = 80);

CREATE TABLE events (
  id       bigint PRIMARY KEY,           -- holds the time of acceptance
  key_no   bigint NOT NULL,
  type     smallint NOT NULL,
  session  text COLLATE "C" NOT NULL,
  sequence bigint NOT NULL,
  test     boolean NOT NULL,
  owed     bytea NOT NULL,               -- callback numbers as varints
  data     bytea NOT NULL
);
-- Within a session, id order is sequence order.
CREATE INDEX events_by_session ON events (key_no, session, id);
CREATE INDEX events_by_key ON events (key_no, id);

-- One row for each delivery that has not ended: in with the event, out with
-- the outcome. What is undelivered is what is here. Rows live for
-- milliseconds, so they are cleaned up by count, not by share of the table.
CREATE TABLE pending (
  callback_no     bigint NOT NULL,
  event_id        bigint NOT NULL,
  attempts        integer NOT NULL,
  step            integer NOT NULL,
  manual          boolean NOT NULL,
  first_failed_at bigint,
  due             bigint,                -- null: fresh
  holds_until     bigint,
  PRIMARY KEY (callback_no, event_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX pending_due ON pending (callback_no, due) WHERE due IS NOT NULL;
CREATE INDEX pending_holding ON pending (callback_no, holds_until) WHERE holds_until IS NOT NULL;

-- Append only. A delivery that was canceled gets a last row with version 0,
-- which is no attempt.
CREATE TABLE attempts (
  event_id    bigint NOT NULL,
  callback_no bigint NOT NULL,
  n           integer NOT NULL,
  version     bigint NOT NULL,
  state       text COLLATE "C" NOT NULL, -- of the delivery after the attempt
  detail      bytea NOT NULL,            -- everything else, as package codec writes it
  PRIMARY KEY (event_id, callback_no, n)
);
CREATE INDEX attempts_ended ON attempts (state, callback_no, event_id) WHERE state IN ('failed', 'canceled');

CREATE TABLE idempotency (
  key_no bigint NOT NULL,
  hash   bytea NOT NULL,                 -- of the scope and the idempotency key
  digest bytea NOT NULL,                 -- of what was asked
  first  bigint NOT NULL,                -- the first event of the answer
  events bytea NOT NULL,                 -- event ids, eight bytes each
  PRIMARY KEY (key_no, hash)
);
CREATE INDEX idempotency_by_event ON idempotency (first);
