//! The doors, and what is found out about a caller at each: the owner-only socket in the data folder, whose file mode is the
//! proof, and the network, where a session's cookie or an API token is.
//!
//! A session rides on a cookie, which browsers send by themselves; so writes by cookie also bring the session's own CSRF
//! token, and an `Origin` that is told must be ours. A token rides on a header that no page of a stranger can set.

use crate::caller::{Caller, Grant, Held, Who};
use crate::identity::policy::OrganizationPolicy;
use crate::identity::secrets::{self, Kind};
use crate::identity::tokens::SERVICE;
use crate::permissions::{Permission, Role};
use crate::{Admin, ApiError};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, header};
use policy::{Name, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;
use store::{Membership, PlaceRow, Store, TokenRow, UserRow};

/// The name of a session's cookie.
pub(crate) const COOKIE: &str = "tidegate_session";
/// The header of the token that goes with it.
pub(crate) const CSRF: &str = "x-csrf-token";
/// A session that nobody uses is over.
pub(crate) const IDLE: Duration = Duration::from_secs(24 * 3600);
/// How exactly it is known when one was used last.
const GRAIN: Duration = Duration::from_secs(60);

/// The door by which a request came in.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Access {
    /// `data_dir/control.sock`, mode 0600: whoever can open it owns the process anyway.
    Socket,
    /// TCP.
    Network,
}

/// What stands before a route.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) admin: Admin,
    pub(crate) access: Access,
    pub(crate) permission: Permission,
}

/// Finds out who calls and lets them through, or not.
pub(crate) async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match admit(&guard, request.method(), request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

async fn admit(guard: &Guard, method: &Method, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let writes = !matches!(*method, Method::GET | Method::HEAD);
    let caller = match guard.access {
        Access::Socket => Caller::host(),
        Access::Network => {
            if writes && !headers.contains_key(header::AUTHORIZATION) {
                check_origin(headers)?;
            }
            match resolve(&guard.admin, writes, headers).await {
                // What is for all is also for whoever brings something that is worth nothing.
                Err(_) if guard.permission == Permission::Public => Caller::nobody(),
                found => found?,
            }
        }
    };
    caller.admit(guard.permission)?;
    Ok(caller)
}

/// Who sends these headers.
async fn resolve(admin: &Admin, writes: bool, headers: &HeaderMap) -> Result<Caller, ApiError> {
    if let Some(brought) = headers.get(header::AUTHORIZATION) {
        let token = brought.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
        return by_token(admin, token.unwrap_or_default().trim()).await;
    }
    match cookie(headers) {
        Some(secret) => by_session(admin, secret, writes, headers).await,
        None => Ok(Caller::nobody()),
    }
}

/// The session's secret, where a well-formed one is brought.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, secret) = pairs.find(|(name, secret)| *name == COOKIE && secrets::is_session(secret))?;
    Some(secret)
}

/// A page of somebody else's may not write here in the name of whoever looks at it. Programs tell no origin.
fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let named = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, named)| named);
    match (host, named) {
        (Some(host), Some(named)) if host.eq_ignore_ascii_case(named) => Ok(()),
        _ => Err(ApiError::Forbidden("the page that asks is not of this server (header `Origin`)".into())),
    }
}

async fn by_session(
    admin: &Admin,
    secret: &str,
    writes: bool,
    headers: &HeaderMap,
) -> Result<Caller, ApiError> {
    let store = admin.store.load()?;
    let hash = secrets::hash(&admin.pepper, Kind::Session, secret);
    let Some((session, user)) = store.find_session(&hash).await? else { return Err(ApiError::Unauthorized) };
    let now = admin.clock.now();
    let memberships = store.memberships(&user.id).await?;
    let longest = memberships.iter().filter_map(|one| OrganizationPolicy::read(&one.policy).session());
    let ends = longest.map(|span| session.created_at.plus(span)).chain([session.expires_at]).min();
    if ends.is_none_or(|ends| ends <= now) || session.seen_at.plus(IDLE) <= now {
        return Err(ApiError::Unauthorized);
    }
    if writes && !secrets::is_csrf(&admin.pepper, secret, headers.get(CSRF)) {
        return Err(ApiError::Forbidden(format!(
            "a write by cookie needs the session's token in `{CSRF}`; `GET /api/me` tells it"
        )));
    }
    if session.seen_at.plus(GRAIN) <= now {
        store.see_session(&session.id).await?;
    }
    let (grants, lacks_second) = grants_of(&memberships, session.second);
    let places = places_of(&store, &user, &grants).await?;
    let who = Who::Person(Box::new((session, user)));
    Ok(Caller::new(Held { who, grants, places, scopes: None, lacks_second }))
}

/// What a person's roles give. An organization that asks for a second factor gives nothing to whoever has not shown one.
fn grants_of(memberships: &[Membership], second: bool) -> (Vec<Grant>, bool) {
    let (mut grants, mut lacks) = (Vec::new(), false);
    for Membership { member, handle, policy, .. } in memberships {
        if OrganizationPolicy::read(policy).mfa_required && !second {
            lacks = true;
            continue;
        }
        // A role that this version does not know gives nothing.
        let Some(role) = Role::named(&member.role) else { continue };
        let (organization, workspace) = (member.organization.clone(), member.workspace.clone());
        grants.push(Grant { organization, handle: handle.clone(), workspace, role });
    }
    (grants, lacks)
}

async fn places_of(store: &Store, user: &UserRow, grants: &[Grant]) -> Result<Vec<PlaceRow>, ApiError> {
    if grants.is_empty() {
        return Ok(Vec::new());
    }
    Ok(store.places(None, Some(&user.id)).await?)
}

async fn by_token(admin: &Admin, secret: &str) -> Result<Caller, ApiError> {
    if !secrets::is_well_formed(Kind::Token, secret) {
        return Err(ApiError::Unauthorized);
    }
    let store = admin.store.load()?;
    let hash = secrets::hash(&admin.pepper, Kind::Token, secret);
    let token = store.find_token(&hash).await?.ok_or(ApiError::Unauthorized)?;
    let now = admin.clock.now();
    if token.expires_at.is_some_and(|ends| ends <= now) {
        return Err(ApiError::Unauthorized);
    }
    see_token(&store, &token, now).await?;
    let maker = match token.user.is_empty() {
        true => None,
        false => Some(store.find_user_by_id(&token.user).await?.ok_or(ApiError::Unauthorized)?),
    };
    let (mut grants, lacks_second) = match &maker {
        Some(user) => grants_of(&store.memberships(&user.id).await?, user.totp_since.is_some()),
        None => (vec![of_host(&store, &token).await?], false),
    };
    if &*token.kind == SERVICE {
        confine(&mut grants, &token.organization, &token.workspace);
    }
    let organization = (&*token.kind == SERVICE).then_some(&*token.organization);
    let user = maker.as_ref().map(|user| &*user.id);
    let places = if grants.is_empty() { Vec::new() } else { store.places(organization, user).await? };
    let scopes: BTreeSet<Permission> = token.scopes.split(',').filter_map(Permission::named).collect();
    let who = Who::Token(Box::new(token));
    Ok(Caller::new(Held { who, grants, places, scopes: Some(scopes), lacks_second }))
}

/// What a user may do now, wherever; of the host everything. For what was given by somebody before.
pub(crate) async fn held_by(store: &Store, user: &str) -> Result<Caller, ApiError> {
    if user.is_empty() {
        return Ok(Caller::host());
    }
    let found = store.find_user_by_id(user).await?;
    let Some(user) = found else { return Ok(Caller::nobody()) };
    let (grants, _) = grants_of(&store.memberships(&user.id).await?, user.totp_since.is_some());
    Ok(Caller::with(grants))
}

async fn see_token(store: &Store, token: &TokenRow, now: Timestamp) -> Result<(), ApiError> {
    if token.used_at.is_none_or(|used| used.plus(GRAIN) <= now) {
        store.see_token(&token.id).await?;
    }
    Ok(())
}

/// What the host gives a service token: everything, in its place.
async fn of_host(store: &Store, token: &TokenRow) -> Result<Grant, ApiError> {
    let found = store.find_organization(&token.organization).await?.ok_or(ApiError::Unauthorized)?;
    let (organization, workspace) = (token.organization.clone(), token.workspace.clone());
    Ok(Grant { organization, handle: found.handle, workspace, role: Role::Owner })
}

/// A service token works in its own place alone.
fn confine(grants: &mut Vec<Grant>, organization: &Name, workspace: &Name) {
    grants.retain(|grant| grant.organization == *organization);
    if workspace.is_empty() {
        return;
    }
    grants.retain(|grant| grant.workspace.is_empty() || grant.workspace == *workspace);
    for grant in grants {
        grant.workspace = workspace.clone();
    }
}
