-- The types of events that a platform has beside callbackd's own. See codec.EventTypes.
CREATE TABLE event_types (
  no   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;
