//! Requests to providers, written.

use serde_json::{Value, json};

use super::{json, signed, target};
use crate::blocks::{
    CacheMark, Format, Media, MediaKind, MediaSource, OpaqueKind, Part, Raw, Reasoning, Request, Role,
    Thinking, Tool, ToolCall, ToolChoice, ToolResult, Turn,
};
use crate::dialects::Dialect;
use crate::dialects::chat::{read_request, write_request};

fn turn(role: Role, parts: Vec<Part>) -> Turn {
    Turn { role, parts, name: None }
}

fn asked(turns: Vec<Turn>) -> Request {
    Request { model: "m".into(), turns, ..Request::default() }
}

fn put(request: &Request, model: &str) -> (Value, Vec<String>) {
    let written = write_request(request, &target(model)).unwrap();
    (json(&written.body), written.dropped.into_iter().map(|param| param.0).collect())
}

fn refused(request: &Request, model: &str) -> String {
    write_request(request, &target(model)).unwrap_err().param
}

fn call(id: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.into(), name: "f".into(), arguments: arguments.into(), ..ToolCall::default() }
}

fn result(id: &str, parts: Vec<Part>) -> Part {
    Part::ToolResult(ToolResult { call_id: id.into(), parts, ..ToolResult::default() })
}

fn media(kind: MediaKind, source: MediaSource, mime: &str) -> Part {
    let mime = Some(mime.to_owned());
    Part::Media(Media { kind, source, mime, name: None, detail: None, cache: None, extra: Vec::new() })
}

#[test]
fn what_was_read_is_written_again() {
    let body = json!({"model": "gpt-6-sol", "messages": [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "name": "ann", "content": [
            {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "x.pdf"}},
            {"type": "file", "file": {"file_id": "file-9"}}]},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1.0}"}},
            {"id": "b", "type": "custom", "custom": {"name": "g", "input": "in"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "assistant", "content": "no", "refusal": "I cannot"},
        {"role": "assistant", "content": null, "audio": {"id": "audio_1"}},
        {"role": "user", "content": "next"}],
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}},
            {"type": "custom", "custom": {"name": "g", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "s"}}}}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}},
        "parallel_tool_calls": false,
        "response_format": {"type": "json_schema", "json_schema": {"name": "r", "description": "d", "schema": {"type": "object"}, "strict": true}},
        "max_completion_tokens": 5, "temperature": 0.5, "top_p": 1, "seed": 4, "stop": ["a", "b"], "frequency_penalty": 1,
        "presence_penalty": 1, "logit_bias": {"4": 1}, "logprobs": true, "top_logprobs": 2, "n": 3, "safety_identifier": "s",
        "user": "u", "metadata": {"k": "v"}, "service_tier": "priority", "prompt_cache_key": "p", "verbosity": "low",
        "store": true, "stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false},
        "reasoning_effort": "none", "modalities": ["text", "audio"], "audio": {"voice": "v", "format": "wav"},
        "prediction": {"type": "content", "content": "c"}, "web_search_options": {"search_context_size": "low"},
        "prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "explicit"}, "moderation": {"model": "o"}});
    let request = read_request(body.to_string().as_bytes()).unwrap();
    let (again, dropped) = put(&request, "gpt-6-sol");
    assert_eq!(again, body);
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn the_limit_has_the_name_that_the_model_takes() {
    let request = Request { max_output: Some(9), ..asked(Vec::new()) };
    for (model, name) in [
        ("o1", "max_completion_tokens"),
        ("o4-mini-2025-04-16", "max_completion_tokens"),
        ("openai/gpt-5.1", "max_completion_tokens"),
        ("GPT-6-astra", "max_completion_tokens"),
        ("gpt-4o", "max_tokens"),
        ("gpt-oss-120b", "max_tokens"),
        ("olmo-2", "max_tokens"),
        ("deepseek-chat", "max_tokens"),
        ("", "max_tokens"),
    ] {
        assert_eq!(put(&request, model).0[name], 9, "{model}");
    }
}

#[test]
fn sampling_is_dropped_for_models_that_refuse_it_while_they_think() {
    let mut request = Request { temperature: Raw::parse("1.0"), ..asked(Vec::new()) };
    for (model, kept) in
        [("o3", false), ("gpt-5", false), ("gpt-5.2", true), ("gpt-4o", true), ("qwen3", true)]
    {
        let (body, dropped) = put(&request, model);
        assert_eq!(body.get("temperature").is_some(), kept, "{model}");
        assert_eq!(dropped.is_empty(), kept, "{model}");
    }
    request.thinking = Some(Thinking { effort: Some("high".into()), ..Thinking::default() });
    assert_eq!(put(&request, "gpt-5.2").1, ["temperature"]);
    request.logprobs = Some(true);
    assert_eq!(refused(&request, "gpt-5.2"), "logprobs");
}

#[test]
fn thinking_of_other_dialects_is_told_as_effort() {
    let with = |thinking: Thinking| Request { thinking: Some(thinking), ..asked(Vec::new()) };
    let off = with(Thinking { mode: Some("disabled".into()), ..Thinking::default() });
    assert_eq!(put(&off, "gpt-5.6").0["reasoning_effort"], "none");
    assert_eq!(put(&off, "o3").1, ["reasoning_effort"]);
    assert!(put(&off, "gpt-4o").1.is_empty());
    let budget =
        with(Thinking { budget: Some(8000), show: Some("summarized".into()), ..Thinking::default() });
    let (body, dropped) = put(&budget, "o3");
    assert_eq!(body["reasoning_effort"], "medium");
    assert_eq!(dropped, ["reasoning.summary", "thinking_budget"]);
}

#[test]
fn what_chat_cannot_say_is_reported() {
    let mut request = asked(vec![turn(
        Role::System,
        vec![Part::Text {
            text: "s".into(),
            citations: vec![],
            opaque: None,
            cache: Some(CacheMark { ttl: None }),
        }],
    )]);
    request.top_k = Raw::parse("3");
    request.service_tier = Some("standard_only".into());
    request.extra.push(("safetySettings".into(), Raw::parse("[]").unwrap()));
    let (body, dropped) = put(&request, "llama");
    assert_eq!(dropped, ["cache_control", "top_k", "service_tier", "safetySettings"]);
    assert_eq!(body, json!({"model": "llama", "messages": [{"role": "system", "content": "s"}]}));
}

#[test]
fn what_the_caller_relies_on_is_refused() {
    let hosted = Tool::Hosted { kind: "web_search".into(), raw: Raw::parse("{}").unwrap() };
    assert_eq!(refused(&Request { tools: vec![hosted], ..asked(vec![]) }, "m"), "tools");
    assert_eq!(
        refused(&Request { previous: Some("r".into()), ..asked(vec![]) }, "m"),
        "previous_response_id"
    );
    assert_eq!(
        refused(&Request { tool_choice: Some(ToolChoice::Required), ..asked(vec![]) }, "m"),
        "tool_choice"
    );
    assert_eq!(refused(&asked(vec![turn(Role::Tool, vec![result("x", vec![])])]), "m"), "messages");
    let stop = vec!["s".to_owned(); 5];
    assert_eq!(refused(&Request { stop, ..asked(vec![]) }, "gpt-4o"), "stop");
    let base64 = || MediaSource::Base64("AAAA".into());
    for part in [
        media(MediaKind::Video, base64(), "video/mp4"),
        media(MediaKind::Audio, base64(), "audio/ogg"),
        media(MediaKind::File, MediaSource::Url("https://a".into()), "application/pdf"),
        media(MediaKind::File, MediaSource::FileId("file_011C".into()), "application/pdf"),
    ] {
        assert_eq!(refused(&asked(vec![turn(Role::User, vec![part])]), "m"), "messages");
    }
}

#[test]
fn media_in_results_move_to_the_user_after_all_results() {
    let image = media(MediaKind::Image, MediaSource::Base64("iVBOR".into()), "image/png");
    let error = ToolResult {
        call_id: "b".into(),
        is_error: true,
        parts: vec![Part::text("bad")],
        ..ToolResult::default()
    };
    let request = asked(vec![
        turn(Role::Assistant, vec![Part::ToolCall(call("a", "")), Part::ToolCall(call("b", "{}"))]),
        turn(Role::Tool, vec![result("a", vec![Part::text("x"), image]), Part::ToolResult(error)]),
    ]);
    let (body, dropped) = put(&request, "m");
    let roles: Vec<&Value> = body["messages"].as_array().unwrap().iter().map(|m| &m["role"]).collect();
    assert_eq!(roles, ["assistant", "tool", "tool", "user"]);
    assert_eq!(body["messages"][0]["tool_calls"][0]["function"]["arguments"], "{}");
    assert_eq!(body["messages"][3]["content"][1]["type"], "image_url");
    assert_eq!(dropped, ["is_error"]);
}

#[test]
fn signatures_go_to_their_issuer_alone() {
    let thought = |opaque| {
        Part::Reasoning(Reasoning { text: "hm".into(), opaque: Some(opaque), ..Reasoning::default() })
    };
    let own = signed(Dialect::Chat, "up", OpaqueKind::Signature, "sig");
    let foreign = signed(Dialect::Messages, "up", OpaqueKind::Signature, "sig");
    let other = signed(Dialect::Chat, "elsewhere", OpaqueKind::Signature, "sig");
    let with = |opaque| asked(vec![turn(Role::Assistant, vec![thought(opaque), Part::text("hi")])]);
    let (body, dropped) = put(&with(own.clone()), "anthropic/claude");
    let detail = json!({"type": "reasoning.text", "text": "hm", "signature": "sig", "index": 0});
    assert_eq!(body["messages"][0]["reasoning_details"], json!([detail]));
    assert!(dropped.is_empty());
    for (opaque, model) in [(foreign, "claude"), (other, "claude"), (own, "gpt-5")] {
        let (body, dropped) = put(&with(opaque), model);
        assert_eq!(body["messages"][0], json!({"role": "assistant", "content": "hi"}));
        assert_eq!(dropped, ["reasoning"]);
    }
    let mut signed_call = call("a", "{}");
    signed_call.opaque = Some(signed(Dialect::Gemini, "up", OpaqueKind::ThoughtSignature, "ts"));
    let (body, dropped) =
        put(&asked(vec![turn(Role::Assistant, vec![Part::ToolCall(signed_call)])]), "gemini-3");
    assert!(body["messages"][0]["tool_calls"][0].get("extra_content").is_none());
    assert_eq!(dropped, ["reasoning"]);
}

#[test]
fn plain_thoughts_are_replayed_to_vendors_that_want_them() {
    let thought = Reasoning { text: "hm".into(), ..Reasoning::default() };
    let request =
        asked(vec![turn(Role::Assistant, vec![Part::Reasoning(thought), Part::ToolCall(call("a", "{}"))])]);
    assert_eq!(put(&request, "deepseek-reasoner").0["messages"][0]["reasoning_content"], "hm");
    let (body, dropped) = put(&request, "mistral-large");
    assert!(body["messages"][0].get("reasoning_content").is_none());
    assert_eq!(dropped, ["reasoning"]);
}

#[test]
fn allowed_tools_are_the_only_ones_shown_to_other_servers() {
    let function = |name: &str| Tool::Function {
        name: name.into(),
        description: None,
        parameters: None,
        strict: None,
        cache: None,
    };
    let mut request = asked(vec![]);
    request.tools = vec![function("a"), function("b")];
    request.tool_choice = Some(ToolChoice::Allowed { names: vec!["b".into()], required: true });
    let (body, _) = put(&request, "llama");
    assert_eq!((&body["tools"].as_array().unwrap().len(), &body["tool_choice"]), (&1, &json!("required")));
    assert_eq!(put(&request, "gpt-4o").0["tools"].as_array().unwrap().len(), 2);
}

#[test]
fn a_schema_gets_a_name_that_openai_takes() {
    let schema = Raw::parse(r#"{"b":1,"a":2.50}"#).unwrap();
    for (name, shown) in [(None, "answer"), (Some("my schema"), "my_schema")] {
        let name = name.map(str::to_owned);
        let format = Format::Schema { name, description: None, schema: schema.clone(), strict: None };
        let written = write_request(&Request { format, ..asked(vec![]) }, &target("m")).unwrap();
        let text = String::from_utf8(written.body).unwrap();
        assert!(text.contains(r#""schema":{"b":1,"a":2.50}"#), "{text}");
        assert!(text.contains(&format!(r#""name":"{shown}""#)), "{text}");
    }
}

#[test]
fn usage_is_asked_for_in_streams_where_the_server_takes_it() {
    let request = Request { stream: true, ..asked(vec![]) };
    assert_eq!(put(&request, "m").0["stream_options"], json!({"include_usage": true}));
    let shy = crate::dialects::Target { stream_usage: false, ..target("m") };
    assert!(json(write_request(&request, &shy).unwrap().body).get("stream_options").is_none());
}
