//! The few types that cross to a database and back.
//!
//! Every column of both databases is a 64-bit integer, a text or some bytes. So one small enum carries all
//! parameters and all results, rows become domain types in one place per table, and nothing above
//! `database/` knows which database it speaks to. An absent value keeps its type: PostgreSQL needs it.

use std::sync::Arc;

use policy::{KeyId, Name, RequestId, Timestamp};

use crate::StoreError;

/// A bound parameter, or a column of a row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Value {
    Int(i64),
    Text(Arc<str>),
    Bytes(Vec<u8>),
    NoInt,
    NoText,
    NoBytes,
    /// One parameter of many rows. PostgreSQL only.
    Ints(Vec<Option<i64>>),
    /// The same of texts.
    Texts(Vec<Arc<str>>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Int(i64::from(flag))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Int(i64::from(number))
    }
}

/// Counts beyond 2^63 do not occur; one that claims so is held at the largest number we can keep.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Int(at.as_micros())
    }
}

impl From<&Name> for Value {
    fn from(text: &Name) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&KeyId> for Value {
    fn from(id: &KeyId) -> Self {
        Self::Text(id.0.clone())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&RequestId> for Value {
    fn from(id: &RequestId) -> Self {
        Self::Bytes(id.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Option<u64>> for Value {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::NoInt, Self::from)
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::NoInt, Self::from)
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Self::NoInt, Self::from)
    }
}

impl From<&Option<Name>> for Value {
    fn from(text: &Option<Name>) -> Self {
        text.as_ref().map_or(Self::NoText, Self::from)
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::NoText, Self::from)
    }
}

/// A list of environments as statements take it: `,one,other,`, and empty for all. A list of none is `,` and fits nothing.
pub(crate) fn within(environments: Option<&[Name]>) -> Value {
    let list = |environments: &[Name]| {
        format!(",{}", environments.iter().map(|name| format!("{name},")).collect::<String>())
    };
    Value::from(environments.map(list).unwrap_or_default())
}

/// A text that a client or a provider chose. PostgreSQL's texts cannot hold NUL, and one such byte would hold up a whole
/// batch: it becomes U+FFFD, in both databases alike.
pub(crate) fn foreign(text: &Name) -> Value {
    Value::Text(storable(text))
}

/// Such a text as it is stored.
pub(crate) fn storable(text: &Name) -> Name {
    if text.as_bytes().contains(&0) { text.replace('\0', "\u{FFFD}").into() } else { text.clone() }
}

/// The same for a text that may be absent.
pub(crate) fn foreign_or_none(text: &Option<Name>) -> Value {
    text.as_ref().map_or(Value::NoText, foreign)
}

/// One row, read from left to right in the order of its statement.
pub(crate) struct Row {
    columns: std::vec::IntoIter<Value>,
    read: usize,
}

impl Row {
    pub(crate) fn new(columns: Vec<Value>) -> Self {
        Self { columns: columns.into_iter(), read: 0 }
    }

    /// What is left of it.
    pub(crate) fn into_values(self) -> impl Iterator<Item = Value> {
        self.columns
    }

    /// A column, without reading up to it.
    pub(crate) fn get(&self, column: usize) -> Option<&Value> {
        self.columns.as_slice().get(column)
    }

    fn next(&mut self) -> Option<Value> {
        self.read += 1;
        self.columns.next()
    }

    fn unexpected(&self, wanted: &str) -> StoreError {
        StoreError::Corrupt(format!("column {} is not {wanted}", self.read))
    }

    pub(crate) fn int(&mut self) -> Result<i64, StoreError> {
        match self.next() {
            Some(Value::Int(number)) => Ok(number),
            _ => Err(self.unexpected("an integer")),
        }
    }

    pub(crate) fn optional_int(&mut self) -> Result<Option<i64>, StoreError> {
        match self.next() {
            Some(Value::Int(number)) => Ok(Some(number)),
            Some(Value::NoInt | Value::NoText) => Ok(None),
            _ => Err(self.unexpected("an integer")),
        }
    }

    pub(crate) fn count(&mut self) -> Result<u64, StoreError> {
        u64::try_from(self.int()?).map_err(|_| self.unexpected("a count"))
    }

    pub(crate) fn optional_count(&mut self) -> Result<Option<u64>, StoreError> {
        let number = self.optional_int()?;
        number.map(u64::try_from).transpose().map_err(|_| self.unexpected("a count"))
    }

    pub(crate) fn small(&mut self) -> Result<u16, StoreError> {
        u16::try_from(self.int()?).map_err(|_| self.unexpected("a small count"))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, StoreError> {
        Ok(self.int()? != 0)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.int().map(Timestamp::from_micros)
    }

    pub(crate) fn text(&mut self) -> Result<Name, StoreError> {
        match self.next() {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(self.unexpected("a text")),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.next() {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            _ => Err(self.unexpected("bytes")),
        }
    }

    pub(crate) fn optional_bytes(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.next() {
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Value::NoInt | Value::NoText | Value::NoBytes) => Ok(None),
            _ => Err(self.unexpected("bytes")),
        }
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<Name>, StoreError> {
        match self.next() {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::NoInt | Value::NoText) => Ok(None),
            _ => Err(self.unexpected("a text")),
        }
    }

    pub(crate) fn request_id(&mut self) -> Result<RequestId, StoreError> {
        match self.next() {
            Some(Value::Bytes(bytes)) => match <[u8; 16]>::try_from(bytes) {
                Ok(bytes) => Ok(RequestId::from_bytes(bytes)),
                Err(_) => Err(self.unexpected("a request id")),
            },
            _ => Err(self.unexpected("a request id")),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_nul_from_a_client_becomes_a_replacement_character() {
        assert_eq!(foreign(&"a\0b".into()), Value::from("a\u{FFFD}b"));
        assert_eq!(foreign(&"plain".into()), Value::from("plain"));
        assert_eq!(foreign_or_none(&None), Value::NoText);
    }

    #[test]
    fn a_row_names_the_column_that_is_not_what_we_wrote() {
        let mut row = Row::new(vec![Value::Int(1), Value::Text("x".into())]);
        assert_eq!(row.int().unwrap(), 1);
        assert_eq!(row.int(), Err(StoreError::Corrupt("column 2 is not an integer".into())));
        assert_eq!(row.int(), Err(StoreError::Corrupt("column 3 is not an integer".into())));
    }
}
