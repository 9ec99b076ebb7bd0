-- The options of the servers at their last start with others than before; see
-- callbackd.OptionsAuditState.
CREATE TABLE server_options (
  server  TEXT PRIMARY KEY,  -- the name of its machine
  at      INTEGER NOT NULL,
  options BLOB NOT NULL      -- JSON, without secrets
) WITHOUT ROWID, STRICT;
