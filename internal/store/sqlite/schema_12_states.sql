-- A row is in one state, and its columns fit that state. The rules are in the domain.
-- These constraints refuse rows that a mistake in the code would write. They have no IN
-- with more than two values: SQLite builds a table of those for each row that it writes.
UPDATE keys SET old_secret = NULL, old_until = NULL WHERE (old_secret IS NULL) <> (old_until IS NULL);
ALTER TABLE keys ADD CONSTRAINT keys_rotation CHECK ((old_secret IS NULL) = (old_until IS NULL));

UPDATE callbacks SET paused_at = CASE WHEN pause_reason <> '' THEN updated_at END WHERE (pause_reason = '') <> (paused_at IS NULL);
ALTER TABLE callbacks ADD CONSTRAINT callbacks_pause CHECK ((pause_reason = '') = (paused_at IS NULL));
ALTER TABLE callbacks ADD CONSTRAINT callbacks_release CHECK (release_after IS NULL OR released_at IS NOT NULL);

-- A delivery without a due time was never tried, and takes its turn.
ALTER TABLE pending ADD CONSTRAINT pending_due_after_attempt CHECK (due IS NOT NULL OR (attempts = 0 AND first_failed_at IS NULL AND NOT manual));
ALTER TABLE pending ADD CONSTRAINT pending_due_while_blocking CHECK (due IS NOT NULL OR holds_until IS NULL);
ALTER TABLE pending ADD CONSTRAINT pending_due_in_replay CHECK (due IS NOT NULL OR replay = 0);
ALTER TABLE pending ADD CONSTRAINT pending_steps CHECK (step BETWEEN 0 AND attempts);

-- Version 0 marks a cancellation, which is not an attempt.
ALTER TABLE attempts ADD CONSTRAINT attempts_number CHECK (n >= 1);
ALTER TABLE attempts ADD CONSTRAINT attempts_state CHECK (state = 'delivered' OR state = 'pending' OR state = 'failed' OR state = 'canceled');
ALTER TABLE attempts ADD CONSTRAINT attempts_version CHECK (version > 0 OR (version = 0 AND state = 'canceled'));

ALTER TABLE sessions ADD CONSTRAINT sessions_end CHECK ((ended_at IS NOT NULL) = (status = 'COMPLETE' OR status = 'EXPIRED' OR status = 'INVALID'));

ALTER TABLE replays ADD CONSTRAINT replays_state CHECK (state = 'running' OR state = 'paused' OR state = 'done' OR state = 'canceled');
ALTER TABLE replays ADD CONSTRAINT replays_end CHECK ((ended_at IS NOT NULL) = (state IN ('done', 'canceled')));
ALTER TABLE replays ADD CONSTRAINT replays_progress CHECK (due BETWEEN 0 AND total AND skipped BETWEEN 0 AND due);
