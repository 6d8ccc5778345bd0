//! The document as values: what the text means, with the place of whatever a later step may complain about.
//!
//! Serialised, it is the *meaning* of the settings (places and order left out), from which the checksum is
//! taken.

mod network;
mod server;

use super::cluster::ClusterSettings;
use super::people::SmtpSettings;
use crate::adaptive::Adaptive;
use crate::guardrails::Action;
use crate::ids::Name;
use crate::keyring::{BudgetRule, SharedBudget};
use crate::limits::{LimitRule, Limits};
use crate::money::Money;
use crate::price::Price;
use crate::route::{Causes, Sticky, Strategy};
use crate::snapshot::{Dialect, Layer, Timeouts};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use network::Network;
pub use server::{DrainTimes, LogFormat, Server, SignUp, Tls};

/// Where something stands in the text, both counted from 1. Line 0: not in a text.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Place {
    /// Counted from 1.
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
}

/// A value and where it stands.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Placed<T> {
    /// What it says.
    pub value: T,
    /// Where it says it.
    pub at: Place,
}

impl<T: Serialize> Serialize for Placed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// A whole settings document.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// The name of the file, for findings.
    #[serde(skip)]
    pub file: Name,
    /// `[server]`.
    pub server: Server,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[cluster]`, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterSettings>,
    /// `[smtp]`, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpSettings>,
    /// The first is that of the top-level tables.
    #[serde(serialize_with = "declared")]
    pub environments: Vec<EnvironmentDocument>,
    /// Where the simulated provider of this process listens, once that is known.
    #[serde(skip)]
    pub demo_base: Option<String>,
}

/// What has numbers of its own is no part of what the settings mean.
fn declared<S: Serializer>(environments: &[EnvironmentDocument], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(environments.iter().filter(|environment| environment.release.is_none()))
}

impl Document {
    /// Tells every environment with the provider `demo` where the simulated provider listens.
    pub fn set_demo_base(&mut self, base_url: &str) {
        self.demo_base = Some(base_url.to_owned());
    }

    /// The document of an empty file: `[server]` and `[store]` by default, the environment `dev` with the
    /// provider `demo`.
    pub fn empty(file: &str) -> Document {
        Document {
            file: file.into(),
            server: Server::default(),
            store: StoreSettings::default(),
            cluster: None,
            smtp: None,
            environments: vec![EnvironmentDocument::dev()],
            demo_base: None,
        }
    }
}

/// Bytes.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Serialize)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
        match units.iter().find(|(_, shift)| self.0 > 0 && self.0.trailing_zeros() >= *shift) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// `[store]`: where control data and request logs are kept.
#[derive(Clone, Debug, Serialize)]
pub struct StoreSettings {
    /// Which database.
    pub url: StoreUrl,
    /// How long the request log is kept.
    pub retention: Duration,
}

impl Default for StoreSettings {
    fn default() -> Self {
        StoreSettings { url: StoreUrl::Sqlite, retention: Duration::from_secs(30 * 86_400) }
    }
}

/// Which database.
#[derive(Clone, Eq, PartialEq, Serialize)]
pub enum StoreUrl {
    /// Files in `data_dir`.
    Sqlite,
    /// A `postgres://` URL, with its password.
    Postgres(String),
}

impl fmt::Debug for StoreUrl {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreUrl::Sqlite => "sqlite",
            StoreUrl::Postgres(_) => "postgres://…",
        })
    }
}

/// Where a secret is found. A settings document never holds one.
#[derive(Clone, Eq, PartialEq, Hash, Debug, Serialize)]
pub enum SecretRef {
    /// `env:NAME`.
    Env(String),
    /// `file:PATH`.
    File(PathBuf),
    /// `vault:NAME`: kept sealed in the database, for the environment that names it.
    Vault(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "env:{name}"),
            SecretRef::File(path) => write!(f, "file:{}", path.display()),
            SecretRef::Vault(name) => write!(f, "vault:{name}"),
        }
    }
}

/// One environment: the top-level tables, or one of `[environments.NAME]`.
#[derive(Clone, Debug, Serialize)]
pub struct EnvironmentDocument {
    /// Of its header; line 0 for the one of the top-level tables.
    #[serde(skip)]
    pub at: Place,
    /// The tenant.
    pub organization: Name,
    /// The team's place.
    pub workspace: Name,
    /// Its name.
    pub name: Name,
    /// Its class.
    pub layer: Layer,
    /// Where its data stays.
    pub region: Name,
    /// `[logs] bodies`.
    pub log_bodies: bool,
    /// `[cache]`.
    pub cache: CacheDocument,
    /// `[providers.NAME]`.
    pub providers: BTreeMap<Name, ProviderDocument>,
    /// `[models."provider/model"]`.
    pub models: BTreeMap<Name, ModelDocument>,
    /// `[routes.NAME]`.
    pub routes: BTreeMap<Name, RouteDocument>,
    /// `[guardrails.NAME]`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub guardrails: BTreeMap<Name, GuardrailDocument>,
    /// `[[limits]]`.
    pub limits: Vec<Placed<LimitRule>>,
    /// `[[budgets]]`.
    pub budgets: Vec<Placed<SharedBudget>>,
    /// `[keys.NAME]`.
    pub keys: BTreeMap<Name, KeyDocument>,
    /// The settings say something of it, besides its keys; else the console may own it.
    #[serde(skip)]
    pub said: bool,
    /// The number of its release, where it has numbers of its own.
    #[serde(skip)]
    pub release: Option<u64>,
    /// The release that some of its end users have already.
    #[serde(skip)]
    pub rollout: Option<Box<RolloutDocument>>,
}

/// A release that is put into force for some.
#[derive(Clone, Debug)]
pub struct RolloutDocument {
    /// What they run on.
    pub environment: EnvironmentDocument,
    /// How many of a million end users have it.
    pub share: u32,
    /// What tells this roll-out's draw from others'.
    pub salt: Name,
    /// These have it whatever the share is.
    pub chosen: Arc<HashSet<Name>>,
}

impl EnvironmentDocument {
    /// The environment that exists from the first start, with the provider `demo` and nothing else.
    pub fn dev() -> EnvironmentDocument {
        EnvironmentDocument {
            at: Place::default(),
            organization: "local".into(),
            workspace: "default".into(),
            name: "dev".into(),
            layer: Layer::Development,
            region: "local".into(),
            log_bodies: false,
            cache: CacheDocument::default(),
            providers: BTreeMap::from([(Name::from("demo"), ProviderDocument::default())]),
            models: BTreeMap::new(),
            routes: BTreeMap::new(),
            guardrails: BTreeMap::new(),
            limits: Vec::new(),
            budgets: Vec::new(),
            keys: BTreeMap::new(),
            said: false,
            release: None,
            rollout: None,
        }
    }
}

/// Which models a provider serves.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize)]
pub enum ModelList {
    /// Any: what the catalogue knows is listed, whatever else is asked for is passed on.
    #[default]
    Open,
    /// These and no others.
    Closed(Vec<Name>),
    /// Any: what the provider lists at `/models` is listed, whatever else is asked for is passed on.
    Discover,
}

/// `[providers.NAME]`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProviderDocument {
    /// Of its header.
    #[serde(skip)]
    pub at: Place,
    /// Where its credential is found.
    pub credential: Option<Placed<SecretRef>>,
    /// Several, in place of the one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub credentials: BTreeMap<Name, CredentialDocument>,
    /// Which known vendor it is, where the name does not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<Placed<Name>>,
    /// How it speaks; default: the vendor's own, else openai.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Placed<Dialect>>,
    /// Needed where there is no known vendor, or one without an address of its own.
    pub base_url: Option<Placed<String>>,
    /// For paths that carry `?api-version=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<Placed<Name>>,
    /// Which models it serves.
    pub models: ModelList,
    /// Default: the vendor's truth; yes for servers of one's own.
    pub abort_stops_billing: Option<bool>,
    /// Default: the vendor's truth; yes for servers of one's own.
    pub stream_usage: Option<bool>,
    /// Certificates to trust, in PEM.
    pub ca: Option<PathBuf>,
    /// Sent with every call.
    pub headers: BTreeMap<Name, Name>,
    /// Where they differ from the default.
    pub timeouts: TimeoutsDocument,
    /// Connections open at once.
    pub max_connections: Option<u32>,
    /// Calls under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<u32>,
    /// Whether it speaks `/responses`; else such calls are translated.
    pub responses: Option<Placed<bool>>,
    /// How it is found out how many calls at once a model bears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
}

/// `[providers.NAME.credentials.NAME]`.
#[derive(Clone, Debug, Serialize)]
pub struct CredentialDocument {
    /// Where it is found.
    pub credential: Placed<SecretRef>,
    /// Its share of the calls.
    pub weight: f64,
}

/// `timeouts = { … }`: what is not said is left to the next that says it.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize)]
pub struct TimeoutsDocument {
    /// To be connected.
    pub connect: Option<Duration>,
    /// To the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the answer.
    pub idle: Option<Duration>,
    /// For all attempts together.
    pub total: Option<Duration>,
}

impl TimeoutsDocument {
    /// What is said here, else what `base` says.
    pub fn over(self, base: Timeouts) -> Timeouts {
        Timeouts {
            connect: self.connect.unwrap_or(base.connect),
            first_byte: self.first_byte.unwrap_or(base.first_byte),
            idle: self.idle.unwrap_or(base.idle),
            total: self.total.unwrap_or(base.total),
        }
    }
}

/// `[models."provider/model"]`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelDocument {
    /// Of its header.
    #[serde(skip)]
    pub at: Place,
    /// In place of the catalogue's. Its version is given when the document is compiled.
    pub price: Option<Placed<Price>>,
    /// Tokens of input and output together.
    pub context: Option<u64>,
    /// Tokens of output.
    pub max_output: Option<u64>,
    /// What it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takes: Option<Vec<&'static str>>,
    /// Through which of OpenAI's APIs it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
}

/// One of OpenAI's APIs for conversations.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// Chat Completions.
    Chat,
    /// Responses.
    Responses,
}

/// `[routes.NAME]`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RouteDocument {
    /// Of its header.
    #[serde(skip)]
    pub at: Place,
    /// One is chosen, by weight.
    pub targets: Vec<TargetDocument>,
    /// Tried after it, in this order.
    pub fallbacks: Vec<TargetDocument>,
    /// By what the targets are ordered.
    #[serde(skip_serializing_if = "usual_strategy")]
    pub strategy: Strategy,
    /// Who gets the same target again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// What could cost more is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<Money>,
    /// What has lately been slower to its first token is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_first_token: Option<Duration>,
    /// Where they differ from the default.
    pub timeouts: TimeoutsDocument,
    /// Where it differs from the environment's.
    #[serde(skip_serializing_if = "CacheDocument::is_silent")]
    pub cache: CacheDocument,
    /// Names of guardrails.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guardrails: Vec<Placed<Name>>,
}

/// `[guardrails.NAME]`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GuardrailDocument {
    /// Of its header.
    #[serde(skip)]
    pub at: Place,
    /// `kind`.
    pub kind: Name,
    /// Which of the fields are said that belong to some kinds, and where.
    #[serde(skip)]
    pub told: Vec<(&'static str, Place)>,
    /// `pattern`.
    pub pattern: String,
    /// `words`.
    pub words: Vec<Placed<Name>>,
    /// `entities`; empty is all.
    pub entities: Vec<Placed<Name>>,
    /// `languages`.
    pub languages: Vec<Placed<Name>>,
    /// `schema`, as JSON.
    pub schema: Option<String>,
    /// `url`.
    pub url: Option<String>,
    /// `credential`.
    pub credential: Option<Placed<SecretRef>>,
    /// `timeout`.
    pub timeout: Option<Duration>,
    /// `max`.
    pub max: u64,
    /// `action`.
    pub action: Option<Action>,
    /// `stage` has `request`.
    pub request: bool,
    /// `stage` has `response`.
    pub response: bool,
    /// `window`.
    pub window: Option<u64>,
    /// `everywhere`.
    pub everywhere: bool,
    /// `on_failure = "open"`.
    pub fail_open: bool,
}

/// `cache` of an environment or a route.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct CacheDocument {
    /// `enabled`; where only `ttl` is said, that is meant to hold.
    pub enabled: Option<bool>,
    /// `ttl`.
    pub ttl: Option<Duration>,
}

impl CacheDocument {
    /// How long an answer is given again where nobody says.
    const TTL: Duration = Duration::from_secs(300);

    /// It says nothing.
    pub fn is_silent(&self) -> bool {
        *self == CacheDocument::default()
    }

    /// How long answers are given again; `None`: they are not. What this does not say, `wider` does.
    pub(crate) fn within(self, wider: CacheDocument) -> Option<Duration> {
        let said = self.enabled.or(wider.enabled);
        let on = said.unwrap_or(!self.is_silent() || !wider.is_silent());
        on.then(|| self.ttl.or(wider.ttl).unwrap_or(CacheDocument::TTL))
    }
}

fn usual_strategy(strategy: &Strategy) -> bool {
    *strategy == Strategy::default()
}

/// One of `targets` or `fallbacks`.
#[derive(Clone, Debug, Serialize)]
pub struct TargetDocument {
    /// `provider/model`, or a bare upstream name.
    pub model: Placed<Name>,
    /// Its share, against the sum of all; 1 where not said.
    pub weight: f64,
    /// After which causes, of a fallback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Causes>,
    /// Asked only where this holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Name>,
    /// Members of the body that are set, as JSON texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(Name, Name)>,
}

/// `[keys.NAME]`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KeyDocument {
    /// Of its header.
    #[serde(skip)]
    pub at: Place,
    /// Where its secret is found. `None`: it has none until one is made by `keys rotate`.
    pub secret: Option<Placed<SecretRef>>,
    /// Names it may ask for; empty is all.
    pub models: Vec<Placed<Name>>,
    /// Caps on rate.
    pub limits: Limits,
    /// Caps on money.
    pub budgets: Vec<BudgetDocument>,
    /// Waits for accounting that survives a loss of power.
    pub durable: bool,
}

/// One of `budgets`.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetDocument {
    /// Of the table.
    #[serde(skip)]
    pub at: Place,
    /// What it says.
    #[serde(flatten)]
    pub rule: BudgetRule,
}
