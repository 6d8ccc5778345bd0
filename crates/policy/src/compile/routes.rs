//! Routes: their targets and fallbacks, found by name.

use super::Work;
use super::guardrails::{self, Made};
use crate::definition;
use crate::ids::Name;
use crate::route::{Causes, Choice, Condition, Route};
use crate::settings::{EnvironmentDocument, Placed, RouteDocument, TargetDocument};
use crate::snapshot::{Deployment, Environment, Listed, ModelEntry, ResolveError, Target, Timeouts};
use std::sync::Arc;

/// Adds the routes of an environment whose models are known. A route hides a bare model name like its own.
pub(super) fn compile(
    work: &mut Work<'_>,
    described: &EnvironmentDocument,
    guards: &Made,
    environment: &mut Environment,
) {
    let mut routes = Vec::with_capacity(described.routes.len());
    for (name, said) in &described.routes {
        let mut route = route(work, described, environment, name, said);
        route.guardrails = guardrails::named(work, described, guards, name, &said.guardrails);
        route.definition = definition::of_route(&route);
        environment.guards_routes |= !route.guardrails.is_empty();
        routes.push(route);
    }
    for route in routes {
        environment.entries.push(ModelEntry {
            id: route.name.clone(),
            owned_by: "tidegate".into(),
            created: work.now.as_seconds(),
            context: smallest(&route, |deployment| deployment.context),
            max_output: smallest(&route, |deployment| deployment.max_output),
            route: true,
            simulated: places(&route).all(|deployment| deployment.provider.simulated),
        });
        environment.names.insert(route.name.clone(), Listed::Route(Arc::new(route)));
    }
}

fn route(
    work: &mut Work<'_>,
    described: &EnvironmentDocument,
    environment: &Environment,
    name: &Name,
    said: &RouteDocument,
) -> Route {
    let mut find = |said: &TargetDocument, what| {
        // Also looked up where it could never be chosen: a mistyped name is a mistake at any weight.
        let deployment = place(work, described, environment, name, &said.model, what)?;
        let when = said.when.as_ref().and_then(|text| Condition::new(text).ok()).map(Arc::new);
        let set = (!said.set.is_empty()).then(|| said.set.iter().cloned().collect());
        Some(Choice { deployment, weight: said.weight, when, set })
    };
    let mut targets: Vec<Choice> = Vec::with_capacity(said.targets.len());
    for target in &said.targets {
        targets.extend(find(target, "targets").filter(|choice| choice.weight > 0.0));
    }
    let fallback = |said: &TargetDocument| Some((find(said, "fallbacks")?, said.on.unwrap_or(Causes::USUAL)));
    let fallbacks = said.fallbacks.iter().filter_map(fallback).collect();
    let sum: f64 = targets.iter().map(|choice| choice.weight).sum();
    targets.iter_mut().for_each(|choice| choice.weight /= sum);
    Route {
        name: name.clone(),
        strategy: said.strategy,
        sticky: said.sticky,
        targets,
        fallbacks,
        max_cost: said.max_cost,
        max_first_token: said.max_first_token,
        timeouts: said.timeouts.over(Timeouts::default()),
        cache: said.cache.within(described.cache),
        guardrails: Box::default(),
        definition: [0; 32],
        own_timeouts: said.timeouts,
    }
}

/// The deployment that a route names; `None` after an error.
fn place(
    work: &mut Work<'_>,
    described: &EnvironmentDocument,
    environment: &Environment,
    route: &Name,
    model: &Placed<Name>,
    what: &str,
) -> Option<Arc<Deployment>> {
    let wanted = &model.value;
    let (message, help) = match environment.resolve(wanted) {
        Ok(Target::Deployment(deployment)) => return Some(deployment),
        _ if described.routes.contains_key(wanted) => (
            format!("route `{route}`: `{wanted}` in `{what}` is a route"),
            Some("a route leads to models, not to another route: name the models".to_owned()),
        ),
        Err(ResolveError::Ambiguous { candidates }) => (
            format!("route `{route}`: several providers serve `{wanted}`"),
            Some(format!("write one of {}", candidates.join(", "))),
        ),
        Ok(Target::Route(_)) | Err(ResolveError::Unknown { .. }) => (
            format!("route `{route}`: there is no model `{wanted}`"),
            unknown(described, environment, wanted),
        ),
    };
    work.findings.error(model.at, message, help);
    None
}

/// The way out of an unknown model name: a name like it, or the provider that is missing.
pub(super) fn unknown(
    described: &EnvironmentDocument,
    environment: &Environment,
    wanted: &str,
) -> Option<String> {
    if let Err(ResolveError::Unknown { nearest }) = environment.resolve(wanted)
        && let Some(near) = nearest.first()
    {
        return Some(format!("did you mean `{near}`?"));
    }
    match wanted.split_once('/') {
        Some((provider, _)) if !described.providers.contains_key(provider) => {
            Some(format!("there is no `providers.{provider}`"))
        }
        _ => None,
    }
}

/// Every deployment that a route may lead to.
pub(super) fn places(route: &Route) -> impl Iterator<Item = &Arc<Deployment>> {
    let choices = route.targets.iter().chain(route.fallbacks.iter().map(|(choice, _)| choice));
    choices.map(|choice| &choice.deployment)
}

/// What every place of a route can do; `None` where one does not say.
fn smallest(route: &Route, of: fn(&Deployment) -> Option<u64>) -> Option<u64> {
    let known: Option<Vec<u64>> = places(route).map(|deployment| of(deployment)).collect();
    known?.into_iter().min()
}
