//! Takes a batch of the ledger's records into the tables: all or nothing, and any number of times.
//!
//! Entries, balances and hourly usage change in one transaction, and the sums only for entries that were not there
//! before. Nearly always all are new, which the number of written rows tells without asking; a batch of which
//! part is known (a drain that died before it could remember, an answer that was lost) is rolled back and written
//! again by a statement that names the new ones. The log follows in a second transaction, in SQLite in the file of its
//! day: a line there is only ever inserted, so repeating it is harmless.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ledger::{Drain, DrainError, Drained, Entry, RequestLog};

use crate::database::day::Day;
use crate::database::{Database, Place, Session};
use crate::rollup::Rollup;
use crate::statements::text;
use crate::value::Value;
use crate::{Store, StoreError, entries, request_log};

/// How long a batch may take before it is rolled back and reported as unavailable.
const PATIENCE: Duration = Duration::from_secs(60);

impl Drain for Store {
    fn drain<'a>(
        &'a self,
        batch: &'a [Drained],
    ) -> Pin<Box<dyn Future<Output = Result<(), DrainError>> + Send + 'a>> {
        Box::pin(async move {
            let late =
                || StoreError::Unavailable(format!("the batch took more than {} s", PATIENCE.as_secs()));
            let done = tokio::time::timeout(PATIENCE, self.take(batch)).await.unwrap_or_else(|_| Err(late()));
            done.map_err(DrainError::from)
        })
    }
}

impl Store {
    async fn take(&self, batch: &[Drained]) -> Result<(), StoreError> {
        let mut new_entries = Vec::with_capacity(batch.len());
        let mut days: BTreeMap<Day, Vec<&RequestLog>> = BTreeMap::new();
        for record in batch {
            match record {
                Drained::Entry(entry) => new_entries.push(entry),
                Drained::Request(log) => days.entry(self.day(log)).or_default().push(log),
            }
        }
        if !new_entries.is_empty() {
            self.take_entries(&new_entries).await?;
        }
        runtime::failpoint!("store.between");
        self.take_logs(days).await
    }

    async fn take_entries(&self, batch: &[&Entry]) -> Result<(), StoreError> {
        let mut session = self.database.write(Place::Control).await?;
        if let Some(rollup) = insert_new(&mut session, batch).await? {
            return self.finish(session, &rollup).await;
        }
        session.roll_back().await?;
        let mut session = self.database.write(Place::Control).await?;
        let rollup = insert_some(&mut session, batch).await?;
        self.finish(session, &rollup).await
    }

    async fn finish(&self, mut session: Session, rollup: &Rollup<'_>) -> Result<(), StoreError> {
        session.insert(&text::ADD_TO_BALANCES, rollup.balances(self.clock.now())).await?;
        session.insert(&text::ADD_TO_USAGE, rollup.usage()).await?;
        session.commit().await
    }

    /// SQLite finds a line by its id alone, and so its file too; PostgreSQL's partitions are by time.
    fn day(&self, log: &RequestLog) -> Day {
        match &*self.database {
            Database::Sqlite(_) => Day::of_request(&log.request_id),
            Database::Postgres(_) => Day::of(log.at),
        }
    }

    async fn take_logs(&self, days: BTreeMap<Day, Vec<&RequestLog>>) -> Result<(), StoreError> {
        let Some((&first, _)) = days.first_key_value() else { return Ok(()) };
        match &*self.database {
            Database::Sqlite(_) => {
                for (day, logs) in days {
                    self.insert_logs(Place::Log(day), &logs).await?;
                }
                Ok(())
            }
            Database::Postgres(server) => {
                server.make_partitions(&days.keys().copied().collect::<HashSet<_>>()).await?;
                let logs: Vec<&RequestLog> = days.into_values().flatten().collect();
                let done = self.insert_logs(Place::Log(first), &logs).await;
                if matches!(done, Err(StoreError::Refused { .. })) {
                    // Perhaps another node dropped a partition that we believed to be there.
                    server.forget_partitions();
                }
                done
            }
        }
    }

    async fn insert_logs(&self, place: Place, logs: &[&RequestLog]) -> Result<(), StoreError> {
        let mut values = Vec::with_capacity(logs.len() * request_log::WIDTH);
        for log in logs {
            request_log::push(&mut values, log);
        }
        let mut session = self.database.write(place).await?;
        session.insert(&text::INSERT_LOGS, values).await?;
        session.commit().await
    }
}

/// Inserts a batch of which all, or whole chunks, are new; `None` when a chunk was new in part.
async fn insert_new<'a>(
    session: &mut Session,
    batch: &[&'a Entry],
) -> Result<Option<Rollup<'a>>, StoreError> {
    let chunks = session.insert(&text::INSERT_ENTRIES, values(batch)).await?;
    let mut rollup = Rollup::default();
    let mut rest = batch;
    for (rows, written) in chunks {
        let (chunk, tail) = rest.split_at(rows);
        rest = tail;
        match usize::try_from(written) {
            Ok(0) => {}
            Ok(written) if written == rows => chunk.iter().for_each(|entry| rollup.add(entry)),
            _ => return Ok(None),
        }
    }
    Ok(Some(rollup))
}

/// Inserts a batch of which any part is new.
async fn insert_some<'a>(session: &mut Session, batch: &[&'a Entry]) -> Result<Rollup<'a>, StoreError> {
    let mut inserted = HashSet::new();
    for mut row in session.insert_returning(&text::INSERT_ENTRIES_RETURNING, values(batch)).await? {
        inserted.insert((row.request_id()?, row.small()?, row.text()?, row.small()?));
    }
    let mut rollup = Rollup::default();
    for entry in batch {
        // Removed, since a batch may hold the same entry twice: it was inserted once.
        let key = (entry.request_id, entry.attempt_no, entries::kind(entry.kind).clone(), entry.seq);
        if inserted.remove(&key) {
            rollup.add(entry);
        }
    }
    Ok(rollup)
}

fn values(batch: &[&Entry]) -> Vec<Value> {
    let mut values = Vec::with_capacity(batch.len() * entries::WIDTH);
    for entry in batch {
        entries::push(&mut values, entry);
    }
    values
}
