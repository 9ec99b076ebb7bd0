-- The options of the servers at their last start with others than before; see
-- callbackd.OptionsAuditState.
CREATE TABLE server_options (
  server  text COLLATE "C" PRIMARY KEY,  -- the name of its machine
  at      bigint NOT NULL,
  options bytea NOT NULL     -- JSON, without secrets
);
