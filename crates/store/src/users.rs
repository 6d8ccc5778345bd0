//! People: what they sign in with, and what proves a second time that it is them.

use policy::{Name, Timestamp};

use crate::statements::identity;
use crate::value::{Row, Value};
use crate::{Step, Store, StoreError};

/// A person. `Debug` shows neither what the password hashes to nor the second factor.
#[derive(Clone, Eq, PartialEq)]
pub struct UserRow {
    /// `usr_…`.
    pub id: Name,
    /// In the form in which addresses are compared.
    pub email: Name,
    /// What they are called; may be empty.
    pub name: Name,
    /// What argon2id made of the password, with its parameters and salt.
    pub password: Name,
    /// The sealed secret of the second factor.
    pub totp: Option<Vec<u8>>,
    /// Since when it is asked for; `None`: not at all, though there may be a secret that is not confirmed.
    pub totp_since: Option<Timestamp>,
    /// The last step of it that was used.
    pub totp_step: u64,
    /// When they signed up.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for UserRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRow").field("id", &self.id).finish_non_exhaustive()
    }
}

impl UserRow {
    pub(crate) fn insertion(&self) -> Step {
        let values = vec![
            Value::from(&self.id),
            Value::from(&self.email),
            Value::from(&self.name),
            Value::from(&self.password),
            self.created_at.into(),
        ];
        Step::any(&identity::INSERT_USER, values)
    }

    /// Of what is new with a person, only the e-mail may be there already.
    pub(crate) fn known(error: StoreError) -> StoreError {
        match error {
            StoreError::Exists(_) => StoreError::Exists("a user of this e-mail".into()),
            other => other,
        }
    }

    pub(crate) fn read(row: &mut Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text()?,
            email: row.text()?,
            name: row.text()?,
            password: row.text()?,
            totp: row.optional_bytes()?,
            totp_since: row.optional_int()?.map(Timestamp::from_micros),
            totp_step: row.count()?,
            created_at: row.time()?,
        })
    }
}

impl Store {
    /// The user of this e-mail.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_user(&self, email: &str) -> Result<Option<UserRow>, StoreError> {
        let rows = self.fetch(&identity::USER_BY_EMAIL, vec![email.into()]).await?;
        rows.into_iter().next().map(|mut row| UserRow::read(&mut row)).transpose()
    }

    /// The user of this id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_user_by_id(&self, id: &str) -> Result<Option<UserRow>, StoreError> {
        let rows = self.fetch(&identity::USER_BY_ID, vec![id.into()]).await?;
        rows.into_iter().next().map(|mut row| UserRow::read(&mut row)).transpose()
    }

    /// A new password: every session but `stays` ends, and no reset that was asked for works any more.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is no user of this id.
    pub async fn set_password(&self, user: &str, password: &str, stays: &str) -> Result<(), StoreError> {
        let now = self.clock.now();
        let values = vec![user.into(), password.into(), now.into()];
        self.together(vec![
            Step::must(&identity::SET_PASSWORD, values, "user of this id"),
            Step::any(&identity::DROP_RESETS, vec![user.into()]),
            Step::any(&identity::END_SESSIONS, vec![user.into(), stays.into()]),
        ])
        .await
    }

    /// Keeps the hash of what resets a password until `expires_at`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn insert_reset(
        &self,
        id: &str,
        user: &str,
        hash: &str,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let values = vec![id.into(), user.into(), hash.into(), self.clock.now().into(), expires_at.into()];
        self.together(vec![
            Step::any(&identity::DROP_RESETS, vec![user.into()]),
            Step::any(&identity::INSERT_RESET, values),
        ])
        .await
    }

    /// Whose password this resets: the id of the reset and of the user.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_reset(&self, hash: &str) -> Result<Option<(Name, Name)>, StoreError> {
        let rows = self.fetch(&identity::RESET_BY_HASH, vec![hash.into(), self.clock.now().into()]).await?;
        rows.into_iter().next().map(|mut row| Ok((row.text()?, row.text()?))).transpose()
    }

    /// Uses a reset, once: the password is new, and every session ends.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it was used or replaced since.
    pub async fn use_reset(&self, reset: &str, user: &str, password: &str) -> Result<(), StoreError> {
        let values = vec![user.into(), password.into(), self.clock.now().into()];
        self.together(vec![
            Step::must(&identity::USE_RESET, vec![reset.into()], "reset of this token"),
            Step::must(&identity::SET_PASSWORD, values, "user of this id"),
            Step::any(&identity::DROP_RESETS, vec![user.into()]),
            Step::any(&identity::END_SESSIONS, vec![user.into(), "".into()]),
        ])
        .await
    }

    /// A second factor: its sealed secret, since when it is asked for, the step that was used to confirm it, and the hashes of
    /// new recovery codes. `None` takes all of it away.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is no user of this id.
    pub async fn set_totp(
        &self,
        user: &str,
        sealed: Option<Vec<u8>>,
        since: Option<Timestamp>,
        step: u64,
        recovery: &[String],
    ) -> Result<(), StoreError> {
        let sealed = sealed.map_or(Value::NoBytes, Value::from);
        let values = vec![user.into(), sealed, since.into(), step.into()];
        let mut steps = vec![
            Step::must(&identity::SET_TOTP, values, "user of this id"),
            Step::any(&identity::DROP_RECOVERY, vec![user.into()]),
        ];
        let code =
            |hash: &String| Step::any(&identity::INSERT_RECOVERY, vec![user.into(), hash.as_str().into()]);
        steps.extend(recovery.iter().map(code));
        self.together(steps).await
    }

    /// Uses a step of the second factor; false where it, or a later one, was used before.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn use_totp_step(&self, user: &str, step: u64) -> Result<bool, StoreError> {
        Ok(self.execute(&identity::USE_TOTP_STEP, vec![user.into(), step.into()]).await? > 0)
    }

    /// Uses a recovery code; false where there is none, or it was used before.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn use_recovery(&self, user: &str, hash: &str) -> Result<bool, StoreError> {
        let values = vec![user.into(), hash.into(), self.clock.now().into()];
        Ok(self.execute(&identity::USE_RECOVERY, values).await? > 0)
    }
}
