-- The types of events that a platform has beside callbackd's own. See codec.EventTypes.
CREATE TABLE event_types (
  no   smallint PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE
);
