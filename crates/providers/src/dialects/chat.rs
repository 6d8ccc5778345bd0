//! OpenAI Chat Completions: what OpenAI documents, and what the many servers that call themselves compatible say.
//!
//! Towards providers the dialect is OpenAI's own and nothing more, because a strict server refuses what it does not
//! know; from providers it is read leniently, because each vendor says reasoning, usage and tool calls in its own way.
//! A whole answer is read as a stream of one chunk, so that both are understood by the same code.
//!
//! What Chat has no place for travels to clients where other gateways and SDKs expect it: thoughts in
//! `reasoning_content`, their signatures in `reasoning_details` (OpenRouter's shape), Gemini's signatures in
//! `extra_content.google.thought_signature` (Google's own). All of them are read back with the next turn.
//!
//! Reading order: `members`, `json`, `parts`, `thoughts`, `turns`, `ask` (read requests), `models`, `put_turns`, `put`
//! (write requests), `think_tag`, `hear` (read streams), `whole` (whole answers, both ways), `say` (write streams).

mod ask;
mod counts;
mod hear;
mod json;
mod members;
mod models;
mod parts;
mod put;
mod put_turns;
mod say;
mod stops;
pub(crate) mod think_tag;
mod thoughts;
mod tools;
mod turns;
mod whole;

use super::Failing;
use crate::error_event;

pub(crate) use ask::read_request;
pub use hear::StreamReader;
pub(crate) use put::write_request;
pub use say::StreamWriter;
pub(crate) use whole::{read_answer, write_answer};

/// A failure as a body: OpenAI's `{"error":{"message","type","param","code"}}`.
pub(crate) fn error_body(failing: &Failing<'_>) -> Vec<u8> {
    let code = (!failing.code.is_empty()).then_some(failing.code);
    error_event::openai(failing.status, failing.kind, code, failing.message, failing.param).into_bytes()
}

#[cfg(test)]
mod tests;
