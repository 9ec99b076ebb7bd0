-- Until when the receiver asked to be left alone.
ALTER TABLE callbacks ADD COLUMN closed_until bigint;
-- Whether an attempt at the present origin has succeeded. What is there already
-- was in use.
ALTER TABLE callbacks ADD COLUMN proven boolean NOT NULL DEFAULT false;
UPDATE callbacks SET proven = true;
-- When what waited was made due at once, and behind which event that goes on;
-- null: it is done.
ALTER TABLE callbacks ADD COLUMN released_at bigint;
ALTER TABLE callbacks ADD COLUMN release_after bigint;
