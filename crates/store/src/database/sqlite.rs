//! SQLite: one file for control data, one a day for the request log, and one for stored responses.
//!
//! Each file has one connection that writes, since SQLite lets one write at a time and a queue in front of it
//! costs less than being told that it is busy; and two that read beside it, which WAL allows. A day's file is
//! opened when a row or a reader asks for it, and few stay open: each connection is a thread and a cache.
//!
//! `synchronous = NORMAL`: a commit survives the death of the process, not that of the machine. That is enough,
//! because the spool in front of it keeps every record until it has been drained, and draining again is harmless.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use policy::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Sqlite};
use tokio::sync::{Mutex, OnceCell};

use super::day::Day;
use super::{Connection, Place, Session};
use crate::statements::{Home, text};
use crate::{StoreError, migrations};

/// How long a statement waits for another process that writes the same file.
pub(crate) const BUSY: Duration = Duration::from_secs(5);
/// How long an operation waits for its turn at a connection of ours.
const TURN: Duration = Duration::from_secs(5);
/// Days whose files stay open: today's, yesterday's for what comes late, and one that is being read.
const OPEN_DAYS: usize = 3;

/// The files of one data folder.
pub(crate) struct Files {
    control: File,
    /// Opened when the first response is kept or asked for.
    responses: OnceCell<File>,
    folder: PathBuf,
    logs: PathBuf,
    clock: runtime::Clock,
    /// The most recently used last.
    days: Mutex<Vec<(Day, Arc<File>)>>,
}

struct File {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Files {
    /// Opens (and makes, readable by its owner alone) `control.sqlite` and the folder `logs` in `data_dir`.
    pub(crate) async fn open(data_dir: &Path, clock: runtime::Clock) -> Result<Self, StoreError> {
        let logs = data_dir.join("logs");
        make_folder(&logs)?;
        let control = File::open(data_dir.join("control.sqlite"), Home::Control, clock.now()).await?;
        let folder = data_dir.to_owned();
        Ok(Self { control, responses: OnceCell::new(), folder, logs, clock, days: Mutex::default() })
    }

    pub(crate) async fn reader(&self, place: Place) -> Result<PoolConnection<Sqlite>, StoreError> {
        match place {
            Place::Control => acquire(&self.control.readers).await,
            Place::Log(day) => acquire(&self.day(day, false).await?.readers).await,
            Place::Responses => acquire(&self.responses().await?.readers).await,
        }
    }

    pub(crate) async fn writer(&self, place: Place) -> Result<PoolConnection<Sqlite>, StoreError> {
        match place {
            Place::Control => acquire(&self.control.writer).await,
            Place::Log(day) => acquire(&self.day(day, true).await?.writer).await,
            Place::Responses => acquire(&self.responses().await?.writer).await,
        }
    }

    async fn responses(&self) -> Result<&File, StoreError> {
        let open = || File::open(self.folder.join("responses.sqlite"), Home::Responses, self.clock.now());
        self.responses.get_or_try_init(open).await
    }

    /// The file of a day, opened once for all who ask at the same time.
    async fn day(&self, day: Day, make: bool) -> Result<Arc<File>, StoreError> {
        let mut days = self.days.lock().await;
        if let Some(index) = days.iter().position(|(open, _)| *open == day) {
            let entry = days.remove(index);
            let file = entry.1.clone();
            days.push(entry);
            return Ok(file);
        }
        let path = self.path(day);
        if !make && !path.exists() {
            return Err(StoreError::Missing(format!("request log of {day}")));
        }
        let file = Arc::new(File::open(path, Home::Log, self.clock.now()).await?);
        if days.len() >= OPEN_DAYS {
            // Closed when the last who uses it is done: dropping a pool closes what is idle in it.
            days.remove(0);
        }
        days.push((day, file.clone()));
        Ok(file)
    }

    fn path(&self, day: Day) -> PathBuf {
        self.logs.join(format!("{day}.sqlite"))
    }

    /// The days of which there is a file, oldest first.
    pub(crate) fn days(&self) -> Result<Vec<Day>, StoreError> {
        let mut days = Vec::new();
        for entry in fs::read_dir(&self.logs).map_err(|error| unusable(&self.logs, &error))? {
            let name = entry.map_err(|error| unusable(&self.logs, &error))?.file_name();
            if let Some(Ok(day)) = name.to_str().and_then(|name| name.strip_suffix(".sqlite")).map(str::parse)
            {
                days.push(day);
            }
        }
        days.sort_unstable();
        Ok(days)
    }

    /// Deletes a day's file and what SQLite keeps beside it.
    pub(crate) async fn drop_day(&self, day: Day) -> Result<(), StoreError> {
        let mut days = self.days.lock().await;
        if let Some(index) = days.iter().position(|(open, _)| *open == day) {
            days.remove(index).1.close().await;
        }
        // The database first: without it the others are nothing, but they must never meet a newer database.
        let path = self.path(day);
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            match fs::remove_file(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(&path, &error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Frees the pages that are kept in memory; each is read again when it is needed.
    pub(crate) async fn rest(&self) {
        self.control.rest().await;
        if let Some(responses) = self.responses.get() {
            responses.rest().await;
        }
        for (_, file) in self.days.lock().await.iter() {
            file.rest().await;
        }
    }

    pub(crate) async fn close(&self) {
        for (_, file) in self.days.lock().await.drain(..) {
            file.close().await;
        }
        if let Some(responses) = self.responses.get() {
            responses.close().await;
        }
        self.control.close().await;
    }
}

impl File {
    async fn open(path: PathBuf, home: Home, now: Timestamp) -> Result<Self, StoreError> {
        make_file(&path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY)
            .foreign_keys(false)
            // Half as many pages to write and to check for the same rows, which only ever follow one another.
            .page_size(8192)
            // After a burst the log shrinks to this again.
            .pragma("journal_size_limit", "16777216")
            .disable_statement_logging();
        let pool =
            SqlitePoolOptions::new().acquire_timeout(TURN).test_before_acquire(false).max_lifetime(None);
        let writer = pool
            .clone()
            .max_connections(1)
            .idle_timeout(None)
            .connect_lazy_with(options.clone().pragma("cache_size", "-1024"));
        let readers = pool
            .max_connections(2)
            .idle_timeout(Some(Duration::from_secs(60)))
            .connect_lazy_with(options.pragma("cache_size", "-512").pragma("query_only", "on"));
        let connection = first(&writer).await?;
        let session = Session::begin(Connection::Sqlite(connection)).await?;
        migrations::run(session, Some(home), now).await?;
        Ok(Self { writer, readers })
    }

    /// Only connections that nobody uses: who works needs the pages.
    async fn rest(&self) {
        let mut idle = Vec::new();
        for pool in [&self.writer, &self.readers] {
            idle.extend(std::iter::from_fn(|| pool.try_acquire()));
        }
        for mut connection in idle {
            // It only saves memory: a failure costs nothing and says nothing.
            let _ = sqlx::query(text::SHRINK.sql()).execute(&mut *connection).await;
        }
    }

    /// Waits for those who use it, at most as long as they may take.
    async fn close(&self) {
        // Readers first, so that the writer is the last and folds the log into the file. A reader that does not
        // end in time is left to itself.
        let _ = tokio::time::timeout(TURN, self.readers.close()).await;
        let _ = tokio::time::timeout(TURN, self.writer.close()).await;
    }
}

/// The first connection to a file. A new file is put into WAL mode, which SQLite refuses without waiting when another
/// process opens it in the same moment.
async fn first(writer: &SqlitePool) -> Result<PoolConnection<Sqlite>, StoreError> {
    let patient = async {
        loop {
            match acquire(writer).await {
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => return other,
            }
        }
    };
    match tokio::time::timeout(BUSY, patient).await {
        Ok(connection) => connection,
        // Once more, for the reason.
        Err(_) => acquire(writer).await,
    }
}

async fn acquire(pool: &SqlitePool) -> Result<PoolConnection<Sqlite>, StoreError> {
    pool.acquire().await.map_err(|error| StoreError::from_sqlx("connect", &error))
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| unusable(path, &error))
}

/// SQLite gives its own files the mode of the database, which therefore has to exist before it.
fn make_file(path: &Path) -> Result<(), StoreError> {
    let made = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot use `{}`: {error}", path.display()))
}
