//! Reads the settings again when their file changes, and on SIGHUP.
//!
//! The file is looked at each second: time, size and inode together see an editor's rename, a ConfigMap's
//! swapped link and a plain overwrite alike, on every kind of file system. A file is read once it has stopped
//! changing; one that is away for a moment is being replaced.

use super::engine::{Change, Engine};
use super::source::{Refused, Stamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

const LOOK: Duration = Duration::from_secs(1);
/// How long a file must have been left alone.
const QUIET: Duration = Duration::from_millis(200);

/// Starts watching. `seen` is the file as it was before it was read at the start.
pub(crate) fn start(engine: &Arc<Engine>, seen: Option<Stamp>) -> anyhow::Result<()> {
    let hangups = signal(SignalKind::hangup())?;
    engine.tasks.spawn("settings_watch", run(engine.clone(), seen, hangups));
    Ok(())
}

async fn run(engine: Arc<Engine>, mut seen: Option<Stamp>, mut hangups: Signal) {
    let mut stopping = std::pin::pin!(engine.tasks.stopping());
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = hangups.recv() => {
                seen = engine.source.stamp().or(seen);
                read_again(&engine);
                continue;
            }
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = engine.source.stamp();
        if now.is_some() && now != seen {
            seen = settled(&engine, now).await;
            read_again(&engine);
        }
    }
}

/// Waits until the file is left alone, at most a few seconds: a file that never rests is read all the same.
async fn settled(engine: &Engine, mut before: Option<Stamp>) -> Option<Stamp> {
    for _ in 0..10 {
        tokio::time::sleep(QUIET).await;
        let now = engine.source.stamp();
        if now == before && now.is_some() {
            break;
        }
        before = now.or(before);
    }
    before
}

fn read_again(engine: &Engine) {
    // Reading, compiling and remembering take milliseconds of this thread; others go on serving.
    let outcome = tokio::task::block_in_place(|| engine.reload());
    let source = engine.source.describe();
    match outcome {
        Ok(Change::Nothing) => tracing::info!(source, "the settings mean what they meant; nothing changes"),
        Ok(Change::Keys) => tracing::info!(source, "the settings are accepted; the release stays"),
        Ok(Change::Release(number)) => tracing::info!(source, release = number, "release {number} serves"),
        Err(Refused(findings)) => {
            tracing::error!(
                source,
                "the settings are refused; what served before goes on:\n{}",
                findings.join("\n")
            );
            return;
        }
    }
    let state = engine.state.lock();
    if !state.settings.restart_needed.is_empty() {
        let fields = state.settings.restart_needed.join(", ");
        tracing::warn!(fields, "changed, but works only after a restart: {fields}");
    }
}
