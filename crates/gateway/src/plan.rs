//! Where the call may go: from the names that the client asked for to an ordered list of attempts.

use std::sync::Arc;
use std::time::Duration;

use policy::{Deployment, Name, ResolveError, Stand, Target, Timeouts};
use runtime::Dice;
use smallvec::SmallVec;

use crate::exchange::Exchange;
use crate::refusal::{Code, Refusal};

/// Attempts over all fallbacks of one request.
pub(crate) const MAX_ATTEMPTS: usize = 3;
/// Deployments among which they are made.
const MAX_CHOICES: usize = 16;

/// One attempt to come.
pub(crate) struct Step {
    pub(crate) deployment: Arc<Deployment>,
    /// The route's, where the request goes by one; else the provider's.
    pub(crate) timeouts: Timeouts,
}

/// Where one request may go, the best first; at most [`MAX_ATTEMPTS`] of them are asked.
pub(crate) struct Plan {
    /// The route or model that is asked for, by its full name; empty where a call asks for none.
    pub(crate) asked: Name,
    pub(crate) attempts: SmallVec<[Step; 3]>,
    /// How long the answer may be given again; `None`: it is not kept.
    pub(crate) cache: Option<Duration>,
}

/// Resolves the asked model and the client's own fallbacks; each name must be one that the key may use.
pub(crate) fn plan(exchange: &Exchange) -> Result<Plan, Box<Refusal>> {
    let mut plan = Plan { asked: Name::default(), attempts: SmallVec::new(), cache: None };
    plan.cache = add(exchange, &exchange.asked.model, &mut plan)?;
    for name in &exchange.asked.fallbacks {
        if plan.attempts.len() >= MAX_CHOICES {
            break;
        }
        add(exchange, name, &mut plan)?;
    }
    // Stable: what is passed over comes last, and all else as it was.
    let (standings, now) = (&exchange.gateway.standings, exchange.times.received);
    plan.attempts.sort_by_key(|step| standings.of(&step.deployment, now) == Stand::Away);
    plan.attempts.truncate(MAX_CHOICES);
    Ok(plan)
}

/// Puts those last whose context the input will not fit into, as far as anybody knows, and estimates the input for the
/// model that is asked first.
pub(crate) fn weigh(exchange: &mut Exchange, plan: &mut Plan) {
    if plan.attempts.len() > 1 {
        plan.attempts.sort_by_key(|step| !fits(exchange, &step.deployment));
    }
    if let Some(first) = plan.attempts.first() {
        exchange.asked.weigh_for(&first.deployment.upstream_model);
    }
}

fn fits(exchange: &Exchange, deployment: &Deployment) -> bool {
    let input = exchange.asked.estimate_for(&deployment.upstream_model);
    deployment.context.is_none_or(|context| input < context)
}

/// Adds what a name leads to, and says how long its answers may be given again.
fn add(exchange: &Exchange, name: &str, plan: &mut Plan) -> Result<Option<Duration>, Box<Refusal>> {
    let (standings, now) = (&exchange.gateway.standings, exchange.times.received);
    let (key, environment) = (&exchange.caller.key, &exchange.caller.environment);
    let target = match environment.resolve(name) {
        Ok(target) => target,
        Err(error) => return Err(unresolved(exchange, name, error)),
    };
    let canonical = match &target {
        Target::Deployment(deployment) => &deployment.name,
        Target::Route(route) => &route.name,
    };
    if !key.may_use(canonical) {
        let message = format!("key `{}` may not use model `{name}`", key.record.name);
        return Err(Refusal::new(Code::ModelNotAllowed, message).about("model"));
    }
    if plan.attempts.is_empty() && plan.asked.is_empty() {
        plan.asked = Arc::clone(canonical);
    }
    match target {
        Target::Deployment(deployment) => {
            let timeouts = deployment.provider.timeouts;
            push(plan, deployment, timeouts);
            Ok(environment.cache)
        }
        Target::Route(route) => {
            for deployment in route.attempts(Dice::unit, |deployment| standings.of(deployment, now)) {
                let timeouts = route.timeouts_on(&deployment.provider);
                push(plan, deployment, timeouts);
            }
            Ok(route.cache)
        }
    }
}

fn push(plan: &mut Plan, deployment: Arc<Deployment>, timeouts: Timeouts) {
    if plan.attempts.iter().all(|known| known.deployment.name != deployment.name) {
        plan.attempts.push(Step { deployment, timeouts });
    }
}

fn unresolved(exchange: &Exchange, name: &str, error: ResolveError) -> Box<Refusal> {
    let key = &exchange.caller.key;
    let list = |names: Vec<Name>| {
        let names: Vec<_> =
            names.iter().filter(|n| key.may_use(n)).take(5).map(|n| format!("`{n}`")).collect();
        names.join(", ")
    };
    match error {
        ResolveError::Unknown { nearest } => {
            let nearest = list(nearest);
            let hint = if nearest.is_empty() { String::new() } else { format!("; did you mean {nearest}?") };
            let message =
                format!("environment `{}` has no model `{name}`{hint}", exchange.caller.environment.name);
            Refusal::new(Code::ModelNotFound, message).about("model")
        }
        ResolveError::Ambiguous { candidates } => {
            let message =
                format!("several providers serve `{name}`: {}; write one of them", list(candidates));
            Refusal::new(Code::ModelAmbiguous, message).about("model")
        }
    }
}
