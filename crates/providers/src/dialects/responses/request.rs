//! A client's body into the form.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::input;
use super::known::{INCLUDE_ENCRYPTED, INCLUDE_LOGPROBS};
use super::members::{Extra, Members, invalid, keep, missing, wrong};
use super::namespaces;
use crate::blocks::request::Unreadable;
use crate::blocks::{Format, Part, Request, Role, Thinking, Tool, ToolChoice, ToolKind, Turn};
use crate::request::BadRequest;

/// Reads a client's body.
pub(crate) fn read_request(body: &[u8]) -> Result<Request, Unreadable> {
    let mut members = open(body)?;
    let mut extra = Extra::default();
    let mut request = Request {
        model: members
            .text("model", "model")?
            .filter(|model| !model.is_empty())
            .ok_or_else(|| missing("model", "`model` is required: the name of the model to ask"))?,
        stream: members.typed("stream", "stream", "true or false")?.unwrap_or(false),
        include_usage: true,
        ..Request::default()
    };
    if let Some(instructions) = members.text("instructions", "instructions")?
        && !instructions.is_empty()
    {
        request.turns.push(Turn {
            role: Role::System,
            parts: vec![Part::text(instructions)],
            ..Turn::default()
        });
    }
    if let Some(raw) = members.take("input") {
        input::read(raw, &mut request.turns, &mut extra)?;
    }
    read_tools(&mut members, &mut request, &mut extra)?;
    read_text(&mut members, &mut request, &mut extra)?;
    read_reasoning(&mut members, &mut request, &mut extra)?;
    read_plain(&mut members, &mut request, &mut extra)?;
    read_include(&mut members, &mut request, &mut extra)?;
    if let Some(options) = members.inner("stream_options", "stream_options")? {
        options.rest("stream_options.", &mut extra);
    }
    members.rest("", &mut extra);
    request.extra = extra.list;
    Ok(request)
}

fn open(body: &[u8]) -> Result<Members<'_>, BadRequest> {
    let unreadable = |message: String| BadRequest { message, param: None, code: Some("invalid_json") };
    crate::json::validate(body)
        .map_err(|error| unreadable(format!("the request body is not valid JSON: {error}")))?;
    let members: Members<'_> = serde_json::from_slice(body)
        .map_err(|_| unreadable("the request body must be a JSON object in UTF-8".to_owned()))?;
    if let Some(key) = members.twice() {
        let key: String = key.chars().take(64).collect();
        return Err(BadRequest {
            message: format!("`{key}` is given twice"),
            param: None,
            code: Some("duplicate_parameter"),
        });
    }
    Ok(members)
}

fn read_plain(members: &mut Members<'_>, request: &mut Request, extra: &mut Extra) -> Result<(), BadRequest> {
    let count = "a whole number, 0 or more";
    request.max_output = members.typed("max_output_tokens", "max_output_tokens", count)?;
    request.parallel_tools = members.typed("parallel_tool_calls", "parallel_tool_calls", "true or false")?;
    request.temperature = members.number("temperature", "temperature")?;
    request.top_p = members.number("top_p", "top_p")?;
    request.top_logprobs = members.typed("top_logprobs", "top_logprobs", count)?;
    request.metadata = match members.take("metadata") {
        Some(raw) if raw.get().starts_with('{') => keep(raw),
        Some(_) => return Err(wrong("metadata", "an object")),
        None => None,
    };
    request.service_tier = members.text("service_tier", "service_tier")?;
    request.cache_key = members.text("prompt_cache_key", "prompt_cache_key")?;
    request.store = members.typed("store", "store", "true or false")?;
    request.previous = members.text("previous_response_id", "previous_response_id")?;
    request.end_user = members.text("safety_identifier", "safety_identifier")?;
    let user = members.take("user");
    if let Some(user) = user {
        let text: String = serde_json::from_str(user.get()).map_err(|_| wrong("user", "a string"))?;
        match request.end_user {
            Some(_) => extra.add("user".to_owned(), user),
            None => request.end_user = Some(text),
        }
    }
    Ok(())
}

/// `include` says two things that the form says otherwise; the rest is kept.
fn read_include(
    members: &mut Members<'_>,
    request: &mut Request,
    extra: &mut Extra,
) -> Result<(), BadRequest> {
    let Some(entries) = members.typed::<Vec<String>>("include", "include", "an array of strings")? else {
        return Ok(());
    };
    let mut rest = Vec::new();
    for entry in entries {
        match entry.as_str() {
            INCLUDE_ENCRYPTED => {}
            INCLUDE_LOGPROBS => request.logprobs = Some(true),
            _ => rest.push(entry),
        }
    }
    if !rest.is_empty()
        && let Ok(raw) = serde_json::value::to_raw_value(&rest)
    {
        extra.add("include".to_owned(), &raw);
    }
    Ok(())
}

fn read_reasoning(
    members: &mut Members<'_>,
    request: &mut Request,
    extra: &mut Extra,
) -> Result<(), BadRequest> {
    let Some(mut reasoning) = members.inner("reasoning", "reasoning")? else { return Ok(()) };
    let effort = reasoning.text("effort", "reasoning.effort")?;
    let summary = reasoning.text("summary", "reasoning.summary")?;
    let show = match summary {
        Some(summary) => Some(summary),
        // Its former name.
        None => reasoning.text("generate_summary", "reasoning.generate_summary")?,
    };
    if effort.is_some() || show.is_some() {
        request.thinking = Some(Thinking { effort, show, ..Thinking::default() });
    }
    reasoning.rest("reasoning.", extra);
    Ok(())
}

fn read_text(members: &mut Members<'_>, request: &mut Request, extra: &mut Extra) -> Result<(), BadRequest> {
    let Some(mut text) = members.inner("text", "text")? else { return Ok(()) };
    request.verbosity = text.text("verbosity", "text.verbosity")?;
    if let Some(mut format) = text.inner("format", "text.format")? {
        let kind = format.text("type", "text.format.type")?;
        request.format = match kind.as_deref() {
            Some("text") => Format::Text,
            Some("json_object") => Format::Json,
            Some("json_schema") => Format::Schema {
                name: format.text("name", "text.format.name")?,
                description: format.text("description", "text.format.description")?,
                schema: format.raw("schema").filter(crate::blocks::Raw::is_object).ok_or_else(|| {
                    missing("text.format.schema", "`text.format.schema` must be a JSON Schema, an object")
                })?,
                strict: format.typed("strict", "text.format.strict", "true or false")?,
            },
            _ => {
                let message = "`text.format.type` must be `text`, `json_object` or `json_schema`";
                return Err(invalid("text.format.type", message));
            }
        };
        format.rest("text.format.", extra);
    }
    text.rest("text.", extra);
    Ok(())
}

fn read_tools(members: &mut Members<'_>, request: &mut Request, extra: &mut Extra) -> Result<(), BadRequest> {
    for raw in members.list("tools", "tools")?.unwrap_or_default() {
        let tool = Members::of(raw.get()).ok_or_else(|| wrong("tools", "an array of objects"))?;
        match tool.peek("type").as_deref() {
            Some("namespace") => request.tools.extend(namespaces::read(tool, extra, read_tool)?),
            _ => request.tools.push(read_tool(raw, extra)?),
        }
    }
    let Some(choice) = members.take("tool_choice") else { return Ok(()) };
    match read_choice(choice)? {
        Some(choice) => request.tool_choice = Some(namespaces::resolved(choice, &request.tools)),
        None => extra.add("tool_choice".to_owned(), choice),
    }
    Ok(())
}

fn read_tool(raw: &RawValue, extra: &mut Extra) -> Result<Tool, BadRequest> {
    let mut tool = Members::of(raw.get()).ok_or_else(|| wrong("tools", "an array of objects"))?;
    let kind = tool
        .text("type", "tools.type")?
        .ok_or_else(|| missing("tools.type", "each of `tools` must have a `type`"))?;
    let name = |tool: &mut Members<'_>| {
        tool.text("name", "tools.name")?
            .ok_or_else(|| missing("tools.name", format!("a tool of type `{kind}` must have a `name`")))
    };
    let read = match kind.as_str() {
        "function" => Tool::Function {
            name: name(&mut tool)?,
            description: tool.text("description", "tools.description")?,
            parameters: match tool.take("parameters") {
                Some(raw) if raw.get().starts_with('{') => keep(raw),
                Some(_) => return Err(wrong("tools.parameters", "a JSON Schema, an object")),
                None => None,
            },
            strict: tool.typed("strict", "tools.strict", "true or false")?,
            cache: None,
        },
        "custom" => Tool::Custom {
            name: name(&mut tool)?,
            description: tool.text("description", "tools.description")?,
            format: tool.raw("format"),
        },
        _ => {
            let raw = keep(raw).ok_or_else(|| wrong("tools", "an array of objects"))?;
            return Ok(Tool::Hosted { kind, raw });
        }
    };
    tool.rest("tools.", extra);
    Ok(read)
}

#[derive(Deserialize)]
struct Allowed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    name: Option<String>,
}

/// `None`: a choice of a hosted tool, which the form has no place for.
fn read_choice(raw: &RawValue) -> Result<Option<ToolChoice>, BadRequest> {
    let wanted = "`auto`, `none`, `required` or an object with a `type`";
    if let Ok(word) = serde_json::from_str::<Cow<'_, str>>(raw.get()) {
        return match word.as_ref() {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            "required" => Ok(Some(ToolChoice::Required)),
            _ => Err(invalid("tool_choice", format!("`tool_choice` must be {wanted}"))),
        };
    }
    let mut choice = Members::of(raw.get()).ok_or_else(|| wrong("tool_choice", wanted))?;
    let kind = choice.text("type", "tool_choice.type")?.ok_or_else(|| wrong("tool_choice", wanted))?;
    let kind = match kind.as_str() {
        "function" => ToolKind::Function,
        "custom" => ToolKind::Custom,
        "allowed_tools" => return read_allowed(&mut choice),
        _ => return Ok(None),
    };
    let name = choice
        .text("name", "tool_choice.name")?
        .ok_or_else(|| missing("tool_choice.name", "`tool_choice.name` must name the tool"))?;
    let name = namespaces::joined(choice.text("namespace", "tool_choice.namespace")?, name);
    Ok(Some(ToolChoice::One { name, kind }))
}

fn read_allowed(choice: &mut Members<'_>) -> Result<Option<ToolChoice>, BadRequest> {
    let required = match choice.text("mode", "tool_choice.mode")?.as_deref() {
        Some("required") => true,
        Some("auto") | None => false,
        Some(_) => {
            return Err(invalid("tool_choice.mode", "`tool_choice.mode` must be `auto` or `required`"));
        }
    };
    let mut names = Vec::new();
    for raw in choice.list("tools", "tool_choice.tools")?.unwrap_or_default() {
        let tool: Allowed<'_> = serde_json::from_str(raw.get())
            .map_err(|_| wrong("tool_choice.tools", "an array of objects with a `type`"))?;
        match (tool.kind.as_ref(), tool.name) {
            ("function" | "custom", Some(name)) => names.push(name),
            // A hosted tool has no name: the whole choice stays as it is.
            _ => return Ok(None),
        }
    }
    Ok(Some(ToolChoice::Allowed { names, required }))
}
