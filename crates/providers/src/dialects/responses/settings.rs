//! Tools, choices and formats as JSON: the same in a request and in the answer that repeats them.

use std::collections::HashSet;

use super::build::{array, object};
use super::known::{INCLUDE_ENCRYPTED, is_hosted};
use super::namespaces::{self, parted};
use crate::blocks::{Format, Part, Raw, Request, Role, Tool, ToolChoice, ToolKind};

/// Writes one tool. Hosted tools go verbatim.
pub(super) fn write_tool(tool: &Tool, out: &mut Vec<u8>) {
    match tool {
        Tool::Function { name, description, parameters, strict, .. } => object(out, |o| {
            o.text("type", "function")
                .text("name", parted(name).1)
                .text_if("description", description.as_deref());
            match parameters {
                Some(schema) => o.json("parameters", schema.get()),
                None => o.json("parameters", r#"{"type":"object","properties":{}}"#),
            };
            // Left out it would be true here, and false where the request comes from.
            o.flag("strict", strict.unwrap_or(false));
        }),
        Tool::Custom { name, description, format } => object(out, |o| {
            o.text("type", "custom")
                .text("name", parted(name).1)
                .text_if("description", description.as_deref());
            if let Some(format) = format {
                write_grammar(format, o.value("format"));
            }
        }),
        Tool::Hosted { raw, .. } => out.extend_from_slice(raw.get().as_bytes()),
    }
}

/// A custom tool's format: `{type, syntax, definition}` here, `{type, grammar: {syntax, definition}}` in Chat.
fn write_grammar(format: &Raw, out: &mut Vec<u8>) {
    #[derive(serde::Deserialize)]
    struct Nested {
        grammar: Grammar,
    }
    #[derive(serde::Deserialize)]
    struct Grammar {
        syntax: String,
        definition: String,
    }
    match format.read::<Nested>() {
        Some(Nested { grammar }) => object(out, |o| {
            o.text("type", "grammar").text("syntax", &grammar.syntax).text("definition", &grammar.definition);
        }),
        None => out.extend_from_slice(format.get().as_bytes()),
    }
}

/// Whether the tool exists here.
pub(super) fn has_tool(tool: &Tool) -> bool {
    match tool {
        Tool::Hosted { kind, raw } => is_hosted(kind) && raw.is_object(),
        Tool::Function { .. } | Tool::Custom { .. } => true,
    }
}

/// Writes `tool_choice`.
pub(super) fn write_choice(choice: &ToolChoice, tools: &[Tool], out: &mut Vec<u8>) {
    match choice {
        ToolChoice::Auto => out.extend_from_slice(b"\"auto\""),
        ToolChoice::Required => out.extend_from_slice(b"\"required\""),
        ToolChoice::None => out.extend_from_slice(b"\"none\""),
        ToolChoice::One { name, kind } => write_named(name, *kind == ToolKind::Custom, out),
        ToolChoice::Allowed { names, required } => object(out, |o| {
            o.text("type", "allowed_tools").text("mode", if *required { "required" } else { "auto" });
            let custom: HashSet<&str> = tools.iter().filter_map(custom_name).collect();
            o.array("tools", names, |name, out| write_named(name, custom.contains(name.as_str()), out));
        }),
    }
}

fn write_named(name: &str, custom: bool, out: &mut Vec<u8>) {
    object(out, |o| {
        o.text("type", if custom { "custom" } else { "function" }).text("name", name);
    });
}

fn custom_name(tool: &Tool) -> Option<&str> {
    match tool {
        Tool::Custom { name, .. } => Some(name),
        Tool::Function { .. } | Tool::Hosted { .. } => None,
    }
}

/// Writes `text.format`.
pub(super) fn write_format(format: &Format, out: &mut Vec<u8>) {
    object(out, |o| match format {
        Format::Text => {
            o.text("type", "text");
        }
        Format::Json => {
            o.text("type", "json_object");
        }
        Format::Schema { name, description, schema, strict } => {
            o.text("type", "json_schema").text("name", name.as_deref().unwrap_or("answer"));
            o.text_if("description", description.as_deref());
            if let Some(strict) = strict {
                o.flag("strict", *strict);
            }
            o.json("schema", schema.get());
        }
    });
}

/// The members of an answer that only repeat what was asked, without braces.
pub(super) fn echo(request: &Request) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    object(&mut out, |o| {
        o.flag("background", request.ours.background);
        o.text_or_null("instructions", instructions(request));
        o.json("max_output_tokens", &request.max_output.map_or("null".to_owned(), |most| most.to_string()));
        o.raw_or_null("metadata", request.metadata.as_ref());
        o.flag("parallel_tool_calls", request.parallel_tools.unwrap_or(true));
        let previous = request.previous.as_deref().or(request.ours.previous.as_deref());
        o.text_or_null("previous_response_id", previous);
        o.text_or_null("prompt_cache_key", request.cache_key.as_deref());
        o.object("reasoning", |o| {
            let thinking = request.thinking.as_ref();
            o.text_or_null("effort", thinking.and_then(|thinking| thinking.effort.as_deref()));
            o.text_or_null("summary", thinking.and_then(|thinking| thinking.show.as_deref()));
        });
        o.text_or_null("safety_identifier", request.end_user.as_deref());
        o.flag("store", request.store.unwrap_or(true));
        o.raw_or_null("temperature", request.temperature.as_ref());
        o.object("text", |o| {
            write_format(&request.format, o.value("format"));
            o.text_if("verbosity", request.verbosity.as_deref());
        });
        match (&request.tool_choice, find_extra(request, "tool_choice")) {
            (Some(choice), _) => write_choice(choice, &request.tools, o.value("tool_choice")),
            (None, Some(raw)) => _ = o.json("tool_choice", raw.get()),
            (None, None) => _ = o.text("tool_choice", "auto"),
        }
        namespaces::write(&request.tools, o.value("tools"));
        o.json("top_logprobs", &request.top_logprobs.unwrap_or(0).to_string());
        o.raw_or_null("top_p", request.top_p.as_ref());
        match find_extra(request, "truncation") {
            Some(raw) => o.json("truncation", raw.get()),
            None => o.text("truncation", "disabled"),
        };
    });
    // Without its braces.
    out.pop();
    out.drain(..1);
    out
}

fn find_extra<'r>(request: &'r Request, name: &str) -> Option<&'r Raw> {
    request.extra.iter().find(|(key, _)| key == name).map(|(_, raw)| raw)
}

/// The first system turn, which is how `instructions` were read.
fn instructions(request: &Request) -> Option<&str> {
    let first = request.turns.first().filter(|turn| turn.role == Role::System)?;
    match first.parts.as_slice() {
        [Part::Text { text, .. }] => Some(text),
        _ => None,
    }
}

/// Writes `include`: encrypted reasoning, and whatever else is asked for.
pub(super) fn write_include(entries: &[String], encrypted: bool, out: &mut Vec<u8>) {
    let first = encrypted.then_some(INCLUDE_ENCRYPTED);
    let rest = entries.iter().map(String::as_str).filter(|entry| *entry != INCLUDE_ENCRYPTED);
    array(out, first.into_iter().chain(rest), crate::json::text::encode);
}
