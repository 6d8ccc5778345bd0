//! Turns into `instructions` and input items.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::build::{Object, object};
use super::known::{is_content, is_item};
use super::write_media::{write_cache, write_media};
use crate::blocks::{Part, Reasoning, Refused, Request, Role, ToolCall, ToolKind, ToolResult, Turn, Written};
use crate::dialects::{Dialect, Target};

/// The longest `call_id` that the API takes.
const LONGEST_CALL_ID: usize = 64;

/// Writes the items of one request.
pub(super) struct ItemWriter<'r> {
    request: &'r Request,
    target: &'r Target<'r>,
    /// The provider keeps the answer, so ids of items mean something to it.
    stored: bool,
    written: &'r mut Written,
    /// The items so far, with their commas.
    items: Vec<u8>,
    instructions: Option<String>,
    /// Calls by id: which kind, and under which id they are written.
    calls: HashMap<&'r str, (ToolKind, String)>,
    /// Ordinal of messages of the model.
    messages: usize,
}

impl<'r> ItemWriter<'r> {
    pub(super) fn new(
        request: &'r Request,
        target: &'r Target<'r>,
        stored: bool,
        written: &'r mut Written,
    ) -> Self {
        let mut items = Vec::with_capacity(request.weight());
        items.push(b'[');
        Self {
            request,
            target,
            stored,
            written,
            items,
            instructions: None,
            calls: HashMap::new(),
            messages: 0,
        }
    }

    /// `instructions` and `input`.
    pub(super) fn finish(mut self) -> (Option<String>, Vec<u8>) {
        self.items.push(b']');
        (self.instructions, self.items)
    }

    pub(super) fn write_all(&mut self) -> Result<(), Refused> {
        self.pair_calls()?;
        let request = self.request;
        let leading = self.take_instructions();
        for turn in request.turns.iter().skip(leading) {
            if turn.name.is_some() {
                self.written.drop_param("name");
            }
            match turn.role {
                Role::Assistant => self.assistant(turn)?,
                Role::Tool => self.results(turn)?,
                Role::System => self.message("system", turn)?,
                Role::Developer => self.message("developer", turn)?,
                Role::User => self.message("user", turn)?,
            }
        }
        Ok(())
    }

    /// A call without a result is refused by the provider, and so is a result without its call.
    fn pair_calls(&mut self) -> Result<(), Refused> {
        let request = self.request;
        let mut open: BTreeSet<&str> = BTreeSet::new();
        let mut done: HashSet<&str> = HashSet::new();
        let elsewhere =
            request.previous.is_some() || request.extra.iter().any(|(name, _)| name == "conversation");
        for part in request.turns.iter().flat_map(|turn| &turn.parts) {
            match part {
                Part::ToolCall(call) => {
                    let fits = !call.id.is_empty() && call.id.len() <= LONGEST_CALL_ID;
                    let id = if fits { call.id.clone() } else { format!("call_{}", self.calls.len()) };
                    self.calls.entry(&call.id).or_insert((call.kind.clone(), id));
                    open.insert(&call.id);
                }
                Part::ToolResult(result) => {
                    let answered = open.remove(result.call_id.as_str());
                    if !answered && !elsewhere && !done.contains(result.call_id.as_str()) {
                        let message = format!(
                            "`messages` has a result for the tool call `{}`, which is not in the conversation",
                            short(&result.call_id)
                        );
                        return Err(Refused::new("messages", message));
                    }
                    done.insert(&result.call_id);
                }
                _ => {}
            }
        }
        match open.first() {
            Some(id) => {
                let message = format!(
                    "`messages` has the tool call `{}` without its result; add the result",
                    short(id)
                );
                Err(Refused::new("messages", message))
            }
            None => Ok(()),
        }
    }

    /// The leading system turns of one role, where they are plain text: how many they are.
    fn take_instructions(&mut self) -> usize {
        let turns = &self.request.turns;
        let Some(role) = turns.first().map(|turn| turn.role) else { return 0 };
        if !matches!(role, Role::System | Role::Developer) {
            return 0;
        }
        let plain = |turn: &&Turn| {
            let is_plain = |part: &Part| matches!(part, Part::Text { citations, cache: None, opaque: None, .. } if citations.is_empty());
            turn.role == role && turn.name.is_none() && turn.parts.iter().all(is_plain)
        };
        let count = turns.iter().take_while(plain).count();
        let texts = turns[..count].iter().flat_map(|turn| &turn.parts).filter_map(|part| match part {
            Part::Text { text, .. } => Some(text.as_str()),
            _ => None,
        });
        let joined = texts.collect::<Vec<_>>().join("\n\n");
        self.instructions = (!joined.is_empty()).then_some(joined);
        count
    }

    fn item(&mut self) -> &mut Vec<u8> {
        if self.items.len() > 1 {
            self.items.push(b',');
        }
        &mut self.items
    }

    /// A message of anybody but the model.
    fn message(&mut self, role: &str, turn: &Turn) -> Result<(), Refused> {
        let mut content = Vec::new();
        for part in &turn.parts {
            match part {
                Part::ToolResult(result) => {
                    self.flush_message(role, &mut content);
                    self.result(result)?;
                }
                Part::Unknown { dialect: Dialect::Responses, kind, raw } if !is_content(kind) => {
                    self.flush_message(role, &mut content);
                    if is_item(kind) {
                        self.item().extend_from_slice(raw.get().as_bytes());
                    } else {
                        self.written.drop_param(kind);
                    }
                }
                _ => self.content(part, &mut content)?,
            }
        }
        self.flush_message(role, &mut content);
        Ok(())
    }

    fn flush_message(&mut self, role: &str, content: &mut Vec<u8>) {
        if content.is_empty() {
            return;
        }
        let content = std::mem::take(content);
        object(self.item(), |o| {
            o.text("type", "message").text("role", role);
            close_list(o, "content", &content);
        });
    }

    /// One part of a message or of a tool's output, with its comma.
    fn content(&mut self, part: &Part, out: &mut Vec<u8>) -> Result<(), Refused> {
        match part {
            Part::Text { text, citations, opaque, cache } => {
                if text.is_empty() {
                    return Ok(());
                }
                if !citations.is_empty() {
                    self.written.drop_param("annotations");
                }
                if opaque.is_some() {
                    self.written.drop_param("reasoning");
                }
                comma(out);
                object(out, |o| {
                    o.text("type", "input_text").text("text", text);
                    write_cache(cache.as_ref(), o, self.written);
                });
            }
            // Words of the model in somebody else's mouth.
            Part::Refusal { text } => {
                comma(out);
                object(out, |o| _ = o.text("type", "input_text").text("text", text));
            }
            Part::Media(media) => write_media(media, out, self.written)?,
            Part::Unknown { dialect: Dialect::Responses, kind, raw } if is_content(kind) => {
                comma(out);
                out.extend_from_slice(raw.get().as_bytes());
            }
            Part::Unknown { kind, .. } => self.written.drop_param(kind),
            Part::Reasoning(_) => self.written.drop_param("reasoning"),
            Part::ToolCall(_) => {
                return Err(Refused::new("messages", "a tool call must stand in a turn of the model"));
            }
            Part::ToolResult(_) => {
                return Err(Refused::new("messages", "a tool's result cannot stand inside another one"));
            }
        }
        Ok(())
    }

    fn results(&mut self, turn: &Turn) -> Result<(), Refused> {
        for part in &turn.parts {
            match part {
                Part::ToolResult(result) => self.result(result)?,
                Part::Unknown { dialect: Dialect::Responses, kind, raw } if is_item(kind) => {
                    self.item().extend_from_slice(raw.get().as_bytes());
                }
                Part::Unknown { kind, .. } => self.written.drop_param(kind),
                Part::Reasoning(_) => self.written.drop_param("reasoning"),
                _ => {
                    let message = "a turn of tools can hold nothing but results";
                    return Err(Refused::new("messages", message));
                }
            }
        }
        Ok(())
    }

    fn result(&mut self, result: &ToolResult) -> Result<(), Refused> {
        if result.is_error {
            // No flag for it: the text says it.
            self.written.drop_param("is_error");
        }
        let (kind, id) = match self.calls.get(result.call_id.as_str()) {
            Some((kind, id)) => (kind.clone(), id.clone()),
            None => (result.kind.clone(), result.call_id.clone()),
        };
        let mut output = Vec::new();
        let mut plain = Some(String::new());
        let last = result.parts.len().saturating_sub(1);
        for (number, part) in result.parts.iter().enumerate() {
            match (part, &mut plain) {
                (Part::Text { text, cache: None, .. }, Some(so_far))
                    if result.parts.len() == 1 && result.cache.is_none() =>
                {
                    so_far.push_str(text);
                }
                _ => plain = None,
            }
            // A mark on the whole result is a mark on its last part.
            match part {
                Part::Text { text, citations, opaque, cache: None }
                    if number == last && result.cache.is_some() =>
                {
                    let marked = Part::Text {
                        text: text.clone(),
                        citations: citations.clone(),
                        opaque: opaque.clone(),
                        cache: result.cache.clone(),
                    };
                    self.content(&marked, &mut output)?;
                }
                _ => self.content(part, &mut output)?,
            }
        }
        object(self.item(), |o| {
            o.text(
                "type",
                match kind {
                    ToolKind::Function => "function_call_output",
                    ToolKind::Custom => "custom_tool_call_output",
                },
            );
            o.text("call_id", &id);
            match plain {
                Some(text) => _ = o.text("output", &text),
                None if output.is_empty() => _ = o.text("output", ""),
                None => close_list(o, "output", &output),
            }
        });
        Ok(())
    }

    fn assistant(&mut self, turn: &Turn) -> Result<(), Refused> {
        let mut said: Vec<&Part> = Vec::new();
        for part in &turn.parts {
            if matches!(part, Part::Text { .. } | Part::Refusal { .. }) {
                said.push(part);
                continue;
            }
            self.said(&mut said);
            match part {
                Part::Reasoning(thought) => self.reasoning(thought),
                Part::ToolCall(call) => self.call(call),
                Part::ToolResult(result) => self.result(result)?,
                Part::Unknown { dialect: Dialect::Responses, kind, raw } if is_item(kind) => {
                    self.item().extend_from_slice(raw.get().as_bytes());
                }
                Part::Unknown { kind, .. } => self.written.drop_param(kind),
                Part::Media(_) => {
                    let message = "a turn of the model can hold no image, sound or file in the Responses API: \
                                   move it into a turn of the user";
                    return Err(Refused::new("messages", message));
                }
                Part::Text { .. } | Part::Refusal { .. } => {}
            }
        }
        self.said(&mut said);
        Ok(())
    }

    /// A message of the model: plain where it can be, because the long form must make up an id.
    fn said(&mut self, parts: &mut Vec<&Part>) {
        parts.retain(|part| !matches!(part, Part::Text { text, .. } if text.is_empty()));
        for part in parts.iter() {
            if let Part::Text { opaque, cache, .. } = part {
                if opaque.is_some() {
                    self.written.drop_param("reasoning");
                }
                if cache.is_some() {
                    self.written.drop_param("cache_control");
                }
            }
        }
        let number = self.messages;
        match std::mem::take(parts).as_slice() {
            [] => {}
            [Part::Text { text, citations, .. }] if citations.is_empty() => {
                self.messages += 1;
                object(self.item(), |o| {
                    o.text("type", "message").text("role", "assistant").text("content", text);
                });
            }
            parts => {
                self.messages += 1;
                let mut foreign = false;
                object(self.item(), |o| {
                    o.text("type", "message").text("id", &format!("msg_{number}")).text("role", "assistant");
                    o.array("content", parts, |part, out| foreign |= write_said(part, out));
                    o.text("status", "completed");
                });
                if foreign {
                    self.written.drop_param("annotations");
                }
            }
        }
    }

    fn reasoning(&mut self, thought: &Reasoning) {
        let opaque = thought.opaque.as_ref();
        let seen = opaque.filter(|opaque| opaque.issuer.may_see(&self.target.issuer));
        // Without sealed bytes only this dialect's own items are worth sending: where they are stored, or as the plain
        // thoughts of an open model.
        let own = opaque.is_none() && thought.id.is_some() && (self.stored || !thought.text.is_empty());
        if seen.is_none() && !own {
            self.written.drop_param("reasoning");
            return;
        }
        let id = thought.id.as_deref().filter(|id| self.stored && id.starts_with("rs_"));
        object(self.item(), |o| {
            o.text("type", "reasoning").text_if("id", id);
            write_thought(&thought.summary, &thought.text, o);
            o.text_if("encrypted_content", seen.map(|opaque| opaque.data.as_str()));
        });
    }

    fn call(&mut self, call: &ToolCall) {
        if call.opaque.is_some() {
            self.written.drop_param("reasoning");
        }
        if call.cache.is_some() {
            self.written.drop_param("cache_control");
        }
        let id = self.calls.get(call.id.as_str()).map_or_else(|| call.id.clone(), |(_, id)| id.clone());
        let (kind, prefix, key) = match call.kind {
            ToolKind::Function => ("function_call", "fc_", "arguments"),
            ToolKind::Custom => ("custom_tool_call", "ctc_", "input"),
        };
        let item_id = call.item_id.as_deref().filter(|id| self.stored && id.starts_with(prefix));
        let empty = call.kind == ToolKind::Function && call.arguments.is_empty();
        object(self.item(), |o| {
            o.text("type", kind).text_if("id", item_id).text("call_id", &id).text("name", &call.name);
            o.text(key, if empty { "{}" } else { &call.arguments });
        });
    }
}

/// `summary` and `content` of a reasoning item.
pub(super) fn write_thought(summary: &[String], text: &str, o: &mut Object<'_>) {
    o.array("summary", summary, |text, out| {
        object(out, |o| _ = o.text("type", "summary_text").text("text", text));
    });
    if !text.is_empty() {
        o.array("content", [text], |text, out| {
            object(out, |o| _ = o.text("type", "reasoning_text").text("text", text));
        });
    }
}

/// Whether citations had to be left out.
fn write_said(part: &Part, out: &mut Vec<u8>) -> bool {
    let mut foreign = false;
    object(out, |o| match part {
        Part::Text { text, citations, .. } => {
            let own: Vec<_> = citations.iter().filter_map(super::items::annotation).collect();
            foreign = own.len() < citations.len();
            o.text("type", "output_text").text("text", text);
            o.array("annotations", own, |raw, out| out.extend_from_slice(raw.get().as_bytes()));
        }
        Part::Refusal { text } => _ = o.text("type", "refusal").text("refusal", text),
        _ => {}
    });
    foreign
}

fn close_list(o: &mut Object<'_>, key: &str, list: &[u8]) {
    let out = o.value(key);
    out.push(b'[');
    out.extend_from_slice(list);
    out.push(b']');
}

/// Between the elements of a list that is written without its brackets.
pub(super) fn comma(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b',');
    }
}

fn short(id: &str) -> String {
    id.chars().take(64).collect()
}
