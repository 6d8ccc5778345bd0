//! skeleton
use std::time::Duration;
/// Whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "skeleton")]
pub enum Blame { Client, Upstream, Credential, RateLimited, Timeout, Overloaded }
/// Failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "skeleton")]
pub struct Failure { pub blame: Blame, pub retryable: bool, pub retry_after: Option<Duration>, pub message: Option<String>, pub code: Option<String> }
/// Classify.
pub fn classify<'h>(_status: u16, _header: &dyn Fn(&str) -> Option<&'h str>, _body: &[u8]) -> Failure { unimplemented!() }
