//! OpenAI Responses (`/v1/responses`), as openai-python 3.54 types it.
//!
//! Reading order: `request` and `input` (a client's body), `write` and `write_items` (a provider's), `answer`
//! over `items` and `shape` (whole answers), `stream_read`, `stream_write`. `settings` and `known` hold what
//! both directions share; `build` and `members` are JSON, written and taken apart. `history` is what is kept of an answer,
//! `namespaces` how tools in one are named for everybody else.

mod answer;
mod build;
mod content;
pub mod history;
mod input;
mod items;
mod known;
mod members;
mod namespaces;
mod request;
mod settings;
mod shape;
mod stream_read;
mod stream_write;
mod write;
mod write_items;
mod write_media;

pub(crate) use answer::{read_answer, write_answer};
pub(crate) use request::read_request;
pub use stream_read::StreamReader;
pub use stream_write::StreamWriter;
pub(crate) use write::write_request;

#[cfg(test)]
mod tests;
