//! Documents of releases: read, compared, handed out.

use crate::caller::Caller;
use crate::environments::place;
use crate::live::Owner;
use crate::permissions::Permission;
use crate::read::{Asked, Body};
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::{Path, State};
use policy::{Bound, Change, EnvironmentDocument, Finding, Identity, Layer};
use serde::{Deserialize, Serialize};
use store::{PlaceRow, ReleaseRow, Store};

/// The query of `GET …/diff`.
pub(crate) const DIFF_QUERY: &[(&str, &str)] =
    &[("against", "The release to compare with; absent means what is in force")];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiffQuery {
    against: Option<u64>,
}

/// The body of `POST /api/environments/{id}/diff`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proposed {
    document: String,
}

#[derive(Serialize)]
pub(crate) struct Difference {
    /// Field by field; empty where both mean the same.
    changes: Vec<ChangeView>,
}

#[derive(Serialize)]
pub(crate) struct ChangeView {
    #[serde(flatten)]
    change: Change,
    /// The change as people read it.
    words: String,
}

#[derive(Serialize)]
pub(crate) struct Exported {
    environment: policy::Name,
    owner: Owner,
    release: Option<u64>,
    /// TOML, with the bound values.
    document: String,
}

/// Who the environment is.
pub(super) fn identity(place: &PlaceRow) -> Identity {
    let layer = Layer::NAMES.iter().find(|(name, _)| **name == *place.layer);
    Identity {
        organization: place.organization_handle.clone(),
        workspace: place.workspace_handle.clone(),
        name: place.handle.clone(),
        layer: layer.map_or(Layer::Development, |(_, layer)| *layer),
        region: "local".into(),
    }
}

pub(super) fn words(findings: &[Finding]) -> ApiError {
    ApiError::Findings(findings.iter().map(ToString::to_string).collect())
}

/// What a release means. Of one that a settings file made: what the file said of this environment.
pub(super) fn read(
    place: &PlaceRow,
    row: &ReleaseRow,
    bound: &Bound,
) -> Result<EnvironmentDocument, ApiError> {
    let file = format!("release {}", row.number);
    if super::is_of_console(row) {
        let text = bound.over(&row.document).map_err(|error| ApiError::Internal(error.to_string()))?;
        return policy::parse_environment(&text, &file, &identity(place), true)
            .map(|(read, _)| read)
            .map_err(|findings| words(&findings));
    }
    let (document, _) = policy::settings::parse(&row.document, &file).map_err(|findings| words(&findings))?;
    let found = document.environments.into_iter().find(|environment| environment.name == place.handle);
    found
        .ok_or_else(|| ApiError::NotFound(format!("release {} says nothing of this environment", row.number)))
}

/// `GET /api/environments/{id}/releases/{number}/diff`.
pub(crate) async fn diff(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, number)): Path<(String, u64)>,
    Asked(query): Asked<DiffQuery>,
) -> Result<Json<Difference>, ApiError> {
    let place = place(&admin, &caller, Permission::ReadReleases, &id).await?;
    let store = admin.store.load()?;
    let against = match query.against {
        Some(number) => number,
        None => in_force(&admin, &place)?,
    };
    let (before, after) = (load(&store, &place, against).await?, load(&store, &place, number).await?);
    // What is bound is no part of a release, but what it comes with is put into force with it.
    let hosted = store.find_hosted(&place.handle).await?;
    let parsed = |text: &str| Bound::read(text).map_err(|error| ApiError::Internal(error.to_string()));
    let bound = parsed(hosted.as_ref().map_or("", |hosted| &hosted.bound))?;
    let said = after.bound.as_deref().map(parsed).transpose()?;
    let next = said.map_or_else(|| bound.clone(), |said| bound.after(&said));
    Ok(Json(difference(&read(&place, &before, &bound)?, &read(&place, &after, &next)?)))
}

/// `POST /api/environments/{id}/diff`: what a document would change.
pub(crate) async fn propose(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
    Body(asked): Body<Proposed>,
) -> Result<Json<Difference>, ApiError> {
    let place = place(&admin, &caller, Permission::ReadReleases, &id).await?;
    let proposed = policy::parse_environment(&asked.document, "document", &identity(&place), true)
        .map_err(|findings| words(&findings))?;
    let exported = text(&admin, &place).await?;
    let serving = policy::parse_environment(&exported.document, "in force", &identity(&place), true)
        .map_err(|findings| words(&findings))?;
    Ok(Json(difference(&serving.0, &proposed.0)))
}

fn difference(before: &EnvironmentDocument, after: &EnvironmentDocument) -> Difference {
    let changes = policy::changes(before, after);
    let view = |change: Change| ChangeView { words: change.to_string(), change };
    Difference { changes: changes.into_iter().map(view).collect() }
}

/// `GET /api/environments/{id}/export`.
pub(crate) async fn export(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Exported>, ApiError> {
    let place = place(&admin, &caller, Permission::ReadReleases, &id).await?;
    text(&admin, &place).await.map(Json)
}

async fn text(admin: &Admin, place: &PlaceRow) -> Result<Exported, ApiError> {
    let owner = admin.live.owner(&place.handle);
    let hosted = match owner {
        Owner::File => None,
        Owner::Console => admin.store.load()?.find_hosted(&place.handle).await?,
    };
    let document = match &hosted {
        Some(hosted) => {
            let bound = Bound::read(&hosted.bound).map_err(|error| ApiError::Internal(error.to_string()))?;
            bound.over(&hosted.document).map_err(|error| ApiError::Internal(error.to_string()))?
        }
        None => admin
            .live
            .export(&place.handle)
            .ok_or_else(|| ApiError::NotFound(format!("environment `{}` does not run here", place.name)))?,
    };
    let release = in_force(admin, place).ok();
    Ok(Exported { environment: place.handle.clone(), owner, release, document })
}

pub(super) fn in_force(admin: &Admin, place: &PlaceRow) -> Result<u64, ApiError> {
    let states = admin.live.state().environments;
    let state = states.iter().find(|state| state.name == place.handle);
    state
        .map(|state| state.release)
        .ok_or_else(|| ApiError::NotFound("this environment runs on no release here".into()))
}

pub(super) async fn load(store: &Store, place: &PlaceRow, number: u64) -> Result<ReleaseRow, ApiError> {
    let found = store.find_release(&place.handle, number).await?;
    found.ok_or_else(|| ApiError::NotFound(format!("environment `{}` has no release {number}", place.name)))
}
