//! Brings a database to the schema of this version. Migrations are embedded, only ever added to, and have the same
//! number and name for both databases.
//!
//! All that is missing is applied in one transaction, so a start that dies in between leaves the old schema. Nodes that
//! start together take turns (PostgreSQL: an advisory lock; SQLite: one writer). A migration that we do not
//! know was made by a newer version, and is left alone: schemas first grow and shrink a version later, so that
//! two versions can serve side by side during an upgrade.

use std::collections::HashMap;

use policy::{Name, Timestamp};
use sqlx::SqlStr;

use crate::StoreError;
use crate::database::{Dialect, Session};
use crate::statements::{Home, text};
use crate::value::Value;

pub(crate) struct Migration {
    pub(crate) number: i64,
    pub(crate) name: &'static str,
    home: Home,
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

/// The text of one migration for both databases, from the files that carry its name.
macro_rules! migration {
    ($number:literal, $name:literal, $home:expr, $file:literal) => {
        Migration {
            number: $number,
            name: $name,
            home: $home,
            sqlite: include_str!(concat!("../migrations/sqlite/", $file, ".sql")),
            postgres: include_str!(concat!("../migrations/postgres/", $file, ".sql")),
        }
    };
}

pub(crate) static MIGRATIONS: [Migration; 8] = [
    migration!(1, "ledger", Home::Control, "0001_ledger"),
    migration!(2, "keys_and_releases", Home::Control, "0002_keys_and_releases"),
    migration!(3, "request_log", Home::Log, "0003_request_log"),
    migration!(4, "responses", Home::Responses, "0004_responses"),
    migration!(5, "leases", Home::Control, "0005_leases"),
    migration!(6, "identity", Home::Control, "0006_identity"),
    migration!(7, "hosting", Home::Control, "0007_hosting"),
    migration!(8, "node_epochs", Home::Control, "0008_node_epochs"),
];

/// The first statement of all; the same for both databases.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS migrations (\
     number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)";

/// Applies what is missing, in the transaction of `session`. `home`: only the tables that live there; `None` is all.
pub(crate) async fn run(mut session: Session, home: Option<Home>, now: Timestamp) -> Result<(), StoreError> {
    if session.dialect() == Dialect::Postgres {
        // Waiting for a node that migrates is the normal case here, not a fault.
        session.script("migrate", SqlStr::from_static("SET LOCAL lock_timeout = '25s'")).await?;
        session.fetch(&text::LOCK_SCHEMA, Vec::new()).await?;
        session.script("migrate", SqlStr::from_static("SET LOCAL statement_timeout = 0")).await?;
    }
    session.script("migrate", SqlStr::from_static(TABLE)).await?;
    let mut applied: HashMap<i64, Name> = HashMap::new();
    for mut row in session.fetch(&text::MIGRATIONS, Vec::new()).await? {
        applied.insert(row.int()?, row.text()?);
    }
    let known = applied.len();
    for migration in MIGRATIONS.iter().filter(|migration| home.is_none_or(|home| home == migration.home)) {
        match applied.remove(&migration.number) {
            Some(name) if &*name == migration.name => continue,
            Some(name) => {
                return Err(StoreError::Invalid(format!(
                    "migration {} of the database is `{name}` and not `{}`: it belongs to another program",
                    migration.number, migration.name
                )));
            }
            None => apply(&mut session, migration, now).await?,
        }
    }
    if let Some((number, name)) = applied.into_iter().max() {
        tracing::warn!("the database was written by a newer version: it has migration {number} `{name}`");
    }
    if known == 0 {
        tracing::debug!("the schema was made");
    }
    session.commit().await
}

async fn apply(session: &mut Session, migration: &Migration, now: Timestamp) -> Result<(), StoreError> {
    let sql = match session.dialect() {
        Dialect::Sqlite => migration.sqlite,
        Dialect::Postgres => migration.postgres,
    };
    session.script(migration.name, SqlStr::from_static(sql)).await?;
    let values = vec![Value::Int(migration.number), Value::from(migration.name), Value::from(now)];
    session.execute(&text::INSERT_MIGRATION, values).await?;
    Ok(())
}
