//! Whole answers, and streams of the same.

use serde_json::json;

use super::*;
use crate::Usage;
use crate::blocks::{Choice, Opaque, OpaqueKind, Raw, Reasoning, Stop, StopKind, ToolCall};

/// A stream and the whole answer of the same content.
const RECORDINGS: [(&str, &[&str], &str); 6] = [
    (
        "text with cache",
        &[
            r#"{"candidates":[{"content":{"parts":[{"text":"Hel"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":10,"totalTokenCount":10},"modelVersion":"gemini-2.5-flash","responseId":"r1"}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"lo \u00e9"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":2,"totalTokenCount":12},"modelVersion":"gemini-2.5-flash","responseId":"r1"}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":3,"totalTokenCount":13},"modelVersion":"gemini-2.5-flash","responseId":"r1"}"#,
        ],
        r#"{"candidates":[{"content":{"parts":[{"text":"Hello é"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":3,"totalTokenCount":13},"modelVersion":"gemini-2.5-flash","responseId":"r1"}"#,
    ),
    (
        "thoughts, text and a late signature",
        &[
            r#"{"candidates":[{"content":{"parts":[{"text":"**Plan**","thought":true}],"role":"model"}}],"responseId":"r2"}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":" more","thought":true},{"text":"An"}],"role":"model"}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"swer"}],"role":"model"}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"QUJD"}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2,"thoughtsTokenCount":7,"totalTokenCount":14}}"#,
        ],
        r#"{"candidates":[{"content":{"parts":[{"text":"**Plan** more","thought":true},{"text":"Answer","thoughtSignature":"QUJD"}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2,"thoughtsTokenCount":7,"totalTokenCount":14},"responseId":"r2"}"#,
    ),
    (
        "parallel calls",
        &[
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"get","args":{"a": 1}},"thoughtSignature":"c2ln"}],"role":"model"}}],"responseId":"r3"}"#,
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"get","args":{}}},{"functionCall":{"id":"own","name":"put","args":{}}}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"toolUsePromptTokenCount":2,"candidatesTokenCount":9,"totalTokenCount":14}}"#,
        ],
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"get","args":{"a": 1}},"thoughtSignature":"c2ln"},{"functionCall":{"name":"get","args":{}}},{"functionCall":{"id":"own","name":"put","args":{}}}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"toolUsePromptTokenCount":2,"candidatesTokenCount":9,"totalTokenCount":14},"responseId":"r3"}"#,
    ),
    (
        "a blocked prompt",
        &[
            r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":8,"totalTokenCount":8},"responseId":"r4"}"#,
        ],
        r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":8,"totalTokenCount":8},"responseId":"r4"}"#,
    ),
    (
        "sources, an image, code, two candidates",
        &[
            r#"{"candidates":[{"content":{"parts":[{"executableCode":{"language":"PYTHON","code":"1"}},{"text":"see "}]},"index":0},{"content":{"parts":[{"text":"two"}]},"index":1}],"responseId":"r5"}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"this"}]},"finishReason":"STOP","index":0,"groundingMetadata":{"webSearchQueries":["q"]}},{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}]},"finishReason":"MAX_TOKENS","index":1,"groundingMetadata":{}}]}"#,
        ],
        r#"{"candidates":[{"content":{"parts":[{"executableCode":{"language":"PYTHON","code":"1"}},{"text":"see this"}]},"finishReason":"STOP","index":0,"groundingMetadata":{"webSearchQueries":["q"]}},{"content":{"parts":[{"text":"two"},{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}]},"finishReason":"MAX_TOKENS","index":1}],"responseId":"r5"}"#,
    ),
    (
        "log probabilities",
        &[
            r#"{"candidates":[{"content":{"parts":[{"text":"A"}]},"finishReason":"RECITATION","logprobsResult":{"chosenCandidates":[{"token":"A","tokenId":5,"logProbability":-0.10}],"topCandidates":[{"candidates":[{"token":"A","logProbability":-0.10},{"token":"B","logProbability":-3}]}]}}]}"#,
        ],
        r#"{"candidates":[{"content":{"parts":[{"text":"A"}]},"finishReason":"RECITATION","logprobsResult":{"chosenCandidates":[{"token":"A","tokenId":5,"logProbability":-0.10}],"topCandidates":[{"candidates":[{"token":"A","logProbability":-0.10},{"token":"B","logProbability":-3}]}]}}]}"#,
    ),
];

fn whole(body: &str) -> Answer {
    read_answer(body.as_bytes(), &issuer()).unwrap()
}

#[test]
fn a_stream_folded_is_the_whole_answer() {
    for (name, chunks, body) in RECORDINGS {
        let (answer, ended) = folded(&events(chunks));
        assert!(ended, "{name}");
        assert_eq!(answer, whole(body), "{name}");
        let (open, ended) = folded(&events(&chunks[..chunks.len() - 1]));
        assert!(!ended && open.choices.iter().all(|choice| choice.stop.is_none()), "{name}");
    }
}

#[test]
fn a_written_stream_says_what_the_whole_answer_says() {
    let request = Request::default();
    for (name, chunks, body) in RECORDINGS {
        let events = events(chunks);
        let stream = written(&events, StreamWriter::new(&reply(&request)));
        let sent = frames(&stream);
        let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
        let wanted = whole(&String::from_utf8(write_answer(&whole(body), &reply(&request))).unwrap());
        assert_eq!(folded(&super::events(&sent)), (wanted, true), "{name}");
        let array = written(&events, StreamWriter::array(&reply(&request)));
        let items: Vec<Value> = serde_json::from_str(&array).unwrap();
        assert_eq!(items, sent.iter().map(|frame| json(frame.as_bytes())).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn an_answer_comes_out_as_it_went_in() {
    let request = Request::default();
    for (name, _, body) in RECORDINGS {
        let mut answer = whole(body);
        let mut again = whole(&String::from_utf8(write_answer(&answer, &reply(&request))).unwrap());
        assert_eq!(again.model.take(), Some(answer.model.take().unwrap_or_else(|| "my-model".into())));
        assert_eq!(again.id.take(), Some(answer.id.take().unwrap_or_else(|| "abc123".into())));
        assert_eq!(again, answer, "{name}");
    }
}

#[test]
fn what_the_recordings_mean() {
    let text = whole(RECORDINGS[0].2);
    let usage = Usage { input: Some(10), cached_input: Some(4), output: Some(3), ..Usage::default() };
    assert_eq!(text.usage, Some(usage));
    assert_eq!(text.choices[0].stop.as_ref().unwrap().kind, StopKind::End);
    let thought = whole(RECORDINGS[1].2).usage.unwrap();
    assert_eq!((thought.output, thought.reasoning), (Some(9), Some(7)));
    let calls = whole(RECORDINGS[2].2);
    assert_eq!(calls.usage.unwrap().input, Some(5));
    let stop = calls.choices[0].stop.as_ref().unwrap();
    assert_eq!((stop.kind, stop.native.as_deref()), (StopKind::ToolCalls, Some("STOP")));
    let ids: Vec<&str> = calls.choices[0]
        .parts
        .iter()
        .map(|part| {
            let Part::ToolCall(call) = part else { panic!() };
            call.id.as_str()
        })
        .collect();
    assert_eq!(ids, ["call_get_0_r3", "call_get_1_r3", "own"]);
    let blocked = whole(RECORDINGS[3].2);
    let stop = blocked.choices[0].stop.as_ref().unwrap();
    assert_eq!((stop.kind, stop.native.as_deref()), (StopKind::Filter, Some("PROHIBITED_CONTENT")));
    assert_eq!(blocked.usage.unwrap().output, Some(0));
    let logprobs = whole(RECORDINGS[5].2).choices[0].logprobs.clone().unwrap();
    assert_eq!(
        logprobs.get(),
        r#"{"content":[{"token":"A","logprob":-0.10,"bytes":[65],"top_logprobs":[{"token":"A","logprob":-0.10,"bytes":[65]},{"token":"B","logprob":-3,"bytes":[66]}]}],"refusal":null}"#
    );
}

#[test]
fn reasons_to_stop() {
    for (word, kind) in [
        ("STOP", StopKind::End),
        ("MAX_TOKENS", StopKind::Length),
        ("SAFETY", StopKind::Filter),
        ("SPII", StopKind::Filter),
        ("IMAGE_SAFETY", StopKind::Filter),
        ("MALFORMED_FUNCTION_CALL", StopKind::BadToolCall),
        ("MISSING_THOUGHT_SIGNATURE", StopKind::BadToolCall),
        ("CONTINUATION", StopKind::Pause),
        ("OTHER", StopKind::Other),
        ("SOMETHING_NEW", StopKind::Other),
    ] {
        let body = json!({"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":word}]});
        let answer = whole(&body.to_string());
        let stop = answer.choices[0].stop.clone().unwrap();
        assert_eq!((stop.kind, stop.native.as_deref()), (kind, Some(word)));
        let request = Request::default();
        let again = json(&write_answer(&answer, &reply(&request)));
        let known = if word == "SOMETHING_NEW" { "OTHER" } else { word };
        assert_eq!(again["candidates"][0]["finishReason"], known);
    }
    let request = Request::default();
    for (kind, word) in [
        (StopKind::Sequence, "STOP"),
        (StopKind::ContextWindow, "MAX_TOKENS"),
        (StopKind::Refusal, "SAFETY"),
        (StopKind::ToolCalls, "STOP"),
    ] {
        let stop = Some(Stop { kind, sequence: None, native: Some("content_filter".into()) });
        let answer = Answer { choices: vec![Choice { stop, ..Choice::default() }], ..Answer::default() };
        let body = json(&write_answer(&answer, &reply(&request)));
        assert_eq!(body["candidates"][0]["finishReason"], word);
    }
}

#[test]
fn an_answer_of_another_dialect() {
    let issuer = Issuer { dialect: Dialect::Messages, provider: "anthropic".into() };
    let opaque = Opaque { issuer, kind: OpaqueKind::Signature, data: "Eq".into() };
    let answer = Answer {
        id: Some("msg_1".into()),
        choices: vec![Choice {
            parts: vec![
                Part::Reasoning(Reasoning {
                    summary: vec!["a".into(), "b".into()],
                    opaque: Some(opaque.clone()),
                    ..Reasoning::default()
                }),
                Part::Text {
                    text: "t".into(),
                    citations: vec![Raw::parse(r#"{"type":"char_location"}"#).unwrap()],
                    opaque: None,
                    cache: None,
                },
                Part::ToolCall(ToolCall { id: "toolu_1".into(), name: "f".into(), ..ToolCall::default() }),
                Part::Unknown {
                    dialect: Dialect::Messages,
                    kind: "server_tool_use".into(),
                    raw: Raw::parse("{}").unwrap(),
                },
            ],
            stop: Some(Stop::new(StopKind::ToolCalls)),
            logprobs: None,
        }],
        usage: Some(Usage { input: Some(7), output: Some(5), reasoning: Some(2), ..Usage::default() }),
        ..Answer::default()
    };
    let request = Request::default();
    let body = json(&write_answer(&answer, &reply(&request)));
    assert_eq!(
        body,
        json!({"candidates":[{"content":{"parts":[
            {"text":"a\n\nb","thought":true,"thoughtSignature":signature::shown(&opaque)},{"text":"t"},
            {"functionCall":{"id":"toolu_1","name":"f","args":{}}}],"role":"model"},"finishReason":"STOP","index":0}],
            "usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":3,"thoughtsTokenCount":2,"totalTokenCount":12},
            "modelVersion":"my-model","responseId":"msg_1"})
    );
}

#[test]
fn counts_that_were_not_told_stay_unknown() {
    let request = Request::default();
    let answer = Answer { usage: Some(Usage { output: Some(0), ..Usage::default() }), ..Answer::default() };
    let body = json(&write_answer(&answer, &reply(&request)));
    assert_eq!(body["usageMetadata"], json!({"candidatesTokenCount":0}));
    let silent = whole(r#"{"candidates":[{"finishReason":"STOP"}]}"#);
    assert_eq!(silent.usage, None);
    let events = events(&[
        r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":5,"thoughtsTokenCount":3}}"#,
        r#"{"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":9}}"#,
    ]);
    assert_eq!(folded(&events).0.usage.unwrap().output, Some(12));
}

#[test]
fn what_is_no_answer() {
    let error = |body: &str| read_answer(body.as_bytes(), &issuer()).unwrap_err();
    for body in [
        r#"{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}"#,
        r#"[{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}]"#,
    ] {
        assert_eq!(error(body).error, Some(("slow down".into(), Some("RESOURCE_EXHAUSTED".into()))));
    }
    for body in [
        "",
        "{\"error\"",
        "null",
        "{}",
        "[]",
        "<html>",
        r#"{"candidates":5}"#,
        r#"{"candidates":[{"index":99999999}]}"#,
    ] {
        assert_eq!(error(body).error, None, "{body}");
    }
}
