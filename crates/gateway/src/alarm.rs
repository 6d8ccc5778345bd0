//! One timer that serves many deadlines: it is re-armed only when it fires or must come sooner.
//!
//! A deadline that moves with every event (an idle limit) would cost a timer operation for each; here moving it is a
//! comparison, and the timer finds out when it fires too early.

use std::future::Future;
use std::pin::{Pin, pin};
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
            // Out of its turn's budget, a task would be told to come again and the timer would not be set.
            if pin!(tokio::task::unconstrained(sleep.as_mut())).poll(context).is_pending() {
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A task that has used up the budget of its turn when it sets the alarm is woken all the same.
    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_is_set_at_the_end_of_a_turn_rings() {
        let clock = Clock::system();
        let (mut alarm, deadline) = (Alarm::default(), clock.moment().plus(Duration::from_millis(30)));
        let (full, mut work) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..1_000 {
            full.send(number).unwrap();
        }
        let mut turns = 0;
        let rings = std::future::poll_fn(|context| {
            turns += 1;
            while turns == 1 && work.poll_recv(context).is_ready() {}
            alarm.poll(&clock, deadline, context)
        });
        let rung = tokio::time::timeout(Duration::from_secs(3_600), rings).await;
        assert!(rung.is_ok(), "it never rang");
    }
}
