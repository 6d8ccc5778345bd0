//! The conversation, written as `messages`.

use std::collections::HashSet;

use super::json::Json;
use super::models;
use super::parts::{write_mark, write_media};
use super::thoughts::{write_detail, write_google_signature};
use crate::blocks::{
    CacheMark, Media, MediaKind, MediaSource, Opaque, Part, Reasoning, Refused, Request, Role, ToolCall,
    ToolKind, ToolResult, Turn, Written,
};
use crate::dialects::{Dialect, Target};

struct Writer<'w> {
    target: &'w Target<'w>,
    written: &'w mut Written,
    json: &'w mut Json,
    /// Ids of the calls so far.
    called: HashSet<&'w str>,
}

/// Writes the elements of `messages`.
pub(super) fn write_turns<'w>(
    request: &'w Request,
    target: &'w Target<'w>,
    written: &'w mut Written,
    json: &'w mut Json,
) -> Result<(), Refused> {
    let mut writer = Writer { target, written, json, called: HashSet::new() };
    for turn in &request.turns {
        match turn.role {
            Role::System => writer.plain("system", turn)?,
            // Compatible servers know no other word for the operator.
            Role::Developer if models::is_openai(target.model) => writer.plain("developer", turn)?,
            Role::Developer => writer.plain("system", turn)?,
            Role::User | Role::Tool => writer.results_and_user(turn)?,
            Role::Assistant => writer.assistant(turn)?,
        }
    }
    Ok(())
}

impl<'w> Writer<'w> {
    fn begin(&mut self, role: &str, name: Option<&str>) {
        self.json.open(b'{');
        self.json.text("role", role);
        self.json.text_if("name", name);
    }

    fn plain(&mut self, role: &str, turn: &Turn) -> Result<(), Refused> {
        self.message(role, turn.name.as_deref(), &turn.parts.iter().collect::<Vec<_>>(), true)
    }

    /// A message of text and, for the user, media.
    fn message(
        &mut self,
        role: &str,
        name: Option<&str>,
        parts: &[&Part],
        always: bool,
    ) -> Result<(), Refused> {
        let parts = self.sayable(parts, role == "user");
        if parts.is_empty() && !always {
            return Ok(());
        }
        self.begin(role, name);
        self.content(&parts)?;
        self.json.close(b'}');
        Ok(())
    }

    /// What `content` can hold; reports the rest.
    fn sayable<'p>(&mut self, parts: &[&'p Part], media: bool) -> Vec<&'p Part> {
        let mut out = Vec::with_capacity(parts.len());
        for &part in parts {
            match part {
                Part::Text { text, .. } if text.is_empty() => {}
                Part::Text { citations, .. } => {
                    if !citations.is_empty() {
                        self.written.drop_param("citations");
                    }
                    out.push(part);
                }
                Part::Media(_) if media => out.push(part),
                Part::Unknown { dialect: Dialect::Chat, kind, .. } if media && kind != "audio" => {
                    out.push(part);
                }
                Part::Media(_) => self.written.drop_param("media"),
                Part::Unknown { kind, .. } => self.written.drop_param(kind),
                Part::Reasoning(_) => self.written.drop_param("reasoning"),
                Part::Refusal { .. } => self.written.drop_param("refusal"),
                Part::ToolCall(_) | Part::ToolResult(_) => self.written.drop_param("tool_calls"),
            }
        }
        out
    }

    /// `"content":…`: a string where one says it all, else parts.
    fn content(&mut self, parts: &[&Part]) -> Result<(), Refused> {
        let marks = models::takes_breakpoints(self.target.model);
        match parts {
            [] => self.json.text("content", ""),
            [Part::Text { text, cache, .. }] if cache.is_none() || !marks => {
                self.mark(cache.as_ref());
                self.json.text("content", text);
            }
            _ => {
                self.json.array("content");
                for part in parts {
                    self.part(part)?;
                }
                self.json.close(b']');
            }
        }
        Ok(())
    }

    fn part(&mut self, part: &Part) -> Result<(), Refused> {
        match part {
            Part::Text { text, cache, .. } => {
                let mark = self.mark(cache.as_ref());
                self.json.open(b'{');
                self.json.text("type", "text");
                self.json.text("text", text);
                write_mark(mark, self.json);
                self.json.close(b'}');
            }
            Part::Media(media) => self.medium(media)?,
            Part::Unknown { raw, .. } => self.json.raw(raw.get()),
            Part::Reasoning(_) | Part::Refusal { .. } | Part::ToolCall(_) | Part::ToolResult(_) => {}
        }
        Ok(())
    }

    fn medium(&mut self, media: &Media) -> Result<(), Refused> {
        for (name, _) in &media.extra {
            self.written.drop_param(name);
        }
        let mark = self.mark(media.cache.as_ref());
        let named = media.kind == MediaKind::File && !matches!(media.source, MediaSource::Text(_));
        if media.name.is_some() && !named {
            // Only a file of bytes has a place for its name.
            self.written.drop_param("filename");
        }
        write_media(media, mark, self.json)
    }

    /// A cache mark as far as the model takes it; reports what it does not.
    fn mark<'m>(&mut self, mark: Option<&'m CacheMark>) -> Option<&'m CacheMark> {
        let mark = mark?;
        let takes = models::takes_breakpoints(self.target.model);
        if !takes || mark.ttl.as_deref().is_some_and(|ttl| !matches!(ttl, "30m" | "12h")) {
            self.written.drop_param("cache_control");
        }
        takes.then_some(mark)
    }

    /// Results of tools, each a message; then what else stands in the turn, and media that results held, as the user's.
    fn results_and_user(&mut self, turn: &'w Turn) -> Result<(), Refused> {
        let mut rest: Vec<&Part> = Vec::new();
        let mut shown: Vec<(&str, Vec<&Part>)> = Vec::new();
        let mut had_results = false;
        for part in &turn.parts {
            match part {
                Part::ToolResult(result) => {
                    had_results = true;
                    let media = self.result(result)?;
                    if !media.is_empty() {
                        shown.push((&result.call_id, media));
                    }
                }
                other => rest.push(other),
            }
        }
        for (call_id, media) in shown {
            let note = Part::text(format!("What the tool call {call_id} returned:"));
            let mut parts = vec![&note];
            parts.extend(media);
            self.message("user", None, &parts, false)?;
        }
        self.message("user", turn.name.as_deref(), &rest, !had_results)
    }

    /// One result; returns its media, for which a tool message has no place.
    fn result<'p>(&mut self, result: &'p ToolResult) -> Result<Vec<&'p Part>, Refused> {
        if !self.called.contains(result.call_id.as_str()) {
            return Err(Refused::new(
                "messages",
                format!(
                    "`messages`: there is a result for `{}`, and no tool call of that id before it",
                    result.call_id
                ),
            ));
        }
        if result.is_error {
            self.written.drop_param("is_error");
        }
        let (media, text): (Vec<&Part>, Vec<&Part>) =
            result.parts.iter().partition(|part| matches!(part, Part::Media(_)));
        let text = self.sayable(&text, false);
        self.json.open(b'{');
        self.json.text("role", "tool");
        self.json.text("tool_call_id", &result.call_id);
        if let (Some(mark), [Part::Text { text, cache: None, .. }]) =
            (self.mark(result.cache.as_ref()), text.as_slice())
        {
            let marked = Part::Text {
                text: text.clone(),
                citations: Vec::new(),
                opaque: None,
                cache: Some(mark.clone()),
            };
            self.content(&[&marked])?;
        } else {
            self.content(&text)?;
        }
        self.json.close(b'}');
        Ok(media)
    }

    fn assistant(&mut self, turn: &'w Turn) -> Result<(), Refused> {
        let (mut said, mut calls, mut thoughts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut refusal, mut audio) = (String::new(), None);
        for (place, part) in turn.parts.iter().enumerate() {
            match part {
                Part::ToolCall(call) => calls.push(call),
                Part::Reasoning(thought) => thoughts.push((place, thought)),
                Part::Refusal { text } => refusal.push_str(text),
                Part::Unknown { dialect: Dialect::Chat, kind, raw } if kind == "audio" => audio = Some(raw),
                other => said.push(other),
            }
        }
        let mut signatures = said.iter().rev().filter_map(|part| match part {
            Part::Text { opaque, .. } => opaque.as_ref(),
            _ => None,
        });
        let signature = signatures.next();
        // A message has a place for one.
        if signatures.next().is_some() {
            self.written.drop_param("reasoning");
        }
        let signature = signature.and_then(|opaque| self.visible(opaque));
        let said = self.sayable(&said, false);
        let thoughts = self.replayable(thoughts);
        if said.is_empty() && calls.is_empty() && refusal.is_empty() && audio.is_none() && thoughts.is_empty()
        {
            return Ok(());
        }
        self.begin("assistant", turn.name.as_deref());
        if said.is_empty() {
            let silent = !calls.is_empty() || !refusal.is_empty() || audio.is_some();
            self.json.json("content", if silent { "null" } else { "\"\"" });
        } else {
            self.content(&said)?;
        }
        if !refusal.is_empty() {
            self.json.text("refusal", &refusal);
        }
        if let Some(id) = audio.and_then(|raw| raw.read::<AudioId>()) {
            self.json.object("audio");
            self.json.text("id", &id.id);
            self.json.close(b'}');
        }
        self.thoughts(&thoughts);
        if let Some(signature) = signature {
            write_google_signature(&signature.data, self.json);
        }
        self.calls(&calls);
        self.json.close(b'}');
        Ok(())
    }

    fn calls(&mut self, calls: &[&'w ToolCall]) {
        if calls.is_empty() {
            return;
        }
        self.json.array("tool_calls");
        for call in calls {
            self.called.insert(&call.id);
            if call.cache.is_some() {
                self.written.drop_param("cache_control");
            }
            self.json.open(b'{');
            self.json.text("id", &call.id);
            write_call(call, self.json);
            if let Some(opaque) = call.opaque.as_ref().and_then(|opaque| self.visible(opaque)) {
                write_google_signature(&opaque.data, self.json);
            }
            self.json.close(b'}');
        }
        self.json.close(b']');
    }

    /// A signature that the target issued; reports any other.
    fn visible<'o>(&mut self, opaque: &'o Opaque) -> Option<&'o Opaque> {
        let own = opaque.issuer.may_see(&self.target.issuer) && !models::is_openai(self.target.model);
        if !own {
            self.written.drop_param("reasoning");
        }
        own.then_some(opaque)
    }

    /// The thoughts that the target wants back: what it signed, and plain ones where its vendor asks for them.
    fn replayable(&mut self, thoughts: Vec<(usize, &'w Reasoning)>) -> Vec<(usize, &'w Reasoning)> {
        let wants_plain = models::wants_thoughts(self.target.model);
        let mut out = Vec::with_capacity(thoughts.len());
        for (place, thought) in thoughts {
            let own = match &thought.opaque {
                Some(opaque) => self.visible(opaque).is_some(),
                None => wants_plain && !(thought.text.is_empty() && thought.summary.is_empty()),
            };
            if own {
                out.push((place, thought));
            } else {
                self.written.drop_param("reasoning");
            }
        }
        out
    }

    fn thoughts(&mut self, thoughts: &[(usize, &Reasoning)]) {
        if models::wants_thoughts(self.target.model) {
            let told: String = thoughts
                .iter()
                .map(|(_, thought)| {
                    if thought.text.is_empty() { thought.summary.join("\n\n") } else { thought.text.clone() }
                })
                .collect();
            if !told.is_empty() {
                self.json.text("reasoning_content", &told);
            }
        }
        if thoughts.iter().any(|(_, thought)| thought.opaque.is_some()) {
            self.json.array("reasoning_details");
            for (place, thought) in thoughts {
                let opaque = thought.opaque.as_ref().map(|opaque| (opaque.kind, opaque.data.as_str()));
                write_detail(thought, opaque, *place, self.json);
            }
            self.json.close(b']');
        }
    }
}

#[derive(serde::Deserialize)]
struct AudioId {
    id: String,
}

/// `"type":…,"function":{…}`; empty arguments are `{}`, since clients and servers parse them.
pub(super) fn write_call(call: &ToolCall, json: &mut Json) {
    let (kind, input, text) = match call.kind {
        ToolKind::Custom => ("custom", "input", call.arguments.as_str()),
        ToolKind::Function if call.arguments.trim().is_empty() => ("function", "arguments", "{}"),
        ToolKind::Function => ("function", "arguments", call.arguments.as_str()),
    };
    json.text("type", kind);
    json.object(kind);
    json.text("name", &call.name);
    json.text(input, text);
    json.close(b'}');
}
