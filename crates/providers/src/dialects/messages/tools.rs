//! What the model may call, and whether it must: read and written.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_json::value::RawValue;

use super::blocks::{Marks, write_cache};
use super::content::Turns;
use super::family::Family;
use super::json::{Object, Out, wrong_type};
use super::names;
use super::request::objects;
use crate::blocks::request::Unreadable;
use crate::blocks::{Raw, Refused, Request, Tool, ToolChoice, ToolKind, Written};

/// Members of a function tool that only this dialect has.
const OWN_MEMBERS: [&str; 4] =
    ["allowed_callers", "defer_loading", "eager_input_streaming", "input_examples"];

/// Reads `tools`. Functions of the client become functions; tools with a type of the vendor are kept whole.
pub(super) fn read_tools(value: &RawValue, turns: &mut Turns) -> Result<Vec<Tool>, Unreadable> {
    let param = "tools";
    let mut tools = Vec::new();
    for (place, (whole, mut tool)) in objects(param, value)?.into_iter().enumerate() {
        let path = format!("tools[{place}]");
        match tool.kind() {
            Some(kind) if kind != "custom" => {
                let raw = Raw::parse(whole.get()).ok_or_else(|| wrong_type(param, &path, "JSON"))?;
                tools.push(Tool::Hosted { kind, raw });
                continue;
            }
            _ => {}
        }
        let name = tool.needed(param, &path, "name")?;
        let schema = tool.take("input_schema");
        if schema.is_some_and(|schema| !schema.get().starts_with('{')) {
            return Err(wrong_type(param, &format!("{path}.input_schema"), "an object"));
        }
        let description = tool.text(param, &path, "description")?;
        let strict = tool.boolean(param, &path, "strict")?;
        let cache = turns.cache(param, &path, &mut tool)?;
        for (member, raw) in tool.rest().filter(|(member, _)| member != "type") {
            turns.aside.keep(format!("tools.{member}"), &name, raw);
        }
        let parameters = schema.and_then(|schema| Raw::parse(schema.get()));
        tools.push(Tool::Function { name, description, parameters, strict, cache });
    }
    Ok(tools)
}

/// The members of `tools.NAME` and the like, by tool or call.
pub(super) struct Sides<'r>(Vec<(&'r str, HashMap<String, Raw>)>);

impl<'r> Sides<'r> {
    /// Of the members of `extra` that begin with `prefix` and are known.
    pub(super) fn of(request: &'r Request, prefix: &str, known: &[&str]) -> Self {
        let found = request.extra.iter().filter_map(|(name, raw)| {
            let member = name.strip_prefix(prefix).filter(|member| known.contains(member))?;
            Some((member, raw.read()?))
        });
        Self(found.collect())
    }

    /// Writes what stands on `key`.
    pub(super) fn write(&self, key: &str, out: &mut Out<'_>) {
        for (member, by_key) in &self.0 {
            if let Some(raw) = by_key.get(key) {
                out.raw(member, raw.get());
            }
        }
    }
}

/// Whether a member of `extra` is written by [`write_tools`] or with a call.
pub(super) fn is_written(name: &str) -> bool {
    name.strip_prefix("tools.").is_some_and(|member| OWN_MEMBERS.contains(&member))
        || matches!(name, "tool_use.caller" | "tool_use.toolset_name" | "tool_result.toolset_name")
}

/// Whether a type of tool is one of this vendor's: they end in a date of eight digits.
fn is_own(kind: &str) -> bool {
    let dated = kind.rsplit_once('_').is_some_and(|(_, date)| {
        date.len() == 8 && date.starts_with("20") && date.bytes().all(|byte| byte.is_ascii_digit())
    });
    dated || kind == "mcp_toolset"
}

/// A tool's name for the provider.
pub(super) fn sent_name(name: &str) -> Result<Cow<'_, str>, Refused> {
    names::tool_name(name).ok_or_else(|| {
        let name: String = name.chars().take(80).collect();
        Refused::new(
            "tools",
            format!("the target takes tool names of 1 to 128 letters, digits, `_` and `-`, not `{name}`"),
        )
    })
}

/// Writes `tools`. Returns whether there are any.
pub(super) fn write_tools(
    request: &Request,
    family: &Family,
    marks: &mut Marks,
    body: &mut Out<'_>,
    written: &mut Written,
) -> Result<bool, Refused> {
    let only: Option<HashSet<&str>> = match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => Some(names.iter().map(String::as_str).collect()),
        _ => None,
    };
    let allowed = |name: &str| only.as_ref().is_none_or(|only| only.contains(name));
    let sides = Sides::of(request, "tools.", &OWN_MEMBERS);
    let mut items = Vec::new();
    let mut list = Out::array(&mut items);
    let mut any = false;
    for tool in request.tools_for(written, |kind, raw| is_own(kind) && raw.is_object()) {
        match tool {
            Tool::Function { name, description, parameters, strict, cache } => {
                if !allowed(name) {
                    continue;
                }
                let mut out = Out::object(list.item());
                out.text("name", &sent_name(name)?);
                if let Some(description) = description.as_deref().filter(|text| !text.is_empty()) {
                    out.text("description", description);
                }
                out.raw("input_schema", &schema(name, parameters.as_ref())?);
                match strict {
                    Some(strict) if family.schemas => {
                        out.boolean("strict", *strict);
                    }
                    Some(true) => written.drop_param("strict"),
                    _ => {}
                }
                write_cache(cache.as_ref(), marks, &mut out, written);
                sides.write(name, &mut out);
                out.end();
            }
            Tool::Hosted { kind, raw } if is_own(kind) && raw.is_object() => {
                let name = Object::read(raw.get()).and_then(|mut tool| tool.loose_text("name"));
                if !allowed(name.as_deref().unwrap_or_default()) {
                    continue;
                }
                list.item().extend_from_slice(raw.get().as_bytes());
            }
            Tool::Hosted { kind, .. } => {
                let message = format!("the target does not run tools of type `{kind}`: leave it out");
                return Err(Refused::new("tools", message));
            }
            Tool::Custom { name, .. } => {
                let message = format!(
                    "the target takes functions, and `{name}` is a custom tool: declare it as a function"
                );
                return Err(Refused::new("tools", message));
            }
        }
        any = true;
    }
    list.end();
    if any {
        body.key("tools").extend_from_slice(&items);
    }
    Ok(any)
}

/// A schema whose type is `object`, as the target wants it.
fn schema<'r>(name: &str, parameters: Option<&'r Raw>) -> Result<Cow<'r, str>, Refused> {
    let Some(raw) = parameters.filter(|raw| !raw.is_null()) else {
        return Ok(r#"{"type":"object","properties":{}}"#.into());
    };
    let refused = || {
        Refused::new(
            "tools",
            format!("the parameters of tool `{name}` must be a JSON Schema of type `object`"),
        )
    };
    let object = Object::read(raw.get()).ok_or_else(refused)?;
    match object.kind().as_deref() {
        Some("object") => Ok(raw.get().into()),
        Some(_) => Err(refused()),
        None if object.rest().any(|(member, _)| member == "type") => Err(refused()),
        None => {
            let inside = raw.get().get(1..).unwrap_or("}");
            let comma = if inside.trim_start().starts_with('}') { "" } else { "," };
            Ok(format!(r#"{{"type":"object"{comma}{inside}"#).into())
        }
    }
}

/// Whether a call is forced.
pub(super) fn is_forced(request: &Request) -> bool {
    matches!(
        request.tool_choice,
        Some(ToolChoice::Required | ToolChoice::One { .. } | ToolChoice::Allowed { required: true, .. })
    )
}

/// Writes `tool_choice` with `disable_parallel_tool_use` in it.
pub(super) fn write_choice(
    request: &Request,
    family: &Family,
    has_tools: bool,
    body: &mut Out<'_>,
) -> Result<(), Refused> {
    if is_forced(request) && !has_tools {
        return Err(Refused::new("tool_choice", "`tool_choice` forces a tool, and there are no `tools`"));
    }
    if is_forced(request) && !family.forced_tools {
        return Err(Refused::new(
            "tool_choice",
            "this model does not let a tool be forced: use `auto`, or another model",
        ));
    }
    if !has_tools {
        return Ok(());
    }
    let (kind, name) = match &request.tool_choice {
        None if request.parallel_tools != Some(false) => return Ok(()),
        None | Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => ("auto", None),
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => ("any", None),
        Some(ToolChoice::None) => ("none", None),
        Some(ToolChoice::One { kind: ToolKind::Custom, .. }) => {
            return Err(Refused::new("tool_choice", "the target has no custom tools"));
        }
        Some(ToolChoice::One { name, .. }) => ("tool", Some(name)),
    };
    let mut choice = Out::object(body.key("tool_choice"));
    choice.text("type", kind);
    if let Some(name) = name {
        choice.text("name", &sent_name(name)?);
    }
    if let Some(parallel) = request.parallel_tools.filter(|_| kind != "none") {
        choice.boolean("disable_parallel_tool_use", !parallel);
    }
    choice.end();
    Ok(())
}
