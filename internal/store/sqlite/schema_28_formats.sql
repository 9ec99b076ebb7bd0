-- What the body of this version of a callback is like, when it is for people; null otherwise.
ALTER TABLE callback_versions ADD COLUMN format TEXT;
