//! Tools and whether they must be called, as a client writes them.

use serde_json::value::RawValue;

use crate::blocks::request::Unreadable;
use crate::blocks::{Raw, Request, Tool, ToolChoice, ToolKind};

use super::members::{Members, invalid, keep, missing, object, objects, text, texts};
use super::request::{TOOL_CONFIG, schema_of};

pub(super) fn read_tools(tools: &RawValue, request: &mut Request) -> Result<(), Unreadable> {
    for mut tool in objects(tools, "tools")? {
        if let Some(declarations) = tool.take("functionDeclarations") {
            for declaration in objects(declarations, "tools.functionDeclarations")? {
                read_function(declaration, request)?;
            }
        }
        for (name, value) in tool.rest() {
            let raw = with_name(&name, value);
            request.tools.push(Tool::Hosted { kind: name.into_owned(), raw });
        }
    }
    Ok(())
}

fn read_function(mut function: Members<'_>, request: &mut Request) -> Result<(), Unreadable> {
    let name = function.take("name").ok_or_else(|| missing("tools.functionDeclarations.name"))?;
    let name = text(name, "tools.functionDeclarations.name")?;
    let description = function.take("description");
    let description =
        description.map(|value| text(value, "tools.functionDeclarations.description")).transpose()?;
    let older = function.take("parameters");
    let parameters = match function.take("parametersJsonSchema") {
        Some(schema) => {
            object(schema, "tools.functionDeclarations.parametersJsonSchema")?;
            Some(keep(schema))
        }
        None => older.map(|value| schema_of(value, "tools.functionDeclarations.parameters")).transpose()?,
    };
    for (member, value) in function.rest() {
        remember(request, &format!("functionDeclarations.{member}"), value);
    }
    request.tools.push(Tool::Function { name, description, parameters, strict: None, cache: None });
    Ok(())
}

/// Into `extra`, the first of a name.
fn remember(request: &mut Request, name: &str, value: &RawValue) {
    if !request.extra.iter().any(|(known, _)| known == name) {
        request.extra.push((name.to_owned(), keep(value)));
    }
}

/// `{name: value}`.
pub(super) fn with_name(name: &str, value: &RawValue) -> Raw {
    let mut json = Vec::with_capacity(value.get().len() + name.len() + 5);
    let mut object = super::emit::Object::new(&mut json);
    object.json(name, value.get());
    object.end();
    String::from_utf8(json).ok().and_then(|json| Raw::parse(&json)).unwrap_or_else(|| keep(value))
}

pub(super) fn read_config(mut config: Members<'_>, request: &mut Request) -> Result<(), Unreadable> {
    if let Some(calling) = config.take("functionCallingConfig") {
        read_calling(object(calling, "toolConfig.functionCallingConfig")?, request)?;
    }
    for (name, value) in config.rest() {
        request.extra.push((format!("{TOOL_CONFIG}{name}"), keep(value)));
    }
    Ok(())
}

fn read_calling(mut config: Members<'_>, request: &mut Request) -> Result<(), Unreadable> {
    let names = config.take("allowedFunctionNames");
    let names = names.map(|value| texts(value, "toolConfig.functionCallingConfig.allowedFunctionNames"));
    let mut names = names.transpose()?.unwrap_or_default();
    let mode = config.take("mode");
    let param = "toolConfig.functionCallingConfig.mode";
    let word = mode.map(|value| text(value, param)).transpose()?.map(|word| word.to_ascii_uppercase());
    request.tool_choice = match word.as_deref() {
        Some("ANY") if names.len() == 1 => {
            names.pop().map(|name| ToolChoice::One { name, kind: ToolKind::Function })
        }
        Some("ANY") if names.is_empty() => Some(ToolChoice::Required),
        Some("ANY") => Some(ToolChoice::Allowed { names, required: true }),
        Some("NONE") => Some(ToolChoice::None),
        Some("VALIDATED") if !names.is_empty() => Some(ToolChoice::Allowed { names, required: false }),
        Some("VALIDATED") => {
            request.extra.push((param.to_owned(), Raw::string("VALIDATED")));
            Some(ToolChoice::Auto)
        }
        Some("AUTO") => Some(ToolChoice::Auto),
        None | Some("MODE_UNSPECIFIED") => None,
        Some(_) => {
            return Err(invalid(param, format!("{param} must be AUTO, ANY, NONE or VALIDATED")));
        }
    };
    for (name, value) in config.rest() {
        request.extra.push((format!("{TOOL_CONFIG}functionCallingConfig.{name}"), keep(value)));
    }
    Ok(())
}
