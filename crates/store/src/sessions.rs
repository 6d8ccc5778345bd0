//! Sessions: whoever holds the secret of one is signed in. Only its hash is kept, and a session that ends is a row that goes.

use policy::{Name, Timestamp};

use crate::statements::identity;
use crate::value::{Row, Value};
use crate::{Step, Store, StoreError, UserRow};

/// One session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionRow {
    /// `ses_…`.
    pub id: Name,
    /// The user's id.
    pub user: Name,
    /// The keyed hash of its secret.
    pub hash: Name,
    /// Where it began.
    pub address: Name,
    /// What the browser called itself.
    pub agent: Name,
    /// A second factor was shown.
    pub second: bool,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
}

/// A session with whose it is.
pub type SignedIn = (SessionRow, UserRow);

impl SessionRow {
    pub(crate) fn insertion(&self) -> Step {
        let values = vec![
            Value::from(&self.id),
            Value::from(&self.user),
            Value::from(&self.hash),
            Value::from(&self.address),
            Value::from(&self.agent),
            self.second.into(),
            self.created_at.into(),
            self.seen_at.into(),
            self.expires_at.into(),
        ];
        Step::any(&identity::INSERT_SESSION, values)
    }

    fn read(row: &mut Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text()?,
            user: row.text()?,
            hash: row.text()?,
            address: row.text()?,
            agent: row.text()?,
            second: row.flag()?,
            created_at: row.time()?,
            seen_at: row.time()?,
            expires_at: row.time()?,
        })
    }
}

impl Store {
    /// Keeps a new session, and forgets those of all that are over.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn insert_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        let expired = Step::any(&identity::EXPIRE_SESSIONS, vec![self.clock.now().into()]);
        self.together(vec![expired, session.insertion()]).await
    }

    /// The session of this hash with its user. Whether it is over is for the caller to say.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_session(&self, hash: &str) -> Result<Option<SignedIn>, StoreError> {
        let rows = self.fetch(&identity::SESSION_BY_HASH, vec![hash.into()]).await?;
        let read = |mut row: Row| Ok((SessionRow::read(&mut row)?, UserRow::read(&mut row)?));
        rows.into_iter().next().map(read).transpose()
    }

    /// The sessions of a user that are not over, the newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn sessions(&self, user: &str) -> Result<Vec<SessionRow>, StoreError> {
        let rows = self.fetch(&identity::SESSIONS, vec![user.into(), self.clock.now().into()]).await?;
        rows.into_iter().map(|mut row| SessionRow::read(&mut row)).collect()
    }

    /// It was used just now.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn see_session(&self, id: &str) -> Result<(), StoreError> {
        self.execute(&identity::SEE_SESSION, vec![id.into(), self.clock.now().into()]).await.map(drop)
    }

    /// This session has shown a second factor; every other of the user's ends.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it ended meanwhile.
    pub async fn show_second(&self, user: &str, id: &str) -> Result<(), StoreError> {
        self.together(vec![
            Step::must(&identity::SHOW_SECOND, vec![user.into(), id.into()], "session of this id"),
            Step::any(&identity::END_SESSIONS, vec![user.into(), id.into()]),
        ])
        .await
    }

    /// Ends a session of this user; false where there is none of this id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end_session(&self, user: &str, id: &str) -> Result<bool, StoreError> {
        Ok(self.execute(&identity::END_SESSION, vec![user.into(), id.into()]).await? > 0)
    }
}
