//! `GET /api/me`: who one is, and what one may do where.

use super::secrets;
use super::sign_in::Person;
use crate::access;
use crate::caller::{Caller, Who};
use crate::permissions::Permission;
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde_json::{Value, json};
use store::PlaceRow;

/// `GET /api/me`.
pub(crate) async fn read(
    State(admin): State<Admin>,
    headers: HeaderMap,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    let (via, user, csrf) = match caller.who() {
        Who::Host => ("socket", None, None),
        Who::Token(_) => ("token", None, None),
        Who::Person(person) => {
            let csrf = access::cookie(&headers).map(|secret| secrets::csrf(&admin.pepper, secret));
            ("session", Some(Person::of(&person.1)), csrf)
        }
        Who::Nobody => return Err(ApiError::Unauthorized),
    };
    let everywhere = Permission::given().filter(|permission| caller.admit(*permission).is_ok());
    Ok(Json(json!({
        "via": via,
        "user": user,
        "csrf_token": csrf,
        "second_factor_needed": caller.lacks_second(),
        "permissions": everywhere.map(Permission::as_str).collect::<Vec<_>>(),
        "memberships": memberships(&caller),
        "environments": caller.places().iter().filter_map(|place| environment(&caller, place)).collect::<Vec<_>>(),
    })))
}

fn memberships(caller: &Caller) -> Vec<Value> {
    let view = |grant: &crate::caller::Grant| {
        let held = Permission::given()
            .filter(|permission| caller.holds(*permission, &grant.organization, &grant.workspace));
        let name = caller.places().iter().find(|place| place.organization == grant.organization);
        json!({
            "organization": grant.organization,
            "organization_name": name.map(|place| &place.organization_name),
            "workspace": (!grant.workspace.is_empty()).then_some(&grant.workspace),
            "role": grant.role.as_str(),
            "permissions": held.map(Permission::as_str).collect::<Vec<_>>(),
        })
    };
    caller.grants().iter().map(view).collect()
}

/// An environment in which the caller may do something.
fn environment(caller: &Caller, place: &PlaceRow) -> Option<Value> {
    let held: Vec<&str> = Permission::given()
        .filter(|permission| caller.holds(*permission, &place.organization, &place.workspace))
        .map(Permission::as_str)
        .collect();
    (!held.is_empty()).then(|| {
        json!({
            "id": place.id,
            "name": place.name,
            "handle": place.handle,
            "layer": place.layer,
            "workspace": { "id": place.workspace, "name": place.workspace_name },
            "organization": { "id": place.organization, "name": place.organization_name },
            "permissions": held,
        })
    })
}
