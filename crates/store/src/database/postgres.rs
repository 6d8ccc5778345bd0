//! PostgreSQL: one pool, and limits on everything that is waited for.
//!
//! The limits are set where they hold: those of a statement and of a lock in the server, which then rolls back; that
//! of a connection here. So a server that is slow, stopped or gone makes errors that say so, and no queue.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor, Postgres, SqlSafeStr};

use super::day::Day;
use super::{Connection, Session};
use crate::statements::text;
use crate::value::Row;
use crate::{StoreError, migrations};

/// How long is waited for a connection: opened, or given back by others of this process.
const CONNECT: Duration = Duration::from_secs(5);
/// How many connections one process holds at most. The drain needs one; the admin API the others.
const CONNECTIONS: u32 = 8;
/// Limits in the server. Names of settings and units: PostgreSQL 15 manual, 20.11.1.
const SESSION: &str = "SET statement_timeout = '30s'; SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = 'warning'";

/// One database on a server.
pub(crate) struct Server {
    pool: PgPool,
    /// Days that are known to have a partition. A hint: a partition that is dropped is forgotten here.
    partitions: Mutex<HashSet<Day>>,
}

impl Server {
    /// Connects and brings the schema up to date.
    pub(crate) async fn open(url: &str, clock: &runtime::Clock) -> Result<Self, StoreError> {
        // sqlx reads any scheme as its own. The error must not repeat the URL: it holds a password.
        let ours = url.starts_with("postgres://") || url.starts_with("postgresql://");
        let options = PgConnectOptions::from_str(url).ok().filter(|_| ours);
        let options = options
            .ok_or_else(|| StoreError::Invalid("`store.url` is not a URL of PostgreSQL".into()))?
            .application_name("tidegate")
            .disable_statement_logging();
        // Once without the pool, which retries until its time is up and then cannot say why.
        match tokio::time::timeout(CONNECT, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => drop(connection.close().await),
            Ok(Err(error)) => return Err(StoreError::from_sqlx("connect", &error)),
            Err(_) => return Err(StoreError::Unavailable("the server did not answer within 5 s".into())),
        }
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT)
            .idle_timeout(Some(Duration::from_secs(300)))
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(sqlx::raw_sql(SESSION)).await.map(drop) })
            })
            .connect_lazy_with(options);
        let server = Self { pool, partitions: Mutex::default() };
        let session = server.begin().await?;
        migrations::run(session, None, clock.now()).await?;
        Ok(server)
    }

    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        self.pool.acquire().await.map_err(|error| StoreError::from_sqlx("connect", &error))
    }

    /// A session with a transaction open.
    pub(crate) async fn begin(&self) -> Result<Session, StoreError> {
        Session::begin(Connection::Postgres(self.acquire().await?)).await
    }

    /// Makes the partitions of these days where there are none, in a transaction of their own: creating one locks the
    /// whole log, so it must not wait for a batch to end.
    pub(crate) async fn make_partitions(&self, days: &HashSet<Day>) -> Result<(), StoreError> {
        let missing: Vec<Day> = days.difference(&self.known()).copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut session = self.begin().await?;
        // `IF NOT EXISTS` looks before it locks: two nodes at midnight need to take turns.
        session.fetch(&text::LOCK_SCHEMA, Vec::new()).await?;
        for day in &missing {
            let sql = format!(
                "CREATE TABLE IF NOT EXISTS request_log_{} PARTITION OF request_log FOR VALUES FROM ({}) TO ({})",
                day.digits(),
                day.start().as_micros(),
                day.next().start().as_micros(),
            );
            session.script("create a partition", AssertSqlSafe(sql).into_sql_str()).await?;
        }
        session.commit().await?;
        self.known().extend(missing);
        Ok(())
    }

    /// The days that have a partition, oldest first.
    pub(crate) async fn days(&self) -> Result<Vec<Day>, StoreError> {
        let mut session = Session::new(Connection::Postgres(self.acquire().await?));
        let rows = session.fetch(&text::PARTITIONS, Vec::new()).await?;
        let names = rows.into_iter().map(|mut row: Row| row.text()).collect::<Result<Vec<_>, _>>()?;
        let mut days: Vec<Day> = names
            .iter()
            .filter_map(|name| name.strip_prefix("request_log_").and_then(Day::from_digits))
            .collect();
        days.sort_unstable();
        Ok(days)
    }

    /// Drops a day's partition.
    pub(crate) async fn drop_day(&self, day: Day) -> Result<(), StoreError> {
        self.forget_partitions();
        let mut session = self.begin().await?;
        let sql = format!("DROP TABLE IF EXISTS request_log_{}", day.digits());
        session.script("drop a partition", AssertSqlSafe(sql).into_sql_str()).await?;
        session.commit().await
    }

    /// Looks again before the next batch: another node may have dropped a partition.
    pub(crate) fn forget_partitions(&self) {
        self.known().clear();
    }

    /// The set is whole at every unlock, so a panic elsewhere does not spoil it.
    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<Day>> {
        self.partitions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) async fn close(&self) {
        let _ = tokio::time::timeout(CONNECT, self.pool.close()).await;
    }
}
