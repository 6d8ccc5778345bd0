//! Two databases behind one small surface: a [`Session`] runs statements of the registry and gives rows.
//!
//! An enum of two concrete pools, and not a trait or sqlx's `Any`: there will be no third, the arms are short,
//! and both keep their full set of types.
//!
//! Transactions are opened and closed here by plain statements, not by sqlx's `begin`: in sqlx 0.9.0 a `begin()` that
//! is cancelled on PostgreSQL leaves the connection in the pool with its transaction open. A session that is
//! dropped while a statement runs or a transaction is open closes its connection instead of giving it back, so
//! every operation of this crate may be cancelled, timed out or dropped at any point: the database rolls back.

use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::{Arguments, Column, Decode, Executor, Postgres, Row as _, SqlStr, Sqlite, TypeInfo, ValueRef};

use crate::StoreError;
use crate::statements::{Bulk, Statement, text};
use crate::value::{Row, Value};

pub(crate) mod day;
pub(crate) mod postgres;
pub(crate) mod sqlite;

use day::Day;

/// Which database a session speaks to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// Which file of SQLite. PostgreSQL keeps everything in one database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Control,
    Log(Day),
    Responses,
}

/// The connected database.
pub(crate) enum Database {
    Sqlite(sqlite::Files),
    Postgres(postgres::Server),
}

impl Database {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// A session for reading. On SQLite it sees what was committed when each statement begins and waits for no
    /// writer. A day of which there is no file is [`StoreError::Missing`].
    pub(crate) async fn read(&self, place: Place) -> Result<Session, StoreError> {
        Ok(Session::new(match self {
            Self::Sqlite(files) => Connection::Sqlite(files.reader(place).await?),
            Self::Postgres(server) => Connection::Postgres(server.acquire().await?),
        }))
    }

    /// A session with a transaction open for writing. On SQLite it is the only writer of its file, and the file
    /// of a day is made when there is none.
    pub(crate) async fn write(&self, place: Place) -> Result<Session, StoreError> {
        Session::begin(match self {
            Self::Sqlite(files) => Connection::Sqlite(files.writer(place).await?),
            Self::Postgres(server) => Connection::Postgres(server.acquire().await?),
        })
        .await
    }

    /// Frees what SQLite keeps in memory of its files.
    pub(crate) async fn rest(&self) {
        if let Self::Sqlite(files) = self {
            files.rest().await;
        }
    }

    /// Closes every connection; SQLite's write-ahead logs are folded into their files.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(files) => files.close().await,
            Self::Postgres(server) => server.close().await,
        }
    }
}

enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// One connection, for as long as it is held. See the top of the file for what dropping does.
pub(crate) struct Session {
    connection: Option<Connection>,
    running: bool,
    in_transaction: bool,
}

/// Runs one call on whichever connection this is, remembering that it runs: see [`Session::drop`].
macro_rules! run {
    ($session:expr, $name:expr, $connection:ident, $arguments:ident($values:expr) => $call:expr) => {{
        $session.running = true;
        let result = match &mut $session.connection {
            Some(Connection::Sqlite($connection)) => {
                let $arguments = sqlite_arguments($values)?;
                $call.map(|done| done.into())
            }
            Some(Connection::Postgres($connection)) => {
                let $arguments = postgres_arguments($values)?;
                $call.map(|done| done.into())
            }
            None => Err(sqlx::Error::PoolClosed),
        };
        // After an answer from the database, even a refusal, the connection is in a known state.
        if matches!(&result, Ok(_) | Err(sqlx::Error::Database(_))) {
            $session.running = false;
        }
        result.map_err(|error| StoreError::from_sqlx($name, &error))
    }};
}

impl Session {
    fn new(connection: Connection) -> Self {
        Self { connection: Some(connection), running: false, in_transaction: false }
    }

    async fn begin(connection: Connection) -> Result<Self, StoreError> {
        let mut session = Self::new(connection);
        let begin = match session.dialect() {
            Dialect::Sqlite => &text::BEGIN_SQLITE,
            Dialect::Postgres => &text::BEGIN_POSTGRES,
        };
        // From here on, since a call that is dropped may have reached the database.
        session.in_transaction = true;
        session.execute(begin, Vec::new()).await?;
        Ok(session)
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match &self.connection {
            Some(Connection::Postgres(_)) => Dialect::Postgres,
            _ => Dialect::Sqlite,
        }
    }

    /// Runs a statement; how many rows it wrote.
    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        self.execute_sql(statement.name, statement.sql(), values).await
    }

    pub(crate) async fn execute_sql(
        &mut self,
        name: &str,
        sql: SqlStr,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u64, StoreError> {
        let done: Affected = run!(self, name, connection, arguments(values) =>
            (&mut **connection).execute(sqlx::query_with(sql, arguments)).await)?;
        Ok(done.0)
    }

    /// Runs a statement; its rows. Every such statement has a `LIMIT` or reads a small table.
    pub(crate) async fn fetch(
        &mut self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.fetch_sql(statement.name, statement.sql(), values).await
    }

    pub(crate) async fn fetch_sql(
        &mut self,
        name: &str,
        sql: SqlStr,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let rows: Rows = run!(self, name, connection, arguments(values) =>
            (&mut **connection).fetch_all(sqlx::query_with(sql, arguments)).await)?;
        rows.0.map_err(|error| StoreError::from_sqlx(name, &error))
    }

    /// Runs a script of several statements without parameters: a migration, or one that names a partition.
    pub(crate) async fn script(&mut self, name: &str, sql: SqlStr) -> Result<(), StoreError> {
        let _: Affected = run!(self, name, connection, _arguments(Vec::new()) =>
            (&mut **connection).execute(sqlx::raw_sql(sql)).await)?;
        Ok(())
    }

    /// Inserts rows that have the values `shared` in common, and whose own values follow one another in `values`: as
    /// many at a time as there are prepared texts for. How many rows it wrote.
    pub(crate) async fn insert(
        &mut self,
        bulk: &Bulk,
        shared: &[Value],
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        let width = bulk.width();
        let mut values = values.into_iter();
        let mut written = 0;
        for (size, rows) in Bulk::SIZES.into_iter().enumerate() {
            while values.len() >= rows * width {
                let sql = bulk.sql(self.dialect(), size);
                let chunk = values.by_ref().take(rows * width);
                written += self.execute_sql(bulk.name, sql, shared.iter().cloned().chain(chunk)).await?;
            }
        }
        Ok(written)
    }

    /// Has the database read a statement without running it.
    pub(crate) async fn prepare(&mut self, name: &str, sql: SqlStr) -> Result<(), StoreError> {
        let _: Prepared = run!(self, name, connection, _arguments(Vec::new()) =>
            (&mut **connection).prepare(sql).await)?;
        Ok(())
    }

    /// Makes the writes of this transaction last.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        self.execute(&text::COMMIT, Vec::new()).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Undoes this transaction and keeps the connection.
    pub(crate) async fn roll_back(mut self) -> Result<(), StoreError> {
        self.execute(&text::ROLLBACK, Vec::new()).await?;
        self.in_transaction = false;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.running && !self.in_transaction {
            return;
        }
        match self.connection.take() {
            Some(Connection::Sqlite(connection)) => drop(connection.detach()),
            Some(Connection::Postgres(connection)) => drop(connection.detach()),
            None => {}
        }
    }
}

struct Affected(u64);

impl From<sqlx::sqlite::SqliteQueryResult> for Affected {
    fn from(done: sqlx::sqlite::SqliteQueryResult) -> Self {
        Self(done.rows_affected())
    }
}

impl From<sqlx::postgres::PgQueryResult> for Affected {
    fn from(done: sqlx::postgres::PgQueryResult) -> Self {
        Self(done.rows_affected())
    }
}

struct Prepared;

impl From<sqlx::sqlite::SqliteStatement> for Prepared {
    fn from(_: sqlx::sqlite::SqliteStatement) -> Self {
        Self
    }
}

impl From<sqlx::postgres::PgStatement> for Prepared {
    fn from(_: sqlx::postgres::PgStatement) -> Self {
        Self
    }
}

struct Rows(Result<Vec<Row>, sqlx::Error>);

impl From<Vec<sqlx::sqlite::SqliteRow>> for Rows {
    fn from(rows: Vec<sqlx::sqlite::SqliteRow>) -> Self {
        Self(rows.iter().map(sqlite_row).collect())
    }
}

impl From<Vec<sqlx::postgres::PgRow>> for Rows {
    fn from(rows: Vec<sqlx::postgres::PgRow>) -> Self {
        Self(rows.iter().map(postgres_row).collect())
    }
}

fn refused(error: sqlx::error::BoxDynError) -> StoreError {
    StoreError::from_sqlx("bind", &sqlx::Error::Encode(error))
}

fn sqlite_arguments(
    values: impl IntoIterator<Item = Value>,
) -> Result<sqlx::sqlite::SqliteArguments, StoreError> {
    let mut arguments = sqlx::sqlite::SqliteArguments::default();
    let values = values.into_iter();
    arguments.reserve(values.size_hint().0, 0);
    for value in values {
        match value {
            Value::Int(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::NoInt | Value::NoText | Value::NoBytes => arguments.add(None::<i64>),
            Value::Ints(_) | Value::Texts(_) => {
                return Err(StoreError::Invalid("SQLite has no lists".into()));
            }
        }
        .map_err(refused)?;
    }
    Ok(arguments)
}

fn postgres_arguments(
    values: impl IntoIterator<Item = Value>,
) -> Result<sqlx::postgres::PgArguments, StoreError> {
    let mut arguments = sqlx::postgres::PgArguments::default();
    let values = values.into_iter();
    arguments.reserve(values.size_hint().0, values.size_hint().0 * 16);
    for value in values {
        match value {
            Value::Int(number) => arguments.add(number),
            Value::Text(text) => arguments.add(&*text),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::NoInt => arguments.add(None::<i64>),
            Value::NoText => arguments.add(None::<&str>),
            Value::NoBytes => arguments.add(None::<&[u8]>),
            Value::Ints(numbers) => arguments.add(numbers),
            Value::Texts(texts) => arguments.add(texts.iter().map(|text| &**text).collect::<Vec<&str>>()),
        }
        .map_err(refused)?;
    }
    Ok(arguments)
}

fn sqlite_row(row: &sqlx::sqlite::SqliteRow) -> Result<Row, sqlx::Error> {
    let mut columns = Vec::with_capacity(row.len());
    for index in 0..row.len() {
        let value = row.try_get_raw(index)?;
        columns.push(if value.is_null() {
            Value::NoText
        } else {
            match value.type_info().name() {
                "INTEGER" => Value::Int(decode::<Sqlite, i64>(value)?),
                "BLOB" => Value::Bytes(decode::<Sqlite, Vec<u8>>(value)?),
                _ => Value::Text(Arc::from(decode::<Sqlite, String>(value)?)),
            }
        });
    }
    Ok(Row::new(columns))
}

fn postgres_row(row: &sqlx::postgres::PgRow) -> Result<Row, sqlx::Error> {
    let mut columns = Vec::with_capacity(row.len());
    for index in 0..row.len() {
        let value = row.try_get_raw(index)?;
        columns.push(if value.is_null() {
            Value::NoText
        } else {
            match row.column(index).type_info().name() {
                "INT2" | "INT4" | "INT8" => Value::Int(decode::<Postgres, i64>(value)?),
                "BYTEA" => Value::Bytes(decode::<Postgres, Vec<u8>>(value)?),
                _ => Value::Text(Arc::from(decode::<Postgres, String>(value)?)),
            }
        });
    }
    Ok(Row::new(columns))
}

fn decode<'r, D: sqlx::Database, T: Decode<'r, D>>(value: D::ValueRef<'r>) -> Result<T, sqlx::Error> {
    T::decode(value).map_err(sqlx::Error::Decode)
}
