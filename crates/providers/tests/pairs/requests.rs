//! Requests there and back, and one conversation through all of them.

use providers::blocks::{Part, Request, Role};
use providers::dialects::Dialect;

use crate::{inputs, pairs, read_request, write_request};

/// Who says what, calls what and is answered what; signatures and places of system turns aside, which are checked
/// by the reports.
fn told(request: &Request) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for turn in &request.turns {
        for part in &turn.parts {
            out.push(match part {
                Part::Text { text, .. } => format!("{} says {text}", who(turn.role)),
                Part::Media(media) => format!("{} shows {:?} {:?}", who(turn.role), media.kind, media.source),
                Part::ToolCall(call) => {
                    let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
                    format!("calls {} {} {arguments}", call.id, call.name)
                }
                Part::ToolResult(result) => {
                    let texts: Vec<&str> = result
                        .parts
                        .iter()
                        .filter_map(|part| match part {
                            Part::Text { text, .. } => Some(text.as_str()),
                            _ => None,
                        })
                        .collect();
                    format!("{} gives {}", result.call_id, texts.join("\n"))
                }
                Part::Refusal { text } => format!("refuses {text}"),
                Part::Reasoning(_) | Part::Unknown { .. } => continue,
            });
        }
    }
    out
}

fn who(role: Role) -> &'static str {
    match role {
        Role::System | Role::Developer => "system",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    }
}

#[test]
fn the_turns_arrive_as_they_were_told_or_are_reported() {
    for (client, provider) in pairs() {
        for (feature, body) in inputs::of(client).requests {
            let request = read_request(client, inputs::compact(body.get()).as_bytes());
            let Ok(written) = write_request(provider, &request) else { continue };
            let arrived = read_request(provider, &written.body);
            let place = format!("{client:?} to {provider:?}, {feature}");
            let (mut sent, mut came) = (told(&request), told(&arrived));
            // The order of turns but for instructions, which some dialects hoist and report.
            if written.dropped.iter().any(|param| param.0.contains("system")) {
                sent.retain(|line| !line.starts_with("system"));
                came.retain(|line| !line.starts_with("system"));
            }
            // Results that hold media tell them behind where the dialect has no place in them.
            if feature == "tools_parallel" {
                sent.retain(|line| !line.contains("shows"));
                came.retain(|line| !line.contains("shows") && !line.contains("What the tool call"));
            }
            assert_eq!(came, sent, "{place}; dropped {:?}", written.dropped);
            // Messages has no word for some of the tools: it is given these alone.
            if feature != "choice_allowed" {
                assert_eq!(arrived.tools.len(), request.tools.len(), "{place}");
            }
            assert_eq!(arrived.stop, request.stop, "{place}");
        }
    }
}

#[test]
fn ten_thousand_turns_are_written_to_a_size_that_grows_with_them() {
    let body = |turns: usize| {
        let turn = r#"{"role":"user","content":"a"},{"role":"assistant","content":"b"},"#.repeat(turns / 2);
        format!(r#"{{"model":"m","messages":[{turn}{{"role":"user","content":"c"}}]}}"#)
    };
    for provider in Dialect::ALL {
        let size = |turns| {
            let request = read_request(Dialect::Chat, body(turns).as_bytes());
            assert_eq!(request.turns.len(), turns + 1);
            write_request(provider, &request).unwrap().body.len()
        };
        let (few, many) = (size(100), size(10_000));
        assert!(many < few * 110, "{provider:?}: {few} and {many} bytes");
    }
}
