//! Whole answers: thoughts that a vendor left between tags in the content are moved to where clients look for them.

use bytes::Bytes;

use super::splice::{Members, Splices, elements};
use super::{Quirk, Quirks};
use crate::dialects::chat::think_tag::{Piece, ThinkTag};
use crate::json::text::{decode, encode};

/// The answer as it should have been; the very bytes when nothing is wrong with it.
pub fn clean(body: Bytes, quirks: Quirks) -> Bytes {
    if !quirks.has(Quirk::ReasoningInThinkTags) || memchr::memmem::find(&body, b"think>").is_none() {
        return body;
    }
    let splices = Members::of(&body).and_then(|answer| {
        let (choices, place) = (answer.value("choices")?, answer.span("choices")?);
        let mut splices = Splices::default();
        for span in elements(choices) {
            if let Some(inner) = message(span.of(choices)) {
                splices.take(inner, place.start + span.start);
            }
        }
        Some(splices)
    });
    splices.unwrap_or_default().apply(&body)
}

fn message(choice: &[u8]) -> Option<Splices> {
    let choice = Members::of(choice)?;
    let (text, place) = (choice.value("message")?, choice.span("message")?);
    let mut message = Members::of(text)?;
    let content = decode(message.value("content")?)?;
    let (mut tag, mut pieces) = (ThinkTag::default(), Vec::new());
    tag.push(&content, &mut pieces);
    tag.end(&mut pieces);
    let (thought, said) = sort(pieces);
    if thought.is_empty() {
        return None;
    }
    put(&mut message, &thought, &said);
    let mut splices = Splices::default();
    splices.take(message.splices(), place.start);
    Some(splices)
}

/// What was thought and what was said.
pub(super) fn sort(pieces: Vec<Piece>) -> (String, String) {
    let (mut thought, mut said) = (String::new(), String::new());
    for piece in pieces {
        match piece {
            Piece::Thought(text) => thought.push_str(&text),
            Piece::Said(text) => said.push_str(&text),
        }
    }
    (thought, said)
}

/// Puts both into a message or a delta that has `content`.
pub(super) fn put(message: &mut Members<'_>, thought: &str, said: &str) {
    let quoted = |text: &str| {
        let mut out = Vec::with_capacity(text.len() + 2);
        encode(text, &mut out);
        out
    };
    message.replace("content", &quoted(said));
    if !thought.is_empty() {
        message.remove("reasoning_content");
        message.add("reasoning_content", &quoted(thought));
    }
}
