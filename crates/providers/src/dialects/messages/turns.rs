//! Turns of a request written as `system` and `messages`.
//!
//! The target wants turns of user and assistant in alternation, all results of a step in the one message of the user
//! that follows the calls, before anything else in it. So turns are gathered into groups first: what the assistant
//! says, then whatever comes before it speaks again.

use std::borrow::Cow;
use std::collections::HashSet;

use super::blocks::{Marks, is_text, report, write_cache, write_media, write_text, write_unknown};
use super::family::Family;
use super::json::{Object, Out};
use super::names;
use super::tools::{Sides, sent_name};
use crate::blocks::{
    OpaqueKind, Part, Reasoning, Refused, Request, Role, ToolCall, ToolKind, ToolResult, Written,
};
use crate::dialects::{Dialect, Target};

const PARAM: &str = "messages";

/// What one side says until the other speaks.
#[derive(Default)]
struct Group<'r> {
    assistant: bool,
    results: Vec<&'r ToolResult>,
    parts: Vec<&'r Part>,
    /// Instructions among what the user says, and whether more of the user followed them.
    system: Vec<&'r Part>,
    overtaken: bool,
}

/// All that is said.
pub(super) struct Conversation<'r> {
    leading: Vec<&'r Part>,
    groups: Vec<Group<'r>>,
}

/// What is needed to write parts.
pub(super) struct Context<'c> {
    pub(super) family: &'c Family,
    pub(super) target: &'c Target<'c>,
    pub(super) marks: Marks,
    pub(super) calls: Sides<'c>,
    pub(super) results: Sides<'c>,
}

impl<'r> Conversation<'r> {
    /// Groups the turns and checks that calls and results pair up.
    pub(super) fn of(request: &'r Request, family: &Family, written: &mut Written) -> Result<Self, Refused> {
        let mut all = Self { leading: Vec::new(), groups: Vec::new() };
        for turn in &request.turns {
            if turn.name.is_some() {
                written.drop_param("name");
            }
            match turn.role {
                Role::System | Role::Developer => all.instruct(&turn.parts, family, written),
                Role::Assistant => all.group(true).parts.extend(&turn.parts),
                Role::User | Role::Tool => {
                    let group = all.group(false);
                    group.overtaken |= !group.system.is_empty();
                    for part in &turn.parts {
                        match part {
                            Part::ToolResult(result) => group.results.push(result),
                            part => group.parts.push(part),
                        }
                    }
                }
            }
        }
        if all.groups.iter().any(|group| group.overtaken) {
            written.drop_param("system");
        }
        all.pair()?;
        Ok(all)
    }

    fn group(&mut self, assistant: bool) -> &mut Group<'r> {
        if self.groups.last().is_none_or(|last| last.assistant != assistant) {
            self.groups.push(Group { assistant, ..Group::default() });
        }
        let last = self.groups.len() - 1;
        &mut self.groups[last]
    }

    /// Leading instructions and, for models that take none later, all of them go to the top. Others stay behind the
    /// user's words that they follow; the target takes them nowhere else.
    fn instruct(&mut self, parts: &'r [Part], family: &Family, written: &mut Written) {
        match self.groups.last_mut() {
            None => self.leading.extend(parts),
            Some(group) if family.system_turns && !group.assistant => group.system.extend(parts),
            Some(_) => {
                written.drop_param("system");
                self.leading.extend(parts);
            }
        }
    }

    /// Each call needs its one result in the message that follows, and each result its call before it.
    fn pair(&self) -> Result<(), Refused> {
        let mut open: HashSet<&str> = HashSet::new();
        for group in &self.groups {
            if group.assistant {
                for part in &group.parts {
                    if let Part::ToolCall(call) = part
                        && !open.insert(call.id.as_str())
                    {
                        return Err(orphan("two tool calls of one step have the id", &call.id));
                    }
                }
                continue;
            }
            for result in &group.results {
                if !open.remove(result.call_id.as_str()) {
                    return Err(orphan(
                        "a tool result answers no tool call of the step before it: id",
                        &result.call_id,
                    ));
                }
            }
            if let Some(id) = open.iter().min() {
                return Err(orphan("a tool call has no result in the message after it: id", id));
            }
        }
        match open.iter().min() {
            Some(id) => Err(orphan("the conversation ends with a tool call without result: id", id)),
            None => Ok(()),
        }
    }

    /// Whether the last words are the assistant's own, for the model to go on from.
    pub(super) fn is_prefilled(&self) -> bool {
        let server_tools = |part: &&Part| matches!(part, Part::Unknown { dialect: Dialect::Messages, .. });
        self.groups.last().is_some_and(|last| last.assistant && !last.parts.iter().any(server_tools))
    }

    /// Whether the step that is under way began without a thought that the target may see, which models with a budget
    /// refuse while they think.
    pub(super) fn lacks_thought(&self, target: &Target<'_>) -> bool {
        let mut groups = self.groups.iter().rev();
        let (Some(user), Some(assistant)) = (groups.next(), groups.next()) else { return false };
        if user.results.is_empty() {
            return false;
        }
        let first = assistant
            .parts
            .iter()
            .find(|part| !matches!(part, Part::Reasoning(thought) if !is_seen(thought, target)));
        !matches!(first, Some(Part::Reasoning(_)))
    }

    /// Writes `system` and `messages`.
    pub(super) fn write(
        &self,
        context: &mut Context<'_>,
        body: &mut Out<'_>,
        written: &mut Written,
    ) -> Result<(), Refused> {
        write_system("system", &self.leading, context, body, written)?;
        let mut messages = Out::array(body.key(PARAM));
        let mut any = false;
        for (place, group) in self.groups.iter().enumerate() {
            let mut content = Vec::new();
            let mut list = Out::array(&mut content);
            if group.assistant {
                let last = place + 1 == self.groups.len();
                write_assistant(&group.parts, last, context, &mut list, written)?;
            } else {
                write_user(group, context, &mut list, written)?;
            }
            list.end();
            if content.len() > 2 {
                any = true;
                let mut message = Out::object(messages.item());
                message.text("role", if group.assistant { "assistant" } else { "user" });
                message.key("content").extend_from_slice(&content);
                message.end();
            }
            if !group.system.is_empty() {
                let mut content = Vec::new();
                let mut message = Out::object(&mut content);
                message.text("role", "system");
                let said = write_system("content", &group.system, context, &mut message, written)?;
                message.end();
                if said {
                    messages.item().extend_from_slice(&content);
                }
            }
        }
        messages.end();
        if any {
            Ok(())
        } else {
            Err(Refused::new(PARAM, "the target needs at least one message that is not empty"))
        }
    }
}

fn orphan(what: &str, id: &str) -> Refused {
    let id: String = id.chars().take(120).collect();
    Refused::new(PARAM, format!("{what} `{id}`"))
}

/// Instructions: one plain text as a string, anything else as blocks.
fn write_system(
    key: &str,
    parts: &[&Part],
    context: &mut Context<'_>,
    out: &mut Out<'_>,
    written: &mut Written,
) -> Result<bool, Refused> {
    let mut texts = Vec::new();
    for part in parts {
        match part {
            Part::Text { text, cache, .. } if is_text(text) => texts.push((text, cache)),
            Part::Text { .. } => {}
            Part::Media(_) => {
                return Err(Refused::new(PARAM, "the target takes only text as instructions of the system"));
            }
            Part::Unknown { kind, .. } => report(kind, written),
            Part::Refusal { .. } | Part::Reasoning(_) | Part::ToolCall(_) | Part::ToolResult(_) => {}
        }
    }
    match texts.as_slice() {
        [] => return Ok(false),
        [(text, None)] => {
            out.text(key, text);
        }
        many => {
            let mut list = Out::array(out.key(key));
            for (text, cache) in many {
                write_text((text, &[], cache.as_ref()), false, &mut context.marks, &mut list, written);
            }
            list.end();
        }
    }
    Ok(true)
}

fn write_user(
    group: &Group<'_>,
    context: &mut Context<'_>,
    list: &mut Out<'_>,
    written: &mut Written,
) -> Result<(), Refused> {
    for result in &group.results {
        write_result(result, context, list, written)?;
    }
    for part in &group.parts {
        write_said(part, context, list, written)?;
    }
    Ok(())
}

/// What a user says or a tool answers.
fn write_said(
    part: &Part,
    context: &mut Context<'_>,
    list: &mut Out<'_>,
    written: &mut Written,
) -> Result<(), Refused> {
    match part {
        Part::Text { text, citations, opaque, cache } => {
            if opaque.is_some() {
                written.drop_param("reasoning");
            }
            if is_text(text) {
                write_text((text, citations, cache.as_ref()), false, &mut context.marks, list, written);
            }
        }
        Part::Media(media) => write_media(media, &mut context.marks, list, written)?,
        Part::Refusal { text } if is_text(text) => {
            write_text((text, &[], None), false, &mut context.marks, list, written);
        }
        Part::Refusal { .. } => {}
        Part::Unknown { dialect, kind, raw } => write_unknown((*dialect, kind, raw), list, written),
        Part::Reasoning(_) => written.drop_param("reasoning"),
        Part::ToolCall(call) => {
            return Err(orphan("a tool call stands outside of the assistant's turns: id", &call.id));
        }
        Part::ToolResult(result) => {
            return Err(orphan("a tool result stands inside of another: id", &result.call_id));
        }
    }
    Ok(())
}

fn write_result(
    result: &ToolResult,
    context: &mut Context<'_>,
    list: &mut Out<'_>,
    written: &mut Written,
) -> Result<(), Refused> {
    let mut out = Out::object(list.item());
    out.text("type", "tool_result").text("tool_use_id", &sent_id(&result.call_id)?);
    match result.parts.as_slice() {
        [] => {}
        [Part::Text { text, opaque: None, cache: None, citations }] if citations.is_empty() => {
            out.text("content", text);
        }
        parts => {
            let mut content = Out::array(out.key("content"));
            for part in parts {
                write_said(part, context, &mut content, written)?;
            }
            content.end();
        }
    }
    if result.is_error {
        out.boolean("is_error", true);
    }
    context.results.write(&result.call_id, &mut out);
    write_cache(result.cache.as_ref(), &mut context.marks, &mut out, written);
    out.end();
    Ok(())
}

fn write_assistant(
    parts: &[&Part],
    last: bool,
    context: &mut Context<'_>,
    list: &mut Out<'_>,
    written: &mut Written,
) -> Result<(), Refused> {
    for (place, part) in parts.iter().enumerate() {
        match part {
            Part::Text { text, citations, opaque, cache } => {
                if opaque.is_some() {
                    written.drop_param("reasoning");
                }
                // The target refuses white space at the end of words that it shall go on from.
                let text = if last && place + 1 == parts.len() { text.trim_end() } else { text.as_str() };
                if is_text(text) {
                    let part = (text, citations.as_slice(), cache.as_ref());
                    write_text(part, true, &mut context.marks, list, written);
                }
            }
            Part::Refusal { text } => {
                if is_text(text) {
                    write_text((text, &[], None), true, &mut context.marks, list, written);
                }
            }
            Part::Reasoning(thought) => write_thought(thought, context, list, written),
            Part::ToolCall(call) => write_call(call, context, list, written)?,
            Part::Unknown { dialect, kind, raw } => write_unknown((*dialect, kind, raw), list, written),
            Part::Media(_) => {
                return Err(Refused::new(
                    PARAM,
                    "the target takes no images, sounds or files of the assistant",
                ));
            }
            Part::ToolResult(result) => {
                return Err(orphan("a tool result stands in a turn of the assistant: id", &result.call_id));
            }
        }
    }
    Ok(())
}

/// Whether the target may get a thought back.
fn is_seen(thought: &Reasoning, target: &Target<'_>) -> bool {
    thought.opaque.as_ref().is_some_and(|opaque| {
        opaque.issuer.may_see(&target.issuer)
            && matches!(opaque.kind, OpaqueKind::Signature | OpaqueKind::Redacted)
    })
}

fn write_thought(thought: &Reasoning, context: &Context<'_>, list: &mut Out<'_>, written: &mut Written) {
    let opaque = thought.opaque.as_ref().filter(|_| is_seen(thought, context.target));
    let text = if thought.text.is_empty() { thought.summary.join("\n\n") } else { thought.text.clone() };
    match opaque {
        Some(opaque) if opaque.kind == OpaqueKind::Redacted => {
            let mut out = Out::object(list.item());
            out.text("type", "redacted_thinking").text("data", &opaque.data);
            out.end();
        }
        // Only the vendor's own models sign; others want their thoughts back as they are.
        _ if opaque.is_some() || (!context.family.claude && thought.opaque.is_none() && !text.is_empty()) => {
            let mut out = Out::object(list.item());
            out.text("type", "thinking").text("thinking", &text);
            out.text("signature", opaque.map_or("", |opaque| &opaque.data));
            out.end();
        }
        _ => written.drop_param("reasoning"),
    }
}

fn write_call(
    call: &ToolCall,
    context: &mut Context<'_>,
    list: &mut Out<'_>,
    written: &mut Written,
) -> Result<(), Refused> {
    if call.opaque.is_some() {
        written.drop_param("reasoning");
    }
    let mut out = Out::object(list.item());
    out.text("type", "tool_use").text("id", &sent_id(&call.id)?).text("name", &sent_name(&call.name)?);
    out.raw("input", &input(&call.arguments, &call.kind));
    context.calls.write(&call.id, &mut out);
    write_cache(call.cache.as_ref(), &mut context.marks, &mut out, written);
    out.end();
    Ok(())
}

fn sent_id(id: &str) -> Result<Cow<'_, str>, Refused> {
    names::id(id).ok_or_else(|| Refused::new(PARAM, "a tool call or tool result has an empty id"))
}

/// Arguments as the object that this dialect has. What a model wrote and is no object is wrapped, as the vendor advises
/// for arguments that it could not finish.
pub(super) fn input<'c>(arguments: &'c str, kind: &ToolKind) -> Cow<'c, str> {
    let key = match kind {
        ToolKind::Custom => "input",
        ToolKind::Function if arguments.trim().is_empty() => return "{}".into(),
        ToolKind::Function if Object::read(arguments).is_some() => return arguments.into(),
        ToolKind::Function => "INVALID_JSON",
    };
    let mut wrapped = Vec::new();
    let mut out = Out::object(&mut wrapped);
    out.text(key, arguments);
    out.end();
    String::from_utf8(wrapped).unwrap_or_default().into()
}
