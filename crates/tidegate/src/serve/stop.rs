//! The end: readiness off, a while of accepting, then closing, then the cut, then everything is on disk.
//!
//! SIGTERM takes all of it; SIGINT (someone at the keyboard) leaves out the while of accepting; a second signal
//! ends at once: the spool survives that too.

use super::engine::Engine;
use crate::environment;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Time for error events to be written and settled after the cut.
const AFTER_CUT: Duration = Duration::from_secs(2);
/// Time for the last records to reach the database; they stay in the spool otherwise.
const FLUSH: Duration = Duration::from_secs(5);
/// Time for tasks to end.
const TASKS: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(10);

/// The two signals that end the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Which of them came.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Terminate,
    Interrupt,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
        }
    }
}

/// Stops in order. A second signal ends the process where it stands.
pub(super) async fn stop(engine: &Arc<Engine>, asked: Asked, mut signals: Signals) {
    tokio::select! {
        () = in_order(engine, asked) => {}
        again = signals.next() => {
            tracing::warn!("a second signal: ending at once; what runs now is settled at the next start");
            environment::leave_now(if again == Asked::Interrupt { 130 } else { 143 });
        }
    }
}

async fn in_order(engine: &Arc<Engine>, asked: Asked) {
    let times = engine.server.drain;
    let running = engine.gateway.in_flight();
    tracing::info!(running, "stopping: {running} requests run; they have {} s", times.deadline.as_secs());
    engine.begin_drain();
    if asked == Asked::Terminate {
        tokio::time::sleep(times.accept).await;
    }
    engine.gateway.stop_accepting();
    if !quiet_within(engine, times.deadline).await {
        tracing::warn!(
            running = engine.gateway.in_flight(),
            "the deadline has passed: what still runs is cut"
        );
        engine.gateway.cut();
        quiet_within(engine, AFTER_CUT).await;
    }
    let written = engine.store.find().is_some() && engine.ledger.flush(FLUSH).await;
    if !written {
        tracing::info!("records that the database has not seen stay in the spool for the next start");
    }
    engine.tasks.stop();
    let late = engine.tasks.drained(TASKS).await;
    if !late.is_empty() {
        tracing::warn!(tasks = late.join(", "), "tasks did not end in time");
    }
    if let Some(store) = engine.store.find() {
        store.close().await;
    }
    tracing::info!("stopped");
}

/// Waits until no request is being answered.
async fn quiet_within(engine: &Engine, deadline: Duration) -> bool {
    let quiet = async {
        while engine.gateway.in_flight() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(deadline, quiet).await.is_ok()
}
