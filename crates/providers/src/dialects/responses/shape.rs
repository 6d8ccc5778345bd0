//! The Response object around the items: complete, whatever its state, because SDKs require its members.

use super::build::{Object, object};
use super::items::Item;
use super::settings::echo;
use crate::Usage;
use crate::blocks::{Request, Stop, StopKind};
use crate::dialects::Reply;

/// What stays the same through all events of one answer.
#[derive(Debug)]
pub(super) struct Shape {
    /// `resp_…`.
    pub(super) id: String,
    /// What ids of items are made of.
    pub(super) reply: String,
    model: String,
    /// Seconds since 1970.
    pub(super) created: i64,
    /// `service_tier` as told.
    pub(super) tier: Option<String>,
    /// Members that repeat the request.
    echo: Vec<u8>,
    /// Thoughts are told as summaries.
    pub(super) summarizes: bool,
}

/// How an answer stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum State<'a> {
    /// It has not begun.
    Waiting,
    /// It goes on.
    Going,

    /// It ended.
    Ended(Option<&'a Stop>),
    /// It failed.
    Failed(&'a Failure<'a>),
}

/// An error in a Response object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure<'a> {
    /// For programs.
    pub(super) code: &'a str,
    /// OpenAI's `type`.
    pub(super) kind: Option<&'a str>,
    /// For people.
    pub(super) message: &'a str,
    /// The parameter at fault.
    pub(super) param: Option<&'a str>,
}

/// How a stop is said: `status`, and the reason of an incomplete answer.
pub(super) fn status_of(stop: Option<&Stop>) -> (&'static str, Option<&'static str>) {
    let Some(stop) = stop else { return ("completed", None) };
    match stop.kind {
        StopKind::End | StopKind::Sequence | StopKind::ToolCalls => ("completed", None),
        StopKind::Length | StopKind::ContextWindow => ("incomplete", Some("max_output_tokens")),
        StopKind::Filter | StopKind::Refusal => ("incomplete", Some("content_filter")),
        StopKind::Pause => ("incomplete", None),
        StopKind::BadToolCall => ("failed", None),
        StopKind::Other => match stop.native.as_deref() {
            Some("max_messages") => ("incomplete", Some("max_messages")),
            Some("steered") => ("incomplete", Some("steered")),
            _ => ("incomplete", None),
        },
    }
}

impl Shape {
    pub(super) fn new(reply: &Reply<'_>) -> Self {
        Self {
            id: format!("resp_{}", reply.id),
            reply: reply.id.to_owned(),
            model: reply.model.to_owned(),
            created: reply.created,
            tier: None,
            echo: echo(reply.request),
            summarizes: summarizes(reply.request),
        }
    }

    /// Takes what the provider told at the beginning.
    pub(super) fn told(&mut self, id: Option<&str>, model: Option<&str>, created: Option<i64>) {
        if let Some(model) = model {
            model.clone_into(&mut self.model);
        }
        if let Some(id) = id.filter(|id| id.starts_with("resp_")) {
            id.clone_into(&mut self.id);
        }
        self.created = created.unwrap_or(self.created);
    }

    /// Writes the object.
    pub(super) fn write(&self, state: State<'_>, items: &[Item], usage: Option<&Usage>, out: &mut Vec<u8>) {
        let failure;
        let (status, reason, failed) = match state {
            State::Waiting => ("queued", None, None),
            State::Going => ("in_progress", None, None),
            State::Failed(failure) => ("failed", None, Some(failure)),
            State::Ended(stop) => {
                let (status, reason) = status_of(stop);
                failure = Failure {
                    code: "server_error",
                    kind: Some("server_error"),
                    message: "the model made a tool call that cannot be used",
                    param: None,
                };
                (status, reason, (status == "failed").then_some(&failure))
            }
        };
        object(out, |o| {
            o.text("id", &self.id).text("object", "response").number("created_at", self.created);
            o.text("status", status);
            match failed {
                Some(failure) => _ = o.object("error", |o| write_failure(failure, o)),
                None => _ = o.json("error", "null"),
            }
            match reason {
                Some(reason) => _ = o.object("incomplete_details", |o| _ = o.text("reason", reason)),
                None => _ = o.json("incomplete_details", "null"),
            }
            o.text("model", &self.model);
            o.array("output", items, |item, out| item.write(out));
            o.members(&self.echo);
            match self.tier.as_deref().filter(|tier| super::known::TIERS.contains(tier)) {
                Some(tier) => _ = o.text("service_tier", tier),
                None => _ = o.json("service_tier", "null"),
            }
            match usage {
                Some(usage) => _ = o.object("usage", |o| write_usage(usage, o)),
                None => _ = o.json("usage", "null"),
            }
            if let State::Ended(Some(stop)) = state {
                write_native(stop, o);
            }
        });
    }
}

/// The provider's own word for the end, where it is not this dialect's.
fn write_native(stop: &Stop, o: &mut Object<'_>) {
    let own = ["completed", "max_output_tokens", "content_filter", "max_messages", "steered"];
    o.text_if("native_stop_reason", stop.native.as_deref().filter(|native| !own.contains(native)));
    o.text_if("stop_sequence", stop.sequence.as_deref());
}

fn write_failure(failure: &Failure<'_>, o: &mut Object<'_>) {
    o.text("code", failure.code).text("message", failure.message);
    o.text_if("type", failure.kind).text_if("param", failure.param);
}

/// Clients' types need each number: where it is not known, 0.
fn write_usage(usage: &Usage, o: &mut Object<'_>) {
    let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
    o.number("input_tokens", input);
    o.object("input_tokens_details", |o| {
        o.number("cached_tokens", usage.cached_input.unwrap_or(0));
        o.number("cache_write_tokens", usage.cache_write.unwrap_or(0));
    });
    o.number("output_tokens", output);
    o.object("output_tokens_details", |o| _ = o.number("reasoning_tokens", usage.reasoning.unwrap_or(0)));
    o.number("total_tokens", i128::from(input) + i128::from(output));
}

/// Whoever asks for summaries shows summaries and nothing else of what was thought; another vendor's model makes none, so
/// what it tells of its thoughts stands there.
fn summarizes(request: &Request) -> bool {
    let show = request.thinking.as_ref().and_then(|thinking| thinking.show.as_deref());
    show.is_some_and(|show| show != "none")
}
