//! Making a release: a document is checked, what is bound to the environment is taken out of it, and the rest gets a number.
//!
//! A release is never changed after that. Where the layer is `development` it is in force at once; elsewhere it waits to be
//! published.

use super::document::{identity, load, words};
use super::publish::{self, Published};
use super::{ReleaseView, author, checksum};
use crate::caller::{Caller, HOST_ORGANIZATION};
use crate::environments::{first, place};
use crate::live::Owner;
use crate::permissions::Permission;
use crate::read::Body;
use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use policy::{Bound, Layer, Timestamp};
use serde::{Deserialize, Serialize};
use store::{HostedEnvironment, PlaceRow, ReleaseRow, Store, StoreError};

/// The longest document, bytes.
pub(crate) const LONGEST: usize = 1024 * 1024;
const LONGEST_MESSAGE: usize = 500;
/// Somebody else may take a number first; not for ever.
const TRIES: u32 = 8;

/// The body of `POST /api/environments/{id}/releases`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRelease {
    document: String,
    message: Option<String>,
}

/// The body of `POST …/promote`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promotion {
    to: String,
    message: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct MadeRelease {
    release: ReleaseView,
    /// In force, where the layer publishes by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<Published>,
    /// What is probably not meant.
    warnings: Vec<String>,
}

/// `POST /api/environments/{id}/releases`.
pub(crate) async fn make(
    State(admin): State<Admin>,
    caller: Caller,
    Path(id): Path<String>,
    Body(asked): Body<NewRelease>,
) -> Result<(StatusCode, Json<MadeRelease>), ApiError> {
    let place = place(&admin, &caller, Permission::WriteReleases, &id).await?;
    let message = message(asked.message.as_deref())?;
    // The places of what is wrong are those of what was sent.
    // What is the host's own is named in its own organization alone, whoever writes it.
    let host =
        &*place.organization_handle == HOST_ORGANIZATION && caller.holds_process(Permission::UseHostSecrets);
    policy::parse_environment(&asked.document, "document", &identity(&place), host)
        .map_err(|findings| words(&findings))?;
    let (document, said) =
        Bound::split(&asked.document).map_err(|error| ApiError::Invalid(error.to_string()))?;
    let draft = Draft {
        document,
        bound: Some(said.to_string()),
        source: "console".to_owned(),
        message,
        author: author(&caller),
    };
    draft.keep(&admin, &caller, place).await
}

/// `POST /api/environments/{id}/releases/{number}/promote`: the same release in another environment, with what is bound there.
pub(crate) async fn promote(
    State(admin): State<Admin>,
    caller: Caller,
    Path((id, number)): Path<(String, u64)>,
    Body(asked): Body<Promotion>,
) -> Result<(StatusCode, Json<MadeRelease>), ApiError> {
    let from = place(&admin, &caller, Permission::ReadReleases, &id).await?;
    let to = place(&admin, &caller, Permission::WriteReleases, &asked.to).await?;
    if from.id == to.id {
        return Err(ApiError::Invalid("to: a release is promoted to another environment".into()));
    }
    let row = load(&admin.store.load()?, &from, number).await?;
    let document = match super::is_of_console(&row) {
        true => row.document,
        false => {
            let text = admin
                .live
                .export(&from.handle)
                .filter(|_| super::document::in_force(&admin, &from) == Ok(number));
            let text = text.ok_or_else(|| {
                ApiError::Conflict(
                    "of what a settings file describes only the release in force is promoted".into(),
                )
            })?;
            Bound::split(&text).map_err(|error| ApiError::Internal(error.to_string()))?.0
        }
    };
    let usual = format!("promoted from {} {number}", from.name);
    let draft = Draft {
        document,
        bound: None,
        source: format!("console, {usual}"),
        message: match message(asked.message.as_deref())? {
            said if said.is_empty() => usual,
            said => said,
        },
        author: author(&caller),
    };
    draft.keep(&admin, &caller, to).await
}

pub(super) fn message(said: Option<&str>) -> Result<String, ApiError> {
    let said = said.unwrap_or_default().trim();
    if said.chars().count() > LONGEST_MESSAGE || said.chars().any(|c| c.is_control() && c != '\n') {
        return Err(ApiError::Invalid(format!(
            "message: at most {LONGEST_MESSAGE} characters that can be seen"
        )));
    }
    Ok(said.to_owned())
}

/// A release before it has a number.
struct Draft {
    document: String,
    /// `None`: with what is bound already.
    bound: Option<String>,
    source: String,
    message: String,
    author: String,
}

impl Draft {
    async fn keep(
        self,
        admin: &Admin,
        caller: &Caller,
        place: PlaceRow,
    ) -> Result<(StatusCode, Json<MadeRelease>), ApiError> {
        if admin.live.owner(&place.handle) == Owner::File {
            return Err(ApiError::Conflict(format!(
                "environment `{}` is described by the settings file, which is the only place to change it",
                place.name
            )));
        }
        let store = admin.store.load()?;
        let known = store.find_hosted(&place.handle).await?;
        let builds = identity(&place).layer == Layer::Development;
        if known.is_none()
            && !builds
            && !caller.holds(Permission::PublishReleases, &place.organization, &place.workspace)
        {
            return Err(ApiError::Forbidden(
                "the first release of this environment is in force at once, which needs the permission `releases:publish`".into(),
            ));
        }
        let hosted = known.clone().unwrap_or_else(|| self.unknown(admin, &place));
        let trial = publish::trial(&hosted, &self.document, self.bound.as_deref())?;
        let warnings = admin.live.check_hosted(&trial).map_err(ApiError::Findings)?;
        let row = self.number(admin, &store, &place).await?;
        let published = match known {
            None => Some(publish::host(admin, &store, trial, &row).await?),
            Some(_) if builds && hosted.approvals.unwrap_or(0) == 0 => {
                let next = publish::whole(&hosted, &row, row.at, &row.author, "publish", &row.message);
                Some(publish::put(admin, &store, &hosted, next, self.bound.as_deref()).await?)
            }
            Some(_) => None,
        };
        tracing::info!(environment = %place.handle, release = row.number, by = %caller.user_id(), "release made");
        let running = super::running(admin);
        let release = super::view(row, &running, false);
        Ok((StatusCode::CREATED, Json(MadeRelease { release, published, warnings })))
    }

    /// An environment that runs on what was found, and has never been the console's.
    fn unknown(&self, admin: &Admin, place: &PlaceRow) -> HostedEnvironment {
        let identity = identity(place);
        let (mut hosted, _) = first(admin, place, identity.layer, identity.region, &self.author);
        hosted.document.clone_from(&self.document);
        hosted
    }

    /// Gives it the next number of its environment. The first release of one that was the settings' comes with its hosting.
    async fn number(&self, admin: &Admin, store: &Store, place: &PlaceRow) -> Result<ReleaseRow, ApiError> {
        for _ in 0..TRIES {
            let newest = store.releases_of(&place.handle, i64::MAX as u64, 1).await?;
            let row = self.row(place, newest.first().map_or(1, |row| row.number + 1), admin.clock.now());
            match store.insert_release(&row).await {
                Err(StoreError::Exists(_)) => continue,
                kept => return kept.map(|()| row).map_err(ApiError::from),
            }
        }
        Err(ApiError::Conflict("many releases of this environment are made at once; try again".into()))
    }

    fn row(&self, place: &PlaceRow, number: u64, at: Timestamp) -> ReleaseRow {
        ReleaseRow {
            environment: place.handle.clone(),
            number,
            at,
            source: self.source.clone(),
            checksum: checksum(&format!("{}\n{}", self.document, self.bound.as_deref().unwrap_or_default())),
            message: self.message.clone(),
            document: self.document.clone(),
            author: self.author.clone(),
            bound: self.bound.clone(),
        }
    }
}
