-- The logins of the console, and links that sign a browser in once.
CREATE TABLE logins (
  hash       BLOB PRIMARY KEY,          -- of the token, which is not stored
  key_no     INTEGER NOT NULL,          -- 0: the operator
  link       INTEGER NOT NULL,
  proof      BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX logins_by_end ON logins (expires_at);

-- The secret from before a rotation, sealed, and until when it is valid.
ALTER TABLE keys ADD COLUMN old_secret BLOB;
ALTER TABLE keys ADD COLUMN old_until INTEGER;
