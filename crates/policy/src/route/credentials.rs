//! Which of a provider's credentials a call is made with, where there are several.
//!
//! Chance by weight for whoever has no name; who has one keeps the same, as long as it is well: what a vendor caches of a
//! prompt is cached for the account. Both are one draw: `weight / -ln(u)` is largest for each credential as often as its
//! weight says, whether `u` is chance or computed from names.

use super::Stand;
use crate::ids::Name;
use crate::limits::bucket;
use crate::snapshot::Provider;
use smallvec::SmallVec;
use std::sync::Arc;

/// A credential in the order of a request.
pub type Turn<'p> = (&'p Arc<Provider>, Stand);

impl Provider {
    /// The provider with each of its credentials, in the order in which they are to be tried: one that is to be tried again,
    /// then those of which nothing bad is known, then those that have enough to do, then those that are passed over. `unit`: who asks; `draw`: chance,
    /// uniform in [0, 1).
    pub fn turns(
        self: &Arc<Provider>,
        stand: impl Fn(&Provider) -> Stand,
        unit: Option<&str>,
        draw: impl Fn() -> f64,
    ) -> SmallVec<[Turn<'_>; 2]> {
        if self.others.is_empty() {
            return SmallVec::from_iter([(self, stand(self))]);
        }
        let drawn = |provider: &Provider| {
            let u = match (unit, &provider.credential_name) {
                (Some(unit), Some(own)) => bucket(&salt(&provider.name, own), unit),
                _ => draw(),
            };
            // In (0, 1): the logarithm is below zero.
            -provider.weight / u.max(f64::MIN_POSITIVE).ln()
        };
        let all = self.with_each_credential();
        let mut all: SmallVec<[(Turn<'_>, f64); 4]> =
            all.map(|one| ((one, stand(one)), drawn(one))).collect();
        all.sort_by(|((_, stand), drawn), ((_, other), by)| stand.cmp(other).then(by.total_cmp(drawn)));
        if let Some(due) = all.iter().position(|((_, stand), _)| *stand == Stand::Due) {
            all[..=due].rotate_right(1);
        }
        all.into_iter().map(|(turn, _)| turn).collect()
    }
}

fn salt(provider: &Name, credential: &Name) -> String {
    format!("{provider}/credentials/{credential}")
}

#[cfg(test)]
#[path = "credentials/tests.rs"]
mod tests;
