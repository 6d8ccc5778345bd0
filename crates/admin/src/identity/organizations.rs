//! `GET` and `PATCH /api/organizations/{id}`: what an organization is called, and what it asks of its people.

use super::names;
use super::policy::OrganizationPolicy;
use crate::caller::{Caller, HOST_ORGANIZATION, Who};
use crate::permissions::Permission;
use crate::read::Body;
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::{Path, State};
use policy::{Currency, Money};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{OrganizationRow, Store};

const LONGEST_SESSION: u32 = 14 * 24;
const MOST_DOMAINS: usize = 100;

/// The body of `PATCH`: what is absent stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    name: Option<String>,
    policy: Option<OrganizationPolicy>,
}

/// `GET /api/organizations/{id}`.
pub(crate) async fn read(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let store = admin.store.load()?;
    let row = load(&store, &caller, &id, Permission::ReadOrganization).await?;
    Ok(Json(view(&row)))
}

/// `PATCH /api/organizations/{id}`: the policy is set as a whole.
pub(crate) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
    Body(asked): Body<Change>,
) -> Result<Json<Value>, ApiError> {
    let store = admin.store.load()?;
    let mut row = load(&store, &caller, &id, Permission::WriteOrganization).await?;
    if let Some(name) = asked.name {
        row.name = names::name("name", &name)?.into();
    }
    if let Some(policy) = asked.policy {
        check(&policy, &row, &caller)?;
        let text = serde_json::to_string(&policy).map_err(|error| ApiError::Internal(error.to_string()))?;
        row.policy = text.into();
    }
    store.set_organization(&row.id, &row.name, &row.policy).await?;
    tracing::info!(organization = %row.id, by = %caller.user_id(), "an organization's policy was set");
    Ok(Json(view(&row)))
}

async fn load(
    store: &Store,
    caller: &Caller,
    id: &str,
    permission: Permission,
) -> Result<OrganizationRow, ApiError> {
    let found = store.find_organization(id).await?;
    // A handle is no id.
    let found = found.filter(|row| *row.id == *id && caller.holds(permission, &row.id, ""));
    found.ok_or_else(|| ApiError::NotFound(format!("no organization has the id `{}`", id.escape_debug())))
}

fn view(row: &OrganizationRow) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "handle": row.handle,
        "policy": OrganizationPolicy::read(&row.policy),
        "created_at": row.created_at.to_string(),
    })
}

fn check(policy: &OrganizationPolicy, row: &OrganizationRow, caller: &Caller) -> Result<(), ApiError> {
    let refuse = |why: &str| Err(ApiError::Invalid(format!("policy.{why}")));
    if policy.session_hours.is_some_and(|hours| !(1..=LONGEST_SESSION).contains(&hours)) {
        return refuse("session_hours: between 1 and 336");
    }
    let domains = &policy.allowed_domains;
    let odd = |domain: &String| {
        domain.to_ascii_lowercase() != *domain || names::email(&format!("x@{domain}")).is_err()
    };
    if domains.len() > MOST_DOMAINS || domains.iter().any(odd) {
        return refuse("allowed_domains: at most 100, such as `example.com`, in small letters");
    }
    let host = &*row.handle == HOST_ORGANIZATION;
    if !host && (policy.open_sign_up.is_some() || policy.trial_credit.is_some()) {
        return refuse("open_sign_up, trial_credit: are said in the host's own organization");
    }
    let credit = policy.trial_credit.as_deref().map(|text| Money::parse(text, Currency::USD));
    if credit.is_some_and(|credit| credit.map_or(true, |money| money.nano <= 0)) {
        return refuse("trial_credit: an amount of USD above zero, such as \"5.00\"");
    }
    if policy.mfa_required && matches!(caller.who(), Who::Person(person) if !person.0.second) {
        return refuse("mfa_required: set up your own second factor first, or you lock yourself out");
    }
    Ok(())
}
