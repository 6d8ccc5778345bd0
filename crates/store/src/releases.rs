//! Releases: each accepted document of an environment, numbered, never changed.

use policy::{Name, Timestamp};

use crate::statements::text;
use crate::value::{Row, Value};
use crate::{Store, StoreError};

/// One release.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReleaseRow {
    /// The environment.
    pub environment: Name,
    /// From 1, unique in its environment.
    pub number: u64,
    /// When it was accepted.
    pub at: Timestamp,
    /// Where it came from: a file's path, `environment`, …
    pub source: String,
    /// Of the document's meaning: equal checksums behave alike.
    pub checksum: String,
    /// Why, in the words of whoever made it; may be empty.
    pub message: String,
    /// The document, TOML.
    pub document: String,
    /// Who made it, for people; empty where it is not known.
    pub author: String,
    /// The bound values that were said with it (see `policy::settings::Bound`); `None` where none were.
    pub bound: Option<String>,
}

impl ReleaseRow {
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![
            Value::from(&self.environment),
            Value::from(self.number),
            Value::from(self.at),
            Value::from(self.source.as_str()),
            Value::from(self.checksum.as_str()),
            Value::from(self.message.as_str()),
            Value::from(self.document.as_str()),
            Value::from(self.author.as_str()),
            Value::from(self.bound.clone()),
        ]
    }
}

impl Store {
    /// The latest releases of all environments, newest first, at most `limit`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn releases(&self, limit: usize) -> Result<Vec<ReleaseRow>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.fetch(&text::RELEASES, vec![limit.into()]).await?.into_iter().map(read).collect()
    }

    /// One release, by the primary key.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_release(
        &self,
        environment: &str,
        number: u64,
    ) -> Result<Option<ReleaseRow>, StoreError> {
        let rows = self.fetch(&text::RELEASE, vec![environment.into(), Value::from(number)]).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// Keeps a release.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the environment has a release of that number.
    pub async fn insert_release(&self, release: &ReleaseRow) -> Result<(), StoreError> {
        match self.execute(&text::INSERT_RELEASE, release.values()).await {
            Err(StoreError::Exists(_)) => {
                let ReleaseRow { number, environment, .. } = release;
                Err(StoreError::Exists(format!("release {number} of environment `{environment}`")))
            }
            other => other.map(drop),
        }
    }

    /// The release with the highest number of those that settings declared, of whatever environment.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn latest_declared(&self) -> Result<Option<ReleaseRow>, StoreError> {
        let rows = self.fetch(&text::LATEST_DECLARED, Vec::new()).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// The release with the highest number of an environment.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn latest_release(&self, environment: &str) -> Result<Option<ReleaseRow>, StoreError> {
        let rows = self.fetch(&text::LATEST_RELEASE, vec![environment.into()]).await?;
        rows.into_iter().next().map(read).transpose()
    }
}

pub(crate) fn read(mut row: Row) -> Result<ReleaseRow, StoreError> {
    Ok(ReleaseRow {
        environment: row.text()?,
        number: row.count()?,
        at: row.time()?,
        source: row.text()?.to_string(),
        checksum: row.text()?.to_string(),
        message: row.text()?.to_string(),
        document: row.text()?.to_string(),
        author: row.text()?.to_string(),
        bound: row.optional_text()?.map(|text| text.to_string()),
    })
}
