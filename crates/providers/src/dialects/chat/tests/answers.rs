//! Whole answers and streams of the same answers.

use serde_json::json;

use super::{events, folded, issuer, json, reply, signed};
use crate::Usage;
use crate::blocks::{
    Answer, Choice, Event, OpaqueKind, Part, Raw, Reasoning, Request, Stop, StopKind, ToolCall,
};
use crate::dialects::chat::{error_body, read_answer, read_request, write_answer};
use crate::dialects::{Dialect, Failing};

fn read(body: &str) -> Answer {
    read_answer(body.as_bytes(), &issuer(Dialect::Chat, "up")).unwrap()
}

/// A stream, and the whole answer that it is.
fn same(stream: &[&str], message: &serde_json::Value, finish: &str, usage: &serde_json::Value) -> Answer {
    let head = r#""id":"chatcmpl-9","object":"chat.completion.chunk","created":7,"model":"m-1""#;
    let mut chunks: Vec<String> = stream
        .iter()
        .map(|delta| format!(r#"{{{head},"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#))
        .collect();
    chunks.push(format!(r#"{{{head},"choices":[{{"index":0,"delta":{{}},"finish_reason":"{finish}"}}]}}"#));
    chunks.push(format!(r#"{{{head},"choices":[],"usage":{usage}}}"#));
    chunks.push("[DONE]".to_owned());
    let events = events(&chunks.iter().map(String::as_str).collect::<Vec<_>>(), true);
    assert_eq!(events.last(), Some(&Event::End));
    let body = json!({"id": "chatcmpl-9", "object": "chat.completion", "created": 7, "model": "m-1", "usage": usage,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}]});
    let whole = read(&body.to_string());
    assert_eq!(folded(&events), whole);
    whole
}

#[test]
fn text_and_usage() {
    let answer = same(
        &[r#"{"role":"assistant","content":""}"#, r#"{"content":"Grü"}"#, r#"{"content":"ße"}"#],
        &json!({"role": "assistant", "content": "Grüße", "refusal": null}),
        "stop",
        &json!({"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0}}),
    );
    let usage = answer.usage.unwrap();
    assert_eq!((usage.input, usage.output, usage.cached_input), (Some(10), Some(0), Some(4)));
    assert_eq!((usage.cache_write, usage.reasoning), (Some(0), None));
    assert_eq!(answer.choices[0].stop.as_ref().unwrap().kind, StopKind::End);
}

#[test]
fn parallel_calls_with_interleaved_arguments() {
    let answer = same(
        &[
            r#"{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"n\":"}},{"index":1,"function":{"arguments":"}"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"1.0}"},"extra_content":{"google":{"thought_signature":"s"}}}]}"#,
        ],
        &json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"n\":1.0}"},
             "extra_content": {"google": {"thought_signature": "s"}}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}]}),
        "tool_calls",
        &json!({"prompt_tokens": 1, "completion_tokens": 2}),
    );
    let Part::ToolCall(call) = &answer.choices[0].parts[0] else { panic!() };
    assert_eq!(call.opaque.as_ref().unwrap().issuer, issuer(Dialect::Chat, "up"));
}

#[test]
fn thoughts_in_every_vendors_place() {
    for (stream, message) in [
        (
            vec![
                r#"{"role":"assistant","reasoning_content":"let"}"#,
                r#"{"reasoning_content":" me"}"#,
                r#"{"content":"ok"}"#,
            ],
            json!({"role": "assistant", "reasoning_content": "let me", "content": "ok"}),
        ),
        (
            vec![
                r#"{"role":"","reasoning":"let"}"#,
                r#"{"reasoning":" me","content":""}"#,
                r#"{"content":"ok"}"#,
            ],
            json!({"reasoning": "let me", "content": "ok"}),
        ),
        (
            vec![
                r#"{"content":"\n<th"}"#,
                r#"{"content":"ink>\nlet"}"#,
                r#"{"content":" me\n</thi"}"#,
                r#"{"content":"nk>\n\nok"}"#,
            ],
            json!({"content": "\n<think>\nlet me\n</think>\n\nok"}),
        ),
        (
            vec![
                r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"let me"}]}]}"#,
                r#"{"content":"ok"}"#,
            ],
            json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "let me"}]}, {"type": "text", "text": "ok"}]}),
        ),
    ] {
        let answer = same(&stream, &message, "stop", &json!(null));
        let thought = Reasoning { text: "let me".into(), ..Reasoning::default() };
        assert_eq!(answer.choices[0].parts, [Part::Reasoning(thought), Part::text("ok")], "{message}");
    }
}

#[test]
fn signed_thoughts_are_told_once() {
    let answer = same(
        &[
            r#"{"reasoning":"a","reasoning_details":[{"type":"reasoning.text","text":"a","index":0}]}"#,
            r#"{"reasoning":"b","reasoning_details":[{"type":"reasoning.text","text":"b","index":0}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.text","signature":"sig","index":0}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"enc","id":"rs_1","index":1}]}"#,
            r#"{"content":"ok"}"#,
        ],
        &json!({"content": "ok", "reasoning": "ab", "reasoning_details": [
            {"type": "reasoning.text", "text": "ab", "signature": "sig", "index": 0},
            {"type": "reasoning.encrypted", "data": "enc", "id": "rs_1", "index": 1}]}),
        "stop",
        &json!(null),
    );
    let opaque = |kind, data| Some(signed(Dialect::Chat, "up", kind, data));
    let first =
        Reasoning { text: "ab".into(), opaque: opaque(OpaqueKind::Signature, "sig"), ..Reasoning::default() };
    let second = Reasoning {
        id: Some("rs_1".into()),
        opaque: opaque(OpaqueKind::Encrypted, "enc"),
        ..Reasoning::default()
    };
    assert_eq!(answer.choices[0].parts, [Part::Reasoning(first), Part::Reasoning(second), Part::text("ok")]);
}

#[test]
fn refusals_and_citations() {
    let answer = same(
        &[r#"{"refusal":"I "}"#, r#"{"refusal":"cannot"}"#],
        &json!({"content": null, "refusal": "I cannot"}),
        "stop",
        &json!(null),
    );
    assert_eq!(answer.choices[0].parts, [Part::Refusal { text: "I cannot".into() }]);
    let citation =
        r#"{"type":"url_citation","url_citation":{"end_index":1,"start_index":0,"title":"t","url":"u"}}"#;
    let delta = format!(r#"{{"annotations":[{citation}]}}"#);
    let answer = same(
        &[r#"{"content":"x"}"#, &delta],
        &json!({"content": "x", "annotations": [serde_json::from_str::<serde_json::Value>(citation).unwrap()]}),
        "stop",
        &json!(null),
    );
    assert!(matches!(&answer.choices[0].parts[0], Part::Text { citations, .. } if citations.len() == 1));
}

#[test]
fn each_stop_reason() {
    for (word, kind) in [
        ("stop", StopKind::End),
        ("length", StopKind::Length),
        ("content_filter", StopKind::Filter),
        ("sensitive", StopKind::Filter),
        ("MAX_TOKENS", StopKind::Length),
        ("abort", StopKind::Other),
    ] {
        let answer = same(&[r#"{"content":"x"}"#], &json!({"content": "x"}), word, &json!(null));
        let stop = answer.choices[0].stop.clone().unwrap();
        assert_eq!((stop.kind, stop.native.as_deref()), (kind, Some(word)));
    }
}

#[test]
fn calls_without_ids_and_without_their_finish_reason() {
    let answer = same(
        &[
            r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":{"a":1.0}}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"","function":{"name":"f","arguments":"{}"}}]}"#,
        ],
        &json!({"content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1.0}}},
            {"function": {"name": "f", "arguments": "{}"}}]}),
        "stop",
        &json!(null),
    );
    let ids: Vec<_> = answer.choices[0]
        .parts
        .iter()
        .map(|part| match part {
            Part::ToolCall(call) => (call.id.as_str(), call.arguments.as_str()),
            _ => panic!(),
        })
        .collect();
    assert_eq!(ids, [("call_chatcmpl9_0_0", "{\"a\":1.0}"), ("call_chatcmpl9_0_1", "{}")]);
    assert_eq!(answer.choices[0].stop.as_ref().unwrap().kind, StopKind::ToolCalls);
    let unsaid = read(r#"{"choices":[{"message":{"function_call":{"name":"f","arguments":"{}"}}}]}"#);
    assert_eq!(unsaid.choices[0].stop, Some(Stop::new(StopKind::ToolCalls)));
}

#[test]
fn an_error_or_nonsense_is_no_answer() {
    let read = |body: &str| read_answer(body.as_bytes(), &issuer(Dialect::Chat, "up")).unwrap_err();
    let error = read(r#"{"error":{"message":"no","type":"t","code":429}}"#);
    assert_eq!(error.error, Some(("no".into(), Some("429".into()))));
    assert_eq!(read(r#"{"error":"no"}"#).error, Some(("no".into(), None)));
    assert_eq!(read("<html>").error, None);
    assert_eq!(read("{}").error, None);
}

#[test]
fn an_answer_is_written_for_clients() {
    let signature = signed(Dialect::Messages, "anthropic", OpaqueKind::Signature, "sig");
    let redacted = signed(Dialect::Messages, "anthropic", OpaqueKind::Redacted, "red");
    let gemini = signed(Dialect::Gemini, "google", OpaqueKind::ThoughtSignature, "ts");
    let parts = vec![
        Part::Reasoning(Reasoning {
            text: "hm".into(),
            opaque: Some(signature.clone()),
            ..Reasoning::default()
        }),
        Part::text("hi"),
        Part::ToolCall(ToolCall {
            id: "toolu_1".into(),
            name: "f".into(),
            opaque: Some(gemini.clone()),
            ..ToolCall::default()
        }),
        Part::Reasoning(Reasoning { opaque: Some(redacted.clone()), ..Reasoning::default() }),
        Part::ToolCall(ToolCall {
            id: "toolu_2".into(),
            name: "g".into(),
            arguments: "{ }".into(),
            ..ToolCall::default()
        }),
    ];
    let stop = Stop { native: Some("tool_use".into()), ..Stop::new(StopKind::ToolCalls) };
    let usage = Usage { input: Some(3), cached_input: Some(0), output: Some(5), ..Usage::default() };
    let choices = vec![Choice { parts: parts.clone(), stop: Some(stop), logprobs: None }];
    let answer = Answer { id: Some("msg_1".into()), choices, usage: Some(usage), ..Answer::default() };
    let body = json(write_answer(&answer, &reply(&Request::default())));
    assert_eq!(
        body,
        json!({"id": "chatcmpl-0abc", "object": "chat.completion", "created": 1_700_000_000, "model": "alias",
            "choices": [{"index": 0, "finish_reason": "tool_calls", "native_finish_reason": "tool_use", "logprobs": null,
                "message": {"role": "assistant", "content": "hi", "refusal": null, "reasoning_content": "hm",
                    "reasoning_details": [
                        {"type": "reasoning.text", "text": "hm", "signature": signature.capsule(), "index": 0},
                        {"type": "reasoning.encrypted", "data": redacted.capsule(), "index": 3}],
                    "tool_calls": [
                        {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{}"},
                         "extra_content": {"google": {"thought_signature": gemini.capsule()}}},
                        {"id": "toolu_2", "type": "function", "function": {"name": "g", "arguments": "{ }"}}]}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8,
                "prompt_tokens_details": {"cached_tokens": 0}}})
    );
    // The client sends it back as it came: everything is where it was.
    let next = json!({"model": "m", "messages": [body["choices"][0]["message"]]});
    let mut replayed = read_request(next.to_string().as_bytes()).unwrap();
    let Part::ToolCall(first) = &mut replayed.turns[0].parts[2] else { panic!() };
    first.arguments.clear();
    assert_eq!(replayed.turns[0].parts, parts);
}

#[test]
fn unknown_ends_are_not_the_whole_story() {
    for (kind, word, native) in [
        (StopKind::Pause, "stop", Some("pause_turn")),
        (StopKind::ContextWindow, "length", Some("model_context_window_exceeded")),
        (StopKind::Refusal, "content_filter", None),
        (StopKind::Sequence, "stop", None),
    ] {
        let choices = vec![Choice { stop: Some(Stop::new(kind)), ..Choice::default() }];
        let body = json(write_answer(&Answer { choices, ..Answer::default() }, &reply(&Request::default())));
        assert_eq!(body["choices"][0]["finish_reason"], word);
        assert_eq!(body["choices"][0]["native_finish_reason"].as_str(), native);
        assert_eq!(body["choices"][0]["message"]["content"], "");
    }
}

#[test]
fn citations_of_responses_become_annotations_and_others_do_not() {
    let flat = r#"{"type":"url_citation","url":"u","title":"t","start_index":0,"end_index":1}"#;
    let foreign = r#"{"type":"char_location","cited_text":"x"}"#;
    let citations = [flat, foreign].into_iter().filter_map(Raw::parse).collect();
    let parts = vec![Part::Text { text: "x".into(), citations, opaque: None, cache: None }];
    let choices = vec![Choice { parts, ..Choice::default() }];
    let body = json(write_answer(&Answer { choices, ..Answer::default() }, &reply(&Request::default())));
    let nested = json!([{"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1}}]);
    assert_eq!(body["choices"][0]["message"]["annotations"], nested);
}

#[test]
fn an_error_has_the_shape_that_sdks_map() {
    let failing = Failing {
        status: 429,
        code: "insufficient_quota",
        kind: "insufficient_quota",
        message: "budget \"x\" is spent",
        param: None,
        retry_after: None,
        request_id: "r",
    };
    let error = json!({"message": "budget \"x\" is spent", "type": "insufficient_quota", "param": null, "code": "insufficient_quota"});
    assert_eq!(json(error_body(&failing)), json!({"error": error}));
    let bare = Failing { code: "", kind: "", status: 401, param: Some("model"), ..failing };
    assert_eq!(json(error_body(&bare))["error"]["type"], "authentication_error");
    assert_eq!(json(error_body(&bare))["error"]["code"], json!(null));
}
