//! Keys that the document declares: their secrets, their allow-lists, and budgets that could not be kept.

use super::{FileKey, Work, routes};
use crate::ids::{KeyId, Name};
use crate::key::{self, KeyHash};
use crate::money::Currency;
use crate::settings::{EnvironmentDocument, KeyDocument, Place};
use crate::snapshot::{Deployment, Environment, Listed};
use std::collections::{BTreeMap, HashMap};

/// Adds the keys of an environment; errors for secrets and names that cannot be.
pub(super) fn compile(
    work: &mut Work<'_>,
    described: &EnvironmentDocument,
    environment: &Environment,
    keys: &mut Vec<FileKey>,
) {
    if described.keys.is_empty() {
        return;
    }
    let currencies = Currencies::of(environment);
    keys.reserve(described.keys.len());
    for (name, said) in &described.keys {
        let (hash, hint) = secret(work, &environment.name, name, said).unwrap_or_default();
        for allowed in &said.models {
            // Only a warning: a key may be made before its models are, and must not keep a release from serving.
            if let Some(doubt) = environment.doubt_allowed(&allowed.value) {
                work.findings.warning(allowed.at, format!("key `{name}`: {}", doubt.message), doubt.help);
            }
        }
        foreign(work, &currencies, name, said);
        keys.push(FileKey {
            id: KeyId::of_file_key(&environment.name, name),
            environment: environment.name.clone(),
            name: name.clone(),
            hash,
            hint,
            models: said.models.iter().map(|allowed| allowed.value.to_string()).collect(),
            limits: said.limits.clone(),
            budgets: said.budgets.iter().map(|budget| budget.rule.clone()).collect(),
            durable: said.durable,
        });
    }
}

/// The hash and the hint of a key's secret; `None` where it names none, or after an error.
fn secret(
    work: &mut Work<'_>,
    environment: &Name,
    name: &Name,
    said: &KeyDocument,
) -> Option<(Option<KeyHash>, String)> {
    let reference = said.secret.as_ref()?;
    let print = "`tidegate keys create --offline` prints one in the right format";
    let error = |work: &mut Work<'_>, message: String, help: &str| {
        work.findings.error(reference.at, message, Some(help.to_owned()));
        None
    };
    let secret = match work.secret(&reference.value) {
        Ok(secret) => secret,
        Err(why) => {
            work.no_secret(
                reference.at,
                format!("the secret of key `{name}`: {why}"),
                Some(print.to_owned()),
            );
            return None;
        }
    };
    let hash = match key::parse(secret.expose().as_bytes()) {
        Ok(presented) => work.pepper.hash(&presented),
        Err(why) => {
            return error(work, format!("the secret of key `{name}` is not a virtual key: {why}"), print);
        }
    };
    let full: Name = format!("{environment}/{name}").into();
    if let Some(other) = work.holders.insert(hash, full) {
        let message = format!("key `{name}` has the same secret as key `{other}`");
        return error(work, message, "give each key its own: a presented secret has to name one key");
    }
    Some((Some(hash), key::hint(&secret)))
}

/// Warns of models whose cost no budget of the key can count.
fn foreign(work: &mut Work<'_>, currencies: &Currencies, name: &Name, said: &KeyDocument) {
    let Some(first) = said.budgets.first() else { return };
    let mut warned: Vec<Currency> = Vec::new();
    let everything = said.models.is_empty().then_some("*");
    let allowed = said.models.iter().map(|allowed| &*allowed.value).chain(everything);
    for (currency, model) in allowed.flat_map(|allowed| currencies.reached(allowed)) {
        let counted = said.budgets.iter().any(|budget| budget.rule.amount.currency == *currency);
        if counted || warned.contains(currency) {
            continue;
        }
        warned.push(*currency);
        let message = format!(
            "budget `{}` of key `{name}` is in {}, but `{model}` is billed in {currency}: its cost cannot be counted",
            first.rule.name, first.rule.amount.currency
        );
        let help = format!("add a budget in {currency}, or leave such models out of the key's `models`");
        work.findings.warning(place(first.at, said.at), message, Some(help));
    }
}

fn place(first: Place, otherwise: Place) -> Place {
    if first.line > 0 { first } else { otherwise }
}

/// Which currencies a name leads to, each with one model as an example. Made once, since there may be many
/// keys and many models.
struct Currencies {
    by_name: HashMap<Name, BTreeMap<Currency, Name>>,
}

impl Currencies {
    fn of(environment: &Environment) -> Currencies {
        let mut by_name: HashMap<Name, BTreeMap<Currency, Name>> = HashMap::new();
        for (name, listed) in &environment.names {
            let mut add = |deployment: &Deployment| {
                // Nobody is billed for a simulation.
                let Some(price) = deployment.price.as_ref().filter(|_| !deployment.provider.simulated) else {
                    return;
                };
                let provider: Name = format!("{}/*", deployment.provider.name).into();
                for reached in [name.clone(), provider, "*".into()] {
                    let examples = by_name.entry(reached).or_default();
                    let example = examples.entry(price.currency).or_insert_with(|| deployment.name.clone());
                    if deployment.name < *example {
                        *example = deployment.name.clone();
                    }
                }
            };
            match listed {
                Listed::Deployment(deployment) => add(deployment),
                Listed::Route(route) => routes::places(route).for_each(|deployment| add(deployment)),
                Listed::Several(_) => {}
            }
        }
        Currencies { by_name }
    }

    fn reached(&self, allowed: &str) -> impl Iterator<Item = (&Currency, &Name)> {
        self.by_name.get(allowed).into_iter().flatten()
    }
}
