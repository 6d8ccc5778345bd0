//! The conversation as Google wants it: contents of `user` and `model` in turn, results of tools by name.

use std::collections::HashMap;

use crate::blocks::{
    Issuer, Media, MediaSource, Opaque, Part, Raw, Reasoning, Refused, Role, ToolCall, ToolResult, Turn,
    Written,
};
use crate::dialects::Dialect;
use crate::json::text::encode;

use super::emit::{List, Object, call_part, is_object, media_part, text_part};
use super::family::Family;

/// Google's word for calls that its models did not make: it lets the first call of a step pass without a signature
/// (Gemini API and Vertex AI pages "Thought signatures", as clients quote them, 2026-11). It is base64 as it stands.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Members of a part beside its medium that mean the same here.
const MEDIA_EXTRAS: [&str; 4] = ["videoMetadata", "mediaResolution", "partMetadata", "thoughtSignature"];

/// Contents, while they are written.
pub(super) struct Contents<'a> {
    issuer: &'a Issuer,
    family: Family,
    /// Names of tools by the ids of their calls.
    names: HashMap<&'a str, &'a str>,
    /// Role and parts of what was written, each part as text.
    contents: Vec<(&'static str, Vec<Vec<u8>>)>,
    system: Vec<Vec<u8>>,
    /// The content that is being written holds a call.
    called: bool,
    written: &'a mut Written,
}

impl<'a> Contents<'a> {
    pub(super) fn new(issuer: &'a Issuer, family: Family, written: &'a mut Written) -> Self {
        Self {
            issuer,
            family,
            names: HashMap::new(),
            contents: Vec::new(),
            system: Vec::new(),
            called: false,
            written,
        }
    }

    /// Takes all turns.
    pub(super) fn turns(&mut self, turns: &'a [Turn]) -> Result<(), Refused> {
        for turn in turns {
            if turn.name.is_some() {
                self.written.drop_param("name");
            }
            match turn.role {
                Role::System | Role::Developer => self.system(turn)?,
                Role::User => self.parts("user", &turn.parts)?,
                Role::Tool => self.results(&turn.parts)?,
                Role::Assistant => self.model(&turn.parts)?,
            }
        }
        if self.contents.is_empty() && !self.system.is_empty() {
            // Instructions alone: Google wants somebody to answer.
            self.contents.push(("user", std::mem::take(&mut self.system)));
            self.written.drop_param("system");
        }
        if self.contents.first().is_some_and(|(role, _)| *role == "model") {
            // A greeting by the model; somebody must have spoken before, if only a space.
            let mut nothing = Vec::new();
            text_part(&mut nothing, " ", false, None);
            self.contents.insert(0, ("user", vec![nothing]));
        }
        if self.contents.is_empty() {
            return Err(Refused::new("messages", "messages must hold at least one turn that is not empty"));
        }
        Ok(())
    }

    /// Writes `contents` and `systemInstruction`.
    pub(super) fn end(self, body: &mut Object<'_>) {
        if !self.system.is_empty() {
            let mut content = Object::new(body.name("systemInstruction"));
            write_parts(&self.system, content.name("parts"));
            content.end();
        }
        let mut contents = List::new(body.name("contents"));
        for (role, parts) in &self.contents {
            let mut content = Object::new(contents.item());
            content.text("role", role);
            write_parts(parts, content.name("parts"));
            content.end();
        }
        contents.end();
    }

    fn push(&mut self, role: &'static str, part: Vec<u8>) {
        match self.contents.last_mut() {
            Some((last, parts)) if *last == role => parts.push(part),
            _ => {
                self.called = false;
                self.contents.push((role, vec![part]));
            }
        }
    }

    fn system(&mut self, turn: &'a Turn) -> Result<(), Refused> {
        if !self.contents.is_empty() {
            self.written.drop_param("system");
        }
        for part in &turn.parts {
            if let Some(piece) = self.said(part)? {
                self.system.push(piece);
            }
        }
        Ok(())
    }

    fn parts(&mut self, role: &'static str, parts: &'a [Part]) -> Result<(), Refused> {
        for part in parts {
            if let Part::ToolResult(result) = part {
                self.result(result)?;
            } else if let Some(piece) = self.said(part)? {
                self.push(role, piece);
            }
        }
        Ok(())
    }

    fn results(&mut self, parts: &'a [Part]) -> Result<(), Refused> {
        self.parts("user", parts)
    }

    fn model(&mut self, parts: &'a [Part]) -> Result<(), Refused> {
        for part in parts {
            let Part::ToolCall(call) = part else {
                if let Some(piece) = self.said(part)? {
                    self.push("model", piece);
                }
                continue;
            };
            let mut signature = call.opaque.as_ref().and_then(|opaque| self.visible(opaque));
            // Calls in a row of assistant turns are one step; only its first call is checked.
            if !self.called && signature.is_none() && self.family.checks_signatures() {
                signature = Some(NO_SIGNATURE);
            }
            self.call(call, signature);
            self.called = true;
        }
        Ok(())
    }

    fn call(&mut self, call: &'a ToolCall, signature: Option<&str>) {
        if call.cache.is_some() {
            self.written.drop_param("cache_control");
        }
        self.names.insert(&call.id, &call.name);
        let mut piece = Vec::new();
        call_part(&mut piece, call, signature);
        self.push("model", piece);
    }

    /// The bytes of a signature, if they may be seen by whom this is for.
    fn visible<'o>(&mut self, opaque: &'o Opaque) -> Option<&'o str> {
        if opaque.issuer.may_see(self.issuer) {
            return Some(&opaque.data);
        }
        self.written.drop_param("reasoning");
        None
    }

    /// A part that is no call and no result.
    fn said(&mut self, part: &'a Part) -> Result<Option<Vec<u8>>, Refused> {
        let mut piece = Vec::new();
        match part {
            Part::Text { text, citations, opaque, cache } => {
                if !citations.is_empty() {
                    self.written.drop_param("annotations");
                }
                if cache.is_some() {
                    self.written.drop_param("cache_control");
                }
                let signature = opaque.as_ref().and_then(|opaque| self.visible(opaque));
                if text.is_empty() && signature.is_none() {
                    return Ok(None);
                }
                text_part(&mut piece, text, false, signature);
            }
            Part::Refusal { text } if text.is_empty() => return Ok(None),
            Part::Refusal { text } => text_part(&mut piece, text, false, None),
            Part::Reasoning(thought) => return Ok(self.thought(thought)),
            Part::Media(media) => {
                self.media(media)?;
                let extras = self.media_extras(media);
                if let MediaSource::Base64(data) = &media.source {
                    piece.reserve_exact(data.len() + 256);
                }
                media_part(&mut piece, media, &extras);
            }
            Part::Unknown { dialect: Dialect::Gemini, raw, .. } => {
                piece.extend_from_slice(raw.get().as_bytes());
            }
            Part::Unknown { kind, .. } => {
                self.written.drop_param(kind);
                return Ok(None);
            }
            // Only the model calls tools; readers put calls nowhere else.
            Part::ToolCall(_) => {
                self.written.drop_param("tool_calls");
                return Ok(None);
            }
            Part::ToolResult(_) => return Ok(None),
        }
        Ok(Some(piece))
    }

    fn thought(&mut self, thought: &Reasoning) -> Option<Vec<u8>> {
        let signature = match &thought.opaque {
            // Another's thought goes with its signature: words alone would be taken for this model's own.
            Some(opaque) => Some(self.visible(opaque)?),
            None => None,
        };
        let mut text = thought.text.clone();
        for paragraph in &thought.summary {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(paragraph);
        }
        if text.is_empty() && signature.is_none() {
            return None;
        }
        let mut piece = Vec::new();
        text_part(&mut piece, &text, !text.is_empty(), signature);
        Some(piece)
    }

    /// Reports what a medium has that cannot be said, and refuses files of other vendors.
    fn media(&mut self, media: &Media) -> Result<(), Refused> {
        if let MediaSource::FileId(id) = &media.source
            && !id.starts_with("gs://")
            && !id.starts_with("https://")
        {
            let message =
                "file_id names a file at another provider: send its bytes or its address to this model";
            return Err(Refused::new("file_id", message));
        }
        if media.cache.is_some() {
            self.written.drop_param("cache_control");
        }
        if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
            self.written.drop_param("detail");
        }
        if media.name.is_some() {
            self.written.drop_param("filename");
        }
        Ok(())
    }

    fn media_extras<'m>(&mut self, media: &'m Media) -> Vec<(&'m str, &'m Raw)> {
        let mut known = Vec::new();
        for (name, raw) in &media.extra {
            let is_capsule = || {
                raw.as_text()
                    .is_some_and(|text| super::signature::received(&text).issuer.dialect != Dialect::Gemini)
            };
            if !MEDIA_EXTRAS.contains(&name.as_str()) {
                self.written.drop_param(name);
            } else if name == "thoughtSignature" && is_capsule() {
                self.written.drop_param("reasoning");
            } else {
                known.push((name.as_str(), raw));
            }
        }
        known
    }

    fn result(&mut self, result: &'a ToolResult) -> Result<(), Refused> {
        if result.cache.is_some() {
            self.written.drop_param("cache_control");
        }
        let Some(name) = self.names.get(result.call_id.as_str()).copied() else {
            let message = format!(
                "messages hold the result of a tool call \"{}\" that no earlier turn made",
                result.call_id.chars().take(80).collect::<String>()
            );
            return Err(Refused::new("messages", message));
        };
        let (text, media) = self.result_parts(result)?;
        let inside = self.family.takes_media_in_results();
        let mut piece = Vec::new();
        let mut part = Object::new(&mut piece);
        let mut function = Object::new(part.name("functionResponse"));
        if !result.call_id.is_empty() {
            function.text("id", &result.call_id);
        }
        function.text("name", name);
        write_response(&text, result.is_error, function.name("response"));
        if inside && !media.is_empty() {
            write_parts(&media, function.name("parts"));
        }
        function.end();
        part.end();
        self.push("user", piece);
        if !inside {
            for piece in media {
                self.push("user", piece);
            }
        }
        Ok(())
    }

    /// The text of a result, and its media as parts.
    fn result_parts(&mut self, result: &'a ToolResult) -> Result<(String, Vec<Vec<u8>>), Refused> {
        let mut text = String::new();
        let mut media = Vec::new();
        for part in &result.parts {
            match part {
                Part::Text { text: more, .. } | Part::Refusal { text: more } => {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(more);
                }
                Part::Media(Media { source: MediaSource::Text(more), .. }) => {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(more);
                }
                Part::Media(_) => media.extend(self.said(part)?),
                Part::Unknown { kind, .. } => self.written.drop_param(kind),
                Part::Reasoning(_) | Part::ToolCall(_) | Part::ToolResult(_) => {}
            }
        }
        Ok((text, media))
    }
}

/// The object that a result must be: its own text where that is one, else wrapped.
fn write_response(text: &str, is_error: bool, out: &mut Vec<u8>) {
    if !is_error && is_object(text) {
        return out.extend_from_slice(text.trim().as_bytes());
    }
    let mut object = Object::new(out);
    let value = object.name(if is_error { "error" } else { "result" });
    if is_error && is_object(text) {
        value.extend_from_slice(text.trim().as_bytes());
    } else {
        encode(text, value);
    }
    object.end();
}

fn write_parts(parts: &[Vec<u8>], out: &mut Vec<u8>) {
    let mut list = List::new(out);
    for part in parts {
        list.item().extend_from_slice(part);
    }
    list.end();
}
