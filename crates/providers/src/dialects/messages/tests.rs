//! Tests of the dialect: what clients send, what providers get, and answers whole and streamed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use bytes::BytesMut;
use serde_json::{Value, json};

use super::*;
use crate::blocks::{Answer, Event, Issuer, Request, Written};
use crate::dialects::{Dialect, Failing, Reply, Target};

#[path = "tests/answers.rs"]
mod answers;
#[path = "tests/any.rs"]
mod any;
#[path = "tests/read.rs"]
mod read;
#[path = "tests/streams.rs"]
mod streams;
#[path = "tests/write.rs"]
mod write;

fn issuer() -> Issuer {
    Issuer { dialect: Dialect::Messages, provider: "anthropic".into() }
}

fn target(model: &str) -> Target<'_> {
    Target { model, issuer: issuer(), max_output: None, stream_usage: true }
}

fn read(body: &Value) -> Request {
    read_request(&serde_json::to_vec(body).unwrap()).unwrap()
}

fn sent(request: &Request, model: &str) -> (Value, Written) {
    let written = write_request(request, &target(model)).unwrap();
    (serde_json::from_slice(&written.body).unwrap(), written)
}

fn dropped(written: &Written) -> Vec<&str> {
    written.dropped.iter().map(|param| param.0.as_str()).collect()
}

fn reply(request: &Request) -> Reply<'_> {
    Reply { id: "0abc", model: "house/claude", created: 1, request }
}

/// The events of a stream, given as the data of its server-sent events.
fn events(data: &[Value]) -> Vec<Event> {
    let mut reader = StreamReader::new(issuer());
    let mut out = Vec::new();
    for event in data {
        reader.push(None, &serde_json::to_vec(event).unwrap(), &mut out);
    }
    reader.end(&mut out);
    out
}

fn shown(answer: &Answer) -> Value {
    let request = Request::default();
    serde_json::from_slice(&write_answer(answer, &reply(&request))).unwrap()
}

/// What a writer makes of events: names and data.
fn written(events: &[Event]) -> Vec<(String, Value)> {
    let request = Request::default();
    let mut writer = StreamWriter::new(&reply(&request));
    let mut out = BytesMut::new();
    for event in events {
        writer.write(event, &mut out);
    }
    frames(&out)
}

fn frames(bytes: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.split_terminator("\n\n")
        .map(|frame| {
            let (name, data) = frame.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
            assert!(!data.contains('\n'));
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["type"], name);
            (name.to_owned(), data)
        })
        .collect()
}

/// Adds a client's stream up as the vendor's SDKs do, checking the sequence.
fn accumulate(frames: &[(String, Value)]) -> Value {
    let mut message = Value::Null;
    let mut open: Option<(usize, String)> = None;
    for (place, (name, data)) in frames.iter().enumerate() {
        match name.as_str() {
            "message_start" => {
                assert_eq!(place, 0);
                message = data["message"].clone();
            }
            "content_block_start" => {
                assert!(open.is_none(), "a block begins inside of another");
                let content = message["content"].as_array_mut().unwrap();
                assert_eq!(data["index"], content.len());
                open = Some((content.len(), String::new()));
                content.push(data["content_block"].clone());
            }
            "content_block_delta" => {
                let (index, json) = open.as_mut().unwrap();
                assert_eq!(data["index"], *index);
                add(&mut message["content"][*index], json, &data["delta"]);
            }
            "content_block_stop" => {
                let (index, json) = open.take().unwrap();
                assert_eq!(data["index"], index);
                if !json.is_empty() {
                    message["content"][index]["input"] = serde_json::from_str(&json).unwrap();
                }
            }
            "message_delta" => {
                assert!(open.is_none());
                for (key, value) in data["delta"].as_object().unwrap() {
                    message[key] = value.clone();
                }
                for (key, value) in data["usage"].as_object().unwrap() {
                    message["usage"][key] = value.clone();
                }
            }
            "message_stop" => assert_eq!(place + 1, frames.len()),
            other => panic!("unexpected {other}"),
        }
    }
    assert_eq!(frames.last().unwrap().0, "message_stop");
    message
}

fn add(block: &mut Value, input: &mut String, delta: &Value) {
    let append = |block: &mut Value, key: &str| {
        let text = format!("{}{}", block[key].as_str().unwrap(), delta[key].as_str().unwrap());
        block[key] = text.into();
    };
    match delta["type"].as_str().unwrap() {
        "text_delta" => append(block, "text"),
        "thinking_delta" => append(block, "thinking"),
        "signature_delta" => block["signature"] = delta["signature"].clone(),
        "input_json_delta" => input.push_str(delta["partial_json"].as_str().unwrap()),
        "citations_delta" => match block.get_mut("citations").and_then(Value::as_array_mut) {
            Some(citations) => citations.push(delta["citation"].clone()),
            None => block["citations"] = json!([delta["citation"]]),
        },
        other => panic!("unexpected {other}"),
    }
}

#[test]
fn failures_have_the_dialects_status_and_type() {
    let cases = [
        (400, "invalid_request", 400, "invalid_request_error"),
        (401, "invalid_api_key", 401, "authentication_error"),
        (429, "insufficient_quota", 402, "billing_error"),
        (403, "model_not_allowed", 403, "permission_error"),
        (404, "model_not_found", 404, "not_found_error"),
        (413, "request_too_large", 413, "request_too_large"),
        (429, "rate_limit_exceeded", 429, "rate_limit_error"),
        (502, "upstream_error", 502, "api_error"),
        (503, "overloaded", 529, "overloaded_error"),
        (504, "upstream_timeout", 504, "timeout_error"),
    ];
    for (status, code, told, kind) in cases {
        let failing = Failing {
            status,
            code,
            kind: "x",
            message: "a \"b\"\n",
            param: Some("model"),
            retry_after: None,
            request_id: "req_1",
        };
        assert_eq!(error_status(&failing), told, "{code}");
        let body: Value = serde_json::from_slice(&error_body(&failing)).unwrap();
        let details = json!({"error_code": code, "param": "model"});
        let error = json!({"type": kind, "message": "a \"b\"\n", "details": details});
        assert_eq!(body, json!({"type": "error", "error": error, "request_id": "req_1"}));
    }
}

#[test]
fn a_stream_that_fails_ends_with_an_error_event() {
    let failing = Failing {
        status: 400,
        code: "context_length_exceeded",
        kind: "",
        message: "203 000 tokens",
        param: None,
        retry_after: None,
        request_id: "",
    };
    let request = Request::default();
    let mut writer = StreamWriter::new(&reply(&request));
    let mut out = BytesMut::new();
    writer.write(&Event::Start { id: None, model: None, created: None }, &mut out);
    writer.error(&failing, &mut out);
    writer.error(&failing, &mut out);
    writer.write(&Event::End, &mut out);
    let frames = frames(&out);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].0, "error");
    assert_eq!(frames[0].1["error"]["message"], "prompt is too long: 203 000 tokens");
}
