//! `messages`, read into turns.

use std::collections::{HashMap, VecDeque};

use serde_json::value::RawValue;

use super::members::{Members, array, missing, own, text, wrong_type, wrong_value};
use super::parts::{cache_mark, read_content};
use super::thoughts::{received_signature, replayed};
use crate::blocks::{CacheMark, Part, Raw, Reasoning, Role, ToolCall, ToolKind, ToolResult, Turn};
use crate::dialects::Dialect;
use crate::request::BadRequest;

const PARAM: &str = "messages";

/// Members of a message that are read, or that repeat what is.
const KNOWN: [&str; 16] = [
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "function_call",
    "refusal",
    "audio",
    "annotations",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "extra_content",
    "cache_control",
    // Echoes of what SDKs add to an answer when it is sent back as it came.
    "index",
    "parsed",
];

/// The conversation so far.
#[derive(Default)]
struct Reader {
    turns: Vec<Turn>,
    /// Name and kind of each call, by id.
    calls: HashMap<String, (String, ToolKind)>,
    /// Legacy `function_call`s that wait for their result: by name, the ids made for them.
    legacy: HashMap<String, VecDeque<String>>,
    extra: Vec<(String, Raw)>,
}

/// Reads `messages`; what the form has no place for goes to `extra`.
pub(super) fn read_messages(raw: &RawValue, extra: &mut Vec<(String, Raw)>) -> Result<Vec<Turn>, BadRequest> {
    let items = array(raw).ok_or_else(|| wrong_type(PARAM, PARAM, "an array of messages"))?;
    let mut reader = Reader { turns: Vec::with_capacity(items.len()), ..Reader::default() };
    for (number, item) in items.into_iter().enumerate() {
        let path = format!("messages[{number}]");
        let message = Members::of(item).ok_or_else(|| wrong_type(PARAM, &path, "an object"))?;
        reader.message(&message, number, &path)?;
    }
    extra.append(&mut reader.extra);
    Ok(reader.turns)
}

impl Reader {
    fn message(&mut self, message: &Members<'_>, number: usize, path: &str) -> Result<(), BadRequest> {
        self.note_unknown(message);
        let role = message.text("role").ok_or_else(|| missing(PARAM, &format!("{path}.role")))?;
        let role = match &*role {
            "system" => Role::System,
            "developer" => Role::Developer,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" | "function" => return self.result(message, &role, path),
            other => {
                return Err(wrong_value(
                    PARAM,
                    format!(
                        "`{path}.role` is `{}`; known are system, developer, user, assistant, tool and function",
                        other.chars().take(40).collect::<String>()
                    ),
                ));
            }
        };
        let mut parts = match message.get("content") {
            Some(content) => read_content(content, &format!("{path}.content"))?,
            None if role == Role::Assistant => Vec::new(),
            None => return Err(missing(PARAM, &format!("{path}.content"))),
        };
        if role == Role::Assistant {
            parts = self.assistant(message, parts, number, path)?;
        }
        if let Some(mark) = cache_mark(message)
            && let Some(slot) = parts.last_mut().and_then(mark_of)
        {
            slot.get_or_insert(mark);
        }
        let name = match message.get("name") {
            Some(raw) => Some(
                text(raw)
                    .map(String::from)
                    .ok_or_else(|| wrong_type(PARAM, &format!("{path}.name"), "a string"))?,
            ),
            None => None,
        };
        self.turns.push(Turn { role, parts, name });
        Ok(())
    }

    /// What an assistant said and wanted, in the order of the form.
    fn assistant(
        &mut self,
        message: &Members<'_>,
        mut parts: Vec<Part>,
        number: usize,
        path: &str,
    ) -> Result<Vec<Part>, BadRequest> {
        if let Some(Part::Text { citations, opaque, .. }) =
            parts.iter_mut().rev().find(|part| matches!(part, Part::Text { .. }))
        {
            *opaque = received_signature(message);
            let told = message.get("annotations").and_then(array).unwrap_or_default();
            citations.extend(told.into_iter().filter_map(own));
        }
        let has_text = parts.iter().any(|part| matches!(part, Part::Text { .. }));
        if let Some(opaque) = received_signature(message).filter(|_| !has_text) {
            // The signature of a text that was empty.
            parts.push(Part::Reasoning(Reasoning { opaque: Some(opaque), ..Reasoning::default() }));
        }
        if let Some(text) = message.text("refusal").filter(|text| !text.is_empty()) {
            parts.push(Part::Refusal { text: text.into_owned() });
        }
        if let Some(raw) = message.get("audio").and_then(own) {
            parts.push(Part::Unknown { dialect: Dialect::Chat, kind: "audio".to_owned(), raw });
        }
        if let Some(calls) = message.get("tool_calls") {
            let path = format!("{path}.tool_calls");
            let calls = array(calls).ok_or_else(|| wrong_type(PARAM, &path, "an array"))?;
            for (index, call) in calls.into_iter().enumerate() {
                let path = format!("{path}[{index}]");
                let call = read_call(call, number, index, &path)?;
                self.calls.insert(call.id.clone(), (call.name.clone(), call.kind.clone()));
                parts.push(Part::ToolCall(call));
            }
        }
        if let Some(call) = message.get("function_call") {
            let path = format!("{path}.function_call");
            let of = Members::of(call).ok_or_else(|| wrong_type(PARAM, &path, "an object"))?;
            let (name, arguments) = name_and_arguments(&of, "arguments", &path)?;
            let id = format!("call_legacy_{number}");
            self.legacy.entry(name.clone()).or_default().push_back(id.clone());
            self.calls.insert(id.clone(), (name.clone(), ToolKind::Function));
            parts.push(Part::ToolCall(ToolCall { id, name, arguments, ..ToolCall::default() }));
        }
        Ok(replayed(message, parts))
    }

    /// A `tool` message, or a legacy `function` message; several of one step are one turn.
    fn result(&mut self, message: &Members<'_>, role: &str, path: &str) -> Result<(), BadRequest> {
        let call_id = if role == "function" {
            let name = message.text("name").ok_or_else(|| missing(PARAM, &format!("{path}.name")))?;
            let waiting = self.legacy.get_mut(&*name).and_then(VecDeque::pop_front);
            waiting.ok_or_else(|| {
                wrong_value(PARAM, format!("`{path}` is the result of a function that was not called"))
            })?
        } else {
            message
                .text("tool_call_id")
                .ok_or_else(|| missing(PARAM, &format!("{path}.tool_call_id")))?
                .into_owned()
        };
        let parts = match message.get("content") {
            Some(content) => read_content(content, &format!("{path}.content"))?,
            None => Vec::new(),
        };
        let called = self.calls.get(&call_id);
        let name = called.map(|(name, _)| name.clone()).or_else(|| message.text("name").map(String::from));
        let kind = called.map(|(_, kind)| kind.clone()).unwrap_or_default();
        let cache = cache_mark(message);
        let result = Part::ToolResult(ToolResult { call_id, name, parts, is_error: false, kind, cache });
        match self.turns.last_mut() {
            Some(turn) if turn.role == Role::Tool => turn.parts.push(result),
            _ => self.turns.push(Turn { role: Role::Tool, parts: vec![result], name: None }),
        }
        Ok(())
    }

    fn note_unknown(&mut self, message: &Members<'_>) {
        for (name, raw) in &message.0 {
            if KNOWN.contains(&&**name) || &**name == "prompt_cache_breakpoint" {
                continue;
            }
            let name = format!("messages.{name}");
            // Each name once: the values are many, and only that they exist matters.
            let known = self.extra.len() >= 64 || self.extra.iter().any(|(noted, _)| *noted == name);
            if let (false, Some(raw)) = (known, own(raw)) {
                self.extra.push((name, raw));
            }
        }
    }
}

fn read_call(raw: &RawValue, number: usize, index: usize, path: &str) -> Result<ToolCall, BadRequest> {
    let call = Members::of(raw).ok_or_else(|| wrong_type(PARAM, path, "an object"))?;
    let id = match call.text("id").filter(|id| !id.is_empty()) {
        Some(id) => id.into_owned(),
        None => format!("call_{number}_{index}"),
    };
    let (of, kind, input) = if let Some(custom) = call.object("custom") {
        (custom, ToolKind::Custom, "input")
    } else {
        let path = format!("{path}.function");
        let of = call.object("function").ok_or_else(|| missing(PARAM, &path))?;
        (of, ToolKind::Function, "arguments")
    };
    let (name, arguments) = name_and_arguments(&of, input, path)?;
    let opaque = received_signature(&call);
    Ok(ToolCall { id, item_id: None, name, arguments, kind, opaque, cache: cache_mark(&call) })
}

/// Arguments stay the text that they are; a client that sends an object means its JSON.
fn name_and_arguments(of: &Members<'_>, input: &str, path: &str) -> Result<(String, String), BadRequest> {
    let name = of.text("name").ok_or_else(|| missing(PARAM, &format!("{path}.name")))?;
    let arguments = of.get(input).map(|raw| text(raw).map_or_else(|| raw.get().to_owned(), String::from));
    Ok((name.into_owned(), arguments.unwrap_or_default()))
}

/// Where a part keeps its cache mark.
fn mark_of(part: &mut Part) -> Option<&mut Option<CacheMark>> {
    match part {
        Part::Text { cache, .. } => Some(cache),
        Part::Media(media) => Some(&mut media.cache),
        Part::ToolCall(call) => Some(&mut call.cache),
        Part::ToolResult(result) => Some(&mut result.cache),
        Part::Reasoning(_) | Part::Refusal { .. } | Part::Unknown { .. } => None,
    }
}
