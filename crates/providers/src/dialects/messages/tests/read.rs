//! What clients send.

use super::*;
use crate::blocks::{
    CacheMark, Format, MediaKind, MediaSource, Opaque, OpaqueKind, Part, Raw, Role, Tool, ToolChoice,
};

fn full() -> Value {
    json!({
        "model": "claude-sonnet-4-5", "max_tokens": 2000, "stream": true,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Two calls.", "signature": "EqQB"},
                {"type": "redacted_thinking", "data": "xyz"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Bern", "n": 12345678901234567890u64}},
                {"type": "tool_use", "id": "toolu_2", "name": "get_weather", "input": {}, "caller": {"type": "direct"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": [
                    {"type": "text", "text": "rain"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}]},
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no such city", "is_error": true},
                {"type": "text", "text": "And tomorrow?", "cache_control": {"type": "ephemeral"}},
                {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}, "title": "A", "citations": {"enabled": true}},
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}},
                {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]}]}
        ],
        "tools": [
            {"name": "get_weather", "description": "d", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
             "strict": true, "cache_control": {"type": "ephemeral"}, "eager_input_streaming": true},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "temperature": 1.0, "top_k": 40, "stop_sequences": ["END"], "service_tier": "auto",
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        "metadata": {"user_id": "u1"}, "inference_geo": "eu", "mcp_servers": [{"name": "m"}], "brand_new": {"a": 1}
    })
}

#[test]
fn every_member_has_a_place() {
    let request = read(&full());
    assert_eq!(request.max_output, Some(2000));
    assert!(request.stream);
    let roles: Vec<Role> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
    let Part::Text { cache, .. } = &request.turns[0].parts[0] else { panic!() };
    assert_eq!(*cache, Some(CacheMark { ttl: Some("1h".into()) }));
    let Part::ToolCall(call) = &request.turns[2].parts[3] else { panic!() };
    assert_eq!(call.arguments, r#"{"city":"Bern","n":12345678901234567890}"#);
    let Part::Reasoning(thought) = &request.turns[2].parts[0] else { panic!() };
    assert_eq!(thought.text, "Two calls.");
    assert_eq!(thought.opaque.as_ref().unwrap().kind, OpaqueKind::Signature);
    let Part::ToolResult(result) = &request.turns[3].parts[0] else { panic!() };
    assert_eq!((result.call_id.as_str(), result.name.as_deref()), ("toolu_2", Some("get_weather")));
    assert!(matches!(&result.parts[1], Part::Media(media) if media.kind == MediaKind::Image));
    let Part::Media(document) = &request.turns[4].parts[2] else { panic!() };
    assert_eq!(document.source, MediaSource::Text("one\n\ntwo".into()));
    assert!(matches!(&request.turns[4].parts[3], Part::Unknown { kind, .. } if kind == "search_result"));
    assert!(matches!(&request.tools[1], Tool::Hosted { kind, .. } if kind == "web_search_20250305"));
    assert_eq!((request.tool_choice, request.parallel_tools), (Some(ToolChoice::Auto), Some(false)));
    assert_eq!(request.temperature.unwrap().get(), "1.0");
    assert!(matches!(request.format, Format::Schema { .. }));
    let mut extra: Vec<&str> = request.extra.iter().map(|(name, _)| name.as_str()).collect();
    extra.sort_unstable();
    assert_eq!(extra, ["brand_new", "inference_geo", "mcp_servers", "tools.eager_input_streaming"]);
}

#[test]
fn what_is_read_is_written_again() {
    let request = read(&full());
    let (body, written) = sent(&request, "claude-sonnet-4-5");
    // Sampling gives way to thinking, and the unknown is reported.
    assert_eq!(dropped(&written), ["top_k", "brand_new"]);
    let mut wanted = full();
    let object = wanted.as_object_mut().unwrap();
    object.remove("brand_new");
    object.remove("top_k");
    wanted["messages"][0]["content"] = json!([{"type": "text", "text": "Weather?"}]);
    wanted["messages"][1]["content"][4].as_object_mut().unwrap().remove("caller");
    assert_eq!(body, wanted);
    // And what is written reads as the same.
    let mut again = read(&body);
    let mut first = request;
    first.extra.retain(|(name, _)| name != "brand_new");
    first.top_k = None;
    for request in [&mut again, &mut first] {
        request.extra.sort_by(|a, b| a.0.cmp(&b.0));
    }
    assert_eq!(again, first);
}

#[test]
fn wrong_bodies_are_told_what_is_wrong() {
    let message = json!([{"role": "user", "content": "x"}]);
    let cases = [
        (json!([]), None, "object"),
        (json!({"max_tokens": 1, "messages": message}), Some("model"), "`model`"),
        (json!({"model": "m", "messages": message}), Some("max_tokens"), "missing"),
        (json!({"model": "m", "max_tokens": "1", "messages": message}), Some("max_tokens"), "integer"),
        (json!({"model": "m", "max_tokens": 1}), Some("messages"), "missing"),
        (json!({"model": "m", "max_tokens": 1, "messages": []}), Some("messages"), "at least one"),
        (
            json!({"model": "m", "max_tokens": 1, "messages": [{"role": "tool", "content": "x"}]}),
            Some("messages"),
            "messages[0].role",
        ),
        (
            json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": 1}]}),
            Some("messages"),
            "messages[0].content",
        ),
        (
            json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]}),
            Some("messages"),
            "messages[0].content[0].text",
        ),
        (
            json!({"model": "m", "max_tokens": 1, "messages": message, "temperature": "hot"}),
            Some("temperature"),
            "number",
        ),
        (
            json!({"model": "m", "max_tokens": 1, "messages": message, "tools": [{"name": "a", "input_schema": []}]}),
            Some("tools"),
            "tools[0].input_schema",
        ),
        (
            json!({"model": "m", "max_tokens": 1, "messages": message, "tool_choice": {"type": "maybe"}}),
            Some("tool_choice"),
            "maybe",
        ),
        (
            json!({"model": "m", "max_tokens": 1, "messages": message, "thinking": {"type": "enabled"}}),
            Some("thinking"),
            "budget_tokens",
        ),
    ];
    for (body, param, words) in cases {
        let error = read_request(&serde_json::to_vec(&body).unwrap()).unwrap_err();
        assert_eq!(error.param, param, "{body}");
        assert!(error.message.contains(words), "{}", error.message);
    }
    let twice =
        br#"{"model":"a","mod\u0065l":"b","max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(read_request(twice).unwrap_err().code, Some("duplicate_parameter"));
}

#[test]
fn thoughts_of_others_come_back_to_them() {
    let foreign = |dialect, kind| Opaque {
        issuer: Issuer { dialect, provider: "p".into() },
        kind,
        data: "bytes".into(),
    };
    let encrypted = foreign(Dialect::Responses, OpaqueKind::Encrypted);
    let signature = foreign(Dialect::Gemini, OpaqueKind::ThoughtSignature);
    let request = read(&json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "sum", "signature": encrypted.capsule()},
            {"type": "tool_use", "id": "a", "name": "f", "input": {}},
            {"type": "redacted_thinking", "data": signature.capsule()}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}]}));
    let parts = &request.turns[1].parts;
    assert_eq!(parts.len(), 2);
    let Part::Reasoning(thought) = &parts[0] else { panic!() };
    assert_eq!((thought.summary.clone(), thought.opaque.clone()), (vec!["sum".to_owned()], Some(encrypted)));
    let Part::ToolCall(call) = &parts[1] else { panic!() };
    assert_eq!(call.opaque, Some(signature));
    // This vendor's models get neither.
    let (body, written) = sent(&request, "claude-opus-4-8");
    assert_eq!(dropped(&written), ["reasoning"]);
    assert_eq!(body["messages"][1]["content"].as_array().unwrap().len(), 1);
}

#[test]
fn numbers_and_url_safe_base64_are_kept() {
    let body = br#"{"model":"claude-3-haiku","max_tokens":1,"temperature":0.70,"top_p":null,
        "messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"ab-_cd"}},
        {"type":"text","text":""}]}],"thinking":{"type":"disabled"}}"#;
    let request = read_request(body).unwrap();
    assert_eq!(request.temperature, Raw::parse("0.70"));
    assert_eq!(request.turns[0].parts.len(), 1);
    let Part::Media(media) = &request.turns[0].parts[0] else { panic!() };
    assert_eq!(media.source, MediaSource::Base64("ab+/cd==".into()));
}
