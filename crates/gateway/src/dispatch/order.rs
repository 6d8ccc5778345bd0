//! Who is asked next, and what a refusal says of whoever refused.

use policy::Causes;
use providers::failure::{Blame, Failure};
use smallvec::SmallVec;

use super::Miss;
use super::verdict::Verdict;
use crate::Gateway;
use crate::plan::Step;
use crate::refusal::Code;
use crate::standing::{Fault, Told, Visit};

/// Who is asked next: the first of the plan, and after a failure, of those that are for its cause, the one of which least bad
/// is known. `last`: whose attempt failed before the last that may be made; that one is for another deployment, if there is one,
/// and not for the next of many credentials.
pub(super) fn next<'a>(
    gateway: &'a Gateway,
    left: &mut SmallVec<[&'a Step; 4]>,
    cause: Option<Causes>,
    turned: Option<&'a Step>,
    last: Option<&Step>,
) -> Option<(&'a Step, Visit<'a>)> {
    if let Some(step) = turned {
        return Visit::begin(gateway, step.at(), false).map(|visit| (step, visit));
    }
    while !left.is_empty() {
        let doubt =
            |step: &&Step| gateway.standings.doubt(step.at()).max(u8::from(gateway.paces.is_full(step.at())));
        let same = |step: &&Step| last.is_some_and(|failed| failed.deployment.name == step.deployment.name);
        let chosen = match cause {
            None => 0,
            Some(cause) => {
                let fit = left.iter().enumerate().filter(|(_, step)| is_for(step, cause));
                fit.min_by_key(|(_, step)| (same(step), doubt(step)))?.0
            }
        };
        let step = left.remove(chosen);
        // After a failure, of those that are not well only as many are asked as the budget lets.
        if cause.is_some() && doubt(&step) > 0 && !gateway.retries.may(gateway.clock.moment()) {
            continue;
        }
        if let Some(visit) = Visit::begin(gateway, step.at(), !left.is_empty() && !step.kept) {
            if step.kept {
                gateway.standings.count_kept();
            }
            return Some((step, visit));
        }
    }
    None
}

/// Content that was refused is put only to whoever is there for that.
fn is_for(step: &Step, cause: Causes) -> bool {
    match step.on {
        Some(on) => on.has(cause),
        None => cause != Causes::CONTENT_POLICY,
    }
}

/// Whether anybody is left for content that was refused.
pub(super) fn takes_refused(left: &[&Step]) -> bool {
    left.iter().any(|step| is_for(step, Causes::CONTENT_POLICY))
}

/// Why the next is asked.
pub(super) fn cause(miss: &Miss) -> Causes {
    match (&miss.verdict, miss.told) {
        _ if miss.too_long => Causes::CONTEXT,
        _ if miss.content => Causes::CONTENT_POLICY,
        (_, Err(Some(Fault::Limited(_)))) => Causes::RATE_LIMIT,
        (Verdict::Ours(refusal), _) if refusal.code == Code::UpstreamTimeout => Causes::TIMEOUT,
        (
            Verdict::Theirs { blame: Blame::Timeout, .. } | Verdict::Retold { blame: Blame::Timeout, .. },
            _,
        ) => Causes::TIMEOUT,
        _ => Causes::ERROR,
    }
}

/// After `refused` found the input too long, only those that are known to take more.
pub(super) fn keep_longer(left: &mut SmallVec<[&Step; 4]>, refused: &Step) {
    let known = refused.deployment.context.unwrap_or(0);
    left.retain(|step| step.deployment.context.is_some_and(|context| context > known));
}

/// After `failed` failed for another reason than its credential, another credential of the same deployment helps nobody.
pub(super) fn leave(left: &mut SmallVec<[&Step; 4]>, failed: &Step) {
    if !failed.deployment.provider.others.is_empty() {
        left.retain(|step| step.deployment.name != failed.deployment.name);
    }
}

/// Whether it is the credential that another may do better.
pub(super) fn is_of_the_credential(told: Told) -> bool {
    matches!(told, Err(Some(Fault::Limited(_) | Fault::Credential | Fault::Forbidden)))
}

/// Whether it was too much for whoever refused. 498 is Groq's, 529 Anthropic's; a 503 mostly means something else.
pub(super) fn is_too_much(failure: &Failure, status: u16) -> bool {
    failure.blame == Blame::RateLimited || (failure.blame == Blame::Overloaded && status != 503)
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
