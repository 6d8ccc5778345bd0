//! `GET /api/sessions`, `DELETE /api/sessions/{id}`, `POST /api/password`: what a person does with their own way in.

use super::passwords;
use super::throttle::Counted;
use super::visitor::{Visitor, too_many};
use crate::access::IDLE;
use crate::caller::Caller;
use crate::read::Body;
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The answer of `GET /api/sessions`.
#[derive(Serialize)]
pub(crate) struct SessionList {
    sessions: Vec<SessionView>,
}

#[derive(Serialize)]
struct SessionView {
    id: String,
    address: String,
    agent: String,
    second_factor: bool,
    created_at: String,
    seen_at: String,
    expires_at: String,
    /// It is the one that asks.
    current: bool,
}

/// `GET /api/sessions`: one's own.
pub(crate) async fn list(State(admin): State<Admin>, caller: Caller) -> Result<Json<SessionList>, ApiError> {
    let (current, user) = caller.person()?;
    let now = admin.clock.now();
    let mut rows = admin.store.load()?.sessions(&user.id).await?;
    rows.retain(|row| row.seen_at.plus(IDLE) > now);
    let view = |row: store::SessionRow| SessionView {
        current: row.id == current.id,
        id: row.id.to_string(),
        address: row.address.to_string(),
        agent: row.agent.to_string(),
        second_factor: row.second,
        created_at: row.created_at.to_string(),
        seen_at: row.seen_at.to_string(),
        expires_at: row.expires_at.to_string(),
    };
    Ok(Json(SessionList { sessions: rows.into_iter().map(view).collect() }))
}

/// `DELETE /api/sessions/{id}`: one of one's own, at once.
pub(crate) async fn end(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (_, user) = caller.person()?;
    if !admin.store.load()?.end_session(&user.id, &id).await? {
        return Err(ApiError::NotFound("you have no session of this id".into()));
    }
    Ok(Json(json!({ "ended": id })))
}

/// The body of `POST /api/password`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    current: String,
    password: String,
}

/// `POST /api/password`: a new one; every other session ends.
pub(crate) async fn set_password(
    State(admin): State<Admin>,
    caller: Caller,
    visitor: Visitor,
    Body(asked): Body<NewPassword>,
) -> Result<Json<Value>, ApiError> {
    let (session, user) = caller.person()?;
    confirm(&admin, &caller, &visitor, &asked.current).await?;
    passwords::check(&asked.password, &user.email)?;
    let kept = admin.identity.hashing.hash(&asked.password).await?;
    admin.store.load()?.set_password(&user.id, &kept, &session.id).await?;
    tracing::info!(user = %user.id, "a password was changed");
    Ok(Json(json!({ "changed": true })))
}

/// Whether the person who is signed in knows their password: a session that was left open is not enough.
pub(crate) async fn confirm(
    admin: &Admin,
    caller: &Caller,
    visitor: &Visitor,
    password: &str,
) -> Result<(), ApiError> {
    let (_, user) = caller.person()?;
    let counted = Counted::sign_in(&user.email, &visitor.address);
    admin.identity.throttle.take(&counted, admin.clock.moment()).map_err(too_many)?;
    if !admin.identity.hashing.is_right(password, Some(&user.password)).await? {
        return Err(ApiError::WrongCredentials);
    }
    admin.identity.throttle.forgive(&counted);
    Ok(())
}
