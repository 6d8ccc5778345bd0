//! A client's stream, written: `chat.completion.chunk`s as OpenAI sends them.
//!
//! The first delta of each choice has the role; a tool call tells id and name in its first delta alone; the finish
//! reason has a chunk of its own; usage comes last, if it was asked for, and every other chunk then says
//! `"usage":null`. Lists that SDKs add up by place (`annotations`, `images`) are sent whole, once.

use bytes::BytesMut;

use super::json::Json;
use super::parts::image_url;
use super::thoughts::{needs_detail, write_detail, write_google_signature};
use super::whole::{annotation, image, logprobs, shown_id, write_list};
use super::{counts, stops};
use crate::Usage;
use crate::blocks::fold::merge;
use crate::blocks::{Delta, Event, MediaKind, PartHead, Reasoning, Stop, StopKind, ToolKind};
use crate::dialects::{Dialect, Failing, Reply};
use crate::error_event;

/// Writes a client's stream.
#[derive(Debug)]
pub struct StreamWriter(Box<Writer>);

impl StreamWriter {
    pub(crate) fn new(reply: &Reply<'_>) -> Self {
        Self(Box::new(Writer::new(reply)))
    }

    pub(crate) fn write(&mut self, event: &Event, out: &mut BytesMut) {
        self.0.write(event, out);
    }

    pub(crate) fn error(&mut self, failing: &Failing<'_>, out: &mut BytesMut) {
        self.0.error(failing, out);
    }
}

/// The state of one stream.
#[derive(Debug)]
struct Writer {
    id: String,
    model: String,
    created: i64,
    include_usage: bool,
    usage: Option<Usage>,
    tier: Option<String>,
    choices: Vec<Choice>,
    over: bool,
    /// An error was told.
    failed: bool,
}

#[derive(Debug, Default)]
struct Choice {
    number: u32,
    role_told: bool,
    stopped: bool,
    calls: u32,
    parts: Vec<Part>,
    annotations: Vec<String>,
    images: Vec<String>,
}

#[derive(Debug)]
struct Part {
    number: u32,
    open: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    Text,
    Refusal,
    Thought(Reasoning),
    Call { index: u32, kind: ToolKind, told: bool },
    Other,
}

impl Writer {
    fn new(reply: &Reply<'_>) -> Self {
        Self {
            id: shown_id(None, reply.id),
            model: reply.model.to_owned(),
            created: reply.created,
            include_usage: reply.request.include_usage,
            usage: None,
            tier: None,
            choices: Vec::new(),
            over: false,
            failed: false,
        }
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        if self.over {
            return;
        }
        match event {
            Event::Start { id, model, created } => self.start(id.as_deref(), model.as_deref(), *created),
            Event::PartStart { choice, part, head } => self.part_start(*choice, *part, head, out),
            Event::Delta { choice, part, delta } => self.delta(*choice, *part, delta, out),
            Event::PartEnd { choice, part } => self.part_end(*choice, *part, out),
            Event::Stop { choice, stop } => self.stop(*choice, stop, out),
            Event::Logprobs { choice, raw } => {
                if let Some(raw) = logprobs(Some(raw)) {
                    self.choice(*choice);
                    self.chunk(*choice, Some(raw), None, |_| {}, out);
                }
            }
            Event::Usage(usage) => merge(self.usage.get_or_insert_default(), usage),
            Event::ServiceTier(tier) => self.tier = Some(tier.clone()),
            // The gateway says it by `error`, in its own words.
            Event::Error { .. } => {}
            Event::End => self.end(out),
        }
    }

    /// Also behind the end, where whoever holds that back lets it not go on.
    fn error(&mut self, failing: &Failing<'_>, out: &mut BytesMut) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        self.over = true;
        let code = (!failing.code.is_empty()).then_some(failing.code);
        let event =
            error_event::openai_event(failing.status, failing.kind, code, failing.message, failing.param);
        out.extend_from_slice(&event);
    }

    fn start(&mut self, id: Option<&str>, model: Option<&str>, created: Option<i64>) {
        if let Some(id) = id.filter(|id| id.starts_with("chatcmpl-")) {
            id.clone_into(&mut self.id);
        }
        if let Some(model) = model {
            model.clone_into(&mut self.model);
        }
        self.created = created.unwrap_or(self.created);
    }

    /// The state of a choice, made where there is none.
    fn choice(&mut self, number: u32) -> &mut Choice {
        let at = match self.choices.iter().position(|choice| choice.number == number) {
            Some(at) => at,
            None => {
                self.choices.push(Choice { number, ..Choice::default() });
                self.choices.len() - 1
            }
        };
        &mut self.choices[at]
    }

    /// A part that is open.
    fn part(&mut self, choice: u32, number: u32) -> Option<&mut Part> {
        self.choice(choice).parts.iter_mut().rev().find(|part| part.number == number && part.open)
    }

    fn part_start(&mut self, number: u32, part: u32, head: &PartHead, out: &mut BytesMut) {
        let choice = self.choice(number);
        let what = match head {
            PartHead::Text => What::Text,
            PartHead::Refusal => What::Refusal,
            PartHead::Reasoning { id } => What::Thought(Reasoning { id: id.clone(), ..Reasoning::default() }),
            PartHead::ToolCall { kind, .. } => {
                let index = choice.calls;
                choice.calls += 1;
                What::Call { index, kind: kind.clone(), told: false }
            }
            PartHead::Media(media) => {
                let shown = (media.kind == MediaKind::Image).then(|| image_url(media)).flatten();
                choice.images.extend(shown.map(|url| image(&url)));
                What::Other
            }
            PartHead::Unknown { dialect: Dialect::Chat, kind, raw } => {
                if kind == "image_url" && raw.is_object() {
                    choice.images.push(raw.get().to_owned());
                }
                What::Other
            }
            PartHead::Unknown { .. } => What::Other,
        };
        let index = choice.calls.saturating_sub(1);
        choice.parts.push(Part { number: part, open: true, what });
        match head {
            PartHead::ToolCall { id, name, kind, .. } => self.chunk(
                number,
                None,
                None,
                |json| {
                    json.array("tool_calls");
                    json.open(b'{');
                    json.number("index", index);
                    json.text("id", id);
                    let (kind, input) = call_members(kind);
                    json.text("type", kind);
                    json.object(kind);
                    json.text("name", name);
                    json.text(input, "");
                    json.close(b'}');
                    json.close(b'}');
                    json.close(b']');
                },
                out,
            ),
            PartHead::Unknown { dialect: Dialect::Chat, kind, raw } if kind == "audio" && raw.is_object() => {
                self.chunk(number, None, None, |json| json.json("audio", raw.get()), out);
            }
            _ => {}
        }
    }

    fn delta(&mut self, number: u32, part: u32, delta: &Delta, out: &mut BytesMut) {
        let Some(open) = self.part(number, part) else { return };
        match (&mut open.what, delta) {
            (What::Text, Delta::Text(text)) => self.words(number, "content", text, out),
            (What::Refusal, Delta::Text(text)) => self.words(number, "refusal", text, out),
            (What::Text, Delta::Citation(raw)) => {
                let shown = annotation(raw);
                self.choice(number).annotations.extend(shown);
            }
            (What::Text, Delta::Opaque(opaque)) => {
                let shown = opaque.shown(Dialect::Chat);
                self.chunk(number, None, None, |json| write_google_signature(&shown, json), out);
            }
            (What::Call { index, kind, told }, Delta::Arguments(more)) if !more.is_empty() => {
                *told = true;
                let (index, (kind, input)) = (*index, call_members(kind));
                self.arguments(number, index, kind, (input, more), None, out);
            }
            (What::Call { index, kind, .. }, Delta::Opaque(opaque)) => {
                let (index, (kind, input)) = (*index, call_members(kind));
                let shown = opaque.shown(Dialect::Chat);
                self.arguments(number, index, kind, (input, ""), Some(&shown), out);
            }
            (What::Thought(thought), Delta::Thought(text)) => {
                thought.text.push_str(text);
                self.words(number, "reasoning_content", text, out);
            }
            (What::Thought(thought), Delta::Summary { paragraph, text }) => {
                let next = *paragraph as usize >= thought.summary.len();
                let parting = if next && !thought.summary.is_empty() { "\n\n" } else { "" };
                match thought.summary.last_mut() {
                    Some(last) if !next => last.push_str(text),
                    _ => thought.summary.push(text.clone()),
                }
                let shown = format!("{parting}{text}");
                self.words(number, "reasoning_content", &shown, out);
            }
            (What::Thought(thought), Delta::Opaque(opaque)) => thought.opaque = Some(opaque.clone()),
            _ => {}
        }
    }

    fn words(&mut self, number: u32, member: &str, text: &str, out: &mut BytesMut) {
        if !text.is_empty() {
            self.chunk(number, None, None, |json| json.text(member, text), out);
        }
    }

    /// More of a call's arguments, or its signature (some clients demand `function` on each delta).
    fn arguments(
        &mut self,
        number: u32,
        index: u32,
        kind: &str,
        (input, more): (&str, &str),
        signature: Option<&str>,
        out: &mut BytesMut,
    ) {
        let write = |json: &mut Json| {
            json.array("tool_calls");
            json.open(b'{');
            json.number("index", index);
            json.object(kind);
            json.text(input, more);
            json.close(b'}');
            if let Some(signature) = signature {
                write_google_signature(signature, json);
            }
            json.close(b'}');
            json.close(b']');
        };
        self.chunk(number, None, None, write, out);
    }

    /// Completes a part: empty arguments become `{}`, a signed thought is told as a whole.
    fn part_end(&mut self, number: u32, part: u32, out: &mut BytesMut) {
        let Some(open) = self.part(number, part) else { return };
        open.open = false;
        match std::mem::replace(&mut open.what, What::Other) {
            What::Call { index, kind: ToolKind::Function, told: false } => {
                self.arguments(number, index, "function", ("arguments", "{}"), None, out);
            }
            What::Thought(thought) if needs_detail(&thought) => {
                let shown = thought.opaque.as_ref().map(|opaque| (opaque.kind, opaque.shown(Dialect::Chat)));
                let write = |json: &mut Json| {
                    json.array("reasoning_details");
                    let shown = shown.as_ref().map(|(kind, text)| (*kind, text.as_str()));
                    write_detail(&thought, shown, part as usize, json);
                    json.close(b']');
                };
                self.chunk(number, None, None, write, out);
            }
            _ => {}
        }
    }

    fn stop(&mut self, number: u32, stop: &Stop, out: &mut BytesMut) {
        if self.choice(number).stopped {
            return;
        }
        let choice = self.choice(number);
        let open: Vec<u32> = choice.parts.iter().filter(|part| part.open).map(|part| part.number).collect();
        for part in open {
            self.part_end(number, part, out);
        }
        let choice = self.choice(number);
        let annotations = std::mem::take(&mut choice.annotations);
        let images = std::mem::take(&mut choice.images);
        if !annotations.is_empty() || !images.is_empty() {
            let write = |json: &mut Json| {
                write_list("annotations", &annotations, json);
                write_list("images", &images, json);
            };
            self.chunk(number, None, None, write, out);
        }
        self.chunk(number, None, Some(stop), |_| {}, out);
        self.choice(number).stopped = true;
    }

    fn end(&mut self, out: &mut BytesMut) {
        let open: Vec<(u32, u32)> = self
            .choices
            .iter()
            .filter(|choice| !choice.stopped)
            .map(|choice| (choice.number, choice.calls))
            .collect();
        for (number, calls) in open {
            let kind = if calls > 0 { StopKind::ToolCalls } else { StopKind::End };
            self.stop(number, &Stop::new(kind), out);
        }
        self.over = true;
        if let Some(usage) = self.usage.filter(|_| self.include_usage) {
            let mut json = self.head();
            json.array("choices");
            json.close(b']');
            counts::write(&usage, &mut json);
            json.close(b'}');
            out.extend_from_slice(&json.0);
            out.extend_from_slice(b"\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// One chunk of one choice; nothing once the choice has stopped.
    fn chunk(
        &mut self,
        number: u32,
        logprobs: Option<&str>,
        stop: Option<&Stop>,
        delta: impl FnOnce(&mut Json),
        out: &mut BytesMut,
    ) {
        let choice = self.choice(number);
        if choice.stopped {
            return;
        }
        let first = !std::mem::replace(&mut choice.role_told, true);
        let mut json = self.head();
        json.array("choices");
        json.open(b'{');
        json.number("index", number);
        json.object("delta");
        if first {
            json.text("role", "assistant");
        }
        delta(&mut json);
        json.close(b'}');
        json.json("logprobs", logprobs.unwrap_or("null"));
        match stop {
            Some(stop) => {
                let word = stops::word(stop.kind);
                json.text("finish_reason", word);
                json.text_if("native_finish_reason", stops::native(stop, word));
                json.text_if("stop_reason", stop.sequence.as_deref());
            }
            None => json.json("finish_reason", "null"),
        }
        json.close(b'}');
        json.close(b']');
        if self.include_usage {
            json.json("usage", "null");
        }
        json.close(b'}');
        out.extend_from_slice(&json.0);
        out.extend_from_slice(b"\n\n");
    }

    /// What every chunk begins with.
    fn head(&self) -> Json {
        let mut json = Json(Vec::with_capacity(256));
        json.0.extend_from_slice(b"data: ");
        json.open(b'{');
        json.text("id", &self.id);
        json.text("object", "chat.completion.chunk");
        json.number("created", self.created);
        json.text("model", &self.model);
        json.text_if("service_tier", self.tier.as_deref());
        json
    }
}

/// The member that a call of the kind has, and that member's text.
fn call_members(kind: &ToolKind) -> (&'static str, &'static str) {
    match kind {
        ToolKind::Function => ("function", "arguments"),
        ToolKind::Custom => ("custom", "input"),
    }
}
