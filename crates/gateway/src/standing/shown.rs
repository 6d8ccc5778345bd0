//! How places stand, for people and programs: `tidegate providers` and `/metrics`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use policy::{Moment, Name, Provider, Stand};

use super::{Fault, Place, Standings, account};

/// Series of a kind at most; what is beyond shares the provider `other`.
pub(crate) const MOST_SERIES: usize = 300;

/// A place that is not well, for people and programs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// The deployment, or the provider where its credential is refused.
    pub name: Name,
    /// What the settings call its credential, where the provider has several.
    pub credential: Option<Name>,
    /// `failed`, `mostly_failed`, `rate_limited`, `credential` or `forbidden`.
    pub reason: &'static str,
    /// Failures in a row.
    pub failures: u32,
    /// Of its last attempts, since it first failed: how many there were, and how many failed.
    pub recent: (u32, u32),
    /// Whether it is passed over where there is another.
    pub away: bool,
    /// Until it is tried again.
    pub tried_in: Duration,
}

/// Of which provider, by which of several credentials, why.
pub(crate) type Cause = (Name, Name, &'static str);

impl Standings {
    /// What of a provider's is not well, by name.
    pub(crate) fn of_provider(&self, provider: &Arc<Provider>, now: Moment) -> Vec<Standing> {
        let accounts: Vec<_> = provider.with_each_credential().map(|by| account(by)).collect();
        let states = self.states.lock();
        let mut list: Vec<_> = states
            .values()
            .filter(|state| accounts.contains(&state.account) && !state.is_well())
            .map(|state| Standing {
                name: Arc::clone(&state.name),
                credential: state.credential.clone(),
                reason: state.reason(),
                failures: state.failures,
                recent: state.recent.sum(),
                away: state.stand(now) == Stand::Away,
                tried_in: state.until.map_or(Duration::ZERO, |until| until.since(now)),
            })
            .collect();
        list.sort_by(|a, b| (&a.name, &a.credential).cmp(&(&b.name, &b.credential)));
        list
    }

    /// How many places are passed over.
    pub(crate) fn away(&self, now: Moment) -> usize {
        self.states.lock().values().filter(|state| state.stand(now) == Stand::Away).count()
    }

    /// How often places were passed over since the start, by reason, and how often one that mostly fails was asked all the same.
    pub(crate) fn counts(&self) -> (Vec<(&'static str, u64)>, u64) {
        let passed = self.passed.lock().iter().map(|(reason, count)| (*reason, *count)).collect();
        (passed, self.kept.load(Ordering::Relaxed))
    }

    /// How many places of each provider and credential are passed over, by reason. A credential that has a name is there in
    /// any case. Of an account that several providers have, the first is named.
    pub(crate) fn passed_over<'p>(
        &self,
        providers: impl Iterator<Item = &'p Arc<Provider>>,
        now: Moment,
    ) -> BTreeMap<Cause, u64> {
        let mut counts = BTreeMap::new();
        let mut names: HashMap<Place, (Name, Name)> = HashMap::new();
        for by in providers.flat_map(|provider| provider.with_each_credential()) {
            let named = (Arc::clone(&by.name), by.credential_name.clone().unwrap_or_default());
            if by.credential_name.is_some() && counts.len() < MOST_SERIES {
                counts.insert((Arc::clone(&named.0), Arc::clone(&named.1), Fault::Credential.reason()), 0);
            }
            names.entry(account(by)).or_insert(named);
        }
        for state in self.states.lock().values().filter(|state| state.stand(now) == Stand::Away) {
            let Some((provider, credential)) = names.get(&state.account) else { continue };
            let cause = (Arc::clone(provider), Arc::clone(credential), state.reason());
            let room = counts.len() < MOST_SERIES || counts.contains_key(&cause);
            let cause = if room { cause } else { (Name::from("other"), Name::default(), cause.2) };
            *counts.entry(cause).or_insert(0) += 1;
        }
        counts
    }
}
