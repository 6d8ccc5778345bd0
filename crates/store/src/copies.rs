//! Whole copies of SQLite's files while others write them, and what such a file holds.
//!
//! `VACUUM INTO` reads in one transaction, which WAL lets run beside the writer: a copy is the file as it was at one moment. Neither
//! opens a [`crate::Store`], which would bring the schema up to date: what is looked at stays as it is.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use crate::StoreError;
use crate::database::sqlite::BUSY;
use crate::statements::copies as text;

/// What a file of SQLite holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Contents {
    /// Rows by table, in the order of names.
    pub rows: Vec<(String, u64)>,
    /// What all entries cost, by currency, in nano units. Empty where there are no entries.
    pub cost: Vec<(String, i64)>,
    /// What all budget windows have paid, by currency, in nano units.
    pub paid: Vec<(String, i64)>,
}

/// Copies a file of SQLite whole, as it is at one moment, also while it is written. The copy is made for its owner alone. Takes as
/// long as it takes.
///
/// # Errors
/// [`StoreError::Missing`] when there is no such file.
pub async fn copy_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut connection = open(from).await?;
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|error| unusable(to, &error))?;
    let name = to.to_str().ok_or_else(|| StoreError::Invalid("the path is no UTF-8".into()))?;
    let copied = sqlx::query(text::COPY_INTO.sql()).bind(name).execute(&mut connection).await;
    copied.map_err(|error| StoreError::from_sqlx(text::COPY_INTO.name, &error))?;
    close(connection).await
}

/// Counts what a file of SQLite holds. `thorough`: has SQLite look at every page first.
///
/// # Errors
/// [`StoreError::Corrupt`] when a page is damaged.
pub async fn contents(path: &Path, thorough: bool) -> Result<Contents, StoreError> {
    let failed = |error: sqlx::Error| StoreError::from_sqlx("count", &error);
    let mut connection = open(path).await?;
    if thorough {
        let told: String =
            sqlx::query_scalar(text::INTEGRITY.sql()).fetch_one(&mut connection).await.map_err(failed)?;
        if told != "ok" {
            return Err(StoreError::Corrupt(told));
        }
    }
    let tables: Vec<String> =
        sqlx::query_scalar(text::TABLES.sql()).fetch_all(&mut connection).await.map_err(failed)?;
    let mut contents = Contents::default();
    for table in tables {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM \"{table}\""));
        let rows: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await.map_err(failed)?;
        if table == "entries" {
            contents.cost = sums(&mut connection, text::COSTS.text).await?;
            contents.paid = sums(&mut connection, text::PAID.text).await?;
        }
        contents.rows.push((table, u64::try_from(rows).unwrap_or(0)));
    }
    close(connection).await?;
    Ok(contents)
}

async fn sums(
    connection: &mut SqliteConnection,
    sql: &'static str,
) -> Result<Vec<(String, i64)>, StoreError> {
    let failed = |error: sqlx::Error| StoreError::from_sqlx("sum", &error);
    let rows = sqlx::query(sql).fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?))).collect()
}

async fn open(path: &Path) -> Result<SqliteConnection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing(format!("file `{}`", path.display())));
    }
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY).disable_statement_logging();
    options.connect().await.map_err(|error| StoreError::from_sqlx("connect", &error))
}

async fn close(connection: SqliteConnection) -> Result<(), StoreError> {
    connection.close().await.map_err(|error| StoreError::from_sqlx("close", &error))
}

fn unusable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot write `{}`: {error}", path.display()))
}
