//! What the data plane checks presented keys against, in memory.
//!
//! Keys are found by their hash in one of 64 small maps, each under its own lock, so a key that is made or
//! revoked never makes the others wait, and 100,000 keys cost a look-up what 10 cost.
//!
//! A key's *record* is what is stored and may change; its *state* adds the counters of this process. An
//! update of a record makes a new state that shares the counters of the old one, so changing a name or a
//! budget does not give anybody a fresh minute.

use crate::ids::{KeyId, Name};
use crate::key::KeyHash;
use crate::limits::{Limits, Meters, Per};
use crate::money::Money;
use crate::time::Timestamp;
use crate::window::{Window, Zone};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// A cap on money in a window.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct BudgetRule {
    /// Unique within its key.
    pub name: Name,
    /// What may be spent in one window.
    pub amount: Money,
    /// When it begins anew.
    pub window: Window,
    /// In which time zone.
    #[serde(default, skip_serializing_if = "Zone::is_utc")]
    pub zone: Zone,
    /// Parts of the amount, in percent, at which somebody is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn_at: Option<Arc<[u8]>>,
}

impl BudgetRule {
    /// An amount for a window in UTC, of which nobody is warned.
    pub fn new(name: Name, amount: Money, window: Window) -> BudgetRule {
        BudgetRule { name, amount, window, zone: Zone::default(), warn_at: None }
    }
}

/// One of `[[budgets]]`: an amount for each of some.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct SharedBudget {
    /// How much, and until when.
    pub rule: BudgetRule,
    /// Each of these has it for itself.
    pub per: Per,
    /// Holds only for these: exact, or the beginning before a final `*`. Empty: for each.
    pub only: Vec<Name>,
    /// Pays only for calls that ask for these models and routes, in the same way. Empty: for all calls.
    pub models: Vec<Name>,
}

/// The hash of the secret before the last rotation, which works for a while yet.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct PreviousHash {
    /// Of the old secret.
    pub hash: KeyHash,
    /// From here on the old secret is refused.
    pub until: Timestamp,
}

/// Who declared a key.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `[keys.NAME]` of the settings file.
    File,
    /// The command line or the admin API.
    Live,
}

/// All that is stored about a virtual key.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Identity: never changes, never reused.
    pub id: KeyId,
    /// Unique within its environment.
    pub name: Name,
    /// The one environment it belongs to.
    pub environment: Name,
    /// `None`: no secret has been made yet, so nobody can present the key.
    pub hash: Option<KeyHash>,
    /// After a rotation with grace.
    pub previous: Option<PreviousHash>,
    /// What lists show: `tg-Ab…xY9z`.
    pub hint: String,
    /// Names it may ask for; empty is all. Exact names, `provider/*`, or `*`.
    pub models: Vec<String>,
    /// Caps on rate.
    pub limits: Limits,
    /// Caps on money.
    pub budgets: Vec<BudgetRule>,
    /// Waits for accounting that survives a loss of power.
    pub durable: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// From here on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Since here it is refused, for ever.
    pub revoked_at: Option<Timestamp>,
    /// Who declared it.
    pub origin: Origin,
}

/// Why a known key is refused.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum KeyRefusal {
    /// Somebody revoked it.
    #[error("the key is revoked")]
    Revoked,
    /// Its time, or the grace after its rotation, is over.
    #[error("the key has expired")]
    Expired,
}

/// A key as this process knows it: the record and the counters.
#[derive(Clone, Debug)]
pub struct KeyState {
    /// What is stored. For a state that was found by the hash before a rotation, `expires_at` is the end of
    /// the grace.
    pub record: KeyRecord,
    /// What counts against its limits.
    pub meters: Meters,
    scopes: Box<[Name]>,
    allowed: Allowed,
}

impl KeyState {
    /// The state of a record. Counters of `before` go on where their limit did not change.
    pub fn new(record: KeyRecord, before: Option<&KeyState>) -> KeyState {
        let meters = Meters::new(&record.limits, before.map(|state| &state.meters));
        let scopes = record.budgets.iter().map(|rule| scope(&record.id, &rule.name)).collect();
        let allowed = Allowed::new(&record.models);
        KeyState { record, meters, scopes, allowed }
    }

    /// Whether the key may ask for this name. A name without a provider is only what the list says
    /// literally: the caller also asks for the deployment's full name where one was resolved.
    pub fn may_use(&self, model: &str) -> bool {
        self.allowed.has(model)
    }

    /// Whether the key works at `now`.
    pub fn active(&self, now: Timestamp) -> Result<(), KeyRefusal> {
        if self.record.revoked_at.is_some_and(|since| now >= since) {
            return Err(KeyRefusal::Revoked);
        }
        if self.record.expires_at.is_some_and(|end| now >= end) {
            return Err(KeyRefusal::Expired);
        }
        Ok(())
    }

    /// The name under which the ledger counts a budget: `key_…/monthly`.
    pub fn budget_scope(&self, rule: &BudgetRule) -> Name {
        let place = self.record.budgets.iter().position(|own| own.name == rule.name);
        match place.and_then(|place| self.scopes.get(place)) {
            Some(scope) => Arc::clone(scope),
            None => scope(&self.record.id, &rule.name),
        }
    }

    /// The same key as found by its old hash: it ends with the grace.
    fn until(&self, end: Timestamp) -> KeyState {
        let mut state = self.clone();
        state.record.expires_at = Some(state.record.expires_at.map_or(end, |own| own.min(end)));
        state
    }
}

fn scope(id: &KeyId, budget: &str) -> Name {
    format!("{id}/{budget}").into()
}

/// A key's list of models, sorted for look-up.
#[derive(Clone, Debug)]
struct Allowed {
    all: bool,
    exact: Box<[Box<str>]>,
    /// With the slash: `openai/`.
    providers: Box<[Box<str>]>,
}

impl Allowed {
    fn new(models: &[String]) -> Allowed {
        let all = models.is_empty() || models.iter().any(|model| model == "*");
        let (mut exact, mut providers) = (Vec::new(), Vec::new());
        for model in models {
            match model.strip_suffix('*') {
                Some(provider) if provider.ends_with('/') => providers.push(Box::from(provider)),
                _ => exact.push(Box::from(model.as_str())),
            }
        }
        exact.sort();
        providers.sort();
        Allowed { all, exact: exact.into(), providers: providers.into() }
    }

    fn has(&self, model: &str) -> bool {
        let listed = |list: &[Box<str>], name: &str| list.binary_search_by(|own| (**own).cmp(name)).is_ok();
        self.all
            || listed(&self.exact, model)
            || model.find('/').is_some_and(|slash| listed(&self.providers, &model[..=slash]))
    }
}

/// For what is a hash already, such as a [`KeyHash`]: 64 bits of it are its own hash.
#[derive(Default)]
pub struct Verbatim(u64);

impl Hasher for Verbatim {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Shard = RwLock<HashMap<KeyHash, Arc<KeyState>, BuildHasherDefault<Verbatim>>>;

const SHARDS: usize = 64;

/// Every key of this node.
pub struct Keyring {
    by_hash: Box<[Shard]>,
    /// Also the lock of all writers: a change of a key is one step after the other.
    by_id: RwLock<HashMap<KeyId, Arc<KeyState>>>,
}

impl Default for Keyring {
    fn default() -> Self {
        Keyring::new()
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({} keys)", self.len())
    }
}

impl Keyring {
    /// No keys.
    pub fn new() -> Keyring {
        let by_hash = (0..SHARDS).map(|_| Shard::default()).collect();
        Keyring { by_hash, by_id: RwLock::default() }
    }

    /// The key with this hash, or with this hash before a rotation. Whether it still works is for
    /// [`KeyState::active`] to say.
    pub fn find(&self, hash: &KeyHash) -> Option<Arc<KeyState>> {
        self.shard(hash).read().get(hash).cloned()
    }

    /// Adds a key, or replaces the record of the same id. Counters go on.
    pub fn upsert(&self, record: KeyRecord) {
        let mut by_id = self.by_id.write();
        let before = by_id.get(&record.id).cloned();
        let state = Arc::new(KeyState::new(record, before.as_deref()));
        if let Some(PreviousHash { hash, until }) = state.record.previous {
            self.shard(&hash).write().insert(hash, Arc::new(state.until(until)));
        }
        if let Some(hash) = state.record.hash {
            self.shard(&hash).write().insert(hash, Arc::clone(&state));
        }
        if let Some(before) = before {
            let kept: Vec<_> = hashes(&state).collect();
            for hash in hashes(&before).filter(|hash| !kept.contains(hash)) {
                self.forget(&hash, &before.record.id);
            }
        }
        by_id.insert(state.record.id.clone(), state);
    }

    /// Forgets a key. (A revoked key stays, so that it can say that it is revoked.)
    pub fn remove(&self, id: &KeyId) {
        let mut by_id = self.by_id.write();
        if let Some(state) = by_id.remove(id) {
            for hash in hashes(&state) {
                self.forget(&hash, id);
            }
        }
    }

    /// The key of this id.
    pub fn get(&self, id: &KeyId) -> Option<Arc<KeyState>> {
        self.by_id.read().get(id).cloned()
    }

    /// Every key, in no order.
    pub fn all(&self) -> Vec<Arc<KeyState>> {
        self.by_id.read().values().cloned().collect()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.by_id.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, hash: &KeyHash) -> &Shard {
        &self.by_hash[usize::from(hash.0[0]) % SHARDS]
    }

    /// Removes a hash, unless another key has it by now.
    fn forget(&self, hash: &KeyHash, id: &KeyId) {
        let mut shard = self.shard(hash).write();
        if shard.get(hash).is_some_and(|state| state.record.id == *id) {
            shard.remove(hash);
        }
    }
}

fn hashes(state: &KeyState) -> impl Iterator<Item = KeyHash> {
    state.record.hash.into_iter().chain(state.record.previous.map(|previous| previous.hash))
}

#[cfg(test)]
#[path = "keyring/tests.rs"]
mod tests;
