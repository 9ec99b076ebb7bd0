-- Lists over the calls and sessions of all keys.
CREATE INDEX logs_by_time ON logs (id, key_no);
CREATE INDEX sessions_by_creation ON sessions (created_at, session, key_no);
