-- The deleted callbacks of a key, and those that had another setting before.
CREATE INDEX callbacks_deleted_by_key ON callbacks (key_no) WHERE deleted_at IS NOT NULL;
CREATE INDEX callbacks_changed_by_key ON callbacks (key_no) WHERE version > 1;

-- The last number that was given to a callback: a number is never given again,
-- also when the callback that had it is gone.
ALTER TABLE meta ADD COLUMN last_callback INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET last_callback = coalesce((SELECT max(no) FROM callbacks), 0);

-- The sign-ins of a key, so that the oldest can go.
CREATE INDEX logins_by_key ON logins (key_no, created_at) WHERE link = 0;
