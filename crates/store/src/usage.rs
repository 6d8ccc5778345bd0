//! Usage, from the hourly sums: a year of it is read as quickly as a day.

use std::collections::BTreeMap;

use policy::{Currency, Money, Name, Timestamp};

use crate::statements::text;
use crate::value::{Row, Value, within};
use crate::{Store, StoreError, currency};

/// A page never has more rows than this; narrow the span or group by less.
const MOST: i64 = 10_000;

/// What to group usage by.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum UsageBy {
    /// The virtual key.
    Key,
    /// The deployment that answered.
    Model,
    /// The provider that answered.
    Provider,
    /// The day, UTC.
    Day,
    /// The hour, UTC; wins over [`UsageBy::Day`].
    Hour,
    /// The client's own user.
    EndUser,
    /// The environment.
    Environment,
    /// The release.
    Release,
    /// `chat`, `embeddings`, …
    Endpoint,
}

/// Which usage.
#[derive(Clone, Debug, Default)]
pub struct UsageFilter {
    /// From the hour in which this lies.
    pub since: Option<Timestamp>,
    /// To the hour in which this lies, exclusive when it is a full hour.
    pub until: Option<Timestamp>,
    /// Of this environment.
    pub environment: Option<String>,
    /// Of the key with this name or id.
    pub key: Option<String>,
    /// Of these environments alone; `None` is all.
    pub within: Option<Vec<Name>>,
    /// Groups; none gives one row for each currency.
    pub by: Vec<UsageBy>,
}

/// Usage of one group in one currency. A field that was not grouped by is `None`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsageRow {
    /// Start of the hour or day.
    pub period: Option<Timestamp>,
    /// The environment.
    pub environment: Option<Name>,
    /// The key's id.
    pub key_id: Option<Name>,
    /// The key's name.
    pub key_name: Option<Name>,
    /// The provider.
    pub provider: Option<Name>,
    /// The deployment.
    pub model: Option<Name>,
    /// The client's own user; empty for requests that named none.
    pub end_user: Option<Name>,
    /// The release.
    pub release: Option<u64>,
    /// `chat`, `embeddings`, …
    pub endpoint: Option<Name>,
    /// Requests that got an answer, or part of one; each counts once, at the model that answered.
    pub requests: u64,
    /// Attempts that were sent to providers, failed ones too.
    pub attempts: u64,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Of the input tokens, those read from a provider's cache.
    pub cached_input_tokens: u64,
    /// Of the input tokens, those written to a provider's cache.
    pub cache_write_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// Of the output tokens, those of reasoning.
    pub reasoning_tokens: u64,
    /// The sum of the known costs; those of `unknown_cost_requests` are not in it.
    pub cost: Money,
    /// Requests of which nobody knows the cost.
    pub unknown_cost_requests: u64,
    /// Requests whose figures are estimates.
    pub estimated_requests: u64,
}

const HOUR: i64 = 3_600_000_000;

impl Store {
    /// Usage by group, ordered by the groups, at most 10,000 rows.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn usage(&self, filter: &UsageFilter) -> Result<Vec<UsageRow>, StoreError> {
        let by = |group: UsageBy| Value::from(filter.by.contains(&group));
        let since = filter.since.map_or(0, |since| since.as_micros().div_euclid(HOUR) * HOUR);
        let values = vec![
            Value::Int(since),
            Value::Int(filter.until.map_or(i64::MAX, Timestamp::as_micros)),
            Value::from(filter.environment.as_deref().unwrap_or_default()),
            Value::from(filter.key.as_deref().unwrap_or_default()),
            by(UsageBy::Hour),
            by(UsageBy::Day),
            by(UsageBy::Environment),
            by(UsageBy::Key),
            by(UsageBy::Provider),
            by(UsageBy::Model),
            by(UsageBy::EndUser),
            by(UsageBy::Release),
            by(UsageBy::Endpoint),
            Value::Int(MOST),
            within(filter.within.as_deref()),
        ];
        let rows = self.fetch(&text::USAGE, values).await?;
        let rows = rows.into_iter().map(|row| read(row, &filter.by)).collect::<Result<Vec<_>, _>>()?;
        Ok(fold_unknown(rows))
    }
}

/// A row, and whether its costs are known: the tables keep requests of unknown cost under no currency.
fn read(mut row: Row, by: &[UsageBy]) -> Result<(UsageRow, bool), StoreError> {
    let row = &mut row;
    let grouped = |group: UsageBy| by.contains(&group);
    let period = row.time()?;
    let environment = row.text()?;
    let key_id = row.text()?;
    let provider = row.text()?;
    let model = row.text()?;
    let end_user = row.text()?;
    let release = row.int()?;
    let endpoint = row.text()?;
    let code = row.text()?;
    let key_name = row.text()?;
    let usage = UsageRow {
        period: (grouped(UsageBy::Hour) || grouped(UsageBy::Day)).then_some(period),
        environment: grouped(UsageBy::Environment).then_some(environment),
        key_id: grouped(UsageBy::Key).then_some(key_id),
        key_name: grouped(UsageBy::Key).then_some(key_name),
        provider: grouped(UsageBy::Provider).then_some(provider),
        model: grouped(UsageBy::Model).then_some(model),
        end_user: grouped(UsageBy::EndUser).then_some(end_user),
        release: grouped(UsageBy::Release).then(|| release.unsigned_abs()),
        endpoint: grouped(UsageBy::Endpoint).then_some(endpoint),
        requests: row.count()?,
        attempts: row.count()?,
        input_tokens: row.count()?,
        cached_input_tokens: row.count()?,
        cache_write_tokens: row.count()?,
        output_tokens: row.count()?,
        reasoning_tokens: row.count()?,
        cost: Money {
            currency: if code.is_empty() { Currency::USD } else { currency(&code)? },
            nano: row.int()?,
        },
        unknown_cost_requests: row.count()?,
        estimated_requests: row.count()?,
    };
    Ok((usage, !code.is_empty()))
}

/// Requests of unknown cost join the first currency of their group, so that a model whose price became known within
/// the span is one row. A group with unknown costs alone keeps a row of its own, with a sum of nothing.
fn fold_unknown(rows: Vec<(UsageRow, bool)>) -> Vec<UsageRow> {
    let mut groups: BTreeMap<_, (Option<UsageRow>, Vec<UsageRow>)> = BTreeMap::new();
    for (row, known) in rows {
        let group = groups.entry(group_of(&row)).or_default();
        if known { group.1.push(row) } else { group.0 = Some(row) }
    }
    let fold = |(unknown, mut known): (Option<UsageRow>, Vec<UsageRow>)| {
        match (unknown, known.first_mut()) {
            (Some(unknown), Some(first)) => first.absorb(&unknown),
            (Some(unknown), None) => known.push(unknown),
            (None, _) => {}
        }
        known
    };
    groups.into_values().flat_map(fold).collect()
}

type Group = (Option<Timestamp>, [Option<Name>; 6], Option<u64>);

fn group_of(row: &UsageRow) -> Group {
    let texts = [&row.environment, &row.key_id, &row.provider, &row.model, &row.end_user, &row.endpoint];
    (row.period, texts.map(Clone::clone), row.release)
}

impl UsageRow {
    fn absorb(&mut self, other: &UsageRow) {
        self.requests += other.requests;
        self.attempts += other.attempts;
        self.input_tokens += other.input_tokens;
        self.cached_input_tokens += other.cached_input_tokens;
        self.cache_write_tokens += other.cache_write_tokens;
        self.output_tokens += other.output_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.unknown_cost_requests += other.unknown_cost_requests;
        self.estimated_requests += other.estimated_requests;
    }
}
