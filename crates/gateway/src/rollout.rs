//! Which release a request runs on while a new one is put into force gradually.
//!
//! It is decided once, as soon as it is known for whom the request is: by a header before anything else is done, by the body
//! as soon as that is read. What had to be done before (limits of the environment) was done by the release that most have.
//! A request that names nobody is drawn by its session, else for itself, so that the share holds for traffic without users too.

use std::sync::Arc;

use policy::{Environment, RequestId};

use crate::exchange::Exchange;

/// With the head of the request: decided if it says for whom it is.
pub(crate) fn begin(exchange: &mut Exchange) {
    if exchange.caller.environment.rollout.is_none() {
        return;
    }
    exchange.undecided = true;
    if exchange.end_user.is_some() {
        decide(exchange);
    }
}

/// With the body: decided now, whoever it is for.
pub(crate) fn decide(exchange: &mut Exchange) {
    if !std::mem::take(&mut exchange.undecided) {
        return;
    }
    let Some(rollout) = &exchange.caller.environment.rollout else { return };
    let takes = match exchange.end_user.as_ref().or(exchange.session.as_ref()) {
        Some(unit) => rollout.takes(unit),
        None => rollout.takes(&alone(exchange.id)),
    };
    if takes {
        let candidate = Arc::clone(&rollout.candidate);
        enter(exchange, candidate);
    }
}

fn alone(id: RequestId) -> String {
    id.to_string()
}

fn enter(exchange: &mut Exchange, candidate: Arc<Environment>) {
    Arc::make_mut(&mut exchange.labels).release = candidate.release;
    exchange.caller.environment = candidate;
}
