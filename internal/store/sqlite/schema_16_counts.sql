-- How often deliveries became pending, by reason, and how often they ended, by state. The
-- row recount says that the others do not have everything: see core.Store.Recount.
CREATE TABLE delivery_counts (
  what TEXT PRIMARY KEY,
  n    INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
INSERT INTO delivery_counts VALUES ('recount', 0);
