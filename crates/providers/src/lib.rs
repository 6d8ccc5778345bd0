//! Speaks every model API: reads what a client asks, edits only the bytes that policy must set, and
//! reads answers and streams as they pass.
//!
//! What it is not: it does no I/O, has no clock, no randomness, no async runtime and no idea of keys
//! or prices. Nothing here builds a tree of a body: bodies are scanned once and referred to by spans,
//! because a provider's prompt cache and a client's odd numbers both depend on the exact bytes.
//!
//! Reading order: [`json`] (the scanner everything stands on), [`request`] (what is asked, and the
//! surgical edits), [`sse`] (events out of bytes), [`tap`] (reads a stream as it passes), [`answer`]
//! (a whole answer), [`said`] (what a model said in it), [`usage`] (what the provider counted), [`tokens`] (what a text counts before anybody
//! tells), [`failure`] (whose fault an upstream's refusal is), [`quirks`] (where vendors differ),
//! [`tool_names`] (and what their alphabets refuse), [`other_door`] (the one refusal that names another way
//! in), [`error_event`] (errors in the caller's dialect).

pub mod answer;
pub mod blocks;
pub mod completions;
pub mod dialects;
pub mod error_event;
pub mod failure;
pub mod flow;
#[doc(hidden)]
pub mod fuzz;
mod http_date;
pub mod json;
pub mod other_door;
mod output;
pub mod quirks;
pub mod request;
pub mod said;
pub mod sse;
mod steps;
pub mod tap;
pub mod tokens;
pub mod tool_names;
pub mod usage;
pub mod vectors;

pub use usage::Usage;
