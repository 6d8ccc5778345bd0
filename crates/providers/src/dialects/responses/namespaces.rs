//! Tools in a namespace: `{"type": "namespace", "name": "files", "tools": [{"type": "function", "name": "read"}]}`, called
//! as `{"type": "function_call", "name": "read", "namespace": "files"}`. No other dialect has them.
//!
//! The form has one name for a tool. So both names stand in it with a separator that no name can have: nobody takes such a
//! name as it is, `tool_names` makes one of it that fits (`files__read`) and gives the call of it back, and here it is
//! taken apart again.

use serde_json::value::RawValue;

use super::build::object;
use super::members::{Extra, Members, missing};
use super::settings;
use crate::blocks::{Tool, ToolChoice};
use crate::request::BadRequest;
use crate::tool_names::WITHIN;

/// The name in the form.
pub(super) fn joined(namespace: Option<String>, name: String) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}{WITHIN}{name}"),
        None => name,
    }
}

/// Namespace and name.
pub(super) fn parted(name: &str) -> (Option<&str>, &str) {
    match name.split_once(WITHIN) {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, name),
    }
}

/// The tools of a namespace. What it says of itself stands before what its first tool says.
pub(super) fn read(
    mut namespace: Members<'_>,
    extra: &mut Extra,
    mut read_tool: impl FnMut(&RawValue, &mut Extra) -> Result<Tool, BadRequest>,
) -> Result<Vec<Tool>, BadRequest> {
    namespace.take("type");
    let within = namespace
        .text("name", "tools.name")?
        .ok_or_else(|| missing("tools.name", "a namespace of tools must have a `name`"))?;
    let mut about = namespace.text("description", "tools.description")?.filter(|text| !text.is_empty());
    let mut tools = Vec::new();
    for raw in namespace.list("tools", "tools.tools")?.unwrap_or_default() {
        let mut tool = read_tool(raw, extra)?;
        if let Tool::Function { name, description, .. } | Tool::Custom { name, description, .. } = &mut tool {
            *name = joined(Some(within.clone()), std::mem::take(name));
            if let Some(about) = about.take() {
                let own = description.as_deref().unwrap_or_default();
                *description = Some(format!("{about}\n\n{own}").trim_end().to_owned());
            }
        }
        tools.push(tool);
    }
    namespace.rest("tools.", extra);
    Ok(tools)
}

/// A choice with the names that the tools have in the form: who names a tool without its namespace means the only one of
/// that name.
pub(super) fn resolved(choice: ToolChoice, tools: &[Tool]) -> ToolChoice {
    let names: Vec<&String> = tools
        .iter()
        .filter_map(|tool| match tool {
            Tool::Function { name, .. } | Tool::Custom { name, .. } => Some(name),
            Tool::Hosted { .. } => None,
        })
        .collect();
    let resolve = |said: String| {
        let mut alike = names.iter().filter(|name| parted(name).1 == said);
        match (names.contains(&&said), alike.next(), alike.next()) {
            (false, Some(only), None) => (*only).clone(),
            _ => said,
        }
    };
    match choice {
        ToolChoice::One { name, kind } => ToolChoice::One { name: resolve(name), kind },
        ToolChoice::Allowed { names, required } => {
            ToolChoice::Allowed { names: names.into_iter().map(resolve).collect(), required }
        }
        other => other,
    }
}

/// Writes tools as a client of Responses has them: those of one namespace together.
pub(super) fn write(tools: &[Tool], out: &mut Vec<u8>) {
    let within = |tool: &Tool| match tool {
        Tool::Function { name, .. } | Tool::Custom { name, .. } => parted(name).0.map(str::to_owned),
        Tool::Hosted { .. } => None,
    };
    out.push(b'[');
    let mut first = true;
    for alike in tools.chunk_by(|a, b| within(a).is_some() && within(a) == within(b)) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        match alike.first().and_then(within) {
            None => alike.iter().for_each(|tool| settings::write_tool(tool, out)),
            Some(name) => object(out, |o| {
                o.text("type", "namespace").text("name", &name);
                o.array("tools", alike, settings::write_tool);
            }),
        }
    }
    out.push(b']');
}
