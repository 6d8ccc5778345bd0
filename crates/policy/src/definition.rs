//! What a name leads to, as one hash: equal where two definitions ask the same places in the same way.
//!
//! It is made once for a route, when its release is compiled, and stands in the key of every answer that is kept. Prices, limits
//! and credentials are not in it: they change no answer.

use crate::route::{Choice, Route, Said};
use crate::snapshot::Deployment;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

/// Parts, each with its length before it, so that no two lists of parts make one text. They are many and short, so they are put
/// together first and hashed at once.
#[derive(Debug)]
pub struct Mix(SmallVec<[u8; 1024]>);

impl Mix {
    /// Of what kind it is comes first.
    pub fn of(kind: &[u8]) -> Self {
        let mut mix = Self(SmallVec::new());
        mix.add(kind);
        mix
    }

    /// One part more.
    pub fn add(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        self.0.extend_from_slice(&(part.len() as u64).to_le_bytes());
        self.0.extend_from_slice(part);
        self
    }

    /// Who answers, and how it is asked.
    pub fn place(&mut self, deployment: &Deployment) {
        let provider = &deployment.provider;
        self.add("place").add(&*deployment.name).add(&*deployment.upstream_model);
        self.add(&*provider.vendor).add(provider.dialect.as_str());
        self.add(provider.origin.to_string()).add(&*provider.base_path);
        self.add(provider.api_version.as_deref().unwrap_or_default());
        self.add((provider.headers.len() as u64).to_le_bytes());
        for (name, value) in &provider.headers {
            self.add(&**name).add(&**value);
        }
    }

    /// What is said in place of the client.
    pub fn said(&mut self, set: Option<&Said>) {
        let set = set.map(|set| &**set).unwrap_or_default();
        self.add((set.len() as u64).to_le_bytes());
        for (name, value) in set {
            self.add(&**name).add(&**value);
        }
    }

    /// SHA-256 over all parts.
    pub fn digest(self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

/// The places of a route with their weights, and what is set for each.
pub(crate) fn of_route(route: &Route) -> [u8; 32] {
    let mut mix = Mix::of(b"route");
    mix.add(&*route.name);
    let choice = |mix: &mut Mix, choice: &Choice| {
        mix.place(&choice.deployment);
        mix.said(choice.set.as_ref());
    };
    for one in &route.targets {
        mix.add(one.weight.to_le_bytes());
        choice(&mut mix, one);
    }
    mix.add("fallbacks");
    route.fallbacks.iter().for_each(|(one, _)| choice(&mut mix, one));
    mix.digest()
}
