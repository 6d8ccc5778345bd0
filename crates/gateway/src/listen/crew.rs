//! The threads of the data plane, each with an event loop of its own.
//!
//! A connection stays on the thread that it was given to, and so do its upstream calls. With one scheduler for all
//! threads, every event of a stream may wake a second thread to come and steal work that is gone when it arrives;
//! measured, that was a seventh of the processor time of a request and nearly a quarter of a streamed event's. A new connection goes to
//! the thread that has the fewest.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use runtime::Tasks;
use tokio::sync::mpsc;

/// Name look-ups of providers run beside the event loop; this many at once for a thread. There is one for a name at a time, so
/// as many names must hang before others wait.
const BLOCKING: usize = 64;
/// How often a thread looks whether it has become quiet.
const BEAT: Duration = Duration::from_millis(500);
/// How often it is told that it has, after work.
const LOOKS: u32 = 2;
const LAST_LOOK: Duration = Duration::from_millis(50);

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

/// Which thread of a crew this is, from 1; 0 is every other thread.
pub(crate) fn place() -> usize {
    PLACE.get()
}

/// How many places there can be.
pub(crate) fn places() -> usize {
    size() + 1
}

fn size() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

type Job = Box<dyn FnOnce() + Send>;

struct Hand {
    jobs: mpsc::UnboundedSender<Job>,
    busy: Arc<AtomicUsize>,
}

/// Threads that take connections.
pub(crate) struct Crew {
    hands: Vec<Hand>,
}

/// One connection of a thread, counted until dropped.
pub(crate) struct Aboard(Arc<AtomicUsize>);

impl Drop for Aboard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Crew {
    /// Starts one thread for each processor. They end when the crew is dropped and all tasks have ended.
    /// Once `is_quiet` after work, each calls `quiet`.
    pub(crate) fn start(
        tasks: &Tasks,
        is_quiet: impl Fn() -> bool + Clone + Send + 'static,
        quiet: fn(),
    ) -> io::Result<Self> {
        let mut hands = Vec::new();
        for place in 1..=size() {
            let (jobs, mut waiting) = mpsc::unbounded_channel::<Job>();
            let busy = Arc::new(AtomicUsize::new(0));
            let (tasks, is_quiet) = (tasks.clone(), is_quiet.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING)
                .build()?;
            std::thread::Builder::new().name(format!("data-{place}")).spawn(move || {
                PLACE.set(place);
                runtime.block_on(async {
                    let mut beat = tokio::time::interval(BEAT);
                    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                    let mut looks = 0;
                    loop {
                        tokio::select! {
                            job = waiting.recv() => match job {
                                Some(job) => job(),
                                None => break,
                            },
                            _ = beat.tick() => {
                                if !is_quiet() {
                                    looks = LOOKS;
                                } else if looks > 0 {
                                    looks -= 1;
                                    quiet();
                                }
                            }
                        }
                    }
                    while tasks.running() > 0 {
                        tokio::time::sleep(LAST_LOOK).await;
                    }
                });
            })?;
            hands.push(Hand { jobs, busy });
        }
        Ok(Self { hands })
    }

    /// Runs `start` on the thread that has the least to do; what it makes runs there, with its token.
    pub(crate) fn board<F, C>(&self, tasks: &Tasks, name: &'static str, start: F)
    where
        F: FnOnce(Aboard) -> C + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let Some(hand) = self.hands.iter().min_by_key(|hand| hand.busy.load(Ordering::Relaxed)) else {
            return;
        };
        hand.busy.fetch_add(1, Ordering::Relaxed);
        let (aboard, tasks) = (Aboard(Arc::clone(&hand.busy)), tasks.clone());
        let job: Job = Box::new(move || {
            tasks.spawn(name, start(aboard));
        });
        if hand.jobs.send(job).is_err() {
            tracing::error!("a thread of the data plane has ended");
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn connections_spread_over_the_threads_and_stay_there() {
        let tasks = Tasks::new();
        let crew = Crew::start(&tasks, || true, || {}).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        for _ in 0..2 * size() {
            let tell = tell.clone();
            crew.board(&tasks, "test", move |aboard| async move {
                tell.send(place()).unwrap();
                tokio::task::yield_now().await;
                tell.send(place()).unwrap();
                std::mem::forget(aboard);
            });
        }
        let mut seen: Vec<_> = (0..4 * size()).map(|_| told.recv().unwrap()).collect();
        seen.sort_unstable();
        let expected: Vec<_> = (1..=size()).flat_map(|place| [place; 4]).collect();
        assert_eq!(seen, expected);
    }
}
