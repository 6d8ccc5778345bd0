//! Tests of the Responses dialect, by door.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod answers;
mod any;
mod kept;
mod namespaces;
mod reading;
mod streams;
mod writing;

use serde_json::{Value, json};

use super::*;
use crate::blocks::*;
use crate::dialects::{Dialect, Reply, Target};

fn issuer(dialect: Dialect) -> Issuer {
    Issuer { dialect, provider: "one".to_owned() }
}

fn read(body: &Value) -> Request {
    read_request(body.to_string().as_bytes()).unwrap()
}

fn write(request: &Request) -> (Value, Vec<String>) {
    let target =
        Target { model: "gpt-up", issuer: issuer(Dialect::Responses), max_output: None, stream_usage: true };
    let written = write_request(request, &target).unwrap();
    let dropped = written.dropped.into_iter().map(|param| param.0).collect();
    (serde_json::from_slice(&written.body).unwrap(), dropped)
}

fn refused(request: &Request) -> Refused {
    let target =
        Target { model: "gpt-up", issuer: issuer(Dialect::Responses), max_output: None, stream_usage: true };
    write_request(request, &target).unwrap_err()
}

fn reply(request: &Request) -> Reply<'_> {
    Reply { id: "abc123", model: "asked", created: 1_770_000_000, request }
}

fn raw(value: &Value) -> Raw {
    Raw::parse(&value.to_string()).unwrap()
}

/// A user asks.
fn asks(text: &str) -> Turn {
    Turn { role: Role::User, parts: vec![Part::text(text)], name: None }
}

fn turn(role: Role, parts: Vec<Part>) -> Turn {
    Turn { role, parts, name: None }
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        ..ToolCall::default()
    })
}

fn result(id: &str, text: &str) -> Part {
    Part::ToolResult(ToolResult {
        call_id: id.to_owned(),
        parts: vec![Part::text(text)],
        ..ToolResult::default()
    })
}

fn sealed(dialect: Dialect, kind: OpaqueKind, data: &str) -> Opaque {
    Opaque { issuer: issuer(dialect), kind, data: data.to_owned() }
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}})
}
