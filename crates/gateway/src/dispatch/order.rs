//! Who is asked next, and what a refusal says of whoever refused.

use providers::failure::{Blame, Failure};
use smallvec::SmallVec;

use crate::Gateway;
use crate::plan::Step;
use crate::standing::{Fault, Told, Visit};

/// Who is asked next: the first of the plan, and after a failure the one of which least bad is known.
pub(super) fn next<'a>(
    gateway: &'a Gateway,
    left: &mut SmallVec<[&'a Step; 4]>,
    made: usize,
    turned: Option<&'a Step>,
) -> Option<(&'a Step, Visit<'a>)> {
    if let Some(step) = turned {
        return Visit::begin(gateway, &step.deployment, false).map(|visit| (step, visit));
    }
    while !left.is_empty() {
        let doubt = |step: &&Step| gateway.standings.doubt(&step.deployment);
        let chosen =
            if made == 0 { 0 } else { left.iter().enumerate().min_by_key(|(_, step)| doubt(step))?.0 };
        let step = left.remove(chosen);
        if let Some(visit) = Visit::begin(gateway, &step.deployment, !left.is_empty()) {
            return Some((step, visit));
        }
    }
    None
}

/// After `refused` found the input too long, only those that are known to take more.
pub(super) fn keep_longer(left: &mut SmallVec<[&Step; 4]>, refused: &Step) {
    let known = refused.deployment.context.unwrap_or(0);
    left.retain(|step| step.deployment.context.is_some_and(|context| context > known));
}

/// What a refusal says of whoever refused.
pub(super) fn told(failure: &Failure, status: u16) -> Told {
    match failure.blame {
        Blame::Client => Ok(()),
        Blame::RateLimited => Err(Some(Fault::Limited(failure.retry_after))),
        Blame::Credential if status == 403 => Err(Some(Fault::Forbidden)),
        Blame::Credential => Err(Some(Fault::Credential)),
        Blame::Upstream | Blame::Timeout | Blame::Overloaded => Err(Some(Fault::Failed)),
    }
}
