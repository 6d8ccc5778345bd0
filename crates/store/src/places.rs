//! Organizations, workspaces and environments: the places that people have roles in.
//!
//! What a settings file declares has rows too, made again at each start and left where they are; its handles are the names
//! of the file, so that a key or a line of the log says by its environment alone whose it is.

use policy::{KeyRecord, Name, Timestamp};

use crate::hosted::HostedEnvironment;
use crate::releases::ReleaseRow;
use crate::statements::{hosting, identity, text};
use crate::value::{Row, Value};
use crate::{MemberRow, SessionRow, Step, Store, StoreError, UserRow};

/// A tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OrganizationRow {
    /// `org_…`.
    pub id: Name,
    /// What people call it.
    pub name: Name,
    /// What snapshots, the ledger and logs call it.
    pub handle: Name,
    /// Its policy, JSON.
    pub policy: Name,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it got its first owner.
    pub adopted_at: Option<Timestamp>,
}

/// A team's place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkspaceRow {
    /// `ws_…`.
    pub id: Name,
    /// The id of its organization.
    pub organization: Name,
    /// What people call it.
    pub name: Name,
    /// What snapshots, the ledger and logs call it.
    pub handle: Name,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An environment with the places that it lies in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlaceRow {
    /// The organization's id.
    pub organization: Name,
    /// The organization's handle.
    pub organization_handle: Name,
    /// The organization's name.
    pub organization_name: Name,
    /// The workspace's id.
    pub workspace: Name,
    /// The workspace's handle.
    pub workspace_handle: Name,
    /// The workspace's name.
    pub workspace_name: Name,
    /// `env_…`.
    pub id: Name,
    /// What snapshots, keys, the ledger and logs call it.
    pub handle: Name,
    /// What people call it.
    pub name: Name,
    /// Its layer, in lower case.
    pub layer: Name,
}

/// An environment that the settings declare, by handles.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Declared {
    /// The organization's handle.
    pub organization: Name,
    /// The workspace's handle.
    pub workspace: Name,
    /// The environment's handle.
    pub environment: Name,
    /// Its layer, in lower case.
    pub layer: Name,
}

/// All that a sign-up makes.
#[derive(Clone, Debug)]
pub struct Founding {
    /// The new places; `None`: the organization `adopted` is taken over.
    pub made: Option<(OrganizationRow, PlaceRow)>,
    /// What the new environment runs on.
    pub hosted: Option<(HostedEnvironment, ReleaseRow)>,
    /// The handle of the organization that is taken over.
    pub adopted: Name,
    /// What it is called from now on; empty leaves its name.
    pub name: String,
    /// Whoever signs up.
    pub user: UserRow,
    /// Their role.
    pub member: MemberRow,
    /// Their session.
    pub session: SessionRow,
    /// Their first key.
    pub key: KeyRecord,
}

impl Store {
    /// Makes rows for what the settings declare, where there are none. `ids`: an id for each organization, workspace and
    /// environment that may be new.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ensure_places(&self, declared: &[(Declared, [Name; 3])]) -> Result<(), StoreError> {
        let now = self.clock.now();
        let steps = declared.iter().flat_map(|(place, [organization, workspace, environment])| {
            let first = vec![organization.into(), (&place.organization).into(), now.into()];
            let second =
                vec![workspace.into(), (&place.organization).into(), (&place.workspace).into(), now.into()];
            let third = vec![
                environment.into(),
                (&place.organization).into(),
                (&place.workspace).into(),
                (&place.environment).into(),
                (&place.layer).into(),
                now.into(),
            ];
            [
                Step::any(&identity::ENSURE_ORGANIZATION, first),
                Step::any(&identity::ENSURE_WORKSPACE, second),
                Step::any(&identity::ENSURE_ENVIRONMENT, third),
            ]
        });
        self.together(steps.collect()).await
    }

    /// Environments with the places they lie in: of one organization (an id), of all those of one user (an id), or of all, the
    /// oldest organization first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn places(
        &self,
        organization: Option<&str>,
        user: Option<&str>,
    ) -> Result<Vec<PlaceRow>, StoreError> {
        let values = vec![organization.unwrap_or_default().into(), user.unwrap_or_default().into()];
        self.fetch(&identity::PLACES, values).await?.into_iter().map(read_place).collect()
    }

    /// The organization of this handle or id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_organization(&self, asked: &str) -> Result<Option<OrganizationRow>, StoreError> {
        let rows = self.fetch(&identity::ORGANIZATION, vec![asked.into()]).await?;
        rows.into_iter().next().map(read_organization).transpose()
    }

    /// The workspace of this id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_workspace(&self, id: &str) -> Result<Option<WorkspaceRow>, StoreError> {
        let rows = self.fetch(&identity::WORKSPACE, vec![id.into()]).await?;
        rows.into_iter().next().map(read_workspace).transpose()
    }

    /// Gives an organization another name and policy.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none of this id.
    pub async fn set_organization(&self, id: &str, name: &str, policy: &str) -> Result<(), StoreError> {
        let values = vec![id.into(), name.into(), policy.into()];
        self.together(vec![Step::must(&identity::SET_ORGANIZATION, values, "organization of this id")]).await
    }

    /// Makes all that a sign-up makes, or nothing.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is a user of this e-mail; [`StoreError::Missing`] when the organization has been taken
    /// over already.
    pub async fn found(&self, founding: &Founding) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut steps = match &founding.made {
            Some((organization, place)) => made(organization, place, now),
            None => {
                let values = vec![Value::from(&founding.adopted), now.into(), founding.name.as_str().into()];
                vec![Step::must(&identity::ADOPT_ORGANIZATION, values, "organization without an owner")]
            }
        };
        if let Some((hosted, release)) = &founding.hosted {
            steps.insert(0, Step::any(&hosting::BUMP_REVISION, Vec::new()));
            steps.extend(self.first(hosted, release));
        }
        steps.extend([
            founding.user.insertion(),
            founding.member.insertion(),
            founding.session.insertion(),
            Step::any(&text::INSERT_KEY, self.new_key(&founding.key)?),
        ]);
        self.together(steps).await.map_err(UserRow::known)
    }
}

fn made(organization: &OrganizationRow, place: &PlaceRow, now: Timestamp) -> Vec<Step> {
    vec![
        Step::any(
            &identity::INSERT_ORGANIZATION,
            vec![
                Value::from(&organization.id),
                Value::from(&organization.name),
                Value::from(&organization.handle),
                Value::from(&organization.policy),
                organization.created_at.into(),
                organization.adopted_at.into(),
            ],
        ),
        Step::any(
            &identity::INSERT_WORKSPACE,
            vec![
                Value::from(&place.workspace),
                Value::from(&organization.id),
                Value::from(&place.workspace_name),
                Value::from(&place.workspace_handle),
                now.into(),
            ],
        ),
        Step::any(
            &identity::INSERT_ENVIRONMENT,
            vec![
                Value::from(&place.id),
                Value::from(&place.workspace),
                Value::from(&place.name),
                Value::from(&place.layer),
                Value::from(&place.handle),
                now.into(),
            ],
        ),
    ]
}

fn read_place(mut row: Row) -> Result<PlaceRow, StoreError> {
    Ok(PlaceRow {
        organization: row.text()?,
        organization_handle: row.text()?,
        organization_name: row.text()?,
        workspace: row.text()?,
        workspace_handle: row.text()?,
        workspace_name: row.text()?,
        id: row.text()?,
        handle: row.text()?,
        name: row.text()?,
        layer: row.text()?,
    })
}

fn read_organization(mut row: Row) -> Result<OrganizationRow, StoreError> {
    Ok(OrganizationRow {
        id: row.text()?,
        name: row.text()?,
        handle: row.text()?,
        policy: row.text()?,
        created_at: row.time()?,
        adopted_at: row.optional_int()?.map(Timestamp::from_micros),
    })
}

fn read_workspace(mut row: Row) -> Result<WorkspaceRow, StoreError> {
    Ok(WorkspaceRow {
        id: row.text()?,
        organization: row.text()?,
        name: row.text()?,
        handle: row.text()?,
        created_at: row.time()?,
    })
}
