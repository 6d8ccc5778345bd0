//! Balances and usage of the entries since the last fold, kept while the entries come.
//!
//! The tables' sums are folded from the entries (see `drain.rs`). Whoever takes the entries sees each of them anyway, so it
//! adds them up here, and a fold writes what is here instead of having the database read every entry back. That is only
//! allowed where nothing else can have come between: on SQLite, whose one writer is this process, and where every
//! entry of every batch was new. The ids prove it: they count up by one, so the entries after the last fold are exactly
//! these when there are as many of them. In all other cases the fold reads the entries; both ways give the same sums.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::Arc;

use foldhash::fast::RandomState;
use ledger::{Entry, EntryKind, Labels, Outcome};
use policy::{Currency, Name, Timestamp, Verbatim};

use crate::entries::{Place, code};
use crate::value::{Value, foreign_or_none};

/// Where adding two still fits an integer; as in the statements.
const MOST: i64 = i64::MAX / 2;
/// No count of tokens is believed beyond this; as in the view `entry_usage`.
const BELIEVED: i64 = 1 << 40;
const HOUR_US: i64 = 3_600_000_000;
/// Rows that are kept at most, about 60 MB when each is another key's. Beyond it they are folded at once.
const MOST_ROWS: usize = 262_144;
/// Rows lie in blocks of so many, and stay where they are.
const BLOCK: usize = 256;

/// What the entries since a fold add to the sums.
#[derive(Default)]
pub(crate) struct Sums {
    /// The id of the last entry that was folded, and how many came since; `None` when that is not known, and nothing is
    /// kept then.
    since: Option<(i64, i64)>,
    rows: Rows,
    windows: usize,
}

/// The rows, and where each is found. The table of places holds their hashes and no row: when it grows nothing else is touched,
/// which with a hundred thousand keys was most of what growing cost.
#[derive(Default)]
struct Rows {
    hasher: RandomState,
    /// By the hash of its group the row that came last of those that have it.
    places: HashMap<u64, u32, BuildHasherDefault<Verbatim>>,
    blocks: Vec<Vec<Row>>,
    count: u32,
}

struct Row {
    group: Group,
    used: Used,
    /// Another row with this hash.
    next: Option<u32>,
}

/// What a row of `usage_sums` belongs to. Two groups of one row do no harm: the row is added to twice.
struct Group {
    hour: i64,
    /// Compared by where they are, and kept so that nothing else can be there: who reads the spool shares the labels of a key, and
    /// ten texts are not looked at for each entry.
    labels: Arc<Labels>,
    provider: Name,
    model: Name,
    endpoint: Name,
    end_user: Option<Name>,
    currency: Option<Currency>,
}

#[derive(Default)]
struct Used {
    requests: i64,
    attempts: i64,
    input: i64,
    cached_input: i64,
    cache_write: i64,
    output: i64,
    reasoning: i64,
    cost: i64,
    unknown_cost: i64,
    estimated: i64,
    /// What was taken from each budget window: here, since a key's entries mostly have the same, and to look one thing up is
    /// quicker than two.
    windows: Vec<Window>,
}

/// A row for `balance_sums`.
pub(crate) struct Window {
    scope: Name,
    start: Timestamp,
    currency: Currency,
    spent: i64,
}

impl Sums {
    /// Nothing is known any more: the next fold reads the entries.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Begins anew: every entry up to the one with this id is folded.
    pub(crate) fn begin(&mut self, folded: i64) {
        self.forget();
        self.since = Some((folded, 0));
    }

    /// Whether entries are counted.
    pub(crate) fn is_known(&self) -> bool {
        self.since.is_some()
    }

    /// Rows that a fold would write.
    pub(crate) fn rows(&self) -> usize {
        self.rows.count as usize + self.windows
    }

    /// Whether so much is kept that it must be folded.
    pub(crate) fn is_full(&self) -> bool {
        self.rows() > MOST_ROWS
    }

    /// Whether these are the sums of exactly the entries after `from` and up to `to`.
    pub(crate) fn cover(&self, from: i64, to: i64) -> bool {
        self.since.is_some_and(|(folded, count)| folded == from && folded + count == to)
    }

    /// Adds a batch of which every entry was new.
    pub(crate) fn add(&mut self, batch: &[&Entry]) {
        let Some((_, count)) = &mut self.since else { return };
        *count += i64::try_from(batch.len()).unwrap_or(i64::MAX / 2);
        for entry in batch {
            let used = self.rows.of(entry);
            let before = used.windows.len();
            used.add(entry);
            self.windows += used.windows.len() - before;
        }
    }

    /// What `balance_sums` gains. What has values in common follows one another, and is in the order of the table's key.
    pub(crate) fn windows(&self) -> Vec<&Window> {
        let mut windows: Vec<_> = self.rows.all().flat_map(|row| &row.used.windows).collect();
        windows
            .sort_unstable_by(|a, b| (a.currency, &a.scope, a.start).cmp(&(b.currency, &b.scope, b.start)));
        windows
    }

    /// What `usage_sums` gains, in the same order.
    pub(crate) fn uses(&self) -> Vec<Use<'_>> {
        let used = self.rows.all().filter(|row| row.used.attempts > 0);
        let mut uses: Vec<_> = used.map(|Row { group, used, .. }| Use { group, used }).collect();
        uses.sort_unstable_by(|a, b| {
            a.group.shared().cmp(&b.group.shared()).then_with(|| a.group.own().cmp(&b.group.own()))
        });
        uses
    }
}

impl Rows {
    /// What the row of an entry has so far.
    fn of(&mut self, entry: &Entry) -> &mut Used {
        let hash = self.hash(entry);
        let first = self.places.get(&hash).copied();
        let mut place = first;
        while let Some(at) = place.filter(|at| !self.at(*at).group.is_of(entry)) {
            place = self.at(at).next;
        }
        let at = place.unwrap_or_else(|| {
            if (self.count as usize).is_multiple_of(BLOCK) {
                self.blocks.push(Vec::with_capacity(BLOCK));
            }
            if let Some(block) = self.blocks.last_mut() {
                block.push(Row { group: Group::of(entry), used: Used::default(), next: first });
            }
            self.places.insert(hash, self.count);
            self.count += 1;
            self.count - 1
        }) as usize;
        &mut self.blocks[at / BLOCK][at % BLOCK].used
    }

    fn at(&self, at: u32) -> &Row {
        &self.blocks[at as usize / BLOCK][at as usize % BLOCK]
    }

    fn all(&self) -> impl Iterator<Item = &Row> {
        self.blocks.iter().flatten()
    }

    fn hash(&self, entry: &Entry) -> u64 {
        let texts = (&*entry.provider, &*entry.model, &*entry.endpoint, entry.end_user.as_deref());
        let currency = entry.cost.map(|cost| cost.currency);
        self.hasher.hash_one((hour(entry), Arc::as_ptr(&entry.labels), texts, currency))
    }
}

fn hour(entry: &Entry) -> i64 {
    let at = entry.at.as_micros();
    at - at % HOUR_US
}

impl Window {
    /// Whether both have the same values in common.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.currency == other.currency
    }

    pub(crate) fn shared(&self) -> Vec<Value> {
        vec![code(Some(self.currency))]
    }

    pub(crate) fn values(&self) -> [Value; 3] {
        [Value::from(&self.scope), Value::from(self.start), Value::Int(self.spent)]
    }
}

/// A row for `usage_sums`.
pub(crate) struct Use<'a> {
    group: &'a Group,
    used: &'a Used,
}

impl Use<'_> {
    /// Whether both have the same values in common.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.group.shared() == other.group.shared()
    }

    /// Absent texts are part of the table's key, as ''.
    pub(crate) fn shared(&self) -> Vec<Value> {
        let mut values = vec![Value::Int(self.group.hour), present(code(self.group.currency))];
        values.extend(Place::of(&self.group.labels).values().into_iter().map(present));
        values
    }

    pub(crate) fn values(&self) -> [Value; 16] {
        let (group, used) = (self.group, self.used);
        [
            Value::from(&group.labels.key_id),
            Value::from(&group.labels.key_name),
            Value::from(&group.model),
            Value::from(&group.provider),
            Value::from(&group.endpoint),
            present(foreign_or_none(&group.end_user)),
            Value::Int(used.requests),
            Value::Int(used.attempts),
            Value::Int(used.input),
            Value::Int(used.cached_input),
            Value::Int(used.cache_write),
            Value::Int(used.output),
            Value::Int(used.reasoning),
            Value::Int(used.cost),
            Value::Int(used.unknown_cost),
            Value::Int(used.estimated),
        ]
    }
}

impl Group {
    fn of(entry: &Entry) -> Self {
        Self {
            hour: hour(entry),
            labels: Arc::clone(&entry.labels),
            provider: entry.provider.clone(),
            model: entry.model.clone(),
            endpoint: entry.endpoint.clone(),
            end_user: entry.end_user.clone(),
            currency: entry.cost.map(|cost| cost.currency),
        }
    }

    fn is_of(&self, entry: &Entry) -> bool {
        Arc::ptr_eq(&self.labels, &entry.labels)
            && self.hour == hour(entry)
            && self.model == entry.model
            && self.provider == entry.provider
            && self.endpoint == entry.endpoint
            && self.end_user == entry.end_user
            && self.currency == entry.cost.map(|cost| cost.currency)
    }

    fn shared(&self) -> (i64, Option<Currency>, Place<'_>) {
        (self.hour, self.currency, Place::of(&self.labels))
    }

    /// In the order of the table's key, so that neighbours are written one after another.
    fn own(&self) -> [&str; 4] {
        [&self.labels.key_id.0, &self.model, &self.endpoint, self.end_user.as_deref().unwrap_or_default()]
    }
}

fn present(value: Value) -> Value {
    if value == Value::NoText { Value::from("") } else { value }
}

impl Used {
    fn add(&mut self, entry: &Entry) {
        if let Some(charge) = entry.charge {
            for (scope, start) in &entry.budgets {
                add(self.window(scope, *start, charge.currency), charge.nano);
            }
        }
        if entry.kind == EntryKind::Settle && entry.outcome != Outcome::NeverDispatched {
            self.add_usage(entry);
        }
    }

    fn window(&mut self, scope: &Name, start: Timestamp, currency: Currency) -> &mut i64 {
        let same =
            |window: &Window| (&window.scope, window.start, window.currency) == (scope, start, currency);
        let place = self.windows.iter().position(same).unwrap_or(self.windows.len());
        if place == self.windows.len() {
            // Most keys have one budget, and there may be a hundred thousand of them.
            self.windows.reserve_exact(1);
            self.windows.push(Window { scope: scope.clone(), start, currency, spent: 0 });
        }
        &mut self.windows[place].spent
    }

    /// As the view `entry_usage` reads an entry.
    fn add_usage(&mut self, entry: &Entry) {
        let usage = &entry.usage;
        let gave = usage.output.is_some_and(|output| output > 0)
            || entry.charge.is_some_and(|charge| charge.nano > 0);
        let request = match entry.outcome {
            _ if entry.seq != 0 => 0,
            Outcome::Completed | Outcome::ClientGone => 1,
            Outcome::UpstreamFailed if gave => 1,
            _ => 0,
        };
        self.requests += request;
        self.attempts += 1;
        for (sum, count) in [
            (&mut self.input, usage.input),
            (&mut self.cached_input, usage.cached_input),
            (&mut self.cache_write, usage.cache_write),
            (&mut self.output, usage.output),
            (&mut self.reasoning, usage.reasoning),
        ] {
            *sum += count.map_or(0, |count| i64::try_from(count).unwrap_or(i64::MAX).min(BELIEVED));
        }
        match entry.cost {
            Some(cost) => add(&mut self.cost, cost.nano),
            None => self.unknown_cost += request,
        }
        self.estimated += request * i64::from(entry.estimated);
    }
}

/// Sums stop where adding two still fits.
fn add(sum: &mut i64, more: i64) {
    *sum = sum.saturating_add(more).min(MOST);
}

#[cfg(test)]
#[path = "sums/tests.rs"]
mod tests;
