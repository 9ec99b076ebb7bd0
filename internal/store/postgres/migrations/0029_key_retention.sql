-- How long the events of an API key are kept, in milliseconds, and those of some types, as JSON;
-- NULL without a retention of its own.
ALTER TABLE keys ADD COLUMN retention bigint, ADD COLUMN retention_events text;
