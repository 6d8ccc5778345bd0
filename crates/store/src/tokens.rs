//! API tokens: what programs sign in with. Only a keyed hash of each is kept.

use policy::{Name, Timestamp};

use crate::statements::identity;
use crate::value::{Row, Value};
use crate::{Step, Store, StoreError};

/// One token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenRow {
    /// `tok_…`.
    pub id: Name,
    /// `personal` or `service`.
    pub kind: Name,
    /// The organization's id, of a service token.
    pub organization: Name,
    /// The workspace's id that it is confined to; empty: all.
    pub workspace: Name,
    /// Whose it is, or who made it; empty for the host.
    pub user: Name,
    /// What it is called.
    pub name: Name,
    /// The keyed hash.
    pub hash: Name,
    /// What lists show of it.
    pub hint: Name,
    /// The permissions that it asks for, comma-separated.
    pub scopes: Name,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub used_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

impl Store {
    /// Keeps a new token.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn insert_token(&self, row: &TokenRow) -> Result<(), StoreError> {
        let values = vec![
            Value::from(&row.id),
            Value::from(&row.kind),
            Value::from(&row.organization),
            Value::from(&row.workspace),
            Value::from(&row.user),
            Value::from(&row.name),
            Value::from(&row.hash),
            Value::from(&row.hint),
            Value::from(&row.scopes),
            row.created_at.into(),
            row.expires_at.into(),
            row.used_at.into(),
            row.revoked_at.into(),
        ];
        self.execute(&identity::INSERT_TOKEN, values).await.map(drop)
    }

    /// The token of this hash, where it was not taken back.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_token(&self, hash: &str) -> Result<Option<TokenRow>, StoreError> {
        let rows = self.fetch(&identity::TOKEN_BY_HASH, vec![hash.into()]).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// The token of this id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_token_by_id(&self, id: &str) -> Result<Option<TokenRow>, StoreError> {
        let rows = self.fetch(&identity::TOKEN, vec![id.into()]).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// The personal tokens of a user and the service tokens of an organization; empty: none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn tokens(&self, user: &str, organization: &str) -> Result<Vec<TokenRow>, StoreError> {
        let values = vec![user.into(), organization.into()];
        self.fetch(&identity::TOKENS, values).await?.into_iter().map(read).collect()
    }

    /// It was used just now.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn see_token(&self, id: &str) -> Result<(), StoreError> {
        self.execute(&identity::SEE_TOKEN, vec![id.into(), self.clock.now().into()]).await.map(drop)
    }

    /// Takes a token back, at once.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it was taken back before.
    pub async fn revoke_token(&self, id: &str) -> Result<(), StoreError> {
        let values = vec![id.into(), self.clock.now().into()];
        self.together(vec![Step::must(&identity::REVOKE_TOKEN, values, "token of this id")]).await
    }
}

fn read(mut row: Row) -> Result<TokenRow, StoreError> {
    Ok(TokenRow {
        id: row.text()?,
        kind: row.text()?,
        organization: row.text()?,
        workspace: row.text()?,
        user: row.text()?,
        name: row.text()?,
        hash: row.text()?,
        hint: row.text()?,
        scopes: row.text()?,
        created_at: row.time()?,
        expires_at: row.optional_int()?.map(Timestamp::from_micros),
        used_at: row.optional_int()?.map(Timestamp::from_micros),
        revoked_at: row.optional_int()?.map(Timestamp::from_micros),
    })
}
