//! Stored responses: whose a response is, and what of it is kept here.
//!
//! The content is sealed before it comes here, so this crate could not read it. Rows are found by environment and id
//! together and never by the id alone: an id of another environment is no id.

use policy::{KeyId, Name, Timestamp};

use crate::statements::text;
use crate::value::{Row, Value};
use crate::{Store, StoreError};

/// Rows that one statement deletes.
const AT_ONCE: i64 = 500;
/// What a row weighs beside its content, bytes, about.
const ROW: usize = 256;

/// One stored response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResponseRow {
    /// Whose keys may see it.
    pub environment: Name,
    /// `resp_…`
    pub id: Name,
    /// Which response it goes on from.
    pub previous: Option<Name>,
    /// Whose call made it.
    pub key: KeyId,
    /// The provider that keeps it; absent where it is kept here.
    pub provider: Option<Name>,
    /// The deployment that answered.
    pub model: Name,
    /// Made in the background.
    pub background: bool,
    /// It is still being made; when this is past, nobody makes it any more.
    pub running: Option<Timestamp>,
    /// When it was kept.
    pub created_at: Timestamp,
    /// When it is gone.
    pub expires_at: Timestamp,
    /// What is kept here, sealed.
    pub sealed: Vec<u8>,
}

impl Store {
    /// Keeps a response; whether it is new. What is there of its id stays as it is.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn insert_response(&self, row: ResponseRow) -> Result<bool, StoreError> {
        let size = size_of(&row.sealed);
        let values = vec![
            Value::from(&row.environment),
            Value::from(&row.id),
            Value::from(&row.previous),
            Value::from(&row.key),
            Value::from(&row.provider),
            Value::from(&row.model),
            Value::from(row.background),
            Value::from(row.running),
            Value::from(row.created_at),
            Value::from(row.expires_at),
            Value::from(row.sealed),
            size,
        ];
        self.execute(&text::INSERT_RESPONSE, values).await.map(|written| written > 0)
    }

    /// Puts down how a response ended that was still being made; whether it still was.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn finish_response(
        &self,
        environment: &str,
        id: &str,
        sealed: Vec<u8>,
    ) -> Result<bool, StoreError> {
        let size = size_of(&sealed);
        let values = vec![environment.into(), id.into(), Value::from(sealed), size];
        self.execute(&text::FINISH_RESPONSE, values).await.map(|written| written > 0)
    }

    /// Says that a response is still being made, until then at least; whether anybody still wants it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn renew_response(
        &self,
        environment: &str,
        id: &str,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let values = vec![environment.into(), id.into(), until.into()];
        self.execute(&text::RENEW_RESPONSE, values).await.map(|written| written > 0)
    }

    /// A response whose time is not over.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_response(
        &self,
        environment: &str,
        id: &str,
    ) -> Result<Option<ResponseRow>, StoreError> {
        let values = vec![environment.into(), id.into(), self.clock.now().into()];
        self.fetch(&text::RESPONSE, values).await?.into_iter().next().map(read).transpose()
    }

    /// A response and those that it goes on from, the latest first: until one is not there, is the `links`th, or would
    /// make them weigh more than `bytes`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn response_chain(
        &self,
        environment: &str,
        id: &str,
        links: u64,
        bytes: u64,
    ) -> Result<Vec<ResponseRow>, StoreError> {
        let values = vec![environment.into(), id.into(), self.clock.now().into(), links.into(), bytes.into()];
        self.fetch(&text::RESPONSE_CHAIN, values).await?.into_iter().map(read).collect()
    }

    /// Deletes a response; whether it was there.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn delete_response(&self, environment: &str, id: &str) -> Result<bool, StoreError> {
        let values = vec![environment.into(), id.into(), self.clock.now().into()];
        self.execute(&text::DELETE_RESPONSE, values).await.map(|deleted| deleted > 0)
    }

    /// Deletes every response whose time is over; how many.
    ///
    /// # Errors
    /// See [`StoreError`]; some may be deleted already.
    pub async fn expire_responses(&self) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let mut deleted = 0;
        loop {
            let some = self.execute(&text::EXPIRE_RESPONSES, vec![now.into(), AT_ONCE.into()]).await?;
            deleted += some;
            if i64::try_from(some).is_ok_and(|some| some < AT_ONCE) {
                return Ok(deleted);
            }
        }
    }

    /// What all stored responses weigh together, bytes.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn responses_size(&self) -> Result<u64, StoreError> {
        let rows = self.fetch(&text::RESPONSES_SIZE, Vec::new()).await?;
        rows.into_iter().next().map_or(Ok(0), |mut row| row.count())
    }
}

fn size_of(sealed: &[u8]) -> Value {
    Value::from((sealed.len() + ROW) as u64)
}

fn read(mut row: Row) -> Result<ResponseRow, StoreError> {
    Ok(ResponseRow {
        environment: row.text()?,
        id: row.text()?,
        previous: row.optional_text()?,
        key: KeyId(row.text()?),
        provider: row.optional_text()?,
        model: row.text()?,
        background: row.flag()?,
        running: row.optional_int()?.map(Timestamp::from_micros),
        created_at: row.time()?,
        expires_at: row.time()?,
        sealed: row.bytes()?,
    })
}
