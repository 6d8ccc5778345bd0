//! Which providers of several environments are one account at the vendor's.
//!
//! Files, batches and videos belong to an account: whoever has its credential sees them all. So that no environment
//! sees what is another's, the gateway has to know where environments share one. Decided here, from the settings alone,
//! since a record of every object would be silent about those that were made before it, or elsewhere.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ids::Name;
use crate::snapshot::{Environment, Provider};

/// What two providers have in common if they are one account: the credential, and the vendor or the place.
type Sign<'p> = (Option<&'p str>, Result<&'p str, (&'p str, u16)>);

/// Marks the providers whose account another environment has too.
pub(super) fn mark_shared(environments: &mut [Environment]) {
    let shared = shared(environments);
    for (environment, shared) in environments.iter_mut().zip(shared) {
        environment.shared = shared;
    }
}

/// For each environment the names of such providers. One pass, since there may be many environments.
fn shared(environments: &[Environment]) -> Vec<HashSet<Name>> {
    let mut holders: HashMap<Sign<'_>, HashSet<usize>> = HashMap::new();
    for (at, environment) in environments.iter().enumerate() {
        for sign in environment.providers.values().flat_map(signs) {
            holders.entry(sign).or_default().insert(at);
        }
    }
    let is_shared = |provider: &Arc<Provider>| {
        signs(provider).any(|sign| holders.get(&sign).is_some_and(|holders| holders.len() > 1))
    };
    let of = |environment: &Environment| {
        let shared = environment.providers.values().filter(|provider| is_shared(provider));
        shared.map(|provider| provider.name.clone()).collect()
    };
    environments.iter().map(of).collect()
}

/// A vendor's account is its credential, at whichever of its addresses; that of a server of one's own is its place and
/// the credential, if it has any. What is simulated keeps nothing. Of several credentials each counts, though the gateway
/// itself asks for what is kept by the first alone: calls of models may leave something behind with any of them.
fn signs(provider: &Arc<Provider>) -> impl Iterator<Item = Sign<'_>> {
    provider.with_each_credential().flat_map(|provider| signs_of(provider))
}

fn signs_of(provider: &Provider) -> impl Iterator<Item = Sign<'_>> {
    let credential = provider.credential.as_ref().map(|secret| secret.expose());
    let known = credential.is_some() && &*provider.vendor != "custom";
    let vendor = known.then_some(Ok(&*provider.vendor));
    let place = Some(Err((&*provider.origin.host, provider.origin.port)));
    [vendor, place]
        .into_iter()
        .flatten()
        .map(move |where_| (credential, where_))
        .filter(|_| !provider.simulated)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::compile::{Discovered, Secrets, compile};
    use crate::key::{Pepper, Secret};
    use crate::settings::{SecretRef, parse};
    use crate::time::Timestamp;

    /// The secret of a variable is its name, up to the first `_`.
    struct Named;

    impl Secrets for Named {
        fn read(&self, reference: &SecretRef) -> Result<Secret, String> {
            let text = reference.to_string();
            let name = text.trim_start_matches("env:").split('_').next().unwrap_or_default();
            Ok(Secret::new(name.to_owned()))
        }
    }

    /// Whether two environments with these providers share an account; each sees it as the other does.
    fn shared(one: &str, other: &str) -> bool {
        let text = format!(
            "[environments.a]\nlayer = \"production\"\n[environments.a.providers.{one}\n\
             [environments.b]\nlayer = \"production\"\n[environments.b.providers.{other}\n"
        );
        let document = parse(&text, "t.toml").unwrap().0;
        let (pepper, none) = (Pepper::derive(&[0; 32]), Discovered::default());
        let compiled = compile(&document, 1, &Named, &pepper, &none, Timestamp::from_micros(1)).unwrap();
        let of = |environment: &str, table: &str| {
            let name = table.split(']').next().unwrap();
            compiled.snapshot.environments[environment].shares_account(name)
        };
        assert_eq!(of("a", one), of("b", other));
        of("a", one)
    }

    #[test]
    fn environments_share_an_account_by_its_credential() {
        let own = |credential: &str, url: &str| {
            format!("x]\ncredential = \"env:{credential}\"\nbase_url = \"{url}\"")
        };
        let bare = |url: &str| format!("y]\nbase_url = \"{url}\"");
        let openai = |credential: &str| format!("openai]\ncredential = \"env:{credential}\"");
        let several =
            "openai]\ncredentials.one.credential = \"env:C\"\ncredentials.two.credential = \"env:A\"";
        assert!(shared(&openai("A"), several), "each of several counts");
        assert!(!shared(&openai("B"), several));
        // The same secret from two places is one secret, and a provider may be named otherwise.
        assert!(shared(&openai("A_1"), &openai("A_2")));
        assert!(shared(
            &openai("A"),
            "mine]\nvendor = \"openai\"\nbase_url = \"https://eu.example/v1\"\ncredential = \"env:A\""
        ));
        assert!(!shared(&openai("A"), &openai("B")));
        assert!(shared(&own("A", "http://127.0.0.1:1/v1"), &own("A", "http://127.0.0.1:1/other")));
        assert!(!shared(&own("A", "http://127.0.0.1:1/v1"), &own("A", "http://127.0.0.1:2/v1")));
        assert!(!shared(&own("A", "http://127.0.0.1:1/v1"), &own("B", "http://127.0.0.1:1/v1")));
        assert!(shared(&bare("http://127.0.0.1:1/v1"), &bare("http://127.0.0.1:1/v1")));
        assert!(!shared(&bare("http://127.0.0.1:1/v1"), &bare("http://127.0.0.1:2/v1")));
    }
}
