//! Vendors of Chat Completions with deviations.

use serde_json::{Value, json};

use super::{Asked, Manner, Reply};

/// What every such vendor thinks before it calls or says anything.
const THOUGHT: &str = "The user wants to know, so I look.";
const SAID: &str = "It is mild.";

pub(super) fn answer(manner: Manner, asked: &Asked<'_>) -> Reply {
    if !asked.path.ends_with("/chat/completions") {
        return Reply::json(404, &json!({ "error": { "message": format!("no {}", asked.path) } }));
    }
    match problem(manner, asked.body) {
        Some((message, param)) => Reply::refused(&message, param),
        None if asked.streams() => streamed(manner, asked),
        None => whole(manner, asked),
    }
}

/// What the vendor refuses, and the parameter at fault.
fn problem(manner: Manner, body: &Value) -> Option<(String, &'static str)> {
    let has = |name: &str| !body[name].is_null();
    let refuse = |message: &str, param| Some((message.to_owned(), param));
    match manner {
        Manner::DeepSeek => {
            let effort = &body["reasoning_effort"];
            if has("reasoning_effort") && !["low", "high", "max"].iter().any(|level| effort == level) {
                return refuse("reasoning_effort must be low, high or max", "reasoning_effort");
            }
            trailing(body, "prefix").or_else(|| replayed(body, "must be passed back to the API"))
        }
        Manner::Qwen if has("reasoning_effort") => {
            refuse("unknown parameter reasoning_effort", "reasoning_effort")
        }
        Manner::Glm => glm(body),
        Manner::Kimi => {
            let deep = body["model"].as_str().is_some_and(|model| model.contains("k3"));
            if deep && has("thinking") || !deep && has("reasoning_effort") {
                return refuse("invalid request: no such switch for this model", "thinking");
            }
            for (name, fixed) in [("temperature", 1.0), ("top_p", 0.95)] {
                if has(name) && body[name].as_f64() != Some(fixed) {
                    return Some((
                        format!("invalid {name}: only {fixed} is allowed for this model"),
                        "temperature",
                    ));
                }
            }
            if messages(body).any(|message| message["content"].is_array()) {
                return refuse("content must be a string", "messages");
            }
            trailing(body, "partial").or_else(|| {
                replayed(
                    body,
                    "thinking is enabled but reasoning_content is missing in assistant tool call message",
                )
            })
        }
        Manner::MiniMax => {
            let fits = |number: f64| number > 0.0 && number <= 1.0;
            let bad = body["temperature"].as_f64().is_some_and(|number| !fits(number));
            if bad { refuse("invalid params, temperature must be in (0, 1]", "temperature") } else { None }
        }
        _ => None,
    }
}

fn glm(body: &Value) -> Option<(String, &'static str)> {
    let refused = [
        "max_completion_tokens",
        "frequency_penalty",
        "presence_penalty",
        "reasoning_effort",
        "stream_options",
    ];
    if let Some(name) = refused.into_iter().find(|name| !body[*name].is_null()) {
        return Some((format!("1210: parameter {name} is not supported"), name));
    }
    if !body["tool_choice"].is_null() && body["tool_choice"] != "auto" {
        return Some(("1210: tool_choice supports auto only".to_owned(), "tool_choice"));
    }
    if body["response_format"]["type"] == "json_schema" {
        return Some(("1210: response_format supports text and json_object".to_owned(), "response_format"));
    }
    None
}

fn messages(body: &Value) -> impl Iterator<Item = &Value> {
    body["messages"].as_array().into_iter().flatten()
}

/// A last message of the assistant without the mark that makes it one to be continued.
fn trailing(body: &Value, mark: &str) -> Option<(String, &'static str)> {
    let last = messages(body).last()?;
    let unmarked = last["role"] == "assistant" && last[mark] != true;
    unmarked.then(|| (format!("the last message must be of the user, or carry {mark}"), "messages"))
}

/// A turn with calls that has lost its thoughts.
fn replayed(body: &Value, message: &str) -> Option<(String, &'static str)> {
    let quiet = body["thinking"]["type"] == "disabled";
    let lost = messages(body).any(|message| {
        message["tool_calls"].is_array() && message["reasoning_content"].as_str() != Some(THOUGHT)
    });
    (lost && !quiet).then(|| (format!("reasoning_content {message}"), "messages"))
}

/// The tool that is called now: the first, as long as no result has come.
pub(super) fn tool_to_call(body: &Value) -> Option<&str> {
    let called = messages(body).any(|message| message["role"] == "tool");
    body["tools"][0]["function"]["name"].as_str().filter(|_| !called)
}

fn call(name: &str) -> Value {
    json!({ "index": 0, "id": "call_vendor_1", "type": "function",
            "function": { "name": name, "arguments": "{\"city\":\"Oslo\"}" } })
}

const USAGE: [(&str, u64); 3] = [("prompt_tokens", 11), ("completion_tokens", 7), ("total_tokens", 18)];

fn usage() -> Value {
    USAGE
        .into_iter()
        .map(|(name, count)| (name.to_owned(), json!(count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn thinks(body: &Value) -> bool {
    body["thinking"]["type"] != "disabled" && body["enable_thinking"] != false
}

fn whole(manner: Manner, asked: &Asked<'_>) -> Reply {
    let body = asked.body;
    let mut message = json!({ "role": "assistant", "content": SAID });
    let tags = manner == Manner::MiniMax;
    if tags {
        message["content"] = json!(format!("<think>\n{THOUGHT}\n</think>\n\n{SAID}"));
    } else if thinks(body) {
        message["reasoning_content"] = json!(THOUGHT);
    }
    let mut reason = "stop";
    if let Some(name) = tool_to_call(body) {
        message["tool_calls"] = json!([call(name)]);
        if !tags {
            message["content"] = json!("");
        }
        reason = "tool_calls";
    }
    Reply::json(
        200,
        &json!({ "id": "v-1", "object": "chat.completion", "created": 1, "model": body["model"],
                 "choices": [{ "index": 0, "message": message, "finish_reason": reason }], "usage": usage() }),
    )
}

fn streamed(manner: Manner, asked: &Asked<'_>) -> Reply {
    let body = asked.body;
    let chunk = |delta: Value, reason: Option<&str>| {
        (
            None,
            json!({ "id": "v-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"],
                    "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] }),
        )
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), None)];
    if manner == Manner::MiniMax {
        for piece in ["<thi", "nk>\nThe user wants to know, ", "so I look.", "\n</th", "ink>\n\n"] {
            events.push(chunk(json!({ "role": "", "content": piece }), None));
        }
    } else if thinks(body) {
        for piece in ["The user wants to know, ", "so I look."] {
            events.push(chunk(json!({ "reasoning_content": piece }), None));
        }
    }
    let reason = match tool_to_call(body) {
        Some(name) => {
            events.push(chunk(json!({ "tool_calls": [call(name)] }), None));
            "tool_calls"
        }
        None => {
            events.extend(["It is ", "mild."].map(|piece| chunk(json!({ "content": piece }), None)));
            "stop"
        }
    };
    events.push(chunk(json!({}), Some(reason)));
    if manner == Manner::MiniMax {
        for (_, event) in &mut events {
            event["usage"] = json!({ "total_tokens": 0 });
        }
    }
    events.push((
        None,
        json!({ "id": "v-1", "object": "chat.completion.chunk", "choices": [], "usage": usage() }),
    ));
    let mut reply = Reply::events(&events, true);
    if manner == Manner::DeepSeek {
        reply.body.insert_str(0, ": keep-alive\n\n");
    }
    reply
}
