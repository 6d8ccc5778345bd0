//! A client's body.

use serde_json::value::RawValue;

use super::content::{Aside, Turns, short};
use super::json::{Object, array, missing, wrong, wrong_type};
use super::tools::read_tools;
use crate::blocks::request::Unreadable;
use crate::blocks::{Format, Raw, Request, Thinking, ToolChoice, ToolKind};

/// Reads a body of `POST /v1/messages`, of either API version.
///
/// Members of objects inside, for which the form has no place, are kept in `extra`: of tools as `tools.NAME`, an object
/// by tool name; of calls and results as `tool_use.NAME` and `tool_result.NAME`, objects by call id.
pub(crate) fn read_request(body: &[u8]) -> Result<Request, Unreadable> {
    let mut body = Object::of_body(body)?;
    if let Some(name) = body.duplicate() {
        let message = format!("`{}` occurs more than once in the request body", short(name));
        return Err(Unreadable { message, param: None, code: Some("duplicate_parameter") });
    }
    let mut turns = Turns::new();
    if let Some(system) = body.take("system") {
        turns.system(system)?;
    }
    let messages = body.take("messages").ok_or_else(|| missing("messages", "messages"))?;
    let messages = array(messages).ok_or_else(|| wrong_type("messages", "messages", "an array"))?;
    if messages.is_empty() {
        return Err(wrong("messages", "`messages` must have at least one message".to_owned()));
    }
    for (place, message) in messages.into_iter().enumerate() {
        turns.message(place, message)?;
    }
    let mut request = Request {
        model: body.needed("model", "", "model")?,
        stream: body.boolean("stream", "", "stream")?.unwrap_or(false),
        include_usage: true,
        max_output: Some(max_tokens(&mut body)?),
        temperature: number("temperature", &mut body)?,
        top_p: number("top_p", &mut body)?,
        top_k: number("top_k", &mut body)?,
        stop: stop_sequences(&mut body)?,
        service_tier: body.text("service_tier", "", "service_tier")?,
        ..Request::default()
    };
    if request.model.is_empty() {
        return Err(missing("model", "model"));
    }
    if let Some(tools) = body.take("tools") {
        request.tools = read_tools(tools, &mut turns)?;
    }
    tool_choice(&mut body, &mut request)?;
    thinking(&mut body, &mut request)?;
    if let Some(mut metadata) = body.object("metadata", "", "metadata")? {
        request.end_user = metadata.text("metadata", "metadata", "user_id")?;
        keep("metadata", metadata, &mut request);
    }
    let Turns { turns, aside, .. } = turns;
    request.turns = turns;
    finish(body, aside, &mut request);
    Ok(request)
}

fn finish(body: Object<'_>, aside: Aside, request: &mut Request) {
    request.extra.extend(aside.into_extra());
    request.extra.extend(body.rest());
}

fn max_tokens(body: &mut Object<'_>) -> Result<u64, Unreadable> {
    let value = body.take("max_tokens").ok_or_else(|| missing("max_tokens", "max_tokens"))?;
    serde_json::from_str(value.get())
        .map_err(|_| wrong_type("max_tokens", "max_tokens", "an integer that is not negative"))
}

fn number(name: &'static str, body: &mut Object<'_>) -> Result<Option<Raw>, Unreadable> {
    body.take(name)
        .map(|value| {
            let numeric = value.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
            let raw = if numeric { Raw::parse(value.get()) } else { None };
            raw.ok_or_else(|| wrong_type(name, name, "a number"))
        })
        .transpose()
}

fn stop_sequences(body: &mut Object<'_>) -> Result<Vec<String>, Unreadable> {
    let Some(value) = body.take("stop_sequences") else { return Ok(Vec::new()) };
    serde_json::from_str(value.get())
        .map_err(|_| wrong_type("stop_sequences", "stop_sequences", "an array of strings"))
}

fn tool_choice(body: &mut Object<'_>, request: &mut Request) -> Result<(), Unreadable> {
    let param = "tool_choice";
    let Some(mut choice) = body.object(param, "", param)? else { return Ok(()) };
    request.parallel_tools =
        choice.boolean(param, param, "disable_parallel_tool_use")?.map(|disabled| !disabled);
    request.tool_choice = Some(match choice.needed(param, param, "type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::One { name: choice.needed(param, param, "name")?, kind: ToolKind::Function },
        other => {
            let message = format!("`tool_choice.type` must be auto, any, tool or none, not {}", short(other));
            return Err(wrong(param, message));
        }
    });
    keep(param, choice, request);
    Ok(())
}

/// `thinking`, and `output_config` with its effort and format (`output_format` is an older name of the latter).
fn thinking(body: &mut Object<'_>, request: &mut Request) -> Result<(), Unreadable> {
    let mut thinking = Thinking::default();
    if let Some(mut object) = body.object("thinking", "", "thinking")? {
        thinking.mode = Some(object.needed("thinking", "thinking", "type")?);
        thinking.show = object.text("thinking", "thinking", "display")?;
        thinking.budget = object
            .take("budget_tokens")
            .map(|value| {
                serde_json::from_str(value.get())
                    .map_err(|_| wrong_type("thinking", "thinking.budget_tokens", "an integer"))
            })
            .transpose()?;
        if thinking.mode.as_deref() == Some("enabled") && thinking.budget.is_none() {
            return Err(missing("thinking", "thinking.budget_tokens"));
        }
        keep("thinking", object, request);
    }
    if let Some(format) = body.take("output_format") {
        request.format = format_of("output_format", format)?;
    }
    if let Some(mut config) = body.object("output_config", "", "output_config")? {
        thinking.effort = config.text("output_config", "output_config", "effort")?;
        if let Some(format) = config.take("format") {
            request.format = format_of("output_config.format", format)?;
        }
        keep("output_config", config, request);
    }
    request.thinking = Some(thinking).filter(|thinking| *thinking != Thinking::default());
    Ok(())
}

fn format_of(path: &str, value: &RawValue) -> Result<Format, Unreadable> {
    let param = "output_config";
    let mut format = Object::read(value.get()).ok_or_else(|| wrong_type(param, path, "an object"))?;
    match format.needed(param, path, "type")?.as_str() {
        "json_schema" => {
            let schema = format.take("schema").and_then(|schema| Raw::parse(schema.get()));
            let schema = schema.filter(Raw::is_object);
            let schema = schema.ok_or_else(|| wrong_type(param, &format!("{path}.schema"), "an object"))?;
            Ok(Format::Schema { name: None, description: None, schema, strict: Some(true) })
        }
        other => Err(wrong(param, format!("`{path}.type` must be json_schema, not {}", short(other)))),
    }
}

/// What is left of an object, under `NAME.member`.
fn keep(name: &str, object: Object<'_>, request: &mut Request) {
    let rest = object.rest().filter(|(member, _)| member != "type");
    request.extra.extend(rest.map(|(member, raw)| (format!("{name}.{member}"), raw)));
}

/// Reads an array of objects.
pub(super) fn objects<'a>(
    param: &'static str,
    value: &'a RawValue,
) -> Result<Vec<(&'a RawValue, Object<'a>)>, Unreadable> {
    let items = array(value).ok_or_else(|| wrong_type(param, param, "an array"))?;
    items
        .into_iter()
        .enumerate()
        .map(|(place, item)| {
            let object = Object::read(item.get());
            let object =
                object.ok_or_else(|| wrong_type(param, &format!("{param}[{place}]"), "an object"))?;
            Ok((item, object))
        })
        .collect()
}
