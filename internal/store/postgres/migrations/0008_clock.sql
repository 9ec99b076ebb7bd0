-- The clock's time when an event was accepted, if it differs from the time in the id. Ids
-- keep growing after a clock that ran ahead was set right.
ALTER TABLE events ADD COLUMN accepted_at bigint;
CREATE INDEX events_by_clock ON events (accepted_at, id) WHERE accepted_at IS NOT NULL;
