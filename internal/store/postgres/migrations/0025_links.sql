-- Links that sign a browser in to the console of one API key: the role of who uses it, where
-- it leads back, and how long the browser stays signed in, in microseconds. They are empty
-- for other logins.
ALTER TABLE logins ADD COLUMN role text NOT NULL DEFAULT '', ADD COLUMN return_to text NOT NULL DEFAULT '', ADD COLUMN lasts bigint NOT NULL DEFAULT 0;
