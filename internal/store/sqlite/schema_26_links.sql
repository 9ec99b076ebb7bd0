-- Links that sign a browser in to the console of one API key: the role of who uses it, where
-- it leads back, and how long the browser stays signed in, in microseconds. They are empty
-- for other logins.
ALTER TABLE logins ADD COLUMN role TEXT NOT NULL DEFAULT '';
ALTER TABLE logins ADD COLUMN return_to TEXT NOT NULL DEFAULT '';
ALTER TABLE logins ADD COLUMN lasts INTEGER NOT NULL DEFAULT 0;
