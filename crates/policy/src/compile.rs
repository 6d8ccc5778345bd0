//! From a settings document to what the data plane reads.

use crate::ids::{KeyId, Name};
use crate::key::{KeyHash, Pepper, Secret};
use crate::keyring::{BudgetRule, KeyRecord, Limits, Origin};
use crate::settings::{Document, Finding, SecretRef};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;
use std::collections::HashMap;

/// Reads the secrets that a document refers to.
pub trait Secrets {
    /// The secret, or why it cannot be had ("environment variable `X` is not set"): lower case, no full stop,
    /// never with the secret in it.
    fn read(&self, reference: &SecretRef) -> Result<Secret, String>;
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
    pub strict: bool,
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
            limits: self.limits,
            budgets: self.budgets.clone(),
            strict: self.strict,
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
    /// same as before, nothing has changed.
    pub checksum: String,
    /// Of what a release holds: neither keys nor secrets, nor `[server]` and `[store]`. When it is the same
    /// as before, there is no new release.
    pub release_checksum: String,
}

/// Compiles a document. `release` numbers the result; `now` dates models that no catalogue dates.
pub fn compile(
    document: &Document,
    release: u64,
    secrets: &dyn Secrets,
    pepper: &Pepper,
    discovered: &Discovered,
    now: Timestamp,
) -> Result<Compiled, Vec<Finding>> {
    let _ = (document, release, secrets, pepper, discovered, now);
    unimplemented!()
}
