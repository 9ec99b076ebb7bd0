-- The template of the links to the capture pages of a key's sessions; empty: the
-- server's.
ALTER TABLE keys ADD COLUMN capture_url TEXT NOT NULL DEFAULT '';
