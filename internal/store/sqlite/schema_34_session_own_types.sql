-- The types of a platform that a callback for one session gets: an array of their numbers.
-- NULL for none.
ALTER TABLE callbacks ADD COLUMN own_types TEXT;
