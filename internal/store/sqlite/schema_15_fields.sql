-- What of an event's data this version of a callback sends, as JSON; null for all.
ALTER TABLE callback_versions ADD COLUMN fields TEXT;
