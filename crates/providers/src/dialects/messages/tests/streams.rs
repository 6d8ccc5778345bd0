//! Streams: the sum of the events is the whole answer, in both directions.

use super::*;
use crate::blocks::{Delta, Fold, Opaque, OpaqueKind, Part, PartHead, Raw, Stop, StopKind, ToolKind};

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 25, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 70, "output_tokens": 1}}})
}

fn block(index: u32, block: &Value, deltas: &[Value]) -> Vec<Value> {
    let mut events = vec![json!({"type": "content_block_start", "index": index, "content_block": block})];
    for delta in deltas {
        events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
    }
    events.push(json!({"type": "content_block_stop", "index": index}));
    events
}

fn finish(delta: &Value, output: u64) -> Vec<Value> {
    let usage = json!({"input_tokens": 25, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 70,
        "output_tokens": output, "output_tokens_details": {"thinking_tokens": 2}});
    vec![json!({"type": "message_delta", "delta": delta, "usage": usage}), json!({"type": "message_stop"})]
}

fn whole(content: &Value, stop: &Value, output: u64) -> Value {
    let mut message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": content,
        "usage": {"input_tokens": 25, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 70,
            "output_tokens": output, "output_tokens_details": {"thinking_tokens": 2}}});
    for (key, value) in stop.as_object().unwrap() {
        message[key] = value.clone();
    }
    message
}

/// Recordings: the events, and the answer that they come to.
fn recordings() -> Vec<(Vec<Value>, Value)> {
    let json_delta = |text: &str| json!({"type": "input_json_delta", "partial_json": text});
    let text_delta = |text: &str| json!({"type": "text_delta", "text": text});
    let mut all = Vec::new();
    let end = json!({"stop_reason": "end_turn", "stop_sequence": null});
    // Text with a citation, and a ping.
    let citation = json!({"type": "char_location", "cited_text": "c", "document_index": 0, "document_title": null,
        "start_char_index": 0, "end_char_index": 1});
    let mut events = vec![start(), json!({"type": "ping"})];
    events.extend(block(
        0,
        &json!({"type": "text", "text": ""}),
        &[
            text_delta("Hel"),
            text_delta("lo \"ü\"\n"),
            json!({"type": "citations_delta", "citation": citation}),
        ],
    ));
    events.extend(finish(&end, 9));
    let content = json!([{"type": "text", "text": "Hello \"ü\"\n", "citations": [citation]}]);
    all.push((events, whole(&content, &end, 9)));
    // Thoughts, then two calls whose pieces come in turns, and one without arguments.
    let tools = json!({"stop_reason": "tool_use", "stop_sequence": null});
    let mut events = vec![start()];
    events.extend(block(
        0,
        &json!({"type": "thinking", "thinking": "", "signature": ""}),
        &[
            json!({"type": "thinking_delta", "thinking": "Let "}),
            json!({"type": "thinking_delta", "thinking": "me."}),
            json!({"type": "signature_delta", "signature": "EqQB"}),
        ],
    ));
    events.extend(block(1, &json!({"type": "redacted_thinking", "data": "zzz"}), &[]));
    let call = |id: &str, input: &Value| json!({"type": "tool_use", "id": id, "name": "get", "input": input});
    let (a, b) = (
        block(2, &call("toolu_a", &json!({})), &[json_delta(""), json_delta("{\"x\":"), json_delta("1}")]),
        block(3, &call("toolu_b", &json!({})), &[json_delta("{\"y\""), json_delta(":[2]}")]),
    );
    for (place, event) in a.iter().enumerate() {
        events.push(event.clone());
        events.extend(b.get(place).cloned());
    }
    events.extend(block(4, &call("toolu_c", &json!({})), &[json_delta("")]));
    events.extend(finish(&tools, 30));
    let content = json!([
        {"type": "thinking", "thinking": "Let me.", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "zzz"},
        call("toolu_a", &json!({"x": 1})), call("toolu_b", &json!({"y": [2]})), call("toolu_c", &json!({}))]);
    all.push((events, whole(&content, &tools, 30)));
    // A refusal with its explanation.
    let refusal = json!({"stop_reason": "refusal", "stop_sequence": null,
        "stop_details": {"type": "refusal", "category": null, "explanation": "Not that."}});
    let mut events = vec![start()];
    events.extend(block(0, &json!({"type": "text", "text": ""}), &[text_delta("Well")]));
    events.extend(finish(&refusal, 3));
    all.push((events, whole(&json!([{"type": "text", "text": "Well"}]), &refusal, 3)));
    // Other reasons.
    for (reason, sequence) in [
        ("max_tokens", Value::Null),
        ("stop_sequence", json!("END")),
        ("pause_turn", Value::Null),
        ("model_context_window_exceeded", Value::Null),
    ] {
        let stop = json!({"stop_reason": reason, "stop_sequence": sequence});
        let mut events = vec![start()];
        events.extend(block(0, &json!({"type": "text", "text": ""}), &[text_delta("cut")]));
        events.extend(finish(&stop, 3));
        all.push((events, whole(&json!([{"type": "text", "text": "cut"}]), &stop, 3)));
    }
    all
}

#[test]
fn the_sum_of_a_stream_is_the_whole_answer() {
    for (data, message) in recordings() {
        let mut fold = Fold::default();
        let events = events(&data);
        for event in &events {
            fold.push(event);
        }
        assert!(fold.ended && fold.error.is_none());
        let folded = fold.answer();
        let read = read_answer(&serde_json::to_vec(&message).unwrap(), &issuer()).unwrap();
        assert_eq!(folded, read);
        // A client that streams gets the same message as one that does not, and as the provider meant.
        let whole_client = shown(&folded);
        assert_eq!(accumulate(&written(&events)), whole_client);
        assert_eq!(whole_client, message);
    }
}

#[test]
fn tools_of_the_vendor_pass_whole() {
    let mut data = vec![start()];
    data.extend(block(
        0,
        &json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}),
        &[
            json!({"type": "input_json_delta", "partial_json": "{\"query\":"}),
            json!({"type": "input_json_delta", "partial_json": "\"x\"}"}),
        ],
    ));
    let found = json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []});
    data.extend(block(1, &found, &[]));
    data.extend(finish(&json!({"stop_reason": "end_turn", "stop_sequence": null}), 3));
    let used =
        json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}});
    assert_eq!(accumulate(&written(&events(&data)))["content"], json!([used, found]));
}

#[test]
fn a_stream_that_breaks_off_has_no_end() {
    let (data, _) = recordings().remove(0);
    let cut = events(&data[..data.len() - 1]);
    assert!(!cut.contains(&Event::End));
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let told = events(&[start(), error, json!({"type": "message_stop"})]);
    let wanted = Event::Error { message: "Overloaded".into(), code: Some("overloaded_error".into()) };
    assert_eq!(told.last(), Some(&wanted));
    let mut reader = StreamReader::new(issuer());
    let mut out = Vec::new();
    reader.push(None, b"<html>", &mut out);
    assert!(matches!(out[..], [Event::Error { .. }]));
}

fn began(part: u32, head: PartHead) -> Event {
    Event::PartStart { choice: 0, part, head }
}

fn told(part: u32, delta: Delta) -> Event {
    Event::Delta { choice: 0, part, delta }
}

fn call(id: &str) -> PartHead {
    PartHead::ToolCall { id: id.into(), item_id: None, name: "f".into(), kind: ToolKind::Function }
}

#[test]
fn interleaved_calls_are_put_in_order() {
    let arguments = |part, text: &str| told(part, Delta::Arguments(text.into()));
    let events = [
        Event::Start { id: None, model: None, created: None },
        began(0, PartHead::Text),
        told(0, Delta::Text("T".into())),
        began(1, call("a")),
        began(2, call("b")),
        began(3, call("c")),
        arguments(2, "{\"b\":"),
        arguments(1, "{\"a\":"),
        Event::PartEnd { choice: 0, part: 0 },
        arguments(1, "1}"),
        arguments(2, "2}"),
        Event::PartEnd { choice: 0, part: 2 },
        Event::PartEnd { choice: 0, part: 1 },
        Event::Stop { choice: 0, stop: Stop::new(StopKind::ToolCalls) },
        Event::End,
    ];
    let message = accumulate(&written(&events));
    let call = |id: &str, input: Value| json!({"type": "tool_use", "id": id, "name": "f", "input": input});
    assert_eq!(
        message["content"],
        json!([{"type": "text", "text": "T"}, call("a", json!({"a": 1})), call("b", json!({"b": 2})), call("c", json!({}))])
    );
    assert_eq!(message["stop_reason"], "tool_use");
}

#[test]
fn thoughts_and_signatures_of_others_travel_as_capsules() {
    let sealed =
        |dialect, kind| Opaque { issuer: Issuer { dialect, provider: "p".into() }, kind, data: "d".into() };
    let encrypted = sealed(Dialect::Responses, OpaqueKind::Encrypted);
    let signature = sealed(Dialect::Gemini, OpaqueKind::ThoughtSignature);
    let reasoning = || PartHead::Reasoning { id: None };
    let summary = |paragraph, text: &str| told(0, Delta::Summary { paragraph, text: text.into() });
    let events = [
        Event::Start { id: None, model: None, created: None },
        began(0, reasoning()),
        summary(0, "One"),
        summary(1, "Two"),
        told(0, Delta::Opaque(encrypted.clone())),
        Event::PartEnd { choice: 0, part: 0 },
        began(1, reasoning()),
        told(1, Delta::Thought("bare".into())),
        Event::PartEnd { choice: 0, part: 1 },
        began(2, call("a")),
        told(2, Delta::Opaque(signature.clone())),
        told(2, Delta::Arguments("{}".into())),
        Event::PartEnd { choice: 0, part: 2 },
        began(3, reasoning()),
        Event::PartEnd { choice: 0, part: 3 },
        Event::Stop { choice: 0, stop: Stop::new(StopKind::End) },
        Event::End,
    ];
    let message = accumulate(&written(&events));
    assert_eq!(
        message["content"],
        json!([{"type": "thinking", "thinking": "One\n\nTwo", "signature": encrypted.capsule()},
               {"type": "thinking", "thinking": "bare", "signature": ""},
               {"type": "tool_use", "id": "a", "name": "f", "input": {}},
               {"type": "redacted_thinking", "data": signature.capsule()}])
    );
    let mut fold = Fold::default();
    for event in &events {
        fold.push(event);
    }
    assert_eq!(shown(&fold.answer()), message);
    // And back: the client's next request has the signature on the call again.
    let request = read(
        &json!({"model": "m", "max_tokens": 1, "messages": [{"role": "assistant", "content": message["content"]}]}),
    );
    let Part::ToolCall(call) = &request.turns[0].parts[2] else { panic!() };
    assert_eq!(call.opaque, Some(signature));
}

#[test]
fn free_text_input_and_refusals_are_streamed() {
    let head =
        PartHead::ToolCall { id: "a".into(), item_id: None, name: "sh".into(), kind: ToolKind::Custom };
    let events = [
        Event::Start { id: None, model: None, created: None },
        began(0, head),
        told(0, Delta::Arguments("say \"".into())),
        told(0, Delta::Arguments("é\n\"".into())),
        Event::PartEnd { choice: 0, part: 0 },
        began(1, PartHead::Refusal),
        told(1, Delta::Text("No.".into())),
        Event::PartEnd { choice: 0, part: 1 },
        Event::Stop { choice: 0, stop: Stop::new(StopKind::Filter) },
        Event::End,
    ];
    let message = accumulate(&written(&events));
    assert_eq!(message["content"][0]["input"], json!({"input": "say \"é\n\""}));
    assert_eq!(message["content"][1]["text"], "No.");
    assert_eq!(message["stop_reason"], "refusal");
}

#[test]
fn what_is_kept_back_is_bounded() {
    let mut events = vec![began(0, call("a")), began(1, call("b"))];
    let piece = Delta::Arguments("x".repeat(1 << 20));
    events.extend((0..20).map(|_| told(1, piece.clone())));
    events.push(Event::End);
    let request = Request::default();
    let mut writer = StreamWriter::new(&reply(&request));
    let mut out = BytesMut::new();
    for event in &events {
        writer.write(event, &mut out);
    }
    let frames = frames(&out);
    assert_eq!(frames.last().unwrap().0, "error");
    assert!(frames.iter().all(|(name, _)| name != "message_stop"));
}

#[test]
fn json_with_line_ends_stays_on_one_line() {
    let raw =
        Raw::parse("{\"type\":\"server_tool_use\",\n\"id\":\"s\",\r\n\"name\":\"n\",\"input\":{}}").unwrap();
    let events = [
        began(0, PartHead::Unknown { dialect: Dialect::Messages, kind: "server_tool_use".into(), raw }),
        Event::PartEnd { choice: 0, part: 0 },
        Event::End,
    ];
    assert_eq!(accumulate(&written(&events))["content"][0]["id"], "s");
}
