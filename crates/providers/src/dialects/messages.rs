//! Anthropic Messages (`POST /v1/messages`).
//!
//! What is special about this dialect:
//! - Two API versions are in use. `2026-10-21` refuses sampling parameters altogether, `2023-06-01` takes them from
//!   models that still have them; the writer of requests picks one by the model's family (`family`).
//! - Thinking blocks are signed and go back to their issuer alone. Thoughts of other providers travel through a client
//!   of this dialect as thinking blocks whose signature is a capsule. A signature that another dialect puts on a call
//!   or a text stands in a `redacted_thinking` block right behind that block, and is put back by the reader.
//! - Blocks are strictly sequential, in whole answers and in streams.
//!
//! Reading order: `content` and `request` (a client's body), `write`, `turns`, `blocks` and `thinking` (a
//! provider's body), `answer`, `reader`, `writer`, `error`.

mod answer;
mod blocks;
mod content;
mod encoding;
mod error;
mod family;
mod json;
mod names;
mod reader;
mod request;
mod thinking;
mod tools;
mod turns;
mod usage;
mod write;
mod writer;

pub(crate) use answer::{read_answer, write_answer};
pub(crate) use error::{error_body, error_status};
pub use reader::StreamReader;
pub(crate) use request::read_request;
pub(crate) use write::write_request;
pub use writer::StreamWriter;

use super::Dialect;
use crate::blocks::{Part, Request};

/// The request with the search results in it as text, for a provider of another dialect, and whether some of them were to be
/// cited; `None` where there are none.
pub(crate) fn without_search_results(request: &Request) -> Option<(Request, bool)> {
    if !request.turns.iter().any(|turn| have_search_results(&turn.parts)) {
        return None;
    }
    let (mut request, mut cited) = (request.clone(), false);
    for turn in &mut request.turns {
        tell_search_results(&mut turn.parts, &mut cited);
    }
    Some((request, cited))
}

fn have_search_results(parts: &[Part]) -> bool {
    parts.iter().any(|part| match part {
        Part::ToolResult(result) => have_search_results(&result.parts),
        part => search_result(part).is_some(),
    })
}

fn tell_search_results(parts: &mut [Part], cited: &mut bool) {
    for part in parts {
        if let Part::ToolResult(result) = part {
            tell_search_results(&mut result.parts, cited);
        } else if let Some((text, is_cited)) = search_result(part) {
            *cited |= is_cited;
            *part = Part::text(text);
        }
    }
}

fn search_result(part: &Part) -> Option<(String, bool)> {
    match part {
        Part::Unknown { dialect: Dialect::Messages, kind, raw } if kind == "search_result" => {
            content::search_result(raw)
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "messages/tests.rs"]
mod tests;
