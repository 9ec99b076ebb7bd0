-- When an event may be delivered, when a delivery expires, and the ttl of a callback. A
-- delivery that is deferred has a due time and was never tried. It becomes a first attempt
-- when its time has come.
ALTER TABLE events ADD COLUMN deliver_at INTEGER;
ALTER TABLE events ADD COLUMN expires_at INTEGER;
ALTER TABLE callbacks ADD COLUMN ttl INTEGER;
ALTER TABLE pending ADD COLUMN deliver_at INTEGER;
ALTER TABLE pending ADD COLUMN expires_at INTEGER;
ALTER TABLE slots ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
CREATE INDEX pending_expiry ON pending (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX pending_deferred ON pending (callback_no, due, event_id) WHERE deliver_at IS NOT NULL AND due IS NOT NULL AND attempts = 0 AND NOT manual AND replay = 0;

-- What a person sends again does not expire.
ALTER TABLE pending ADD CONSTRAINT pending_expires_unless_resent CHECK (expires_at IS NULL OR (NOT manual AND replay = 0));

-- Version 0 marks an end without an attempt.
ALTER TABLE attempts DROP CONSTRAINT attempts_state;
ALTER TABLE attempts DROP CONSTRAINT attempts_version;
ALTER TABLE attempts ADD CONSTRAINT attempts_state CHECK (state = 'delivered' OR state = 'pending' OR state = 'failed' OR state = 'canceled' OR state = 'expired');
ALTER TABLE attempts ADD CONSTRAINT attempts_version CHECK (version > 0 OR (version = 0 AND (state = 'canceled' OR state = 'expired')));
CREATE INDEX attempts_expired ON attempts (callback_no, event_id) WHERE state = 'expired';
