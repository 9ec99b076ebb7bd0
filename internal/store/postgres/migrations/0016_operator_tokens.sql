-- Tokens that let programs call /v1/admin in the operator's name.
CREATE TABLE operator_tokens (
  id           text COLLATE "C" PRIMARY KEY,
  hash         bytea NOT NULL,            -- of the token's text, which is not stored
  name         text NOT NULL,
  role         text NOT NULL,
  created_at   bigint NOT NULL,
  expires_at   bigint NOT NULL,
  last_used_at bigint,
  revoked_at   bigint
);
