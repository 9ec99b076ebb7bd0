-- When an event may be delivered, when a delivery expires, and the ttl of a callback. A
-- delivery that is deferred has a due time and was never tried. It becomes a first attempt
-- when its time has come. A node of an older version that runs during the upgrade knows no
-- ttl: what it accepts does not expire.
ALTER TABLE events ADD COLUMN deliver_at bigint, ADD COLUMN expires_at bigint;
ALTER TABLE callbacks ADD COLUMN ttl bigint;
ALTER TABLE pending ADD COLUMN deliver_at bigint, ADD COLUMN expires_at bigint;
ALTER TABLE slots ADD COLUMN expired bigint NOT NULL DEFAULT 0;
CREATE INDEX pending_expiry ON pending (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX pending_deferred ON pending (callback_no, due, event_id) WHERE deliver_at IS NOT NULL AND due IS NOT NULL AND attempts = 0 AND NOT manual AND replay = 0;

-- What a person sends again does not expire.
ALTER TABLE pending ADD CONSTRAINT pending_expires_unless_resent CHECK (expires_at IS NULL OR (NOT manual AND replay = 0)) NOT VALID;

-- Version 0 marks an end without an attempt.
ALTER TABLE attempts DROP CONSTRAINT attempts_state, DROP CONSTRAINT attempts_version;
ALTER TABLE attempts ADD CONSTRAINT attempts_state CHECK (state IN ('pending', 'delivered', 'failed', 'canceled', 'expired')) NOT VALID;
ALTER TABLE attempts ADD CONSTRAINT attempts_version CHECK (version > 0 OR (version = 0 AND state IN ('canceled', 'expired'))) NOT VALID;
CREATE INDEX attempts_expired ON attempts (callback_no, event_id) WHERE state = 'expired';
