//! Google Gemini `generateContent` and `streamGenerateContent`.
//!
//! The model and whether to stream stand in the URL, so bodies hold neither. Google's servers and SDKs mix snake_case
//! and camelCase and both alphabets of base64: all are read, camelCase is written. A stream has no end marker of its
//! own: it has ended well when a reason to finish was told and the connection closed in good order.
//!
//! Reading order: `members` (objects by their camelCase names), `request` with `contents`, `tools` and
//! `schema` (reading what is asked), `ask` with `turns` and `family` (writing it), `stream` (reading answers,
//! whole ones too), `answer` with `emit` and `writer` (writing them), `words`, `usage` and `logprobs`
//! (tables), `error`.

mod answer;
mod ask;
mod contents;
mod emit;
mod error;
mod family;
mod logprobs;
mod members;
mod request;
mod schema;
mod signature;
mod stream;
mod tools;
mod turns;
mod usage;
mod words;
mod writer;

pub(crate) use answer::{read_answer, write_answer};
pub(crate) use ask::write_request;
pub(crate) use error::error_body;
pub(crate) use request::read_request;
pub use stream::StreamReader;
pub use writer::StreamWriter;

#[cfg(test)]
mod tests;
