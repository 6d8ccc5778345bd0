-- Nodes, and how they divide budgets. What all nodes hold of a window together is never more than its budget; see `leases.rs`.

-- Other nodes ask what has changed.
CREATE INDEX keys_by_change ON keys (updated_at);

CREATE TABLE nodes (
    id           TEXT NOT NULL PRIMARY KEY,
    name         TEXT NOT NULL,
    version      TEXT NOT NULL,
    started_at   BIGINT NOT NULL,
    seen_at      BIGINT NOT NULL
);

-- One row a window: whoever divides it locks this row. `wanted_at`: when somebody last lacked money in it.
CREATE TABLE lease_windows (
    scope        TEXT NOT NULL,
    window_start BIGINT NOT NULL,
    currency     TEXT NOT NULL,
    ends_at      BIGINT,
    turn         BIGINT NOT NULL,
    wanted_at    BIGINT,
    PRIMARY KEY (scope, window_start, currency)
);

CREATE INDEX lease_windows_wanted ON lease_windows (wanted_at) WHERE wanted_at IS NOT NULL;
CREATE INDEX lease_windows_ended ON lease_windows (ends_at) WHERE ends_at IS NOT NULL;

-- What a node may spend of a window in all, what of that it had used when it last said so, and the turn in which it did.
-- The node '' holds what was spent before there were leases.
CREATE TABLE leases (
    scope        TEXT NOT NULL,
    window_start BIGINT NOT NULL,
    currency     TEXT NOT NULL,
    node         TEXT NOT NULL,
    granted      BIGINT NOT NULL,
    used         BIGINT NOT NULL,
    turn         BIGINT NOT NULL,
    PRIMARY KEY (scope, window_start, currency, node)
);

INSERT INTO lease_windows (scope, window_start, currency, turn)
    SELECT scope, window_start, currency, 1 FROM balances;
INSERT INTO leases (scope, window_start, currency, node, granted, used, turn)
    SELECT scope, window_start, currency, '', spent, spent, 1 FROM balances;
