//! Environments that the console owns, and what each runs on.
//!
//! A release never changes. What is in force is said by *publications*, one after the other: each names the release that all
//! run on, and where a new one is put into force gradually, that one and for how many. So publishing, widening and going back
//! are one thing, history is the table, and of two who publish at once the second is told.

use policy::{Layer, Name, Timestamp};
use serde::{Deserialize, Serialize};

use crate::releases::ReleaseRow;
use crate::statements::{hosting, text};
use crate::value::{Row, Value};
use crate::{PlaceRow, Step, Store, StoreError};

/// What an environment runs on, from one moment on.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Publication {
    /// From 1 on, in its environment.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// `publish`, `widen`, `rollback`, `bind`.
    pub kind: Name,
    /// Who, for people.
    pub author: Name,
    /// Why; may be empty.
    pub message: String,
    /// The release of all.
    pub stable: u64,
    /// The release of some.
    pub candidate: Option<u64>,
    /// Of how many of a million.
    pub share: u32,
    /// What their draw is made with.
    pub salt: Name,
}

/// An environment that the console owns, with all that a gateway needs to serve it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct HostedEnvironment {
    /// The name that keys, records and logs have for it.
    pub handle: Name,
    /// The tenant's handle.
    pub organization: Name,
    /// The workspace's handle.
    pub workspace: Name,
    /// For people.
    pub name: Name,
    /// Its class.
    pub layer: Layer,
    /// Where its data stays.
    pub region: Name,
    /// How many must approve a release; `None`: as the layer has it.
    pub approvals: Option<u8>,
    /// What is bound to it; see `policy::settings::Bound`.
    pub bound: String,
    /// What is in force.
    pub publication: Publication,
    /// The release of all, TOML without the bound values.
    pub document: String,
    /// The release of some.
    pub candidate: Option<String>,
    /// End users who have the next release whatever its share is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<Name>,
}

/// Somebody who has approved a release.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Approval {
    /// The user's id; empty for the host's owner.
    #[serde(skip)]
    pub user: Name,
    /// For people.
    pub name: Name,
    /// When.
    #[serde(skip)]
    pub at: Timestamp,
}

impl Store {
    /// How often that which gateways must know has changed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn revision(&self) -> Result<u64, StoreError> {
        let rows = self.fetch(&hosting::REVISION, Vec::new()).await?;
        rows.into_iter().next().map_or(Ok(0), |mut row| row.count())
    }

    /// Every environment that the console owns, by handle, and a revision that they are at least of.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn hosted(&self) -> Result<(u64, Vec<HostedEnvironment>), StoreError> {
        let revision = self.revision().await?;
        let rows = self.fetch(&hosting::HOSTED, vec!["".into()]).await?;
        let mut all = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        for mut row in self.fetch(&hosting::CHOSEN_USERS, vec!["".into()]).await? {
            let (environment, user) = (row.text()?, row.text()?);
            if let Ok(at) = all.binary_search_by(|hosted| hosted.handle.cmp(&environment)) {
                all[at].chosen.push(user);
            }
        }
        Ok((revision, all))
    }

    /// One of them, by its handle.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_hosted(&self, handle: &str) -> Result<Option<HostedEnvironment>, StoreError> {
        let Some(row) = self.fetch(&hosting::HOSTED, vec![handle.into()]).await?.into_iter().next() else {
            return Ok(None);
        };
        let mut hosted = read(row)?;
        for mut row in self.fetch(&hosting::CHOSEN_USERS, vec![handle.into()]).await? {
            let (_, user) = (row.text()?, row.text()?);
            hosted.chosen.push(user);
        }
        Ok(Some(hosted))
    }

    /// From now on the console owns this environment, which runs on a release that is there.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when it owned it already.
    pub async fn host(&self, hosted: &HostedEnvironment) -> Result<(), StoreError> {
        let mut steps = vec![Step::any(&hosting::BUMP_REVISION, Vec::new())];
        steps.extend(self.hosting(hosted));
        self.together(steps).await
    }

    /// Makes an environment in a workspace that is there, with its first release.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the workspace has an environment of that name.
    pub async fn host_new(
        &self,
        place: &PlaceRow,
        hosted: &HostedEnvironment,
        release: &ReleaseRow,
    ) -> Result<(), StoreError> {
        let values = vec![
            Value::from(&place.id),
            (&place.workspace).into(),
            (&place.name).into(),
            (&place.layer).into(),
            (&place.handle).into(),
            self.clock.now().into(),
        ];
        let mut steps = vec![
            Step::any(&hosting::BUMP_REVISION, Vec::new()),
            Step::must(
                &hosting::ADD_ENVIRONMENT,
                values,
                "name in this workspace that is free for another environment",
            ),
        ];
        steps.extend(self.first(hosted, release));
        self.together(steps).await
    }

    /// What makes an environment the console's, from its first release on.
    pub(crate) fn first(&self, hosted: &HostedEnvironment, release: &ReleaseRow) -> Vec<Step> {
        let mut steps = vec![Step::any(&text::INSERT_RELEASE, release.values())];
        steps.extend(self.hosting(hosted));
        steps
    }

    fn hosting(&self, hosted: &HostedEnvironment) -> [Step; 2] {
        let values = vec![
            Value::from(&hosted.handle),
            Value::from(&hosted.region),
            hosted.approvals.map(u64::from).into(),
            hosted.bound.as_str().into(),
            self.clock.now().into(),
        ];
        [
            Step::any(&hosting::INSERT_HOSTED, values),
            Step::any(&hosting::INSERT_PUBLICATION, publication(&hosted.handle, &hosted.publication)),
        ]
    }

    /// Puts something else into force; `bound`: with other bound values.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when somebody else did so meanwhile: the number is taken. [`StoreError::Missing`] when the console
    /// does not own the environment.
    pub async fn publish(
        &self,
        environment: &str,
        next: &Publication,
        bound: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut steps = vec![
            Step::any(&hosting::BUMP_REVISION, Vec::new()),
            Step::any(&hosting::INSERT_PUBLICATION, publication(environment, next)),
        ];
        if let Some(bound) = bound {
            let values = vec![environment.into(), bound.into()];
            steps.push(Step::must(&hosting::SET_BOUND, values, "environment that the console owns"));
        }
        self.together(steps).await.map_err(|error| match error {
            StoreError::Exists(_) => {
                StoreError::Exists(format!("publication {} of environment `{environment}`", next.seq))
            }
            other => other,
        })
    }

    /// What was in force, the newest first, before publication `before`, at most `limit`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn publications(
        &self,
        environment: &str,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Publication>, StoreError> {
        let values = vec![environment.into(), before.into(), Value::from(limit as u64)];
        self.fetch(&hosting::PUBLICATIONS, values)
            .await?
            .into_iter()
            .map(|mut row| read_publication(&mut row))
            .collect()
    }

    /// The releases of an environment, the newest first, before release `before`, at most `limit`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn releases_of(
        &self,
        environment: &str,
        before: u64,
        limit: usize,
    ) -> Result<Vec<ReleaseRow>, StoreError> {
        let values = vec![environment.into(), before.into(), Value::from(limit as u64)];
        self.fetch(&hosting::RELEASES_OF, values).await?.into_iter().map(crate::releases::read).collect()
    }

    /// How many must approve a release of an environment.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the console does not own it.
    pub async fn set_approvals(&self, environment: &str, approvals: Option<u8>) -> Result<(), StoreError> {
        let values = vec![environment.into(), approvals.map(u64::from).into()];
        self.together(vec![Step::must(&hosting::SET_APPROVALS, values, "environment that the console owns")])
            .await
    }

    /// Notes that somebody approves a release; twice is once.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn approve(&self, environment: &str, number: u64, by: &Approval) -> Result<(), StoreError> {
        let values =
            vec![environment.into(), number.into(), (&by.user).into(), (&by.name).into(), by.at.into()];
        self.execute(&hosting::INSERT_APPROVAL, values).await.map(drop)
    }

    /// Who has approved a release, the first one first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn approvals(&self, environment: &str, number: u64) -> Result<Vec<Approval>, StoreError> {
        let rows = self.fetch(&hosting::APPROVALS, vec![environment.into(), number.into()]).await?;
        let read = |mut row: Row| Ok(Approval { user: row.text()?, name: row.text()?, at: row.time()? });
        rows.into_iter().map(read).collect()
    }

    /// Gives end users the next release of an environment whatever its share is, or takes it from them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn choose(
        &self,
        environment: &str,
        users: &[Name],
        chosen: Option<&str>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut steps = vec![Step::any(&hosting::BUMP_REVISION, Vec::new())];
        steps.extend(users.iter().map(|user| match chosen {
            Some(source) => Step::any(
                &hosting::CHOOSE_USER,
                vec![environment.into(), user.into(), source.into(), now.into()],
            ),
            None => Step::any(&hosting::LEAVE_USER, vec![environment.into(), user.into()]),
        }));
        self.together(steps).await
    }

    /// Says which revision this gateway serves. On SQLite nobody asks.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn acknowledge(&self, node: &str, revision: u64) -> Result<(), StoreError> {
        if self.database.dialect() == crate::database::Dialect::Sqlite {
            return Ok(());
        }
        self.execute(&hosting::ACKNOWLEDGE, vec![node.into(), revision.into()]).await.map(drop)
    }
}

fn publication(environment: &str, said: &Publication) -> Vec<Value> {
    vec![
        environment.into(),
        said.seq.into(),
        said.at.into(),
        (&said.kind).into(),
        (&said.author).into(),
        said.message.as_str().into(),
        said.stable.into(),
        said.candidate.into(),
        u64::from(said.share).into(),
        (&said.salt).into(),
    ]
}

fn read_publication(row: &mut Row) -> Result<Publication, StoreError> {
    Ok(Publication {
        seq: row.count()?,
        at: row.time()?,
        kind: row.text()?,
        author: row.text()?,
        message: row.text()?.to_string(),
        stable: row.count()?,
        candidate: row.optional_count()?,
        share: u32::try_from(row.count()?).unwrap_or(u32::MAX),
        salt: row.text()?,
    })
}

fn read(mut row: Row) -> Result<HostedEnvironment, StoreError> {
    let (handle, organization, workspace, name) = (row.text()?, row.text()?, row.text()?, row.text()?);
    let layer = row.text()?;
    let layer = Layer::NAMES.iter().find(|(name, _)| **name == *layer).map(|(_, layer)| *layer);
    Ok(HostedEnvironment {
        layer: layer.ok_or_else(|| StoreError::Corrupt(format!("environment `{handle}` has no layer")))?,
        handle,
        organization,
        workspace,
        name,
        region: row.text()?,
        approvals: row.optional_count()?.map(|count| u8::try_from(count).unwrap_or(u8::MAX)),
        bound: row.text()?.to_string(),
        publication: read_publication(&mut row)?,
        document: row.text()?.to_string(),
        candidate: row.optional_text()?.map(|text| text.to_string()),
        chosen: Vec::new(),
    })
}
