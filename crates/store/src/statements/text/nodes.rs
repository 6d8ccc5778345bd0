//! Of nodes, and how they divide budgets.

use crate::statements::Statement;

/// $1: the node's id; writes nothing where a process that started later has the same. The server's clock is the one that all
/// nodes have in common, and what it said when the node became known is the node's epoch.
pub(crate) static SHOW_NODE: Statement = Statement::postgres(
    "show a node",
    concat!(
        "INSERT INTO nodes (id, name, version, started_at, seen_at, epoch) SELECT $1, $2, $3, $4, now.micros, now.micros FROM (SELECT ",
        server_time!(),
        " AS micros) AS now ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, \
         started_at = excluded.started_at, seen_at = excluded.seen_at \
         WHERE nodes.started_at <= excluded.started_at RETURNING epoch"
    ),
);
/// A node lives that was seen within $1 microseconds.
pub(crate) static NODES: Statement = Statement::postgres(
    "nodes",
    concat!(
        "SELECT id, name, version, started_at, seen_at, revision, CAST(seen_at > ",
        server_time!(),
        " - $1 AS INT) FROM nodes ORDER BY name, id LIMIT 10000"
    ),
);
/// $1, unless it was seen within $2 microseconds.
pub(crate) static FORGET_NODE: Statement = Statement::postgres(
    "forget a node",
    concat!("DELETE FROM nodes WHERE id = $1 AND seen_at < ", server_time!(), " - $2"),
);
pub(crate) static FREE_LEASES: Statement = Statement::postgres(
    "free the leases of a node",
    "UPDATE leases SET granted = used WHERE node = $1 AND granted > used",
);
/// Windows that node $1 has a lease on and in which somebody lately (within $2 microseconds) lacked money.
pub(crate) static WANTED_WINDOWS: Statement = Statement::postgres(
    "wanted windows",
    concat!(
        "SELECT w.scope, w.window_start, w.currency FROM lease_windows w JOIN leases l ON l.scope = w.scope \
         AND l.window_start = w.window_start AND l.currency = w.currency AND l.node = $1 WHERE w.wanted_at > ",
        server_time!(),
        " - $2 ORDER BY w.wanted_at LIMIT 1000"
    ),
);
/// Locks windows until the end of the transaction, everybody in one order; whether somebody lately (within $5 microseconds) lacked
/// money in each. $1-$4: scopes, starts, currencies, ends. Nothing where the node $6 is not the process that started at $7 any more,
/// or was forgotten since its epoch $8.
pub(crate) static LOCK_WINDOWS: Statement = Statement::postgres(
    "lock windows",
    concat!(
        "WITH me AS MATERIALIZED (SELECT id FROM nodes WHERE id = $6 AND started_at = $7 AND epoch = $8 FOR SHARE) \
         INSERT INTO lease_windows (scope, window_start, currency, ends_at, turn) \
         SELECT asked.scope, asked.window_start, asked.currency, asked.ends_at, 1 FROM me, \
         unnest(CAST($1 AS TEXT[]), CAST($2 AS BIGINT[]), CAST($3 AS TEXT[]), CAST($4 AS BIGINT[])) \
         AS asked (scope, window_start, currency, ends_at) ORDER BY 1, 2, 3 \
         ON CONFLICT (scope, window_start, currency) DO UPDATE SET turn = lease_windows.turn + 1, \
         ends_at = COALESCE(excluded.ends_at, lease_windows.ends_at) \
         RETURNING scope, window_start, currency, CAST(COALESCE(wanted_at > ",
        server_time!(),
        " - $5, false) AS INT)"
    ),
);
/// Of the windows $1-$3; whether each node was seen within $4 microseconds.
pub(crate) static WINDOW_LEASES: Statement = Statement::postgres(
    "leases on windows",
    concat!(
        "SELECT l.scope, l.window_start, l.currency, l.node, l.granted, l.used, l.turn, CAST(COALESCE(n.seen_at > ",
        server_time!(),
        " - $4, false) AS INT) FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS BIGINT[]), CAST($3 AS TEXT[])) \
         AS asked (scope, window_start, currency) JOIN leases l ON l.scope = asked.scope \
         AND l.window_start = asked.window_start AND l.currency = asked.currency LEFT JOIN nodes n ON n.id = l.node"
    ),
);
pub(crate) static SET_LEASES: Statement = Statement::postgres(
    "set leases",
    "INSERT INTO leases (scope, window_start, currency, node, granted, used, turn) \
     SELECT * FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS BIGINT[]), CAST($3 AS TEXT[]), CAST($4 AS TEXT[]), \
     CAST($5 AS BIGINT[]), CAST($6 AS BIGINT[]), CAST($7 AS BIGINT[])) AS said ORDER BY 1, 2, 3, 4 \
     ON CONFLICT (scope, window_start, currency, node) DO UPDATE SET granted = excluded.granted, \
     used = excluded.used, turn = excluded.turn",
);
pub(crate) static WANT_WINDOWS: Statement = Statement::postgres(
    "want windows",
    concat!(
        "UPDATE lease_windows w SET wanted_at = ",
        server_time!(),
        " FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS BIGINT[]), CAST($3 AS TEXT[])) AS lacking (scope, window_start, currency) \
         WHERE w.scope = lacking.scope AND w.window_start = lacking.window_start AND w.currency = lacking.currency"
    ),
);
/// $1: windows that ended before. Nothing is divided in them any more.
pub(crate) static DROP_LEASES: Statement = Statement::postgres(
    "drop old leases",
    "DELETE FROM leases USING lease_windows w WHERE w.ends_at < $1 AND leases.scope = w.scope \
     AND leases.window_start = w.window_start AND leases.currency = w.currency",
);
pub(crate) static DROP_WINDOWS: Statement =
    Statement::postgres("drop old windows", "DELETE FROM lease_windows WHERE ends_at < $1");
