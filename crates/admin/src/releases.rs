//! `GET /api/releases`: every accepted change of what an environment runs on, numbered.

use crate::caller::Caller;
use crate::permissions::Permission;
use crate::read::Asked;
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::{Path, State};
use policy::Name;
use serde::{Deserialize, Serialize};
use store::ReleaseRow;

/// The query of `GET /api/releases`.
pub(crate) const QUERY: &[(&str, &str)] =
    &[("environment", "Only this environment"), ("limit", "1 to 1000; absent means 50")];

/// The query of `GET /api/releases/{number}`.
pub(crate) const ONE_QUERY: &[(&str, &str)] = &[("environment", "Which environment; absent means `dev`")];

const MOST: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleasesQuery {
    environment: Option<String>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneQuery {
    environment: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct ReleaseList {
    releases: Vec<ReleaseView>,
}

#[derive(Serialize)]
pub(crate) struct ReleaseView {
    environment: Name,
    number: u64,
    at: String,
    source: String,
    checksum: String,
    message: String,
    /// Runs now in this process.
    current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
}

/// `GET /api/releases`.
pub(crate) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Asked(query): Asked<ReleasesQuery>,
) -> Result<Json<ReleaseList>, ApiError> {
    let limit = query.limit.unwrap_or(50);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::Invalid(format!("limit: `{limit}` is not between 1 and {MOST}")));
    }
    let limit = usize::try_from(limit).unwrap_or(50);
    let running = running(&admin);
    // Environments share one sequence of numbers, so a filter needs at most this many more.
    let (scope, asked) = (caller.scope(Permission::ReadReleases), query.environment);
    let asked = asked.map(|asked| caller.handle_of(&asked));
    let narrow = asked.is_some() || !caller.is_host();
    let fetched = if narrow { limit * running.len().max(1) } else { limit };
    let mut rows = admin.store.load()?.releases(fetched).await?;
    rows.retain(|row| {
        scope.contains(&row.environment) && asked.as_ref().is_none_or(|handle| row.environment == *handle)
    });
    rows.truncate(limit);
    Ok(Json(ReleaseList { releases: rows.into_iter().map(|row| view(row, &running, false)).collect() }))
}

/// `GET /api/releases/{number}`.
pub(crate) async fn one(
    State(admin): State<Admin>,
    caller: Caller,
    Path(number): Path<u64>,
    Asked(query): Asked<OneQuery>,
) -> Result<Json<ReleaseView>, ApiError> {
    let environment = caller.handle_of(query.environment.as_deref().unwrap_or("dev"));
    let found = admin.store.load()?.find_release(&environment, number).await?;
    let row = found
        .filter(|row| caller.scope(Permission::ReadReleases).contains(&row.environment))
        .ok_or_else(|| ApiError::NotFound(format!("environment `{environment}` has no release {number}")))?;
    Ok(Json(view(row, &running(&admin), true)))
}

fn running(admin: &Admin) -> Vec<(Name, u64)> {
    admin.live.state().environments.into_iter().map(|state| (state.name, state.release)).collect()
}

fn view(row: ReleaseRow, running: &[(Name, u64)], with_document: bool) -> ReleaseView {
    let current = running.iter().any(|(name, number)| *name == row.environment && *number == row.number);
    ReleaseView {
        environment: row.environment,
        number: row.number,
        at: row.at.to_string(),
        source: row.source,
        checksum: row.checksum,
        message: row.message,
        current,
        document: with_document.then_some(row.document),
    }
}
