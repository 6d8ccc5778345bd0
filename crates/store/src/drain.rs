//! Takes a batch of the ledger's records into the tables: all or nothing, and any number of times.
//!
//! An entry or a log line is only ever inserted, and one that is there already is left as it is; sums are views over
//! the entries (see the migration `ledger`). So nothing has to be found out about what was new, and a batch that
//! comes again, whole or in part, changes nothing. Entries go first, in a transaction of their own; the log follows,
//! in SQLite in the file of its day.
//!
//! What the views have to add up is kept short by folding: [`Store::fold`] adds the entries since the last fold to
//! the stored sums. Why not with each batch: a batch of a thousand records of a thousand keys would write a thousand
//! pages, where a fold of a hundred thousand writes each page once. What it adds was mostly kept as the entries came
//! (`sums.rs`).

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ledger::{Drain, DrainError, Drained, Entry, RequestLog};

use crate::database::day::Day;
use crate::database::{Database, Dialect, Place, Session};
use crate::statements::{Bulk, text};
use crate::sums::{Sums, Use};
use crate::value::Value;
use crate::{Store, StoreError, entries, request_log};

/// How long a batch or a fold may take before it is rolled back and reported as unavailable.
const PATIENCE: Duration = Duration::from_secs(60);
/// Entries after which sums are folded: reading that many takes half a second.
const FOLD_AT: u64 = 250_000;
/// Entries after which they are folded when there is time for it.
pub(crate) const FOLD_WHEN_QUIET: u64 = 20_000;
/// A row of the sums costs several times what an entry does. So before a fold there are to be that many entries for each,
/// which takes a while where a hundred thousand keys are used in turn; but at the latest at so many.
const ENTRIES_A_ROW: u64 = 4;
const FOLD_AT_LAST: u64 = 1_000_000;
/// Rows of the sums in one statement.
const AT_ONCE: usize = Bulk::SIZES[0];
/// A batch of fewer records than this says that there is time: the ledger hands over what it has five times a second.
const QUIET: usize = 250;

impl Drain for Store {
    fn drain<'a>(
        &'a self,
        batch: &'a [Drained],
    ) -> Pin<Box<dyn Future<Output = Result<(), DrainError>> + Send + 'a>> {
        Box::pin(async move {
            patient(self.take(batch)).await.map_err(DrainError::from)?;
            let entries = batch.iter().filter(|record| matches!(record, Drained::Entry(_))).count() as u64;
            let unfolded = self.unfolded.fetch_add(entries, Ordering::Relaxed) + entries;
            if self.is_fold_due(unfolded, batch.len()).await {
                self.unfolded.store(0, Ordering::Relaxed);
                // The batch is taken whether or not this succeeds: sums are right before and after.
                if let Err(error) = self.fold().await {
                    tracing::warn!("the sums of usage and balances were not folded: {error}");
                }
            }
            Ok(())
        })
    }
}

async fn patient<T>(operation: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, operation).await.unwrap_or_else(|_| Err(late()))
}

impl Store {
    async fn take(&self, batch: &[Drained]) -> Result<(), StoreError> {
        let mut entries = Vec::with_capacity(batch.len());
        let mut days: BTreeMap<Day, Vec<&RequestLog>> = BTreeMap::new();
        for record in batch {
            match record {
                Drained::Entry(entry) => entries.push(entry),
                Drained::Request(log) => days.entry(self.day(log)).or_default().push(log),
            }
        }
        if !entries.is_empty() {
            self.insert_entries(&entries).await?;
        }
        runtime::failpoint!("store.between");
        self.take_logs(days).await
    }

    async fn insert_entries(&self, batch: &[&Entry]) -> Result<(), StoreError> {
        let mut groups: BTreeMap<entries::Shared<'_>, Vec<Value>> = BTreeMap::new();
        for entry in batch {
            let shared = entries::Shared::of(entry);
            let likely = batch.len() / (groups.len() + 1);
            let values = groups.entry(shared).or_insert_with(|| room(likely, shared.bulk()));
            shared.push(values, entry);
        }
        let mut held = self.sums.lock().await;
        // Given back when all went well: nothing is believed of a batch that was broken off.
        let mut sums = std::mem::take(&mut *held);
        let mut session = self.database.write(Place::Control).await?;
        match self.database.dialect() {
            Dialect::Postgres => drop(session.fetch(&text::SHARE_ENTRIES, Vec::new()).await?),
            Dialect::Sqlite if sums.is_known() => {}
            Dialect::Sqlite => {
                let (from, to) = unfolded(&mut session).await?;
                if from == to {
                    sums.begin(to);
                }
            }
        }
        let mut written = 0;
        for (shared, values) in groups {
            written += session.insert(shared.bulk(), &shared.values(), values).await?;
        }
        session.commit().await?;
        if written == batch.len() as u64 {
            sums.add(batch);
            *held = sums;
        } else if written == 0 {
            // All of it came before, as it does when only its log lines were not taken.
            *held = sums;
        }
        Ok(())
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
                let partitions: HashSet<Day> = days.keys().copied().collect();
                let logs: Vec<&RequestLog> = days.into_values().flatten().collect();
                server.make_partitions(&partitions).await?;
                match self.insert_logs(Place::Log(first), &logs).await {
                    // A day without a partition is refused like a wrong value: perhaps another node dropped one that
                    // we believed to be there, so nothing is said against the records before it is made anew.
                    Err(StoreError::Refused { .. }) => {
                        server.forget_partitions();
                        server.make_partitions(&partitions).await?;
                        self.insert_logs(Place::Log(first), &logs).await
                    }
                    done => done,
                }
            }
        }
    }

    async fn insert_logs(&self, place: Place, logs: &[&RequestLog]) -> Result<(), StoreError> {
        let mut groups: BTreeMap<request_log::Shared<'_>, Vec<Value>> = BTreeMap::new();
        for log in logs {
            let shared = request_log::Shared::of(log);
            let likely = logs.len() / (groups.len() + 1);
            let values = groups.entry(shared).or_insert_with(|| room(likely, shared.bulk()));
            shared.push(values, log);
        }
        let mut session = self.database.write(place).await?;
        for (shared, values) in groups {
            session.insert(shared.bulk(), &shared.values(), values).await?;
        }
        session.commit().await
    }

    async fn is_fold_due(&self, unfolded: u64, batch: usize) -> bool {
        let sums = self.sums.lock().await;
        let worth = unfolded >= ENTRIES_A_ROW * sums.rows() as u64;
        let enough = unfolded >= if batch < QUIET { FOLD_WHEN_QUIET } else { FOLD_AT };
        sums.is_full() || (enough && worth) || unfolded >= FOLD_AT_LAST
    }

    /// Adds the entries since the last fold to the stored sums, in one transaction. Changes no sum that anybody can see.
    pub(crate) async fn fold(&self) -> Result<(), StoreError> {
        patient(async {
            let mut held = self.sums.lock().await;
            let sums = std::mem::take(&mut *held);
            let mut session = self.database.write(Place::Control).await?;
            let alone = self.database.dialect() == Dialect::Sqlite;
            if !alone {
                session.fetch(&text::LOCK_ENTRIES, Vec::new()).await?;
            }
            let (from, to) = unfolded(&mut session).await?;
            if from >= to {
                return session.roll_back().await;
            }
            if sums.cover(from, to) {
                add(&mut session, &sums).await?;
            } else {
                session.execute(&text::FOLD_BALANCES, vec![from.into(), to.into()]).await?;
                session.execute(&text::FOLD_USAGE, vec![from.into(), to.into()]).await?;
            }
            session.execute(&text::FOLDED, vec![Value::Int(to)]).await?;
            session.commit().await?;
            if alone {
                held.begin(to);
            }
            drop(held);
            // The pages that were read for it are given back.
            self.database.rest().await;
            Ok(())
        })
        .await
    }
}

/// Room for the values of so many rows: the first group mostly is nearly the whole batch.
fn room(rows: usize, bulk: &Bulk) -> Vec<Value> {
    Vec::with_capacity(rows * bulk.width())
}

/// How far the entries are folded, and how far they reach.
async fn unfolded(session: &mut Session) -> Result<(i64, i64), StoreError> {
    let row = session.fetch(&text::UNFOLDED, Vec::new()).await?.into_iter().next();
    let mut row = row.ok_or_else(|| StoreError::Corrupt("the table `folded` has no row".into()))?;
    Ok((row.int()?, row.int()?))
}

/// Adds sums that were kept.
async fn add(session: &mut Session, sums: &Sums) -> Result<(), StoreError> {
    let windows = sums.windows();
    let alike = windows.chunk_by(|a, b| a.is_like(b));
    for rows in alike.flat_map(|rows| rows.chunks(AT_ONCE)) {
        let values = rows.iter().flat_map(|window| window.values()).collect();
        session.insert(&text::ADD_BALANCES, &rows[0].shared(), values).await?;
    }
    let uses = sums.uses();
    let alike = uses.chunk_by(|a, b| a.is_like(b));
    for rows in alike.flat_map(|rows| rows.chunks(AT_ONCE)) {
        let values = rows.iter().flat_map(Use::values).collect();
        session.insert(&text::ADD_USAGE, &rows[0].shared(), values).await?;
    }
    Ok(())
}
