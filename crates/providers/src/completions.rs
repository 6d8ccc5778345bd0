//! OpenAI's older Completions with providers that have conversations alone: the prompt is what a user says, and the answer is
//! told as a completion.
//!
//! Why by way of Chat's bodies and not as a dialect of its own: nothing new is made for it any more, so a slower way that
//! adds nothing to the form is the better one.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::json::top_level;
use crate::request::BadRequest;

/// What Chat has no word for, with what says nothing.
const LOST: [(&str, &[&str]); 4] = [
    ("suffix", &["null", "\"\""]),
    ("echo", &["null", "false"]),
    ("best_of", &["null", "1"]),
    ("logprobs", &["null"]),
];

/// The body as one of Chat, and the parameters that it lost.
///
/// # Errors
/// When the prompt is not one text.
pub fn as_chat(body: &[u8]) -> Result<(Bytes, Vec<String>), BadRequest> {
    let wrong = |message: &str| BadRequest {
        message: message.to_owned(),
        param: Some("prompt"),
        code: Some("invalid_value"),
    };
    let object = top_level(body).map_err(|_| wrong("the request body must be a JSON object"))?;
    let mut lost = Vec::new();
    let mut out = Vec::with_capacity(body.len() + 64);
    out.push(b'{');
    for field in &object.fields {
        let value = field.value.of(body);
        if let Some((name, nothing)) = LOST.iter().find(|(name, _)| field.key_is(body, name)) {
            if !nothing.iter().any(|nothing| nothing.as_bytes() == value) {
                lost.push((*name).to_owned());
            }
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        if field.key_is(body, "prompt") {
            out.extend_from_slice(b"\"messages\":[{\"role\":\"user\",\"content\":");
            out.extend_from_slice(one_text(value).ok_or_else(|| {
                wrong("`prompt` must be one text: this provider takes neither several nor tokens")
            })?);
            out.extend_from_slice(b"}]");
        } else {
            out.extend_from_slice(field.key.of(body));
            out.push(b':');
            out.extend_from_slice(value);
        }
    }
    out.push(b'}');
    Ok((out.into(), lost))
}

/// A text, or the one of a list.
fn one_text(value: &[u8]) -> Option<&[u8]> {
    if value.starts_with(b"\"") {
        return Some(value);
    }
    let [one] = serde_json::from_slice::<[&RawValue; 1]>(value).ok()?;
    one.get().starts_with('"').then(|| one.get().as_bytes())
}

#[derive(Deserialize)]
struct Told<'a> {
    id: String,
    created: Value,
    model: Value,
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Value,
    #[serde(alias = "delta")]
    message: Said,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    native_finish_reason: Option<Value>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
    refusal: Option<String>,
}

impl Told<'_> {
    fn is_empty(&self) -> bool {
        let says = |choice: &Choice<'_>| {
            choice.message.content.is_some()
                || choice.message.refusal.is_some()
                || choice.finish_reason.is_some()
        };
        !self.choices.iter().any(says) && (self.usage.is_none() || !self.choices.is_empty())
    }

    fn completion(&self) -> Value {
        let choices = self.choices.iter().map(|choice| {
            let text = choice.message.content.as_ref().or(choice.message.refusal.as_ref());
            let mut told = json!({
                "index": choice.index, "text": text.map_or("", String::as_str), "logprobs": null,
                "finish_reason": choice.finish_reason,
            });
            if let Some(native) = &choice.native_finish_reason {
                told["native_finish_reason"] = native.clone();
            }
            told
        });
        let id = self.id.strip_prefix("chatcmpl-").unwrap_or(&self.id);
        let mut told = json!({
            "id": format!("cmpl-{id}"), "object": "text_completion", "created": self.created, "model": self.model,
            "choices": choices.collect::<Vec<_>>(),
        });
        if let Some(usage) = self.usage {
            told["usage"] = json!(usage);
        }
        told
    }
}

/// A whole answer of Chat as a completion; the same where it is none.
pub fn whole(chat: Bytes) -> Bytes {
    match serde_json::from_slice::<Told<'_>>(&chat) {
        Ok(told) => told.completion().to_string().into(),
        Err(_) => chat,
    }
}

/// Whole events of Chat's stream as those of a completion's; errors and the end stay as they are, and what says nothing to a
/// client of completions is left out.
pub(crate) fn events(chat: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(chat);
    let mut out = String::with_capacity(text.len());
    for event in text.split_inclusive("\n\n") {
        let told =
            event.strip_prefix("data: ").and_then(|data| serde_json::from_str::<Told<'_>>(data.trim()).ok());
        match told {
            Some(told) if told.is_empty() => {}
            Some(told) => out.push_str(&format!("data: {}\n\n", told.completion())),
            None => out.push_str(event),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_prompt_becomes_what_the_user_says_and_the_rest_stays() {
        let body = br#"{"model":"m","prompt":"a \"b\"","max_tokens":9007199254740993,"echo":true,"best_of":1,"x":1.0}"#;
        let (chat, lost) = as_chat(body).unwrap();
        let chat = std::str::from_utf8(&chat).unwrap();
        assert_eq!(
            chat,
            r#"{"model":"m","messages":[{"role":"user","content":"a \"b\""}],"max_tokens":9007199254740993,"x":1.0}"#
        );
        assert_eq!(lost, ["echo"]);
        assert!(as_chat(br#"{"prompt":["one"]}"#).is_ok());
        for bad in
            [r#"{"prompt":["one","two"]}"#, r#"{"prompt":[1,2]}"#, r#"{"prompt":5}"#, r#"{"prompt":[[1]]}"#]
        {
            assert_eq!(as_chat(bad.as_bytes()).unwrap_err().param, Some("prompt"), "{bad}");
        }
    }

    #[test]
    fn an_answer_is_told_as_a_completion() {
        let chat = br#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{
            "role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"total_tokens":3}}"#;
        let told: Value = serde_json::from_slice(&whole(Bytes::from_static(chat))).unwrap();
        assert_eq!((&told["id"], &told["object"]), (&json!("cmpl-1"), &json!("text_completion")));
        assert_eq!(
            told["choices"],
            json!([{"index": 0, "text": "hi", "logprobs": null, "finish_reason": "stop"}])
        );
        assert_eq!(told["usage"]["total_tokens"], 3);
        let chunk = |delta: &str, more: &str| {
            format!(
                "data: {{\"id\":\"chatcmpl-1\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{more}}}]}}\n\n"
            )
        };
        let role = chunk(r#"{"role":"assistant"}"#, "null");
        let stream = format!(
            "{role}{}{}data: {{\"error\":{{}}}}\n\ndata: [DONE]\n\n",
            chunk(r#"{"content":"hi"}"#, "null"),
            chunk("{}", "\"stop\"")
        );
        let told = String::from_utf8(events(stream.as_bytes()).to_vec()).unwrap();
        let events: Vec<&str> = told.split_terminator("\n\n").collect();
        assert_eq!(events.len(), 4, "{told}");
        assert!(
            events[0].contains(r#""text":"hi""#) && events[1].contains(r#""finish_reason":"stop""#),
            "{told}"
        );
        assert_eq!(events[2..], ["data: {\"error\":{}}", "data: [DONE]"]);
    }
}
