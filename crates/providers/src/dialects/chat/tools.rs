//! `tools`, `tool_choice` and `response_format`: read and written.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::json::Json;
use super::members::{Members, array, missing, own, read, text, wrong_type, wrong_value};
use super::models;
use super::parts::cache_mark;
use crate::blocks::{Format, Raw, Refused, Request, Tool, ToolChoice, ToolKind, Written};
use crate::request::BadRequest;

/// `tools`.
pub(super) fn read_tools(raw: &RawValue, extra: &mut Vec<(String, Raw)>) -> Result<Vec<Tool>, BadRequest> {
    let items = array(raw).ok_or_else(|| wrong_type("tools", "tools", "an array"))?;
    let mut tools = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let path = format!("tools[{number}]");
        let tool = Members::of(item).ok_or_else(|| wrong_type("tools", &path, "an object"))?;
        note_unknown("tools", &tool, &["type", "function", "custom"], extra);
        let kind = tool.text("type").unwrap_or_else(|| "function".into());
        tools.push(match &*kind {
            "function" => {
                let path = format!("{path}.function");
                let of = tool.object("function").ok_or_else(|| missing("tools", &path))?;
                note_unknown("tools.function", &of, &FUNCTION, extra);
                read_function(&of, &tool, "tools", &path)?
            }
            "custom" => {
                let path = format!("{path}.custom");
                let of = tool.object("custom").ok_or_else(|| missing("tools", &path))?;
                Tool::Custom {
                    name: name(&of, "tools", &path)?,
                    description: of.text("description").map(String::from),
                    format: of.get("format").and_then(own),
                }
            }
            other => Tool::Hosted {
                kind: other.to_owned(),
                raw: own(item).ok_or_else(|| wrong_type("tools", &path, "an object"))?,
            },
        });
    }
    Ok(tools)
}

const FUNCTION: [&str; 4] = ["name", "description", "parameters", "strict"];

/// What the form has no place for, each name once. A tool of a kind that is kept verbatim has nothing to note.
fn note_unknown(path: &str, of: &Members<'_>, known: &[&str], extra: &mut Vec<(String, Raw)>) {
    let hosted = known.len() == 3 && of.get("function").is_none() && of.get("custom").is_none();
    for (name, raw) in of.0.iter().filter(|_| !hosted) {
        let mark = matches!(&**name, "cache_control" | "prompt_cache_breakpoint");
        if mark || known.contains(&&**name) || extra.len() >= 64 {
            continue;
        }
        let name = format!("{path}.{name}");
        if !extra.iter().any(|(noted, _)| *noted == name) {
            extra.extend(own(raw).map(|raw| (name, raw)));
        }
    }
}

/// Legacy `functions`.
pub(super) fn read_functions(raw: &RawValue) -> Result<Vec<Tool>, BadRequest> {
    let items = array(raw).ok_or_else(|| wrong_type("functions", "functions", "an array"))?;
    let one = |(number, item): (usize, &RawValue)| {
        let path = format!("functions[{number}]");
        let of = Members::of(item).ok_or_else(|| wrong_type("functions", &path, "an object"))?;
        read_function(&of, &of, "functions", &path)
    };
    items.into_iter().enumerate().map(one).collect()
}

fn read_function(
    of: &Members<'_>,
    tool: &Members<'_>,
    param: &'static str,
    path: &str,
) -> Result<Tool, BadRequest> {
    let parameters = of.get("parameters").and_then(own);
    if parameters.as_ref().is_some_and(|schema| !schema.is_object()) {
        return Err(wrong_type(param, &format!("{path}.parameters"), "a JSON Schema object"));
    }
    let strict = match of.get("strict") {
        Some(raw) => {
            Some(read(raw).ok_or_else(|| wrong_type(param, &format!("{path}.strict"), "true or false"))?)
        }
        None => None,
    };
    let description = of.text("description").map(String::from);
    let cache = cache_mark(tool).or_else(|| cache_mark(of));
    Ok(Tool::Function { name: name(of, param, path)?, description, parameters, strict, cache })
}

fn name(of: &Members<'_>, param: &'static str, path: &str) -> Result<String, BadRequest> {
    let path = format!("{path}.name");
    let raw = of.get("name").ok_or_else(|| missing(param, &path))?;
    text(raw).map(String::from).ok_or_else(|| wrong_type(param, &path, "a string"))
}

/// `tool_choice`, and legacy `function_call`, which names a function without a type.
pub(super) fn read_choice(raw: &RawValue, param: &'static str) -> Result<ToolChoice, BadRequest> {
    if let Some(word) = text(raw) {
        return match &*word {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            // `any` is Mistral's word.
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(wrong_value(
                param,
                format!("`{param}` must be auto, none, required or an object that names a tool"),
            )),
        };
    }
    let choice = Members::of(raw).ok_or_else(|| wrong_type(param, param, "a string or an object"))?;
    if let Some(allowed) = choice.object("allowed_tools") {
        let tools = allowed.get("tools").and_then(array);
        let tools = tools.ok_or_else(|| missing(param, "tool_choice.allowed_tools.tools"))?;
        let names = tools.into_iter().filter_map(|tool| named(&Members::of(tool)?).map(|(name, _)| name));
        let required = allowed.text("mode").is_some_and(|mode| mode == "required");
        return Ok(ToolChoice::Allowed { names: names.collect(), required });
    }
    let (name, kind) = named(&choice).ok_or_else(|| missing(param, &format!("{param}.function.name")))?;
    Ok(ToolChoice::One { name, kind })
}

fn named(of: &Members<'_>) -> Option<(String, ToolKind)> {
    let (inner, kind) = if let Some(custom) = of.object("custom") {
        (Some(custom), ToolKind::Custom)
    } else {
        (of.object("function"), ToolKind::Function)
    };
    let name = inner.as_ref().unwrap_or(of).text("name")?;
    Some((name.into_owned(), kind))
}

/// `response_format`.
pub(super) fn read_format(raw: &RawValue) -> Result<Format, BadRequest> {
    const PARAM: &str = "response_format";
    let format = Members::of(raw).ok_or_else(|| wrong_type(PARAM, PARAM, "an object"))?;
    match &*format.text("type").ok_or_else(|| missing(PARAM, "response_format.type"))? {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::Json),
        "json_schema" => {
            let of =
                format.object("json_schema").ok_or_else(|| missing(PARAM, "response_format.json_schema"))?;
            let Some(schema) = of.get("schema").and_then(own) else {
                return Err(missing(PARAM, "response_format.json_schema.schema"));
            };
            if !schema.is_object() {
                return Err(wrong_type(PARAM, "response_format.json_schema.schema", "an object"));
            }
            Ok(Format::Schema {
                name: of.text("name").map(String::from),
                description: of.text("description").map(String::from),
                schema,
                strict: of.get("strict").and_then(read),
            })
        }
        _ => Err(wrong_value(
            PARAM,
            "`response_format.type` must be text, json_object or json_schema".to_owned(),
        )),
    }
}

/// Writes the tools and what is said about them.
pub(super) fn write_tools(
    request: &Request,
    model: &str,
    written: &mut Written,
    json: &mut Json,
) -> Result<(), Refused> {
    let tools = request.tools_for(written, |_, _| false);
    if tools.is_empty() {
        return match request.tool_choice {
            None | Some(ToolChoice::Auto | ToolChoice::None) => Ok(()),
            Some(_) => {
                Err(Refused::new("tool_choice", "`tool_choice` demands a tool, and there are no `tools`"))
            }
        };
    }
    // Servers other than OpenAI's do not know `allowed_tools`: they are shown no other tools.
    let shown = match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) if !models::is_openai(model) => {
            Some(names.iter().map(String::as_str).collect::<HashSet<_>>())
        }
        _ => None,
    };
    json.array("tools");
    for tool in tools {
        if shown.as_ref().is_none_or(|names| names.contains(tool_name(tool))) {
            write_tool(tool, written, json)?;
        }
    }
    json.close(b']');
    if let Some(choice) = &request.tool_choice {
        write_choice(choice, request, shown.is_some(), json);
    }
    if let Some(parallel) = request.parallel_tools {
        json.flag("parallel_tool_calls", parallel);
    }
    Ok(())
}

fn tool_name(tool: &Tool) -> &str {
    match tool {
        Tool::Function { name, .. } | Tool::Custom { name, .. } => name,
        Tool::Hosted { kind, .. } => kind,
    }
}

fn write_tool(tool: &Tool, written: &mut Written, json: &mut Json) -> Result<(), Refused> {
    json.open(b'{');
    match tool {
        Tool::Function { name, description, parameters, strict, cache } => {
            if cache.is_some() {
                written.drop_param("cache_control");
            }
            json.text("type", "function");
            json.object("function");
            json.text("name", name);
            json.text_if("description", description.as_deref());
            json.raw_if("parameters", parameters.as_ref());
            if let Some(strict) = strict {
                json.flag("strict", *strict);
            }
            json.close(b'}');
        }
        Tool::Custom { name, description, format } => {
            json.text("type", "custom");
            json.object("custom");
            json.text("name", name);
            json.text_if("description", description.as_deref());
            if let Some(format) = format {
                json.json("format", &grammar(format));
            }
            json.close(b'}');
        }
        Tool::Hosted { kind, .. } => {
            return Err(Refused::new(
                "tools",
                format!(
                    "`tools`: `{}` is run by a provider, and the chosen model's API (Chat Completions) has no such tool",
                    kind.chars().take(64).collect::<String>()
                ),
            ));
        }
    }
    json.close(b'}');
    Ok(())
}

/// Chat wraps a grammar, Responses does not: `{"type":"grammar","syntax","definition"}`.
fn grammar(format: &Raw) -> String {
    #[derive(serde::Deserialize)]
    struct Flat<'a> {
        #[serde(borrow)]
        syntax: &'a RawValue,
        #[serde(borrow)]
        definition: &'a RawValue,
    }
    format.read::<Flat<'_>>().map_or_else(
        || format.get().to_owned(),
        |flat| {
            let (syntax, definition) = (flat.syntax.get(), flat.definition.get());
            format!(r#"{{"type":"grammar","grammar":{{"syntax":{syntax},"definition":{definition}}}}}"#)
        },
    )
}

fn write_choice(choice: &ToolChoice, request: &Request, filtered: bool, json: &mut Json) {
    match choice {
        ToolChoice::Auto => json.text("tool_choice", "auto"),
        ToolChoice::Required => json.text("tool_choice", "required"),
        ToolChoice::None => json.text("tool_choice", "none"),
        ToolChoice::One { name, kind } => {
            json.key("tool_choice");
            write_named(name, *kind == ToolKind::Custom, json);
        }
        ToolChoice::Allowed { required, .. } if filtered => {
            json.text("tool_choice", if *required { "required" } else { "auto" });
        }
        ToolChoice::Allowed { names, required } => {
            json.object("tool_choice");
            json.text("type", "allowed_tools");
            json.object("allowed_tools");
            json.text("mode", if *required { "required" } else { "auto" });
            json.array("tools");
            let custom = request.tools.iter().filter(|tool| matches!(tool, Tool::Custom { .. }));
            let custom: HashSet<&str> = custom.map(tool_name).collect();
            for name in names {
                write_named(name, custom.contains(name.as_str()), json);
            }
            json.close(b']');
            json.close(b'}');
            json.close(b'}');
        }
    }
}

fn write_named(name: &str, custom: bool, json: &mut Json) {
    let kind = if custom { "custom" } else { "function" };
    json.open(b'{');
    json.text("type", kind);
    json.object(kind);
    json.text("name", name);
    json.close(b'}');
    json.close(b'}');
}

/// Writes `response_format`, where it is not plain text.
pub(super) fn write_format(format: &Format, json: &mut Json) {
    match format {
        Format::Text => {}
        Format::Json => {
            json.object("response_format");
            json.text("type", "json_object");
            json.close(b'}');
        }
        Format::Schema { name, description, schema, strict } => {
            json.object("response_format");
            json.text("type", "json_schema");
            json.object("json_schema");
            json.text("name", &schema_name(name.as_deref()));
            json.text_if("description", description.as_deref());
            json.json("schema", schema.get());
            if let Some(strict) = strict {
                json.flag("strict", *strict);
            }
            json.close(b'}');
            json.close(b'}');
        }
    }
}

/// OpenAI takes letters, digits, `_` and `-`, at most 64.
fn schema_name(name: Option<&str>) -> String {
    let fitting = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.filter(|name| !name.is_empty()).unwrap_or("answer").chars().take(64).map(fitting).collect()
}
