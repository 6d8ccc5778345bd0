//! Pages of the request log, by cursor: a request's id is made when it arrives (UUIDv7), so the order of ids is
//! the order of time, and a page costs the same wherever it lies.
//!
//! Filters by key, model and status have no index of their own: they are looked for along the order of ids, day by day
//! from the cursor, until the page is full. Measured on SQLite (`examples/drain_cost`, 60,000 requests, medians of 5, November
//! 2026), one index more makes a request cost the drain 13 % more processor time and the file 11 % larger, three (key,
//! model, status) 31 % and 35 %. Every request would pay that for a question that a person asks now and then.

use ledger::RequestLog;
use policy::{Name, RequestId, Timestamp};

use crate::database::day::Day;
use crate::database::{Database, Place};
use crate::statements::{Statement, text};
use crate::value::{Value, within};
use crate::{Store, StoreError, bounded, request_log};

/// A page never has more lines than this.
const MOST: usize = 1000;

/// Which lines of the request log. The default is the latest 1,000 of all.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Of this environment.
    pub environment: Option<String>,
    /// Of these environments alone; `None` is all.
    pub within: Option<Vec<Name>>,
    /// Of the key with this name or id.
    pub key: Option<String>,
    /// Asked for, or answered by, this model.
    pub model: Option<String>,
    /// With this status.
    pub status: Option<u16>,
    /// That arrived at this time or later.
    pub since: Option<Timestamp>,
    /// That arrived before this time.
    pub until: Option<Timestamp>,
    /// Older than this request: the last of the page before.
    pub before: Option<RequestId>,
    /// Newer than this request: the first of the latest page. Then the page holds the *oldest* that are newer, so that
    /// repeating it misses none.
    pub after: Option<RequestId>,
    /// At most this many lines; 0 and more than 1,000 are 1,000.
    pub limit: usize,
}

impl Store {
    /// A page of the request log, newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn logs(&self, filter: &LogFilter) -> Result<Vec<RequestLog>, StoreError> {
        bounded(async {
            let page = Page::new(filter);
            let mut lines = match &*self.database {
                Database::Sqlite(files) => {
                    let mut days = files.days()?;
                    days.retain(|day| page.touches(*day));
                    if !page.ascending {
                        days.reverse();
                    }
                    self.walk(&page, days).await?
                }
                // Partitions are pruned by the time span in the statement; the place is not looked at.
                Database::Postgres(_) => {
                    self.page(&page, Place::Log(Day::of(self.clock.now())), page.limit).await?
                }
            };
            if page.ascending {
                lines.reverse();
            }
            Ok(lines)
        })
        .await
    }

    /// One line, with its bodies where the environment keeps them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_log(&self, id: &RequestId) -> Result<Option<RequestLog>, StoreError> {
        // The id tells the millisecond in which the request arrived, so a day on either side finds its partition.
        let day = Day::of_request(id);
        let (from, to) = (Day::of(day.start().minus(DAY)).start(), day.next().next().start());
        let values = vec![Value::from(id), Value::from(from), Value::from(to)];
        bounded(async {
            let mut session = match self.database.read(Place::Log(day)).await {
                Err(StoreError::Missing(_)) => return Ok(None),
                other => other?,
            };
            let rows = session.fetch(&text::LOG, values).await?;
            rows.into_iter().next().map(request_log::read).transpose()
        })
        .await
    }

    /// Day after day, until the page is full.
    async fn walk(&self, page: &Page, days: Vec<Day>) -> Result<Vec<RequestLog>, StoreError> {
        let mut lines = Vec::new();
        for day in days {
            let wanted = page.limit - lines.len();
            if wanted == 0 {
                break;
            }
            match self.page(page, Place::Log(day), wanted).await {
                // Retention was faster.
                Err(StoreError::Missing(_)) => {}
                other => lines.extend(other?),
            }
        }
        Ok(lines)
    }

    async fn page(&self, page: &Page, place: Place, limit: usize) -> Result<Vec<RequestLog>, StoreError> {
        let mut session = self.database.read(place).await?;
        let rows = session.fetch(page.statement(), page.values(limit)).await?;
        rows.into_iter().map(request_log::read).collect()
    }
}

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// A filter with its bounds filled in.
struct Page {
    values: [Value; 4],
    within: Value,
    since: Timestamp,
    until: Timestamp,
    cursor: RequestId,
    ascending: bool,
    limit: usize,
}

impl Page {
    fn new(filter: &LogFilter) -> Self {
        let text = |text: &Option<String>| Value::from(text.as_deref().unwrap_or_default());
        let (cursor, ascending) = match (filter.after, filter.before) {
            (Some(after), _) => (after, true),
            (None, Some(before)) => (before, false),
            (None, None) => (RequestId::from_bytes([0xff; 16]), false),
        };
        Self {
            values: [
                text(&filter.environment),
                text(&filter.key),
                text(&filter.model),
                Value::Int(filter.status.map_or(-1, i64::from)),
            ],
            within: within(filter.within.as_deref()),
            since: filter.since.unwrap_or(Timestamp::from_micros(0)),
            until: filter.until.unwrap_or(Timestamp::from_micros(i64::MAX)),
            cursor,
            ascending,
            limit: if filter.limit == 0 { MOST } else { filter.limit.min(MOST) },
        }
    }

    fn statement(&self) -> &'static Statement {
        if self.ascending { &text::LOGS_AFTER } else { &text::LOGS_BEFORE }
    }

    fn values(&self, limit: usize) -> Vec<Value> {
        let mut values = self.values.to_vec();
        values.extend([
            Value::from(self.since),
            Value::from(self.until),
            Value::from(&self.cursor),
            Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)),
            self.within.clone(),
        ]);
        values
    }

    /// Whether the file of a day may hold lines of this page.
    fn touches(&self, day: Day) -> bool {
        let cursor = Day::of_request(&self.cursor);
        let beyond = if self.ascending { day < cursor } else { day > cursor };
        !beyond && day.next().start() > self.since && day.start() < self.until
    }
}
