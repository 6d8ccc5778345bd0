//! `POST /api/sign-in` and `POST /api/sign-out`. Who has a second factor gets a challenge first, see `totp`.
//!
//! An unknown e-mail and a wrong password are answered alike, after the same work. A session's secret is always new: what
//! a browser brought before is never taken up.

use super::secrets::{self, Kind};
use super::throttle::Counted;
use super::visitor::{Visitor, too_many};
use super::{names, policy::OrganizationPolicy, totp};
use crate::caller::Caller;
use crate::read::Body;
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use policy::Secret;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{SessionRow, Store, UserRow};

/// A session ends after so long, however much it is used.
const LASTS: Duration = Duration::from_secs(14 * 86_400);

/// The body of `POST /api/sign-in`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    email: String,
    password: String,
}

/// A session that begins.
pub(crate) struct Entrance {
    pub(crate) row: SessionRow,
    pub(crate) secret: Secret,
    pub(crate) csrf: String,
    pub(crate) lasts: Duration,
}

/// The answer of a sign-in.
#[derive(Serialize)]
pub(crate) struct SignedIn {
    user: Person,
    csrf_token: String,
    expires_at: String,
}

/// A person as answers show them.
#[derive(Serialize)]
pub(crate) struct Person {
    id: String,
    email: String,
    name: String,
    second_factor: bool,
    created_at: String,
}

impl Person {
    pub(crate) fn of(user: &UserRow) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email.to_string(),
            name: user.name.to_string(),
            second_factor: user.totp_since.is_some(),
            created_at: user.created_at.to_string(),
        }
    }
}

/// Makes a session; nothing is kept of it yet. `longest`: what the user's organizations allow.
pub(crate) fn begin_session(
    admin: &Admin,
    visitor: &Visitor,
    user: &::policy::Name,
    second: bool,
    longest: Option<Duration>,
) -> Entrance {
    let secret = secrets::mint(Kind::Session);
    let lasts = longest.unwrap_or(LASTS).min(LASTS);
    let now = admin.clock.now();
    let row = SessionRow {
        id: secrets::id("ses"),
        user: user.clone(),
        hash: secrets::hash(&admin.pepper, Kind::Session, secret.expose()),
        address: visitor.address.as_str().into(),
        agent: visitor.agent.as_str().into(),
        second,
        created_at: now,
        seen_at: now,
        expires_at: now.plus(lasts),
    };
    let csrf = secrets::csrf(&admin.pepper, secret.expose());
    Entrance { row, secret, csrf, lasts }
}

/// `POST /api/sign-in`.
pub(crate) async fn sign_in(
    State(admin): State<Admin>,
    visitor: Visitor,
    Body(asked): Body<Credentials>,
) -> Result<Response, ApiError> {
    let store = admin.store.load()?;
    let user = recognised(&admin, &store, &visitor, &asked).await?;
    if user.totp_since.is_some() {
        return Ok(Json(totp::challenge(&admin, &user)).into_response());
    }
    Ok(enter(&admin, &store, &visitor, &user, false).await?.into_response())
}

/// Keeps a new session and answers with its cookie.
pub(crate) async fn enter(
    admin: &Admin,
    store: &Store,
    visitor: &Visitor,
    user: &UserRow,
    second: bool,
) -> Result<impl IntoResponse + use<>, ApiError> {
    let memberships = store.memberships(&user.id).await?;
    let longest = memberships.iter().filter_map(|one| OrganizationPolicy::read(&one.policy).session()).min();
    let entrance = begin_session(admin, visitor, &user.id, second, longest);
    store.insert_session(&entrance.row).await?;
    tracing::info!(user = %user.id, session = %entrance.row.id, "a user signed in");
    let cookie = visitor.cookie(&admin.identity, &entrance.secret, entrance.lasts);
    let expires_at = entrance.row.expires_at.to_string();
    let body = SignedIn { user: Person::of(user), csrf_token: entrance.csrf, expires_at };
    Ok((StatusCode::OK, [(header::SET_COOKIE, cookie)], Json(body)))
}

/// The user of this e-mail and password; the same answer for whatever is wrong.
async fn recognised(
    admin: &Admin,
    store: &Store,
    visitor: &Visitor,
    asked: &Credentials,
) -> Result<UserRow, ApiError> {
    // What can be no e-mail is nobody's, and is not looked for.
    let email = names::email(&asked.email).unwrap_or_default();
    let counted = Counted::sign_in(&email, &visitor.address);
    admin.identity.throttle.take(&counted, admin.clock.moment()).map_err(too_many)?;
    let found = if email.is_empty() { None } else { store.find_user(&email).await? };
    let kept = found.as_ref().map(|user| &*user.password);
    let right = admin.identity.hashing.is_right(&asked.password, kept).await?;
    match found.filter(|_| right) {
        Some(user) => {
            admin.identity.throttle.forgive(&counted);
            Ok(user)
        }
        None => {
            tracing::info!(address = %visitor.address, "a sign-in was refused");
            Err(ApiError::WrongCredentials)
        }
    }
}

/// `POST /api/sign-out`: ends the session that asks.
pub(crate) async fn sign_out(
    State(admin): State<Admin>,
    visitor: Visitor,
    caller: Caller,
) -> Result<impl IntoResponse, ApiError> {
    let (session, user) = caller.person()?;
    admin.store.load()?.end_session(&user.id, &session.id).await?;
    let cookie = visitor.no_cookie(&admin.identity);
    Ok(([(header::SET_COOKIE, cookie)], Json(serde_json::json!({ "signed_out": true }))))
}
