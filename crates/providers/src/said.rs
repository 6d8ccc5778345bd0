//! What a model said in an answer, with the places: for whoever has to look at all of it, in whole answers and in the events of
//! a stream, in every dialect that a client reads.
//!
//! As with requests ([`crate::request::texts`]) it is every string where a model speaks but the names of the protocol, and
//! not a list of members: the next member of a vendor would be missing from it. Where a model speaks is told by dialect,
//! since answers of Responses repeat the request, and nobody wants an answer refused for what it was asked.
//!
//! In a stream a text comes in pieces. What belongs together has one number, made of the names and indexes above the piece; what
//! comes whole (names of tools, citations, arguments of Gemini) has none.

pub mod inside;
mod rest;
mod walk;

use bytes::{Bytes, BytesMut};

use crate::json::text::encode;
use crate::json::{JsonError, Span, scan_document, top_level};
use crate::request::Operation;
use crate::sse::Framer;
use walk::Walk;

pub use rest::rest;

/// What a piece is a piece of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The answer proper.
    Content,
    /// Thoughts.
    Thought,
    /// Arguments of tools, refusals, citations and the like.
    Other,
}

/// One text, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The value as it stands, with its quotes.
    pub span: Span,
    /// The text, unescaped.
    pub text: String,
    /// What it is.
    pub part: Part,
    /// Which of several answers, blocks or items it belongs to.
    pub group: u64,
    /// In a stream: the number of the text that it is a piece of.
    pub of: Option<u64>,
}

/// What is said in one answer or event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// In the order of the JSON.
    pub pieces: Vec<Piece>,
    /// Log probabilities, which tell the text once more in pieces that nobody can look at.
    pub logs: Vec<Span>,
    /// Groups of which nothing more comes.
    pub closes: Vec<u64>,
    /// Nothing more comes at all.
    pub closes_all: bool,
    /// It tells again what other events have told.
    pub repeats: bool,
    /// Where the number of the event stands.
    pub sequence: Option<Span>,
    /// Where it says what kind of event it is.
    pub kind: Option<Span>,
}

/// Looks at a whole answer of a client's dialect.
///
/// # Errors
/// It is no JSON.
pub fn in_answer(operation: Operation, body: &[u8]) -> Result<Said, JsonError> {
    let mut walk = Walk::new(operation, false);
    scan_document(body, &mut walk)?;
    Ok(walk.finish(body))
}

/// Looks at the data of one event of a client's dialect.
///
/// # Errors
/// It is no JSON.
pub fn in_event(operation: Operation, data: &[u8]) -> Result<Said, JsonError> {
    let mut walk = Walk::new(operation, true);
    scan_document(data, &mut walk)?;
    Ok(walk.finish(data))
}

/// A text as JSON.
pub fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    encode(text, &mut out);
    out
}

/// The JSON with some values replaced; every other byte as it was.
pub fn with(json: &[u8], changes: &mut [(Span, Vec<u8>)]) -> Bytes {
    changes.sort_by_key(|(span, _)| span.start);
    let more: usize = changes.iter().map(|(_, value)| value.len()).sum();
    let mut out = Vec::with_capacity(json.len() + more);
    let mut at = 0;
    for (span, value) in changes {
        out.extend_from_slice(json.get(at..span.start).unwrap_or_default());
        out.extend_from_slice(value);
        at = span.end;
    }
    out.extend_from_slice(json.get(at..).unwrap_or_default());
    out.into()
}

/// What stands in place of log probabilities: as little of the same type.
pub fn no_logs(json: &[u8], span: Span) -> Vec<u8> {
    let list = span.of(json).first() == Some(&b'[');
    if list { b"[]".to_vec() } else { b"null".to_vec() }
}

/// Events of Responses without what was said, which some of them tell again as a whole. `added` events that their numbers do not
/// count went on before them.
pub fn without_output(events: &Bytes, added: u64) -> Bytes {
    let mut framer = Framer::new(events.len() + 1);
    framer.push(events.clone());
    let mut out = BytesMut::with_capacity(events.len());
    while let Ok(Some(event)) = framer.next() {
        let output = output_of(&event.data).map(|span| (span, b"[]".to_vec()));
        let number = in_event(Operation::Responses, &event.data).ok().filter(|_| added > 0);
        let number = number.and_then(|said| {
            let span = said.sequence?;
            let number: u64 = std::str::from_utf8(span.of(&event.data)).ok()?.parse().ok()?;
            Some((span, number.saturating_add(added).to_string().into_bytes()))
        });
        let mut changes: Vec<_> = output.into_iter().chain(number).collect();
        if changes.is_empty() {
            out.extend_from_slice(&event.raw);
        } else {
            out.extend_from_slice(&event.with_data(&with(&event.data, &mut changes)));
        }
    }
    out.freeze()
}

/// Where `response.output` stands.
fn output_of(data: &[u8]) -> Option<Span> {
    let response = top_level(data).ok()?.find(data, "response")?.value;
    let inner = response.of(data);
    let output = top_level(inner).ok()?.find(inner, "output")?.value;
    Some(Span::new(response.start + output.start, response.start + output.end))
}

#[cfg(test)]
#[path = "said/tests.rs"]
mod tests;
