-- The device's clock was off by more than five minutes when the record or value was sent.
ALTER TABLE record ADD COLUMN clock_suspect INTEGER NOT NULL DEFAULT 0;
ALTER TABLE latest ADD COLUMN clock_suspect INTEGER NOT NULL DEFAULT 0;
