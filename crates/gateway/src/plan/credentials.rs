//! A deployment whose provider has several credentials is an attempt with each of them.

use std::sync::Arc;

use policy::{Deployment, Sticky, Turn, View as _};
use providers::request::Operation;
use smallvec::{Array, SmallVec};

use super::view::Seen;
use super::{MAX_ATTEMPTS, Step};
use crate::exchange::Exchange;
use crate::standing::At;

/// The credentials of a deployment as they are tried for a request.
pub(super) fn of<'d>(
    exchange: &Exchange,
    seen: &Seen<'_>,
    deployment: &'d Deployment,
) -> SmallVec<[Turn<'d>; 2]> {
    let (gateway, now) = (&exchange.gateway, exchange.times.received);
    let unit = seen.unit(Sticky::EndUser).or_else(|| seen.unit(Sticky::Session));
    let mut turns =
        deployment.provider.turns(|by| gateway.stand(At { deployment, by }, now), unit, || seen.draw());
    if is_bound(exchange, deployment) {
        turns.retain(|(by, _)| Arc::ptr_eq(by, &deployment.provider));
    }
    turns
}

/// Puts an attempt with each credential in the place of one, as many as can be made at most.
pub(super) fn spread<A: Array<Item = Step>>(exchange: &Exchange, seen: &Seen<'_>, steps: &mut SmallVec<A>) {
    if steps.iter().all(|step| step.deployment.provider.others.is_empty()) {
        return;
    }
    for step in std::mem::take(steps) {
        for (by, _) in of(exchange, seen, &step.deployment).into_iter().take(MAX_ATTEMPTS) {
            let other = (!Arc::ptr_eq(by, &step.deployment.provider)).then(|| Arc::clone(by));
            let at = At { deployment: &step.deployment, by };
            let kept = step.kept && exchange.gateway.standings.failing(at, exchange.times.received).is_some();
            steps.push(Step { by: other, kept, ..step.clone() });
        }
    }
}

/// Whether the provider keeps something for the request, or has kept it: that lies in the account of the first credential.
fn is_bound(exchange: &Exchange, deployment: &Deployment) -> bool {
    let stored = exchange.stored.as_ref().is_some_and(|stored| stored.is_kept());
    let raw = matches!(exchange.operation, Operation::Raw(raw) if raw.is_of_a_provider());
    raw || (stored && deployment.provider.responses.is_some())
}
