//! How each place that serves a model stands: whoever fails again and again is passed over for a while.
//!
//! A place is an origin, a credential and an upstream model, whatever environment and release ask for it, so of several credentials
//! each stands for itself; an account is an
//! origin and a credential. A place that failed seven times in a row is passed over for a second, then two, up to a
//! minute; so is one of which more than half of the last attempts failed, though others succeed; one that limits its rate for as long as it says; an account whose credential is refused for a minute, up to ten.
//! Then one real request tries it: where it succeeds all is as before, and where it fails the next wait is longer. Waits are
//! spread by chance, so that the nodes of an installation do not come back as one.
//!
//! It steers and never refuses: where there is nobody else, the call is made all the same. A place of which nothing bad is
//! known is not in the table, and while the table is empty nobody looks into it.

mod shown;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use policy::{Deployment, Moment, Name, Provider, Stand};
use runtime::Dice;

use crate::Gateway;

pub(crate) use shown::MOST_SERIES;
pub use shown::Standing;

/// Failures in a row after which a place is passed over (as linkerd does, its documentation of 2026).
const IN_A_ROW: u32 = 7;
/// Of so many attempts within ten seconds more than half must fail before their share says anything.
const ENOUGH: u32 = 20;
/// Half of what [`Recent`] looks back on.
const HALF: Duration = Duration::from_secs(5);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const CREDENTIAL_SHORTEST: Duration = Duration::from_secs(60);
const CREDENTIAL_LONGEST: Duration = Duration::from_secs(600);
/// A try that is not heard of for so long is believed lost, and another may be made.
const LOST: Duration = Duration::from_secs(120);
/// Entries kept; clients choose the names of models, so there must be an end.
const MOST: usize = 4_096;

/// Why an attempt counts against its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// No connection, no answer in time, an error of its own, something that is no answer.
    Failed,
    /// It limits our rate, and says perhaps for how long.
    Limited(Option<Duration>),
    /// It refuses the gateway's credential.
    Credential,
    /// The credential is good, and not for this model.
    Forbidden,
}

impl Fault {
    /// For people and programs.
    fn reason(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Limited(_) => "rate_limited",
            Self::Credential => "credential",
            Self::Forbidden => "forbidden",
        }
    }
}

/// The attempts of the last five to ten seconds, from the first failure on, in two halves.
#[derive(Clone, Copy, Debug)]
struct Recent {
    since: Moment,
    /// Attempts and failures of this half and of the one before.
    halves: [(u32, u32); 2],
}

impl Recent {
    fn new(now: Moment) -> Self {
        Self { since: now, halves: [(0, 0); 2] }
    }

    fn turn(&mut self, now: Moment) {
        let age = now.since(self.since);
        if age >= HALF * 2 {
            *self = Self::new(now);
        } else if age >= HALF {
            *self = Self { since: self.since.plus(HALF), halves: [(0, 0), self.halves[0]] };
        }
    }

    fn count(&mut self, failed: bool, now: Moment) {
        self.turn(now);
        let (attempts, failures) = &mut self.halves[0];
        *attempts = attempts.saturating_add(1);
        *failures = failures.saturating_add(u32::from(failed));
    }

    fn sum(&self) -> (u32, u32) {
        let [(attempts, failures), before] = self.halves;
        (attempts.saturating_add(before.0), failures.saturating_add(before.1))
    }

    /// The share of the attempts that failed.
    fn share(&self) -> f64 {
        let (attempts, failures) = self.sum();
        f64::from(failures) / f64::from(attempts.max(1))
    }

    /// Whether more than half of enough attempts failed.
    fn mostly_failed(&self) -> bool {
        let (attempts, failures) = self.sum();
        attempts >= ENOUGH && failures > attempts / 2
    }
}

/// Where a call is made: a deployment, by one of its provider's credentials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    pub(crate) deployment: &'a Deployment,
    /// The deployment's provider, or the same with another credential.
    pub(crate) by: &'a Provider,
}

impl At<'_> {
    /// The account alone, and the place.
    fn both(self) -> [Place; 2] {
        [account(self.by), place(self)]
    }

    /// The place as a number.
    pub(crate) fn place(self) -> Place {
        place(self)
    }

    /// The account as a number.
    pub(crate) fn account(self) -> Place {
        account(self.by)
    }

    /// That of a provider.
    pub(crate) fn account_of(by: &Provider) -> Place {
        account(by)
    }
}

/// What is known of a place or an account that is not well.
#[derive(Debug)]
struct State {
    /// The deployment, or the provider where its credential is refused: for people.
    name: Name,
    /// Its credential, where the provider has several.
    credential: Option<Name>,
    account: Place,
    failures: u32,
    recent: Recent,
    /// When it last failed, or was asked again after its share of failures.
    ill: Moment,
    /// It is or was passed over for the share of its failures, and so is not trusted for one success.
    by_share: bool,
    /// How often in a row it has been passed over.
    times: u32,
    until: Option<Moment>,
    /// A try is on its way since then.
    trying: Option<Moment>,
    fault: Fault,
}

impl State {
    fn stand(&self, now: Moment) -> Stand {
        match (self.until, self.trying) {
            (None, _) => Stand::Ready,
            (Some(until), _) if now < until => Stand::Away,
            (Some(_), Some(since)) if now.since(since) < LOST => Stand::Away,
            _ => Stand::Due,
        }
    }

    /// Takes a fault to heart. `spread` lies in [0, 1); whether the place is passed over from now on that was not before.
    fn fault(&mut self, fault: Fault, now: Moment, spread: f64) -> bool {
        let tried = self.trying.take().is_some();
        if self.until.is_some() && !tried {
            // What was under way when the place was already passed over says nothing new; but one that mostly fails may be
            // asked all the same, and is to be known to fail always, or to limit the rate.
            if !self.mostly_fails() {
                return false;
            }
            if fault == Fault::Failed {
                self.failures += 1;
                self.recent.count(true, now);
                return false;
            }
        }
        (self.fault, self.ill) = (fault, now);
        if fault == Fault::Failed {
            self.failures += 1;
            self.recent.count(true, now);
            let mostly = self.recent.mostly_failed();
            if self.failures < IN_A_ROW && !mostly && !tried {
                return false;
            }
            self.by_share |= mostly;
        }
        let doubled =
            |first: Duration, longest: Duration| first.saturating_mul(1 << self.times.min(16)).min(longest);
        let wait = match fault {
            Fault::Failed => doubled(SHORTEST, LONGEST).mul_f64(1.0 - spread / 2.0),
            Fault::Limited(Some(told)) => told.clamp(SHORTEST, LONGEST).mul_f64(1.0 + spread / 10.0),
            Fault::Limited(None) => doubled(SHORTEST, LONGEST).mul_f64(1.0 - spread / 2.0),
            Fault::Credential | Fault::Forbidden => doubled(CREDENTIAL_SHORTEST, CREDENTIAL_LONGEST),
        };
        self.times += 1;
        let before = self.until.replace(now.plus(wait));
        before.is_none()
    }

    /// Whether it is passed over for the share of its failures, and answers now and then.
    fn mostly_fails(&self) -> bool {
        let by_share = self.until.is_some() && self.by_share && self.fault == Fault::Failed;
        by_share && self.failures < IN_A_ROW
    }

    /// One that mostly fails was asked all the same, and answered.
    fn answers_now_and_then(&mut self, now: Moment) {
        if self.mostly_fails() {
            self.failures = 0;
            self.recent.count(false, now);
        }
    }

    /// For people and programs.
    fn reason(&self) -> &'static str {
        if self.mostly_fails() { "mostly_failed" } else { self.fault.reason() }
    }

    /// Takes a success to heart; whether nothing bad is left to be known.
    fn succeeded(&mut self, now: Moment) -> bool {
        self.failures = 0;
        self.trying = None;
        if self.until.take().is_some() {
            if !self.by_share {
                return true;
            }
            // The next wait is longer, unless it does well for the whole time that is looked back on.
            (self.recent, self.ill) = (Recent::new(now), now);
            return false;
        }
        self.recent.count(false, now);
        now.since(self.ill) >= HALF * 2
    }

    /// Whether it has but a past, and nothing speaks against it now.
    fn is_well(&self) -> bool {
        self.until.is_none() && self.failures == 0
    }
}

/// A place or an account, as a number: its credential must not lie about as text.
pub(crate) type Place = u64;

/// All that are not well.
#[derive(Default)]
pub(crate) struct Standings {
    known: AtomicUsize,
    states: Mutex<HashMap<Place, State>>,
    /// How often places were passed over since the start, by reason.
    passed: Mutex<BTreeMap<&'static str, u64>>,
    /// How often one that mostly fails was asked all the same.
    kept: AtomicU64,
}

impl Standings {
    /// Whether nothing bad is known of anybody.
    pub(crate) fn all_is_well(&self) -> bool {
        self.known.load(Ordering::Acquire) == 0
    }

    /// How a place stands.
    pub(crate) fn of(&self, at: At<'_>, now: Moment) -> Stand {
        if self.known.load(Ordering::Acquire) == 0 {
            return Stand::Ready;
        }
        let states = self.states.lock();
        let stand = |place| states.get(&place).map_or(Stand::Ready, |state| state.stand(now));
        let [account, place] = at.both();
        stand(account).max(stand(place))
    }

    /// The share of failures of a place that is passed over for nothing but that.
    pub(crate) fn failing(&self, at: At<'_>, now: Moment) -> Option<f64> {
        if self.known.load(Ordering::Acquire) == 0 {
            return None;
        }
        let states = self.states.lock();
        let [account, place] = at.both();
        if states.get(&account).is_some_and(|state| state.stand(now) == Stand::Away) {
            return None;
        }
        states.get(&place).filter(|state| state.mostly_fails()).map(|state| state.recent.share())
    }

    /// The same of a deployment: by the credential that fails least.
    pub(crate) fn failing_any(&self, deployment: &Deployment, now: Moment) -> Option<f64> {
        let each = deployment.provider.with_each_credential();
        each.filter_map(|by| self.failing(At { deployment, by }, now)).min_by(f64::total_cmp)
    }

    /// A place that mostly fails is asked all the same.
    pub(crate) fn count_kept(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    /// How much speaks against a place: nothing, some failures, that it is passed over.
    pub(crate) fn doubt(&self, at: At<'_>) -> u8 {
        if self.known.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let states = self.states.lock();
        let doubt = |place| {
            states.get(&place).map_or(0, |state| match state.until {
                Some(_) => 2,
                None => u8::from(!state.is_well()),
            })
        };
        let [account, place] = at.both();
        doubt(account).max(doubt(place))
    }

    /// An attempt begins. Where the place is to be tried, it is this attempt that tries it; `None`: another does already.
    fn enter(&self, at: At<'_>, now: Moment) -> Option<bool> {
        if self.known.load(Ordering::Acquire) == 0 {
            return Some(false);
        }
        let mut states = self.states.lock();
        let both = at.both();
        let stand = |state: Option<&State>| state.map_or(Stand::Ready, |state| state.stand(now));
        match both.iter().map(|place| stand(states.get(place))).max() {
            Some(Stand::Away) => None,
            Some(Stand::Due) => {
                for place in both {
                    if let Some(state) = states.get_mut(&place).filter(|state| state.stand(now) == Stand::Due)
                    {
                        state.trying = Some(now);
                    }
                }
                Some(true)
            }
            _ => Some(false),
        }
    }

    /// It answered, if only that the client was wrong. What answers once may limit its rate all the same, so that ends by a
    /// try alone.
    fn answered(&self, at: At<'_>, tried: bool, now: Moment) {
        if self.known.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut states = self.states.lock();
        for place in at.both() {
            let stays = |state: &State| {
                !tried && state.until.is_some() && (state.fault != Fault::Failed || state.by_share)
            };
            let Some(state) = states.get_mut(&place) else { continue };
            if stays(state) {
                state.answers_now_and_then(now);
                continue;
            }
            let was_away = state.until.is_some();
            if state.succeeded(now) {
                states.remove(&place);
            }
            if was_away {
                tracing::info!(model = %at.deployment.name, credential = named(at.by), "is asked again, since it answers");
            }
        }
        self.known.store(states.len(), Ordering::Release);
    }

    /// It failed.
    pub(crate) fn failed(&self, at: At<'_>, fault: Fault, now: Moment) {
        let (place, name) = match fault {
            Fault::Credential => (account(at.by), &at.by.name),
            _ => (place(at), &at.deployment.name),
        };
        let mut states = self.states.lock();
        if !states.contains_key(&place) && states.len() >= MOST {
            // Those of which least is known go first.
            states.retain(|_, state| state.stand(now) == Stand::Away);
            if states.len() >= MOST {
                return;
            }
        }
        let state = states.entry(place).or_insert_with(|| State {
            name: Arc::clone(name),
            credential: at.by.credential_name.clone(),
            account: account(at.by),
            failures: 0,
            recent: Recent::new(now),
            ill: now,
            by_share: false,
            times: 0,
            until: None,
            trying: None,
            fault,
        });
        if state.fault(fault, now, Dice::unit()) {
            *self.passed.lock().entry(state.reason()).or_insert(0) += 1;
            let credential = named(at.by);
            tracing::warn!(%name, credential, fault = ?fault, failures = state.failures, "a deployment or account is passed over for a while");
        }
        self.known.store(states.len(), Ordering::Release);
    }

    /// A try that ended without saying anything of the place.
    fn released(&self, at: At<'_>) {
        let mut states = self.states.lock();
        for place in at.both() {
            if let Some(state) = states.get_mut(&place) {
                state.trying = None;
            }
        }
    }
}

/// What an attempt says of its place: it answered, or what it did wrong; `Err(None)` where it says nothing.
pub(crate) type Told = Result<(), Option<Fault>>;

/// One attempt at a place, for what is learned from it.
pub(crate) struct Visit<'a> {
    gateway: &'a Gateway,
    at: At<'a>,
    tries: bool,
}

impl<'a> Visit<'a> {
    /// `None` where the place is passed over, or is tried by another request at this moment, and there are `others`.
    pub(crate) fn begin(gateway: &'a Gateway, at: At<'a>, others: bool) -> Option<Self> {
        match gateway.standings.enter(at, gateway.clock.moment()) {
            Some(tries) => Some(Self { gateway, at, tries }),
            None if others => None,
            None => Some(Self { gateway, at, tries: false }),
        }
    }

    pub(crate) fn ended(mut self, told: Told) {
        let standings = &self.gateway.standings;
        match told {
            Ok(()) => standings.answered(self.at, self.tries, self.gateway.clock.moment()),
            Err(Some(fault)) => standings.failed(self.at, fault, self.gateway.clock.moment()),
            Err(None) => return,
        }
        self.tries = false;
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if self.tries {
            self.gateway.standings.released(self.at);
        }
    }
}

/// What the settings call a credential, where there are several: for the log.
fn named(by: &Provider) -> Option<&str> {
    by.credential_name.as_deref()
}

pub(crate) fn account(provider: &Provider) -> Place {
    let mut hasher = DefaultHasher::new();
    provider.origin.hash(&mut hasher);
    provider.credential.as_ref().map(policy::Secret::expose).hash(&mut hasher);
    hasher.finish()
}

fn place(at: At<'_>) -> Place {
    let mut hasher = DefaultHasher::new();
    account(at.by).hash(&mut hasher);
    at.by.base_path.hash(&mut hasher);
    at.deployment.upstream_model.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "standing/tests.rs"]
mod tests;
