//! Who has which role where. An organization that has an owner keeps one: the last is neither demoted nor removed, also
//! where two of them go at the same moment.

use policy::{Name, Timestamp};

use crate::statements::identity;
use crate::value::{Row, Value};
use crate::{Step, Store, StoreError};

/// One role of one user in one place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberRow {
    /// `mem_…`.
    pub id: Name,
    /// The organization's id.
    pub organization: Name,
    /// The workspace's id; empty where the role holds in the whole organization.
    pub workspace: Name,
    /// The user's id.
    pub user: Name,
    /// The role's name.
    pub role: Name,
    /// Since when.
    pub created_at: Timestamp,
}

/// A role with the organization that it is in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Membership {
    /// The role.
    pub member: MemberRow,
    /// What snapshots, the ledger and logs call the organization.
    pub handle: Name,
    /// What people call it.
    pub name: Name,
    /// The organization's policy, JSON.
    pub policy: Name,
}

/// A role with the person who has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberView {
    /// The role.
    pub member: MemberRow,
    /// The person's e-mail.
    pub email: Name,
    /// The person's name.
    pub name: Name,
    /// Whether a second factor is asked of them.
    pub second: bool,
}

impl MemberRow {
    pub(crate) fn insertion(&self) -> Step {
        let values = vec![
            Value::from(&self.id),
            Value::from(&self.organization),
            Value::from(&self.workspace),
            Value::from(&self.user),
            Value::from(&self.role),
            self.created_at.into(),
        ];
        Step::any(&identity::INSERT_MEMBER, values)
    }

    fn read(row: &mut Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text()?,
            organization: row.text()?,
            workspace: row.text()?,
            user: row.text()?,
            role: row.text()?,
            created_at: row.time()?,
        })
    }
}

const LAST_OWNER: &str = "other owner of the organization";

impl Store {
    /// Every role of a user.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn memberships(&self, user: &str) -> Result<Vec<Membership>, StoreError> {
        let read = |mut row: Row| {
            let member = MemberRow::read(&mut row)?;
            Ok(Membership { member, handle: row.text()?, name: row.text()?, policy: row.text()? })
        };
        self.fetch(&identity::MEMBERS_OF_USER, vec![user.into()]).await?.into_iter().map(read).collect()
    }

    /// Every role in an organization, the oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn members(&self, organization: &str) -> Result<Vec<MemberView>, StoreError> {
        let read = |mut row: Row| {
            let member = MemberRow::read(&mut row)?;
            let (email, name) = (row.text()?, row.text()?);
            Ok(MemberView { member, email, name, second: row.optional_int()?.is_some() })
        };
        self.fetch(&identity::MEMBERS, vec![organization.into()]).await?.into_iter().map(read).collect()
    }

    /// The role of this id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_member(&self, id: &str) -> Result<Option<MemberRow>, StoreError> {
        let rows = self.fetch(&identity::MEMBER, vec![id.into()]).await?;
        rows.into_iter().next().map(|mut row| MemberRow::read(&mut row)).transpose()
    }

    /// Another role for this member.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it is gone, or is the last owner.
    pub async fn set_role(&self, member: &MemberRow, role: &str) -> Result<(), StoreError> {
        let values = vec![Value::from(&member.id), role.into()];
        self.together(vec![
            Step::any(&identity::LOCK_ORGANIZATION, vec![Value::from(&member.organization)]),
            Step::must(&identity::SET_ROLE, values, LAST_OWNER),
        ])
        .await
    }

    /// Takes a role away.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it is gone, or is the last owner.
    pub async fn drop_member(&self, member: &MemberRow) -> Result<(), StoreError> {
        self.together(vec![
            Step::any(&identity::LOCK_ORGANIZATION, vec![Value::from(&member.organization)]),
            Step::must(&identity::DROP_MEMBER, vec![Value::from(&member.id)], LAST_OWNER),
        ])
        .await
    }
}
