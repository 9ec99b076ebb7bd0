-- One row for each delivery whose last attempt failed, so that lists find an
-- error however old it is. A delivery that succeeds at once never has a row.
CREATE TABLE last_errors (
  event_id    bigint NOT NULL,
  callback_no bigint NOT NULL,
  error       bigint NOT NULL,           -- as package codec writes it
  PRIMARY KEY (event_id, callback_no)
) WITH (fillfactor = 80);
CREATE INDEX last_errors_by_error ON last_errors (callback_no, error, event_id);

-- The VIN, taken from the text that sessions are searched in.
CREATE INDEX sessions_by_vin ON sessions (key_no, substring(search FROM octet_length(session) + 2 FOR 17), created_at, session);
