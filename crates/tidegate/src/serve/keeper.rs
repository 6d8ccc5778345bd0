//! What waits for the database: the connection, releases and file keys that it has not seen, old log days.
//!
//! The data plane never waits here. One task keeps trying; it says once when the database goes and once when it
//! comes back.

use super::banner;
use super::engine::{Engine, State};
use super::last::Accepted;
use super::nodes;
use admin::Live;
use policy::{KeyId, KeyOrigin, KeyRecord, Limits, Secret, StoreUrl};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use store::{ReleaseRow, Store, StoreError};

/// The first pause between two tries; doubled up to the longest.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// How often the database is asked whether it is still there.
const LOOK: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(86_400);
/// The first look for old days, when the start is over.
const FIRST_RETENTION: Duration = Duration::from_secs(60);
/// The name of the key that a first start makes.
const FIRST_KEY: &str = "first";

/// Starts the tasks that keep things.
pub(crate) fn start(engine: &Arc<Engine>) {
    engine.tasks.spawn("store_keeper", keep(engine.clone()));
    engine.tasks.spawn("snapshot_saver", save(engine.clone()));
    engine.tasks.spawn("retention", retain(engine.clone()));
    nodes::start(engine);
}

/// Opens the database and takes in all it knows. `Ok(Some)` brings the first key of a first start.
pub(crate) async fn connect(engine: &Arc<Engine>) -> Result<Option<Secret>, StoreError> {
    let store = Store::open(&engine.store_settings.url, &engine.data_dir, engine.clock.clone()).await?;
    let keys = store.keys().await?;
    engine.ledger.restore_balances(&store.balances().await?);
    let latest = store.latest_declared().await?;
    // The database is the truth, also one that was put back to an earlier day.
    engine.state.lock().hosting.revision = 0;
    engine.read_hosted(&store).await?;
    let was_empty = keys.is_empty();
    take_in(engine, keys, latest);
    engine.ledger.start_drain(Arc::new(store.clone()), &engine.tasks);
    engine.ledger.start_leases(Arc::new(store.office(nodes::own(engine))), &engine.tasks);
    let first = if was_empty && !engine.declares_keys { make_first_key(engine, &store).await? } else { None };
    engine.store.set(store);
    engine.gateway.set_keys_current(true);
    Ok(first)
}

/// Merges what the database knows with what this process already did without it.
fn take_in(engine: &Arc<Engine>, keys: Vec<KeyRecord>, latest: Option<ReleaseRow>) {
    let mut state = engine.state.lock();
    // The database is the truth: what was remembered and is not in it was a key of another database.
    let there: HashSet<&KeyId> = keys.iter().map(|record| &record.id).collect();
    for key in engine.keyring.all() {
        let id = &key.record.id;
        if !state.unsaved_keys.contains_key(id) && !there.contains(id) {
            engine.keyring.remove(id);
        }
    }
    for record in keys {
        // What the file changed while the database was away is newer, except that a revocation always stands.
        let newer_here = record.revoked_at.is_none() && state.unsaved_keys.contains_key(&record.id);
        if !newer_here {
            state.unsaved_keys.remove(&record.id);
            engine.keyring.upsert(record);
        }
    }
    if let Some(row) = latest.filter(|row| row.number > state.number) {
        renumber(&mut state, &row);
        engine.republish(&state);
    }
    if state.document.is_some() {
        engine.sync_file_keys(&mut state);
    }
}

/// The database knows later numbers than we do (the data folder was lost): ours go after them.
fn renumber(state: &mut State, latest: &ReleaseRow) {
    let mut number = latest.number;
    let mut given = None;
    for release in &mut state.unsaved_releases {
        if given != Some(release.number) {
            given = Some(release.number);
            number += 1;
        }
        release.number = number;
    }
    state.number = number;
    if state.unsaved_releases.is_empty() {
        state.release_checksum.clone_from(&latest.checksum);
    }
}

async fn make_first_key(engine: &Engine, store: &Store) -> Result<Option<Secret>, StoreError> {
    let Ok((secret, hash, hint)) = admin::minted(&engine.pepper) else { return Ok(None) };
    let record = KeyRecord {
        id: KeyId::new(runtime::random_bytes()),
        name: FIRST_KEY.into(),
        environment: "dev".into(),
        hash: Some(hash),
        previous: None,
        hint,
        models: Vec::new(),
        limits: Limits::default(),
        budgets: Vec::new(),
        durable: false,
        created_at: engine.clock.now(),
        expires_at: None,
        revoked_at: None,
        origin: KeyOrigin::Live,
    };
    match store.insert_key(&record).await {
        Ok(()) => {
            engine.keyring.upsert(record);
            engine.wake_saver.notify_one();
            Ok(Some(secret))
        }
        // Another process on the same database was quicker.
        Err(StoreError::Exists(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps the connection, and writes down what waits.
async fn keep(engine: Arc<Engine>) {
    let mut stopping = std::pin::pin!(engine.tasks.stopping());
    let mut pause = SHORTEST;
    let mut away = false;
    loop {
        let outcome =
            if engine.store.find().is_some() { write_down(&engine).await } else { come_up(&engine).await };
        match outcome {
            Ok(()) => {
                if away {
                    tracing::info!("the database is back");
                }
                (away, pause) = (false, LOOK);
                *engine.store_trouble.lock() = None;
            }
            Err(error) => {
                if !away {
                    tracing::warn!(%error, "the database is away; model calls go on, records wait in the spool");
                }
                pause = if away { (pause * 2).min(LONGEST) } else { SHORTEST };
                away = true;
                *engine.store_trouble.lock() = Some(error.to_string());
                if engine.store.find().is_none() {
                    engine.store.set_away(&reason_of(&error));
                    engine.ledger.leases_away(&reason_of(&error));
                }
            }
        }
        tokio::select! {
            () = &mut stopping => return,
            () = engine.wake_keeper.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn reason_of(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable(reason) => reason.clone(),
        other => other.to_string(),
    }
}

/// The database came up after the start.
async fn come_up(engine: &Arc<Engine>) -> Result<(), StoreError> {
    let first = connect(engine).await?;
    if !engine.is_serving() {
        match engine.reload() {
            Ok(_) => tracing::info!("the database is there; serving"),
            Err(refused) => tracing::error!(reasons = refused.0.join("; "), "the settings are refused"),
        }
    }
    if let Some(secret) = first {
        let mut news = engine.news.lock();
        if news.said {
            banner::first_key(&secret);
        } else {
            news.first_key = Some(secret);
        }
    }
    engine.came_up.notify_one();
    write_down(engine).await
}

/// Writes releases and keys that the database has not seen; asks it for a sign of life when there are none.
async fn write_down(engine: &Engine) -> Result<(), StoreError> {
    let Some(store) = engine.store.find() else { return Ok(()) };
    write_places(engine, &store).await?;
    let (releases, keys) = {
        let state = engine.state.lock();
        (state.unsaved_releases.clone(), state.unsaved_keys.values().cloned().collect::<Vec<_>>())
    };
    if releases.is_empty() && keys.is_empty() {
        return store.ping().await;
    }
    for release in &releases {
        settle(store.insert_release(&row_of(release)).await, "release")?;
        engine.state.lock().unsaved_releases.retain(|waiting| !same_release(waiting, release));
    }
    for record in &keys {
        settle(write_key(&store, record).await, "key")?;
        let mut state = engine.state.lock();
        // It may have changed again while it was written; then it waits for its next turn.
        if state.unsaved_keys.get(&record.id) == Some(record) {
            state.unsaved_keys.remove(&record.id);
        }
    }
    engine.wake_saver.notify_one();
    Ok(())
}

/// Rows for the environments that the settings declare, when they declare others than before.
async fn write_places(engine: &Engine, store: &Store) -> Result<(), StoreError> {
    let declared = engine.places();
    if *engine.places_written.lock() == declared {
        return Ok(());
    }
    settle(admin::ensure_places(store, &declared).await, "place")?;
    *engine.places_written.lock() = declared;
    Ok(())
}

async fn write_key(store: &Store, record: &KeyRecord) -> Result<(), StoreError> {
    match store.update_key(record).await {
        Err(StoreError::Missing(_)) => store.insert_key(record).await,
        other => other,
    }
}

/// Waiting helps with a database that is away. What it refuses outright would be refused for ever: it is said
/// and left.
fn settle(outcome: Result<(), StoreError>, what: &str) -> Result<(), StoreError> {
    match outcome {
        Err(error) if error.is_unavailable() => Err(error),
        Err(StoreError::Exists(_)) | Ok(()) => Ok(()),
        Err(error) => {
            tracing::error!(%error, "a {what} cannot be written to the database");
            Ok(())
        }
    }
}

fn same_release(a: &Accepted, b: &Accepted) -> bool {
    a.environment == b.environment && a.number == b.number
}

fn row_of(release: &Accepted) -> ReleaseRow {
    ReleaseRow {
        environment: release.environment.clone(),
        number: release.number,
        at: release.at,
        source: release.source.clone(),
        checksum: release.checksum.clone(),
        message: release.message.clone(),
        document: release.document.clone(),
        author: String::new(),
        bound: None,
    }
}

/// Writes the snapshot file when it is out of date, and never twice at once. With very many keys a snapshot takes its
/// time, so it rests nine times as long as it worked: many changes in a row are one snapshot.
async fn save(engine: Arc<Engine>) {
    loop {
        let last = tokio::select! {
            () = engine.tasks.stopping() => true,
            () = engine.wake_saver.notified() => false,
        };
        let began = engine.clock.moment();
        let saving = engine.clone();
        let saved = tokio::task::spawn_blocking(move || saving.save(&saving.state.lock())).await;
        if let Ok(Err(error)) = saved {
            tracing::error!(
                error = format!("{error:#}"),
                "what is needed without the database cannot be remembered"
            );
        }
        if last {
            return;
        }
        let rest = engine.clock.moment().since(began) * 9;
        tokio::select! {
            () = engine.tasks.stopping() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

async fn retain(engine: Arc<Engine>) {
    let mut stopping = std::pin::pin!(engine.tasks.stopping());
    let mut pause = FIRST_RETENTION;
    loop {
        tokio::select! {
            () = &mut stopping => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = DAY;
        let Some(store) = engine.store.find() else {
            pause = FIRST_RETENTION;
            continue;
        };
        match store.retain(engine.store_settings.retention).await {
            Ok(dropped) if dropped.is_empty() => {}
            Ok(dropped) => {
                tracing::info!(days = dropped.join(", "), "old days of the request log were dropped");
            }
            Err(error) => tracing::warn!(%error, "old days of the request log could not be dropped"),
        }
    }
}

/// The database as status names it.
pub(crate) fn kind_of(url: &StoreUrl) -> &'static str {
    match url {
        StoreUrl::Sqlite => "sqlite",
        StoreUrl::Postgres(_) => "postgres",
    }
}
