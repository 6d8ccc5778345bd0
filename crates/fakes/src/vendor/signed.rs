//! Vendors that sign their thoughts and want them back: what is missing or another's is refused.

use serde_json::{Value, json};

use super::{Asked, Reply, odd_name};

const BY_ANTHROPIC: &str = "signed-by-anthropic";
const BY_GOOGLE: &str = "c2lnbmVkLWJ5LWdvb2dsZQ==";
/// Google's documented word for calls that another model made.
const OF_ANOTHER: &str = "skip_thought_signature_validator";

pub(super) fn anthropic(asked: &Asked<'_>) -> Reply {
    let body = asked.body;
    let refuse = |message: &str| {
        let error = json!({ "type": "invalid_request_error", "message": message });
        Reply::json(400, &json!({ "type": "error", "error": error }))
    };
    let blocks = |role: &'static str| {
        let of_role = move |message: &&Value| message["role"] == role;
        body["messages"].as_array().into_iter().flatten().filter(of_role).map(|message| &message["content"])
    };
    let tools = body["tools"].as_array().into_iter().flatten();
    let calls = blocks("assistant").filter_map(Value::as_array).flatten();
    if odd_name(tools.chain(calls).map(|named| &named["name"]), 128, "-").is_some() {
        return refuse("tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'");
    }
    for content in blocks("assistant").filter_map(Value::as_array) {
        let thinking = |block: &&Value| block["type"] == "thinking";
        if content.iter().filter(thinking).any(|block| block["signature"] != BY_ANTHROPIC) {
            return refuse("messages.1.content.0: Invalid `signature` in `thinking` block");
        }
        let calls = content.iter().any(|block| block["type"] == "tool_use");
        let thinks = ["enabled", "adaptive"].iter().any(|kind| body["thinking"]["type"] == *kind);
        if thinks && calls && content.first().is_none_or(|first| first["type"] != "thinking") {
            return refuse("Expected `thinking` or `redacted_thinking`, but found `tool_use`.");
        }
    }
    let is_result = |block: &Value| block["type"] == "tool_result";
    let called = blocks("user").filter_map(Value::as_array).any(|content| content.iter().any(is_result));
    let mut content = vec![json!({ "type": "thinking", "thinking": "I look.", "signature": BY_ANTHROPIC })];
    let tool = body["tools"][0]["name"].as_str().filter(|_| !called);
    content.push(match tool {
        Some(name) => {
            json!({ "type": "tool_use", "id": "toolu_1", "name": name, "input": { "city": "Oslo" } })
        }
        None => json!({ "type": "text", "text": "It is mild." }),
    });
    let reason = if tool.is_some() { "tool_use" } else { "end_turn" };
    let usage = json!({ "input_tokens": 8, "output_tokens": 6 });
    let whole = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"],
        "content": content, "stop_reason": reason, "stop_sequence": null, "usage": usage });
    if asked.streams() { anthropic_events(&whole) } else { Reply::json(200, &whole) }
}

fn anthropic_events(whole: &Value) -> Reply {
    let mut begun = whole.clone();
    (begun["content"], begun["stop_reason"]) = (json!([]), Value::Null);
    let mut events = vec![("message_start", json!({ "message": begun }))];
    for (at, block) in whole["content"].as_array().into_iter().flatten().enumerate() {
        let (empty, deltas) = match block["type"].as_str() {
            Some("thinking") => (
                json!({ "type": "thinking", "thinking": "", "signature": "" }),
                vec![
                    json!({ "type": "thinking_delta", "thinking": block["thinking"] }),
                    json!({ "type": "signature_delta", "signature": block["signature"] }),
                ],
            ),
            Some("tool_use") => (
                json!({ "type": "tool_use", "id": block["id"], "name": block["name"], "input": {} }),
                vec![json!({ "type": "input_json_delta", "partial_json": block["input"].to_string() })],
            ),
            _ => (
                json!({ "type": "text", "text": "" }),
                vec![json!({ "type": "text_delta", "text": block["text"] })],
            ),
        };
        events.push(("content_block_start", json!({ "index": at, "content_block": empty })));
        events.extend(
            deltas.into_iter().map(|delta| ("content_block_delta", json!({ "index": at, "delta": delta }))),
        );
        events.push(("content_block_stop", json!({ "index": at })));
    }
    let end = json!({ "stop_reason": whole["stop_reason"], "stop_sequence": null });
    events.push(("message_delta", json!({ "delta": end, "usage": { "output_tokens": 6 } })));
    events.push(("message_stop", json!({})));
    let named: Vec<_> = events
        .into_iter()
        .map(|(name, mut data)| {
            data["type"] = json!(name);
            (Some(name), data)
        })
        .collect();
    Reply::events(&named, false)
}

pub(super) fn gemini(asked: &Asked<'_>) -> Reply {
    let body = asked.body;
    let refuse = |message: &str| {
        Reply::json(
            400,
            &json!({ "error": { "code": 400, "message": message, "status": "INVALID_ARGUMENT" } }),
        )
    };
    let contents = || body["contents"].as_array().into_iter().flatten();
    let declared = body["tools"][0]["functionDeclarations"].as_array().into_iter().flatten();
    let parts = contents().flat_map(|content| content["parts"].as_array().into_iter().flatten());
    let said = parts.flat_map(|part| [&part["functionCall"]["name"], &part["functionResponse"]["name"]]);
    if odd_name(declared.map(|function| &function["name"]).chain(said), 64, "-.").is_some() {
        return refuse("Invalid function name.");
    }
    let mut called = false;
    for content in contents() {
        let parts: Vec<&Value> = content["parts"].as_array().into_iter().flatten().collect();
        called |= parts.iter().any(|part| part["functionResponse"].is_object());
        let known = |signature: &str| [BY_GOOGLE, OF_ANOTHER].contains(&signature);
        if parts.iter().any(|part| part["thoughtSignature"].as_str().is_some_and(|signed| !known(signed))) {
            return refuse("Corrupted thought signature.");
        }
        let first = parts.iter().find(|part| part["functionCall"].is_object());
        if first.is_some_and(|part| !part["thoughtSignature"].is_string()) {
            return refuse("Function call is missing a thought_signature in functionCall parts.");
        }
    }
    let declared = &body["tools"][0]["functionDeclarations"][0]["name"];
    let part = match declared.as_str().filter(|_| !called) {
        Some(name) => json!({ "functionCall": { "name": name, "args": { "city": "Oslo" } },
                              "thoughtSignature": BY_GOOGLE }),
        None => json!({ "text": "It is mild." }),
    };
    let whole = json!({ "candidates": [{ "content": { "role": "model", "parts": [part] }, "finishReason": "STOP",
                                         "index": 0 }],
        "modelVersion": "gemini-fake", "responseId": "g1",
        "usageMetadata": { "promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10 } });
    if asked.path.ends_with(":streamGenerateContent") {
        Reply::events(&[(None, whole)], false)
    } else {
        Reply::json(200, &whole)
    }
}
