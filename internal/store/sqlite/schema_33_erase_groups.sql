-- The erasure over all API keys that an erasure belongs to, and in how many keys that was
-- started; 0 for an erasure of one key.
ALTER TABLE erases ADD COLUMN group_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE erases ADD COLUMN group_size INTEGER NOT NULL DEFAULT 0;
CREATE INDEX erases_by_group ON erases (group_id, id) WHERE group_id <> 0;
