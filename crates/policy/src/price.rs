//! What a call costs: rates per million tokens, tiers by length of the input, integers throughout.
//!
//! Unknown is never zero. A rate that nobody knows, or a count that the provider never told, makes the cost
//! unknown (`None`), and the record says so. The sum is exact: every part is multiplied out in 128 bits, and
//! divided and rounded once, at the end.

use crate::ids::Name;
use crate::money::{Currency, Money, MoneyError, parse_nano};
use serde::{Deserialize, Serialize};

/// Tokens that a [`Rate`] is the price of.
const MILLION: i128 = 1_000_000;

/// What a provider says a call used. `None`: it never said. `Some(0)`: it said none.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// All input tokens, with the cached ones, the cache writes and the audio.
    pub input: Option<u64>,
    /// Of the input: read from the provider's cache.
    pub cached_input: Option<u64>,
    /// Of the input: written to the provider's cache.
    pub cache_write: Option<u64>,
    /// All output tokens, with reasoning and audio.
    pub output: Option<u64>,
    /// Of the output: reasoning.
    pub reasoning: Option<u64>,
    /// Of the input: audio.
    pub audio_input: Option<u64>,
    /// Of the output: audio.
    pub audio_output: Option<u64>,
    /// Images made.
    pub images: Option<u64>,
    /// Of the cache writes: kept for an hour. Decides the cost when a call is settled; not kept in records, whose cost is
    /// the result.
    #[serde(default, with = "apart")]
    pub cache_write_hour: Option<u64>,
    /// A stream told less at its end than before. Decides the basis when a call is settled; not kept in records.
    #[serde(skip)]
    pub taken_back: bool,
}

impl Usage {
    /// Whether a part is told to be larger than its whole, or what was told first was taken back.
    pub fn contradicts_itself(&self) -> bool {
        let beyond = |whole: Option<u64>, part: u64| whole.is_some_and(|whole| part > whole);
        let count = Option::unwrap_or_default;
        self.taken_back
            || beyond(self.input, count(self.cached_input).saturating_add(count(self.cache_write)))
            || beyond(self.input, count(self.audio_input))
            || beyond(self.cache_write, count(self.cache_write_hour))
            || beyond(self.output, count(self.reasoning).max(count(self.audio_output)))
    }
}

/// Nano-units of the price's currency for a million tokens (or for one image, second or request).
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(pub i64);

impl Rate {
    /// Reads a plain decimal, such as `0.10`: units of currency for a million tokens. Not negative.
    pub fn parse(decimal: &str) -> Result<Rate, MoneyError> {
        match parse_nano(decimal)? {
            nano if nano >= 0 => Ok(Rate(nano)),
            _ => Err(MoneyError::NotDecimal),
        }
    }
}

/// Rates that replace the others for a call with a long input.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Tier {
    /// The tier holds for calls with more input tokens than this; the highest such tier wins.
    pub above_input_tokens: u64,
    /// Per million input tokens.
    pub input: Option<Rate>,
    /// Per million output tokens.
    pub output: Option<Rate>,
    /// Per million input tokens read from the cache.
    pub cached_input: Option<Rate>,
    /// Per million input tokens written to the cache.
    pub cache_write: Option<Rate>,
}

/// The price of one model. A rate that is `None` is unknown, not free.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Price {
    /// Which price this is, for the record: the date of its row (`2026-11-22`), or where the settings file
    /// says it (`file:12`).
    pub version: Name,
    /// The currency of every rate.
    pub currency: Currency,
    /// Per million input tokens.
    pub input: Option<Rate>,
    /// Per million output tokens.
    pub output: Option<Rate>,
    /// Per million input tokens read from the cache; absent: as `input`.
    pub cached_input: Option<Rate>,
    /// Per million input tokens written to the cache; absent: as `input`.
    pub cache_write: Option<Rate>,
    /// Per million input tokens written to the cache for an hour; absent: as `cache_write`. Not kept in records: the
    /// estimate of a call that nobody settled has no cache writes.
    #[serde(default, with = "apart")]
    pub cache_write_hour: Option<Rate>,
    /// Per million reasoning tokens; absent: as `output`.
    pub reasoning: Option<Rate>,
    /// Per million audio tokens of the input; absent: as `input`.
    pub audio_input: Option<Rate>,
    /// Per million audio tokens of the output; absent: as `output`.
    pub audio_output: Option<Rate>,
    /// For one image made.
    pub per_image: Option<Rate>,
    /// For one second of audio or video.
    pub per_second: Option<Rate>,
    /// For one request, whatever it holds.
    pub per_request: Option<Rate>,
    /// Rates for long inputs, in any order.
    pub tiers: Vec<Tier>,
}

impl Price {
    /// A price with no rate at all.
    pub fn unknown(version: Name, currency: Currency) -> Price {
        Price {
            version,
            currency,
            input: None,
            output: None,
            cached_input: None,
            cache_write: None,
            cache_write_hour: None,
            reasoning: None,
            audio_input: None,
            audio_output: None,
            per_image: None,
            per_second: None,
            per_request: None,
            tiers: Vec::new(),
        }
    }

    /// The cost of a call, rounded half up to a nano-unit. `None` when a rate or a count that is needed is
    /// unknown: tokens of a kind that has no rate, a rate whose count was never told. (Where only the
    /// *parts* of a count were not told, all of it is taken to be plain.)
    pub fn cost(&self, usage: &Usage) -> Option<Money> {
        if let Some(request) = self.per_request.filter(|_| self.is_by_request_alone()) {
            return Some(self.money(i128::from(request.0)));
        }
        let tier = self.tier(usage.input.unwrap_or(0));
        let rate = |own: fn(&Tier) -> Option<Rate>, base| tier.and_then(own).or(base);
        let input = rate(|t| t.input, self.input);
        let output = rate(|t| t.output, self.output);
        let write = rate(|t| t.cache_write, self.cache_write);
        let hour = usage.cache_write_hour.map(|hour| hour.min(usage.cache_write.unwrap_or(hour)));
        let short = usage.cache_write.map(|written| written - hour.unwrap_or(0));
        let mut sum = parts(
            usage.input,
            input,
            [
                (usage.cached_input, rate(|t| t.cached_input, self.cached_input)),
                (hour, self.hour_rate(tier)),
                (short, write),
                (usage.audio_input, self.audio_input),
            ],
        )?;
        sum = sum.saturating_add(parts(
            usage.output,
            output,
            [(usage.audio_output, self.audio_output), (usage.reasoning, self.reasoning)],
        )?);
        if let Some(rate) = self.per_image {
            sum = sum.saturating_add(times(usage.images?, rate).saturating_mul(MILLION));
        }
        if self.per_second.is_some() {
            // No provider of this version tells seconds.
            return None;
        }
        if let Some(rate) = self.per_request {
            sum = sum.saturating_add(i128::from(rate.0) * MILLION);
        }
        Some(self.money(sum.saturating_add(MILLION / 2) / MILLION))
    }

    /// Nothing is billed but the request.
    fn is_by_request_alone(&self) -> bool {
        let tokens = [self.input, self.output, self.cached_input, self.cache_write, self.cache_write_hour];
        let kinds = [self.reasoning, self.audio_input, self.audio_output, self.per_image, self.per_second];
        self.tiers.is_empty() && tokens.iter().chain(&kinds).all(Option::is_none)
    }

    /// The most that a call of this size can cost: every token at the dearest rate it could have, in the
    /// dearest tier it could reach, rounded up. Rates that are unknown count as nothing.
    pub fn upper_bound(&self, input_tokens: u64, output_tokens: u64) -> Money {
        let reached = || self.tiers.iter().filter(|tier| input_tokens > tier.above_input_tokens);
        let base = [self.input, self.cached_input, self.cache_write, self.hour_rate(None), self.audio_input];
        let tiers = reached()
            .flat_map(|tier| [tier.input, tier.cached_input, tier.cache_write, self.hour_rate(Some(tier))]);
        let input = dearest(base.into_iter().chain(tiers));
        let base = [self.output, self.reasoning, self.audio_output];
        let output = dearest(base.into_iter().chain(reached().map(|tier| tier.output)));
        let request = i128::from(dearest([self.per_request].into_iter()).0) * MILLION;
        let sum =
            times(input_tokens, input).saturating_add(times(output_tokens, output)).saturating_add(request);
        self.money(sum.saturating_add(MILLION - 1) / MILLION)
    }

    /// The rate of a cache write for an hour. A tier that has rates of its own for cache writes has none for these: they
    /// keep their proportion to the short ones, rounded up.
    fn hour_rate(&self, tier: Option<&Tier>) -> Option<Rate> {
        let Some(own) = tier.and_then(|tier| tier.cache_write) else {
            return self.cache_write_hour.or(self.cache_write);
        };
        match (self.cache_write_hour, self.cache_write) {
            (Some(hour), Some(short)) if short.0 > 0 => {
                let scaled =
                    (i128::from(own.0) * i128::from(hour.0) + i128::from(short.0) - 1) / i128::from(short.0);
                Some(Rate(i64::try_from(scaled).unwrap_or(i64::MAX)))
            }
            (hour, _) => Some(hour.map_or(own, |hour| hour.max(own))),
        }
    }

    fn tier(&self, input_tokens: u64) -> Option<&Tier> {
        let reached = self.tiers.iter().filter(|tier| input_tokens > tier.above_input_tokens);
        reached.max_by_key(|tier| tier.above_input_tokens)
    }

    /// A sum beyond 64 bits stays at the largest amount there is: too much is noticed, too little is not.
    fn money(&self, nano: i128) -> Money {
        Money { currency: self.currency, nano: i64::try_from(nano).unwrap_or(i64::MAX) }
    }
}

/// The cost of one side (input or output) in millionths of a nano-unit. A side without a rate costs nothing
/// as long as nothing was used of it; a side with a rate needs its count.
fn parts<const N: usize>(
    whole: Option<u64>,
    rate: Option<Rate>,
    kinds: [(Option<u64>, Option<Rate>); N],
) -> Option<i128> {
    let priced = rate.is_some() || kinds.iter().any(|(_, own)| own.is_some());
    let mut rest = match whole {
        Some(count) => count,
        None if priced => return None,
        None => 0,
    };
    let mut sum = 0i128;
    for (count, own) in kinds {
        // Providers have been seen to report parts larger than the whole: never charge for more than that.
        let count = count.unwrap_or(0).min(rest);
        if count > 0 {
            sum = sum.saturating_add(times(count, own.or(rate)?));
            rest -= count;
        }
    }
    if rest > 0 {
        sum = sum.saturating_add(times(rest, rate?));
    }
    Some(sum)
}

/// A member of documents that records, whose form is by position, do not have: nothing is written there, nothing read.
mod apart {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(own: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { own.serialize(to) } else { ().serialize(to) }
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        if from.is_human_readable() {
            Option::deserialize(from)
        } else {
            <()>::deserialize(from).map(|()| None)
        }
    }
}

/// Fits: 64 bits by 63 bits.
fn times(count: u64, rate: Rate) -> i128 {
    i128::from(count) * i128::from(rate.0)
}

fn dearest(rates: impl Iterator<Item = Option<Rate>>) -> Rate {
    rates.flatten().max().unwrap_or(Rate(0))
}

#[cfg(test)]
#[path = "price/tests.rs"]
mod tests;
