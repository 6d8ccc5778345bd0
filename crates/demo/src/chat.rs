//! `/v1/chat/completions`: how choices are written, whole and streamed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ask::Ask;
use crate::compose::Choice;
use crate::pace::{Envelope, Event, EventKind, LEAVE, SILENCE};
use crate::tokens;

/// The id of an answer: the same for the same request.
pub(crate) fn id(prefix: &str, ask: &Ask) -> String {
    format!("{prefix}-sim{:016x}", tokens::hash(&[&ask.seed.to_le_bytes(), &ask.input_tokens.to_le_bytes()]))
}

/// The `usage` object.
pub(crate) fn usage(input: u64, output: u64) -> Value {
    json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    })
}

/// The whole answer.
pub(crate) fn whole(ask: &Ask, choices: &[Choice], created: i64) -> Value {
    let output = choices.iter().map(Choice::tokens).sum();
    let written: Vec<Value> = choices.iter().enumerate().map(|(index, choice)| {
        json!({"index": index, "message": message(choice), "logprobs": null, "finish_reason": choice.finish})
    }).collect();
    json!({
        "id": id("chatcmpl", ask), "object": "chat.completion", "created": created, "model": ask.model.name,
        "choices": written, "usage": usage(ask.input_tokens, output),
        "service_tier": "default", "system_fingerprint": "simulated",
    })
}

fn message(choice: &Choice) -> Value {
    let text = choice.text.concat();
    let (content, refusal) = match (choice.refusal, choice.calls.is_empty()) {
        (true, _) => (Value::Null, Value::String(text)),
        (false, true) => (Value::String(text), Value::Null),
        (false, false) => (Value::Null, Value::Null),
    };
    let mut message = json!({"role": "assistant", "content": content, "refusal": refusal, "annotations": []});
    if !choice.calls.is_empty() {
        message["tool_calls"] = choice
            .calls
            .iter()
            .map(|call| {
                json!({"id": call.id, "type": "function",
                "function": {"name": call.name, "arguments": call.arguments.concat()}})
            })
            .collect();
    }
    message
}

/// What all chunks of one stream begin with.
pub(crate) fn envelope(ask: &Ask, created: i64) -> Envelope {
    let head = format!(
        "{{\"id\":\"{}\",\"object\":\"chat.completion.chunk\",\"created\":{created},\"model\":\"{}\",\
         \"service_tier\":\"default\",\"system_fingerprint\":\"simulated\",",
        id("chatcmpl", ask),
        ask.model.name
    );
    Envelope { head, null_usage: ask.include_usage }
}

/// The events of a stream in order of time; the choices go side by side.
pub(crate) fn events(ask: &Ask, choices: &[Choice]) -> Vec<Event> {
    let mut events = Vec::new();
    for (index, choice) in choices.iter().enumerate() {
        let begin = if choice.calls.is_empty() {
            json!({"role": "assistant", "content": "", "refusal": null})
        } else {
            json!({"role": "assistant", "content": null})
        };
        events.push((0, piece(index, &begin)));
        let mut token = 0;
        let name = if choice.refusal { "refusal" } else { "content" };
        for text in &choice.text {
            events.push((token, piece(index, &json!({ name: text }))));
            token += 1;
        }
        for (place, call) in choice.calls.iter().enumerate() {
            token += 4;
            events.push((
                token,
                piece(
                    index,
                    &json!({"tool_calls": [{"index": place, "id": call.id,
                "type": "function", "function": {"name": call.name, "arguments": ""}}]}),
                ),
            ));
            for part in &call.arguments {
                token += 1;
                events.push((
                    token,
                    piece(
                        index,
                        &json!({"tool_calls": [{"index": place,
                    "function": {"arguments": part}}]}),
                    ),
                ));
            }
        }
        let last = json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": choice.finish});
        events.push((token, last.to_string()));
    }
    events.sort_by_key(|(token, _)| *token);
    schedule(ask, events, choices.iter().map(Choice::tokens).sum())
}

fn piece(index: usize, delta: &Value) -> String {
    json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null}).to_string()
}

/// Turns token places into times, applies `die` and `stall`, and adds the end.
pub(crate) fn schedule(ask: &Ask, pieces: Vec<(u64, String)>, output: u64) -> Vec<Event> {
    let due = |token| ask.model.due(token, ask.directives.pace) + ask.directives.delay;
    let mut events = Vec::with_capacity(pieces.len() + 2);
    let mut end = Duration::ZERO;
    for (token, json) in pieces {
        let cut_at = match (ask.directives.die, ask.directives.stall) {
            (Some(die), _) if token >= die => Some(due(token) + LEAVE),
            (_, Some(stall)) if token >= stall => Some(due(token) + SILENCE),
            _ => None,
        };
        if let Some(at) = cut_at {
            events.push(Event { at, kind: EventKind::Cut });
            return events;
        }
        end = due(token);
        events.push(Event { at: end, kind: EventKind::Choice(json) });
    }
    if ask.include_usage {
        events.push(Event { at: end, kind: EventKind::Usage(usage(ask.input_tokens, output).to_string()) });
    }
    events.push(Event { at: end, kind: EventKind::Done });
    events
}
