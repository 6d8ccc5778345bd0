//! The only SQL: keys, releases, the ledger's tables, the request log and stored responses, on SQLite or PostgreSQL.
//!
//! What it is: rows in, domain types out. [`Store`] implements the ledger's [`ledger::Drain`], and answers the
//! admin API. What it is not: it decides nothing, caches nothing, and the way of a request never waits for it.
//!
//! Every operation is bounded in time, may be cancelled at any point, and recovers by itself when a database that was
//! away comes back; errors say whether waiting helps ([`StoreError::Unavailable`]).
//!
//! Reading order: `statements/text.rs` (all the SQL), `database.rs` (how it is run), `drain.rs` (the one hot path:
//! a batch of the ledger's records), `sums.rs`, then `leases.rs` (what several nodes divide), `keys.rs`, `releases.rs`, `logs.rs`, `usage.rs`,
//! `responses.rs`, `retention.rs`, `copies.rs` (backups), `moving.rs` (from SQLite to PostgreSQL); who may do what: `statements/identity.rs`, `places.rs`, `users.rs`, `members.rs`, `sessions.rs`,
//! `invitations.rs`, `tokens.rs`.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use policy::{Currency, Money, Name, StoreUrl, Timestamp};
use runtime::Clock;
use tokio::sync::Mutex;

mod copies;
mod database;
mod drain;
mod entries;
mod error;
mod hosted;
mod invitations;
mod keys;
mod leases;
mod logs;
mod members;
mod migrations;
mod moving;
mod places;
mod releases;
mod request_log;
mod responses;
mod retention;
mod sessions;
mod statements;
mod sums;
mod tokens;
mod usage;
mod users;
mod value;

pub use copies::{Contents, contents, copy_file};
pub use error::StoreError;
pub use hosted::{Approval, HostedEnvironment, Publication};
pub use invitations::InvitationRow;
pub use leases::{Node, Office};
pub use logs::LogFilter;
pub use members::{MemberRow, MemberView, Membership};
pub use moving::Moved;
pub use places::{Declared, Founding, OrganizationRow, PlaceRow, WorkspaceRow};
pub use releases::ReleaseRow;
pub use responses::ResponseRow;
pub use sessions::{SessionRow, SignedIn};
pub use tokens::TokenRow;
pub use usage::{UsageBy, UsageFilter, UsageRow};
pub use users::UserRow;

use database::{Database, Place};
use statements::text;
use sums::Sums;
use value::{Row, Value};

/// How long an operation other than the drain may take in all.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a fold may hold up the end.
const LAST_FOLD: Duration = Duration::from_secs(2);
/// Longer than freeing memory takes, and no longer than a shutdown would like to wait for it.
const REST: Duration = Duration::from_secs(1);
/// A month and a day: no calendar window that still runs began before.
const LONGEST_WINDOW: Duration = Duration::from_secs(32 * 24 * 3600);

/// The connected and migrated database. Clones share it.
#[derive(Clone)]
pub struct Store {
    database: Arc<Database>,
    clock: Clock,
    /// Entries taken since the last fold, about.
    unfolded: Arc<AtomicU64>,
    /// What they add to the sums. Held while entries are written or folded.
    sums: Arc<Mutex<Sums>>,
}

impl Store {
    /// Connects, and brings the schema up to date. SQLite: `data_dir/control.sqlite` and `data_dir/logs/`, made readable
    /// by their owner alone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] within about 5 s when the server is away (the caller tries again);
    /// [`StoreError::Invalid`] when the URL or the schema cannot be used.
    pub async fn open(url: &StoreUrl, data_dir: &Path, clock: Clock) -> Result<Self, StoreError> {
        let database = match url {
            StoreUrl::Sqlite => {
                Database::Sqlite(database::sqlite::Files::open(data_dir, clock.clone()).await?)
            }
            StoreUrl::Postgres(url) => {
                Database::Postgres(database::postgres::Server::open(url, &clock).await?)
            }
        };
        Ok(Self { database: Arc::new(database), clock, unfolded: Arc::default(), sums: Arc::default() })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        bounded(async {
            self.database.read(Place::Control).await?.fetch(&text::PING, Vec::new()).await?;
            Ok(())
        })
        .await
    }

    /// What each budget window has paid, for windows that may still run.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn balances(&self) -> Result<Vec<(Name, Timestamp, Money)>, StoreError> {
        let oldest = self.clock.now().minus(LONGEST_WINDOW);
        let rows = self.fetch(&text::BALANCES, vec![oldest.into()]).await?;
        let read = |mut row: Row| {
            let (scope, window_start, currency) = (row.text()?, row.time()?, currency(&row.text()?)?);
            Ok((scope, window_start, Money { currency, nano: row.int()? }))
        };
        rows.into_iter().map(read).collect()
    }

    /// Frees memory that only makes the next operation faster. For times when nothing is to be done.
    pub async fn rest(&self) {
        // Whoever waits for a file does not wait for this.
        let _ = tokio::time::timeout(REST, self.database.rest()).await;
    }

    /// Closes every connection. Operations after it are [`StoreError::Unavailable`]. Sums are folded first where there is
    /// much to fold and it is quick, so that the next start finds little to add up.
    pub async fn close(&self) {
        if self.unfolded.load(Ordering::Relaxed) >= drain::FOLD_WHEN_QUIET {
            // It changes no sum: what does not get done is done later.
            let _ = tokio::time::timeout(LAST_FOLD, self.fold()).await;
        }
        self.database.close().await;
    }

    /// Rows of the control data, or of what else is no log.
    async fn fetch(
        &self,
        statement: &statements::Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let place = place_of(statement);
        bounded(async { self.database.read(place).await?.fetch(statement, values).await }).await
    }

    /// One statement that writes such rows; how many rows it wrote.
    async fn execute(
        &self,
        statement: &statements::Statement,
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        bounded(async {
            let mut session = self.database.write(place_of(statement)).await?;
            match session.execute(statement, values).await {
                Ok(written) => session.commit().await.map(|()| written),
                Err(error) => {
                    // The refusal is what the caller needs to know; a rollback that fails closes the connection.
                    let _ = session.roll_back().await;
                    Err(error)
                }
            }
        })
        .await
    }
}

/// One of several statements of control data that hold together or not at all.
struct Step {
    statement: &'static statements::Statement,
    values: Vec<Value>,
    /// What there is none of where it changes nothing; empty where that is no matter.
    wanted: &'static str,
}

impl Step {
    fn any(statement: &'static statements::Statement, values: Vec<Value>) -> Self {
        Self { statement, values, wanted: "" }
    }

    /// Where it changes nothing, nothing of all is done: there is none of `wanted`.
    fn must(statement: &'static statements::Statement, values: Vec<Value>, wanted: &'static str) -> Self {
        Self { statement, values, wanted }
    }
}

impl Store {
    /// Does all, or nothing.
    async fn together(&self, steps: Vec<Step>) -> Result<(), StoreError> {
        bounded(async {
            let mut session = self.database.write(Place::Control).await?;
            for step in steps {
                let failed = match session.execute(step.statement, step.values).await {
                    Ok(0) if !step.wanted.is_empty() => StoreError::Missing(step.wanted.into()),
                    Ok(_) => continue,
                    Err(error) => error,
                };
                // The refusal is what the caller needs to know; a rollback that fails closes the connection.
                let _ = session.roll_back().await;
                return Err(failed);
            }
            session.commit().await
        })
        .await
    }
}

fn place_of(statement: &statements::Statement) -> Place {
    match statement.home {
        statements::Home::Responses => Place::Responses,
        // Lines of the log are read and written by the day, elsewhere.
        statements::Home::Control | statements::Home::Log => Place::Control,
    }
}

/// Gives up after [`PATIENCE`]: what was begun is rolled back, see `database.rs`.
async fn bounded<T>(operation: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, operation).await.unwrap_or_else(|_| Err(late()))
}

fn currency(text: &str) -> Result<Currency, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("`{text}` is not a currency")))
}

/// Money in the two columns that hold it.
fn money(nano: Option<i64>, code: Option<&str>) -> Result<Option<Money>, StoreError> {
    match (nano, code) {
        (Some(nano), Some(code)) => Ok(Some(Money { currency: currency(code)?, nano })),
        _ => Ok(None),
    }
}
