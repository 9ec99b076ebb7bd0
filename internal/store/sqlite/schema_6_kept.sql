-- Until when the receiver asked for no requests.
ALTER TABLE callbacks ADD COLUMN closed_until INTEGER;
-- Whether an attempt at the present origin has succeeded. Callbacks from before this
-- column count as such, because they were in use.
ALTER TABLE callbacks ADD COLUMN proven INTEGER NOT NULL DEFAULT 0;
UPDATE callbacks SET proven = 1;
-- When the waiting retries were last made due, and after which event this goes on. The
-- latter is null when it is done.
ALTER TABLE callbacks ADD COLUMN released_at INTEGER;
ALTER TABLE callbacks ADD COLUMN release_after INTEGER;
