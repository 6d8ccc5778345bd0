//! Invitations: a role that waits for whoever brings the token, once.

use policy::{Name, Timestamp};

use crate::statements::identity;
use crate::value::{Row, Value};
use crate::{MemberRow, SessionRow, Step, Store, StoreError, UserRow};

/// One invitation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvitationRow {
    /// `inv_…`.
    pub id: Name,
    /// The organization's id.
    pub organization: Name,
    /// The workspace's id; empty for the whole organization.
    pub workspace: Name,
    /// The role's name.
    pub role: Name,
    /// For this e-mail alone; empty for whoever brings the token.
    pub email: Name,
    /// The keyed hash of the token.
    pub hash: Name,
    /// The id of the user who made it; empty for the host.
    pub made_by: Name,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was accepted.
    pub accepted_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

impl Store {
    /// Keeps a new invitation.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn insert_invitation(&self, row: &InvitationRow) -> Result<(), StoreError> {
        let values = vec![
            Value::from(&row.id),
            Value::from(&row.organization),
            Value::from(&row.workspace),
            Value::from(&row.role),
            Value::from(&row.email),
            Value::from(&row.hash),
            Value::from(&row.made_by),
            row.created_at.into(),
            row.expires_at.into(),
            row.accepted_at.into(),
            row.revoked_at.into(),
        ];
        self.execute(&identity::INSERT_INVITATION, values).await.map(drop)
    }

    /// The invitation of this token's hash.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_invitation(&self, hash: &str) -> Result<Option<InvitationRow>, StoreError> {
        let rows = self.fetch(&identity::INVITATION_BY_HASH, vec![hash.into()]).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// The invitation of this id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_invitation_by_id(&self, id: &str) -> Result<Option<InvitationRow>, StoreError> {
        let rows = self.fetch(&identity::INVITATION, vec![id.into()]).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// The invitations of an organization, the newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn invitations(&self, organization: &str) -> Result<Vec<InvitationRow>, StoreError> {
        self.fetch(&identity::INVITATIONS, vec![organization.into()]).await?.into_iter().map(read).collect()
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it was accepted or taken back before.
    pub async fn revoke_invitation(&self, id: &str) -> Result<(), StoreError> {
        let values = vec![id.into(), self.clock.now().into()];
        let step = Step::must(&identity::REVOKE_INVITATION, values, "invitation of this id that waits");
        self.together(vec![step]).await
    }

    /// Accepts an invitation, once: the role, and for somebody new the user and a session.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it is over, was accepted or taken back; [`StoreError::Exists`] when there is a user of this
    /// e-mail, or this user has a role there.
    pub async fn accept_invitation(
        &self,
        invitation: &str,
        member: &MemberRow,
        fresh: Option<(&UserRow, &SessionRow)>,
    ) -> Result<(), StoreError> {
        let values = vec![invitation.into(), self.clock.now().into()];
        let mut steps = vec![Step::must(&identity::ACCEPT_INVITATION, values, "invitation that waits")];
        if let Some((user, session)) = fresh {
            steps.extend([user.insertion(), session.insertion()]);
        }
        steps.push(member.insertion());
        let settled = vec![Value::from(&member.organization), self.clock.now().into()];
        steps.push(Step::any(&identity::SETTLE_ORGANIZATION, settled));
        let whose = if fresh.is_some() { "a user of this e-mail" } else { "a role of this user there" };
        self.together(steps).await.map_err(|error| match error {
            StoreError::Exists(_) => StoreError::Exists(whose.into()),
            other => other,
        })
    }
}

fn read(mut row: Row) -> Result<InvitationRow, StoreError> {
    Ok(InvitationRow {
        id: row.text()?,
        organization: row.text()?,
        workspace: row.text()?,
        role: row.text()?,
        email: row.text()?,
        hash: row.text()?,
        made_by: row.text()?,
        created_at: row.time()?,
        expires_at: row.time()?,
        accepted_at: row.optional_int()?.map(Timestamp::from_micros),
        revoked_at: row.optional_int()?.map(Timestamp::from_micros),
    })
}
