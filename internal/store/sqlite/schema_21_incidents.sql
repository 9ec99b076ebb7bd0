-- Incidents: see callbackd.Incident. told_ columns are negative where nothing was sent.
CREATE TABLE incidents (
  id            INTEGER PRIMARY KEY,    -- holds the time of opening
  key_no        INTEGER NOT NULL,       -- 0: of the whole server
  topic         TEXT NOT NULL,
  name          TEXT NOT NULL,
  kind          TEXT NOT NULL,
  callback_no   INTEGER NOT NULL,       -- 0: of no callback
  opened_at     INTEGER NOT NULL,
  gone_at       INTEGER,
  closed_at     INTEGER,
  count         INTEGER NOT NULL,
  flaps         INTEGER NOT NULL,
  facts         TEXT NOT NULL,          -- JSON
  acked_at      INTEGER,
  acked_by      TEXT NOT NULL,
  muted_until   INTEGER,
  stage         INTEGER NOT NULL,
  told_key      INTEGER NOT NULL,
  told_operator INTEGER NOT NULL,
  told_mail     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX incidents_open ON incidents (key_no, topic, name) WHERE closed_at IS NULL;
CREATE INDEX incidents_in_progress ON incidents (id) WHERE closed_at IS NULL;
CREATE INDEX incidents_by_subject ON incidents (key_no, topic, name, id);
CREATE INDEX incidents_by_key ON incidents (key_no, id);
CREATE INDEX incidents_closed ON incidents (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX incidents_untold ON incidents (id) WHERE abs(told_key) < stage OR abs(told_operator) < stage OR abs(told_mail) < stage;
