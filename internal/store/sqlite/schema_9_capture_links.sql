-- The template of the links to the capture pages of a key's sessions. When it is empty,
-- that of the server is used.
ALTER TABLE keys ADD COLUMN capture_url TEXT NOT NULL DEFAULT '';
