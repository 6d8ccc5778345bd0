//! The rows of `prices.toml`, as they stand in the file, and the model that each becomes.

use super::{Confidence, Model};
use crate::ids::Name;
use crate::money::Currency;
use crate::price::{Price, Rate, Tier};
use crate::time::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceFile {
    pub(super) sources: HashMap<Name, Source>,
    pub(super) model: Vec<PriceRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    #[expect(dead_code, reason = "provenance is for readers of the file; here it only has to be there")]
    page: Name,
    /// The day of which the source speaks.
    date: Name,
    confidence: Confidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceRow {
    pub(super) vendor: Name,
    pub(super) model: Name,
    /// Other names for the same model at the same price.
    #[serde(default)]
    pub(super) also: Vec<Name>,
    pub(super) source: Name,
    context: Option<u64>,
    max_output: Option<u64>,
    currency: Option<Currency>,
    input: Option<Decimal>,
    output: Option<Decimal>,
    cached_input: Option<Decimal>,
    cache_write: Option<Decimal>,
    cache_write_hour: Option<Decimal>,
    reasoning: Option<Decimal>,
    audio_input: Option<Decimal>,
    audio_output: Option<Decimal>,
    per_image: Option<Decimal>,
    #[serde(default)]
    tiers: Vec<TierRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierRow {
    above_input_tokens: u64,
    input: Option<Decimal>,
    output: Option<Decimal>,
    cached_input: Option<Decimal>,
    cache_write: Option<Decimal>,
}

/// A decimal in quotes.
#[derive(Copy, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Decimal(Rate);

impl TryFrom<String> for Decimal {
    type Error = crate::money::MoneyError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Rate::parse(&text).map(Decimal)
    }
}

impl PriceRow {
    pub(super) fn model(&self, source: &Source) -> Result<Model, String> {
        let dated: Timestamp = source.date.parse().map_err(|_| format!("`{}` is not a day", source.date))?;
        let simulated = source.confidence == Confidence::Simulated;
        if simulated != (&*self.vendor == "demo") {
            return Err(format!("`{}`: only the demo is simulated", self.model));
        }
        let rate = |decimal: Option<Decimal>| decimal.map(|Decimal(rate)| rate);
        let tier = |tier: &TierRow| Tier {
            above_input_tokens: tier.above_input_tokens,
            input: rate(tier.input),
            output: rate(tier.output),
            cached_input: rate(tier.cached_input),
            cache_write: rate(tier.cache_write),
        };
        let price = self.currency.map(|currency| {
            Arc::new(Price {
                version: source.date.clone(),
                currency,
                input: rate(self.input),
                output: rate(self.output),
                cached_input: rate(self.cached_input),
                cache_write: rate(self.cache_write),
                cache_write_hour: rate(self.cache_write_hour),
                reasoning: rate(self.reasoning),
                audio_input: rate(self.audio_input),
                audio_output: rate(self.audio_output),
                per_image: rate(self.per_image),
                per_second: None,
                per_request: None,
                tiers: self.tiers.iter().map(tier).collect(),
            })
        });
        if price.is_none() && (self.input.is_some() || self.per_image.is_some()) {
            return Err(format!("`{}` has rates and no currency", self.model));
        }
        Ok(Model { price, context: self.context, max_output: self.max_output, dated: dated.as_seconds() })
    }
}
