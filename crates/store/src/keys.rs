//! Virtual keys: the whole record is one JSON document, so that a field which is added to a key changes no table;
//! the columns beside it are those that are searched and those that must be unique.

use policy::{KeyId, KeyRecord, Timestamp};

use crate::statements::text;
use crate::value::{Row, Value};
use crate::{Store, StoreError};

impl Store {
    /// Every key, revoked ones too, by environment and name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.fetch(&text::KEYS, Vec::new()).await?.into_iter().map(read).collect()
    }

    /// The keys that were changed since then, revoked ones too, the oldest change first, at most `limit`; and when each was.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn keys_since(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, KeyRecord)>, StoreError> {
        let values = vec![since.into(), Value::from(limit as u64)];
        let rows = self.fetch(&text::KEYS_SINCE, values).await?;
        rows.into_iter().map(|mut row| Ok((row.time()?, read(row)?))).collect()
    }

    /// Keeps a new key.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when a key of its environment that is not revoked has its name, or any key has
    /// its id or secret.
    pub async fn insert_key(&self, record: &KeyRecord) -> Result<(), StoreError> {
        let values = self.new_key(record)?;
        self.execute(&text::INSERT_KEY, values).await.map_err(|error| named(error, record))?;
        Ok(())
    }

    /// The values of a new key, for [`text::INSERT_KEY`].
    pub(crate) fn new_key(&self, record: &KeyRecord) -> Result<Vec<Value>, StoreError> {
        Ok(vec![
            Value::from(&record.id),
            Value::from(&record.environment),
            Value::from(&record.name),
            Value::from(record.hash.as_ref().map(policy::KeyHash::hex)),
            Value::from(record.created_at),
            Value::from(self.clock.now()),
            Value::from(record.revoked_at),
            document(record)?,
        ])
    }

    /// Replaces the record of the same id: after a rotation or a revocation.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no key of that id; [`StoreError::Exists`] as for
    /// [`Store::insert_key`].
    pub async fn update_key(&self, record: &KeyRecord) -> Result<(), StoreError> {
        let values = vec![
            Value::from(&record.id),
            Value::from(&record.environment),
            Value::from(&record.name),
            Value::from(record.hash.as_ref().map(policy::KeyHash::hex)),
            Value::from(self.clock.now()),
            Value::from(record.revoked_at),
            document(record)?,
        ];
        match self.execute(&text::UPDATE_KEY, values).await {
            Ok(0) => Err(StoreError::Missing(format!("key `{}`", record.id))),
            Ok(_) => Ok(()),
            Err(error) => Err(named(error, record)),
        }
    }

    /// The key of that name which is not revoked.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_key(&self, environment: &str, name: &str) -> Result<Option<KeyRecord>, StoreError> {
        let values = vec![Value::from(environment), Value::from(name)];
        self.fetch(&text::KEY_BY_NAME, values).await?.into_iter().next().map(read).transpose()
    }

    /// The key of that id, revoked or not.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn find_key_by_id(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.fetch(&text::KEY_BY_ID, vec![Value::from(id)]).await?.into_iter().next().map(read).transpose()
    }
}

fn read(mut row: Row) -> Result<KeyRecord, StoreError> {
    let document = row.text()?;
    serde_json::from_str(&document).map_err(|error| StoreError::Corrupt(format!("a key's document: {error}")))
}

fn document(record: &KeyRecord) -> Result<Value, StoreError> {
    serde_json::to_string(record)
        .map(Value::from)
        .map_err(|error| StoreError::Invalid(format!("key `{}` cannot be written: {error}", record.name)))
}

fn named(error: StoreError, record: &KeyRecord) -> StoreError {
    match error {
        StoreError::Exists(_) => {
            StoreError::Exists(format!("a key `{}` in environment `{}`", record.name, record.environment))
        }
        other => other,
    }
}
