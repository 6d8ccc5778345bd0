//! skeleton
use bytes::Bytes;
/// Error object.
pub fn openai(_status: u16, _kind: &str, _code: Option<&str>, _message: &str, _param: Option<&str>) -> String { unimplemented!() }
/// Error event.
pub fn openai_event(_status: u16, _kind: &str, _code: Option<&str>, _message: &str, _param: Option<&str>) -> Bytes { unimplemented!() }
