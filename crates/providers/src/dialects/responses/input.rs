//! `input`: items into turns.
//!
//! What the model did in one step stands in several items (reasoning, message, calls): they become one turn, so that
//! dialects with one message for a step can say it. Two messages of the model after one another stay two turns.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::content;
use super::members::{Extra, Members, invalid, keep, missing, wrong};
use super::namespaces;
use crate::blocks::{Opaque, OpaqueKind, Part, Reasoning, Role, ToolCall, ToolKind, ToolResult, Turn};
use crate::dialects::Dialect;
use crate::request::BadRequest;

/// Among how many of the latest parts the owner of a carried signature is looked for.
const MAX_PARALLEL: usize = 128;

/// Reads `input`, a text or items.
pub(super) fn read(raw: &RawValue, turns: &mut Vec<Turn>, extra: &mut Extra) -> Result<(), BadRequest> {
    let wanted = "a string or an array of items";
    if raw.get().starts_with('"') {
        let text: String = serde_json::from_str(raw.get()).map_err(|_| wrong("input", wanted))?;
        if !text.is_empty() {
            turns.push(Turn { role: Role::User, parts: vec![Part::text(text)], ..Turn::default() });
        }
        return Ok(());
    }
    let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| wrong("input", wanted))?;
    let mut reader = Reader { turns, extra, names: HashMap::new(), after_message: false };
    for item in items {
        reader.item(item)?;
    }
    Ok(())
}

struct Reader<'r> {
    turns: &'r mut Vec<Turn>,
    extra: &'r mut Extra,
    /// Of calls seen, by their id.
    names: HashMap<String, String>,
    /// The item before was a message of the model.
    after_message: bool,
}

impl Reader<'_> {
    fn item(&mut self, raw: &RawValue) -> Result<(), BadRequest> {
        let mut item = Members::of(raw.get()).ok_or_else(|| wrong("input", "an array of objects"))?;
        let after_message = std::mem::take(&mut self.after_message);
        let kind = item.text("type", "input.type")?;
        match kind.as_deref() {
            Some("message") => self.message(item, after_message),
            None if item.peek("role").is_some() => self.message(item, after_message),
            Some("function_call") => self.call(item, ToolKind::Function),
            Some("custom_tool_call") => self.call(item, ToolKind::Custom),
            Some("function_call_output") => self.result(item, ToolKind::Function),
            Some("custom_tool_call_output") => self.result(item, ToolKind::Custom),
            Some("reasoning") => self.reasoning(item),
            Some("item_reference") => Err(reference()),
            None if item.peek("id").is_some() => Err(reference()),
            None => Err(missing("input.type", "each item of `input` must have a `type` or a `role`")),
            Some(kind) => {
                self.unknown(kind, raw);
                Ok(())
            }
        }
    }

    /// Adds to the turn that is going on, or begins one.
    fn push(&mut self, role: Role, part: Part) {
        match self.turns.last_mut() {
            Some(turn) if turn.role == role => turn.parts.push(part),
            _ => self.turns.push(Turn { role, parts: vec![part], ..Turn::default() }),
        }
    }

    fn message(&mut self, mut item: Members<'_>, after_message: bool) -> Result<(), BadRequest> {
        let role = match item.text("role", "input.role")?.as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            Some("developer") => Role::Developer,
            _ => {
                let message = "`input.role` must be `user`, `assistant`, `system` or `developer`";
                return Err(invalid("input.role", message));
            }
        };
        let raw =
            item.take("content").ok_or_else(|| missing("input.content", "a message must have `content`"))?;
        let parts = content::read(raw, "input.content", self.extra)?;
        // What an answer said of its own making; it says nothing to the model.
        item.take("id");
        item.take("status");
        item.rest("input.", self.extra);
        let goes_on = role == Role::Assistant
            && !after_message
            && self.turns.last().is_some_and(|turn| turn.role == Role::Assistant);
        self.after_message = role == Role::Assistant;
        match self.turns.last_mut() {
            Some(turn) if goes_on => turn.parts.extend(parts),
            _ if parts.is_empty() => {}
            _ => self.turns.push(Turn { role, parts, ..Turn::default() }),
        }
        Ok(())
    }

    fn call(&mut self, mut item: Members<'_>, kind: ToolKind) -> Result<(), BadRequest> {
        let id = call_id(&mut item)?;
        let name = item
            .text("name", "input.name")?
            .ok_or_else(|| missing("input.name", "a tool call must have a `name`"))?;
        let name = namespaces::joined(item.text("namespace", "input.namespace")?, name);
        let (key, param) = match kind {
            ToolKind::Function => ("arguments", "input.arguments"),
            ToolKind::Custom => ("input", "input.input"),
        };
        let arguments = item.text(key, param)?.unwrap_or_default();
        let item_id = item.text("id", "input.id")?;
        item.take("status");
        item.rest("input.", self.extra);
        self.names.insert(id.clone(), name.clone());
        let call = ToolCall { id, item_id, name, arguments, kind, opaque: None, cache: None };
        self.push(Role::Assistant, Part::ToolCall(call));
        Ok(())
    }

    fn result(&mut self, mut item: Members<'_>, kind: ToolKind) -> Result<(), BadRequest> {
        let call_id = call_id(&mut item)?;
        let raw = item
            .take("output")
            .ok_or_else(|| missing("input.output", "the output of a tool call must have `output`"))?;
        let parts = content::read(raw, "input.output", self.extra)?;
        let told = item.text("name", "input.name")?;
        let name = self.names.get(&call_id).cloned().or(told);
        item.take("id");
        item.take("status");
        item.rest("input.", self.extra);
        let result = ToolResult { call_id, name, parts, is_error: false, kind, cache: None };
        self.push(Role::Tool, Part::ToolResult(result));
        Ok(())
    }

    fn reasoning(&mut self, mut item: Members<'_>) -> Result<(), BadRequest> {
        let id = item.text("id", "input.id")?;
        let summary = texts(&mut item, "summary", "input.summary")?;
        let text = texts(&mut item, "content", "input.content")?.concat();
        let opaque = item
            .text("encrypted_content", "input.encrypted_content")?
            .map(|text| Opaque::received(Dialect::Responses, OpaqueKind::Encrypted, &text));
        item.take("status");
        item.rest("input.", self.extra);
        let mut thought = Reasoning { id, text, summary, opaque };
        // What we told as a summary (`shape.rs`) is another vendor's text, and signed as such.
        let signed = thought.opaque.as_ref().is_some_and(|opaque| opaque.kind == OpaqueKind::Signature);
        if signed && thought.text.is_empty() {
            thought.text = std::mem::take(&mut thought.summary).join("\n\n");
        }
        if !self.give_back(&mut thought) {
            self.push(Role::Assistant, Part::Reasoning(thought));
        }
        Ok(())
    }

    /// Gemini's signatures stand on calls and texts, which have no place for them here: our answers carry each in a
    /// reasoning item of its own after the one it belongs to. Here it goes back.
    fn give_back(&mut self, thought: &mut Reasoning) -> bool {
        let carries = thought.text.is_empty()
            && thought.summary.is_empty()
            && thought.opaque.as_ref().is_some_and(|opaque| opaque.kind == OpaqueKind::ThoughtSignature);
        let Some(turn) = self.turns.last_mut().filter(|turn| carries && turn.role == Role::Assistant) else {
            return false;
        };
        let owner = thought.id.as_deref().and_then(|id| id.split_once("_of_")).map(|(_, owner)| owner);
        let is_owner = |part: &Part| match part {
            Part::ToolCall(call) => owner.is_some() && call.item_id.as_deref() == owner,
            _ => false,
        };
        // Not further: a body of nothing else must not take time for each with each.
        let latest = turn.parts.iter().enumerate().rev().take(MAX_PARALLEL);
        let named = latest.filter(|(_, part)| is_owner(part)).map(|(place, _)| place).next();
        let place = named.or_else(|| turn.parts.len().checked_sub(1));
        let slot = match place.and_then(|place| turn.parts.get_mut(place)) {
            Some(Part::ToolCall(call)) => &mut call.opaque,
            Some(Part::Text { opaque, .. }) => opaque,
            _ => return false,
        };
        if slot.is_some() {
            return false;
        }
        *slot = thought.opaque.take();
        true
    }

    fn unknown(&mut self, kind: &str, raw: &RawValue) {
        let Some(raw) = keep(raw) else { return };
        let role = match kind {
            _ if kind.ends_with("_output") => Role::Tool,
            "mcp_approval_response" | "additional_tools" | "compaction_trigger" => Role::User,
            _ => Role::Assistant,
        };
        self.push(role, Part::Unknown { dialect: Dialect::Responses, kind: kind.to_owned(), raw });
    }
}

fn reference() -> BadRequest {
    let message =
        "`input` refers to a stored item (`item_reference`), which cannot be looked up: send the item itself";
    BadRequest { message: message.to_owned(), param: Some("input"), code: Some("invalid_value") }
}

fn call_id(item: &mut Members<'_>) -> Result<String, BadRequest> {
    item.text("call_id", "input.call_id")?
        .filter(|id| !id.is_empty())
        .ok_or_else(|| missing("input.call_id", "tool calls and their outputs must have a `call_id`"))
}

/// The texts of `summary` and `content` of a reasoning item.
fn texts(item: &mut Members<'_>, key: &str, param: &'static str) -> Result<Vec<String>, BadRequest> {
    #[derive(serde::Deserialize)]
    struct Piece {
        text: String,
    }
    let pieces: Option<Vec<Piece>> = item.typed(key, param, "an array of objects with a `text`")?;
    Ok(pieces.unwrap_or_default().into_iter().map(|piece| piece.text).collect())
}
