//! Deployments: which models are listed, under which names, at which price.

use super::Work;
use crate::catalogue::{ThroughChat, built_in};
use crate::ids::Name;
use crate::nearest;
use crate::price::Price;
use crate::settings::{Api, EnvironmentDocument, ModelDocument, ModelList, ProviderDocument};
use crate::snapshot::{Deployment, Environment, Listed, ModelEntry, Provider};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The most models of one provider that are listed; others of it are still passed on.
const MOST: usize = 10_000;

/// Lists every model that the environment knows of by name, full and bare.
pub(super) fn compile(work: &mut Work<'_>, described: &EnvironmentDocument, environment: &mut Environment) {
    let own = by_provider(work, described);
    let mut bare: HashMap<Name, Vec<Arc<Deployment>>> = HashMap::new();
    for (provider_name, said) in &described.providers {
        let Some(provider) = environment.providers.get(provider_name).cloned() else { continue };
        let no_models = BTreeMap::new();
        let own = own.get(&**provider_name).unwrap_or(&no_models);
        if closes(said, &provider) {
            environment.closed.insert(provider_name.clone());
        }
        for model in listed(work, described, said, &provider, own) {
            let (deployment, created) = deployment(work, &provider, &model, own.get(&*model).copied());
            environment.entries.push(ModelEntry {
                id: deployment.name.clone(),
                owned_by: provider_name.clone(),
                created,
                context: deployment.context,
                max_output: deployment.max_output,
                route: false,
                simulated: provider.simulated,
            });
            bare.entry(model).or_default().push(Arc::clone(&deployment));
            environment.names.insert(deployment.name.clone(), Listed::Deployment(deployment));
        }
    }
    for (name, deployments) in bare {
        // `openai/gpt-5` as sold by another provider must not take the place of the provider `openai`.
        let prefixed = name.split_once('/').is_some_and(|(first, _)| described.providers.contains_key(first));
        if prefixed || environment.names.contains_key(&name) {
            continue;
        }
        let listed = match &deployments[..] {
            [only] => Listed::Deployment(Arc::clone(only)),
            several => Listed::Several(several.iter().map(|deployment| deployment.name.clone()).collect()),
        };
        environment.names.insert(name, listed);
    }
}

/// Whether a provider serves what it lists and nothing else.
fn closes(said: &ProviderDocument, provider: &Provider) -> bool {
    let vendor = || built_in().vendor(&provider.vendor).is_some_and(|vendor| vendor.closed);
    match said.models {
        ModelList::Closed(_) => true,
        ModelList::Open => vendor(),
        ModelList::Discover => false,
    }
}

type OwnModels<'d> = BTreeMap<&'d str, &'d ModelDocument>;

/// `[models."provider/model"]`, by provider; errors for those of no provider, or not of its list.
fn by_provider<'d>(
    work: &mut Work<'_>,
    described: &'d EnvironmentDocument,
) -> BTreeMap<&'d str, OwnModels<'d>> {
    let mut own: BTreeMap<&str, OwnModels<'_>> = BTreeMap::new();
    for (full, said) in &described.models {
        let (provider, model) = full.split_once('/').unwrap_or((full, ""));
        let problem = match described.providers.get(provider) {
            None => {
                let near = nearest::one(provider, described.providers.keys().map(|name| &**name));
                let help = near.map(|near| format!("did you mean `{near}/{model}`?"));
                Some((format!("model `{full}` is of no provider: there is no `providers.{provider}`"), help))
            }
            Some(ProviderDocument { models: ModelList::Closed(list), .. }) => {
                let missing = !list.iter().any(|listed| &**listed == model);
                let help = format!("add \"{model}\" to `providers.{provider}.models`");
                missing.then(|| {
                    (format!("model `{full}` is not in the list of provider `{provider}`"), Some(help))
                })
            }
            Some(_) => None,
        };
        if let Some((message, help)) = problem {
            work.findings.error(said.at, message, help);
        }
        own.entry(provider).or_default().insert(model, said);
    }
    own
}

/// The models of a provider that are known by name, sorted.
fn listed(
    work: &Work<'_>,
    described: &EnvironmentDocument,
    said: &ProviderDocument,
    provider: &Provider,
    own: &OwnModels<'_>,
) -> BTreeSet<Name> {
    let mut names: BTreeSet<Name> = own.keys().map(|model| Name::from(*model)).collect();
    let catalogue = || built_in().models(&provider.vendor).map(|(name, _)| name.clone());
    match &said.models {
        ModelList::Closed(list) => names.extend(list.iter().cloned()),
        ModelList::Open => names.extend(catalogue()),
        ModelList::Discover => {
            let here: Name = format!("{}/{}", described.name, provider.name).into();
            let found = &work.discovered.models;
            match found.get(&here).or_else(|| found.get(&provider.name)) {
                Some(found) => names.extend(found.iter().filter(|name| sound(name)).take(MOST).cloned()),
                None => names.extend(catalogue()),
            }
        }
    }
    names
}

/// A name from an upstream ends up in headers, logs and metrics.
fn sound(name: &str) -> bool {
    !name.is_empty() && name.len() <= 150 && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn deployment(
    work: &Work<'_>,
    provider: &Arc<Provider>,
    model: &Name,
    own: Option<&ModelDocument>,
) -> (Arc<Deployment>, i64) {
    let known = built_in().model(&provider.vendor, model);
    let price = own.and_then(|own| own.price.as_ref()).map(|placed| {
        let version = match placed.at.line {
            0 => "file".into(),
            line => Name::from(format!("file:{line}")),
        };
        Arc::new(Price { version, ..placed.value.clone() })
    });
    let deployment = Deployment {
        name: format!("{}/{model}", provider.name).into(),
        provider: Arc::clone(provider),
        upstream_model: model.clone(),
        price: price.or_else(|| known?.price.clone()),
        context: own.and_then(|own| own.context).or_else(|| known?.context),
        max_output: own.and_then(|own| own.max_output).or_else(|| known?.max_output),
        takes: own.and_then(|own| own.takes.clone()),
        chat: match own.and_then(|own| own.api) {
            Some(Api::Chat) => Some(ThroughChat::Everything),
            Some(Api::Responses) => Some(ThroughChat::Nothing),
            None => built_in().through_chat(&provider.vendor, model),
        },
    };
    (Arc::new(deployment), known.map_or(work.now.as_seconds(), |known| known.dated))
}
