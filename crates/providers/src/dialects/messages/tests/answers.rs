//! Whole answers.

use super::*;
use crate::Usage;
use crate::blocks::{Choice, Part, Raw, Stop, StopKind, ToolCall};

#[test]
fn counts_add_up() {
    let answer = read_answer(
        br#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":"end_turn",
        "stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":90,
        "output_tokens":7,"output_tokens_details":{"thinking_tokens":3},"service_tier":"standard"}}"#,
        &issuer(),
    )
    .unwrap();
    let usage = answer.usage.unwrap();
    assert_eq!(
        usage,
        Usage {
            input: Some(100),
            cached_input: Some(90),
            cache_write: Some(0),
            output: Some(7),
            reasoning: Some(3),
            ..Usage::default()
        }
    );
    assert_eq!(
        shown(&answer)["usage"],
        json!({"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 90,
               "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 3}, "service_tier": "standard"})
    );
}

#[test]
fn errors_in_place_of_answers_are_told_apart() {
    let error =
        br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#;
    let told = read_answer(error, &issuer()).unwrap_err().error;
    assert_eq!(told, Some(("Overloaded".into(), Some("overloaded_error".into()))));
    for broken in [&b"[]"[..], b"{}", b"\xff", b"", br#"{"content":[1]}"#] {
        assert_eq!(read_answer(broken, &issuer()).unwrap_err().error, None);
    }
}

#[test]
fn every_stop_reason_comes_back() {
    for reason in [
        "end_turn",
        "stop_sequence",
        "max_tokens",
        "model_context_window_exceeded",
        "tool_use",
        "refusal",
        "pause_turn",
    ] {
        let body = json!({"content": [], "stop_reason": reason, "stop_sequence": "X"});
        let answer = read_answer(&serde_json::to_vec(&body).unwrap(), &issuer()).unwrap();
        let stop = answer.choices[0].stop.clone().unwrap();
        assert_eq!(stop.native.as_deref(), Some(reason));
        assert_ne!(stop.kind, StopKind::Other);
        assert_eq!(shown(&answer)["stop_reason"], reason);
    }
}

#[test]
fn answers_of_others_fit_the_dialect() {
    let parts = vec![
        Part::text(""),
        Part::ToolCall(ToolCall { name: "f".into(), arguments: String::new(), ..ToolCall::default() }),
        Part::ToolCall(ToolCall {
            id: "call_2".into(),
            name: "g".into(),
            arguments: "{\"a\":".into(),
            ..ToolCall::default()
        }),
        Part::Unknown { dialect: Dialect::Chat, kind: "audio".into(), raw: Raw::parse("{}").unwrap() },
    ];
    let answer = Answer {
        id: Some("chatcmpl-1".into()),
        choices: vec![Choice { parts, stop: Some(Stop::new(StopKind::End)), logprobs: None }],
        ..Answer::default()
    };
    assert_eq!(
        shown(&answer),
        json!({"id": "msg_0abc", "type": "message", "role": "assistant", "model": "house/claude",
            "content": [{"type": "tool_use", "id": "toolu_0abc0", "name": "f", "input": {}},
                        {"type": "tool_use", "id": "call_2", "name": "g", "input": {"INVALID_JSON": "{\"a\":"}}],
            "stop_reason": "tool_use", "stop_sequence": null,
            "usage": {"input_tokens": 0, "output_tokens": 0}})
    );
}

#[test]
fn words_of_refusal_are_seen() {
    let refuse = |kind| Answer {
        choices: vec![Choice {
            parts: vec![Part::Refusal { text: "No.".into() }],
            stop: Some(Stop::new(kind)),
            logprobs: None,
        }],
        ..Answer::default()
    };
    let shown_chat = shown(&refuse(StopKind::End));
    assert_eq!(shown_chat["content"], json!([{"type": "text", "text": "No."}]));
    assert_eq!(shown_chat["stop_reason"], "refusal");
    let own = shown(&refuse(StopKind::Refusal));
    assert_eq!(own["content"], json!([]));
    assert_eq!(own["stop_details"], json!({"type": "refusal", "category": null, "explanation": "No."}));
}

#[test]
fn renamed_tools_have_their_own_names_in_answers() {
    let body = json!({"content": [{"type": "tool_use", "id": "t", "name": "tgx_a_2Eb", "input": {}}]});
    let answer = read_answer(&serde_json::to_vec(&body).unwrap(), &issuer()).unwrap();
    let Part::ToolCall(call) = &answer.choices[0].parts[0] else { panic!() };
    assert_eq!(call.name, "a.b");
}
