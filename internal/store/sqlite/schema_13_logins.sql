-- The condition is the one of the statement that both databases share: SQLite uses
-- a partial index only for a condition that is written the same way.
DROP INDEX logins_by_key;
CREATE INDEX logins_by_key ON logins (key_no, created_at) WHERE NOT link;
