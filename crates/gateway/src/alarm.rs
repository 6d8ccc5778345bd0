//! One timer that serves many deadlines: it is re-armed only when it fires or must come sooner.
//!
//! A deadline that moves with every event (an idle limit) would cost a timer operation for each; here moving it is a
//! comparison, and the timer finds out when it fires too early.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use policy::Moment;
use runtime::Clock;
use tokio::time::{Instant, Sleep};

/// Re-arming for less than this would cost more than waking early.
const SLACK: Duration = Duration::from_millis(5);

/// A lazily made, lazily moved timer.
#[derive(Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready when `deadline` has passed; otherwise the task is woken no later than then.
    pub(crate) fn poll(&mut self, clock: &Clock, deadline: Moment, context: &mut Context<'_>) -> Poll<()> {
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
                return Poll::Pending;
            }
        }
    }
}
