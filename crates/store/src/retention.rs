//! Old days of the request log are dropped whole: a file or a partition each, see `database/day.rs`. Stored responses each
//! have a time of their own.

use std::time::Duration;

use crate::database::Database;
use crate::database::day::Day;
use crate::{Store, StoreError};

impl Store {
    /// Drops the days of the request log that ended longer than `keep` ago, and on PostgreSQL makes the partitions of
    /// today and tomorrow, so that no batch at midnight waits for one. Stored responses
    /// whose time is over go too, and leases on budget windows that have long ended. Also brings the sums of usage and balances up to
    /// date, so that reading them is quick after a quiet hour. The names of the dropped days, oldest first.
    /// Meant to be called every hour or so; harmless at any time, on any number of nodes.
    ///
    /// # Errors
    /// See [`StoreError`]; days before the one that failed are dropped.
    pub async fn retain(&self, keep: Duration) -> Result<Vec<String>, StoreError> {
        self.fold().await?;
        self.expire_responses().await?;
        let now = self.clock.now();
        let oldest = Day::of(now.minus(keep));
        let today = Day::of(now);
        if let Database::Postgres(server) = &*self.database {
            server.make_partitions(&[today, today.next()].into()).await?;
            self.drop_old_leases().await?;
        }
        let days = match &*self.database {
            Database::Sqlite(files) => files.days()?,
            Database::Postgres(server) => server.days().await?,
        };
        let mut dropped = Vec::new();
        for day in days.into_iter().filter(|day| *day < oldest) {
            match &*self.database {
                Database::Sqlite(files) => files.drop_day(day).await?,
                Database::Postgres(server) => server.drop_day(day).await?,
            }
            dropped.push(day.to_string());
        }
        Ok(dropped)
    }
}
