//! Gradual publishing: which end users have the next release already.
//!
//! It stands beside the release that all others have, so a request needs no second look-up, and an environment without a
//! roll-out pays one branch. Who has it is drawn by the one function [`bucket`] from the user and a salt that
//! stays for as long as the roll-out goes on: so the same user is always on the same side, and whoever has the release keeps
//! it when the share grows.

use crate::ids::Name;
use crate::limits::bucket;
use crate::snapshot::Environment;
use std::collections::HashSet;
use std::sync::Arc;

/// Shares are counted in millionths.
pub const MILLION: u32 = 1_000_000;

/// A release that is put into force for some end users.
#[derive(Debug)]
pub struct Rollout {
    /// What they run on.
    pub candidate: Arc<Environment>,
    share: u32,
    salt: Name,
    chosen: Arc<HashSet<Name>>,
}

impl Rollout {
    /// `share`: of a million. `chosen` have it whatever the share is.
    pub fn new(candidate: Arc<Environment>, share: u32, salt: Name, chosen: Arc<HashSet<Name>>) -> Rollout {
        Rollout { candidate, share: share.min(MILLION), salt, chosen }
    }

    /// Whether this end user has the next release.
    pub fn takes(&self, unit: &str) -> bool {
        self.chosen.contains(unit) || bucket(&self.salt, unit) * f64::from(MILLION) < f64::from(self.share)
    }

    /// How many of a million end users have it.
    pub fn share(&self) -> u32 {
        self.share
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::compile::{Discovered, Secrets, compile};
    use crate::key::{Pepper, Secret};
    use crate::settings::{Document, SecretRef};
    use crate::time::Timestamp;

    struct None;

    impl Secrets for None {
        fn read(&self, _: &SecretRef) -> Result<Secret, String> {
            Err("there are none".to_owned())
        }
    }

    fn at(share: u32, chosen: &[&str]) -> Rollout {
        let document = Document::empty("t");
        let (pepper, discovered) = (Pepper::derive(&[0; 32]), Discovered::default());
        let now = Timestamp::from_micros(1);
        let compiled = compile(&document, 1, &None, &pepper, &discovered, now).unwrap();
        let candidate = compiled.snapshot.environments["dev"].clone();
        Rollout::new(
            candidate,
            share,
            "salt".into(),
            Arc::new(chosen.iter().map(|&name| name.into()).collect()),
        )
    }

    #[test]
    fn a_tenth_of_a_hundred_thousand_users_is_a_tenth_and_stays_when_it_grows() {
        let (tenth, half) = (at(100_000, &[]), at(500_000, &[]));
        let users: Vec<String> = (0..100_000).map(|n| format!("user-{n}")).collect();
        let have: Vec<&String> = users.iter().filter(|user| tenth.takes(user)).collect();
        assert!((9_700..=10_300).contains(&have.len()), "{}", have.len());
        assert!(have.iter().all(|user| half.takes(user)));
        let all = users.iter().filter(|user| half.takes(user)).count();
        assert!((49_500..=50_500).contains(&all), "{all}");
    }

    #[test]
    fn nobody_and_everybody_and_those_who_were_chosen() {
        let (nobody, everybody) = (at(0, &["ann"]), at(MILLION, &[]));
        for user in ["bob", "", "carl"] {
            assert!(!nobody.takes(user) && everybody.takes(user));
        }
        assert!(nobody.takes("ann"));
    }
}
