//! A client's turns: content blocks into parts.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;

use super::encoding::standard;
use super::json::{Object, array, join, missing, string, wrong, wrong_type};
use crate::blocks::request::Unreadable;
use crate::blocks::{
    CacheMark, Media, MediaKind, MediaSource, Opaque, OpaqueKind, Part, Raw, Reasoning, Role, ToolCall,
    ToolKind, ToolResult, Turn,
};
use crate::dialects::Dialect;

const PARAM: &str = "messages";

/// Members of blocks that the form has no place for: by name, then by the id of the call that they stand on.
#[derive(Default)]
pub(super) struct Aside {
    by_id: BTreeMap<String, BTreeMap<String, Raw>>,
    once: BTreeMap<String, Raw>,
}

impl Aside {
    /// Keeps a member `name` of the thing called `id`.
    pub(super) fn keep(&mut self, name: String, id: &str, raw: Raw) {
        self.by_id.entry(name).or_default().insert(id.to_owned(), raw);
    }

    fn mention(&mut self, name: String, raw: Raw) {
        self.once.entry(name).or_insert(raw);
    }

    /// As members of a request's `extra`.
    pub(super) fn into_extra(self) -> impl Iterator<Item = (String, Raw)> {
        let by_id = self.by_id.into_iter().filter_map(|(name, map)| Some((name, Raw::of(&map)?)));
        by_id.chain(self.once)
    }
}

/// Reads all turns.
pub(super) struct Turns {
    pub(super) turns: Vec<Turn>,
    names: HashMap<String, String>,
    pub(super) aside: Aside,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { turns: Vec::new(), names: HashMap::new(), aside: Aside::default() }
    }

    /// The `system` parameter.
    pub(super) fn system(&mut self, value: &RawValue) -> Result<(), Unreadable> {
        let parts = self.parts("system", "system", value, Role::System)?;
        self.push(Role::System, parts);
        Ok(())
    }

    /// One element of `messages`.
    pub(super) fn message(&mut self, place: usize, value: &RawValue) -> Result<(), Unreadable> {
        let path = format!("messages[{place}]");
        let mut message = Object::read(value.get()).ok_or_else(|| wrong_type(PARAM, &path, "an object"))?;
        let role = match message.needed(PARAM, &path, "role")?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            other => {
                let message =
                    format!("`{path}.role` must be user, assistant or system, not {}", short(other));
                return Err(wrong(PARAM, message));
            }
        };
        let path = join(&path, "content");
        let content = message.take("content").ok_or_else(|| missing(PARAM, &path))?;
        let parts = self.parts(PARAM, &path, content, role)?;
        for (name, raw) in message.rest() {
            self.aside.mention(format!("messages.{name}"), raw);
        }
        // Results first, in a turn of their own: there the dialect wants them, and there writers look for them.
        let (results, others): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|part| matches!(part, Part::ToolResult(_)));
        self.push(Role::Tool, results);
        self.push(role, others);
        Ok(())
    }

    fn push(&mut self, role: Role, parts: Vec<Part>) {
        if !parts.is_empty() {
            self.turns.push(Turn { role, parts, name: None });
        }
    }

    fn parts(
        &mut self,
        param: &'static str,
        path: &str,
        value: &RawValue,
        role: Role,
    ) -> Result<Vec<Part>, Unreadable> {
        if value.get().starts_with('"') {
            let text = string(param, path, value)?;
            return Ok(if text.is_empty() { Vec::new() } else { vec![Part::text(text)] });
        }
        let blocks =
            array(value).ok_or_else(|| wrong_type(param, path, "a string or an array of content blocks"))?;
        let mut parts: Vec<Part> = Vec::with_capacity(blocks.len());
        for (place, block) in blocks.into_iter().enumerate() {
            let path = format!("{path}[{place}]");
            let object = Object::read(block.get()).ok_or_else(|| wrong_type(param, &path, "an object"))?;
            let kind = object.kind().ok_or_else(|| missing(param, &join(&path, "type")))?;
            if role == Role::System && kind != "text" {
                let message = format!("`{path}` must be a text block, not {}", short(&kind));
                return Err(wrong(param, message));
            }
            match self.part(param, &path, &kind, object, block, role)? {
                Part::Text { text, .. } if text.is_empty() => {}
                Part::Reasoning(thought) if carries_signature(&thought) => attach(&mut parts, thought),
                part => parts.push(part),
            }
        }
        Ok(parts)
    }

    fn part(
        &mut self,
        param: &'static str,
        path: &str,
        kind: &str,
        mut block: Object<'_>,
        whole: &RawValue,
        role: Role,
    ) -> Result<Part, Unreadable> {
        let unknown = || unknown(kind, whole);
        let part = match kind {
            "text" => {
                let citations = block.take("citations").and_then(array).unwrap_or_default();
                Part::Text {
                    text: block.needed(param, path, "text")?,
                    citations: citations.into_iter().filter_map(|raw| Raw::parse(raw.get())).collect(),
                    opaque: None,
                    cache: self.cache(param, path, &mut block)?,
                }
            }
            "image" | "document" => match self.media(path, kind, &mut block)? {
                Some(media) => return Ok(Part::Media(media)),
                None => return unknown(),
            },
            "thinking" => {
                let text = block.needed(param, path, "thinking")?;
                let signature = block.text(param, path, "signature")?.filter(|text| !text.is_empty());
                let opaque =
                    signature.map(|text| Opaque::received(Dialect::Messages, OpaqueKind::Signature, &text));
                reasoning(text, opaque)
            }
            "redacted_thinking" => {
                let data = block.needed(param, path, "data")?;
                let opaque = Opaque::received(Dialect::Messages, OpaqueKind::Redacted, &data);
                reasoning(String::new(), Some(opaque))
            }
            "tool_use" => Part::ToolCall(self.call(path, &mut block)?),
            "tool_result" if role == Role::Assistant => {
                let message = format!("`{path}`: tool_result blocks stand in messages of the user");
                return Err(wrong(PARAM, message));
            }
            "tool_result" => Part::ToolResult(self.result(path, &mut block)?),
            _ => return unknown(),
        };
        let rest: Vec<_> = block.rest().filter(|(name, _)| name != "type").collect();
        for (name, raw) in rest {
            match &part {
                Part::ToolCall(call) => self.aside.keep(format!("tool_use.{name}"), &call.id, raw),
                Part::ToolResult(result) => {
                    self.aside.keep(format!("tool_result.{name}"), &result.call_id, raw);
                }
                _ => self.aside.mention(format!("messages.content.{name}"), raw),
            }
        }
        Ok(part)
    }

    fn call(&mut self, path: &str, block: &mut Object<'_>) -> Result<ToolCall, Unreadable> {
        let id = block.needed(PARAM, path, "id")?;
        let name = block.needed(PARAM, path, "name")?;
        let arguments = match block.take("input") {
            None => "{}".to_owned(),
            Some(input) if input.get().starts_with('{') => input.get().to_owned(),
            Some(_) => return Err(wrong_type(PARAM, &join(path, "input"), "an object")),
        };
        let cache = self.cache(PARAM, path, block)?;
        // A call by the model itself needs no word; one by a tool is kept.
        if let Some(caller) = block.take("caller")
            && Object::read(caller.get()).and_then(|caller| caller.kind()).as_deref() != Some("direct")
            && let Some(raw) = Raw::parse(caller.get())
        {
            self.aside.keep("tool_use.caller".to_owned(), &id, raw);
        }
        self.names.insert(id.clone(), name.clone());
        Ok(ToolCall { id, name, arguments, kind: ToolKind::Function, cache, ..ToolCall::default() })
    }

    fn result(&mut self, path: &str, block: &mut Object<'_>) -> Result<ToolResult, Unreadable> {
        let call_id = block.needed(PARAM, path, "tool_use_id")?;
        let parts = match block.take("content") {
            None => Vec::new(),
            Some(content) => self.parts(PARAM, &join(path, "content"), content, Role::Tool)?,
        };
        Ok(ToolResult {
            name: self.names.get(&call_id).cloned(),
            call_id,
            parts,
            is_error: block.boolean(PARAM, path, "is_error")?.unwrap_or(false),
            kind: ToolKind::Function,
            cache: self.cache(PARAM, path, block)?,
        })
    }

    /// `None` for a source that the form cannot say.
    fn media(
        &mut self,
        place: &str,
        kind: &str,
        block: &mut Object<'_>,
    ) -> Result<Option<Media>, Unreadable> {
        let path = &join(place, "source");
        let whole = block.take("source").ok_or_else(|| missing(PARAM, path))?;
        let mut source = Object::read(whole.get()).ok_or_else(|| wrong_type(PARAM, path, "an object"))?;
        let mut mime = source.text(PARAM, path, "media_type")?;
        let mut extra = Vec::new();
        let taken = match source.kind().as_deref() {
            Some("base64") => MediaSource::Base64(standard(source.needed(PARAM, path, "data")?)),
            Some("url") => MediaSource::Url(source.needed(PARAM, path, "url")?),
            Some("file") => MediaSource::FileId(source.needed(PARAM, path, "file_id")?),
            Some("text") => MediaSource::Text(source.needed(PARAM, path, "data")?),
            Some("content") => {
                let Some(text) = source.take("content").and_then(texts) else { return Ok(None) };
                mime = Some("text/plain".to_owned());
                // Citations count its blocks, so the dialect itself gets them as they came.
                extra.extend(Raw::parse(whole.get()).map(|raw| ("source".to_owned(), raw)));
                MediaSource::Text(text)
            }
            _ => return Ok(None),
        };
        let cache = self.cache(PARAM, path, block)?;
        // The others' word for a document's title is the name of its file.
        let name = if kind == "document" { block.text(PARAM, place, "title")? } else { None };
        let block = std::mem::replace(block, Object::empty());
        extra.extend(block.rest().filter(|(name, _)| name != "type"));
        let kind = if kind == "image" { MediaKind::Image } else { MediaKind::File };
        Ok(Some(Media { kind, source: taken, mime, name, detail: None, cache, extra }))
    }

    /// Takes `cache_control`.
    pub(super) fn cache(
        &mut self,
        param: &'static str,
        path: &str,
        block: &mut Object<'_>,
    ) -> Result<Option<CacheMark>, Unreadable> {
        let Some(mut mark) = block.object(param, path, "cache_control")? else { return Ok(None) };
        let ttl = mark.text(param, path, "ttl")?;
        for (name, raw) in mark.rest().filter(|(name, _)| name != "type") {
            self.aside.mention(format!("cache_control.{name}"), raw);
        }
        Ok(Some(CacheMark { ttl }))
    }
}

/// What was found as text, with where it was found before it, for dialects that have no block of their own for it; and
/// whether it was to be cited.
pub(super) fn search_result(raw: &Raw) -> Option<(String, bool)> {
    let mut block = Object::read(raw.get())?;
    let found = block.take("content").and_then(texts)?;
    let said: Vec<String> = ["title", "source"].iter().filter_map(|name| block.loose_text(name)).collect();
    let cited = block.take("citations").is_some_and(|told| told.get().contains("true"));
    Some((format!("{}\n\n{found}", said.join("\n")), cited))
}

fn unknown(kind: &str, whole: &RawValue) -> Result<Part, Unreadable> {
    let raw = Raw::parse(whole.get()).ok_or_else(|| wrong_type(PARAM, "messages", "JSON"))?;
    Ok(Part::Unknown { dialect: Dialect::Messages, kind: kind.to_owned(), raw })
}

/// The text of a document that is made of text blocks alone.
fn texts(content: &RawValue) -> Option<String> {
    if let Ok(text) = serde_json::from_str(content.get()) {
        return Some(text);
    }
    let blocks = array(content)?;
    let texts: Option<Vec<String>> = blocks
        .into_iter()
        .map(|block| {
            let mut block = Object::read(block.get())?;
            (block.kind()? == "text").then(|| block.loose_text("text")).flatten()
        })
        .collect();
    Some(texts?.join("\n\n"))
}

fn reasoning(text: String, opaque: Option<Opaque>) -> Part {
    // What Responses shows of its thoughts are summaries, and so they go back.
    let summarised = opaque.as_ref().is_some_and(|opaque| opaque.issuer.dialect == Dialect::Responses);
    let mut thought = Reasoning { opaque, ..Reasoning::default() };
    if summarised && !text.is_empty() {
        thought.summary.push(text);
    } else {
        thought.text = text;
    }
    Part::Reasoning(thought)
}

/// Whether it is no thought but the signature of the block before it, which has no place of its own in this dialect.
fn carries_signature(thought: &Reasoning) -> bool {
    thought.text.is_empty()
        && thought.summary.is_empty()
        && thought.opaque.as_ref().is_some_and(|opaque| opaque.kind == OpaqueKind::ThoughtSignature)
}

fn attach(parts: &mut Vec<Part>, thought: Reasoning) {
    match parts.last_mut() {
        Some(Part::ToolCall(ToolCall { opaque, .. }) | Part::Text { opaque, .. }) if opaque.is_none() => {
            *opaque = thought.opaque;
        }
        _ => parts.push(Part::Reasoning(thought)),
    }
}

/// At most a few words of what a client wrote.
pub(super) fn short(text: &str) -> String {
    text.chars().take(40).collect()
}
