//! skeleton
use smallvec::SmallVec;
use crate::{Usage, json::JsonError, request::Operation};
/// Answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "skeleton")]
pub struct Answer { pub usage: Option<Usage>, pub is_error: bool, pub has_output: bool, pub finish_reasons: SmallVec<[String; 1]>, pub output_estimate: u64, pub model: Option<String>, pub id: Option<String> }
/// Read.
pub fn read(_operation: Operation, _body: &[u8]) -> Result<Answer, JsonError> { unimplemented!() }
