//! A forgotten password is replaced with a token that works once, for an hour. Whoever sees to the process makes one for
//! somebody; every session of theirs ends when it is used.

use super::names;
use super::passwords;
use super::secrets::{self, Kind};
use super::throttle::Counted;
use super::visitor::{Visitor, too_many};
use crate::read::Body;
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use store::StoreError;

const LASTS: Duration = Duration::from_secs(3600);
/// Tries of one address that are free of waiting.
const FREE: u32 = 10;

/// The body of `POST /api/password-resets`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forgotten {
    email: String,
}

/// The body of `POST /api/password-resets/accept`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reset {
    token: String,
    password: String,
}

/// `POST /api/password-resets`: the token is told once; the one before it is worth nothing.
pub(crate) async fn create(
    State(admin): State<Admin>,
    Body(asked): Body<Forgotten>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let store = admin.store.load()?;
    let email = names::email(&asked.email)?;
    let user = store.find_user(&email).await?;
    let user = user.ok_or_else(|| ApiError::NotFound(format!("no user has the e-mail `{email}`")))?;
    let token = secrets::mint(Kind::Reset);
    let (id, ends) = (secrets::id("rst"), admin.clock.now().plus(LASTS));
    let hash = secrets::hash(&admin.pepper, Kind::Reset, token.expose());
    store.insert_reset(&id, &user.id, &hash, ends).await?;
    tracing::info!(user = %user.id, "a password reset was made");
    let link = format!("{}/#/reset?token={}", admin.api.console, token.expose());
    let body = json!({ "token": token.expose(), "link": link, "expires_at": ends.to_string() });
    Ok((StatusCode::CREATED, Json(body)))
}

/// `POST /api/password-resets/accept`.
pub(crate) async fn accept(
    State(admin): State<Admin>,
    visitor: Visitor,
    Body(asked): Body<Reset>,
) -> Result<Json<Value>, ApiError> {
    let counted = [Counted::address("reset", &visitor.address, FREE)];
    admin.identity.throttle.take(&counted, admin.clock.moment()).map_err(too_many)?;
    let store = admin.store.load()?;
    let unknown = || ApiError::NotFound("this reset is unknown, used or over; ask for another".into());
    if !secrets::is_well_formed(Kind::Reset, &asked.token) {
        return Err(unknown());
    }
    let hash = secrets::hash(&admin.pepper, Kind::Reset, &asked.token);
    let (reset, user) = store.find_reset(&hash).await?.ok_or_else(unknown)?;
    let user = store.find_user_by_id(&user).await?.ok_or_else(unknown)?;
    passwords::check(&asked.password, &user.email)?;
    let kept = admin.identity.hashing.hash(&asked.password).await?;
    store.use_reset(&reset, &user.id, &kept).await.map_err(|error| match error {
        StoreError::Missing(_) => unknown(),
        other => other.into(),
    })?;
    tracing::info!(user = %user.id, "a password was reset");
    Ok(Json(json!({ "changed": true })))
}
