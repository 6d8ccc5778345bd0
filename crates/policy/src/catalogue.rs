//! Vendors and prices: two dated data files, compiled into the binary.
//!
//! A vendor that speaks the OpenAI dialect is a row of data, not code. Each price names its source and the
//! day on which that was read; a price that could not be sourced is not there, and its cost is recorded as
//! unknown.

use crate::ids::Name;
use crate::money::Currency;
use crate::price::{Price, Rate, Tier};
use crate::snapshot::Auth;
use crate::time::Timestamp;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

const VENDORS: &str = include_str!("../data/vendors.toml");
const PRICES: &str = include_str!("../data/prices.toml");

static BUILT_IN: LazyLock<Catalogue> = LazyLock::new(|| {
    // A test holds that both files read; a process is better off without prices than not at all.
    Catalogue::read(VENDORS, PRICES).unwrap_or_default()
});

/// The catalogue of this build.
pub fn built_in() -> &'static Catalogue {
    &BUILT_IN
}

/// Known vendors and models.
#[derive(Debug, Default)]
pub struct Catalogue {
    vendors: Vec<Vendor>,
    models: HashMap<Name, BTreeMap<Name, Model>>,
}

impl Catalogue {
    /// Every vendor, in the order of the file.
    pub fn vendors(&self) -> &[Vendor] {
        &self.vendors
    }

    /// The vendor of that name.
    pub fn vendor(&self, name: &str) -> Option<&Vendor> {
        self.vendors.iter().find(|vendor| &*vendor.name == name)
    }

    /// What is known of a model.
    pub fn model(&self, vendor: &str, model: &str) -> Option<&Model> {
        self.models.get(vendor)?.get(model)
    }

    /// The models of a vendor, sorted by name.
    pub fn models(&self, vendor: &str) -> impl Iterator<Item = (&Name, &Model)> {
        self.models.get(vendor).into_iter().flatten()
    }

    fn read(vendors: &str, prices: &str) -> Result<Catalogue, String> {
        let vendors: VendorFile = toml::from_str(vendors).map_err(|error| error.to_string())?;
        let prices: PriceFile = toml::from_str(prices).map_err(|error| error.to_string())?;
        let mut models: HashMap<Name, BTreeMap<Name, Model>> = HashMap::new();
        for row in prices.model {
            let source = prices.sources.get(&row.source).ok_or(format!("no source `{}`", row.source))?;
            let model = row.model(source)?;
            let of_vendor = models.entry(row.vendor).or_default();
            for name in std::iter::once(row.model).chain(row.also) {
                if of_vendor.insert(name.clone(), model.clone()).is_some() {
                    return Err(format!("two rows for `{name}`"));
                }
            }
        }
        Ok(Catalogue { vendors: vendors.vendor.into_iter().map(Vendor::from).collect(), models })
    }
}

/// A vendor, or a kind of server, that speaks the OpenAI dialect.
#[derive(Clone, Debug)]
pub struct Vendor {
    /// What `[providers.NAME]` calls it.
    pub name: Name,
    /// Environment variables that hold its key, the usual one first.
    pub key_variables: Vec<Name>,
    /// The environment variable that says where it is, for servers of one's own.
    pub base_variable: Option<Name>,
    /// Where it is, where that is the same for everybody.
    pub base_url: Option<Name>,
    /// Where it takes its key.
    pub auth: Auth,
    /// It stops billing when a call is cancelled. Where nobody knows: no.
    pub abort_stops_billing: bool,
    /// It understands `stream_options.include_usage`.
    pub stream_usage: bool,
    /// Its models are asked for at `/models` when it is found in the environment.
    pub discover: bool,
    /// It serves what the catalogue lists and nothing else.
    pub closed: bool,
    /// Its answers are simulated.
    pub simulated: bool,
}

/// What is known of a model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Absent where no price that holds at all times could be sourced.
    pub price: Option<Arc<Price>>,
    /// Tokens of input and output together.
    pub context: Option<u64>,
    /// Tokens of output.
    pub max_output: Option<u64>,
    /// When the row was sourced, in seconds since 1970.
    pub dated: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VendorFile {
    vendor: Vec<VendorRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VendorRow {
    name: Name,
    #[serde(default)]
    key_variables: Vec<Name>,
    base_variable: Option<Name>,
    base_url: Option<Name>,
    auth: Name,
    abort_stops_billing: bool,
    stream_usage: bool,
    #[serde(default)]
    discover: bool,
    #[serde(default)]
    closed: bool,
    #[serde(default)]
    simulated: bool,
    /// Read by people: where the facts are from.
    #[expect(dead_code, reason = "provenance is for readers of the file; here it only has to be there")]
    source: Name,
}

impl From<VendorRow> for Vendor {
    fn from(row: VendorRow) -> Vendor {
        Vendor {
            name: row.name,
            key_variables: row.key_variables,
            base_variable: row.base_variable,
            base_url: row.base_url,
            auth: match &*row.auth {
                "bearer" => Auth::Bearer,
                "none" => Auth::None,
                _ => Auth::Header(row.auth),
            },
            abort_stops_billing: row.abort_stops_billing,
            stream_usage: row.stream_usage,
            discover: row.discover,
            closed: row.closed,
            simulated: row.simulated,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    sources: HashMap<Name, Source>,
    model: Vec<PriceRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    #[expect(dead_code, reason = "provenance is for readers of the file; here it only has to be there")]
    page: Name,
    /// The day of which the source speaks.
    date: Name,
    confidence: Confidence,
}

/// How far a source can be trusted.
#[derive(Copy, Clone, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Confidence {
    /// The vendor's own page.
    Official,
    /// Somebody who names the vendor's page and the day.
    Secondary,
    /// A table in public code.
    Code,
    /// Ours: no money is ever paid.
    Simulated,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceRow {
    vendor: Name,
    model: Name,
    /// Other names for the same model at the same price.
    #[serde(default)]
    also: Vec<Name>,
    source: Name,
    context: Option<u64>,
    max_output: Option<u64>,
    currency: Option<Currency>,
    input: Option<Decimal>,
    output: Option<Decimal>,
    cached_input: Option<Decimal>,
    cache_write: Option<Decimal>,
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
    fn model(&self, source: &Source) -> Result<Model, String> {
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_data_files_read() {
        let catalogue = Catalogue::read(VENDORS, PRICES).unwrap();
        for vendor in &catalogue.vendors {
            let base = vendor.base_url.as_deref().map(crate::settings::base_url);
            assert!(base.is_none_or(|base| base.is_ok()), "{}", vendor.name);
            assert!(vendor.auth == Auth::None || !vendor.key_variables.is_empty(), "{}", vendor.name);
        }
        for (vendor, models) in &catalogue.models {
            assert!(catalogue.vendor(vendor).is_some(), "{vendor} has prices and is no vendor");
            for (name, model) in models {
                let Some(price) = &model.price else { continue };
                let sane = |rate: Option<Rate>| rate.is_none_or(|rate| rate.0 <= 1_000 * 1_000_000_000);
                assert!(sane(price.input) && sane(price.output), "{name} is dearer than anything");
                let (input, cached) = (price.input.unwrap(), price.cached_input);
                assert!(cached.is_none_or(|cached| cached <= input), "{name}: a cached token is not dearer");
                assert!(price.output.is_none_or(|output| output >= input), "{name}: output is not cheaper");
                assert!(price.tiers.iter().all(|tier| tier.input >= price.input), "{name}: tiers rise");
            }
        }
    }

    #[test]
    fn the_simulated_models_are_there() {
        let names: Vec<_> = built_in().models("demo").map(|(name, _)| name.to_string()).collect();
        for name in [
            "echo", "story", "fast", "slow", "long", "terse", "tools", "vision", "json", "refuse", "fail",
            "flaky", "embed",
        ] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
        assert_eq!(names.len(), 13);
        let demo = built_in().vendor("demo").unwrap();
        assert!(demo.simulated && demo.closed && demo.auth == Auth::None);
    }

    #[test]
    fn the_promised_vendors_are_there() {
        for (name, variable) in [
            ("openai", "OPENAI_API_KEY"),
            ("anthropic", "ANTHROPIC_API_KEY"),
            ("gemini", "GEMINI_API_KEY"),
            ("deepseek", "DEEPSEEK_API_KEY"),
            ("qwen", "DASHSCOPE_API_KEY"),
        ] {
            assert_eq!(&*built_in().vendor(name).unwrap().key_variables[0], variable);
        }
        for (name, variable) in [("ollama", "OLLAMA_HOST"), ("vllm", "VLLM_BASE_URL")] {
            assert_eq!(built_in().vendor(name).unwrap().base_variable.as_deref(), Some(variable));
        }
    }
}
