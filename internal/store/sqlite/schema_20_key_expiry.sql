-- When the calls of an API key begin to be refused; NULL for never.
ALTER TABLE keys ADD COLUMN expires_at INTEGER;
