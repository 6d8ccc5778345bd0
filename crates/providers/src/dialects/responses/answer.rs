//! Whole answers: read from a provider, written for a client.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::items;
use super::members::{Members, keep};
use super::shape::{Shape, State, status_of};
use crate::Usage;
use crate::blocks::{
    Answer, Choice, Issuer, Opaque, OpaqueKind, Part, Raw, Reasoning, Stop, StopKind, ToolCall, ToolKind,
};
use crate::dialects::{Dialect, Reply, Unanswered};
use crate::usage::Counts;

/// Writes a client's whole answer.
pub(crate) fn write_answer(answer: &Answer, reply: &Reply<'_>) -> Vec<u8> {
    let mut shape = Shape::new(reply);
    shape.told(answer.id.as_deref(), answer.model.as_deref(), answer.created);
    shape.tier.clone_from(&answer.service_tier);
    let none = Choice::default();
    let choice = answer.choices.first().unwrap_or(&none);
    let (status, _) = status_of(choice.stop.as_ref());
    let items = items::of_choice(choice, reply.id, status == "incomplete", shape.summarizes);
    let mut out = Vec::with_capacity(2048);
    shape.write(State::Ended(choice.stop.as_ref()), &items, answer.usage.as_ref(), &mut out);
    out
}

/// The members of a Response object that are read.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wire<'a> {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) model: Option<String>,
    /// A float in the SDK's type.
    #[serde(default)]
    pub(super) created_at: Option<f64>,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(borrow, default)]
    pub(super) output: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) incomplete_details: Option<Incomplete>,
    #[serde(default)]
    pub(super) service_tier: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Incomplete {
    #[serde(default)]
    reason: Option<String>,
}

impl Wire<'_> {
    pub(super) fn created(&self) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "seconds; a float that is too large saturates")]
        self.created_at.map(|seconds| seconds as i64)
    }

    pub(super) fn counted(&self) -> Option<Usage> {
        let mut counts = Counts::default();
        counts.merge(self.usage?.get().as_bytes());
        counts.usage()
    }

    /// Why it ended; `called`: it has a tool call.
    pub(super) fn stop(&self, called: bool) -> Stop {
        let reason = self.incomplete_details.as_ref().and_then(|details| details.reason.clone());
        let kind = match (self.status.as_deref(), reason.as_deref()) {
            (Some("incomplete"), Some("max_output_tokens" | "max_tokens")) => StopKind::Length,
            (Some("incomplete"), Some("content_filter")) => StopKind::Filter,
            (Some("completed") | None, _) if called => StopKind::ToolCalls,
            (Some("completed") | None, _) => StopKind::End,
            _ => StopKind::Other,
        };
        Stop { kind, sequence: None, native: reason.or_else(|| self.status.clone()) }
    }
}

/// An error object's message and code, else its type.
pub(super) fn told_error(raw: &str) -> (String, Option<String>) {
    if let Ok(message) = serde_json::from_str::<String>(raw) {
        return (message, None);
    }
    let members = Members::of(raw).unwrap_or_default();
    let message =
        members.peek("message").unwrap_or_else(|| "the provider failed without saying why".to_owned());
    (message, members.peek("code").or_else(|| members.peek("type")))
}

/// Reads a provider's whole answer.
pub(crate) fn read_answer(body: &[u8], issuer: &Issuer) -> Result<Answer, Unanswered> {
    let unreadable = |why: &str| Unanswered {
        message: format!("the provider's answer is not a Response object: {why}"),
        error: None,
    };
    let wire: Wire<'_> = serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))?;
    if let Some(error) = wire.error {
        let (message, code) = told_error(error.get());
        return Err(Unanswered {
            message: "the provider answered with an error".to_owned(),
            error: Some((message, code)),
        });
    }
    match wire.status.as_deref() {
        Some("failed") => {
            let error = Some(("the provider failed without saying why".to_owned(), None));
            return Err(Unanswered { message: "the provider's answer is `failed`".to_owned(), error });
        }
        Some(status @ ("queued" | "in_progress")) => {
            return Err(unreadable(&format!("it is still `{status}`")));
        }
        _ => {}
    }
    let output = wire.output.as_ref().ok_or_else(|| unreadable("it has no `output`"))?;
    let mut parts = Vec::new();
    let mut logprobs = Vec::new();
    for raw in output {
        read_item(raw, issuer, &mut parts, &mut logprobs);
    }
    let called = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    let choice = Choice { parts, stop: Some(wire.stop(called)), logprobs: join_logprobs(&logprobs) };
    Ok(Answer {
        created: wire.created(),
        usage: wire.counted(),
        choices: vec![choice],
        id: wire.id,
        model: wire.model,
        service_tier: wire.service_tier,
    })
}

/// Lists of tokens in Chat's shape, which is the one that the form carries.
pub(super) fn join_logprobs(lists: &[Raw]) -> Option<Raw> {
    let tokens: Vec<Vec<Raw>> = lists.iter().filter_map(Raw::read).collect();
    if tokens.iter().all(Vec::is_empty) {
        return None;
    }
    let joined: Vec<&str> = tokens.iter().flatten().map(Raw::get).collect();
    Raw::parse(&format!("{{\"content\":[{}],\"refusal\":null}}", joined.join(",")))
}

/// Reads one item of `output`; what it is not known as is kept.
pub(super) fn read_item(raw: &RawValue, issuer: &Issuer, parts: &mut Vec<Part>, logprobs: &mut Vec<Raw>) {
    let Some(mut item) = Members::of(raw.get()) else { return };
    let kind = item.peek("type").unwrap_or_default();
    match kind.as_str() {
        "message" => {
            for raw in lenient_list(&mut item, "content") {
                parts.extend(read_content(raw, logprobs));
            }
        }
        "function_call" => parts.push(read_call(&item, ToolKind::Function)),
        "custom_tool_call" => parts.push(read_call(&item, ToolKind::Custom)),
        "reasoning" => parts.push(Part::Reasoning(read_reasoning(&mut item, issuer))),
        _ => {
            if let Some(raw) = keep(raw) {
                parts.push(Part::Unknown { dialect: Dialect::Responses, kind, raw });
            }
        }
    }
}

/// Elements of a list; none where there is no list.
pub(super) fn lenient_list<'a>(item: &mut Members<'a>, key: &str) -> Vec<&'a RawValue> {
    item.list(key, "output").ok().flatten().unwrap_or_default()
}

/// Reads a part of a message.
pub(super) fn read_content(raw: &RawValue, logprobs: &mut Vec<Raw>) -> Option<Part> {
    let mut part = Members::of(raw.get())?;
    match part.peek("type").as_deref() {
        Some("output_text" | "text") => {
            logprobs.extend(part.raw("logprobs"));
            let citations = lenient_list(&mut part, "annotations").into_iter().filter_map(keep).collect();
            let text = part.peek("text").unwrap_or_default();
            Some(Part::Text { text, citations, opaque: None, cache: None })
        }
        Some("refusal") => Some(Part::Refusal { text: part.peek("refusal").unwrap_or_default() }),
        _ => None,
    }
}

/// Reads a call.
pub(super) fn read_call(item: &Members<'_>, kind: ToolKind) -> Part {
    let key = if kind == ToolKind::Function { "arguments" } else { "input" };
    let item_id = item.peek("id");
    Part::ToolCall(ToolCall {
        id: item.peek("call_id").or_else(|| item_id.clone()).unwrap_or_default(),
        item_id,
        name: item.peek("name").unwrap_or_default(),
        arguments: item.peek(key).unwrap_or_default(),
        kind,
        opaque: None,
        cache: None,
    })
}

/// Reads a thought.
pub(super) fn read_reasoning(item: &mut Members<'_>, issuer: &Issuer) -> Reasoning {
    let texts = |list: Vec<&RawValue>| {
        list.into_iter()
            .map(|raw| Members::of(raw.get()).and_then(|piece| piece.peek("text")).unwrap_or_default())
            .collect::<Vec<_>>()
    };
    let summary = texts(lenient_list(item, "summary"));
    let text = texts(lenient_list(item, "content")).concat();
    let opaque = item.peek("encrypted_content").map(|data| Opaque {
        issuer: issuer.clone(),
        kind: OpaqueKind::Encrypted,
        data,
    });
    Reasoning { id: item.peek("id"), text, summary, opaque }
}
