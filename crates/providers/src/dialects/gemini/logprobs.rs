//! Log probabilities: Google's `logprobsResult` and OpenAI's `{"content": […]}`, which is the form's shape.

use serde_json::value::RawValue;

use crate::blocks::Raw;
use crate::json::text::encode;

use super::emit::{List, Object};
use super::members::Members;

/// OpenAI's shape of a `logprobsResult`; `None` when it names no token.
pub(super) fn read(result: &RawValue) -> Option<Raw> {
    let mut result = Members::parse(result.get())?;
    let chosen: Vec<Members<'_>> = serde_json::from_str(result.take("chosenCandidates")?.get()).ok()?;
    let top: Vec<Members<'_>> =
        result.take("topCandidates").and_then(|top| serde_json::from_str(top.get()).ok()).unwrap_or_default();
    let mut top = top.into_iter();
    let mut json = Vec::new();
    let mut object = Object::new(&mut json);
    let mut content = List::new(object.name("content"));
    for token in chosen {
        let mut entry = Object::new(content.item());
        read_token(&token, &mut entry);
        let others = top.next().and_then(|mut top| top.take("candidates"));
        let others: Vec<Members<'_>> =
            others.and_then(|others| serde_json::from_str(others.get()).ok()).unwrap_or_default();
        let mut list = List::new(entry.name("top_logprobs"));
        for other in others {
            let mut entry = Object::new(list.item());
            read_token(&other, &mut entry);
            entry.end();
        }
        list.end();
        entry.end();
    }
    content.end();
    object.json("refusal", "null");
    object.end();
    Raw::parse(std::str::from_utf8(&json).ok()?)
}

fn read_token(token: &Members<'_>, entry: &mut Object<'_>) {
    let text = token.get("token").and_then(|text| serde_json::from_str::<String>(text.get()).ok());
    let text = text.unwrap_or_default();
    entry.text("token", &text);
    // Google leaves zeros out, and zero is the logarithm of certainty.
    entry.json("logprob", token.get("logProbability").map_or("0.0", |number| number.get()));
    let mut bytes = List::new(entry.name("bytes"));
    for byte in text.bytes() {
        bytes.item().extend_from_slice(byte.to_string().as_bytes());
    }
    bytes.end();
}

/// A `logprobsResult` of OpenAI's shape; writes nothing and gives `false` for any other shape.
pub(super) fn write(logprobs: &Raw, out: &mut Vec<u8>) -> bool {
    let content = Members::parse(logprobs.get()).and_then(|mut logprobs| logprobs.take("content"));
    let tokens = content.and_then(|content| serde_json::from_str::<Vec<Members<'_>>>(content.get()).ok());
    let Some(tokens) = tokens else { return false };
    let mut object = Object::new(out);
    let mut chosen = List::new(object.name("chosenCandidates"));
    for token in &tokens {
        write_token(token, chosen.item());
    }
    chosen.end();
    let mut top = List::new(object.name("topCandidates"));
    for token in &tokens {
        let others = token.get("top_logprobs").or_else(|| token.get("topLogprobs"));
        let others: Vec<Members<'_>> =
            others.and_then(|others| serde_json::from_str(others.get()).ok()).unwrap_or_default();
        let mut entry = Object::new(top.item());
        let mut list = List::new(entry.name("candidates"));
        for other in &others {
            write_token(other, list.item());
        }
        list.end();
        entry.end();
    }
    top.end();
    object.end();
    true
}

fn write_token(token: &Members<'_>, out: &mut Vec<u8>) {
    let text = token.get("token").and_then(|text| serde_json::from_str::<String>(text.get()).ok());
    let mut entry = Object::new(out);
    encode(&text.unwrap_or_default(), entry.name("token"));
    if let Some(number) = token.get("logprob") {
        entry.json("logProbability", number.get());
    }
    entry.end();
}
