//! API tokens: a person's own, and an organization's for its programs. A token asks for permissions by name, never for more
//! than its maker has, and loses what its maker loses.

use super::secrets::{self, Kind};
use super::{invitations, members, names};
use crate::caller::Caller;
use crate::permissions::Permission;
use crate::read::{Asked, Body};
use crate::{Admin, ApiError, spans};
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use policy::Name;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Store, StoreError, TokenRow};

/// The body of `POST /api/tokens`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    name: String,
    scopes: Vec<String>,
    expires_at: Option<String>,
}

/// The body of `POST /api/service-tokens`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewServiceToken {
    name: String,
    scopes: Vec<String>,
    organization: Option<String>,
    workspace: Option<String>,
    expires_at: Option<String>,
}

/// The answer of lists.
#[derive(Serialize)]
pub(crate) struct TokenList {
    tokens: Vec<Value>,
}

impl TokenList {
    fn of(rows: &[TokenRow]) -> Json<Self> {
        Json(Self { tokens: rows.iter().map(view).collect() })
    }
}

/// `POST /api/tokens`: one's own; the secret is told once.
pub(crate) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Body(asked): Body<NewToken>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let store = admin.store.load()?;
    let scopes = scopes(&asked.scopes)?;
    if let Some(missing) = scopes.iter().find(|permission| caller.admit(**permission).is_err()) {
        return Err(beyond(*missing));
    }
    let place = Place { kind: PERSONAL, organization: "".into(), workspace: "".into() };
    keep(&admin, &store, &caller, place, &asked.name, &scopes, asked.expires_at.as_deref()).await
}

/// `POST /api/service-tokens`: an organization's; the secret is told once.
pub(crate) async fn create_service(
    State(admin): State<Admin>,
    caller: Caller,
    Body(asked): Body<NewServiceToken>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let store = admin.store.load()?;
    let scopes = scopes(&asked.scopes)?;
    let named = asked.organization.as_deref();
    let organization = members::organization(&store, &caller, named, Permission::WriteTokens).await?;
    let workspace = invitations::workspace_of(&store, &organization, asked.workspace.as_deref()).await?;
    let mut needed = std::iter::once(Permission::WriteTokens).chain(scopes.iter().copied());
    if let Some(missing) = needed.find(|permission| !caller.holds(*permission, &organization, &workspace)) {
        return Err(beyond(missing));
    }
    let place = Place { kind: SERVICE, organization, workspace: workspace.into() };
    keep(&admin, &store, &caller, place, &asked.name, &scopes, asked.expires_at.as_deref()).await
}

const PERSONAL: &str = "personal";
pub(crate) const SERVICE: &str = "service";

/// What a token belongs to.
struct Place {
    kind: &'static str,
    organization: Name,
    workspace: Name,
}

async fn keep(
    admin: &Admin,
    store: &Store,
    caller: &Caller,
    place: Place,
    name: &str,
    scopes: &[Permission],
    expires_at: Option<&str>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let now = admin.clock.now();
    let secret = secrets::mint(Kind::Token);
    let words: Vec<&str> = scopes.iter().map(|permission| permission.as_str()).collect();
    let row = TokenRow {
        id: secrets::id("tok"),
        kind: place.kind.into(),
        organization: place.organization,
        workspace: place.workspace,
        user: caller.user_id(),
        name: names::name("name", name)?.into(),
        hash: secrets::hash(&admin.pepper, Kind::Token, secret.expose()),
        hint: secrets::hint(&secret).into(),
        scopes: words.join(",").into(),
        created_at: now,
        expires_at: spans::expiry(expires_at, now)?,
        used_at: None,
        revoked_at: None,
    };
    store.insert_token(&row).await?;
    tracing::info!(token = %row.id, kind = %row.kind, by = %row.user, "a token was made");
    let mut body = view(&row);
    body["secret"] = secret.expose().into();
    Ok((StatusCode::CREATED, Json(body)))
}

fn beyond(missing: Permission) -> ApiError {
    let word = missing.as_str();
    ApiError::Forbidden(format!(
        "scopes: you do not hold `{word}` there yourself; nobody gives more than they have"
    ))
}

fn scopes(words: &[String]) -> Result<Vec<Permission>, ApiError> {
    let given: Vec<Permission> = Permission::given().collect();
    let one = |word: &String| {
        Permission::named(word).filter(|permission| given.contains(permission)).ok_or_else(|| {
            let known: Vec<&str> = given.iter().map(|permission| permission.as_str()).collect();
            ApiError::Invalid(format!("scopes: `{}` is not one of {}", word.escape_debug(), known.join(", ")))
        })
    };
    let mut scopes = words.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    scopes.sort();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(ApiError::Invalid("scopes: name at least one permission".into()));
    }
    Ok(scopes)
}

fn view(row: &TokenRow) -> Value {
    json!({
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "hint": row.hint,
        "organization": (!row.organization.is_empty()).then_some(&row.organization),
        "workspace": (!row.workspace.is_empty()).then_some(&row.workspace),
        "scopes": row.scopes.split(',').collect::<Vec<_>>(),
        "made_by": (!row.user.is_empty()).then_some(&row.user),
        "created_at": row.created_at.to_string(),
        "expires_at": row.expires_at.map(|at| at.to_string()),
        "used_at": row.used_at.map(|at| at.to_string()),
    })
}

/// `GET /api/tokens`: one's own.
pub(crate) async fn list(State(admin): State<Admin>, caller: Caller) -> Result<Json<TokenList>, ApiError> {
    let (_, user) = caller.person()?;
    Ok(TokenList::of(&admin.store.load()?.tokens(&user.id, "").await?))
}

/// `GET /api/service-tokens`: those of an organization.
pub(crate) async fn list_service(
    State(admin): State<Admin>,
    caller: Caller,
    Asked(query): Asked<members::OfOrganization>,
) -> Result<Json<TokenList>, ApiError> {
    let store = admin.store.load()?;
    let organization = members::organization(&store, &caller, query.named(), Permission::ReadTokens).await?;
    let mut rows = store.tokens("", &organization).await?;
    rows.retain(|row| caller.holds(Permission::ReadTokens, &row.organization, &row.workspace));
    Ok(TokenList::of(&rows))
}

/// `DELETE /api/tokens/{id}`: one of one's own, at once.
pub(crate) async fn revoke(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (_, user) = caller.person()?;
    let own = |row: &TokenRow| &*row.kind == PERSONAL && row.user == user.id;
    end(&admin, &caller, &id, own).await
}

/// `DELETE /api/service-tokens/{id}`: at once.
pub(crate) async fn revoke_service(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let reached = |row: &TokenRow| {
        &*row.kind == SERVICE && caller.holds(Permission::WriteTokens, &row.organization, &row.workspace)
    };
    end(&admin, &caller, &id, reached).await
}

/// Takes back a token that is within reach; any other is as if it did not exist.
async fn end(
    admin: &Admin,
    caller: &Caller,
    id: &str,
    reached: impl Fn(&TokenRow) -> bool,
) -> Result<Json<Value>, ApiError> {
    let store = admin.store.load()?;
    let unknown = || ApiError::NotFound(format!("no token has the id `{}`", id.escape_debug()));
    let row = store.find_token_by_id(id).await?.filter(reached).ok_or_else(unknown)?;
    let gone = |error| match error {
        StoreError::Missing(_) => unknown(),
        other => ApiError::from(other),
    };
    store.revoke_token(&row.id).await.map_err(gone)?;
    tracing::info!(token = %row.id, by = %caller.user_id(), "a token was revoked");
    Ok(Json(json!({ "ended": row.id })))
}
