//! Vendors and prices: two dated data files, compiled into the binary.
//!
//! A vendor is a row of data, not code: which dialects it speaks and where, how it takes its key, where it deviates.
//! Each fact and each price names its source and the day on which that was read; a price that could not be sourced is
//! not there, and its cost is recorded as unknown.

mod apis;
mod pages;
mod prices;
mod quirks;
mod rows;

pub use apis::{ApiRule, ThroughChat};
pub use pages::pages;
pub use quirks::{Exception, Quirk};

use crate::ids::Name;
use crate::price::Price;
use crate::snapshot::{Auth, Dialect, Origin, VectorShape};
use apis::ApiFile;
use prices::PriceFile;
use rows::VendorFile;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

const VENDORS: &str = include_str!("../data/vendors.toml");
const PRICES: &str = include_str!("../data/prices.toml");
const APIS: &str = include_str!("../data/apis.toml");

static BUILT_IN: LazyLock<Catalogue> = LazyLock::new(|| {
    // A test holds that all files read; a process is better off without prices than not at all.
    Catalogue::read(VENDORS, PRICES, APIS).unwrap_or_default()
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
    apis: Vec<ApiRule>,
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

    /// What Chat Completions serves of a model; `None` where no row speaks of it.
    pub fn through_chat(&self, vendor: &str, model: &str) -> Option<ThroughChat> {
        self.apis.iter().find(|rule| rule.fits(vendor, model)).map(|rule| rule.chat)
    }

    /// The rows of `apis.toml`, in their order.
    pub fn api_rules(&self) -> &[ApiRule] {
        &self.apis
    }

    fn read(vendors: &str, prices: &str, apis: &str) -> Result<Catalogue, String> {
        let apis: ApiFile = toml::from_str(apis).map_err(|error| error.to_string())?;
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
        Ok(Catalogue { vendors: vendors.vendors()?, models, apis: apis.rules()? })
    }
}

/// What kind of thing a row describes.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A company that sells model calls.
    Vendor,
    /// A server that one runs oneself.
    Server,
    /// Somebody who passes calls on; the user says where it is.
    Gateway,
    /// This program's own.
    Simulated,
}

/// Where a vendor's servers are, as far as it matters to a key.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// One place for everybody.
    Anywhere,
    /// Mainland China.
    Mainland,
    /// Outside mainland China, where the vendor has another place inside.
    International,
    /// Wherever the user says.
    Own,
}

/// How far a source can be trusted.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The vendor's own page, code or program.
    Official,
    /// Somebody who names the vendor's page and the day.
    Secondary,
    /// The project's dated notes, which name theirs.
    Notes,
    /// A table in public code that names no day of its own.
    Code,
    /// Common knowledge that nobody looked up.
    Unverified,
    /// Decided here.
    Ours,
    /// Ours: no money is ever paid.
    Simulated,
}

/// Where one fact of a row is from.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The field of the row.
    pub of: &'static str,
    /// The page.
    pub page: Name,
    /// The day of which the source speaks, or on which it was read.
    pub date: Name,
    /// How far it can be trusted.
    pub confidence: Confidence,
}

/// One dialect that a vendor speaks.
#[derive(Clone, Debug)]
pub struct Door {
    /// Which.
    pub dialect: Dialect,
    /// As the vendor's own SDK takes it. `None`: the user says where it is.
    pub base_url: Option<Name>,
    /// The same for every door of a vendor.
    pub origin: Option<Origin>,
    /// As [`crate::snapshot::Provider::base_path`].
    pub base_path: Name,
    /// Where it takes the key.
    pub auth: Auth,
}

/// An endpoint that sorts documents.
#[derive(Clone, Debug)]
pub struct ShapedDoor {
    /// Whose shape it has.
    pub shape: VectorShape,
    /// The whole address.
    pub url: Name,
    /// Its path.
    pub path: Name,
}

/// A vendor, or a kind of server.
#[derive(Clone, Debug)]
pub struct Vendor {
    /// What `[providers.NAME]` or `vendor = "NAME"` calls it.
    pub name: Name,
    /// What people call it.
    pub title: Name,
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub region: Region,
    /// The dialect that it speaks natively.
    pub dialect: Dialect,
    /// Every dialect that it speaks, the native one first.
    pub doors: Vec<Door>,
    /// It also speaks `/responses`.
    pub responses: bool,
    /// The base URL for `/responses` where that is not the openai door.
    pub responses_url: Option<Name>,
    /// The path of that.
    pub responses_path: Option<Name>,
    /// Where it sorts documents.
    pub rerank: Option<ShapedDoor>,
    /// Where it makes embeddings in a shape that is not OpenAI's.
    pub embed: Option<ShapedDoor>,
    /// Completes a base URL that names no path.
    pub root_path: Option<Name>,
    /// The `api-version` of its paths where the settings name none.
    pub api_version: Option<Name>,
    /// Environment variables that hold its key, the usual one first.
    pub key_variables: Vec<Name>,
    /// The environment variable that says where it is, for what has no address of its own.
    pub base_variable: Option<Name>,
    /// It is looked for in the environment.
    pub found: bool,
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
    /// Where it deviates from its dialect.
    pub quirks: Vec<Quirk>,
    /// Models that deviate otherwise.
    pub exceptions: Vec<Exception>,
    /// What a user should know.
    pub note: Option<Name>,
    /// Where each fact is from.
    pub facts: Vec<Fact>,
}

impl Vendor {
    /// The door for a dialect.
    pub fn door(&self, dialect: Dialect) -> Option<&Door> {
        self.doors.iter().find(|door| door.dialect == dialect)
    }

    /// Where the native door takes the key.
    pub fn auth(&self) -> &Auth {
        self.doors.first().map_or(&Auth::None, |door| &door.auth)
    }

    /// The base URL of the native door, where that is the same for everybody.
    pub fn base_url(&self) -> Option<&Name> {
        self.doors.first()?.base_url.as_ref()
    }
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

#[cfg(test)]
#[path = "catalogue/tests.rs"]
mod tests;
