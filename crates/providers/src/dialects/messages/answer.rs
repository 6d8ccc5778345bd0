//! Whole answers: read from a provider, written for a client.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::blocks::{is_citation, write_citations};
use super::json::{Object, Out, array, one_line};
use super::names;
use super::turns::input;
use super::usage::{self, Counts};
use crate::blocks::{
    Answer, Choice, Issuer, Opaque, OpaqueKind, Part, Raw, Reasoning, Stop, StopKind, ToolCall, ToolKind,
};
use crate::dialects::{Dialect, Reply, Unanswered};

/// Blocks of an answer that are passed on verbatim, because only this dialect has them.
const OWN_BLOCKS: [&str; 9] = [
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "container_upload",
    "mcp_tool_use",
];

/// Whether a block of an answer may be shown to a client of this dialect.
pub(super) fn is_own_block(kind: &str, raw: &Raw) -> bool {
    (OWN_BLOCKS.contains(&kind) || matches!(kind, "mcp_tool_result" | "compaction"))
        && Object::read(raw.get()).and_then(|block| block.kind()).as_deref() == Some(kind)
}

/// Reads a whole answer.
pub(crate) fn read_answer(body: &[u8], issuer: &Issuer) -> Result<Answer, Unanswered> {
    let broken = |message: &str| Unanswered { message: message.to_owned(), error: None };
    let mut message = std::str::from_utf8(body)
        .ok()
        .and_then(Object::read)
        .ok_or_else(|| broken("the answer is not a JSON object"))?;
    let error = message.take("error");
    if error.is_some() || message.kind().as_deref() == Some("error") {
        let (message, code) = error_of(error);
        return Err(Unanswered { message: message.clone(), error: Some((message, code)) });
    }
    let content = message.take("content").and_then(array);
    let content = content.ok_or_else(|| broken("the answer has no `content`"))?;
    let mut parts = Vec::with_capacity(content.len());
    for block in content {
        let Some(object) = Object::read(block.get()) else {
            return Err(broken("a content block of the answer is not an object"));
        };
        parts.extend(read_block(object, block, issuer));
    }
    let details = message.take("stop_details");
    parts.extend(explanation(details));
    let mut counts = Counts::default();
    let service_tier = message.take("usage").and_then(|usage| counts.merge(usage.get()));
    let sequence = message.loose_text("stop_sequence");
    let stop = message.loose_text("stop_reason").map(|reason| read_stop(reason, sequence));
    Ok(Answer {
        id: message.loose_text("id"),
        model: message.loose_text("model"),
        created: None,
        choices: vec![Choice { parts, stop, logprobs: None }],
        usage: counts.usage(),
        service_tier,
    })
}

/// Message and type of an error object, or of an error that is a mere text.
pub(super) fn error_of(error: Option<&RawValue>) -> (String, Option<String>) {
    let Some(error) = error else { return ("the provider answered with an error".to_owned(), None) };
    if let Ok(text) = serde_json::from_str::<String>(error.get()) {
        return (text, None);
    }
    let mut object = Object::read(error.get()).unwrap_or_else(Object::empty);
    let code = object.loose_text("type");
    let message = object.loose_text("message").or_else(|| code.clone());
    (message.unwrap_or_else(|| "the provider answered with an error".to_owned()), code)
}

/// The words of `stop_details`, as the refusal that they are.
pub(super) fn explanation(details: Option<&RawValue>) -> Option<Part> {
    let mut details = Object::read(details?.get())?;
    let text = details.loose_text("explanation").filter(|text| !text.is_empty())?;
    Some(Part::Refusal { text })
}

fn read_block(mut block: Object<'_>, whole: &RawValue, issuer: &Issuer) -> Option<Part> {
    let kind = block.kind().unwrap_or_default();
    let sealed = |kind, data| Opaque { issuer: issuer.clone(), kind, data };
    Some(match kind.as_str() {
        "text" => {
            let citations = block.take("citations").and_then(array).unwrap_or_default();
            Part::Text {
                text: block.loose_text("text").unwrap_or_default(),
                citations: citations.into_iter().filter_map(|raw| Raw::parse(raw.get())).collect(),
                opaque: None,
                cache: None,
            }
        }
        "thinking" => {
            let signature = block.loose_text("signature").filter(|text| !text.is_empty());
            Part::Reasoning(Reasoning {
                text: block.loose_text("thinking").unwrap_or_default(),
                opaque: signature.map(|data| sealed(OpaqueKind::Signature, data)),
                ..Reasoning::default()
            })
        }
        "redacted_thinking" => Part::Reasoning(Reasoning {
            opaque: Some(sealed(OpaqueKind::Redacted, block.loose_text("data").unwrap_or_default())),
            ..Reasoning::default()
        }),
        "tool_use" => Part::ToolCall(ToolCall {
            id: block.loose_text("id").unwrap_or_default(),
            name: names::original(block.loose_text("name").unwrap_or_default()),
            arguments: block.take("input").map_or_else(|| "{}".to_owned(), |input| input.get().to_owned()),
            ..ToolCall::default()
        }),
        _ => Part::Unknown { dialect: Dialect::Messages, kind, raw: Raw::parse(whole.get())? },
    })
}

/// A stop reason in the form's words.
pub(super) fn read_stop(reason: String, sequence: Option<String>) -> Stop {
    let kind = match reason.as_str() {
        "end_turn" => StopKind::End,
        "stop_sequence" => StopKind::Sequence,
        "max_tokens" => StopKind::Length,
        "model_context_window_exceeded" => StopKind::ContextWindow,
        "tool_use" => StopKind::ToolCalls,
        "refusal" => StopKind::Refusal,
        "pause_turn" => StopKind::Pause,
        _ => StopKind::Other,
    };
    Stop { kind, sequence, native: Some(reason) }
}

/// The stop reason for a client. Its type is closed, so that reasons without a word of their own become the nearest.
pub(super) fn stop_reason(kind: StopKind, has_calls: bool, refused: bool) -> &'static str {
    match kind {
        StopKind::Sequence => "stop_sequence",
        StopKind::Length => "max_tokens",
        StopKind::ContextWindow => "model_context_window_exceeded",
        StopKind::ToolCalls => "tool_use",
        StopKind::Filter | StopKind::Refusal => "refusal",
        StopKind::Pause => "pause_turn",
        StopKind::End | StopKind::BadToolCall | StopKind::Other if has_calls => "tool_use",
        StopKind::End if refused => "refusal",
        StopKind::End | StopKind::BadToolCall | StopKind::Other => "end_turn",
    }
}

/// Writes `stop_reason`, `stop_sequence` and, for a refusal, `stop_details`.
pub(super) fn write_stop(stop: Option<&Stop>, has_calls: bool, refusal: &str, out: &mut Out<'_>) {
    let reason = stop.map(|stop| stop_reason(stop.kind, has_calls, !refusal.is_empty()));
    match reason {
        Some(reason) => out.text("stop_reason", reason),
        None => out.raw("stop_reason", "null"),
    };
    match stop.and_then(|stop| stop.sequence.as_deref()).filter(|_| reason == Some("stop_sequence")) {
        Some(sequence) => out.text("stop_sequence", sequence),
        None => out.raw("stop_sequence", "null"),
    };
    // What this dialect has no word for is told beside the nearest, so that it is never the whole story.
    if let Some(stop) = stop.filter(|stop| matches!(stop.kind, StopKind::Other | StopKind::BadToolCall)) {
        let native = stop
            .native
            .as_deref()
            .or((stop.kind == StopKind::BadToolCall).then_some("malformed_function_call"));
        if let Some(native) = native {
            out.text("native_stop_reason", native);
        }
    }
    if reason == Some("refusal") {
        let mut details = Out::object(out.key("stop_details"));
        details.text("type", "refusal").raw("category", "null");
        match refusal {
            "" => details.raw("explanation", "null"),
            text => details.text("explanation", text),
        };
        details.end();
    }
}

/// Whether the words of a refusal are told as text too: yes, unless the stop tells them as this dialect does itself.
pub(super) fn tells_refusal(refusal: &str, stop: Option<&Stop>) -> bool {
    !refusal.is_empty() && stop.is_none_or(|stop| stop.kind != StopKind::Refusal)
}

/// The id for the client: with the prefix that it knows.
pub(super) fn message_id<'a>(id: Option<&'a str>, reply: &'a str) -> Cow<'a, str> {
    match id.filter(|id| id.starts_with("msg_")) {
        Some(id) => Cow::Borrowed(id),
        None => Cow::Owned(format!("msg_{reply}")),
    }
}

/// A call's id for the client: as it is, or one made of its place where there is none.
pub(super) fn call_id<'a>(id: &'a str, reply: &str, place: usize) -> Cow<'a, str> {
    if id.is_empty() { Cow::Owned(format!("toolu_{reply}{place}")) } else { Cow::Borrowed(id) }
}

/// Writes a whole answer. Of several choices the client gets the first, since it knows of no others.
pub(crate) fn write_answer(answer: &Answer, reply: &Reply<'_>) -> Vec<u8> {
    let none = Choice::default();
    let choice = answer.choices.first().unwrap_or(&none);
    let mut bytes = Vec::with_capacity(512);
    let mut out = Out::object(&mut bytes);
    out.text("id", &message_id(answer.id.as_deref(), reply.id));
    out.text("type", "message")
        .text("role", "assistant")
        .text("model", answer.model.as_deref().unwrap_or(reply.model));
    let mut refusal = String::new();
    let mut calls = 0;
    let mut list = Out::array(out.key("content"));
    for part in &choice.parts {
        match part {
            Part::Refusal { text } => refusal.push_str(text),
            Part::ToolCall(call) => {
                write_call(call, &call_id(&call.id, reply.id, calls), &mut list);
                calls += 1;
            }
            part => write_block(part, &mut list),
        }
    }
    if tells_refusal(&refusal, choice.stop.as_ref()) {
        write_block(&Part::text(refusal.as_str()), &mut list);
    }
    list.end();
    write_stop(choice.stop.as_ref(), calls > 0, &refusal, &mut out);
    usage::write(answer.usage.as_ref(), answer.service_tier.as_deref(), true, &mut out);
    out.end();
    bytes
}

fn write_call(call: &ToolCall, id: &str, list: &mut Out<'_>) {
    let mut out = Out::object(list.item());
    out.text("type", "tool_use").text("id", id).text("name", &call.name);
    out.raw("input", &input(&call.arguments, &call.kind));
    out.end();
    write_carrier(call.opaque.as_ref(), list);
}

/// The signature of another dialect on the block before: see the head of this dialect.
fn write_carrier(opaque: Option<&Opaque>, list: &mut Out<'_>) {
    if let Some(opaque) = opaque.filter(|opaque| opaque.issuer.dialect != Dialect::Messages) {
        let mut out = Out::object(list.item());
        out.text("type", "redacted_thinking").text("data", &opaque.capsule());
        out.end();
    }
}

fn write_block(part: &Part, list: &mut Out<'_>) {
    match part {
        Part::Text { text, citations, opaque, .. } => {
            if !text.is_empty() {
                let mut out = Out::object(list.item());
                out.text("type", "text").text("text", text);
                let own: Vec<&Raw> = citations.iter().filter(|raw| is_citation(raw)).collect();
                write_citations(&own, &mut out);
                out.end();
            }
            write_carrier(opaque.as_ref(), list);
        }
        Part::Reasoning(thought) => write_thought(thought, list),
        Part::Unknown { kind, raw, .. } if is_own_block(kind, raw) => one_line(raw.get(), list.item()),
        // The dialect has no media in answers, and blocks of others would break its clients.
        Part::Unknown { .. }
        | Part::Media(_)
        | Part::ToolCall(_)
        | Part::ToolResult(_)
        | Part::Refusal { .. } => {}
    }
}

fn write_thought(thought: &Reasoning, list: &mut Out<'_>) {
    let text = if thought.text.is_empty() { thought.summary.join("\n\n") } else { thought.text.clone() };
    match &thought.opaque {
        Some(opaque) if text.is_empty() && is_redacted(opaque) => {
            let mut out = Out::object(list.item());
            out.text("type", "redacted_thinking").text("data", &opaque.data);
            out.end();
        }
        None if text.is_empty() => {}
        opaque => {
            let mut out = Out::object(list.item());
            out.text("type", "thinking").text("thinking", &text);
            let signature = opaque.as_ref().map(|opaque| opaque.shown(Dialect::Messages));
            out.text("signature", signature.as_deref().unwrap_or_default());
            out.end();
        }
    }
}

/// Whether it is a redacted thought of this dialect.
pub(super) fn is_redacted(opaque: &Opaque) -> bool {
    opaque.kind == OpaqueKind::Redacted && opaque.issuer.dialect == Dialect::Messages
}

/// Whether a call's input is free text.
pub(super) fn is_custom(kind: &ToolKind) -> bool {
    *kind == ToolKind::Custom
}
