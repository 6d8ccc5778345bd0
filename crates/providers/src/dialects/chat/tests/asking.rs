//! Requests of clients, read.

use serde_json::json;

use super::signed;
use crate::blocks::{
    CacheMark, Format, MediaKind, MediaSource, OpaqueKind, Part, Raw, Request, Role, Tool, ToolChoice,
    ToolKind,
};
use crate::dialects::Dialect;
use crate::dialects::chat::read_request;

fn read(body: &serde_json::Value) -> Request {
    read_request(body.to_string().as_bytes()).unwrap()
}

fn messages(messages: &serde_json::Value) -> Request {
    read(&json!({"model": "m", "messages": messages}))
}

#[test]
fn every_parameter_is_in_the_form_or_aside() {
    let body = r#"{"model":"m","messages":[],"temperature":1.0,"top_p":0.10,"seed":12345678901234567890,"stop":"x",
        "n":2,"logprobs":true,"top_logprobs":3,"max_tokens":9,"max_completion_tokens":7,"user":"u","safety_identifier":"s",
        "metadata":{"a":"b"},"store":false,"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false},
        "verbosity":"low","prompt_cache_key":"k","service_tier":"flex","reasoning_effort":"high","frequency_penalty":0,
        "presence_penalty":-1,"logit_bias":{"1":2},"parallel_tool_calls":false,"modalities":["text"],
        "prediction":{"type":"content","content":"x"},"web_search_options":{},"chat_template_kwargs":{"a":1e400},"top_k":4,
        "frequency_penalties":null}"#;
    let request = read_request(body.as_bytes()).unwrap();
    assert_eq!(request.temperature.unwrap().get(), "1.0");
    assert_eq!(request.top_p.unwrap().get(), "0.10");
    assert_eq!(request.seed.unwrap().get(), "12345678901234567890");
    assert_eq!(request.stop, ["x"]);
    assert_eq!((request.choices, request.top_logprobs, request.max_output), (Some(2), Some(3), Some(7)));
    assert_eq!(request.end_user.as_deref(), Some("s"));
    assert!(request.stream && request.include_usage);
    assert_eq!(request.thinking.unwrap().effort.as_deref(), Some("high"));
    assert_eq!(request.parallel_tools, Some(false));
    let extra: Vec<(&str, &str)> =
        request.extra.iter().map(|(name, raw)| (name.as_str(), raw.get())).collect();
    assert_eq!(
        extra,
        [
            ("user", "\"u\""),
            ("stream_options.include_obfuscation", "false"),
            ("prediction", r#"{"type":"content","content":"x"}"#),
            ("web_search_options", "{}"),
            ("chat_template_kwargs", r#"{"a":1e400}"#),
        ]
    );
}

#[test]
fn a_wrong_type_names_the_parameter() {
    for (body, param) in [
        (json!({"messages": []}), "model"),
        (json!({"model": "m"}), "messages"),
        (json!({"model": "m", "messages": {}}), "messages"),
        (json!({"model": "m", "messages": [{"role": "user"}]}), "messages"),
        (json!({"model": "m", "messages": [{"role": "king", "content": ""}]}), "messages"),
        (json!({"model": "m", "messages": [{"role": "tool", "content": ""}]}), "messages"),
        (json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]}), "messages"),
        (json!({"model": "m", "messages": [], "temperature": "1"}), "temperature"),
        (json!({"model": "m", "messages": [], "stop": [1]}), "stop"),
        (json!({"model": "m", "messages": [], "n": -1}), "n"),
        (json!({"model": "m", "messages": [], "tools": [{"type": "function"}]}), "tools"),
        (json!({"model": "m", "messages": [], "tool_choice": "maybe"}), "tool_choice"),
        (
            json!({"model": "m", "messages": [], "response_format": {"type": "json_schema"}}),
            "response_format",
        ),
    ] {
        let error = read_request(body.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.param, Some(param), "{body}: {error}");
        assert!(error.message.contains(param), "{error}");
    }
    for body in ["", "[]", "{\"model\":", "\"x\""] {
        assert_eq!(read_request(body.as_bytes()).unwrap_err().code, Some("invalid_json"), "{body}");
    }
}

#[test]
fn media_are_read_from_data_urls_and_addresses() {
    let request = messages(&json!([{"role": "user", "content": [
        {"type": "text", "text": ""},
        {"type": "text", "text": "see", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
        {"type": "image_url", "image_url": {"url": "data:image/PNG;base64,-_8", "detail": "low"}},
        {"type": "image_url", "image_url": "https://a/b.png"},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "mp3"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "hologram", "x": 1.0},
    ]}]));
    let parts = &request.turns[0].parts;
    assert_eq!(parts.len(), 7);
    assert!(
        matches!(&parts[0], Part::Text { cache: Some(CacheMark { ttl: Some(ttl) }), .. } if ttl == "12h")
    );
    let media = |at: usize| match &parts[at] {
        Part::Media(media) => (media.kind, media.source.clone(), media.mime.clone()),
        other => panic!("{other:?}"),
    };
    let base64 = |data: &str| MediaSource::Base64(data.to_owned());
    assert_eq!(media(1), (MediaKind::Image, base64("+/8="), Some("image/png".to_owned())));
    assert_eq!(media(2), (MediaKind::Image, MediaSource::Url("https://a/b.png".to_owned()), None));
    assert_eq!(media(3), (MediaKind::Audio, base64("UklG"), Some("audio/mpeg".to_owned())));
    assert_eq!(media(4), (MediaKind::File, base64("JVBE"), Some("application/pdf".to_owned())));
    assert_eq!(media(5), (MediaKind::File, MediaSource::FileId("file-1".to_owned()), None));
    assert!(
        matches!(&parts[6], Part::Unknown { kind, raw, .. } if kind == "hologram" && raw.get().contains("1.0"))
    );
}

#[test]
fn tool_calls_and_results_pair_up_and_arguments_stay_text() {
    let body = r#"{"model":"m","messages":[
        {"role":"assistant","content":null,"tool_calls":[
            {"id":"c1","index":0,"type":"function","function":{"name":"f","arguments":"{\"n\": 1.0}"}},
            {"id":"c2","type":"custom","custom":{"name":"g","input":"free"}}]},
        {"role":"tool","tool_call_id":"c1","content":"one"},
        {"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"two"}]},
        {"role":"user","content":"go on","name":"ann"}]}"#;
    let request = read_request(body.as_bytes()).unwrap();
    assert_eq!(
        request.turns.iter().map(|turn| turn.role).collect::<Vec<_>>(),
        [Role::Assistant, Role::Tool, Role::User]
    );
    let Part::ToolCall(call) = &request.turns[0].parts[0] else { panic!() };
    assert_eq!(call.arguments, "{\"n\": 1.0}");
    let Part::ToolResult(second) = &request.turns[1].parts[1] else { panic!() };
    assert_eq!((second.name.as_deref(), &second.kind), (Some("g"), &ToolKind::Custom));
    assert_eq!(request.turns[2].name.as_deref(), Some("ann"));
    assert!(request.extra.is_empty());
}

#[test]
fn legacy_functions_are_tools() {
    let request = read(&json!({"model": "m",
        "functions": [{"name": "f", "parameters": {"type": "object"}}], "function_call": {"name": "f"},
        "messages": [
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "done"}]}));
    assert!(matches!(&request.tools[0], Tool::Function { name, .. } if name == "f"));
    assert_eq!(request.tool_choice, Some(ToolChoice::One { name: "f".into(), kind: ToolKind::Function }));
    let Part::ToolCall(call) = &request.turns[0].parts[0] else { panic!() };
    let Part::ToolResult(result) = &request.turns[1].parts[0] else { panic!() };
    assert_eq!((call.id.as_str(), call.id.starts_with("call_")), (result.call_id.as_str(), true));
}

#[test]
fn choices_and_formats_are_read() {
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
        {"type": "function", "function": {"name": "a"}}, {"type": "custom", "custom": {"name": "b"}}]}});
    let request = read(&json!({"model": "m", "messages": [], "tool_choice": allowed, "response_format":
        {"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": {"type": "object"}}}}));
    let names = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(request.tool_choice, Some(ToolChoice::Allowed { names, required: true }));
    let schema = Raw::parse(r#"{"type":"object"}"#).unwrap();
    let format = Format::Schema { name: Some("x".into()), description: None, schema, strict: Some(true) };
    assert_eq!(request.format, format);
}

#[test]
fn thoughts_come_back_to_their_places_and_their_issuer() {
    let foreign = signed(Dialect::Messages, "anthropic", OpaqueKind::Signature, "sig==");
    let gemini = signed(Dialect::Gemini, "google", OpaqueKind::ThoughtSignature, "ts");
    let request = messages(&json!([{"role": "assistant", "content": "hi",
        "reasoning_content": "plain firstsecond",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "first", "signature": foreign.capsule(), "index": 1},
            {"type": "reasoning.text", "text": "second", "signature": "own", "index": 4}],
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""},
             "extra_content": {"google": {"thought_signature": gemini.capsule()}}},
            {"id": "b", "type": "function", "function": {"name": "f", "arguments": ""}}]}]));
    let shapes: Vec<String> = request.turns[0]
        .parts
        .iter()
        .map(|part| match part {
            Part::Reasoning(thought) => {
                format!("{}/{:?}", thought.text, thought.opaque.as_ref().map(|o| &o.data))
            }
            Part::Text { text, .. } => text.clone(),
            Part::ToolCall(call) => call.id.clone(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(shapes, ["plain /None", "first/Some(\"sig==\")", "hi", "a", "second/Some(\"own\")", "b"]);
    let Part::ToolCall(call) = &request.turns[0].parts[3] else { panic!() };
    assert_eq!(call.opaque.as_ref(), Some(&gemini));
}

#[test]
fn unknown_members_of_messages_are_noted_once() {
    let request = messages(&json!([{"role": "user", "content": "a", "partial": true},
        {"role": "user", "content": "b", "partial": false, "weight": null}]));
    assert_eq!(request.extra, [("messages.partial".to_owned(), Raw::parse("true").unwrap())]);
}

#[test]
fn vendors_words_for_thinking_are_understood() {
    let thinking = |body: &str| {
        let body = format!(r#"{{"model":"m","messages":[],{body}}}"#);
        read_request(body.as_bytes()).unwrap().thinking.unwrap_or_default()
    };
    assert_eq!(thinking(r#""thinking":{"type":"enabled","budget_tokens":2000}"#).budget, Some(2000));
    assert_eq!(thinking(r#""enable_thinking":false"#).mode.as_deref(), Some("disabled"));
    assert_eq!(thinking(r#""reasoning":{"effort":"low","exclude":true}"#).show.as_deref(), Some("omitted"));
    assert_eq!(thinking(r#""thinking":null"#), crate::blocks::Thinking::default());
}

#[test]
fn a_large_body_is_read_in_linear_time() {
    let image = "A".repeat(20_000_000);
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{image}"}}}}]}}]}}"#
    );
    let request = read_request(body.as_bytes()).unwrap();
    assert!(
        matches!(&request.turns[0].parts[0], Part::Media(media) if media.source == MediaSource::Base64(image))
    );
}

#[test]
fn unknown_members_of_tools_are_noted_and_their_number_is_bounded() {
    let tool = json!({"type": "function", "defer": true, "function": {"name": "f", "examples": [1]}});
    let request = read(&json!({"model": "m", "messages": [], "tools": [tool, {"type": "web", "x": 1}]}));
    let names: Vec<&str> = request.extra.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["tools.defer", "tools.function.examples"]);
    assert!(matches!(&request.tools[1], Tool::Hosted { kind, .. } if kind == "web"));
    let many: String = (0..501).map(|number| format!(",\"x{number}\":1")).collect();
    let body = format!(r#"{{"model":"m","messages":[]{many}}}"#);
    assert_eq!(read_request(body.as_bytes()).unwrap_err().code, Some("unknown_parameter"));
}

#[test]
fn the_signature_of_a_text_stays_with_it() {
    let opaque = signed(Dialect::Gemini, "google", OpaqueKind::ThoughtSignature, "ts");
    let extra = json!({"google": {"thought_signature": opaque.capsule()}});
    let said = messages(&json!([{"role": "assistant", "content": "hi", "extra_content": extra}]));
    assert!(matches!(&said.turns[0].parts[0], Part::Text { opaque: Some(o), .. } if *o == opaque));
    let silent = messages(&json!([{"role": "assistant", "content": "", "extra_content": extra}]));
    assert!(matches!(&silent.turns[0].parts[0], Part::Reasoning(thought) if thought.opaque == Some(opaque)));
}
