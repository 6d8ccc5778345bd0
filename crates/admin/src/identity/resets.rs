//! A forgotten password is replaced with a token that works once, for an hour. It comes by letter, or whoever sees to the process
//! makes one for somebody; every session of theirs ends when it is used.

use super::mail::{self, Mail};
use super::secrets::{self, Kind};
use super::throttle::Counted;
use super::visitor::{Visitor, too_many};
use super::{names, passwords};
use crate::read::Body;
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use policy::{Secret, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use store::{Store, StoreError, UserRow};

const LASTS: Duration = Duration::from_secs(3600);
/// Tries of one address that are free of waiting.
const FREE: u32 = 10;
/// Letters to one person that are free of waiting.
const MOST_LETTERS: u32 = 3;

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

/// A token for this user, and when it ends; the one before it is worth nothing.
async fn make(admin: &Admin, store: &Store, user: &UserRow) -> Result<(Secret, Timestamp), ApiError> {
    let token = secrets::mint(Kind::Reset);
    let ends = admin.clock.now().plus(LASTS);
    let hash = secrets::hash(&admin.pepper, Kind::Reset, token.expose());
    store.insert_reset(&secrets::id("rst"), &user.id, &hash, ends).await?;
    tracing::info!(user = %user.id, "a password reset was made");
    Ok((token, ends))
}

/// `POST /api/password-resets`: for somebody else; the token is told once.
pub(crate) async fn create(
    State(admin): State<Admin>,
    Body(asked): Body<Forgotten>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let store = admin.store.load()?;
    let email = names::email(&asked.email)?;
    let user = store.find_user(&email).await?;
    let user = user.ok_or_else(|| ApiError::NotFound(format!("no user has the e-mail `{email}`")))?;
    let (token, ends) = make(&admin, &store, &user).await?;
    let link = admin.link("reset", &token);
    let body = json!({ "token": token.expose(), "link": link, "expires_at": ends.to_string() });
    Ok((StatusCode::CREATED, Json(body)))
}

/// `POST /api/password-resets/request`: for oneself, by letter. Whether there is such a user is told to nobody: the answer is the
/// same, and comes before anything is looked up.
pub(crate) async fn request(
    State(admin): State<Admin>,
    visitor: Visitor,
    Body(asked): Body<Forgotten>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let email = names::email(&asked.email)?;
    let store = admin.store.load()?;
    let mail = admin.identity.mail.clone().ok_or_else(|| {
        let why = "no letters are sent from here; ask whoever runs this gateway for a link";
        ApiError::Refused("mail_unavailable", why.into())
    })?;
    let counted = [Counted::address("reset by letter", &visitor.address, FREE)];
    let throttle = &admin.identity.throttle;
    throttle.take(&counted, admin.clock.moment()).map_err(too_many)?;
    let to_one = [Counted::address("letters to", &email, MOST_LETTERS)];
    if throttle.take(&to_one, admin.clock.moment()).is_ok() {
        let of = admin.clone();
        admin.tasks.spawn("password_reset", async move {
            if let Err(error) = write_to(&of, &store, &*mail, &email).await {
                tracing::warn!(%error, "a password reset could not be made");
            }
        });
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "requested": true }))))
}

async fn write_to(admin: &Admin, store: &Store, mail: &dyn Mail, email: &str) -> Result<(), ApiError> {
    let Some(user) = store.find_user(email).await? else { return Ok(()) };
    let (token, ends) = make(admin, store, &user).await?;
    mail.post(mail::reset(email, &admin.link("reset", &token), ends), admin.clock.now());
    Ok(())
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
