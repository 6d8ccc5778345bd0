//! Streams for clients, and errors.

use serde_json::json;

use super::*;
use crate::Usage;
use crate::blocks::{Delta, PartHead, Stop, StopKind, ToolKind};

fn tool(part: u32, id: &str) -> Event {
    let head =
        PartHead::ToolCall { id: id.into(), item_id: None, name: "f".into(), kind: ToolKind::Function };
    Event::PartStart { choice: 0, part, head }
}

fn delta(part: u32, delta: Delta) -> Event {
    Event::Delta { choice: 0, part, delta }
}

#[test]
fn interleaved_calls_go_out_whole() {
    let usage = Usage { input: Some(3), output: Some(2), ..Usage::default() };
    let events = [
        Event::Start { id: Some("chatcmpl-1".into()), model: None, created: None },
        Event::PartStart { choice: 0, part: 0, head: PartHead::Text },
        delta(0, Delta::Text("hi".into())),
        Event::PartEnd { choice: 0, part: 0 },
        tool(1, "a"),
        tool(2, "b"),
        delta(1, Delta::Arguments("{\"x\"".into())),
        delta(2, Delta::Arguments("{".into())),
        delta(1, Delta::Arguments(":1}".into())),
        delta(2, Delta::Arguments("}".into())),
        Event::PartEnd { choice: 0, part: 1 },
        Event::Stop { choice: 0, stop: Stop::new(StopKind::ToolCalls) },
        Event::Usage(usage),
        Event::End,
    ];
    let request = Request::default();
    let sent: Vec<Value> = frames(&written(&events, StreamWriter::new(&reply(&request))))
        .iter()
        .map(|frame| json(frame.as_bytes()))
        .collect();
    let chunk = |part: Value| json!({"candidates":[{"content":{"parts":[part],"role":"model"},"index":0}],"modelVersion":"my-model","responseId":"chatcmpl-1"});
    assert_eq!(
        sent,
        [
            chunk(json!({"text":"hi"})),
            chunk(json!({"functionCall":{"id":"a","name":"f","args":{"x":1}}})),
            chunk(json!({"functionCall":{"id":"b","name":"f","args":{}}})),
            json!({"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],
                "usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5},
                "modelVersion":"my-model","responseId":"chatcmpl-1"})
        ]
    );
}

#[test]
fn a_stream_that_breaks_off_has_no_reason_to_finish() {
    let request = Request::default();
    let mut writer = StreamWriter::array(&reply(&request));
    let mut out = BytesMut::new();
    writer.write(&Event::PartStart { choice: 0, part: 0, head: PartHead::Text }, &mut out);
    writer.write(&delta(0, Delta::Text("half".into())), &mut out);
    writer.write(&Event::Stop { choice: 0, stop: Stop::new(StopKind::End) }, &mut out);
    let failing = failing();
    writer.error(&failing, &mut out);
    writer.write(&Event::End, &mut out);
    let items: Vec<Value> = serde_json::from_slice(&out).unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["candidates"][0].get("finishReason"), None);
    assert_eq!(items[1], json(&error_body(&failing)));
    let mut alone = BytesMut::new();
    StreamWriter::new(&reply(&request)).error(&failing, &mut alone);
    assert_eq!(frames(std::str::from_utf8(&alone).unwrap()).len(), 1);
}

fn failing() -> Failing<'static> {
    Failing {
        status: 429,
        code: "rate_limited",
        kind: "rate_limit_error",
        message: "too many \"requests\"",
        param: Some("model"),
        retry_after: Some(7),
        request_id: "req-1",
    }
}

#[test]
fn errors_in_googles_shape() {
    assert_eq!(
        json(&error_body(&failing())),
        json!({"error":{"code":429,"message":"too many \"requests\"","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMITED","domain":"tidegate"},
            {"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"model","description":"too many \"requests\""}]},
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7s"},
            {"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"req-1"}]}})
    );
    for (status, word) in [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (402, "RESOURCE_EXHAUSTED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (413, "INVALID_ARGUMENT"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ] {
        assert_eq!(json(&error_body(&Failing { status, ..failing() }))["error"]["status"], word);
    }
}

#[test]
fn an_error_in_mid_stream_is_the_last_event() {
    let events = events(&[
        r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#,
        r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"b"}]}}]}"#,
    ]);
    let last = Event::Error { message: "overloaded".into(), code: Some("UNAVAILABLE".into()) };
    assert_eq!(events.last(), Some(&last));
    assert_eq!(events.len(), 4);
    let pieces =
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","willContinue":true}}]}}]}"#;
    assert!(matches!(super::events(&[pieces]).last(), Some(Event::Error { .. })));
}

#[test]
fn every_chunk_tells_what_is_known_of_usage() {
    let request = Request::default();
    let events = [
        Event::Usage(Usage { input: Some(3), ..Usage::default() }),
        Event::PartStart { choice: 0, part: 0, head: PartHead::Text },
        delta(0, Delta::Text("a".into())),
        Event::Stop { choice: 0, stop: Stop::new(StopKind::End) },
        Event::End,
    ];
    let sent = frames(&written(&events, StreamWriter::new(&reply(&request))));
    assert_eq!(json(sent[0].as_bytes())["usageMetadata"], json!({"promptTokenCount":3}));
    assert_eq!(sent.len(), 2);
}
