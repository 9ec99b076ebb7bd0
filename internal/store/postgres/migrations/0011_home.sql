-- Where other nodes reach a node: they forward calls to it. It is empty for a node that
-- they cannot reach, and null for a node of an older version.
ALTER TABLE nodes ADD COLUMN inner_address text COLLATE "C";

-- Shards were shares of callbacks before, and are shares of API keys now. So a node of an
-- older version and a newer one must never own shards at the same time. An older node
-- that runs during the upgrade can neither renew its lease nor join again: its statements
-- change no row. It takes this for an eviction and drops its shards. Its row stays until
-- its lease has expired by anyone's clock, and newer nodes claim no shard before that. It
-- still accepts events.
CREATE FUNCTION refuse_older_node() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RETURN NULL;
END $$;
CREATE TRIGGER refuse_older_node BEFORE INSERT OR UPDATE ON nodes
  FOR EACH ROW WHEN (NEW.inner_address IS NULL) EXECUTE FUNCTION refuse_older_node();
