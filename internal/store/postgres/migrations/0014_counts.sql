-- How often deliveries became pending, by reason, and how often they ended, by state. There
-- may be many rows of one name, which add up: transactions add rows, so that none waits for
-- another, and a job adds them up now and then. A row recount says that the others do not
-- have everything: see core.Store.Recount.
CREATE TABLE delivery_counts (
  what text COLLATE "C" NOT NULL,
  n    bigint NOT NULL
);
INSERT INTO delivery_counts VALUES ('recount', 0);

-- Whether a node counts: one of an older version does not.
ALTER TABLE nodes ADD COLUMN counts boolean NOT NULL DEFAULT false;
