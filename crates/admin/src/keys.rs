//! Virtual keys: make, rotate, revoke, list.
//!
//! Every write goes to the database first and to the data plane right after, in a task of its own: a caller
//! who hangs up cannot leave a key revoked in one place and alive in the other. While the database is away
//! writes are refused, because a key that only this process knows would vanish with it.

mod ask;
mod view;

pub use ask::minted;

use crate::caller::{Caller, Scope};
use crate::permissions::Permission;
use crate::read::{Asked, Body};
use crate::{Admin, ApiError, environments, spans};
use ask::{NewKey, Rotation};
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use policy::{KeyId, KeyRecord, PreviousHash, Timestamp};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::time::Duration;
use store::Store;
use view::KeyView;

/// The longest time that an old secret may live beside a new one.
const LONGEST_GRACE: Duration = Duration::from_secs(30 * 86_400);
/// The most keys in one answer.
const MOST: usize = 10_000;

/// The query of `GET /api/keys`.
pub(crate) const LIST_QUERY: &[(&str, &str)] = &[
    ("environment", "Only keys of this environment"),
    ("name", "Only keys of this name"),
    ("revoked", "`true` lists revoked keys too"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    environment: Option<String>,
    name: Option<String>,
    #[serde(default)]
    revoked: bool,
}

#[derive(Serialize)]
pub(crate) struct KeyList {
    keys: Vec<KeyView>,
    /// More match than are listed.
    more: bool,
}

#[derive(Serialize)]
pub(crate) struct KeyAlone {
    key: KeyView,
}

#[derive(Serialize)]
pub(crate) struct KeyWithSecret {
    key: KeyView,
    secret: String,
    /// What is probably not meant, such as a model that does not exist now.
    warnings: Vec<String>,
}

/// `GET /api/keys`: from the database, or from the data plane's memory while that is away.
pub(crate) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<KeyList>, ApiError> {
    let scope = caller.scope(Permission::ReadKeys);
    let environment = match query.environment.as_deref() {
        // While the database is away nobody knows what else it is called.
        Some(asked) if admin.store.find().is_none() => Some(caller.handle_of(asked)),
        Some(asked) => environments::find(&admin, &caller, Permission::ReadKeys, asked).await?,
        None => None,
    };
    let mut records = match admin.store.find() {
        Some(store) => store.keys().await?,
        None => admin.live.keys(),
    };
    records.retain(|record| {
        (query.revoked || record.revoked_at.is_none())
            && scope.contains(&record.environment)
            && environment.as_ref().is_none_or(|handle| record.environment == *handle)
            && query.name.as_ref().is_none_or(|name| *record.name == **name)
    });
    records.sort_by(|a, b| {
        (&a.environment, &a.name, a.created_at).cmp(&(&b.environment, &b.name, b.created_at))
    });
    let more = records.len() > MOST;
    records.truncate(MOST);
    let (now, balances) = (admin.clock.now(), admin.live.balances());
    let keys = records.iter().map(|record| KeyView::of(record, &balances, now)).collect();
    Ok(Json(KeyList { keys, more }))
}

/// `POST /api/keys`.
pub(crate) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Body(mut asked): Body<NewKey>,
) -> Result<(StatusCode, Json<KeyWithSecret>), ApiError> {
    let now = admin.clock.now();
    let scope = caller.scope(Permission::WriteKeys);
    let mut known = admin.live.environments();
    known.retain(|handle| scope.contains(handle));
    // A name is as good as an id, where it is the only one.
    if let Some(name) = asked.environment()
        && let Some(handle) = environments::find(&admin, &caller, Permission::WriteKeys, name).await?
    {
        asked.set_environment(&handle);
    }
    let (record, secret) = asked.into_record(&caller, &known, &admin.pepper, now)?;
    let added = record.clone();
    let inserted = write(&admin, move |store| async move {
        store.insert_key(&added).await?;
        Ok(added)
    });
    let record = inserted.await?;
    tracing::info!(key = %record.name, key_id = %record.id, environment = %record.environment, "key created");
    let key = KeyView::of(&record, &admin.live.balances(), now);
    let doubt = |allowed: &String| admin.live.doubt_model(&record.environment, allowed);
    let warnings = record.models.iter().filter_map(doubt).collect();
    Ok((StatusCode::CREATED, Json(KeyWithSecret { key, secret: secret.expose().to_owned(), warnings })))
}

/// `POST /api/keys/{id}/rotate`.
pub(crate) async fn rotate(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
    Body(asked): Body<Rotation>,
) -> Result<Json<KeyWithSecret>, ApiError> {
    let now = admin.clock.now();
    let grace = asked.grace(LONGEST_GRACE)?;
    let (secret, hash, hint) = minted(&admin.pepper)?;
    let (live, scope) = (admin.live.clone(), caller.scope(Permission::WriteKeys));
    let changed = write(&admin, move |store| async move {
        let mut record = load_key(&store, &id, &scope).await?;
        refuse_rotation(&record, live.declares_secret(&record), now)?;
        let until = spans::after(now, grace);
        let old = record.hash.take().filter(|_| !grace.is_zero());
        record.previous = old.map(|hash| PreviousHash { hash, until });
        record.hash = Some(hash);
        record.hint = hint;
        store.update_key(&record).await?;
        Ok(record)
    });
    let record = changed.await?;
    tracing::info!(key = %record.name, key_id = %record.id, grace_s = grace.as_secs(), "key rotated");
    let key = KeyView::of(&record, &admin.live.balances(), now);
    Ok(Json(KeyWithSecret { key, secret: secret.expose().to_owned(), warnings: Vec::new() }))
}

/// `POST /api/keys/{id}/revoke`: works for every key, whoever declared it; twice is once.
pub(crate) async fn revoke(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<KeyAlone>, ApiError> {
    let (now, scope) = (admin.clock.now(), caller.scope(Permission::WriteKeys));
    let changed = write(&admin, move |store| async move {
        let mut record = load_key(&store, &id, &scope).await?;
        if record.revoked_at.is_none() {
            record.revoked_at = Some(now);
            record.previous = None;
            store.update_key(&record).await?;
        }
        Ok(record)
    });
    let record = changed.await?;
    tracing::info!(key = %record.name, key_id = %record.id, "key revoked");
    Ok(Json(KeyAlone { key: KeyView::of(&record, &admin.live.balances(), now) }))
}

fn refuse_rotation(record: &KeyRecord, declared: bool, now: Timestamp) -> Result<(), ApiError> {
    let name = &record.name;
    if record.revoked_at.is_some() {
        return Err(ApiError::Conflict(format!(
            "key `{name}` is revoked; make another with `tidegate keys create`"
        )));
    }
    if record.expires_at.is_some_and(|at| at <= now) {
        return Err(ApiError::Conflict(format!(
            "key `{name}` has expired; make another with `tidegate keys create`"
        )));
    }
    if declared {
        let message = format!("the secret of key `{name}` is declared in the settings file; change it there");
        return Err(ApiError::Conflict(message));
    }
    Ok(())
}

/// A key of an environment that is out of reach is as if it did not exist.
async fn load_key(store: &Store, id: &str, scope: &Scope) -> Result<KeyRecord, ApiError> {
    let id: KeyId = KeyId(id.into());
    let found = store.find_key_by_id(&id).await?.filter(|record| scope.contains(&record.environment));
    found.ok_or_else(|| ApiError::NotFound(format!("no key has the id `{id}`")))
}

/// Runs one key change to its end: one at a time, database first, then the data plane.
async fn write<F, W>(admin: &Admin, change: F) -> Result<KeyRecord, ApiError>
where
    F: FnOnce(Store) -> W + Send + 'static,
    W: Future<Output = Result<KeyRecord, ApiError>> + Send + 'static,
{
    let store = admin.store.load()?;
    let (turn, live) = (admin.turn.clone(), admin.live.clone());
    let changing = async move {
        let _turn = turn.lock().await;
        let record = change(store).await?;
        live.upsert_key(record.clone());
        Ok(record)
    };
    admin.to_its_end("key_change", changing).await
}
