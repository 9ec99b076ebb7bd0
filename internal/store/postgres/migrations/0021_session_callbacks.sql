-- A callback can be for one session: then it has type 0, and a set of event types instead,
-- with one bit for each. The indexes by key keep the two kinds apart, so that a key's lists
-- and the choice of an event's targets do not meet those of 100,000 sessions.
ALTER TABLE callbacks ADD COLUMN session text COLLATE "C", ADD COLUMN types bigint;
ALTER TABLE callbacks ADD CONSTRAINT callbacks_session CHECK ((session IS NULL) = (types IS NULL) AND (session IS NULL) = (type > 0));
DROP INDEX callbacks_in_force;
CREATE UNIQUE INDEX callbacks_in_force ON callbacks (key_no, type, name) WHERE deleted_at IS NULL AND session IS NULL;
CREATE INDEX callbacks_by_session ON callbacks (key_no, session, no) WHERE session IS NOT NULL;
CREATE INDEX callbacks_of_sessions ON callbacks (no) WHERE session IS NOT NULL;

-- Whether the session has had a callback of its own. Accepting an event locks and reads
-- this row in any case, so events of other sessions look for none.
ALTER TABLE session_sequences ADD COLUMN callbacks boolean NOT NULL DEFAULT false;
