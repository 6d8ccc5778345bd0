//! Releases: every version of what an environment runs on, numbered; made, compared, published and taken back.

pub(crate) mod document;
pub(crate) mod make;
pub(crate) mod publish;

use crate::caller::{Caller, Who};
use crate::permissions::Permission;
use crate::read::Asked;
use crate::{Admin, ApiError, environments};
use axum::Json;
use axum::extract::{Path, State};
use policy::Name;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
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
    /// Who made it; absent where it is not known.
    #[serde(skip_serializing_if = "String::is_empty")]
    author: String,
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
    let asked = match asked {
        Some(asked) => environments::find(&admin, &caller, Permission::ReadReleases, &asked).await?,
        None => None,
    };
    let store = admin.store.load()?;
    let mut rows = match &asked {
        Some(handle) => store.releases_of(handle, i64::MAX as u64, limit).await?,
        // Environments of one settings file share a sequence of numbers.
        None => store.releases(if caller.is_host() { limit } else { limit * running.len().max(1) }).await?,
    };
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
    let asked = query.environment.as_deref().unwrap_or("dev");
    let place = environments::place(&admin, &caller, Permission::ReadReleases, asked).await?;
    let row = document::load(&admin.store.load()?, &place, number).await?;
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
        author: row.author,
        current,
        document: with_document.then_some(row.document),
    }
}

/// Whether the console made it, and not a settings file.
pub(crate) fn is_of_console(row: &ReleaseRow) -> bool {
    row.source == "console" || row.source.starts_with("console, ")
}

/// Whoever makes a change, as people read it.
pub(crate) fn author(caller: &Caller) -> String {
    match caller.who() {
        Who::Host => "host".to_owned(),
        Who::Nobody => String::new(),
        Who::Person(person) => person.1.email.to_string(),
        Who::Token(token) => format!("token {} ({})", token.name, token.user),
    }
}

/// Of a document, in hexadecimal: equal texts have equal ones.
pub(crate) fn checksum(document: &str) -> String {
    policy::KeyHash(Sha256::digest(document.as_bytes()).into()).hex()
}
