-- What is read for the metrics without going through all that has ever been.

ALTER TABLE command ADD COLUMN queued_at REAL NOT NULL DEFAULT 0;

CREATE INDEX execution_open ON execution (id) WHERE ended IS NULL;
