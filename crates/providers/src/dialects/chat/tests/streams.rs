//! Streams: vendors' oddities, ends, and what clients are sent.

use bytes::BytesMut;
use serde_json::{Value, json};

use super::{events, folded, issuer, json, reply, signed, written};
use crate::Usage;
use crate::blocks::{Delta, Event, OpaqueKind, Part, PartHead, Request, Stop, StopKind, ToolKind};
use crate::dialects::chat::{StreamWriter, read_answer, write_answer};
use crate::dialects::{Dialect, Failing};

fn chunk(delta: &str, finish: &str) -> String {
    format!(r#"{{"id":"x","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#)
}

#[test]
fn the_end_must_be_proven() {
    let text = chunk(r#"{"content":"x"}"#, "null");
    let stop = chunk("{}", "\"stop\"");
    let ends = |stream: &[&str]| events(stream, true).last() == Some(&Event::End);
    assert!(ends(&[&text, &stop, "[DONE]"]));
    assert!(ends(&[&text, &stop]));
    assert!(ends(&[&text, "[DONE]"]));
    assert!(!ends(&[&text]));
    assert!(!ends(&["[DONE]"]));
    assert!(!ends(&[]));
    let two = r#"{"choices":[{"index":1,"delta":{"content":"y"}}]}"#;
    assert!(!ends(&[&text, two, &stop]));
}

#[test]
fn an_error_in_mid_stream_is_the_last_event() {
    let text = chunk(r#"{"content":"x"}"#, "null");
    for (error, code) in [
        (r#"{"error":{"message":"boom","type":"server_error","code":null}}"#, Some("server_error")),
        (
            r#"{"error":{"message":"boom","code":502},"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}"#,
            Some("502"),
        ),
        (r#"{"object":"error","message":"boom","code":40303}"#, Some("40303")),
        (r#"{"error":"boom"}"#, None),
    ] {
        let events = events(&[&text, error, &text, "[DONE]"], true);
        let wanted = Event::Error { message: "boom".into(), code: code.map(str::to_owned) };
        assert_eq!(events.last(), Some(&wanted), "{error}");
    }
    assert!(matches!(events(&["<html>"], true).as_slice(), [Event::Error { .. }]));
}

#[test]
fn calls_of_every_vendor_are_told_apart() {
    for deltas in [
        // Every call has index 0 and an id of its own.
        [
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"b","function":{"name":"g","arguments":"{}"}}]}"#,
        ],
        // No index at all.
        [
            r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}]}"#,
            r#"{"tool_calls":[{"id":"b","function":{"name":"g","arguments":"{}"}}]}"#,
        ],
        // Id and name repeated, the name late.
        [
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"","arguments":"{\"x\""}},{"index":1,"id":"b","function":{"name":"g"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":":1}"}},{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]}"#,
        ],
    ] {
        let stream: Vec<String> = deltas.iter().map(|delta| chunk(delta, "null")).collect();
        let events = events(&[&stream[0], &stream[1], "[DONE]"], false);
        let answer = folded(&events);
        let mut calls: Vec<_> = answer.choices[0]
            .parts
            .iter()
            .map(|part| match part {
                Part::ToolCall(call) => (call.id.as_str(), call.name.as_str(), call.arguments.as_str()),
                other => panic!("{other:?}"),
            })
            .collect();
        calls.sort_unstable();
        assert_eq!(calls, [("a", "f", "{\"x\":1}"), ("b", "g", "{}")]);
        assert_eq!(answer.choices[0].stop, Some(Stop::new(StopKind::ToolCalls)));
    }
}

#[test]
fn usage_is_taken_wherever_it_stands() {
    for (stream, input) in [
        (
            r#"{"id":"x","choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":4,"completion_tokens":1}}"#,
            4,
        ),
        (r#"{"id":"x","choices":[{"index":0,"delta":{},"usage":{"prompt_tokens":5}}]}"#, 5),
        (r#"{"id":"x","choices":[],"x_groq":{"usage":{"prompt_tokens":6}}}"#, 6),
    ] {
        assert_eq!(folded(&events(&[stream], false)).usage.unwrap().input, Some(input));
    }
    assert_eq!(folded(&events(&[r#"{"id":"x","choices":[],"usage":null}"#], false)).usage, None);
}

#[test]
fn azures_first_chunk_does_not_begin_the_answer() {
    let azure = r#"{"id":"","model":"","choices":[],"prompt_filter_results":[]}"#;
    let events = events(&[azure, &chunk(r#"{"content":"x"}"#, "null")], false);
    assert!(matches!(&events[0], Event::Start { id: Some(id), .. } if id == "x"));
}

fn head(id: &str) -> PartHead {
    PartHead::ToolCall { id: id.into(), item_id: None, name: "f".into(), kind: ToolKind::Function }
}

fn delta(part: u32, delta: Delta) -> Event {
    Event::Delta { choice: 0, part, delta }
}

fn begin(part: u32, head: PartHead) -> Event {
    Event::PartStart { choice: 0, part, head }
}

fn end(part: u32) -> Event {
    Event::PartEnd { choice: 0, part }
}

#[test]
fn clients_are_sent_openais_sequence() {
    let signature = signed(Dialect::Messages, "anthropic", OpaqueKind::Signature, "sig");
    let gemini = signed(Dialect::Gemini, "google", OpaqueKind::ThoughtSignature, "ts");
    let events = [
        Event::Start { id: Some("msg_1".into()), model: None, created: None },
        begin(0, PartHead::Reasoning { id: None }),
        delta(0, Delta::Thought("hm".into())),
        delta(0, Delta::Opaque(signature.clone())),
        end(0),
        begin(1, PartHead::Text),
        delta(1, Delta::Text("hi".into())),
        end(1),
        begin(2, head("a")),
        begin(3, head("b")),
        delta(2, Delta::Arguments("{\"x\"".into())),
        delta(3, Delta::Opaque(gemini.clone())),
        delta(2, Delta::Arguments(":1}".into())),
        end(2),
        end(3),
        Event::Usage(Usage { input: Some(1), ..Usage::default() }),
        Event::Stop { choice: 0, stop: Stop::new(StopKind::ToolCalls) },
        Event::Usage(Usage { output: Some(2), ..Usage::default() }),
        Event::End,
    ];
    let data = written(&events, &Request { include_usage: true, ..Request::default() });
    let (done, chunks) = data.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    let chunks: Vec<Value> = chunks.iter().map(json).collect();
    let (last, chunks) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}));
    for chunk in chunks {
        assert_eq!(chunk["id"], "chatcmpl-0abc");
        assert_eq!((&chunk["object"], &chunk["model"]), (&json!("chat.completion.chunk"), &json!("alias")));
        assert!(chunk.as_object().unwrap().contains_key("usage") && chunk["usage"].is_null());
    }
    let call = |call: Value| json!({"tool_calls": [call]});
    let deltas: Vec<Value> = chunks.iter().map(|chunk| chunk["choices"][0]["delta"].clone()).collect();
    assert_eq!(
        deltas,
        [
            json!({"role": "assistant", "reasoning_content": "hm"}),
            json!({"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": signature.capsule(), "index": 0}]}),
            json!({"content": "hi"}),
            call(
                json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}})
            ),
            call(
                json!({"index": 1, "id": "b", "type": "function", "function": {"name": "f", "arguments": ""}})
            ),
            call(json!({"index": 0, "function": {"arguments": "{\"x\""}})),
            call(json!({"index": 1, "function": {"arguments": ""},
                "extra_content": {"google": {"thought_signature": gemini.capsule()}}})),
            call(json!({"index": 0, "function": {"arguments": ":1}"}})),
            call(json!({"index": 1, "function": {"arguments": "{}"}})),
            json!({}),
        ]
    );
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn usage_is_told_only_to_clients_that_ask() {
    let events = [
        begin(0, PartHead::Text),
        delta(0, Delta::Text("x".into())),
        Event::Usage(Usage { input: Some(1), ..Usage::default() }),
        Event::Stop { choice: 0, stop: Stop::new(StopKind::Length) },
        Event::End,
    ];
    let data = written(&events, &Request::default());
    assert!(data.iter().all(|chunk| !chunk.contains("usage")), "{data:?}");
    assert!(data[data.len() - 2].contains("\"finish_reason\":\"length\""));
}

#[test]
fn an_error_ends_the_stream_without_done() {
    let request = Request::default();
    let mut writer = StreamWriter::new(&reply(&request));
    let mut out = BytesMut::new();
    let failing = Failing {
        status: 502,
        code: "upstream_error",
        kind: "server_error",
        message: "it broke",
        param: None,
        retry_after: None,
        request_id: "r",
    };
    writer.error(&failing, &mut out);
    writer.write(&Event::End, &mut out);
    let text = std::str::from_utf8(&out).unwrap();
    let data = text.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
    assert_eq!(json(data)["error"]["code"], "upstream_error");
    assert!(!text.contains("[DONE]"));
}

#[test]
fn what_is_written_reads_back_as_it_was() {
    let stream = [
        chunk(r#"{"role":"assistant","reasoning_content":"let me"}"#, "null"),
        chunk(r#"{"content":"Hello"}"#, "null"),
        chunk(r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"n\":1.0}"}}]}"#, "null"),
        chunk("{}", "\"tool_calls\""),
        r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":3,"completion_tokens_details":{"reasoning_tokens":2}}}"#.to_owned(),
        "[DONE]".to_owned(),
    ];
    let first = events(&stream.iter().map(String::as_str).collect::<Vec<_>>(), true);
    let data = written(&first, &Request { include_usage: true, ..Request::default() });
    let second = events(&data.iter().map(String::as_str).collect::<Vec<_>>(), true);
    let (first, second) = (folded(&first), folded(&second));
    assert_eq!((first.choices, first.usage), (second.choices, second.usage));
}

#[test]
fn a_gateway_behind_a_gateway_reads_each_thought_once() {
    let opaque = || signed(Dialect::Messages, "anthropic", OpaqueKind::Signature, "sig");
    let first = [
        Event::Start { id: None, model: None, created: None },
        begin(0, PartHead::Reasoning { id: None }),
        delta(0, Delta::Thought("let ".into())),
        delta(0, Delta::Thought("me".into())),
        delta(0, Delta::Opaque(opaque())),
        end(0),
        begin(1, PartHead::Text),
        delta(1, Delta::Text("ok".into())),
        end(1),
        Event::Stop { choice: 0, stop: Stop::new(StopKind::End) },
        Event::End,
    ];
    let data = written(&first, &Request::default());
    let streamed = folded(&events(&data.iter().map(String::as_str).collect::<Vec<_>>(), true));
    let body = write_answer(&folded(&first), &reply(&Request::default()));
    let whole = read_answer(&body, &issuer(Dialect::Chat, "up")).unwrap();
    for answer in [streamed, whole] {
        let [Part::Reasoning(thought), Part::Text { .. }] = answer.choices[0].parts.as_slice() else {
            panic!("{answer:?}")
        };
        assert_eq!(thought.text, "let me");
        assert_eq!(thought.opaque.as_ref().unwrap().data, opaque().capsule());
    }
    let mixed = json!({"choices": [{"message": {"content": "ok", "reasoning_content": "one two",
        "reasoning_details": [{"type": "reasoning.text", "text": "two", "signature": "s", "index": 1}]},
        "finish_reason": "stop"}]});
    let answer = read_answer(mixed.to_string().as_bytes(), &issuer(Dialect::Chat, "up")).unwrap();
    let thoughts: Vec<&str> = answer.choices[0]
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Reasoning(thought) => Some(thought.text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(thoughts, ["one ", "two"]);
}
