//! Who has which role: list, change, remove. Nobody gives or takes what they do not have themselves.

use crate::caller::Caller;
use crate::permissions::{Permission, Role};
use crate::read::{Asked, Body};
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::{Path, State};
use policy::Name;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{MemberRow, MemberView, Store, StoreError};

/// The query of lists that are of one organization.
pub(crate) const QUERY: &[(&str, &str)] =
    &[("organization", "Which organization, by id; absent means one's own, where there is one")];

/// Which organization.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfOrganization {
    organization: Option<String>,
}

/// The answer of `GET /api/members`.
#[derive(Serialize)]
pub(crate) struct MemberList {
    organization: Name,
    members: Vec<Member>,
}

#[derive(Serialize)]
pub(crate) struct Member {
    id: Name,
    organization: Name,
    workspace: Option<Name>,
    role: Name,
    user: Value,
    created_at: String,
}

/// The body of `PATCH /api/members/{id}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRole {
    role: String,
}

/// The organization that is asked for, where the caller holds the permission somewhere in it. One that they have no part in is
/// as if it did not exist.
pub(crate) async fn organization(
    store: &Store,
    caller: &Caller,
    asked: Option<&str>,
    permission: Permission,
) -> Result<Name, ApiError> {
    if caller.is_host() {
        let asked = asked.unwrap_or(crate::caller::HOST_ORGANIZATION);
        let found = store.find_organization(asked).await?;
        return found.map(|row| row.id).ok_or_else(|| unknown(asked));
    }
    let mut own: Vec<&Name> = caller.grants().iter().map(|grant| &grant.organization).collect();
    own.sort();
    own.dedup();
    let found = match (asked, own.as_slice()) {
        (Some(asked), own) => own.iter().copied().find(|id| ***id == *asked).ok_or_else(|| unknown(asked))?,
        (None, [only]) => *only,
        (None, _) => {
            return Err(ApiError::Invalid("organization: say which one; `GET /api/me` lists them".into()));
        }
    };
    if caller.holds_in(permission, found) {
        Ok(found.clone())
    } else {
        Err(ApiError::Forbidden(format!("this needs the permission `{}` there", permission.as_str())))
    }
}

fn unknown(asked: &str) -> ApiError {
    ApiError::NotFound(format!("no organization has the id `{}`", asked.escape_debug()))
}

/// The role of this name.
pub(crate) fn role(name: &str) -> Result<Role, ApiError> {
    Role::named(name).ok_or_else(|| {
        let known: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        ApiError::Invalid(format!("role: `{}` is not one of {}", name.escape_debug(), known.join(", ")))
    })
}

/// Refuses to give more than one has.
pub(crate) fn check_gift(
    caller: &Caller,
    role: Role,
    organization: &str,
    workspace: &str,
) -> Result<(), ApiError> {
    if caller.may_give(role, organization, workspace) {
        return Ok(());
    }
    Err(ApiError::Forbidden(format!(
        "the role `{}` may do there what you may not; nobody gives more than they have",
        role.as_str()
    )))
}

/// `GET /api/members`.
pub(crate) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Asked(query): Asked<OfOrganization>,
) -> Result<Json<MemberList>, ApiError> {
    let store = admin.store.load()?;
    let organization = organization(&store, &caller, query.named(), Permission::ReadMembers).await?;
    let mut members = store.members(&organization).await?;
    members.retain(|one| caller.holds(Permission::ReadMembers, &organization, &one.member.workspace));
    Ok(Json(MemberList { organization, members: members.into_iter().map(view).collect() }))
}

impl OfOrganization {
    pub(crate) fn named(&self) -> Option<&str> {
        self.organization.as_deref()
    }
}

fn view(one: MemberView) -> Member {
    let MemberRow { id, organization, workspace, user, role, created_at } = one.member;
    Member {
        id,
        organization,
        workspace: (!workspace.is_empty()).then_some(workspace),
        role,
        user: json!({ "id": user, "email": one.email, "name": one.name, "second_factor": one.second }),
        created_at: created_at.to_string(),
    }
}

/// `PATCH /api/members/{id}`: another role.
pub(crate) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
    Body(asked): Body<NewRole>,
) -> Result<Json<Value>, ApiError> {
    let store = admin.store.load()?;
    let role = role(&asked.role)?;
    let member = load(&store, &caller, &id).await?;
    check_gift(&caller, role, &member.organization, &member.workspace)?;
    store.set_role(&member, role.as_str()).await.map_err(last_owner)?;
    tracing::info!(member = %member.id, user = %member.user, role = role.as_str(), by = %caller.user_id(), "a role was changed");
    Ok(Json(json!({ "id": member.id, "role": role.as_str() })))
}

/// `DELETE /api/members/{id}`.
pub(crate) async fn remove(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let store = admin.store.load()?;
    let member = load(&store, &caller, &id).await?;
    store.drop_member(&member).await.map_err(last_owner)?;
    tracing::info!(member = %member.id, user = %member.user, by = %caller.user_id(), "a member was removed");
    Ok(Json(json!({ "ended": member.id })))
}

/// A member whom the caller may change: of a place where they may, and with a role that they could give.
async fn load(store: &Store, caller: &Caller, id: &str) -> Result<MemberRow, ApiError> {
    let found = store.find_member(id).await?;
    let reached =
        found.filter(|one| caller.holds(Permission::WriteMembers, &one.organization, &one.workspace));
    let member =
        reached.ok_or_else(|| ApiError::NotFound(format!("no member has the id `{}`", id.escape_debug())))?;
    // A role that this version does not know may do what it will; only an owner touches it.
    let held = Role::named(&member.role).unwrap_or(Role::Owner);
    check_gift(caller, held, &member.organization, &member.workspace)?;
    Ok(member)
}

fn last_owner(error: StoreError) -> ApiError {
    match error {
        StoreError::Missing(_) => {
            ApiError::Conflict("they are the last owner of the organization; make another owner first".into())
        }
        other => other.into(),
    }
}
