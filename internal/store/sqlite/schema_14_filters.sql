-- The filter of a callback, as JSON, and which callbacks did not get an event because of
-- their filter, as codec.AppendWithheld writes it.
ALTER TABLE callbacks ADD COLUMN filter TEXT;
ALTER TABLE events ADD COLUMN withheld BLOB;
