//! Named tasks that can be told to stop and waited for.
//!
//! A task that nobody waits for is work that a stop may cut in half. So every task has a name, is counted while
//! it lives, and a stop can say which names were still running at the deadline. Counting is by name, not by
//! task: connections are spawned by the thousand and a map entry each would be paid for on every accept.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// Lets every other task that is ready on this thread go first.
///
/// Why not tokio's `yield_now`: it waits until the event loop was asked again, which is a call of the system.
pub async fn others_first() {
    let mut gone = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut gone, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The tasks of one process.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    stop: CancellationToken,
    running: Mutex<Running>,
    empty: Notify,
}

#[derive(Debug, Default)]
struct Running {
    total: usize,
    by_name: HashMap<&'static str, usize>,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `future` as a task. A panic inside it ends that task alone and is logged with the name.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where tasks are started")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let counted = Counted::new(self.0.clone(), name);
        tokio::spawn(async move {
            let _counted = counted;
            future.await;
        })
        .abort_handle()
    }

    /// Resolves when the stop begins; at once when it has begun already.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.stop.clone().cancelled_owned()
    }

    /// Whether the stop has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    /// Begins the stop: tells every task that asks. Returns at once.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Waits until no task runs, at most `deadline`; the names that still run then, sorted, each once.
    pub async fn drained(&self, deadline: Duration) -> Vec<&'static str> {
        let empty = async {
            loop {
                let notified = self.0.empty.notified();
                if self.running() == 0 {
                    return;
                }
                notified.await;
            }
        };
        // Whether the deadline passed is read from what still runs.
        let _ = tokio::time::timeout(deadline, empty).await;
        let mut names: Vec<_> = self.0.lock().by_name.keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// How many tasks run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.lock().total
    }
}

impl Shared {
    /// The counts are whole at every unlock, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one task from spawn to drop: also when it panics, is aborted, or is never polled.
struct Counted {
    shared: Arc<Shared>,
    name: &'static str,
}

impl Counted {
    fn new(shared: Arc<Shared>, name: &'static str) -> Self {
        {
            let mut running = shared.lock();
            running.total += 1;
            *running.by_name.entry(name).or_default() += 1;
        }
        Self { shared, name }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.name, "task {} panicked", self.name);
        }
        let mut running = self.shared.lock();
        running.total = running.total.saturating_sub(1);
        if let Some(count) = running.by_name.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                running.by_name.remove(self.name);
            }
        }
        if running.total == 0 {
            self.shared.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
#[expect(clippy::panic, reason = "a task that panics is the subject")]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stop_names_what_still_runs() {
        let tasks = Tasks::new();
        let stopping = tasks.stopping();
        tasks.spawn("polite", stopping);
        let stuck = tasks.spawn("stuck", std::future::pending());
        tasks.spawn("stuck", std::future::pending());
        assert_eq!(tasks.running(), 3);
        assert!(!tasks.is_stopping());
        tasks.stop();
        assert_eq!(tasks.drained(Duration::from_secs(5)).await, ["stuck"]);
        assert_eq!(tasks.running(), 2);
        stuck.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_one_task_and_is_no_longer_counted() {
        let tasks = Tasks::new();
        tasks.spawn("broken", async { panic!("on purpose") });
        assert!(tasks.drained(Duration::from_secs(5)).await.is_empty());
        assert_eq!(tasks.running(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_resolves_at_once_after_the_stop() {
        let tasks = Tasks::new();
        tasks.stop();
        tasks.stopping().await;
        assert!(tasks.is_stopping());
        assert!(tasks.drained(Duration::ZERO).await.is_empty());
    }
}
