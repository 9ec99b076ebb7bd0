-- The deleted callbacks of a key, and those that had another setting before.
CREATE INDEX callbacks_deleted_by_key ON callbacks (key_no) WHERE deleted_at IS NOT NULL;
CREATE INDEX callbacks_changed_by_key ON callbacks (key_no) WHERE version > 1;

-- The sign-ins of a key, so that the oldest can go.
CREATE INDEX logins_by_key ON logins (key_no, created_at) WHERE NOT link;
