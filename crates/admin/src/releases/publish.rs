//! Putting releases into force: for all, for some, back to an earlier one.
//!
//! All three are one thing, a further publication. It is in force here before the answer, and the answer says which other
//! gateways have said so as well; those that have not will, within a second of hearing of it.

use super::author;
use super::document::load;
use super::make::message;
use crate::caller::Caller;
use crate::environments::{percent, place};
use crate::live::Owner;
use crate::permissions::Permission;
use crate::read::Optional;
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::{Path, State};
use policy::{Bound, MILLION, Name, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{Approval, HostedEnvironment, PlaceRow, Publication, ReleaseRow, Store};

/// How long an answer waits for other gateways.
const OTHERS: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(25);
const MOST_USERS: usize = 1_000;

/// The body of `POST …/publish`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publish {
    /// Of end users; absent means all.
    percent: Option<f64>,
    /// End users who have it whatever the share is.
    #[serde(default)]
    users: Vec<String>,
    message: Option<String>,
}

/// The body of `POST …/rollback`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    message: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Published {
    environment: Name,
    release: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    /// Milliseconds until every gateway that lives said that it is in force there, or until this one stopped waiting.
    propagated_ms: u64,
    /// Other gateways that have not said so yet.
    waiting_for: Vec<Name>,
}

#[derive(Serialize)]
pub(crate) struct Approved {
    release: u64,
    approvals: Vec<Name>,
    /// How many are needed.
    needed: u8,
}

/// `POST /api/environments/{id}/releases/{number}/publish`.
pub(crate) async fn publish(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, number)): Path<(String, u64)>,
    Optional(asked): Optional<Publish>,
) -> Result<Json<Published>, ApiError> {
    let place = place(&admin, &caller, Permission::PublishReleases, &id).await?;
    let store = admin.store.load()?;
    let hosted = owned(&admin, &store, &place).await?;
    let row = load(&store, &place, number).await?;
    approved(&store, &place, &hosted, &row).await?;
    let bound = match &row.bound {
        Some(said) if !was_published(&store, &place, number).await? => Some(said.clone()),
        _ => None,
    };
    let trial = trial(&hosted, &row.document, bound.as_deref())?;
    admin.live.check_hosted(&trial).map_err(ApiError::Findings)?;
    let (by, why, now) = (author(&caller), message(asked.message.as_deref())?, admin.clock.now());
    let next = match share(asked.percent)? {
        MILLION => whole(&hosted, &row, now, &by, "publish", &why),
        share => {
            // What is bound is bound for all.
            if bound.is_some() && trial.bound != hosted.bound {
                return Err(ApiError::Conflict(format!(
                    "release {number} comes with other base URLs, credentials or budgets, which hold for all end users: publish it for all"
                )));
            }
            gradual(&hosted, &row, share, now, &by, &why)?
        }
    };
    choose(&store, &place, &asked.users, next.candidate.is_some()).await?;
    put(&admin, &store, &hosted, next, bound.as_deref()).await.map(Json)
}

/// `POST /api/environments/{id}/releases/{number}/rollback`.
pub(crate) async fn rollback(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, number)): Path<(String, u64)>,
    Optional(asked): Optional<Rollback>,
) -> Result<Json<Published>, ApiError> {
    let place = place(&admin, &caller, Permission::PublishReleases, &id).await?;
    let store = admin.store.load()?;
    let hosted = owned(&admin, &store, &place).await?;
    let row = load(&store, &place, number).await?;
    if !super::is_of_console(&row) {
        return Err(ApiError::Conflict(format!(
            "release {number} is of the time before the console owned this environment: apply its document (`tidegate releases show {number}`)"
        )));
    }
    if !was_published(&store, &place, number).await? {
        return Err(ApiError::Conflict(format!("release {number} was never in force: publish it instead")));
    }
    admin.live.check_hosted(&trial(&hosted, &row.document, None)?).map_err(ApiError::Findings)?;
    let why = message(asked.message.as_deref())?;
    let next = whole(&hosted, &row, admin.clock.now(), &author(&caller), "rollback", &why);
    put(&admin, &store, &hosted, next, None).await.map(Json)
}

/// `POST /api/environments/{id}/releases/{number}/approve`.
pub(crate) async fn approve(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, number)): Path<(String, u64)>,
) -> Result<Json<Approved>, ApiError> {
    let place = place(&admin, &caller, Permission::ApproveReleases, &id).await?;
    let store = admin.store.load()?;
    let hosted = owned(&admin, &store, &place).await?;
    let row = load(&store, &place, number).await?;
    if !caller.is_host() && caller.person().is_err() {
        return Err(ApiError::Refused(
            "own_release",
            "a release is approved by a person who is signed in".into(),
        ));
    }
    let name = author(&caller);
    let own = format!("({})", caller.user_id());
    if name == row.author || row.author.ends_with(&own) {
        return Err(ApiError::Refused(
            "own_release",
            "a release is approved by somebody else than who made it".into(),
        ));
    }
    let by = Approval { user: caller.user_id(), name: name.into(), at: admin.clock.now() };
    let handle = place.handle.clone();
    let kept = store.clone();
    admin.to_its_end("approve_release", async move { Ok(kept.approve(&handle, number, &by).await?) }).await?;
    let approvals = store.approvals(&place.handle, number).await?.into_iter().map(|by| by.name).collect();
    Ok(Json(Approved { release: number, approvals, needed: needed(&hosted) }))
}

/// The environment, if it is the console's.
async fn owned(admin: &Admin, store: &Store, place: &PlaceRow) -> Result<HostedEnvironment, ApiError> {
    let file = admin.live.owner(&place.handle) == Owner::File;
    let found = if file { None } else { store.find_hosted(&place.handle).await? };
    found.ok_or_else(|| {
        ApiError::Conflict(format!(
            "environment `{}` runs on what the settings describe: change it there, or give it a document of its own with \
             `tidegate apply` where no settings file describes it",
            place.name
        ))
    })
}

/// How many must approve a release.
fn needed(hosted: &HostedEnvironment) -> u8 {
    hosted.approvals.unwrap_or(0)
}

async fn approved(
    store: &Store,
    place: &PlaceRow,
    hosted: &HostedEnvironment,
    row: &ReleaseRow,
) -> Result<(), ApiError> {
    let needed = usize::from(needed(hosted));
    if needed == 0 {
        return Ok(());
    }
    let mut have = Vec::new();
    for approval in store.approvals(&place.handle, row.number).await? {
        // Whoever lost the right since has not approved anything.
        let holder = crate::access::held_by(store, &approval.user).await?;
        if holder.holds(Permission::ApproveReleases, &place.organization, &place.workspace) {
            have.push(approval.name);
        }
    }
    if have.len() >= needed {
        return Ok(());
    }
    Err(ApiError::Refused(
        "approval_needed",
        format!(
            "release {} needs {needed} approvals and has {}: `tidegate releases approve {}`",
            row.number,
            have.len(),
            row.number
        ),
    ))
}

async fn was_published(store: &Store, place: &PlaceRow, number: u64) -> Result<bool, ApiError> {
    let mut before = i64::MAX as u64;
    loop {
        let page = store.publications(&place.handle, before, 1_000).await?;
        let Some(last) = page.last() else { return Ok(false) };
        if page.iter().any(|one| one.stable == number || one.candidate == Some(number)) {
            return Ok(true);
        }
        before = last.seq;
    }
}

/// The environment as it would be with this document for all.
pub(super) fn trial(
    hosted: &HostedEnvironment,
    document: &str,
    bound: Option<&str>,
) -> Result<HostedEnvironment, ApiError> {
    Ok(HostedEnvironment {
        document: document.to_owned(),
        bound: bound_after(hosted, bound)?,
        candidate: None,
        publication: Publication { candidate: None, ..hosted.publication.clone() },
        ..hosted.clone()
    })
}

fn bound_after(hosted: &HostedEnvironment, said: Option<&str>) -> Result<String, ApiError> {
    let Some(said) = said else { return Ok(hosted.bound.clone()) };
    let read = |text: &str| Bound::read(text).map_err(|error| ApiError::Internal(error.to_string()));
    Ok(read(&hosted.bound)?.after(&read(said)?).to_string())
}

/// A release for all.
pub(super) fn whole(
    hosted: &HostedEnvironment,
    row: &ReleaseRow,
    at: Timestamp,
    author: &str,
    kind: &str,
    message: &str,
) -> Publication {
    Publication {
        seq: hosted.publication.seq + 1,
        at,
        kind: kind.into(),
        author: author.into(),
        message: message.to_owned(),
        stable: row.number,
        candidate: None,
        share: 0,
        salt: "".into(),
    }
}

/// A release for some. While a roll-out goes on its draw stays, so that whoever is in stays in.
fn gradual(
    hosted: &HostedEnvironment,
    row: &ReleaseRow,
    share: u32,
    at: Timestamp,
    author: &str,
    message: &str,
) -> Result<Publication, ApiError> {
    let now = &hosted.publication;
    if now.stable == row.number {
        return Err(ApiError::Conflict(format!("release {} is in force for all already", row.number)));
    }
    let salt = match now.candidate {
        Some(_) => now.salt.clone(),
        None => format!("{}/{}", hosted.handle, now.seq + 1).into(),
    };
    let kind = if now.candidate == Some(row.number) { "widen" } else { "publish" };
    let next = whole(hosted, row, at, author, kind, message);
    Ok(Publication { stable: now.stable, candidate: Some(row.number), share, salt, ..next })
}

fn share(percent: Option<f64>) -> Result<u32, ApiError> {
    match percent.unwrap_or(100.0) {
        // Of a million, as many as it says.
        percent if (0.0..=100.0).contains(&percent) => Ok((percent * 10_000.0).round() as u32),
        other => Err(ApiError::Invalid(format!("percent: `{other}` is not from 0 to 100"))),
    }
}

async fn choose(store: &Store, place: &PlaceRow, users: &[String], some: bool) -> Result<(), ApiError> {
    if users.is_empty() {
        return Ok(());
    }
    if !some {
        return Err(ApiError::Invalid(
            "users: a release that all have needs no list of users; say `percent`".into(),
        ));
    }
    if users.len() > MOST_USERS || users.iter().any(|user| user.is_empty() || user.len() > 256) {
        return Err(ApiError::Invalid(format!("users: at most {MOST_USERS}, of 1 to 256 bytes each")));
    }
    let users: Vec<Name> = users.iter().map(|user| user.as_str().into()).collect();
    Ok(store.choose(&place.handle, &users, Some("list")).await?)
}

/// The first publication of an environment that was the settings' until now.
pub(super) async fn host(
    admin: &Admin,
    store: &Store,
    mut hosted: HostedEnvironment,
    row: &ReleaseRow,
) -> Result<Published, ApiError> {
    hosted.publication.stable = row.number;
    hosted.publication.message.clone_from(&row.message);
    let (writer, first) = (store.clone(), hosted.clone());
    admin.to_its_end("host_environment", async move { Ok(writer.host(&first).await?) }).await?;
    in_force(admin, store, &hosted.handle, &hosted.publication).await
}

/// Puts it into force, here and then elsewhere.
pub(super) async fn put(
    admin: &Admin,
    store: &Store,
    hosted: &HostedEnvironment,
    next: Publication,
    bound: Option<&str>,
) -> Result<Published, ApiError> {
    let bound = match bound {
        Some(said) => Some(bound_after(hosted, Some(said))?),
        None => None,
    };
    let (writer, handle, said) = (store.clone(), hosted.handle.clone(), next.clone());
    admin
        .to_its_end(
            "publish_release",
            async move { Ok(writer.publish(&handle, &said, bound.as_deref()).await?) },
        )
        .await
        .map_err(|error| match error {
            ApiError::Conflict(_) => ApiError::Conflict(
                "somebody else published in this environment meanwhile; look, and try again".into(),
            ),
            other => other,
        })?;
    tracing::info!(environment = %hosted.handle, kind = %next.kind, release = next.stable, candidate = next.candidate, "release published");
    in_force(admin, store, &hosted.handle, &next).await
}

async fn in_force(
    admin: &Admin,
    store: &Store,
    environment: &Name,
    now: &Publication,
) -> Result<Published, ApiError> {
    let began = admin.clock.moment();
    let (revision, all) = store.hosted().await?;
    admin.live.take_hosted(revision, all);
    let mut waiting_for = others(admin, store, revision).await?;
    while !waiting_for.is_empty() && admin.clock.moment().since(began) < OTHERS {
        tokio::time::sleep(LOOK).await;
        waiting_for = others(admin, store, revision).await?;
    }
    let propagated = admin.clock.moment().since(began);
    Ok(Published {
        environment: environment.clone(),
        release: now.stable,
        candidate: now.candidate,
        percent: now.candidate.map(|_| percent(now.share)),
        propagated_ms: u64::try_from(propagated.as_millis()).unwrap_or(u64::MAX),
        waiting_for,
    })
}

/// Other gateways that live and do not serve this revision yet.
async fn others(admin: &Admin, store: &Store, revision: u64) -> Result<Vec<Name>, ApiError> {
    let nodes = store.nodes().await?;
    let own = admin.live.node();
    let late = nodes.into_iter().filter(|node| node.lives && node.revision < revision && node.id != own);
    Ok(late.map(|node| node.name).collect())
}
