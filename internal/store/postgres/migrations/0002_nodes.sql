-- The processes that share the database. seen_at is by the clock of the
-- database: it alone compares leases.
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

-- Whose each shard is. The epoch counts its owners.
CREATE TABLE shards (
  shard integer PRIMARY KEY,
  node  bigint,                          -- null: nobody's
  epoch bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO shards (shard) SELECT g FROM generate_series(0, 4095) g;

-- Counts joins, burials and changes of hands. Its row is locked until the
-- change is durable, so that they come one after the other.
CREATE TABLE cluster (
  one      boolean PRIMARY KEY DEFAULT true CHECK (one),
  revision bigint NOT NULL
);
INSERT INTO cluster (revision) VALUES (1);
