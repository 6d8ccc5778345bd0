//! Statements about whole files of SQLite, and about moving them.

use super::Statement;

/// $1: the path of an empty file.
pub(crate) static COPY_INTO: Statement = Statement::sqlite("copy a file", "VACUUM INTO $1");
pub(crate) static INTEGRITY: Statement = Statement::sqlite("look at every page", "PRAGMA integrity_check(1)");
pub(crate) static TABLES: Statement = Statement::sqlite(
    "tables",
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name",
);
pub(crate) static COSTS: Statement = Statement::control(
    "what entries cost",
    "SELECT cost_currency, CAST(SUM(cost) AS BIGINT) FROM entries WHERE cost IS NOT NULL GROUP BY cost_currency \
     ORDER BY cost_currency",
);
pub(crate) static PAID: Statement = Statement::control(
    "what windows have paid",
    "SELECT currency, CAST(SUM(spent) AS BIGINT) FROM balances GROUP BY currency ORDER BY currency",
);

/// $1: a table. Columns in order, and their place in the primary key from 1 on, or 0.
pub(crate) static COLUMNS_HERE: Statement =
    Statement::sqlite("columns (SQLite)", "SELECT name, pk FROM pragma_table_info($1) ORDER BY cid");
pub(crate) static COLUMNS_THERE: Statement = Statement::postgres(
    "columns (PostgreSQL)",
    "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT) FROM information_schema.columns \
     WHERE table_schema = current_schema() AND table_name = $1",
);
/// How far a move has come: a row for each table or day with the key that was copied last, and one with an empty name for the whole.
pub(crate) static MAKE_MOVES: Statement = Statement::postgres(
    "make the marks of a move",
    "CREATE TABLE IF NOT EXISTS moves (item TEXT NOT NULL PRIMARY KEY, source TEXT NOT NULL, mark TEXT NOT NULL)",
);
pub(crate) static MOVE: Statement =
    Statement::postgres("the move", "SELECT source, mark FROM moves WHERE item = ''");
pub(crate) static BEGIN_MOVE: Statement =
    Statement::postgres("begin a move", "INSERT INTO moves (item, source, mark) VALUES ('', $1, 'begun')");
pub(crate) static END_MOVE: Statement =
    Statement::postgres("end a move", "UPDATE moves SET mark = 'done' WHERE item = ''");
pub(crate) static MOVE_MARK: Statement =
    Statement::postgres("how far a move has come", "SELECT mark FROM moves WHERE item = $1");
pub(crate) static MARK_MOVE: Statement = Statement::postgres(
    "mark how far a move has come",
    "INSERT INTO moves (item, source, mark) VALUES ($1, '', $2) ON CONFLICT (item) DO UPDATE SET mark = excluded.mark",
);
/// Entries go on to be numbered after those that were moved.
pub(crate) static SET_NUMBER: Statement = Statement::postgres(
    "number entries from here on",
    "SELECT setval(pg_get_serial_sequence('entries', 'id'), (SELECT COALESCE(MAX(id), 0) + 1 FROM entries), false)",
);
/// What was spent before there were leases is held by nobody's lease, as in the migration that made them.
pub(crate) static HOLD_WINDOWS: Statement = Statement::postgres(
    "windows of what was moved",
    "INSERT INTO lease_windows (scope, window_start, currency, turn) \
     SELECT scope, window_start, currency, 1 FROM balances ON CONFLICT DO NOTHING",
);
pub(crate) static HOLD_SPENT: Statement = Statement::postgres(
    "leases of what was moved",
    "INSERT INTO leases (scope, window_start, currency, node, granted, used, turn) \
     SELECT scope, window_start, currency, '', spent, spent, 1 FROM balances ON CONFLICT DO NOTHING",
);

/// Every statement of this file that fits any database: those about `moves` need a table that only a move makes.
pub(crate) static STATEMENTS: [&Statement; 10] = [
    &COPY_INTO,
    &INTEGRITY,
    &TABLES,
    &COSTS,
    &PAID,
    &COLUMNS_HERE,
    &COLUMNS_THERE,
    &SET_NUMBER,
    &HOLD_WINDOWS,
    &HOLD_SPENT,
];
