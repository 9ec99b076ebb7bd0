-- The filter of a callback, as JSON, and which callbacks did not get an event because of
-- their filter, as codec.AppendWithheld writes it. A node of an older version that runs
-- during the upgrade does not know filters: what it accepts goes to all callbacks.
ALTER TABLE callbacks ADD COLUMN filter text;
ALTER TABLE events ADD COLUMN withheld bytea;
