//! From a settings document to what the data plane reads.
//!
//! Everything that a request would need to look up, join or decide about names is done here, once: vendors'
//! rows become providers, catalogue and settings become deployments with prices, routes point at them, bare
//! names are counted. What is wrong is reported together, with the places that the document remembers.

mod accounts;
mod guardrails;
mod keys;
mod models;
mod providers;
mod routes;

use crate::catalogue::built_in;
use crate::ids::{KeyId, Name, NameMap};
use crate::key::{KeyHash, Pepper, Secret};
use crate::keyring::{BudgetRule, KeyRecord, Origin};
use crate::limits::Limits;
use crate::rollout::Rollout;
use crate::settings::{CacheDocument, Document, EnvironmentDocument, Finding, Findings, Place, SecretRef};
use crate::snapshot::{Environment, Snapshot};
use crate::time::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The host's own organization.
pub const HOST_ORGANIZATION: &str = "local";

/// Reads the secrets that a document refers to.
pub trait Secrets {
    /// The secret, or why it cannot be had ("environment variable `X` is not set"): lower case, no full stop,
    /// never with the secret in it. `vault:` comes as `ENVIRONMENT/NAME`.
    fn read(&self, reference: &SecretRef) -> Result<Secret, String>;

    /// Whether a secret that cannot be had is only worth a warning: where a document is checked in another place than
    /// the one where it serves.
    fn may_be_absent(&self) -> bool {
        false
    }
}

/// What providers with `models = "discover"` list.
#[derive(Clone, Debug, Default)]
pub struct Discovered {
    /// By provider: `environment/provider`, or only `provider` for all environments alike.
    pub models: HashMap<Name, Vec<Name>>,
}

/// A key that the document declares.
#[derive(Clone, Debug)]
pub struct FileKey {
    /// The same at every start: made from the names.
    pub id: KeyId,
    /// Where it belongs.
    pub environment: Name,
    /// Unique within it.
    pub name: Name,
    /// `None` where the document names no secret.
    pub hash: Option<KeyHash>,
    /// What lists show; empty without a secret.
    pub hint: String,
    /// Names it may ask for; empty is all.
    pub models: Vec<String>,
    /// Caps on rate.
    pub limits: Limits,
    /// Caps on money.
    pub budgets: Vec<BudgetRule>,
    /// Waits for accounting that survives a loss of power.
    pub durable: bool,
}

impl FileKey {
    /// The record of this key, when it is seen for the first time at `now`.
    pub fn record(&self, now: Timestamp) -> KeyRecord {
        KeyRecord {
            id: self.id.clone(),
            name: self.name.clone(),
            environment: self.environment.clone(),
            hash: self.hash,
            previous: None,
            hint: self.hint.clone(),
            models: self.models.clone(),
            limits: self.limits.clone(),
            budgets: self.budgets.clone(),
            durable: self.durable,
            created_at: now,
            expires_at: None,
            revoked_at: None,
            origin: Origin::File,
        }
    }
}

/// A document, ready to run.
#[derive(Debug)]
pub struct Compiled {
    /// For the data plane.
    pub snapshot: Snapshot,
    /// For the keyring and the store.
    pub keys: Vec<FileKey>,
    /// What is probably not meant.
    pub warnings: Vec<Finding>,
    /// Of all that the document means, with a keyed fingerprint of the secrets it refers to: when it is the
    /// same as before, nothing has changed. (What providers list is not part of the document.)
    pub checksum: String,
    /// Of what a release holds: neither keys nor secrets, nor `[server]` and `[store]`. When it is the same
    /// as before, there is no new release.
    pub release_checksum: String,
}

/// What all steps share.
struct Work<'w> {
    document: &'w Document,
    release: u64,
    secrets: &'w dyn Secrets,
    pepper: &'w Pepper,
    discovered: &'w Discovered,
    now: Timestamp,
    findings: Findings,
    /// The one that is compiled now.
    environment: Name,
    /// Whether its providers may be at loopback and private addresses.
    may_be_private: bool,
    /// Over every secret read, in order.
    fingerprint: Sha256,
    /// Whose secret a hash is, over all environments.
    holders: HashMap<KeyHash, Name>,
}

impl Work<'_> {
    /// Reads a secret and notes its fingerprint. Files end in a line break, which is not part of it.
    fn secret(&mut self, reference: &SecretRef) -> Result<Secret, String> {
        let secret = match reference {
            // A name in the vault is one of the environment's own.
            SecretRef::Vault(name) => {
                let own = SecretRef::Vault(format!("{}/{name}", self.environment));
                self.secrets
                    .read(&own)
                    .map_err(|_| format!("no credential `{name}` is kept for this environment"))?
            }
            outside => self.secrets.read(outside)?,
        };
        let text = secret.expose().trim();
        if text.is_empty() {
            return Err(format!("`{reference}` is empty"));
        }
        self.fingerprint.update(self.pepper.fingerprint(text.as_bytes()));
        Ok(Secret::new(text.to_owned()))
    }

    /// Reports a secret that cannot be had, at its reference.
    fn no_secret(&mut self, at: Place, message: String, help: Option<String>) {
        if self.secrets.may_be_absent() {
            self.findings.warning(at, message, help);
        } else {
            self.findings.error(at, message, help);
        }
    }
}

/// Compiles a document. `release` numbers the result; `now` dates models that no catalogue dates.
///
/// On failure all errors that were found, with the warnings, sorted by place.
pub fn compile(
    document: &Document,
    release: u64,
    secrets: &dyn Secrets,
    pepper: &Pepper,
    discovered: &Discovered,
    now: Timestamp,
) -> Result<Compiled, Vec<Finding>> {
    let mut work = Work {
        document,
        release,
        secrets,
        pepper,
        discovered,
        now,
        environment: Name::default(),
        may_be_private: false,
        findings: Findings::placed(&document.file),
        fingerprint: Sha256::new(),
        holders: HashMap::new(),
    };
    let mut snapshot = Snapshot::default();
    let mut file_keys = Vec::new();
    let mut environments = Vec::with_capacity(document.environments.len());
    let mut rollouts = Vec::new();
    for described in &document.environments {
        let environment = environment(&mut work, described);
        keys::compile(&mut work, described, &environment, &mut file_keys);
        environments.push(environment);
        if let Some(rollout) = &described.rollout {
            rollouts.push((
                described.name.clone(),
                self::environment(&mut work, &rollout.environment),
                &**rollout,
            ));
        }
    }
    accounts::mark_shared(&mut environments);
    for (name, mut candidate, said) in rollouts {
        let Some(stable) = environments.iter_mut().find(|environment| environment.name == name) else {
            continue;
        };
        // What is shared with others is so by either.
        candidate.shared.clone_from(&stable.shared);
        stable.rollout =
            Some(Rollout::new(Arc::new(candidate), said.share, said.salt.clone(), said.chosen.clone()));
    }
    let named = environments.into_iter().map(|environment| (environment.name.clone(), Arc::new(environment)));
    snapshot.environments.extend(named);
    if work.findings.has_errors() {
        return Err(work.findings.sorted());
    }
    let fingerprint = work.fingerprint.finalize();
    let checksum = digest(document, &fingerprint);
    let declared = document.environments.iter().filter(|environment| environment.release.is_none());
    let release_checksum = digest(&declared.map(released).collect::<Vec<_>>(), &[]);
    Ok(Compiled { snapshot, keys: file_keys, warnings: work.findings.sorted(), checksum, release_checksum })
}

fn environment(work: &mut Work<'_>, described: &EnvironmentDocument) -> Environment {
    work.environment = described.name.clone();
    // Whoever has an organization of their own here does not reach this host's network.
    let own = described.release.is_none() || &*described.organization == HOST_ORGANIZATION;
    work.may_be_private = work.document.server.allow_private_upstreams && own;
    let providers = providers::compile(work, described);
    let guards = guardrails::compile(work, described);
    let everywhere = described.guardrails.iter().filter(|(_, said)| said.everywhere);
    let mut environment = Environment {
        organization: described.organization.clone(),
        workspace: described.workspace.clone(),
        name: described.name.clone(),
        layer: described.layer,
        region: described.region.clone(),
        release: described.release.unwrap_or(work.release),
        rollout: None,
        log_bodies: described.log_bodies,
        budgets: described.budgets.iter().map(|budget| Arc::new(budget.value.clone())).collect(),
        limits: described.limits.iter().map(|limit| Arc::new(limit.value.clone())).collect(),
        cache: described.cache.within(CacheDocument::default()),
        guardrails: everywhere.map(|(name, _)| name).filter_map(|name| guards.get(name).cloned()).collect(),
        guards: !guards.is_empty(),
        guards_routes: false,
        names: NameMap::default(),
        providers,
        closed: HashSet::new(),
        shared: HashSet::new(),
        entries: Vec::new(),
    };
    models::compile(work, described, &mut environment);
    routes::compile(work, described, &guards, &mut environment);
    environment.entries.sort_by(|one, other| one.id.cmp(&other.id));
    environment
}

/// What a release holds of an environment: all but the keys.
fn released(environment: &EnvironmentDocument) -> impl Serialize {
    let EnvironmentDocument { organization, workspace, name, layer, region, .. } = environment;
    let EnvironmentDocument { log_bodies, cache, providers, models, routes, guardrails, limits, .. } =
        environment;
    let limits: Vec<_> = limits.iter().map(|limit| &limit.value).collect();
    let guarded = (!guardrails.is_empty()).then_some(guardrails);
    (
        (organization, workspace, name, layer, region),
        (log_bodies, cache, providers, models, routes),
        guarded,
        limits,
    )
}

/// SHA-256 of what a value means, in hexadecimal.
fn digest(value: &impl Serialize, more: &[u8]) -> String {
    let mut digest = Sha256::new();
    // Serialising to memory fails only for maps with keys that are not texts, and there are none.
    digest.update(serde_json::to_vec(value).unwrap_or_default());
    digest.update(more);
    KeyHash(digest.finalize().into()).hex()
}

/// The names of known vendors, for messages.
fn vendor_names() -> impl Iterator<Item = &'static str> {
    built_in().vendors().iter().map(|vendor| &*vendor.name)
}

#[cfg(test)]
#[path = "compile/tests.rs"]
mod tests;
