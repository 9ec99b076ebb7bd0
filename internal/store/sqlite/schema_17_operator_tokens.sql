-- Tokens that let programs call /v1/admin in the operator's name.
CREATE TABLE operator_tokens (
  id           TEXT PRIMARY KEY,
  hash         BLOB NOT NULL,             -- of the token's text, which is not stored
  name         TEXT NOT NULL,
  role         TEXT NOT NULL,
  created_at   INTEGER NOT NULL,
  expires_at   INTEGER NOT NULL,
  last_used_at INTEGER,
  revoked_at   INTEGER
) WITHOUT ROWID, STRICT;
