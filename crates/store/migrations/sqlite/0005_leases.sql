-- Nodes, and how they divide budgets. On SQLite there is one node, and nothing is divided: the tables are here so that both databases have the same.
-- What all nodes hold of a window together is never more than its budget; see `leases.rs`.

-- Other nodes ask what has changed.
CREATE INDEX keys_by_change ON keys (updated_at);

CREATE TABLE nodes (
    id           TEXT NOT NULL PRIMARY KEY,
    name         TEXT NOT NULL,
    version      TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    seen_at      INTEGER NOT NULL
);

-- One row a window: whoever divides it locks this row. `wanted_at`: when somebody last lacked money in it.
CREATE TABLE lease_windows (
    scope        TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    currency     TEXT NOT NULL,
    ends_at      INTEGER,
    turn         INTEGER NOT NULL,
    wanted_at    INTEGER,
    PRIMARY KEY (scope, window_start, currency)
);

CREATE INDEX lease_windows_wanted ON lease_windows (wanted_at) WHERE wanted_at IS NOT NULL;
CREATE INDEX lease_windows_ended ON lease_windows (ends_at) WHERE ends_at IS NOT NULL;

-- What a node may spend of a window in all, what of that it had used when it last said so, and the turn in which it did.
-- The node '' holds what was spent before there were leases.
CREATE TABLE leases (
    scope        TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    currency     TEXT NOT NULL,
    node         TEXT NOT NULL,
    granted      INTEGER NOT NULL,
    used         INTEGER NOT NULL,
    turn         INTEGER NOT NULL,
    PRIMARY KEY (scope, window_start, currency, node)
);
