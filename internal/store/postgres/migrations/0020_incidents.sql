-- Incidents: see callbackd.Incident. told_ columns are negative where nothing was sent.
CREATE TABLE incidents (
  id            bigint PRIMARY KEY,     -- holds the time of opening
  key_no        bigint NOT NULL,       -- 0: of the whole server
  topic         text COLLATE "C" NOT NULL,
  name          text COLLATE "C" NOT NULL,
  kind          text COLLATE "C" NOT NULL,
  callback_no   bigint NOT NULL,       -- 0: of no callback
  opened_at     bigint NOT NULL,
  gone_at       bigint,
  closed_at     bigint,
  count         bigint NOT NULL,
  flaps         bigint NOT NULL,
  facts         text COLLATE "C" NOT NULL,          -- JSON
  acked_at      bigint,
  acked_by      text COLLATE "C" NOT NULL,
  muted_until   bigint,
  stage         bigint NOT NULL,
  told_key      bigint NOT NULL,
  told_operator bigint NOT NULL,
  told_mail     bigint NOT NULL
);
CREATE UNIQUE INDEX incidents_open ON incidents (key_no, topic, name) WHERE closed_at IS NULL;
CREATE INDEX incidents_in_progress ON incidents (id) WHERE closed_at IS NULL;
CREATE INDEX incidents_by_subject ON incidents (key_no, topic, name, id);
CREATE INDEX incidents_by_key ON incidents (key_no, id);
CREATE INDEX incidents_closed ON incidents (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX incidents_untold ON incidents (id) WHERE abs(told_key) < stage OR abs(told_operator) < stage OR abs(told_mail) < stage;
