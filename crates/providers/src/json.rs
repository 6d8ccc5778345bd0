//! skeleton
/// Where and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} at byte {offset}")]
pub struct JsonError { /// Byte offset.
    pub offset: usize, /// Kind.
    pub kind: JsonErrorKind }
/// Kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonErrorKind { /// x
    Syntax }
