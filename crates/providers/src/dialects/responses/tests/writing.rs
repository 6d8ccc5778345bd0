//! `write_request`.

use super::*;

fn request(turns: Vec<Turn>) -> Request {
    Request { model: "m".into(), turns, ..Request::default() }
}

#[test]
fn a_plain_call_says_no_more_than_needed() {
    let (body, dropped) = write(&request(vec![turn(Role::System, vec![Part::text("S")]), asks("Hi")]));
    assert_eq!(
        body,
        json!({
            "model": "gpt-up", "instructions": "S",
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
            "store": false, "include": ["reasoning.encrypted_content"]
        })
    );
    assert!(dropped.is_empty());
}

#[test]
fn encrypted_thoughts_are_asked_of_models_that_think() {
    for (model, asked) in [("gpt-5", true), ("gpt-6-astra", true), ("o3", true), ("gpt-4o-mini", false)] {
        let target =
            Target { model, issuer: issuer(Dialect::Responses), max_output: None, stream_usage: true };
        let written = write_request(&request(vec![asks("Hi")]), &target).unwrap();
        let body: Value = serde_json::from_slice(&written.body).unwrap();
        assert_eq!(body["include"] == json!(["reasoning.encrypted_content"]), asked, "{model}");
        assert_eq!(body["store"], false);
    }
}

#[test]
fn later_system_turns_stay_where_they_stood() {
    let (body, _) = write(&request(vec![
        turn(Role::System, vec![Part::text("A")]),
        turn(Role::System, vec![Part::text("B")]),
        turn(Role::Developer, vec![Part::text("C")]),
        asks("Hi"),
        turn(Role::System, vec![Part::text("D")]),
    ]));
    assert_eq!(body["instructions"], "A\n\nB");
    let roles: Vec<&Value> = body["input"].as_array().unwrap().iter().map(|item| &item["role"]).collect();
    assert_eq!(roles, ["developer", "user", "system"]);
}

#[test]
fn a_step_of_thought_text_and_parallel_calls_is_items_in_order() {
    let thought = Reasoning {
        id: Some("rs_9".into()),
        summary: vec!["S".into()],
        opaque: Some(Opaque::received(Dialect::Responses, OpaqueKind::Encrypted, "ENC")),
        ..Reasoning::default()
    };
    let mut asked = request(vec![
        asks("Go"),
        turn(
            Role::Assistant,
            vec![
                Part::Reasoning(thought),
                Part::text("I look."),
                call("c1", "a", ""),
                call("c2", "b", "{\"x\":1.0}"),
            ],
        ),
        turn(Role::Tool, vec![result("c1", "one"), result("c2", "two")]),
    ]);
    let (body, dropped) = write(&asked);
    assert!(dropped.is_empty());
    assert_eq!(
        body["input"].as_array().unwrap()[1..],
        [
            json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "S"}], "encrypted_content": "ENC"}),
            json!({"type": "message", "role": "assistant", "content": "I look."}),
            json!({"type": "function_call", "call_id": "c1", "name": "a", "arguments": "{}"}),
            json!({"type": "function_call", "call_id": "c2", "name": "b", "arguments": "{\"x\":1.0}"}),
            json!({"type": "function_call_output", "call_id": "c1", "output": "one"}),
            json!({"type": "function_call_output", "call_id": "c2", "output": "two"}),
        ]
    );
    // Where the provider keeps answers its ids mean something.
    asked.store = Some(true);
    assert_eq!(write(&asked).0["input"][1]["id"], "rs_9");
}

#[test]
fn foreign_thoughts_are_dropped_and_told() {
    for (dialect, provider) in [(Dialect::Messages, "one"), (Dialect::Responses, "two")] {
        let issuer = Issuer { dialect, provider: provider.into() };
        let opaque = Opaque { issuer, kind: OpaqueKind::Signature, data: "SIG".into() };
        let thought = Reasoning { text: "T".into(), opaque: Some(opaque), ..Reasoning::default() };
        let (body, dropped) = write(&request(vec![
            asks("A"),
            turn(Role::Assistant, vec![Part::Reasoning(thought)]),
            asks("B"),
        ]));
        assert_eq!(dropped, ["reasoning"]);
        assert!(!body.to_string().contains("SIG"));
        assert_eq!(body["input"].as_array().unwrap().len(), 2);
    }
    let signed = Part::ToolCall(ToolCall {
        id: "c".into(),
        name: "f".into(),
        opaque: Some(sealed(Dialect::Gemini, OpaqueKind::ThoughtSignature, "TS")),
        ..ToolCall::default()
    });
    let (body, dropped) =
        write(&request(vec![turn(Role::Assistant, vec![signed]), turn(Role::Tool, vec![result("c", "")])]));
    assert_eq!(dropped, ["reasoning"]);
    assert!(!body.to_string().contains("TS"));
}

#[test]
fn what_cannot_be_said_is_dropped_and_told() {
    let mut asked = request(vec![Turn { name: Some("ann".into()), ..asks("Hi") }]);
    asked.top_k = Raw::parse("4");
    asked.seed = Raw::parse("7");
    asked.frequency_penalty = Raw::parse("0.5");
    asked.presence_penalty = Raw::parse("0.5");
    asked.logit_bias = Raw::parse("{}");
    asked.service_tier = Some("turbo".into());
    asked.end_user = Some("u".repeat(65));
    asked.max_output = Some(3);
    asked.extra = vec![
        ("reasoning_split".into(), raw(&json!(true))),
        ("context_management".into(), raw(&json!({"edits": []}))),
        ("prediction".into(), raw(&json!({}))),
        ("modalities".into(), raw(&json!(["text"]))),
        ("moderation".into(), raw(&json!({"model": "omni"}))),
    ];
    let (body, dropped) = write(&asked);
    assert_eq!(
        dropped,
        [
            "reasoning_split",
            "context_management",
            "prediction",
            "top_k",
            "seed",
            "frequency_penalty",
            "presence_penalty",
            "logit_bias",
            "name",
            "max_completion_tokens",
            "user",
            "service_tier"
        ]
    );
    assert_eq!(
        body,
        json!({
            "model": "gpt-up", "store": false, "include": ["reasoning.encrypted_content"], "max_output_tokens": 16,
            "moderation": {"model": "omni"},
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]
        })
    );
}

#[test]
fn what_may_not_be_dropped_is_refused() {
    let base = || request(vec![asks("Hi")]);
    assert_eq!(refused(&Request { choices: Some(2), ..base() }).param, "n");
    assert_eq!(refused(&Request { stop: vec!["x".into()], ..base() }).param, "stop");
    let hosted = Tool::Hosted {
        kind: "web_search_20250305".into(),
        raw: raw(&json!({"type": "web_search_20250305"})),
    };
    assert_eq!(refused(&Request { tools: vec![hosted], ..base() }).param, "tools");
    let extra = vec![("modalities".to_owned(), raw(&json!(["audio"])))];
    assert_eq!(refused(&Request { extra, ..base() }).param, "modalities");
    let orphan = request(vec![turn(Role::Tool, vec![result("c9", "x")])]);
    assert!(refused(&orphan).message.contains("c9"));
    let unanswered = request(vec![turn(Role::Assistant, vec![call("c8", "f", "{}")]), asks("?")]);
    assert!(refused(&unanswered).message.contains("c8"));
    let sound = Part::Media(Media {
        kind: MediaKind::Audio,
        source: MediaSource::Base64("AAAA".into()),
        mime: None,
        name: None,
        detail: None,
        cache: None,
        extra: Vec::new(),
    });
    assert!(refused(&request(vec![turn(Role::User, vec![sound])])).message.contains("audio"));
}

#[test]
fn thinking_becomes_effort_and_summary() {
    let thinking = |thinking: Thinking| {
        write(&Request { thinking: Some(thinking), ..request(vec![asks("Hi")]) }).0["reasoning"].clone()
    };
    let of = |text: &str| Some(text.to_owned());
    assert_eq!(
        thinking(Thinking { effort: of("xhigh"), show: of("auto"), ..Thinking::default() }),
        json!({"effort": "xhigh", "summary": "auto"})
    );
    assert_eq!(
        thinking(Thinking { budget: Some(1024), mode: of("enabled"), ..Thinking::default() }),
        json!({"effort": "low", "summary": "auto"})
    );
    assert_eq!(
        thinking(Thinking {
            budget: Some(30_000),
            show: of("omitted"),
            mode: of("enabled"),
            ..Thinking::default()
        }),
        json!({"effort": "high"})
    );
    assert_eq!(thinking(Thinking { mode: of("disabled"), ..Thinking::default() }), json!({"effort": "none"}));
    assert_eq!(thinking(Thinking { budget: Some(0), ..Thinking::default() }), json!({"effort": "none"}));
    assert_eq!(
        thinking(Thinking { budget: Some(-1), show: of("true"), ..Thinking::default() }),
        json!({"summary": "auto"})
    );
}

#[test]
fn tools_choices_and_formats_are_flat() {
    let mut asked = request(vec![asks("Hi")]);
    asked.tools = vec![
        Tool::Function {
            name: "f".into(),
            description: Some("d".into()),
            parameters: None,
            strict: None,
            cache: None,
        },
        Tool::Custom {
            name: "g".into(),
            description: None,
            format: Some(raw(&json!(
            {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: X"}}))),
        },
    ];
    asked.tool_choice = Some(ToolChoice::Allowed { names: vec!["g".into()], required: false });
    asked.format = Format::Schema { name: None, description: None, schema: raw(&schema()), strict: None };
    asked.top_logprobs = Some(2);
    let (body, _) = write(&asked);
    assert_eq!(
        body["tools"],
        json!([
            {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object", "properties": {}},
             "strict": false},
            {"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}}
        ])
    );
    assert_eq!(
        body["tool_choice"],
        json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "g"}]})
    );
    assert_eq!(
        body["text"],
        json!({"format": {"type": "json_schema", "name": "answer", "schema": schema()}})
    );
    assert_eq!(body["include"], json!(["reasoning.encrypted_content", "message.output_text.logprobs"]));
    asked.tool_choice = Some(ToolChoice::One { name: "f".into(), kind: ToolKind::Function });
    assert_eq!(write(&asked).0["tool_choice"], json!({"type": "function", "name": "f"}));
}

#[test]
fn results_keep_media_and_marks() {
    let mark = Some(CacheMark { ttl: Some("1h".into()) });
    let image = Part::Media(Media {
        kind: MediaKind::Image,
        source: MediaSource::Base64("/9j/AA==".into()),
        mime: None,
        name: None,
        detail: None,
        cache: None,
        extra: Vec::new(),
    });
    let results = vec![
        Part::ToolResult(ToolResult {
            call_id: "c1".into(),
            parts: vec![Part::text("x"), image],
            is_error: true,
            ..ToolResult::default()
        }),
        Part::ToolResult(ToolResult {
            call_id: "c2".into(),
            parts: vec![Part::text("y")],
            cache: mark,
            ..ToolResult::default()
        }),
    ];
    let long = "c".repeat(70);
    let mut asked = request(vec![
        turn(Role::Assistant, vec![call("c1", "f", "{}"), call("c2", "f", "{}"), call(&long, "f", "{}")]),
        turn(Role::Tool, results),
        turn(Role::Tool, vec![result(&long, "z")]),
    ]);
    asked.previous = Some("resp_1".into());
    let (body, dropped) = write(&asked);
    assert_eq!(dropped, ["is_error", "cache_control"]);
    assert_eq!(
        body["input"][3]["output"],
        json!([
            {"type": "input_text", "text": "x"},
            {"type": "input_image", "detail": "auto", "image_url": "data:image/jpeg;base64,/9j/AA=="}
        ])
    );
    assert_eq!(
        body["input"][4]["output"],
        json!([
        {"type": "input_text", "text": "y", "prompt_cache_breakpoint": {"mode": "explicit"}}])
    );
    assert_eq!(body["input"][2]["call_id"], body["input"][5]["call_id"]);
    assert_eq!(body["input"][5]["call_id"], "call_2");
}
