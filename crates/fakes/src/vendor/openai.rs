//! OpenAI: two APIs, and models that only one of them serves.

use serde_json::{Value, json};

use super::chat::tool_to_call;
use super::{Asked, Reply, odd_name};
use crate::upstream::base64;

/// What this account's thoughts look like from outside.
const SEALED: &str = "sealed-by-openai";

pub(super) fn answer(asked: &Asked<'_>) -> Reply {
    match asked.path.trim_start_matches("/openai") {
        "/v1/chat/completions" => chat(asked),
        "/v1/responses" => responses(asked),
        "/v1/embeddings" => embeddings(asked.body),
        path => Reply::json(404, &json!({ "error": { "message": format!("no {path}") } })),
    }
}

fn embeddings(body: &Value) -> Reply {
    let takes = ["model", "input", "dimensions", "encoding_format", "user"];
    let odd = body.as_object().into_iter().flatten().find(|(name, _)| !takes.contains(&name.as_str()));
    if let Some((name, _)) = odd {
        return Reply::refused(&format!("Unknown parameter: '{name}'."), name);
    }
    let count = match &body["input"] {
        Value::Array(inputs) if !inputs.iter().all(Value::is_u64) => inputs.len(),
        _ => 1,
    };
    let floats = [0.5_f32, -0.5];
    let embedding = match body["encoding_format"] == "base64" {
        true => json!(base64(&floats.iter().flat_map(|float| float.to_le_bytes()).collect::<Vec<_>>())),
        false => json!(floats),
    };
    let one = |index| json!({ "object": "embedding", "index": index, "embedding": embedding });
    let data: Vec<Value> = (0..count).map(one).collect();
    let usage = json!({ "prompt_tokens": 2, "total_tokens": 2 });
    Reply::json(200, &json!({ "object": "list", "model": body["model"], "usage": usage, "data": data }))
}

fn chat(asked: &Asked<'_>) -> Reply {
    let body = asked.body;
    let model = body["model"].as_str().unwrap_or_default();
    let tools = body["tools"].as_array().into_iter().flatten().map(|tool| &tool["function"]["name"]);
    let turns = body["messages"].as_array().into_iter().flatten();
    let calls = turns.flat_map(|turn| turn["tool_calls"].as_array().into_iter().flatten());
    if let Some(refused) = misnamed(tools.chain(calls.map(|call| &call["function"]["name"]))) {
        return refused;
    }
    if ["codex", "o3-pro", "surprise-alone"].iter().any(|alone| model.contains(alone)) {
        return Reply::refused(
            "This model is only supported in v1/responses and not in v1/chat/completions.",
            "model",
        );
    }
    let tools = body["tools"].is_array();
    if tools && (model.contains("astra") || model.contains("surprise-tools")) {
        let message = format!(
            "Function tools are not supported for {model} in /v1/chat/completions; use /v1/responses."
        );
        return Reply::refused(&message, "tools");
    }
    let thinks = body["reasoning_effort"] != "none";
    if tools && thinks && (model.contains("sol") || model.contains("luna")) {
        let message = format!(
            "Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. Use \
             /v1/responses or set reasoning_effort to none."
        );
        return Reply::refused(&message, "reasoning_effort");
    }
    let mut message = json!({ "role": "assistant", "content": "said in chat", "refusal": null });
    if let Some(name) = tool_to_call(body) {
        message["tool_calls"] = json!([{ "id": "call_1", "type": "function",
                                         "function": { "name": name, "arguments": "{\"city\":\"Oslo\"}" } }]);
    }
    let usage = json!({ "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8 });
    if !asked.streams() {
        return Reply::json(
            200,
            &json!({ "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "usage": usage,
                     "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] }),
        );
    }
    let chunk = |choices: Value, usage: Value| {
        let head = json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model,
                           "choices": choices, "usage": usage });
        (None, head)
    };
    Reply::events(
        &[
            chunk(json!([{ "index": 0, "delta": message, "finish_reason": null }]), Value::Null),
            chunk(json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]), Value::Null),
            chunk(json!([]), usage),
        ],
        true,
    )
}

/// What is said of a name that the alphabet does not hold.
fn misnamed<'v>(names: impl Iterator<Item = &'v Value>) -> Option<Reply> {
    let name = odd_name(names, 64, "-")?;
    let message = format!("Invalid name '{name}': string does not match pattern '^[a-zA-Z0-9_-]+$'.");
    Some(Reply::refused(&message, "tools[0].function.name"))
}

fn items(body: &Value) -> impl Iterator<Item = &Value> {
    body["input"].as_array().into_iter().flatten()
}

fn responses(asked: &Asked<'_>) -> Reply {
    let body = asked.body;
    let tools = body["tools"].as_array().into_iter().flatten();
    if let Some(refused) = misnamed(tools.chain(items(body)).map(|item| &item["name"])) {
        return refused;
    }
    let sealed = |item: &&Value| item["type"] == "reasoning";
    if items(body).filter(sealed).any(|item| item["encrypted_content"] != SEALED) {
        return Reply::refused("The encrypted content could not be verified.", "input");
    }
    let called = items(body).any(|item| item["type"] == "function_call_output");
    if body["store"] != true && items(body).any(|item| item["id"].is_string()) {
        return Reply::refused(
            "Item not found. Items are not persisted when `store` is set to false.",
            "input",
        );
    }
    let tool = body["tools"][0]["name"].as_str().filter(|_| !called);
    let reasoning = json!({ "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": SEALED });
    let mut output = vec![];
    if body["include"].as_array().is_some_and(|list| list.contains(&json!("reasoning.encrypted_content"))) {
        output.push(reasoning);
    }
    output.push(match tool {
        Some(name) => json!({ "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name,
                              "arguments": "{\"city\":\"Oslo\"}", "status": "completed" }),
        None => json!({ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                        "content": [{ "type": "output_text", "text": "said in responses", "annotations": [] }] }),
    });
    let whole = json!({ "id": "resp_1", "object": "response", "created_at": 1, "status": "completed",
        "model": body["model"], "output": output, "store": body["store"],
        "usage": { "input_tokens": 9, "input_tokens_details": { "cached_tokens": 0 }, "output_tokens": 4,
                   "output_tokens_details": { "reasoning_tokens": 2 }, "total_tokens": 13 } });
    if asked.streams() { streamed(&whole) } else { Reply::json(200, &whole) }
}

fn streamed(whole: &Value) -> Reply {
    let mut begun = whole.clone();
    (begun["status"], begun["output"], begun["usage"]) = (json!("in_progress"), json!([]), Value::Null);
    let mut events = vec![("response.created", json!({ "response": begun }))];
    for (at, item) in whole["output"].as_array().into_iter().flatten().enumerate() {
        let mut empty = item.clone();
        match item["type"].as_str() {
            Some("message") => empty["content"] = json!([]),
            Some("function_call") => empty["arguments"] = json!(""),
            _ => {}
        }
        events.push(("response.output_item.added", json!({ "output_index": at, "item": empty })));
        let place = json!({ "item_id": item["id"], "output_index": at, "content_index": 0 });
        let with = |name: &str, value: &Value| {
            let mut place = place.clone();
            place[name] = value.clone();
            place
        };
        if item["type"] == "message" {
            let part = &item["content"][0];
            let begin = json!({ "type": "output_text", "text": "", "annotations": [] });
            events.push(("response.content_part.added", with("part", &begin)));
            events.push(("response.output_text.delta", with("delta", &part["text"])));
            events.push(("response.output_text.done", with("text", &part["text"])));
            events.push(("response.content_part.done", with("part", part)));
        } else if item["type"] == "function_call" {
            events.push(("response.function_call_arguments.delta", with("delta", &item["arguments"])));
            events.push(("response.function_call_arguments.done", with("arguments", &item["arguments"])));
        }
        events.push(("response.output_item.done", json!({ "output_index": at, "item": item })));
    }
    events.push(("response.completed", json!({ "response": whole })));
    let numbered: Vec<_> = events
        .into_iter()
        .enumerate()
        .map(|(number, (name, mut data))| {
            data["type"] = json!(name);
            data["sequence_number"] = json!(number);
            (Some(name), data)
        })
        .collect();
    Reply::events(&numbered, false)
}
