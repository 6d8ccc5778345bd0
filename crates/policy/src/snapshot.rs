//! What the data plane reads: one immutable value for all environments, swapped whole.
//!
//! Everything a request needs is found by one look-up of the model's name: the deployment or the route,
//! with the provider, its credential, the price and the timeouts behind shared pointers.

use crate::adaptive::Adaptive;
use crate::catalogue::{Exception, Quirk, ThroughChat, built_in};
use crate::guardrails::Guardrail;
use crate::ids::{Name, NameMap};
use crate::key::Secret;
use crate::keyring::SharedBudget;
use crate::limits::LimitRule;
use crate::nearest;
use crate::price::Price;
use crate::rollout::Rollout;
use crate::route::Route;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The longest model name that is passed on unseen to a provider.
const LONGEST_NAME: usize = 200;

/// The class of an environment, with the defaults and the isolation of that class.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// For building: the simulated provider is there, what is saved is published.
    Development,
    /// For real traffic.
    Production,
    /// For experiments that cannot touch production.
    Innovation,
    /// For China: data stays there.
    Domestic,
}

impl Layer {
    /// Every layer, with the name it has in settings.
    pub const NAMES: [(&'static str, Layer); 4] = [
        ("development", Layer::Development),
        ("production", Layer::Production),
        ("innovation", Layer::Innovation),
        ("domestic", Layer::Domestic),
    ];

    /// The name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::Development => "development",
            Layer::Production => "production",
            Layer::Innovation => "innovation",
            Layer::Domestic => "domestic",
        }
    }

    /// How many ranks there are.
    pub const RANKS: usize = 3;

    /// Whose calls go first where not all can: 0 is the highest.
    pub fn rank(self) -> usize {
        match self {
            Layer::Production | Layer::Domestic => 0,
            Layer::Development => 1,
            Layer::Innovation => 2,
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long each part of an attempt may take.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Timeouts {
    /// To be connected, with TLS.
    pub connect: Duration,
    /// From the request sent to the first byte of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the answer.
    pub idle: Duration,
    /// For all attempts together.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(120),
            total: Duration::from_secs(3_600),
        }
    }
}

/// Where a provider's server is.
#[derive(Clone, Eq, PartialEq, Hash, Debug)]
pub struct Origin {
    /// `https`.
    pub tls: bool,
    /// A host name or an address, without brackets.
    pub host: Name,
    /// The port, also where it is the usual one.
    pub port: u16,
}

impl Origin {
    /// For the `host` header: the port only where it is not the usual one, brackets around IPv6.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

/// Where a provider takes its credential.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Auth {
    /// `authorization: Bearer …`.
    Bearer,
    /// A header of that name.
    Header(Name),
    /// Nowhere.
    None,
}

/// A language of model APIs, as settings name it.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI's: Chat Completions, Embeddings, and Responses where the provider has them.
    OpenAi,
    /// Anthropic's Messages.
    Anthropic,
    /// Gemini's `generateContent`.
    Gemini,
}

impl Dialect {
    /// Every dialect, with the name it has in settings.
    pub const NAMES: [(&'static str, Dialect); 3] =
        [("openai", Dialect::OpenAi), ("anthropic", Dialect::Anthropic), ("gemini", Dialect::Gemini)];

    /// The name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::OpenAi => "openai",
            Dialect::Anthropic => "anthropic",
            Dialect::Gemini => "gemini",
        }
    }

    /// Where a server of this dialect takes its key, if nobody says otherwise.
    pub fn usual_auth(self) -> Auth {
        match self {
            Dialect::OpenAi => Auth::Bearer,
            Dialect::Anthropic => Auth::Header("x-api-key".into()),
            Dialect::Gemini => Auth::Header("x-goog-api-key".into()),
        }
    }

    /// The path of a base URL with the version that the dialect's own SDK would add: a root gets one, a version that
    /// is there stays, and the openai dialect has it in the base URL already. No slash at the end.
    pub(crate) fn versioned(self, path: &str) -> Name {
        let last = path.rsplit('/').next().unwrap_or_default();
        match self {
            Dialect::OpenAi => path.into(),
            Dialect::Anthropic if last == "v1" => path.into(),
            Dialect::Anthropic => format!("{path}/v1").into(),
            Dialect::Gemini if ["v1", "v1beta", "v1beta1", "v1alpha"].contains(&last) => path.into(),
            Dialect::Gemini => format!("{path}/v1beta").into(),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A further dialect of a provider, at the same origin and with the same credential.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Endpoint {
    /// Which.
    pub dialect: Dialect,
    /// As [`Provider::base_path`].
    pub base_path: Name,
    /// Where it takes the credential.
    pub auth: Auth,
}

/// Whose shape an endpoint for embeddings or rerank has.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VectorShape {
    /// Vectors by type, units under `meta`; `documents` are texts.
    Cohere,
    /// OpenAI's frame with words of its own; `documents` are texts or objects, and results may carry them.
    Jina,
}

/// Where a provider makes vectors or sorts documents, in a shape of its own.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Shaped {
    /// Whose shape it has.
    pub shape: VectorShape,
    /// The whole path: `/v2/rerank`.
    pub path: Name,
}

/// A vendor or a server that answers model calls.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in this environment.
    pub name: Name,
    /// The row of `vendors.toml` that it is, or `custom`.
    pub vendor: Name,
    /// The dialect that it speaks natively: that of `base_path` and `auth`.
    pub dialect: Dialect,
    /// Where it is, for every dialect.
    pub origin: Origin,
    /// With the version, without a slash at the end; may be empty. Before `/chat/completions` for openai (`/v1`), before
    /// `/messages` for anthropic (`/v1`), before `/models/…:generateContent` for gemini (`/v1beta`).
    pub base_path: Name,
    /// What it wants to see. `None` where it wants nothing.
    pub credential: Option<Secret>,
    /// What the settings call the credential, where there are several.
    pub credential_name: Option<Name>,
    /// The credential's share of the calls, against the sum of all.
    pub weight: f64,
    /// The same provider with each of its further credentials. Whatever an account keeps is that of the first, which is
    /// this one.
    pub others: Box<[Arc<Provider>]>,
    /// Where it wants to see it, in its native dialect.
    pub auth: Auth,
    /// Further dialects that it speaks; never the native one.
    pub also: Vec<Endpoint>,
    /// Before `/responses`, for a provider that speaks Responses; the credential goes where the openai dialect has it.
    pub responses: Option<Name>,
    /// Where it sorts documents; the credential goes where the openai dialect has it.
    pub rerank: Option<Shaped>,
    /// Where it makes embeddings in words that are not OpenAI's; the credential goes where the openai dialect has it.
    pub embed: Option<Shaped>,
    /// `?api-version=` of its paths (see [`Quirk::DeploymentPaths`]).
    pub api_version: Option<Name>,
    /// Where it deviates from the dialects that it speaks, sorted.
    pub quirks: Vec<Quirk>,
    /// Models that deviate otherwise.
    pub exceptions: Vec<Exception>,
    /// It stops billing when a call is cancelled; otherwise the answer is read to its end.
    pub abort_stops_billing: bool,
    /// It understands `stream_options.include_usage`.
    pub stream_usage: bool,
    /// Certificates to trust, in PEM, in place of the system's.
    pub ca: Option<PathBuf>,
    /// For calls that name no route.
    pub timeouts: Timeouts,
    /// Sent with every call, lower-case names.
    pub headers: Vec<(Name, Name)>,
    /// Connections open at once.
    pub max_connections: u32,
    /// Calls that it takes at once, of all environments that share its account. `None`: nobody counts.
    pub max_concurrency: Option<u32>,
    /// How it is found out how many calls at once a model of it bears.
    pub adaptive: Adaptive,
    /// Its models are to be asked for at `/models` (`models = "discover"`).
    pub discover: bool,
    /// Its answers are simulated.
    pub simulated: bool,
    /// It may be at a loopback or private address.
    pub may_be_private: bool,
}

impl Provider {
    /// This provider, and the same with each of its further credentials.
    pub fn with_each_credential(self: &Arc<Provider>) -> impl Iterator<Item = &Arc<Provider>> {
        std::iter::once(self).chain(self.others.iter())
    }

    /// The base path of a dialect and where it takes the credential; `None`: not spoken here.
    pub fn endpoint(&self, dialect: Dialect) -> Option<(&Name, &Auth)> {
        if dialect == self.dialect {
            return Some((&self.base_path, &self.auth));
        }
        let endpoint = self.also.iter().find(|endpoint| endpoint.dialect == dialect)?;
        Some((&endpoint.base_path, &endpoint.auth))
    }

    /// Whether it deviates in this way.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.binary_search(&quirk).is_ok()
    }

    /// Where calls of one of its models deviate.
    pub fn quirks_of<'p>(&'p self, model: &str) -> impl Iterator<Item = Quirk> + 'p {
        let exception = self.exceptions.iter().find(|exception| exception.fits(model));
        let without = exception.map_or(&[][..], |exception| &exception.without);
        let with = exception.map_or(&[][..], |exception| &exception.with);
        self.quirks.iter().filter(|quirk| !without.contains(quirk)).chain(with).copied()
    }
}

/// What a model may take besides text.
pub const TAKES: [&str; 5] = ["image", "audio", "video", "file", "tools"];

/// One concrete place that serves a model.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// `provider/model`.
    pub name: Name,
    /// Who serves it.
    pub provider: Arc<Provider>,
    /// The model's name there.
    pub upstream_model: Name,
    /// `None`: nobody knows.
    pub price: Option<Arc<Price>>,
    /// Tokens of input and output together, where known.
    pub context: Option<u64>,
    /// Tokens of output, where known.
    pub max_output: Option<u64>,
    /// What it takes besides text, of `image`, `audio`, `video`, `file` and `tools`. `None`: nobody says, so everything.
    pub takes: Option<Vec<&'static str>>,
    /// What of it is served through Chat Completions, where that is how the provider is called. `None`: nobody says, so
    /// everything until the provider refuses; the settings alone say [`ThroughChat::Everything`].
    pub chat: Option<ThroughChat>,
}

impl Deployment {
    /// What of these it does not take.
    pub fn lacks(&self, content: &[&'static str]) -> Vec<&'static str> {
        let Some(takes) = &self.takes else { return Vec::new() };
        content.iter().filter(|kind| !takes.contains(kind)).copied().collect()
    }
}

/// What a model's name leads to.
#[derive(Clone, Debug)]
pub enum Target {
    /// One place.
    Deployment(Arc<Deployment>),
    /// A choice of places.
    Route(Arc<Route>),
}

impl Target {
    /// The full name: a route's, or `provider/model`.
    pub fn name(&self) -> &Name {
        match self {
            Target::Deployment(deployment) => &deployment.name,
            Target::Route(route) => &route.name,
        }
    }
}

/// Why a name leads nowhere.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum ResolveError {
    /// No model has that name.
    #[error("there is no model of that name")]
    Unknown {
        /// Names that look alike, at most three. A client is shown only those that its key may use.
        nearest: Vec<Name>,
    },
    /// Several providers serve a model of that name.
    #[error("several providers serve a model of that name")]
    Ambiguous {
        /// The full names to choose from.
        candidates: Vec<Name>,
    },
}

/// Why something that is allowed probably does not say what is meant.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Doubt {
    /// Names the entry and what is odd about it.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

/// A line of the list of models.
#[derive(Clone, Debug)]
pub struct ModelEntry {
    /// What to ask for.
    pub id: Name,
    /// The provider; `tidegate` for a route.
    pub owned_by: Name,
    /// Seconds since 1970: the date of the catalogue's row, else when the settings were compiled.
    pub created: i64,
    /// Tokens, where known.
    pub context: Option<u64>,
    /// Tokens, where known.
    pub max_output: Option<u64>,
    /// A route, not a deployment.
    pub route: bool,
    /// Answered by a simulation.
    pub simulated: bool,
}

/// What a listed name leads to.
#[derive(Clone, Debug)]
pub(crate) enum Listed {
    Deployment(Arc<Deployment>),
    Route(Arc<Route>),
    /// A bare upstream name that several providers serve.
    Several(Box<[Name]>),
}

/// One environment, as a release made it.
#[derive(Debug)]
pub struct Environment {
    /// The tenant.
    pub organization: Name,
    /// The team's place.
    pub workspace: Name,
    /// The name of the environment.
    pub name: Name,
    /// Its class.
    pub layer: Layer,
    /// Where its data stays.
    pub region: Name,
    /// The number of the release.
    pub release: u64,
    /// The release that some of its end users have already.
    pub rollout: Option<Rollout>,
    /// Whether prompts and answers are written to the request log.
    pub log_bodies: bool,
    /// Budgets of others than single keys.
    pub budgets: Box<[Arc<SharedBudget>]>,
    /// Limits for others than single keys.
    pub limits: Box<[Arc<LimitRule>]>,
    /// How long answers are given again to the same request, for models that are asked by their own names. `None`: never.
    pub cache: Option<Duration>,
    /// Look at every request, in this order.
    pub guardrails: Box<[Arc<Guardrail>]>,
    /// There are guardrails at all, here or at routes.
    pub guards: bool,
    /// There are some at routes.
    pub guards_routes: bool,
    pub(crate) names: NameMap<Listed>,
    pub(crate) providers: NameMap<Arc<Provider>>,
    /// Providers that serve what they list and nothing else.
    pub(crate) closed: HashSet<Name>,
    /// Providers whose account another environment has too.
    pub(crate) shared: HashSet<Name>,
    pub(crate) entries: Vec<ModelEntry>,
}

impl Environment {
    /// What `model` leads to: a route, `provider/model`, or a bare upstream name that one provider serves.
    /// Any model of a provider that does not close its list is passed on, with its price unknown.
    pub fn resolve(&self, model: &str) -> Result<Target, ResolveError> {
        match self.names.get(model) {
            Some(Listed::Deployment(deployment)) => Ok(Target::Deployment(Arc::clone(deployment))),
            Some(Listed::Route(route)) => Ok(Target::Route(Arc::clone(route))),
            Some(Listed::Several(names)) => Err(ResolveError::Ambiguous { candidates: names.to_vec() }),
            None => {
                self.unlisted(model).ok_or_else(|| ResolveError::Unknown { nearest: self.nearest(model) })
            }
        }
    }

    /// What clients may ask for by name, sorted by name.
    pub fn models(&self) -> impl Iterator<Item = ModelEntry> {
        self.entries.iter().cloned()
    }

    /// The providers, in no order.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }

    /// Whether another environment has the account of this provider too, and so sees whatever is kept there.
    pub fn shares_account(&self, provider: &str) -> bool {
        self.shared.contains(provider)
    }

    /// The provider of that name.
    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.get(name)
    }

    /// A name that ends up in headers, logs and metrics is bounded and printable.
    fn unlisted(&self, model: &str) -> Option<Target> {
        let (provider, upstream) = model.split_once('/')?;
        let provider = self.providers.get(provider).filter(|_| !self.closed.contains(provider))?;
        let sound = !upstream.is_empty() && model.len() <= LONGEST_NAME;
        if !sound || !model.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        Some(Target::Deployment(Arc::new(Deployment {
            name: model.into(),
            provider: Arc::clone(provider),
            upstream_model: upstream.into(),
            price: None,
            context: None,
            max_output: None,
            takes: None,
            chat: built_in().through_chat(&provider.vendor, upstream),
        })))
    }

    /// What makes an entry of a key's allow-list (`provider/*`, a name, `*`) let nothing through at present. A key is
    /// asked with the full name that a request leads to, so a bare model name never matches.
    pub fn doubt_allowed(&self, allowed: &str) -> Option<Doubt> {
        if let Some(provider) = allowed.strip_suffix("/*") {
            if self.providers.contains_key(provider) {
                return None;
            }
            let near = nearest::one(provider, self.providers.keys().map(|name| &**name));
            let message = format!("`{allowed}` matches no model now: there is no provider `{provider}`");
            return Some(Doubt { message, help: near.map(|near| format!("did you mean `{near}/*`?")) });
        }
        if allowed == "*" {
            return None;
        }
        let bare = |full: &str| {
            let message =
                format!("`{allowed}` lets nothing through: keys are checked against full model names");
            Doubt { message, help: Some(format!("write `{full}`")) }
        };
        match self.resolve(allowed) {
            Ok(Target::Route(_)) => None,
            Ok(Target::Deployment(deployment)) if *deployment.name == *allowed => None,
            Ok(Target::Deployment(deployment)) => Some(bare(&deployment.name)),
            Err(ResolveError::Ambiguous { candidates }) => Some(bare(&candidates.join("`, `"))),
            Err(ResolveError::Unknown { nearest }) => {
                let message = format!("`{allowed}` matches no model and no route now");
                let missing = || {
                    let (provider, _) = allowed.split_once('/')?;
                    let known = self.providers.contains_key(provider);
                    (!known).then(|| format!("there is no provider `{provider}`"))
                };
                let help = nearest.first().map(|near| format!("did you mean `{near}`?")).or_else(missing);
                Some(Doubt { message, help })
            }
        }
    }

    fn nearest(&self, model: &str) -> Vec<Name> {
        nearest::models(model, self.entries.iter().map(|entry| &entry.id))
    }
}

/// All environments of this node.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By name.
    pub environments: NameMap<Arc<Environment>>,
}
