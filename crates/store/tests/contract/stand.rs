//! A store of its own for each test, on either database, gone when the test ends well.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use policy::{StoreUrl, Timestamp};
use runtime::{Clock, ManualClock};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use store::{Store, StoreError};

/// A Sunday at noon.
pub(crate) const NOON: &str = "2026-11-22T12:00:00Z";

pub(crate) struct Stand {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    url: StoreUrl,
    folder: PathBuf,
    database: Option<String>,
}

impl Stand {
    pub(crate) async fn sqlite() -> Self {
        Self::open(StoreUrl::Sqlite, None).await
    }

    pub(crate) async fn postgres() -> Self {
        let (url, name) = make_database().await;
        Self::open(StoreUrl::Postgres(url), Some(name)).await
    }

    async fn open(url: StoreUrl, database: Option<String>) -> Self {
        let folder = std::env::temp_dir().join(unique());
        let (clock, hand) = Clock::manual(noon());
        let store = Store::open(&url, &folder, clock.clone()).await.unwrap();
        Self { store, clock, hand, url, folder, database }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.database.is_some()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Another store on the same database: what a restarted process, or another node, would open.
    pub(crate) async fn again(&self) -> Result<Store, StoreError> {
        Store::open(&self.url, &self.folder, self.clock.clone()).await
    }

    /// An empty database of the same kind, not opened yet.
    pub(crate) async fn fresh(&self) -> Fresh {
        let folder = std::env::temp_dir().join(unique());
        match &self.url {
            StoreUrl::Sqlite => Fresh { url: StoreUrl::Sqlite, folder, database: None },
            StoreUrl::Postgres(_) => {
                let (url, name) = make_database().await;
                Fresh { url: StoreUrl::Postgres(url), folder, database: Some(name) }
            }
        }
    }

    /// Changes the tables by other means than the store's. PostgreSQL only.
    pub(crate) async fn sql(&self, sql: &str) {
        if let StoreUrl::Postgres(url) = &self.url {
            administer(url, sql.to_owned()).await;
        }
    }

    pub(crate) async fn close(self) {
        self.store.close().await;
        remove(&self.folder, self.database.as_deref()).await;
    }
}

pub(crate) struct Fresh {
    pub(crate) url: StoreUrl,
    pub(crate) folder: PathBuf,
    database: Option<String>,
}

impl Fresh {
    pub(crate) async fn remove(self) {
        remove(&self.folder, self.database.as_deref()).await;
    }
}

pub(crate) fn noon() -> Timestamp {
    NOON.parse().unwrap()
}

fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("tg_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The URL of the server that `scripts/services` runs; ends in the name of a database.
#[expect(clippy::disallowed_methods, reason = "the server for tests is named by the environment")]
pub(crate) fn server() -> String {
    std::env::var("TIDEGATE_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!("these tests need PostgreSQL: eval \"$(scripts/services start)\" sets TIDEGATE_TEST_POSTGRES")
    })
}

/// Makes an empty database; its URL and name.
pub(crate) async fn make_database() -> (String, String) {
    let (server, name) = (server(), unique());
    administer(&server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
    administer(&server, format!("CREATE DATABASE {name}")).await;
    let (start, _) = server.rsplit_once('/').unwrap();
    (format!("{start}/{name}"), name)
}

pub(crate) async fn drop_database(name: &str) {
    administer(&server(), format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
}

pub(crate) async fn administer(url: &str, sql: String) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    connection.close().await.unwrap();
}

async fn remove(folder: &Path, database: Option<&str>) {
    if let Some(name) = database {
        drop_database(name).await;
    } else {
        std::fs::remove_dir_all(folder).unwrap();
    }
}
