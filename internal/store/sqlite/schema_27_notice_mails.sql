-- How often the mail about an incident could not be sent, and when the next try may be made.
ALTER TABLE incidents ADD COLUMN mail_failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN mail_at INTEGER;
