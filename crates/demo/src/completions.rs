//! `/v1/completions`: the older interface; several prompts become choices in order.

use serde_json::{Value, json};

use crate::ask::Ask;
use crate::chat::{id, schedule, usage};
use crate::compose::Choice;
use crate::pace::{Envelope, Event};

/// The whole answer. `asks` has one request for each prompt, `choices` theirs in the same order.
pub(crate) fn whole(asks: &[Ask], choices: &[Choice], created: i64, echo: bool) -> Value {
    let written: Vec<Value> = choices
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            let mut text = choice.text.concat();
            if echo && let Some(ask) = prompt_of(asks, index) {
                text.insert_str(0, &ask.said);
            }
            json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish(choice)})
        })
        .collect();
    let (first, input) = (asks.first(), asks.iter().map(|ask| ask.input_tokens).sum());
    json!({
        "id": first.map(|ask| id("cmpl", ask)), "object": "text_completion", "created": created,
        "model": first.map(|ask| ask.model.name), "system_fingerprint": "simulated", "choices": written,
        "usage": usage(input, choices.iter().map(Choice::tokens).sum()),
    })
}

fn prompt_of(asks: &[Ask], index: usize) -> Option<&Ask> {
    let each = usize::try_from(asks.first()?.choices).ok()?.max(1);
    asks.get(index / each)
}

/// This interface knows no tool calls.
fn finish(choice: &Choice) -> &'static str {
    if choice.finish == "length" { "length" } else { "stop" }
}

/// What all chunks of one stream begin with.
pub(crate) fn envelope(ask: &Ask, created: i64) -> Envelope {
    let head = format!(
        "{{\"id\":\"{}\",\"object\":\"text_completion\",\"created\":{created},\"model\":\"{}\",\
         \"system_fingerprint\":\"simulated\",",
        id("cmpl", ask),
        ask.model.name
    );
    Envelope { head, null_usage: ask.include_usage }
}

/// The events of a stream; `ask` speaks for all prompts, with their input tokens summed.
pub(crate) fn events(ask: &Ask, choices: &[Choice]) -> Vec<Event> {
    let mut events = Vec::new();
    for (index, choice) in choices.iter().enumerate() {
        for (token, text) in choice.text.iter().enumerate() {
            let piece = json!({"index": index, "text": text, "logprobs": null, "finish_reason": null});
            events.push((token as u64, piece.to_string()));
        }
        let last = json!({"index": index, "text": "", "logprobs": null, "finish_reason": finish(choice)});
        events.push((choice.text.len() as u64, last.to_string()));
    }
    events.sort_by_key(|(token, _)| *token);
    schedule(ask, events, choices.iter().map(Choice::tokens).sum())
}
