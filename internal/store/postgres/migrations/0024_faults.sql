-- Attempts that failed by their kind: counts of callbackd.FailureKinds.
ALTER TABLE slots ADD COLUMN by_fault bigint[] NOT NULL DEFAULT '{}';
