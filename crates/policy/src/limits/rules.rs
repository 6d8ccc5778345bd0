//! What a limit says, for whom, and the counters of one of whom it is said.

use super::{Bucket, Part, Permits, Standing};
use crate::ids::Name;
use crate::time::Moment;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a rate counts.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Counted {
    /// Requests.
    Requests,
    /// Tokens of input and output together.
    Tokens,
    /// Tokens of input.
    InputTokens,
    /// Tokens of output.
    OutputTokens,
}

/// The time that a rate is said for.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Span {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day, of 24 hours.
    Day,
}

impl Counted {
    const ALL: [(&'static str, Counted); 4] = [
        ("requests", Counted::Requests),
        ("tokens", Counted::Tokens),
        ("input_tokens", Counted::InputTokens),
        ("output_tokens", Counted::OutputTokens),
    ];

    /// For messages: `input tokens`.
    pub fn words(self) -> &'static str {
        match self {
            Counted::Requests => "requests",
            Counted::Tokens => "tokens",
            Counted::InputTokens => "input tokens",
            Counted::OutputTokens => "output tokens",
        }
    }

    /// How much of it a call takes.
    pub fn of(self, input: u64, output: u64) -> u64 {
        match self {
            Counted::Requests => 1,
            Counted::Tokens => input.saturating_add(output),
            Counted::InputTokens => input,
            Counted::OutputTokens => output,
        }
    }
}

impl Span {
    const ALL: [(&'static str, Span); 4] =
        [("second", Span::Second), ("minute", Span::Minute), ("hour", Span::Hour), ("day", Span::Day)];

    /// For messages: `minute`.
    pub fn words(self) -> &'static str {
        Span::ALL.iter().find(|(_, span)| *span == self).map_or("", |(name, _)| name)
    }

    /// How long it is.
    pub fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Span::Second => 1,
            Span::Minute => 60,
            Span::Hour => 3_600,
            Span::Day => 86_400,
        })
    }
}

/// Which rate: `tokens_per_minute`.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Rate {
    /// What it counts.
    pub counted: Counted,
    /// In which time.
    pub span: Span,
}

impl Rate {
    /// Requests a minute.
    pub const REQUESTS_PER_MINUTE: Rate = Rate { counted: Counted::Requests, span: Span::Minute };
    /// Tokens a minute.
    pub const TOKENS_PER_MINUTE: Rate = Rate { counted: Counted::Tokens, span: Span::Minute };

    /// The rate of that name in settings, `requests_per_minute`.
    pub fn named(name: &str) -> Option<Rate> {
        let (counted, span) = name.split_once("_per_")?;
        let (_, counted) = Counted::ALL.iter().find(|(name, _)| *name == counted)?;
        let (_, span) = Span::ALL.iter().find(|(name, _)| *name == span)?;
        Some(Rate { counted: *counted, span: *span })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = Counted::ALL.iter().find(|(_, counted)| *counted == self.counted);
        write!(f, "{}_per_{}", counted.map_or("", |(name, _)| name), self.span.words())
    }
}

/// Caps on rate and on what is under way at once. In JSON and in settings one table: `requests_per_minute`, `concurrency`, ….
#[derive(Clone, Eq, PartialEq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(into = "BTreeMap<String, u64>", try_from = "BTreeMap<String, Option<u64>>")]
pub struct Limits {
    /// Each rate once, in a fixed order.
    pub rates: SmallVec<[(Rate, u64); 2]>,
    /// Requests under way at once.
    pub concurrency: Option<u32>,
}

impl Limits {
    /// The name of the limit on what is under way at once.
    pub const CONCURRENCY: &'static str = "concurrency";

    /// Every name that may stand in a table of limits.
    pub fn names() -> impl Iterator<Item = String> {
        let rates = Counted::ALL.iter().flat_map(|(_, counted)| {
            Span::ALL.iter().map(|(_, span)| Rate { counted: *counted, span: *span }.to_string())
        });
        rates.chain([Limits::CONCURRENCY.to_owned()])
    }

    /// Sets the limit of that name; `false` where there is none of that name, or the number is too large for it.
    pub fn set(&mut self, name: &str, limit: u64) -> bool {
        if name == Limits::CONCURRENCY {
            self.concurrency = u32::try_from(limit).ok();
            return self.concurrency.is_some();
        }
        let Some(rate) = Rate::named(name) else { return false };
        match self.rates.binary_search_by_key(&rate, |(rate, _)| *rate) {
            Ok(at) => self.rates[at].1 = limit,
            Err(at) => self.rates.insert(at, (rate, limit)),
        }
        true
    }

    /// The same limits with this one.
    #[must_use]
    pub fn with(mut self, name: &str, limit: u64) -> Limits {
        self.set(name, limit);
        self
    }

    /// A rate's limit, where there is one.
    pub fn rate(&self, rate: Rate) -> Option<u64> {
        self.rates.iter().find(|(own, _)| *own == rate).map(|(_, limit)| *limit)
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.rates.is_empty() && self.concurrency.is_none()
    }
}

impl From<Limits> for BTreeMap<String, u64> {
    fn from(limits: Limits) -> Self {
        let rates = limits.rates.iter().map(|(rate, limit)| (rate.to_string(), *limit));
        let concurrency = limits.concurrency.map(|limit| (Limits::CONCURRENCY.to_owned(), u64::from(limit)));
        rates.chain(concurrency).collect()
    }
}

impl TryFrom<BTreeMap<String, Option<u64>>> for Limits {
    type Error = String;

    fn try_from(table: BTreeMap<String, Option<u64>>) -> Result<Limits, String> {
        let mut limits = Limits::default();
        for (name, limit) in table {
            if limit.is_some_and(|limit| !limits.set(&name, limit)) {
                return Err(format!("`{name}` is no limit, or too large for one"));
            }
        }
        Ok(limits)
    }
}

/// For each of whom a limit counts by itself.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// A virtual key.
    Key,
    /// An end user, as the client names them.
    EndUser,
    /// A client's address.
    Address,
    /// The environment.
    Environment,
    /// The workspace, over its environments.
    Workspace,
    /// The organization, over its workspaces.
    Organization,
    /// What is asked for: a route or a model.
    Model,
    /// A provider, by attempt.
    Provider,
    /// A deployment, `provider/model`, by attempt.
    Deployment,
}

impl Per {
    /// Every one, with its name in settings.
    pub const NAMES: [(&'static str, Per); 9] = [
        ("key", Per::Key),
        ("end_user", Per::EndUser),
        ("address", Per::Address),
        ("environment", Per::Environment),
        ("workspace", Per::Workspace),
        ("organization", Per::Organization),
        ("model", Per::Model),
        ("provider", Per::Provider),
        ("deployment", Per::Deployment),
    ];

    /// The name in settings.
    pub fn as_str(self) -> &'static str {
        Per::NAMES.iter().find(|(_, per)| *per == self).map_or("", |(name, _)| name)
    }

    /// For messages: `end user`.
    pub fn words(self) -> &'static str {
        match self {
            Per::EndUser => "end user",
            other => other.as_str(),
        }
    }

    /// Whether it is counted for each attempt and not for the request.
    pub fn of_attempts(self) -> bool {
        matches!(self, Per::Provider | Per::Deployment)
    }
}

/// One of `[[limits]]`.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct LimitRule {
    /// Unique in its environment; named where it refuses.
    pub name: Name,
    /// For each of whom it counts by itself.
    pub per: Per,
    /// Holds only for these: exact, or the beginning before a final `*`. Empty: for each.
    pub only: Vec<Name>,
    /// Holds only for calls that ask for these models and routes, in the same way. Empty: for all calls.
    pub models: Vec<Name>,
    /// How much.
    pub limits: Limits,
    /// Counts and tells, and refuses nothing.
    pub shadow: bool,
}

impl LimitRule {
    /// Whether it counts for this one.
    pub fn covers(&self, subject: &str) -> bool {
        fits(&self.only, subject)
    }

    /// Whether it counts for calls of this model.
    pub fn covers_model(&self, model: &str) -> bool {
        fits(&self.models, model)
    }
}

/// Whether a name is one of these: exact, or the beginning before a final `*`. No patterns fit every name.
pub fn fits(patterns: &[Name], name: &str) -> bool {
    let fits = |pattern: &Name| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => **pattern == *name,
    };
    patterns.is_empty() || patterns.iter().any(fits)
}

/// The counters behind some [`Limits`]. Clones share them.
#[derive(Clone, Debug)]
pub struct Meters {
    /// As the limits' rates, in the same order.
    pub buckets: SmallVec<[(Rate, Bucket); 2]>,
    /// Counted even where not limited.
    pub permits: Arc<Permits>,
}

impl Meters {
    /// The counters of some limits. Those of `before` go on where their limit did not change.
    pub fn new(limits: &Limits, before: Option<&Meters>) -> Meters {
        let kept = |rate: Rate, limit: u64| {
            let own = before?.buckets.iter().find(|(own, bucket)| *own == rate && bucket.limit() == limit)?;
            Some(own.1.clone())
        };
        let bucket = |(rate, limit): &(Rate, u64)| {
            (*rate, kept(*rate, *limit).unwrap_or_else(|| Bucket::new(*limit, rate.span.duration())))
        };
        let permits =
            before.map_or_else(|| Arc::new(Permits::new(None)), |before| Arc::clone(&before.permits));
        permits.set_limit(limits.concurrency);
        Meters { buckets: limits.rates.iter().map(bucket).collect(), permits }
    }

    /// Whether they count for these limits.
    pub fn are_of(&self, limits: &Limits) -> bool {
        self.permits.limit() == limits.concurrency
            && self.buckets.len() == limits.rates.len()
            && self
                .buckets
                .iter()
                .zip(&limits.rates)
                .all(|((own, bucket), (rate, limit))| own == rate && bucket.limit() == *limit)
    }

    /// Whether nothing is lost when they are forgotten.
    pub fn are_idle(&self, now: Moment) -> bool {
        self.permits.in_use() == 0 && self.buckets.iter().all(|(_, bucket)| bucket.is_full(now))
    }

    /// The rates that a part takes, and how much of each.
    pub fn debits(&self, part: Part) -> impl Iterator<Item = (Rate, &Bucket, u64)> {
        self.buckets.iter().filter_map(move |(rate, bucket)| Some((*rate, bucket, part.of(*rate)?)))
    }

    /// The rates of requests, or those of tokens, with how each stands.
    pub fn standings(&self, requests: bool, now: Moment) -> impl Iterator<Item = (Rate, Standing)> {
        let wanted = move |(rate, _): &&(Rate, Bucket)| (rate.counted == Counted::Requests) == requests;
        self.buckets.iter().filter(wanted).map(move |(rate, bucket)| (*rate, bucket.look(now)))
    }
}
