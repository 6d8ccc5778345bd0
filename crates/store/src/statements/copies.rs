//! Statements about whole files of SQLite.

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

/// Every statement of this file.
pub(crate) static STATEMENTS: [&Statement; 5] = [&COPY_INTO, &INTEGRITY, &TABLES, &COSTS, &PAID];
