-- Some columns keep an older name than the code has: no is an ID, owed are an event's
-- targets, owed_later its late targets, and stamp is a write token. Nodes of two versions
-- work on one database during an upgrade, and the older ones would fail if a column were
-- renamed. The SQLite driver has the same names, because both drivers share statements
-- (docs/decisions.md).
--
-- Times are in milliseconds since 1970, and are parameters. Texts are compared byte by
-- byte, because an index must not depend on the rules of a locale.

-- revision counts the changes of keys and callbacks in the order of their commits, because
-- the row is locked until the change is durable. Nodes read the changes that are newer
-- than the revision that they know.
CREATE TABLE settings (
  one      boolean PRIMARY KEY DEFAULT true CHECK (one),
  revision bigint NOT NULL,
  canary   bytea                         -- can be opened with the right keyset only
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
  time_frame bigint NOT NULL,            -- milliseconds
  old_secret bytea,                      -- from before a rotation, sealed
  old_until  bigint,
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
CREATE INDEX callbacks_paused ON callbacks (no) WHERE pause_reason <> '' AND deleted_at IS NULL;
CREATE INDEX callbacks_failing ON callbacks (no) WHERE failing_since IS NOT NULL AND deleted_at IS NULL;

-- The versions of a callback's setting. Each attempt refers to the one that it sent.
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

-- The last number and the last id of each session. The lock of the row keeps the
-- session's events in order over all nodes.
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
  owed     bytea NOT NULL,               -- the targets: IDs of callbacks as varints
  data     bytea NOT NULL
);
-- Within a session, id order is sequence order.
CREATE INDEX events_by_session ON events (key_no, session, id);
CREATE INDEX events_by_key ON events (key_no, id);

-- One row for each delivery that has not ended. It is inserted with the event and deleted
-- with the last outcome. Most rows exist for milliseconds, so vacuum goes by their number
-- and not by their share of the table.
CREATE TABLE pending (
  callback_no     bigint NOT NULL,
  event_id        bigint NOT NULL,
  attempts        integer NOT NULL,
  step            integer NOT NULL,
  manual          boolean NOT NULL,
  first_failed_at bigint,
  due             bigint,                -- null before the first attempt
  holds_until     bigint,
  replay          bigint NOT NULL DEFAULT 0, -- the replay that made it due
  PRIMARY KEY (callback_no, event_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX pending_due ON pending (callback_no, due) WHERE due IS NOT NULL AND replay = 0;
CREATE INDEX pending_replayed ON pending (callback_no, due, event_id) WHERE replay <> 0;
CREATE INDEX pending_untried ON pending (replay, callback_no) WHERE replay <> 0 AND first_failed_at IS NULL;
CREATE INDEX pending_holding ON pending (callback_no, holds_until) WHERE holds_until IS NOT NULL;

-- Rows are never changed. A delivery that was canceled gets a last row with version 0,
-- which is not an attempt.
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
  digest bytea NOT NULL,                 -- of the request
  first  bigint NOT NULL,                -- the first event of the answer
  events bytea NOT NULL,                 -- event ids, eight bytes each
  PRIMARY KEY (key_no, hash)
);
CREATE INDEX idempotency_by_event ON idempotency (first);

-- The horizon of each stripe, which is a share of the keys: no event with an id up to it
-- is committed any more. after.go has the details.
CREATE TABLE horizons (
  stripe smallint PRIMARY KEY,
  id     bigint NOT NULL
);
INSERT INTO horizons SELECT g, 0 FROM generate_series(0, 15) g;

-- The late targets of an event: callbacks that a replay added after the event was
-- accepted.
CREATE TABLE owed_later (
  event_id    bigint NOT NULL,
  callback_no bigint NOT NULL,
  PRIMARY KEY (event_id, callback_no)
);

-- One row for each session. Fields that no query needs are in the document.
CREATE TABLE sessions (
  no         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key_no     bigint NOT NULL,
  session    text COLLATE "C" NOT NULL,
  status     text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  ended_at   bigint,                     -- null until the status is final
  due        bigint,                     -- when time changes the session next
  search     bytea NOT NULL,             -- session key, VIN and reference in upper case
  reference  bytea,
  results    bytea,
  document   bytea NOT NULL,
  stamp      bigint NOT NULL             -- the write token of the last commit
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX sessions_by_key ON sessions (key_no, session);
CREATE INDEX sessions_by_time ON sessions (key_no, created_at, session);
CREATE INDEX sessions_by_status ON sessions (key_no, status, created_at, session);
CREATE INDEX sessions_due ON sessions (due) WHERE due IS NOT NULL;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- Texts of people are bytea, because they may contain what the type text refuses.
CREATE TABLE session_notes (
  session_no  bigint NOT NULL,
  n           integer NOT NULL,
  title       bytea NOT NULL,
  description bytea NOT NULL,
  inserted_by bytea NOT NULL,
  inserted_at bigint NOT NULL,
  PRIMARY KEY (session_no, n)
);

CREATE TABLE replays (
  id         bigint PRIMARY KEY,         -- holds the time of creation
  key_no     bigint NOT NULL,
  filter     text NOT NULL,
  rate       double precision NOT NULL,
  state      text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  ended_at   bigint,
  next_due   bigint,                     -- the rate allows no step before it
  total      bigint NOT NULL,
  due        bigint NOT NULL DEFAULT 0,
  skipped    bigint NOT NULL DEFAULT 0,
  created    bigint NOT NULL DEFAULT 0,
  delivered  bigint NOT NULL DEFAULT 0,
  failed     bigint NOT NULL DEFAULT 0,
  canceled   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE INDEX replays_by_key ON replays (key_no, id);
CREATE INDEX replays_open ON replays (id) WHERE state IN ('running', 'paused');

-- The set of a replay by callback, so that a receiver that is down delays only its own
-- part: the progress, and the events as package codec writes them.
CREATE TABLE replay_parts (
  replay_id   bigint NOT NULL,
  callback_no bigint NOT NULL,
  total       bigint NOT NULL,
  done        bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (replay_id, callback_no)
);
CREATE TABLE replay_events (
  replay_id   bigint NOT NULL,
  callback_no bigint NOT NULL,
  chunk       bigint NOT NULL,
  ids         bytea NOT NULL,
  PRIMARY KEY (replay_id, callback_no, chunk)
);

CREATE TABLE logs (
  key_no   bigint NOT NULL,
  id       bigint NOT NULL,              -- holds the time
  method   bytea NOT NULL,
  path     bytea NOT NULL,
  status   integer NOT NULL,
  duration bigint NOT NULL,              -- microseconds
  message  bytea NOT NULL,
  address  bytea NOT NULL,
  count    bigint NOT NULL,              -- 0: one call
  PRIMARY KEY (key_no, id)
);

-- Counters by subject: 0 is everything, 1 a key, 2 a callback.
CREATE TABLE slots (
  subject   smallint NOT NULL,
  no        bigint NOT NULL,
  width     bigint NOT NULL,             -- milliseconds
  at        bigint NOT NULL,
  delivered bigint NOT NULL,
  failed    bigint NOT NULL,
  canceled  bigint NOT NULL,
  attempts  bigint NOT NULL,
  faults    bigint NOT NULL,
  repeats   bigint NOT NULL,
  latency   bigint[] NOT NULL,           -- counts of store.Latency
  PRIMARY KEY (subject, no, width, at)
) WITH (fillfactor = 70);
CREATE INDEX slots_by_age ON slots (width, at);

CREATE TABLE receivers (
  callback_no    bigint PRIMARY KEY,
  last_success   bigint,
  last_failure   bigint,
  last_fault     text NOT NULL DEFAULT '',
  last_status    integer NOT NULL DEFAULT 0,
  cert_not_after bigint
) WITH (fillfactor = 70);
CREATE INDEX receivers_cert ON receivers (cert_not_after) WHERE cert_not_after IS NOT NULL;

-- The logins of the console, and links that sign a browser in once.
CREATE TABLE logins (
  hash       bytea PRIMARY KEY,          -- of the token, which is not stored
  key_no     bigint NOT NULL,            -- 0: the operator
  link       boolean NOT NULL,
  proof      bytea NOT NULL,
  created_at bigint NOT NULL,
  expires_at bigint NOT NULL
);
CREATE INDEX logins_by_end ON logins (expires_at);
