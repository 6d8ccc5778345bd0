//! One timer that serves many deadlines: it is re-armed only when it fires or must come sooner.
//!
//! A deadline that moves with every event (an idle limit) would cost a timer operation for each; here moving it is a
//! comparison, and the timer finds out when it fires too early.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use policy::Moment;
use runtime::Clock;
use tokio::time::{Instant, Sleep};

/// Re-arming for less than this would cost more than waking early.
const SLACK: Duration = Duration::from_millis(5);

/// A lazily made, lazily moved timer.
#[derive(Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Until when the timer is set, and whom it wakes.
    set: Option<(Moment, Waker)>,
}

/// The alarm that the requests of a connection use one after another: making a timer and taking it out again costs more
/// than all that it is asked while it is there.
#[derive(Clone, Default)]
pub(crate) struct Spare(Arc<Mutex<Alarm>>);

impl Spare {
    pub(crate) fn take(&self) -> Alarm {
        std::mem::take(&mut *self.0.lock())
    }

    pub(crate) fn give_back(&self, alarm: Alarm) {
        *self.0.lock() = alarm;
    }
}

impl Alarm {
    /// Ready when `deadline` has passed; otherwise the task is woken no later than then (and [`SLACK`]).
    pub(crate) fn poll(&mut self, clock: &Clock, deadline: Moment, context: &mut Context<'_>) -> Poll<()> {
        if self.will_ring(deadline, context.waker()) {
            return Poll::Pending;
        }
        self.set = None;
        loop {
            let now = clock.moment();
            if now >= deadline {
                return Poll::Ready(());
            }
            let left = deadline.since(now);
            let Some(sleep) = self.sleep.as_mut() else {
                self.sleep = Some(Box::pin(tokio::time::sleep(left)));
                continue;
            };
            let due = Instant::now() + left;
            if sleep.is_elapsed() || sleep.deadline() > due + SLACK {
                sleep.as_mut().reset(due);
            }
            if sleep.as_mut().poll(context).is_pending() {
                let rings = now.plus(sleep.deadline().saturating_duration_since(Instant::now()));
                self.set = Some((rings, context.waker().clone()));
                return Poll::Pending;
            }
        }
    }

    /// The timer is set already, early enough and for this task: nothing needs to be done, not even to read the clock.
    fn will_ring(&self, deadline: Moment, waker: &Waker) -> bool {
        let (Some(sleep), Some((rings, woken))) = (&self.sleep, &self.set) else { return false };
        *rings <= deadline.plus(SLACK) && woken.will_wake(waker) && !sleep.is_elapsed()
    }
}
