-- When a node became known. One that was forgotten, and comes back, has another epoch: its leases are not its own any more.
ALTER TABLE nodes ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
