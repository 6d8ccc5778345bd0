//! skeleton
use bytes::Bytes;
/// Which endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation { /// a
    Chat, /// b
    Completions, /// c
    Embeddings }
/// What is asked.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "skeleton")]
pub struct Asked { pub model: String, pub stream: bool, pub include_usage: bool, pub max_output: Option<u64>, pub choices: u64, pub end_user: Option<String>, pub fallbacks: Vec<String>, pub input_bound: u64, pub input_estimate: u64 }
/// Refusal.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
#[expect(missing_docs, reason = "skeleton")]
pub struct BadRequest { pub message: String, pub param: Option<&'static str>, pub code: Option<&'static str> }
/// Read.
pub fn read(_operation: Operation, _body: &[u8]) -> Result<Asked, BadRequest> { unimplemented!() }
/// Edits.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "skeleton")]
pub struct Edits<'a> { pub model: Option<&'a str>, pub include_usage: bool, pub remove_models: bool }
/// Rewrite.
pub fn rewrite(_body: &Bytes, _asked: &Asked, _edits: &Edits<'_>) -> Bytes { unimplemented!() }
