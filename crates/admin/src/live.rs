//! The seam to the running data plane, and the shape of what it says about itself.
//!
//! `admin` never imports `gateway`; the binary implements [`Live`] and knows both.

use crate::budgets::KnownBudget;
use crate::explain::Explain;
use policy::{KeyRecord, Name, Timestamp};
use serde::Serialize;
use store::{Declared, HostedEnvironment};

/// What the control plane needs of the running process.
pub trait Live: Send + Sync + 'static {
    /// Makes this record what the next request meets. The store already holds it.
    fn upsert_key(&self, record: KeyRecord);

    /// Every key the data plane knows, for lists while the database is away.
    fn keys(&self) -> Vec<KeyRecord>;

    /// Whether the settings file declares the secret of this key, so that only the file may change it.
    fn declares_secret(&self, record: &KeyRecord) -> bool;

    /// The environments that run here; the first is the default for new keys.
    fn environments(&self) -> Vec<Name>;

    /// The environments that the settings declare, with the places they lie in.
    fn places(&self) -> Vec<Declared>;

    /// What makes an entry of a key's list of models let nothing through now, in a sentence with the way out; `None`
    /// where it is sound.
    fn doubt_model(&self, environment: &Name, allowed: &str) -> Option<String>;

    /// Every budget that is in force, without those that are ceilings of requests.
    fn budgets(&self) -> Vec<KnownBudget>;

    /// What budgets have lately reached, the newest last.
    fn crossed(&self) -> Vec<(Timestamp, ledger::Crossed)>;

    /// What every budget has spent and holds in reserve.
    fn balances(&self) -> Vec<ledger::Balance>;

    /// Whether other gateways share the budgets.
    fn shares_budgets(&self) -> bool;

    /// Where a request would go, in JSON; an error in words.
    fn explain(&self, asked: Explain) -> Result<serde_json::Value, String>;

    /// Who owns an environment.
    fn owner(&self, environment: &Name) -> Owner;

    /// Why an environment of the console does not run on what was published; empty where it does.
    fn trouble(&self, environment: &Name) -> Vec<String>;

    /// What the settings say of an environment, as a document of its own.
    fn export(&self, environment: &Name) -> Option<String>;

    /// Whether an environment of the console could be served, with what is probably not meant; else what is wrong.
    fn check_hosted(&self, hosted: &HostedEnvironment) -> Result<Vec<String>, Vec<String>>;

    /// What the console published is in force when this returns, unless something newer is already.
    fn take_hosted(&self, revision: u64, environments: Vec<HostedEnvironment>);

    /// Which of the gateways on the database this is.
    fn node(&self) -> Name;

    /// Able to serve model calls.
    fn ready(&self) -> bool;

    /// How the process is doing.
    fn state(&self) -> LiveState;
}

/// Who says what an environment runs on.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The settings file.
    File,
    /// The console and the API. Until they have said something, it runs on what was found.
    Console,
}

/// The answer of `GET /api/status`.
#[derive(Clone, Debug, Serialize)]
pub struct LiveState {
    /// The program's version.
    pub version: String,
    /// When this process started.
    pub started_at: Timestamp,
    /// Where the model API listens.
    pub listen: String,
    /// Able to serve model calls.
    pub ready: bool,
    /// Stopping: new work is refused.
    pub draining: bool,
    /// Where the settings come from, and whether the newest text of them was accepted.
    pub settings: SettingsState,
    /// Each environment with its release.
    pub environments: Vec<EnvironmentState>,
    /// The database.
    pub store: StoreState,
    /// Records on their way to the database.
    pub spool: SpoolState,
    /// How many keys are known here.
    pub keys: usize,
    /// Each provider with what discovery last heard.
    pub providers: Vec<ProviderState>,
}

/// Where the settings come from.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SettingsState {
    /// The file, or nothing when providers were found from the environment.
    pub file: Option<String>,
    /// True when the newest text is what serves; false when it was refused and the one before it serves.
    pub accepted: bool,
    /// What was wrong with the refused text, or warnings of the accepted one, ready to print.
    pub findings: Vec<String>,
    /// Changes that were read but need a restart to work.
    pub restart_needed: Vec<String>,
    /// When the file was last looked at with a change.
    pub read_at: Option<Timestamp>,
}

/// One environment that runs here.
#[derive(Clone, Debug, Serialize)]
pub struct EnvironmentState {
    /// Its workspace.
    pub workspace: Name,
    /// Its name.
    pub name: Name,
    /// Its layer, in lower case.
    pub layer: String,
    /// Its region.
    pub region: Name,
    /// The release it runs.
    pub release: u64,
    /// How many models it lists.
    pub models: usize,
}

/// The database.
#[derive(Clone, Debug, Serialize)]
pub struct StoreState {
    /// `sqlite` or `postgres`.
    pub kind: String,
    /// Reachable at the last look.
    pub connected: bool,
    /// Why not.
    pub error: Option<String>,
}

/// Records that were written to the spool and wait for the database.
#[derive(Clone, Debug, Serialize)]
pub struct SpoolState {
    /// Bytes not yet in the database.
    pub bytes: u64,
    /// Records not yet in the database.
    pub records: u64,
    /// Files on disk.
    pub segments: u32,
    /// Whether the disk takes records.
    pub writable: bool,
    /// Records held in memory because the disk does not take them.
    pub backlog: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// One provider.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderState {
    /// Its environment.
    pub environment: Name,
    /// Its name.
    pub name: Name,
    /// Whether its models are asked of it.
    pub discovers: bool,
    /// How many it named when last asked.
    pub discovered_models: usize,
    /// Why it could not be asked.
    pub error: Option<String>,
    /// Where it is.
    pub address: String,
    /// Whether its answers are simulated.
    pub simulated: bool,
    /// The names of its credentials, where it has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Name>,
    /// What of it is not well; empty when nothing bad is known.
    pub standings: Vec<StandingState>,
    /// How much of it bears how many calls at once, where that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bearings: Vec<BearingState>,
}

/// A model of which is known how many calls at once it bears.
#[derive(Clone, Debug, Serialize)]
pub struct BearingState {
    /// The model.
    pub name: Name,
    /// Its credential's name, where the provider has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Name>,
    /// So many calls at once are given it while there are others.
    pub limit: u32,
    /// So many are under way.
    pub under_way: u32,
}

/// A place that failed lately, or is passed over.
#[derive(Clone, Debug, Serialize)]
pub struct StandingState {
    /// The model, or the provider where its credential is refused.
    pub name: Name,
    /// Its credential's name, where the provider has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Name>,
    /// `failed`, `mostly_failed`, `rate_limited`, `credential` or `forbidden`.
    pub reason: &'static str,
    /// Failures in a row.
    pub failures: u32,
    /// Its last attempts, since it first failed.
    pub recent_attempts: u32,
    /// How many of them failed.
    pub recent_failures: u32,
    /// Whether it is passed over where there is another.
    pub away: bool,
    /// Until it is tried again, milliseconds.
    pub tried_in_ms: u64,
}
