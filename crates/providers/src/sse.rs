//! skeleton
use bytes::Bytes;
/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "skeleton")]
pub struct Event { pub raw: Bytes, pub data: Bytes, pub name: Option<Bytes>, pub comment_only: bool }
/// Error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError { /// Too long.
    #[error("an event is longer than {limit} bytes")] TooLong { /// limit
        limit: usize } }
/// Framer.
pub struct Framer;
#[expect(missing_docs, reason = "skeleton")]
impl Framer { pub fn new(_max_event: usize) -> Self { Framer } pub fn push(&mut self, _chunk: Bytes) {} 
  #[expect(clippy::should_implement_trait, reason = "x")]
  pub fn next(&mut self) -> Result<Option<Event>, SseError> { unimplemented!() } pub fn rest_is_empty(&self) -> bool { unimplemented!() } pub fn finish(&mut self) -> Bytes { unimplemented!() } }
