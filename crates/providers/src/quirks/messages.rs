//! What vendors want of the conversation itself: thoughts replayed, a message to be continued marked, texts as texts.

use super::request::Ask;
use super::splice::{Members, Splices, elements};
use super::{Quirk, Quirks};
use crate::json::Span;
use crate::json::text::{decode, encode};

/// The splices of `messages`, whose text this is.
pub(super) fn edit(messages: &[u8], quirks: Quirks, ask: &Ask<'_>) -> Splices {
    let mut splices = Splices::default();
    let found = elements(messages);
    let replays = quirks.has(Quirk::NeedsReasoningReplay);
    let flattens = quirks.has(Quirk::NoContentLists);
    let mark = match (quirks.has(Quirk::PrefillPrefix), quirks.has(Quirk::PrefillPartial)) {
        (true, _) => Some("prefix"),
        (_, true) => Some("partial"),
        _ => None,
    };
    for (number, span) in found.iter().enumerate() {
        let last = number + 1 == found.len();
        if !replays && !flattens && !last {
            continue;
        }
        let Some(mut message) = Members::of(span.of(messages)) else { continue };
        let assistant =
            message.value("role").is_some_and(|role| decode(role).as_deref() == Some("assistant"));
        let calls = message.value("tool_calls").map(elements).unwrap_or_default();
        if replays && assistant && !calls.is_empty() {
            replay(&mut message, &calls, ask);
        }
        if let Some(mark) = mark.filter(|mark| last && assistant && calls.is_empty() && !message.has(mark)) {
            message.add(mark, b"true");
        }
        if flattens && let Some(text) = message.value("content").and_then(flat) {
            message.replace("content", &text);
        }
        splices.take(message.splices(), span.start);
    }
    splices
}

/// Puts the thoughts back that led to these calls, where the client has lost them.
fn replay(message: &mut Members<'_>, calls: &[Span], ask: &Ask<'_>) {
    let told = message.value("reasoning_content").is_some_and(|thoughts| thoughts != br#""""#);
    let Some(list) = message.value("tool_calls").filter(|_| !told) else { return };
    let id = |call: &Span| decode(Members::of(call.of(list))?.value("id")?);
    let Some(thoughts) = calls.iter().filter_map(id).find_map(|id| (ask.thoughts)(&id)) else { return };
    let mut text = Vec::with_capacity(thoughts.len() + 2);
    encode(&thoughts, &mut text);
    if message.has("reasoning_content") {
        message.replace("reasoning_content", &text);
    } else {
        message.add("reasoning_content", &text);
    }
}

/// A list of texts as one text, a line each; `None` where it holds anything else, which a model with vision may take.
fn flat(content: &[u8]) -> Option<Vec<u8>> {
    let parts = elements(content);
    if !content.starts_with(b"[") || parts.is_empty() {
        return None;
    }
    let mut text = vec![b'"'];
    for (number, span) in parts.iter().enumerate() {
        let part = Members::of(span.of(content))?;
        if decode(part.value("type")?)? != "text" {
            return None;
        }
        let quoted = part.value("text").filter(|text| text.starts_with(b"\""))?;
        if number > 0 {
            text.extend_from_slice(b"\\n");
        }
        // The bytes between the quotes stay as they were escaped.
        text.extend_from_slice(quoted.get(1..quoted.len() - 1)?);
    }
    text.push(b'"');
    Some(text)
}
