-- Indexes of the deleted callbacks of a key, and of those with several versions.
CREATE INDEX callbacks_deleted_by_key ON callbacks (key_no) WHERE deleted_at IS NOT NULL;
CREATE INDEX callbacks_changed_by_key ON callbacks (key_no) WHERE version > 1;

-- The logins of a key by age, so that the oldest can be removed.
CREATE INDEX logins_by_key ON logins (key_no, created_at) WHERE NOT link;
