//! What the ledger keeps: the words of a spent token, from the intent to the line in the request log.
//!
//! These are the public shapes, as the gateway writes them and the store receives them. How they lie on disk is
//! private (`wire.rs`), so that either side may change without the other. Labels are shared by `Arc` because
//! thousands of records of one key carry the same ones; they are written by value because a spool must explain
//! itself after the process that wrote it is gone.

use std::sync::Arc;

use policy::{KeyId, Money, Name, Price, RequestId, Timestamp, Usage};
use serde::{Deserialize, Serialize};

/// Where a call belongs: who asked, in which environment, under which release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words of the product, one for one")]
pub struct Labels {
    pub organization: Name,
    pub workspace: Name,
    pub environment: Name,
    pub layer: Name,
    pub region: Name,
    pub release: u64,
    pub variant: Option<Name>,
    pub prompt_version: Option<Name>,
    pub key_id: KeyId,
    pub key_name: Name,
}

/// What is about to be sent to a provider. In the kernel before the first byte is dispatched.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The request; all its attempts share it.
    pub request_id: RequestId,
    /// Which attempt of the request, from 1.
    pub attempt_no: u16,
    /// When the attempt begins.
    pub at: Timestamp,
    /// Who asks and where.
    pub labels: Arc<Labels>,
    /// The provider that is asked.
    pub provider: Name,
    /// Name of the deployment, `provider/model`.
    pub model: Name,
    /// What it costs; `None` = unknown. Kept in the spool so that a crash can be settled without the release.
    pub price: Option<Arc<Price>>,
    /// Upper bound of the input, tokens.
    pub input_bound: u64,
    /// Best estimate of the input, tokens: charged when the provider's count never came.
    pub input_estimate: u64,
    /// Most output tokens the provider was allowed, when it was told.
    pub output_cap: Option<u64>,
    /// `chat`, `completions`, `embeddings`, …
    pub endpoint: Name,
    /// The model as the client wrote it.
    pub model_asked: Name,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// The client's own user, when it named one.
    pub end_user: Option<Name>,
    /// The client's session, when it named one.
    pub session: Option<Name>,
    /// The client's tags.
    pub tags: Vec<(Name, Name)>,
}

/// From what a charge was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Basis {
    /// The provider's own usage.
    Reported,
    /// The client went away: input and the output seen so far, estimated.
    Aborted,
    /// The provider died in mid-stream; estimated.
    Interrupted,
    /// This process died; settled at the next start from the last mark.
    Crashed,
    /// The attempt was dropped without an end (a panic of ours); settled from what it had seen.
    Dropped,
    /// It ended well but the provider never told its usage; estimated.
    Unreported,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The answer is complete.
    Completed,
    /// The client went away first.
    ClientGone,
    /// The provider failed after it had begun to answer, or never answered.
    UpstreamFailed,
    /// The provider refused before any output.
    Refused,
    /// Nothing was sent to the provider: the entry is a void.
    NeverDispatched,
}

/// What the gateway knows at the end of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// When the attempt ended.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens, reported or estimated; see `basis`.
    pub usage: Usage,
    /// Where `usage` comes from.
    pub basis: Basis,
    /// What the provider bills us; `None` = unknown.
    pub cost: Option<Money>,
    /// What the budgets pay; `None` = unknown, and nothing is taken from them.
    pub charge: Option<Money>,
    /// The request's log line, with the final attempt. Written in the same frame: both survive or neither.
    pub request: Option<Box<RequestLog>>,
}

/// A terminal entry is a charge or a void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryKind {
    /// The attempt was dispatched and ended.
    Settle,
    /// The attempt was never dispatched.
    Void,
}

/// The terminal entry of an attempt: exactly one for each. Unique by `(request_id, attempt_no, kind, seq)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The request.
    pub request_id: RequestId,
    /// Which attempt of it, from 1.
    pub attempt_no: u16,
    /// Charge or void.
    pub kind: EntryKind,
    /// 0; later corrections of the same attempt count up.
    pub seq: u16,
    /// When the attempt began.
    pub at: Timestamp,
    /// When it was settled.
    pub settled_at: Timestamp,
    /// Who asked and where.
    pub labels: Arc<Labels>,
    /// The provider that was asked.
    pub provider: Name,
    /// Name of the deployment.
    pub model: Name,
    /// `chat`, `completions`, `embeddings`, …
    pub endpoint: Name,
    /// The client's own user.
    pub end_user: Option<Name>,
    /// The client's session.
    pub session: Option<Name>,
    /// The client's tags.
    pub tags: Vec<(Name, Name)>,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens.
    pub usage: Usage,
    /// Where the tokens come from.
    pub basis: Basis,
    /// Whether tokens and money are estimates.
    pub estimated: bool,
    /// What the provider bills us; `None` = unknown.
    pub cost: Option<Money>,
    /// What the budgets paid; `None` = unknown.
    pub charge: Option<Money>,
    /// Which price it was computed with.
    pub price_version: Option<Name>,
    /// The budget windows (scope, start of the window) that `charge` was taken from.
    pub budgets: Vec<(Name, Timestamp)>,
    /// The charge was above what had been reserved.
    pub overrun: bool,
}

/// What was asked and answered, where the environment keeps bodies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bodies {
    /// The request's body.
    pub request: String,
    /// The answer's body.
    pub response: String,
    /// Whether either was cut.
    pub truncated: bool,
}

/// One line of the request log: one for each authenticated request, however it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestLog {
    /// The request.
    pub request_id: RequestId,
    /// When it came.
    pub at: Timestamp,
    /// Who asked and where.
    pub labels: Arc<Labels>,
    /// `chat`, `completions`, `embeddings`, …
    pub endpoint: Name,
    /// The model as the client wrote it.
    pub model_asked: Name,
    /// The deployment that answered.
    pub model_answered: Option<Name>,
    /// The provider that was asked last; empty when none was.
    pub provider: Name,
    /// What the client got; 499 client gone; 0 nobody knows (see `error_code`: `crashed`, `dropped`).
    pub status: u16,
    /// Our code for the error, when there was one.
    pub error_code: Option<Name>,
    /// Attempts made.
    pub attempts: u16,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// Tokens of all attempts that were charged.
    pub usage: Usage,
    /// What the providers bill us; `None` = unknown.
    pub cost: Option<Money>,
    /// Whether tokens and money are estimates.
    pub estimated: bool,
    /// From the request's arrival to the first byte to the client, microseconds.
    pub first_byte_us: Option<u64>,
    /// From arrival to the last byte, microseconds.
    pub duration_us: u64,
    /// What of that was ours, microseconds.
    pub gateway_us: u64,
    /// The client's own user.
    pub end_user: Option<Name>,
    /// The client's session.
    pub session: Option<Name>,
    /// The client's tags.
    pub tags: Vec<(Name, Name)>,
    /// The provider's id of the request.
    pub upstream_request_id: Option<Name>,
    /// Why the model stopped.
    pub finish_reason: Option<Name>,
    /// Bodies, where the environment keeps them.
    pub bodies: Option<Bodies>,
}

/// Tags that begin so are the gateway's own; clients cannot set them.
const OWN_TAGS: &str = "tidegate.";
const RECALLED: &str = "tidegate.cache";
const SAVED: &str = "tidegate.saved";
/// Before the name of a guardrail.
const GUARDRAIL: &str = "tidegate.guardrail.";

/// Whether a tag of this name is one of the gateway's own.
#[must_use]
pub fn is_own_tag(name: &str) -> bool {
    name.starts_with(OWN_TAGS)
}

/// What few lines have is kept among their tags, so that the many lines that have it not pay nothing for it.
impl RequestLog {
    /// Says what it had to do with earlier answers: `hit` or `miss` (of the cache), `replay` (for an idempotency key); and
    /// what that saved.
    pub fn mark_recalled(&mut self, how: &str, saved: Option<Money>) {
        self.tags.push((RECALLED.into(), how.into()));
        if let Some(saved) = saved {
            self.tags.push((SAVED.into(), format!("{} {}", saved.decimal(), saved.currency).into()));
        }
    }

    /// `hit`, `miss` or `replay`, where it had to do with earlier answers.
    #[must_use]
    pub fn recalled(&self) -> Option<&str> {
        self.own(RECALLED)
    }

    /// What that saved: an amount and its currency.
    #[must_use]
    pub fn saved(&self) -> Option<(&str, &str)> {
        self.own(SAVED)?.split_once(' ')
    }

    /// The client's own tags.
    pub fn client_tags(&self) -> impl Iterator<Item = &(Name, Name)> {
        self.tags.iter().filter(|(name, _)| !is_own_tag(name))
    }

    /// What guardrails decided: each by its name.
    pub fn guardrails(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tags.iter().filter_map(|(name, value)| Some((name.strip_prefix(GUARDRAIL)?, &**value)))
    }

    fn own(&self, wanted: &str) -> Option<&str> {
        self.tags.iter().find(|(name, _)| **name == *wanted).map(|(_, value)| &**value)
    }
}

/// What the drain hands to the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Drained {
    /// A terminal entry.
    Entry(Entry),
    /// A line of the request log.
    Request(RequestLog),
}

impl Settlement {
    /// Whether its figures are estimates: an attempt that never produced anything has nothing to estimate.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.basis != Basis::Reported && !matches!(self.outcome, Outcome::Refused | Outcome::NeverDispatched)
    }
}
