//! Invitations: a role for whoever brings the token, once. What whoever invited has lost since is not given either.

use super::members::{self, OfOrganization, check_gift};
use super::policy::OrganizationPolicy;
use super::secrets::{self, Kind};
use super::sign_in::begin_session;
use super::sign_up::new_user;
use super::throttle::Counted;
use super::visitor::{Visitor, too_many};
use super::{mail, names, passwords};
use crate::access::held_by;
use crate::caller::{Caller, Who};
use crate::permissions::{Permission, Role};
use crate::read::{Asked, Body};
use crate::{Admin, ApiError, spans};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use store::{InvitationRow, MemberRow, Store, StoreError};

/// How long an invitation waits where nobody says.
const WAITS: Duration = Duration::from_secs(7 * 86_400);
const LONGEST: Duration = Duration::from_secs(90 * 86_400);
/// Tries of one address that are free of waiting.
const FREE: u32 = 20;

/// The body of `POST /api/invitations`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewInvitation {
    email: Option<String>,
    role: String,
    organization: Option<String>,
    workspace: Option<String>,
    expires_in: Option<String>,
}

/// The body of `POST /api/invitations/accept`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acceptance {
    token: String,
    email: Option<String>,
    password: Option<String>,
    name: Option<String>,
}

/// The answer of `GET /api/invitations`.
#[derive(Serialize)]
pub(crate) struct InvitationList {
    invitations: Vec<Value>,
}

/// `POST /api/invitations`: the token is told once.
pub(crate) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Body(asked): Body<NewInvitation>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let store = admin.store.load()?;
    let (row, token) = invitation(&admin, &store, &caller, &asked).await?;
    store.insert_invitation(&row).await?;
    tracing::info!(invitation = %row.id, role = %row.role, by = %row.made_by, "an invitation was made");
    let mut body = view(&row, admin.clock.now());
    body["token"] = token.expose().into();
    let link = admin.link("invitation", &token);
    body["mailed"] = write_to(&admin, &store, &row, &link).await?.into();
    body["link"] = link.into();
    Ok((StatusCode::CREATED, Json(body)))
}

/// Tells whom it is for, where letters go anywhere.
async fn write_to(admin: &Admin, store: &Store, row: &InvitationRow, link: &str) -> Result<bool, ApiError> {
    let Some(mail) = admin.identity.mail.as_ref().filter(|_| !row.email.is_empty()) else { return Ok(false) };
    let organization = store.find_organization(&row.organization).await?;
    let name = organization.map(|row| row.name).unwrap_or_default();
    mail.post(mail::invitation(&row.email, &name, &row.role, link, row.expires_at), row.created_at);
    Ok(true)
}

async fn invitation(
    admin: &Admin,
    store: &Store,
    caller: &Caller,
    asked: &NewInvitation,
) -> Result<(InvitationRow, policy::Secret), ApiError> {
    let role = members::role(&asked.role)?;
    let email = asked.email.as_deref().map(names::email).transpose()?.unwrap_or_default();
    let waits = waits(asked.expires_in.as_deref())?;
    let named = asked.organization.as_deref();
    let organization = members::organization(store, caller, named, Permission::WriteMembers).await?;
    let workspace = workspace_of(store, &organization, asked.workspace.as_deref()).await?;
    if !caller.holds(Permission::WriteMembers, &organization, &workspace) {
        return Err(ApiError::Forbidden(
            "this needs the permission `members:write` in the whole organization".into(),
        ));
    }
    check_gift(caller, role, &organization, &workspace)?;
    check_domain(store, &organization, &email).await?;
    let token = secrets::mint(Kind::Invitation);
    let now = admin.clock.now();
    let row = InvitationRow {
        id: secrets::id("inv"),
        organization,
        workspace: workspace.into(),
        role: role.as_str().into(),
        email: email.into(),
        hash: secrets::hash(&admin.pepper, Kind::Invitation, token.expose()),
        made_by: caller.user_id(),
        created_at: now,
        expires_at: now.plus(waits),
        accepted_at: None,
        revoked_at: None,
    };
    Ok((row, token))
}

fn waits(asked: Option<&str>) -> Result<Duration, ApiError> {
    let Some(text) = asked else { return Ok(WAITS) };
    let span =
        spans::parse_span(text).map_err(|reason| ApiError::Invalid(format!("expires_in: {reason}")))?;
    if span.is_zero() || span > LONGEST {
        return Err(ApiError::Invalid("expires_in: between one second and 90 days".into()));
    }
    Ok(span)
}

/// The workspace that is asked for, where it is of this organization; one of another is as if it did not exist.
pub(crate) async fn workspace_of(
    store: &Store,
    organization: &str,
    asked: Option<&str>,
) -> Result<String, ApiError> {
    let Some(asked) = asked else { return Ok(String::new()) };
    let found = store.find_workspace(asked).await?.filter(|row| *row.organization == *organization);
    let unknown = || ApiError::NotFound(format!("no workspace has the id `{}`", asked.escape_debug()));
    found.map(|row| row.id.to_string()).ok_or_else(unknown)
}

async fn check_domain(store: &Store, organization: &str, email: &str) -> Result<(), ApiError> {
    let policy = store.find_organization(organization).await?.map(|row| row.policy).unwrap_or_default();
    if email.is_empty() || OrganizationPolicy::read(&policy).takes(email) {
        return Ok(());
    }
    Err(ApiError::Invalid("email: the organization takes no e-mails of this domain".into()))
}

fn view(row: &InvitationRow, now: policy::Timestamp) -> Value {
    let state = match row {
        _ if row.accepted_at.is_some() => "accepted",
        _ if row.revoked_at.is_some() => "revoked",
        _ if row.expires_at <= now => "expired",
        _ => "waiting",
    };
    json!({
        "id": row.id,
        "organization": row.organization,
        "workspace": (!row.workspace.is_empty()).then_some(&row.workspace),
        "role": row.role,
        "email": (!row.email.is_empty()).then_some(&row.email),
        "state": state,
        "made_by": (!row.made_by.is_empty()).then_some(&row.made_by),
        "created_at": row.created_at.to_string(),
        "expires_at": row.expires_at.to_string(),
    })
}

/// `GET /api/invitations`: without the tokens.
pub(crate) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Asked(query): Asked<OfOrganization>,
) -> Result<Json<InvitationList>, ApiError> {
    let store = admin.store.load()?;
    let organization = members::organization(&store, &caller, query.named(), Permission::ReadMembers).await?;
    let mut rows = store.invitations(&organization).await?;
    rows.retain(|row| caller.holds(Permission::ReadMembers, &organization, &row.workspace));
    let now = admin.clock.now();
    Ok(Json(InvitationList { invitations: rows.iter().map(|row| view(row, now)).collect() }))
}

/// `DELETE /api/invitations/{id}`: takes one back.
pub(crate) async fn revoke(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let store = admin.store.load()?;
    let found = store.find_invitation_by_id(&id).await?;
    let unknown = || ApiError::NotFound(format!("no invitation has the id `{}`", id.escape_debug()));
    let row = found
        .filter(|row| caller.holds(Permission::WriteMembers, &row.organization, &row.workspace))
        .ok_or_else(unknown)?;
    let over = |error| match error {
        StoreError::Missing(_) => ApiError::Conflict("it was accepted or taken back before".into()),
        other => ApiError::from(other),
    };
    store.revoke_invitation(&row.id).await.map_err(over)?;
    Ok(Json(json!({ "ended": row.id })))
}

/// `POST /api/invitations/accept`: by somebody new, or by whoever is signed in.
pub(crate) async fn accept(
    State(admin): State<Admin>,
    caller: Caller,
    visitor: Visitor,
    Body(asked): Body<Acceptance>,
) -> Result<Response, ApiError> {
    let counted = [Counted::address("invitation", &visitor.address, FREE)];
    admin.identity.throttle.take(&counted, admin.clock.moment()).map_err(too_many)?;
    let store = admin.store.load()?;
    let row = waiting(&admin, &store, &asked.token).await?;
    match caller.who() {
        Who::Person(person) => join(&admin, &store, &row, &person.1).await,
        _ => come_in(&admin, &store, &visitor, &row, asked).await,
    }
}

/// The invitation of this token, while it waits and whoever made it could still make it.
async fn waiting(admin: &Admin, store: &Store, token: &str) -> Result<InvitationRow, ApiError> {
    let unknown = || ApiError::NotFound("this invitation is unknown, used, taken back or over".into());
    if !secrets::is_well_formed(Kind::Invitation, token) {
        return Err(unknown());
    }
    let found = store.find_invitation(&secrets::hash(&admin.pepper, Kind::Invitation, token)).await?;
    let row = found.ok_or_else(unknown)?;
    let now = admin.clock.now();
    if row.accepted_at.is_some() || row.revoked_at.is_some() || row.expires_at <= now {
        return Err(unknown());
    }
    let role = Role::named(&row.role).ok_or_else(unknown)?;
    let maker = held_by(store, &row.made_by).await?;
    let may = maker.holds(Permission::WriteMembers, &row.organization, &row.workspace);
    if !may || !maker.may_give(role, &row.organization, &row.workspace) {
        return Err(unknown());
    }
    Ok(row)
}

fn member(row: &InvitationRow, user: &policy::Name, now: policy::Timestamp) -> MemberRow {
    MemberRow {
        id: secrets::id("mem"),
        organization: row.organization.clone(),
        workspace: row.workspace.clone(),
        user: user.clone(),
        role: row.role.clone(),
        created_at: now,
    }
}

fn joined(member: &MemberRow) -> Value {
    json!({
        "member": member.id,
        "organization": member.organization,
        "workspace": (!member.workspace.is_empty()).then_some(&member.workspace),
        "role": member.role,
    })
}

async fn join(
    admin: &Admin,
    store: &Store,
    row: &InvitationRow,
    user: &store::UserRow,
) -> Result<Response, ApiError> {
    check_email(row, &user.email)?;
    check_domain(store, &row.organization, &user.email).await?;
    let member = member(row, &user.id, admin.clock.now());
    store.accept_invitation(&row.id, &member, None).await.map_err(taken)?;
    tracing::info!(invitation = %row.id, user = %user.id, "an invitation was accepted");
    Ok((StatusCode::CREATED, Json(joined(&member))).into_response())
}

async fn come_in(
    admin: &Admin,
    store: &Store,
    visitor: &Visitor,
    row: &InvitationRow,
    asked: Acceptance,
) -> Result<Response, ApiError> {
    let named = asked.email.as_deref().or((!row.email.is_empty()).then_some(&*row.email));
    let email =
        named.ok_or_else(|| ApiError::Invalid("email: say yours; the invitation names none".into()))?;
    let email = names::email(email)?;
    check_email(row, &email)?;
    check_domain(store, &row.organization, &email).await?;
    let name = asked.name.map(|name| names::name("name", &name)).transpose()?.unwrap_or_default();
    let password =
        asked.password.ok_or_else(|| ApiError::Invalid("password: choose one, or sign in first".into()))?;
    passwords::check(&password, &email)?;
    let kept = admin.identity.hashing.hash(&password).await?;
    let user = new_user(&email, &name, &kept, admin.clock.now());
    let entrance = begin_session(admin, visitor, &user.id, false, None);
    let member = member(row, &user.id, admin.clock.now());
    store.accept_invitation(&row.id, &member, Some((&user, &entrance.row))).await.map_err(taken)?;
    tracing::info!(invitation = %row.id, user = %user.id, "an invitation was accepted by somebody new");
    let mut body = joined(&member);
    body["user"] = json!({ "id": user.id, "email": user.email, "name": user.name });
    body["csrf_token"] = entrance.csrf.into();
    let cookie = visitor.cookie(&admin.identity, &entrance.secret, entrance.lasts);
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], Json(body)).into_response())
}

fn check_email(row: &InvitationRow, email: &str) -> Result<(), ApiError> {
    if row.email.is_empty() || *row.email == *email {
        return Ok(());
    }
    Err(ApiError::Forbidden("the invitation is for another e-mail".into()))
}

fn taken(error: StoreError) -> ApiError {
    match error {
        StoreError::Missing(_) => {
            ApiError::NotFound("this invitation is unknown, used, taken back or over".into())
        }
        StoreError::Exists(what) => {
            ApiError::Conflict(format!("{what} exists already; sign in first, then accept"))
        }
        other => other.into(),
    }
}
