//! Whole answers: reading one is reading a stream of one event, so that both always come to the same.

use crate::blocks::{Answer, Choice, Event, Fold, Issuer, Part, Raw, Stop, StopKind};
use crate::dialects::{Reply, Unanswered};

use super::emit::{List, Object, call_part, has_member, media_part, text_part};
use super::members::Members;
use super::stream::{StreamReader, unlisted};
use super::{logprobs, signature, usage, words};

/// Members of a candidate that say where its text comes from; each is kept as an object with that one member.
pub(super) const SOURCES: [&str; 3] = ["groundingMetadata", "citationMetadata", "urlContextMetadata"];

/// Parts that only this dialect knows.
const PARTS: [&str; 8] = [
    "inlineData",
    "fileData",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
    "audioTranscription",
    "functionResponse",
];

/// Reads a provider's whole answer.
pub(crate) fn read_answer(body: &[u8], issuer: &Issuer) -> Result<Answer, Unanswered> {
    let mut reader = StreamReader::new(issuer.clone());
    let mut events = Vec::new();
    reader.push(None, body, &mut events);
    if let Some(Event::Error { message, code }) =
        events.iter().find(|event| matches!(event, Event::Error { .. }))
    {
        let told = std::str::from_utf8(body).ok().map(unlisted).and_then(Members::parse);
        let told = told.is_some_and(|body| body.get("error").is_some());
        let error = (told && events.len() == 1).then(|| (message.clone(), code.clone()));
        return Err(Unanswered { message: message.clone(), error });
    }
    if !reader.has_answer() {
        let message = "the provider's answer has neither candidates nor a reason why not".to_owned();
        return Err(Unanswered { message, error: None });
    }
    reader.end(&mut events);
    let mut fold = Fold::default();
    for event in &events {
        fold.push(event);
    }
    Ok(fold.answer())
}

/// Writes a client's whole answer.
pub(crate) fn write_answer(answer: &Answer, reply: &Reply<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut body = Object::new(&mut out);
    match blocked(answer) {
        Some(reason) => block(reason, &mut body),
        None => {
            let mut candidates = List::new(body.name("candidates"));
            for (index, choice) in answer.choices.iter().enumerate() {
                write_choice(index, choice, candidates.item());
            }
            candidates.end();
        }
    }
    if let Some(told) = &answer.usage {
        usage::write(told, body.name("usageMetadata"));
    }
    body.text("modelVersion", answer.model.as_deref().unwrap_or(reply.model));
    body.text("responseId", answer.id.as_deref().filter(|id| !id.is_empty()).unwrap_or(reply.id));
    body.end();
    out
}

/// The prompt was stopped, in Google's own word, and nothing was answered.
fn blocked(answer: &Answer) -> Option<&'static str> {
    let [Choice { parts, stop: Some(stop), .. }] = answer.choices.as_slice() else { return None };
    if parts.is_empty() { words::block_reason(stop) } else { None }
}

pub(super) fn block(reason: &str, body: &mut Object<'_>) {
    let mut feedback = Object::new(body.name("promptFeedback"));
    feedback.text("blockReason", reason);
    feedback.end();
}

fn write_choice(index: usize, choice: &Choice, out: &mut Vec<u8>) {
    let mut candidate = Object::new(out);
    let mut content = Object::new(candidate.name("content"));
    let mut parts = List::new(content.name("parts"));
    let mut sources: Vec<&Raw> = Vec::new();
    for part in &choice.parts {
        if let Part::Text { citations, .. } = part {
            sources.extend(citations);
        }
        if let Part::Unknown { kind, raw, .. } = part
            && SOURCES.contains(&kind.as_str())
        {
            sources.push(raw);
            continue;
        }
        let mut piece = Vec::new();
        if write_part(part, &mut piece) {
            parts.item().extend_from_slice(&piece);
        }
    }
    parts.end();
    content.text("role", "model");
    content.end();
    if let Some(stop) = &choice.stop {
        let refused = choice.parts.iter().any(|part| matches!(part, Part::Refusal { .. }));
        finish(stop, refused, &mut candidate);
    }
    candidate.number("index", index);
    for name in SOURCES {
        let source = sources.iter().rev().find(|raw| has_member(raw, name));
        if let Some(source) = source {
            write_source(name, source, &mut candidate);
        }
    }
    if let Some(told) = &choice.logprobs {
        let mut piece = Vec::new();
        if logprobs::write(told, &mut piece) {
            candidate.name("logprobsResult").extend_from_slice(&piece);
        }
    }
    candidate.end();
}

/// The member of a source that was kept as an object with this one member.
pub(super) fn write_source(name: &str, source: &Raw, candidate: &mut Object<'_>) {
    if let Some(value) = Members::parse(source.get()).and_then(|mut members| members.take(name)) {
        candidate.json(name, value.get());
    }
}

/// A refusal in words is marked, for it stands among the text.
pub(super) fn finish(stop: &Stop, refused: bool, candidate: &mut Object<'_>) {
    if refused && stop.kind == StopKind::End {
        candidate.text("finishReason", words::finish_reason(&Stop::new(StopKind::Refusal)));
        return;
    }
    candidate.text("finishReason", words::finish_reason(stop));
    if let (StopKind::Other, Some(native)) = (stop.kind, &stop.native)
        && words::finish_reason(stop) == "OTHER"
        && native != "OTHER"
    {
        candidate.text("finishMessage", native);
    }
}

/// Writes a part of an answer; `false`, and nothing written, when the dialect has none such.
pub(super) fn write_part(part: &Part, out: &mut Vec<u8>) -> bool {
    match part {
        Part::Text { text, opaque, .. } => {
            if text.is_empty() && opaque.is_none() {
                return false;
            }
            text_part(out, text, false, opaque.as_ref().map(signature::shown).as_deref());
        }
        Part::Refusal { text } => text_part(out, text, false, None),
        Part::Reasoning(thought) => {
            let opaque = thought.opaque.as_ref().map(signature::shown);
            let mut text = thought.text.clone();
            for paragraph in &thought.summary {
                if !text.is_empty() {
                    text.push_str("\n\n");
                }
                text.push_str(paragraph);
            }
            if text.is_empty() && opaque.is_none() {
                return false;
            }
            text_part(out, &text, true, opaque.as_deref());
        }
        Part::ToolCall(call) => {
            call_part(out, call, call.opaque.as_ref().map(signature::shown).as_deref());
        }
        Part::Media(media) => {
            let known = |name: &str| ["thoughtSignature", "videoMetadata", "mediaResolution"].contains(&name);
            let more: Vec<_> = media.extra.iter().filter(|(name, _)| known(name)).collect();
            let more: Vec<_> = more.iter().map(|(name, raw)| (name.as_str(), raw)).collect();
            media_part(out, media, &more);
        }
        Part::Unknown { kind, raw, .. } => return write_unknown(kind, raw, out),
        Part::ToolResult(_) => return false,
    }
    true
}

/// Writes a part that only this dialect knows, if it is one.
pub(super) fn write_unknown(kind: &str, raw: &Raw, out: &mut Vec<u8>) -> bool {
    let is_own = PARTS.contains(&kind) && has_member(raw, kind);
    if is_own {
        out.extend_from_slice(raw.get().as_bytes());
    }
    is_own
}
