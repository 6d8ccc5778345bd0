//! Where the call may go: from the names that the client asked for to an ordered list of attempts.

mod credentials;
mod explain;
mod view;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use policy::{
    Causes, Deployment, Name, Order, Provider, Ranked, ResolveError, Route, Said, Stand, Target, Timeouts,
    View as _,
};
use smallvec::{SmallVec, smallvec};

use crate::exchange::Exchange;
use crate::refusal::{Code, Refusal};
use crate::standing::At;
use crate::vitals::Vital;
use view::Seen;

pub use explain::{ExplainError, Explained, Place, Question};

/// Attempts over all fallbacks of one request.
pub(crate) const MAX_ATTEMPTS: usize = 3;
/// Deployments among which they are made.
const MAX_CHOICES: usize = 16;

/// One attempt to come.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) deployment: Arc<Deployment>,
    /// Its provider with another than the first of several credentials.
    pub(crate) by: Option<Arc<Provider>>,
    /// The route's, where the request goes by one; else the provider's.
    pub(crate) timeouts: Timeouts,
    /// After which causes it is made, where it is a fallback of a route.
    pub(crate) on: Option<Causes>,
    /// What it says other than the client.
    pub(crate) set: Option<Said>,
    /// It mostly fails, and is asked all the same.
    pub(crate) kept: bool,
    /// The most output that this asks for.
    pub(crate) max_output: Option<u64>,
    /// What is measured there, where a route wants to know.
    pub(crate) vital: Option<Arc<Vital>>,
    /// The name that leads there, where it is another than the first that was asked for: a fallback of the client's.
    pub(crate) asked: Option<Name>,
}

impl Step {
    /// An attempt as the client asks.
    pub(crate) fn to(deployment: Arc<Deployment>, timeouts: Timeouts) -> Self {
        Self {
            deployment,
            by: None,
            timeouts,
            on: None,
            set: None,
            kept: false,
            max_output: None,
            vital: None,
            asked: None,
        }
    }

    /// The deployment's provider, with the credential of this attempt.
    pub(crate) fn provider(&self) -> &Arc<Provider> {
        self.by.as_ref().unwrap_or(&self.deployment.provider)
    }

    pub(crate) fn at(&self) -> At<'_> {
        At { deployment: &self.deployment, by: self.provider() }
    }

    /// Whether it is for when a budget is spent, and else no part of the plan.
    fn is_of_last_resort(&self) -> bool {
        self.on.is_some_and(|on| on == Causes::BUDGET)
    }
}

/// Where one request may go, the best first; at most [`MAX_ATTEMPTS`] of them are asked.
pub(crate) struct Plan {
    /// The route or model that is asked for, by its full name; empty where a call asks for none.
    pub(crate) asked: Name,
    pub(crate) attempts: SmallVec<[Step; 3]>,
    /// How long the answer may be given again; `None`: it is not kept.
    pub(crate) cache: Option<Duration>,
    /// Where it may go when a budget cannot hold what these could cost.
    pub(crate) cheaper: SmallVec<[Step; 1]>,
}

impl Plan {
    /// A plan of one attempt.
    pub(crate) fn of(step: Step) -> Self {
        Self { asked: Name::default(), attempts: smallvec![step], cheaper: SmallVec::new(), cache: None }
    }
}

/// Resolves the asked model and the client's own fallbacks; each name must be one that the key may use.
pub(crate) fn plan(exchange: &Exchange, headers: &HeaderMap) -> Result<Plan, Box<Refusal>> {
    let mut plan =
        Plan { asked: Name::default(), attempts: SmallVec::new(), cheaper: SmallVec::new(), cache: None };
    let seen = Seen::new(exchange, headers);
    let mut nobody = None;
    plan.cache = add(exchange, &seen, &exchange.asked.model, &mut plan, &mut nobody)?;
    for name in &exchange.asked.fallbacks {
        if plan.attempts.len() >= MAX_CHOICES {
            break;
        }
        add(exchange, &seen, name, &mut plan, &mut nobody)?;
    }
    if let Some(nobody) = nobody.filter(|_| plan.attempts.is_empty()) {
        return Err(nobody);
    }
    credentials::spread(exchange, &seen, &mut plan.attempts);
    credentials::spread(exchange, &seen, &mut plan.cheaper);
    // Stable: what is full or passed over comes last, and all else as it was.
    let (gateway, now) = (&exchange.gateway, exchange.times.received);
    let stand = |step: &Step| if step.kept { Stand::Ready } else { gateway.stand(step.at(), now) };
    plan.attempts.sort_by_key(|step| Route::lateness(step.on, stand(step)));
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

/// What a name leads to that the key may use.
fn resolve(exchange: &Exchange, name: &str) -> Result<Target, Box<Refusal>> {
    let (key, environment) = (&exchange.caller.key, &exchange.caller.environment);
    let target = match environment.resolve(name) {
        Ok(target) => target,
        Err(error) => return Err(unresolved(exchange, name, error)),
    };
    if !key.may_use(target.name()) {
        let message = format!("key `{}` may not use model `{name}`", key.record.name);
        return Err(Refusal::new(Code::ModelNotAllowed, message).about("model"));
    }
    Ok(target)
}

/// Adds what a name leads to, and says how long its answers may be given again.
fn add(
    exchange: &Exchange,
    seen: &Seen<'_>,
    name: &str,
    plan: &mut Plan,
    nobody: &mut Option<Box<Refusal>>,
) -> Result<Option<Duration>, Box<Refusal>> {
    let target = resolve(exchange, name)?;
    if plan.asked.is_empty() {
        plan.asked = Arc::clone(target.name());
    }
    let asked = Some(target.name()).filter(|name| **name != plan.asked).cloned();
    match target {
        Target::Deployment(deployment) => {
            let lacking = deployment.lacks(seen.content());
            if lacking.is_empty() {
                let timeouts = deployment.provider.timeouts;
                push(plan, Step { asked, ..Step::to(deployment, timeouts) });
            } else {
                let message = format!("model `{}` does not take {}", deployment.name, lacking.join(", "));
                nobody.get_or_insert(Refusal::new(Code::NoFittingModel, message).about("model"));
            }
            Ok(exchange.caller.environment.cache)
        }
        Target::Route(route) => {
            let order = route.order(seen);
            for one in &order.ranked {
                push(plan, Step { asked: asked.clone(), ..step(&route, one, seen) });
            }
            if plan.attempts.is_empty() {
                nobody.get_or_insert_with(|| nowhere(&route, &order));
            }
            Ok(route.cache)
        }
    }
}

fn step(route: &Route, one: &Ranked<'_>, seen: &Seen<'_>) -> Step {
    let deployment = Arc::clone(&one.choice.deployment);
    Step {
        timeouts: route.timeouts_on(&deployment.provider),
        on: one.on,
        set: one.choice.set.clone(),
        kept: one.kept,
        max_output: one.choice.max_output(),
        vital: if route.measures() { seen.vital(&deployment) } else { None },
        asked: None,
        by: None,
        deployment,
    }
}

fn push(plan: &mut Plan, step: Step) {
    let known = |steps: &[Step]| steps.iter().any(|known| known.deployment.name == step.deployment.name);
    if step.on.is_some_and(|on| on.has(Causes::BUDGET)) && !known(&plan.cheaper) {
        plan.cheaper.push(step.clone());
    }
    if !known(&plan.attempts) && !step.is_of_last_resort() {
        plan.attempts.push(step);
    }
}

/// No deployment of a route takes the request.
fn nowhere(route: &Route, order: &Order<'_>) -> Box<Refusal> {
    let why: Vec<_> = order
        .left_out
        .iter()
        .take(5)
        .map(|(choice, why)| format!("`{}`: {why}", choice.deployment.name))
        .collect();
    let message = format!("route `{}` has no model for this request: {}", route.name, why.join("; "));
    Refusal::new(Code::NoFittingModel, message).about("model")
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
