-- Attempts that failed by their kind: counts of callbackd.FailureKinds as varints.
ALTER TABLE slots ADD COLUMN by_fault BLOB NOT NULL DEFAULT x'';
