-- Until when the receiver asked to be left alone.
ALTER TABLE callbacks ADD COLUMN closed_until INTEGER;
-- Whether an attempt at the present origin has succeeded. What is there already
-- was in use.
ALTER TABLE callbacks ADD COLUMN proven INTEGER NOT NULL DEFAULT 0;
UPDATE callbacks SET proven = 1;
-- When what waited was made due at once, and behind which event that goes on;
-- null: it is done.
ALTER TABLE callbacks ADD COLUMN released_at INTEGER;
ALTER TABLE callbacks ADD COLUMN release_after INTEGER;
