//! Several gateways on one PostgreSQL: which this one is, and what the others changed.
//!
//! The database is asked twice a second for keys that another gateway made, rotated or revoked. On SQLite nobody else is there.

use super::engine::Engine;
use super::hosting;
use policy::{StoreUrl, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use store::{Node, Store, StoreError};

/// How often it is asked.
const LOOK: Duration = Duration::from_millis(500);
/// Changes are read again for so long: they bear the clock of the gateway that made them, and come in no order.
const OVERLAP: Duration = Duration::from_secs(60);
/// All keys are read at least so often, where they are not very many.
const ALL: Duration = Duration::from_secs(60);
const MANY: usize = 100_000;
/// Changes in one answer.
const PAGE: usize = 10_000;

/// This gateway as the others see it: the host and the port.
pub(super) fn own(engine: &Engine) -> Node {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "gateway" } else { host.trim() };
    Node {
        id: engine.node.clone(),
        name: format!("{host}:{}", engine.server.listen.port()).into(),
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: engine.started_at,
        seen_at: engine.started_at,
        revision: 0,
        lives: true,
    }
}

/// Follows the keys of the database.
pub(super) fn start(engine: &Arc<Engine>) {
    if matches!(engine.store_settings.url, StoreUrl::Postgres(_)) {
        engine.tasks.spawn("key_follower", follow(engine.clone()));
        engine.tasks.spawn("release_follower", hosting::follow(engine.clone()));
    }
}

async fn follow(engine: Arc<Engine>) {
    let mut since = engine.clock.now().minus(OVERLAP);
    let mut all_at = engine.clock.moment();
    loop {
        tokio::select! {
            () = engine.tasks.stopping() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let Some(store) = engine.store.find() else { continue };
        let whole = engine.clock.moment().since(all_at) >= ALL && engine.keyring.len() < MANY;
        let read =
            if whole { read_all(&engine, &store).await } else { read_new(&engine, &store, since).await };
        match read {
            Ok(last) => {
                if whole {
                    all_at = engine.clock.moment();
                }
                since = since.max(last);
            }
            // The keeper says it.
            Err(error) => tracing::debug!(%error, "keys of other gateways cannot be read"),
        }
    }
}

async fn read_new(engine: &Engine, store: &Store, since: Timestamp) -> Result<Timestamp, StoreError> {
    let changes = store.keys_since(since, PAGE).await?;
    let last = changes.last().map_or(since, |(at, _)| *at);
    let full = changes.len() == PAGE;
    take(engine, changes.into_iter().map(|(_, record)| record));
    Ok(if full { last } else { last.minus(OVERLAP) })
}

async fn read_all(engine: &Engine, store: &Store) -> Result<Timestamp, StoreError> {
    take(engine, store.keys().await?.into_iter());
    Ok(Timestamp::from_micros(0))
}

/// What this gateway has changed and not written yet is newer, except that a revocation always stands.
fn take(engine: &Engine, records: impl Iterator<Item = policy::KeyRecord>) {
    let mut changed = false;
    for record in records {
        let newer_here =
            record.revoked_at.is_none() && engine.state.lock().unsaved_keys.contains_key(&record.id);
        let stands = engine.keyring.get(&record.id).is_some_and(|known| {
            known.record == record || (known.record.revoked_at.is_some() && record.revoked_at.is_none())
        });
        if newer_here || stands {
            continue;
        }
        engine.keyring.upsert(record);
        changed = true;
    }
    if changed {
        engine.wake_saver.notify_one();
    }
}
