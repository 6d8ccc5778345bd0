//! Environments: what there is, what each runs on, and how one is made.
//!
//! Each has one owner. What the settings file describes is the file's, and read-only here; all others are the console's. Which
//! one an id means is found out in one place, within what the caller may do there: what is another tenant's is not found.

use crate::caller::{Caller, HOST_ORGANIZATION};
use crate::identity::{names, secrets};
use crate::live::{EnvironmentState, Owner};
use crate::permissions::Permission;
use crate::read::Body;
use crate::releases::author;
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use policy::{Layer, Name};
use serde::{Deserialize, Serialize};
use store::{HostedEnvironment, PlaceRow, Publication, ReleaseRow, Store};

/// What a new environment's first release says.
const FIRST: &str = "# Providers, routes, limits and guardrails of this environment.\n";
/// No release is before it.
const FIRST_RELEASE: u64 = 1;
/// More approvals than anybody asks for.
const MOST_APPROVALS: u8 = 10;

/// The body of `POST /api/environments`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEnvironment {
    name: String,
    layer: String,
    region: Option<String>,
    workspace: Option<String>,
}

/// The body of `PATCH /api/environments/{id}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnvironmentChange {
    /// `null`: as the layer has it.
    #[serde(deserialize_with = "Option::deserialize")]
    approvals: Option<u8>,
}

#[derive(Serialize)]
pub(crate) struct EnvironmentList {
    environments: Vec<EnvironmentView>,
}

#[derive(Serialize)]
pub(crate) struct EnvironmentAlone {
    environment: EnvironmentView,
}

#[derive(Serialize)]
pub(crate) struct EnvironmentView {
    id: Name,
    /// Its name in keys, logs and headers.
    handle: Name,
    name: Name,
    layer: Name,
    region: Option<Name>,
    organization: Name,
    workspace: Name,
    owner: Owner,
    /// The release that it runs on; absent where it does not run here.
    release: Option<u64>,
    /// The release that some of its end users have.
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<u64>,
    /// Of how many percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    /// How many must approve a release before it is published.
    approvals: Option<u8>,
    /// Why it does not run on what was published.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trouble: Vec<String>,
}

/// The environment that is meant by an id, a handle or a name, where the caller holds the permission.
pub(crate) async fn place(
    admin: &Admin,
    caller: &Caller,
    permission: Permission,
    asked: &str,
) -> Result<PlaceRow, ApiError> {
    let mut places = visible(&admin.store.load()?, caller, permission).await?;
    let exact = places.iter().position(|place| *place.id == *asked || *place.handle == *asked);
    // To whoever owns the process everything is visible, but a name is one of the host's own: others choose theirs freely.
    let own = |place: &PlaceRow| !caller.is_host() || &*place.organization_handle == HOST_ORGANIZATION;
    let named = || {
        let mut named = (0..places.len()).filter(|at| *places[*at].name == *asked && own(&places[*at]));
        named.next().filter(|_| named.next().is_none())
    };
    match exact.or_else(named) {
        Some(at) => Ok(places.swap_remove(at)),
        None => Err(ApiError::NotFound(format!("there is no environment `{asked}`"))),
    }
}

/// The handle of the environment that is meant, for filters: what is unknown is looked for as it was written.
pub(crate) async fn find(
    admin: &Admin,
    caller: &Caller,
    permission: Permission,
    asked: &str,
) -> Result<Option<Name>, ApiError> {
    match place(admin, caller, permission, asked).await {
        Ok(place) => Ok(Some(place.handle)),
        Err(ApiError::NotFound(_)) => Ok(Some(asked.into())),
        Err(other) => Err(other),
    }
}

/// All environments where the caller holds the permission.
async fn visible(store: &Store, caller: &Caller, permission: Permission) -> Result<Vec<PlaceRow>, ApiError> {
    let places = if caller.is_host() { store.places(None, None).await? } else { caller.places().to_vec() };
    let holds = |place: &PlaceRow| caller.holds(permission, &place.organization, &place.workspace);
    Ok(places.into_iter().filter(holds).collect())
}

/// `GET /api/environments`.
pub(crate) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
) -> Result<Json<EnvironmentList>, ApiError> {
    let store = admin.store.load()?;
    let places = visible(&store, &caller, Permission::ReadReleases).await?;
    let (_, hosted) = store.hosted().await?;
    let states = admin.live.state().environments;
    let view = |place: &PlaceRow| {
        let own = hosted.iter().find(|hosted| hosted.handle == place.handle);
        view(&admin, place, own, &states)
    };
    Ok(Json(EnvironmentList { environments: places.iter().map(view).collect() }))
}

/// `GET /api/environments/{id}`.
pub(crate) async fn one(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<EnvironmentAlone>, ApiError> {
    let place = place(&admin, &caller, Permission::ReadReleases, &id).await?;
    let hosted = admin.store.load()?.find_hosted(&place.handle).await?;
    let states = admin.live.state().environments;
    Ok(Json(EnvironmentAlone { environment: view(&admin, &place, hosted.as_ref(), &states) }))
}

fn view(
    admin: &Admin,
    place: &PlaceRow,
    hosted: Option<&HostedEnvironment>,
    states: &[EnvironmentState],
) -> EnvironmentView {
    let owner = admin.live.owner(&place.handle);
    let state = states.iter().find(|state| state.name == place.handle);
    let rollout = hosted.filter(|hosted| owner == Owner::Console && hosted.publication.candidate.is_some());
    EnvironmentView {
        id: place.id.clone(),
        handle: place.handle.clone(),
        name: place.name.clone(),
        layer: place.layer.clone(),
        region: state
            .map(|state| state.region.clone())
            .or_else(|| hosted.map(|hosted| hosted.region.clone())),
        organization: place.organization.clone(),
        workspace: place.workspace.clone(),
        owner,
        release: state.map(|state| state.release),
        candidate: rollout.and_then(|hosted| hosted.publication.candidate),
        percent: rollout.map(|hosted| percent(hosted.publication.share)),
        approvals: hosted.and_then(|hosted| hosted.approvals),
        trouble: admin.live.trouble(&place.handle),
    }
}

/// Millionths as percent.
pub(crate) fn percent(share: u32) -> f64 {
    f64::from(share) / 10_000.0
}

/// `POST /api/environments`.
pub(crate) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    Body(asked): Body<NewEnvironment>,
) -> Result<(StatusCode, Json<EnvironmentAlone>), ApiError> {
    let name: Name = names::name("name", &asked.name)?.into();
    let region: Name = asked
        .region
        .map(|region| names::name("region", &region))
        .transpose()?
        .unwrap_or_else(|| "local".into())
        .into();
    let layer = layer(&asked.layer)?;
    let store = admin.store.load()?;
    let beside = workspace(&store, &caller, asked.workspace.as_deref()).await?;
    let id = secrets::id("env");
    let place = PlaceRow { id: id.clone(), handle: id, name, layer: layer.as_str().into(), ..beside };
    let (hosted, release) = first(&admin, &place, layer, region, &author(&caller));
    admin.live.check_hosted(&hosted).map_err(ApiError::Findings)?;
    let (made, first) = (place.clone(), hosted.clone());
    let live = admin.live.clone();
    admin
        .to_its_end("create_environment", async move {
            store.host_new(&made, &first, &release).await?;
            let (revision, all) = store.hosted().await?;
            live.take_hosted(revision, all);
            Ok(())
        })
        .await?;
    tracing::info!(environment = %place.handle, name = %place.name, layer = %place.layer, "environment created");
    let states = admin.live.state().environments;
    let environment = view(&admin, &place, Some(&hosted), &states);
    Ok((StatusCode::CREATED, Json(EnvironmentAlone { environment })))
}

fn layer(asked: &str) -> Result<Layer, ApiError> {
    let found = Layer::NAMES.iter().find(|(name, _)| *name == asked);
    found.map(|(_, layer)| *layer).ok_or_else(|| {
        let known: Vec<&str> = Layer::NAMES.iter().map(|(name, _)| *name).collect();
        ApiError::Invalid(format!("layer: `{asked}` is not one of {}", known.join(", ")))
    })
}

/// A place in the workspace that is meant; the caller's first one where none is named.
async fn workspace(store: &Store, caller: &Caller, asked: Option<&str>) -> Result<PlaceRow, ApiError> {
    let places = visible(store, caller, Permission::WriteEnvironments).await?;
    let fits = |place: &&PlaceRow| {
        asked.is_none_or(|asked| *place.workspace == *asked || *place.workspace_handle == *asked)
    };
    places.iter().find(fits).cloned().ok_or_else(|| match asked {
        Some(asked) => ApiError::NotFound(format!("there is no workspace `{asked}`")),
        None => ApiError::NotFound("there is no workspace to make an environment in".into()),
    })
}

/// A new environment with the release that it begins with.
pub(crate) fn first(
    admin: &Admin,
    place: &PlaceRow,
    layer: Layer,
    region: Name,
    author: &str,
) -> (HostedEnvironment, ReleaseRow) {
    let at = admin.clock.now();
    let publication = Publication {
        seq: 1,
        at,
        kind: "publish".into(),
        author: author.into(),
        message: "first release".into(),
        stable: FIRST_RELEASE,
        candidate: None,
        share: 0,
        salt: "".into(),
    };
    let release = ReleaseRow {
        environment: place.handle.clone(),
        number: FIRST_RELEASE,
        at,
        source: "console".into(),
        checksum: crate::releases::checksum(FIRST),
        message: "first release".into(),
        document: FIRST.into(),
        author: author.into(),
        bound: None,
    };
    let hosted = HostedEnvironment {
        handle: place.handle.clone(),
        organization: place.organization_handle.clone(),
        workspace: place.workspace_handle.clone(),
        name: place.name.clone(),
        layer,
        region,
        approvals: None,
        bound: String::new(),
        publication,
        document: FIRST.into(),
        candidate: None,
        chosen: Vec::new(),
    };
    (hosted, release)
}

/// `PATCH /api/environments/{id}`.
pub(crate) async fn change(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
    Body(asked): Body<EnvironmentChange>,
) -> Result<Json<EnvironmentAlone>, ApiError> {
    let place = place(&admin, &caller, Permission::WriteEnvironments, &id).await?;
    if asked.approvals.is_some_and(|wanted| wanted > MOST_APPROVALS) {
        return Err(ApiError::Invalid(format!("approvals: at most {MOST_APPROVALS}")));
    }
    let store = admin.store.load()?;
    let handle = place.handle.clone();
    admin
        .to_its_end(
            "change_environment",
            async move { Ok(store.set_approvals(&handle, asked.approvals).await?) },
        )
        .await?;
    one(State(admin), caller, Path(place.id.to_string())).await
}
