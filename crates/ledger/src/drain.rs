//! From the spool to the store, at least once, in batches that the store takes whole or not at all.
//!
//! The drain reads the files, never a queue in memory: what it carries is what a crash would leave, and a store
//! that is away for an hour costs disk and no memory. Its position is remembered after the store has taken a
//! batch, so a batch may come twice and must not count twice. A record that the store can never take is found by
//! halving its batch and put aside, so that one bad record does not hold up all others.

pub(crate) mod position;
mod source;

use std::future::Future;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::{Dice, Tasks};

use crate::records::Drained;
use crate::spool::Spool;

use source::{Batch, Source};

/// A batch is handed over at least this often while there is anything.
const PACE: Duration = Duration::from_millis(200);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(5);
pub(crate) const POISON_NAME: &str = "poison.jsonl";
/// Records put aside are kept up to this size; further ones are only counted.
const POISON_BYTES: u64 = 16 << 20;

/// Who takes records out of the spool for good. Implemented by the store.
pub trait Drain: Send + Sync + 'static {
    /// Takes a batch: all of it or nothing. The same records may come again, alone or in other company; they must
    /// not count twice.
    fn drain<'a>(
        &'a self,
        batch: &'a [Drained],
    ) -> Pin<Box<dyn Future<Output = Result<(), DrainError>> + Send + 'a>>;
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DrainError {
    /// For the log; names the thing, holds no content of records.
    pub message: String,
    /// Trying this batch again can never help: one of its records is impossible for the store.
    pub poison: bool,
}

/// What others may know of the drain.
#[derive(Clone)]
pub(crate) struct DrainState(Arc<Mutex<Shared>>);

struct Shared {
    position: (u64, u64),
    /// `None` = not tried yet.
    taken: Option<bool>,
    last_error: Option<String>,
    poisoned: u64,
}

impl DrainState {
    pub(crate) fn new(position: (u64, u64)) -> Self {
        Self(Arc::new(Mutex::new(Shared { position, taken: None, last_error: None, poisoned: 0 })))
    }

    /// Everything before it (segment, offset) is in the store.
    pub(crate) fn position(&self) -> (u64, u64) {
        self.0.lock().position
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.lock().taken == Some(true)
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.0.lock().last_error.clone()
    }
}

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There was nothing to carry.
    Idle,
    /// A stretch of the spool is done; `more` = the batch was full, so another one is likely there.
    Taken { more: bool },
    /// The store or the disk refused; the same again later.
    Failed,
}

/// Carries batches. One at work at a time.
pub(crate) struct Drainer {
    spool: Arc<Spool>,
    state: DrainState,
    drain: Arc<dyn Drain>,
    /// `None` while it reads on another thread, or when that reading panicked.
    source: Option<Source>,
    /// Read and not wholly taken; the ranges of it that are left, last first.
    batch: Option<(Batch, Vec<Range<usize>>)>,
    failures: u32,
}

impl Drainer {
    pub(crate) fn new(spool: Arc<Spool>, state: DrainState, drain: Arc<dyn Drain>) -> Self {
        Self { spool, state, drain, source: None, batch: None, failures: 0 }
    }

    /// Carries one batch. A panic of the store is a failure like any other.
    pub(crate) async fn step(&mut self) -> Step {
        let step = match Caught(Box::pin(self.try_step())).await {
            Ok(done) => done,
            Err(()) => Err("the drain panicked".to_owned()),
        };
        match step {
            Ok(step) => step,
            Err(message) => {
                self.report(Some(message));
                Step::Failed
            }
        }
    }

    async fn try_step(&mut self) -> Result<Step, String> {
        if self.batch.is_none() {
            let Some(batch) = self.read().await? else { return Ok(Step::Idle) };
            let whole = std::iter::once(0..batch.records.len()).filter(|range| !range.is_empty()).collect();
            self.batch = Some((batch, whole));
        }
        runtime::failpoint!("ledger.drain");
        self.hand_over().await?;
        let Some((batch, _)) = self.batch.take() else { return Ok(Step::Idle) };
        if batch.frames > 0 {
            // Only then was the store asked.
            self.report(None);
        }
        self.spool.segments.drained.fetch_add(batch.frames, Ordering::AcqRel);
        self.state.0.lock().position = batch.end;
        position::write(&*self.spool.disk, batch.end);
        self.tidy(batch.end).await;
        Ok(Step::Taken { more: batch.full })
    }

    /// The next batch, read on a thread that may wait for the disk.
    async fn read(&mut self) -> Result<Option<Batch>, String> {
        let spool = self.spool.clone();
        if spool.segments.undrained() == 0
            && self.source.as_ref().is_some_and(|source| source.is_at_end(&spool))
        {
            return Ok(None);
        }
        let position = self.state.position();
        let mut source = self.source.take().unwrap_or_else(|| Source::new(position));
        let reading = tokio::task::spawn_blocking(move || {
            let batch = source.read(&spool);
            (source, batch)
        });
        let (source, batch) = reading.await.map_err(|error| format!("reading the spool: {error}"))?;
        // After an error it begins anew at the position, so that nothing is left out.
        if batch.is_ok() {
            self.source = Some(source);
        }
        batch.map_err(|error| format!("reading the spool: {error}"))
    }

    /// Hands over what is left of the batch; halves it around records that the store can never take.
    async fn hand_over(&mut self) -> Result<(), String> {
        let Some((batch, left)) = &mut self.batch else { return Ok(()) };
        while let Some(range) = left.last().cloned() {
            match self.drain.drain(&batch.records[range.clone()]).await {
                Ok(()) => {
                    left.pop();
                }
                Err(error) if error.poison && range.len() > 1 => {
                    left.pop();
                    let middle = range.start + range.len() / 2;
                    left.push(middle..range.end);
                    left.push(range.start..middle);
                }
                Err(error) if error.poison => {
                    left.pop();
                    put_aside(&self.spool, &self.state, &mut batch.records[range.start], &error.message);
                }
                Err(error) => return Err(error.message),
            }
        }
        Ok(())
    }

    /// Removes the segments of which nothing is needed any more.
    async fn tidy(&self, position: (u64, u64)) {
        if self.spool.segments.awaits_checkpoint(position.0) {
            // Older segments wait for a checkpoint that is not on the device yet.
            self.spool.sync_rest().await;
        }
        for number in self.spool.segments.spent(position.0) {
            if self.spool.disk.remove(&crate::segments::file_name(number)).is_ok() {
                self.spool.segments.remove(number);
            }
        }
    }

    /// One log line for each change, and the words for `depth`.
    fn report(&mut self, error: Option<String>) {
        let mut shared = self.state.0.lock();
        let before = shared.taken.replace(error.is_none());
        match (&error, before) {
            (Some(error), Some(true) | None) => {
                tracing::warn!(error, "the store does not take records, they wait in the spool: {error}");
            }
            (None, Some(false)) => tracing::info!("the store takes records again"),
            _ => {}
        }
        self.failures = if error.is_some() { self.failures.saturating_add(1) } else { 0 };
        shared.last_error = error.map(|error| format!("drain: {error}"));
    }

    /// How long to wait after so many failures: doubling, with a random half.
    fn backoff(&self) -> Duration {
        let doubled = BACKOFF_FIRST * 2_u32.saturating_pow(self.failures.saturating_sub(1).min(6));
        doubled.min(BACKOFF_LAST).mul_f64(0.5 + Dice::unit() / 2.0)
    }
}

/// Writes an impossible record to a file of its own, without bodies.
fn put_aside(spool: &Spool, state: &DrainState, record: &mut Drained, message: &str) {
    let poisoned = {
        let mut shared = state.0.lock();
        shared.poisoned += 1;
        shared.poisoned
    };
    if poisoned == 1 {
        tracing::error!(error = message, "the store can never take a record, see {POISON_NAME}: {message}");
    }
    if let Drained::Request(log) = record {
        log.bodies = None;
    }
    let length = spool.disk.open(POISON_NAME).and_then(|file| file.length()).unwrap_or(0);
    if length < POISON_BYTES
        && let Ok(mut line) = serde_json::to_string(record)
    {
        line.push('\n');
        let _ = spool.disk.append(POISON_NAME, line.as_bytes());
    }
}

/// The drain's task. After the stop has begun it stays until the last attempt has ended and everything is handed
/// over, or the store refuses.
pub(crate) async fn run(drainer: &tokio::sync::Mutex<Drainer>, spool: &Spool, tasks: &Tasks) {
    const LAST: Duration = Duration::from_millis(20);
    loop {
        let stopping = tasks.is_stopping();
        let attempts = spool.open_attempts();
        let (step, backoff) = {
            let mut drainer = drainer.lock().await;
            (drainer.step().await, drainer.backoff())
        };
        let pause = match step {
            Step::Taken { more: true } => continue,
            Step::Idle | Step::Failed if stopping && attempts == 0 => return,
            _ if stopping => LAST,
            Step::Failed => backoff,
            Step::Idle | Step::Taken { more: false } => PACE,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = tasks.stopping(), if !stopping => {}
        }
    }
}

/// Carries until nothing is left; gives up when `given_up` says so. Whether nothing is left.
pub(crate) async fn flush(
    drainer: &tokio::sync::Mutex<Drainer>,
    spool: &Spool,
    given_up: impl Fn() -> bool,
) -> bool {
    while !given_up() {
        spool.retry();
        match drainer.lock().await.step().await {
            Step::Taken { .. } => {}
            Step::Idle if spool.backlog() == 0 => return true,
            Step::Idle | Step::Failed => tokio::time::sleep(BACKOFF_FIRST).await,
        }
    }
    false
}

/// A future whose panic is a value: one bad batch must not end the drain for good.
struct Caught<F>(F);

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Result<F::Output, ()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        let inner = pin!(&mut self.0);
        match catch_unwind(AssertUnwindSafe(|| inner.poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => std::task::Poll::Ready(Err(())),
        }
    }
}
