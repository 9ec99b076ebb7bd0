-- The nodes. seen_at is a time of the database's clock; leases are compared by that clock
-- only.
CREATE TABLE nodes (
  no         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text COLLATE "C" NOT NULL,
  address    text COLLATE "C" NOT NULL,
  version    text COLLATE "C" NOT NULL,
  started_at bigint NOT NULL,
  seen_at    bigint NOT NULL,
  in_flight  bigint NOT NULL DEFAULT 0,
  leaving    boolean NOT NULL DEFAULT false,
  skew       bigint NOT NULL DEFAULT 0   -- milliseconds
) WITH (fillfactor = 50);

-- The owner of each shard. epoch counts the owners that it has had.
CREATE TABLE shards (
  shard integer PRIMARY KEY,
  node  bigint,                          -- null when nobody owns it
  epoch bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO shards (shard) SELECT g FROM generate_series(0, 4095) g;

-- revision counts joins, evictions and changes of owners. The row is locked until the
-- change is durable, so that these happen one after the other.
CREATE TABLE cluster (
  one      boolean PRIMARY KEY DEFAULT true CHECK (one),
  revision bigint NOT NULL
);
INSERT INTO cluster (revision) VALUES (1);
