-- The trace context of an event, see codec.TraceColumn; NULL for none.
ALTER TABLE events ADD COLUMN trace bytea;
