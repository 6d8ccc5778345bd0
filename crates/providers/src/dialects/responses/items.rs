//! Output items: what an answer of this dialect is made of, written alike for whole answers and for streams.

use super::build::{Object, object};
use super::known::is_item;
use super::members::Members;
use super::namespaces;
use super::write_items::write_thought;
use crate::blocks::{Choice, Opaque, Part, Raw, ToolCall, ToolKind};
use crate::dialects::Dialect;

/// One item.
#[derive(Debug)]
pub(super) struct Item {
    /// `msg_…`, `fc_…`, `ctc_…`, `rs_…`.
    pub(super) id: String,
    /// What it holds.
    pub(super) body: Body,
    /// `in_progress`, `completed` or `incomplete`.
    pub(super) status: &'static str,
}

/// What an item holds.
#[derive(Debug)]
pub(super) enum Body {
    /// What the model says.
    Message(Vec<Content>),
    /// A tool call.
    Call {
        /// Pairs it with its output.
        call_id: String,
        /// The tool.
        name: String,
        /// JSON text, or free text.
        arguments: String,
        /// Which of both.
        kind: ToolKind,
    },
    /// A thought.
    Reasoning {
        /// Paragraphs.
        summary: Vec<String>,
        /// In full.
        text: String,
        /// `encrypted_content`.
        hidden: Option<String>,
    },
    /// An item of OpenAI's that has no part of its own.
    Verbatim(Raw),
}

/// A part of a message.
#[derive(Debug)]
pub(super) enum Content {
    /// `output_text`.
    Text {
        /// The text.
        text: String,
        /// Annotations.
        citations: Vec<Raw>,
        /// Log probabilities, each a finished object.
        logprobs: Vec<u8>,
    },
    /// `refusal`.
    Refusal(String),
}

impl Content {
    /// An empty text.
    pub(super) fn text() -> Self {
        Self::Text { text: String::new(), citations: Vec::new(), logprobs: Vec::new() }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        object(out, |o| match self {
            Self::Text { text, citations, logprobs } => {
                o.text("type", "output_text");
                o.array("annotations", citations, |raw, out| out.extend_from_slice(raw.get().as_bytes()));
                write_logprobs(logprobs, o);
                o.text("text", text);
            }
            Self::Refusal(text) => _ = o.text("type", "refusal").text("refusal", text),
        });
    }
}

/// `logprobs`, of objects that were written with their commas.
pub(super) fn write_logprobs(logprobs: &[u8], o: &mut Object<'_>) {
    let out = o.value("logprobs");
    out.push(b'[');
    out.extend_from_slice(logprobs);
    out.push(b']');
}

impl Item {
    /// A call; the dialect's own item id stays.
    pub(super) fn call(call: &ToolCall, reply: &str, index: usize) -> Self {
        let prefix = match call.kind {
            ToolKind::Function => "fc_",
            ToolKind::Custom => "ctc_",
        };
        let own = call.item_id.as_deref().filter(|id| id.starts_with(prefix));
        Self {
            id: own.map_or_else(|| format!("{prefix}{reply}_{index}"), str::to_owned),
            body: Body::Call {
                call_id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
                kind: call.kind.clone(),
            },
            status: "in_progress",
        }
    }

    /// A thought; the dialect's own item id stays.
    pub(super) fn reasoning(id: Option<&str>, reply: &str, index: usize) -> Self {
        let own = id.filter(|id| id.starts_with("rs_"));
        Self {
            id: own.map_or_else(|| format!("rs_{reply}_{index}"), str::to_owned),
            body: Body::Reasoning { summary: Vec::new(), text: String::new(), hidden: None },
            status: "in_progress",
        }
    }

    /// A message.
    pub(super) fn message(reply: &str, index: usize) -> Self {
        Self { id: format!("msg_{reply}_{index}"), body: Body::Message(Vec::new()), status: "in_progress" }
    }

    /// Bytes that belong to a call or a text, which have no place for them: they travel in an item of their own behind
    /// it, whose id names the owner (`input.rs` gives them back).
    pub(super) fn carrier(opaque: &Opaque, reply: &str, index: usize, owner: &str) -> Self {
        let hidden = Some(opaque.shown(Dialect::Responses));
        Self {
            id: format!("rs_{reply}_{index}_of_{owner}"),
            body: Body::Reasoning { summary: Vec::new(), text: String::new(), hidden },
            status: "completed",
        }
    }

    /// An item that is OpenAI's own and nobody else's.
    pub(super) fn verbatim(kind: &str, raw: &Raw) -> Option<Self> {
        let members = Members::of(raw.get())?;
        let own = is_item(kind) && members.peek("type").as_deref() == Some(kind);
        let id = members.peek("id").filter(|_| own)?;
        Some(Self { id, body: Body::Verbatim(raw.clone()), status: "completed" })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Body::Verbatim(raw) = &self.body {
            out.extend_from_slice(raw.get().as_bytes());
            return;
        }
        object(out, |o| {
            o.text("id", &self.id);
            match &self.body {
                Body::Message(content) => {
                    o.text("type", "message").text("status", self.status).text("role", "assistant");
                    o.array("content", content, Content::write);
                }
                Body::Call { call_id, name, arguments, kind } => {
                    let member = match kind {
                        ToolKind::Function => {
                            o.text("type", "function_call").text("status", self.status);
                            "arguments"
                        }
                        ToolKind::Custom => {
                            o.text("type", "custom_tool_call");
                            "input"
                        }
                    };
                    let (namespace, name) = namespaces::parted(name);
                    o.text("call_id", call_id).text_if("namespace", namespace);
                    o.text("name", name).text(member, arguments);
                }
                Body::Reasoning { summary, text, hidden } => {
                    o.text("type", "reasoning");
                    write_thought(summary, text, o);
                    o.text_if("encrypted_content", hidden.as_deref());
                }
                Body::Verbatim(_) => {}
            }
        });
    }
}

/// The items of a whole answer.
pub(super) fn of_choice(choice: &Choice, reply: &str, incomplete: bool, summarizes: bool) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for part in &choice.parts {
        let index = items.len();
        match part {
            Part::Text { text, citations, opaque, .. } => {
                let citations = citations.iter().filter_map(annotation).collect();
                say(&mut items, reply, Content::Text { text: text.clone(), citations, logprobs: Vec::new() });
                carry(&mut items, reply, opaque.as_ref());
            }
            Part::Refusal { text } => say(&mut items, reply, Content::Refusal(text.clone())),
            Part::ToolCall(call) => {
                let mut item = Item::call(call, reply, index);
                fill_arguments(&mut item.body);
                items.push(item);
                carry(&mut items, reply, call.opaque.as_ref());
            }
            Part::Reasoning(thought) => {
                let mut item = Item::reasoning(thought.id.as_deref(), reply, index);
                let (mut summary, mut text) = (thought.summary.clone(), thought.text.clone());
                if summarizes && !text.is_empty() {
                    summary.insert(0, std::mem::take(&mut text));
                }
                item.body = Body::Reasoning {
                    summary,
                    text,
                    hidden: thought.opaque.as_ref().map(|opaque| opaque.shown(Dialect::Responses)),
                };
                items.push(item);
            }
            Part::Unknown { kind, raw, .. } => items.extend(Item::verbatim(kind, raw)),
            Part::Media(_) | Part::ToolResult(_) => {}
        }
    }
    give_logprobs(&mut items, choice.logprobs.as_ref());
    for item in &mut items {
        item.status = "completed";
    }
    if incomplete && let Some(Item { body: Body::Message(_), status, .. }) = items.last_mut() {
        *status = "incomplete";
    }
    items
}

/// Adds to the message that is going on, or begins one.
fn say(items: &mut Vec<Item>, reply: &str, content: Content) {
    if !matches!(items.last(), Some(Item { body: Body::Message(_), .. })) {
        items.push(Item::message(reply, items.len()));
    }
    if let Some(Item { body: Body::Message(list), .. }) = items.last_mut() {
        list.push(content);
    }
}

fn carry(items: &mut Vec<Item>, reply: &str, opaque: Option<&Opaque>) {
    let (Some(opaque), Some(owner)) = (opaque, items.last()) else { return };
    let carrier = Item::carrier(opaque, reply, items.len(), &owner.id);
    items.push(carrier);
}

/// Clients parse the arguments: none at all are an empty object.
pub(super) fn fill_arguments(body: &mut Body) {
    if let Body::Call { arguments, kind: ToolKind::Function, .. } = body
        && arguments.is_empty()
    {
        arguments.push_str("{}");
    }
}

fn give_logprobs(items: &mut [Item], raw: Option<&Raw>) {
    let Some(raw) = raw else { return };
    let texts = items.iter_mut().filter_map(|item| match &mut item.body {
        Body::Message(content) => Some(content),
        _ => None,
    });
    let first = texts.flatten().find_map(|content| match content {
        Content::Text { logprobs, .. } => Some(logprobs),
        Content::Refusal(_) => None,
    });
    if let Some(logprobs) = first {
        add_logprobs(raw, logprobs);
    }
}

/// Adds the tokens of Chat's `{"content": […]}`, each as this dialect has it: `bytes` is a list always.
pub(super) fn add_logprobs(raw: &Raw, out: &mut Vec<u8>) {
    #[derive(serde::Deserialize)]
    struct Told {
        content: Option<Vec<Token>>,
    }
    #[derive(serde::Deserialize)]
    struct Token {
        token: Raw,
        logprob: Raw,
        #[serde(default)]
        bytes: Option<Raw>,
        #[serde(default)]
        top_logprobs: Option<Vec<Token>>,
    }
    fn write(token: &Token, out: &mut Vec<u8>, top: bool) {
        object(out, |o| {
            o.json("token", token.token.get()).json("logprob", token.logprob.get());
            o.json("bytes", token.bytes.as_ref().map_or("[]", Raw::get));
            if top {
                let list = token.top_logprobs.iter().flatten();
                o.array("top_logprobs", list, |token, out| write(token, out, false));
            }
        });
    }
    for token in raw.read::<Told>().and_then(|told| told.content).iter().flatten() {
        super::write_items::comma(out);
        write(token, out, true);
    }
}

/// A citation as this dialect's annotations have it: its own, or that of Chat with its members moved up.
pub(super) fn annotation(raw: &Raw) -> Option<Raw> {
    let mut members = Members::of(raw.get())?;
    let needed = match members.peek("type").as_deref()? {
        "url_citation" => "url",
        "file_citation" | "container_file_citation" | "file_path" => "file_id",
        _ => return None,
    };
    if members.take(needed).is_some() {
        return Some(raw.clone());
    }
    let inner = members.take("url_citation")?.get().trim_start().strip_prefix('{')?;
    Raw::parse(&format!("{{\"type\":\"url_citation\",{inner}"))
}
