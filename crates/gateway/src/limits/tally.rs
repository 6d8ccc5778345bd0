//! Limits that several nodes count together: who is asked, and what is done when nobody answers.
//!
//! The gateway knows no Redis: it asks a [`Tally`]. What the others grant is counted here as well, since a node that is suddenly
//! alone has to know what it has used; then it admits its share, one in so many of each limit, and never the whole.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use policy::{Moment, Taken, Verdict, Wanted};

use super::{Caller, Limit, Stage, gather, say_no, standing, take, wanted};
use crate::exchange::Exchange;
use crate::refusal::Refusal;

/// What becomes of what was asked; `None`: nobody says it in time.
pub type Telling = Pin<Box<dyn Future<Output = Option<Vec<Verdict>>> + Send>>;

/// Counts limits for several nodes.
pub trait Tally: Send + Sync {
    /// Takes all that is wanted or nothing of it: a verdict for each, or up to that of the first that refused and is no shadow.
    /// It answers within a deadline of its own, far below what a client would notice.
    fn take(&self, wanted: Vec<Wanted>) -> Telling;

    /// How many nodes there are, for the share of this one.
    fn nodes(&self) -> u32;

    /// A place of a limit that was given without asking. Dropped, it is given back.
    fn place(&self, id: &[u8; 16]) -> Box<dyn Any + Send + Sync>;

    /// How it goes.
    fn figures(&self) -> TallyFigures;
}

/// How it goes with what several nodes count together.
#[derive(Copy, Clone, Debug, Default)]
pub struct TallyFigures {
    /// Whether it is counted together at present.
    pub well: bool,
    /// How many nodes share a limit.
    pub nodes: u32,
    /// How often others were asked.
    pub asked: u64,
    /// How often a request was decided by what was taken in advance.
    pub drawn: u64,
    /// How often this node decided alone.
    pub alone: u64,
    /// How often the others were lost and found.
    pub changes: u64,
}

/// Takes of all limits of a stage or of none, together with other nodes or of this node's share.
pub(super) async fn pass(
    exchange: &mut Exchange,
    tally: Arc<dyn Tally>,
    stage: Stage<'_>,
    now: Moment,
) -> Result<Taken, Box<Refusal>> {
    let caller = exchange.caller.clone();
    let limits = gather(exchange, &caller, stage, now);
    match tally.take(wanted(&caller, &limits)).await {
        Some(told) => note(exchange, &caller, &limits, told, now),
        None => take(exchange, &caller, &limits, now, Some(&*tally)),
    }
}

/// Notes what the others said.
pub(super) fn note(
    exchange: &mut Exchange,
    caller: &Caller,
    limits: &[Limit<'_>],
    told: Vec<Verdict>,
    now: Moment,
) -> Result<Taken, Box<Refusal>> {
    let mut taken = Taken::default();
    let mut told = told.into_iter();
    for limit in limits {
        match told.next() {
            Some(Ok(granted)) => {
                if let Some(own) = granted.standing.filter(|_| !limit.is_shadow()) {
                    let told = standing(exchange, limit.part);
                    *told = told.iter().copied().chain([own]).min_by_key(|standing| standing.remaining);
                }
                taken.note(&limit.meters, limit.part, now, granted);
            }
            Some(Err(full)) => {
                if let Some(refusal) = say_no(exchange, caller, limit, full) {
                    // Nothing was taken of any: what was noted here is undone here.
                    taken.undo();
                    return Err(refusal);
                }
            }
            None => break,
        }
    }
    Ok(taken)
}
