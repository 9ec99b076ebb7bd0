-- What the clock said when an event was accepted, where that is not the time in
-- its id: ids only grow, also after a clock that ran ahead was set right.
ALTER TABLE events ADD COLUMN accepted_at bigint;
CREATE INDEX events_by_clock ON events (accepted_at, id) WHERE accepted_at IS NOT NULL;
