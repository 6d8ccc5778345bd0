//! What the store holds, read by queries of the oracle's own, in one transaction.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;
use sqlx::{Connection, Row};

use crate::journal::Tokens;

/// What the oracle reads of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// All entries.
    pub entries: Vec<Entry>,
    /// All balances, by scope and window.
    pub balances: Vec<Balance>,
    /// The requests in the request log, where it was read.
    pub logged: Option<HashSet<String>>,
}

/// One row of `entries`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// As UUID.
    pub request_id: String,
    /// From 1.
    pub attempt: u16,
    /// `settle` or `void`.
    pub kind: String,
    /// 0, or which correction.
    pub seq: i64,
    /// Microseconds since 1970.
    pub at: i64,
    /// The virtual key.
    pub key_id: String,
    /// The deployment, `provider/model`.
    pub model: String,
    /// `completed`, `client_gone`, `upstream_failed`, `refused` or `never_dispatched`.
    pub outcome: String,
    /// Token counts as stated.
    pub usage: Counts,
    /// `reported`, `aborted`, `interrupted`, `crashed`, `dropped` or `unreported`.
    pub basis: String,
    /// Flagged as estimated.
    pub estimated: bool,
    /// Nano units and currency.
    pub cost: Option<(i64, String)>,
    /// Nano units and currency.
    pub charge: Option<(i64, String)>,
    /// The version of the price.
    pub price_version: Option<String>,
    /// Scope and window start.
    pub budgets: Vec<(String, i64)>,
    /// The provider billed more than it was asked for.
    pub overrun: bool,
}

/// Token counts of an entry; `None` was never told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All input tokens.
    pub input: Option<u64>,
    /// Those of them read from a cache.
    pub cached_input: Option<u64>,
    /// All output tokens.
    pub output: Option<u64>,
    /// Those of them spent on reasoning.
    pub reasoning: Option<u64>,
}

impl Counts {
    /// As tokens, if the input is stated; what else is not stated counts as 0 (embeddings have no output).
    #[must_use]
    pub fn tokens(&self) -> Option<Tokens> {
        let zero = |count: Option<u64>| count.unwrap_or(0);
        self.input.map(|input| Tokens {
            input,
            cached_input: zero(self.cached_input),
            output: zero(self.output),
            reasoning: zero(self.reasoning),
        })
    }
}

/// One row of `balances`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Balance {
    /// The budget's scope.
    pub scope: String,
    /// Microseconds since 1970.
    pub window_start: i64,
    /// ISO 4217.
    pub currency: String,
    /// Nano units.
    pub spent: i64,
}

// One text for both databases; the casts make every integer 64 bits wide on both.
const ENTRIES: &str = "SELECT request_id, CAST(attempt_no AS BIGINT) AS attempt_no, kind, CAST(seq AS BIGINT) AS seq, \
    CAST(at AS BIGINT) AS at, key_id, model, outcome, CAST(input_tokens AS BIGINT) AS input_tokens, \
    CAST(cached_input_tokens AS BIGINT) AS cached_input_tokens, CAST(output_tokens AS BIGINT) AS output_tokens, \
    CAST(reasoning_tokens AS BIGINT) AS reasoning_tokens, basis, CAST(estimated AS BIGINT) AS estimated, \
    CAST(cost AS BIGINT) AS cost, cost_currency, CAST(charge AS BIGINT) AS charge, charge_currency, price_version, \
    budgets, CAST(overrun AS BIGINT) AS overrun FROM entries ORDER BY request_id, attempt_no, kind, seq";
const BALANCES: &str = "SELECT scope, CAST(window_start AS BIGINT) AS window_start, currency, \
    CAST(spent AS BIGINT) AS spent FROM balances ORDER BY scope, window_start, currency";
const LOGGED: &str = "SELECT request_id FROM request_log";

/// One row of either database.
macro_rules! entry {
    ($row:expr) => {{
        let row = $row;
        let count = |name: &str| -> Result<Option<u64>, sqlx::Error> {
            Ok(row.try_get::<Option<i64>, _>(name)?.and_then(|count| u64::try_from(count).ok()))
        };
        let money = |nano: &str, currency: &str| -> Result<Option<(i64, String)>, sqlx::Error> {
            let (nano, currency) =
                (row.try_get::<Option<i64>, _>(nano)?, row.try_get::<Option<String>, _>(currency)?);
            Ok(nano.map(|nano| (nano, currency.unwrap_or_default())))
        };
        let id: Vec<u8> = row.try_get("request_id")?;
        let budgets: String = row.try_get("budgets")?;
        Entry {
            request_id: uuid(&id),
            attempt: u16::try_from(row.try_get::<i64, _>("attempt_no")?).unwrap_or(0),
            kind: row.try_get("kind")?,
            seq: row.try_get("seq")?,
            at: row.try_get("at")?,
            key_id: row.try_get("key_id")?,
            model: row.try_get("model")?,
            outcome: row.try_get("outcome")?,
            usage: Counts {
                input: count("input_tokens")?,
                cached_input: count("cached_input_tokens")?,
                output: count("output_tokens")?,
                reasoning: count("reasoning_tokens")?,
            },
            basis: row.try_get("basis")?,
            estimated: row.try_get::<i64, _>("estimated")? != 0,
            cost: money("cost", "cost_currency")?,
            charge: money("charge", "charge_currency")?,
            price_version: row.try_get("price_version")?,
            budgets: serde_json::from_str(&budgets)?,
            overrun: row.try_get::<i64, _>("overrun")? != 0,
        }
    }};
}

macro_rules! balance {
    ($row:expr) => {{
        let row = $row;
        Balance {
            scope: row.try_get("scope")?,
            window_start: row.try_get("window_start")?,
            currency: row.try_get("currency")?,
            spent: row.try_get("spent")?,
        }
    }};
}

impl Tables {
    /// Reads `control.sqlite` and, if given, every file of the folder of request logs.
    ///
    /// # Errors
    /// When a file cannot be read or its tables are not as expected.
    pub async fn read_sqlite(control: &Path, logs: Option<&Path>) -> anyhow::Result<Self> {
        let mut connection = open(control).await?;
        let mut transaction = connection.begin().await?;
        let mut tables = Self::default();
        for row in sqlx::query(ENTRIES).fetch_all(&mut *transaction).await? {
            tables.entries.push(entry!(row));
        }
        for row in sqlx::query(BALANCES).fetch_all(&mut *transaction).await? {
            tables.balances.push(balance!(row));
        }
        transaction.rollback().await?;
        if let Some(folder) = logs {
            let mut logged = HashSet::new();
            for file in std::fs::read_dir(folder)? {
                let path = file?.path();
                if path.extension().is_some_and(|extension| extension == "sqlite") {
                    for row in sqlx::query(LOGGED).fetch_all(&mut open(&path).await?).await? {
                        logged.insert(uuid(&row.try_get::<Vec<u8>, _>(0)?));
                    }
                }
            }
            tables.logged = Some(logged);
        }
        Ok(tables)
    }

    /// Reads a PostgreSQL store, its request log included.
    ///
    /// # Errors
    /// When the server cannot be reached or the tables are not as expected.
    pub async fn read_postgres(url: &str) -> anyhow::Result<Self> {
        let mut connection = sqlx::PgConnection::connect(url).await?;
        let mut transaction = connection.begin().await?;
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .execute(&mut *transaction)
            .await?;
        let mut tables = Self::default();
        for row in sqlx::query(ENTRIES).fetch_all(&mut *transaction).await? {
            tables.entries.push(entry!(row));
        }
        for row in sqlx::query(BALANCES).fetch_all(&mut *transaction).await? {
            tables.balances.push(balance!(row));
        }
        let mut logged = HashSet::new();
        for row in sqlx::query(LOGGED).fetch_all(&mut *transaction).await? {
            logged.insert(uuid(&row.try_get::<Vec<u8>, _>(0)?));
        }
        tables.logged = Some(logged);
        transaction.rollback().await?;
        connection.close().await?;
        // Databases order text each in its own way.
        tables.balances.sort();
        Ok(tables)
    }
}

async fn open(path: &Path) -> Result<sqlx::SqliteConnection, sqlx::Error> {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(std::time::Duration::from_secs(10));
    sqlx::SqliteConnection::connect_with(&options).await
}

/// 16 bytes as a hyphenated UUID.
fn uuid(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}
