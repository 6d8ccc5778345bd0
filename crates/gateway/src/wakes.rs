//! Keeps the wake-ups of futures that feed one another inside one task away from the scheduler.
//!
//! A connection's task polls both ends of several channels (hyper hands bodies and answers through them), so one end
//! wakes the very task that is polling it. To the scheduler that is a task to be queued again, and to another worker
//! thread a call to come and steal it: two system calls and a context switch for nothing. Here a wake-up that arrives
//! while its own task is polling only means "poll once more before you leave".

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

const RESTING: u8 = 0;
const POLLING: u8 = 1;
const WOKEN: u8 = 2;

/// More rounds than this are given back to the scheduler: tokio ends a task's turn by waking it.
const MAX_ROUNDS: u32 = 4;

struct Inner {
    state: AtomicU8,
    task: Mutex<Waker>,
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(POLLING, WOKEN, Ordering::AcqRel, Ordering::Acquire) == Err(RESTING) {
            self.task.lock().wake_by_ref();
        }
    }
}

/// The waker that inner futures get instead of the task's own.
pub(crate) struct Wakes {
    inner: Arc<Inner>,
    waker: Waker,
}

impl Wakes {
    pub(crate) fn new() -> Self {
        let inner =
            Arc::new(Inner { state: AtomicU8::new(RESTING), task: Mutex::new(Waker::noop().clone()) });
        Self { waker: Waker::from(Arc::clone(&inner)), inner }
    }

    /// Polls until the answer is ready or nothing woke the task meanwhile.
    pub(crate) fn poll<T>(
        &self,
        context: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        {
            let mut task = self.inner.task.lock();
            if !task.will_wake(context.waker()) {
                task.clone_from(context.waker());
            }
        }
        let mut inner = Context::from_waker(&self.waker);
        for _ in 0..MAX_ROUNDS {
            self.inner.state.store(POLLING, Ordering::Release);
            let outcome = poll(&mut inner);
            let woken = self.inner.state.swap(RESTING, Ordering::AcqRel) == WOKEN;
            if outcome.is_ready() || !woken {
                return outcome;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wake_up_while_polling_polls_again_and_reaches_nobody() {
        let (wakes, count) = (Wakes::new(), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        let mut rounds = 0;
        let outcome: Poll<()> = wakes.poll(&mut Context::from_waker(&task), |context| {
            rounds += 1;
            if rounds < 3 {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        });
        assert!(outcome.is_pending());
        assert_eq!((rounds, count.0.load(Ordering::Relaxed)), (3, 0));
    }

    #[test]
    fn a_wake_up_later_reaches_the_task() {
        let (wakes, count) = (Wakes::new(), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        let mut kept = None;
        let _: Poll<()> = wakes.poll(&mut Context::from_waker(&task), |context| {
            kept = Some(context.waker().clone());
            Poll::Pending
        });
        if let Some(waker) = kept {
            waker.wake();
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_never_rests_is_given_back_to_the_scheduler() {
        let (wakes, count) = (Wakes::new(), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        let mut rounds = 0;
        let _: Poll<()> = wakes.poll(&mut Context::from_waker(&task), |context| {
            rounds += 1;
            context.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!((rounds, count.0.load(Ordering::Relaxed)), (MAX_ROUNDS, 1));
    }
}
