-- The limits of an API key that are set, and the members of the policy that its new callbacks
-- get, as JSON; NULL without any.
ALTER TABLE keys ADD COLUMN limits TEXT;
ALTER TABLE keys ADD COLUMN callback_policy TEXT;
