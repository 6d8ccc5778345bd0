//! What providers get.

use super::*;
use crate::blocks::{
    CacheMark, Format, Media, MediaKind, MediaSource, Opaque, OpaqueKind, Part, Raw, Reasoning, Role,
    Thinking, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};

fn turn(role: Role, parts: Vec<Part>) -> Turn {
    Turn { role, parts, name: None }
}

fn says(role: Role, text: &str) -> Turn {
    turn(role, vec![Part::text(text)])
}

fn asks(turns: Vec<Turn>) -> Request {
    Request { model: "x".into(), turns, ..Request::default() }
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        ..ToolCall::default()
    })
}

fn result(id: &str, text: &str) -> Turn {
    let result = ToolResult { call_id: id.into(), parts: vec![Part::text(text)], ..ToolResult::default() };
    turn(Role::Tool, vec![Part::ToolResult(result)])
}

fn function(name: &str, parameters: Option<&str>) -> Tool {
    Tool::Function {
        name: name.into(),
        description: None,
        parameters: parameters.and_then(Raw::parse),
        strict: None,
        cache: None,
    }
}

fn refused(request: &Request, model: &str) -> (String, String) {
    let refused = write_request(request, &target(model)).unwrap_err();
    (refused.param, refused.message)
}

#[test]
fn the_version_follows_the_sampling() {
    let mut request = asks(vec![says(Role::User, "hi")]);
    let version = |request: &Request, model: &str| {
        let (body, written) = sent(request, model);
        let version =
            written.headers.iter().find(|(name, _)| *name == "anthropic-version").unwrap().1.clone();
        (version, body["temperature"].clone(), dropped(&written).join(","))
    };
    assert_eq!(version(&request, "claude-sonnet-4-6"), ("2026-10-21".into(), Value::Null, String::new()));
    request.temperature = Raw::parse("0.50");
    assert_eq!(version(&request, "claude-sonnet-4-6"), ("2023-06-01".into(), json!(0.5), String::new()));
    assert_eq!(version(&request, "claude-opus-5"), ("2026-10-21".into(), Value::Null, "temperature".into()));
    assert_eq!(version(&request, "deepseek-chat").0, "2023-06-01");
    request.temperature = Raw::parse("1.7");
    request.top_p = Raw::parse("0.9");
    request.top_k = Raw::parse("5");
    let told = version(&request, "claude-sonnet-4-5");
    assert_eq!(told, ("2023-06-01".into(), json!(1), "temperature,top_p".into()));
    assert_eq!(version(&request, "claude-opus-4-7").2, "temperature,top_p,top_k");
}

#[test]
fn thinking_is_said_as_the_family_takes_it() {
    let think = |model: &str, thinking: Thinking, max: Option<u64>| {
        let mut request = asks(vec![says(Role::User, "hi")]);
        request.thinking = Some(thinking);
        request.max_output = max;
        let (body, written) = sent(&request, model);
        let said = dropped(&written).join(",");
        (body["thinking"].clone(), body["output_config"]["effort"].clone(), body["max_tokens"].clone(), said)
    };
    let effort = |effort: &str| Thinking { effort: Some(effort.into()), ..Thinking::default() };
    let none = Value::Null;
    let adaptive = json!({"type": "adaptive"});
    assert_eq!(
        think("claude-opus-5", effort("high"), Some(100)),
        (adaptive.clone(), json!("high"), json!(100), String::new())
    );
    assert_eq!(think("claude-sonnet-4-6", effort("xhigh"), None).1, "high");
    assert_eq!(think("claude-sonnet-4-6", effort("minimal"), None).1, "low");
    assert_eq!(think("claude-opus-4-7", effort("max"), None).1, "max");
    // A budget for the old ones, with room for the answer above it.
    assert_eq!(
        think("claude-sonnet-4-5", effort("medium"), Some(1000)),
        (json!({"type": "enabled", "budget_tokens": 8192}), none.clone(), json!(9192), String::new())
    );
    let (thinking, _, max, _) = think("claude-opus-4-1", effort("max"), None);
    assert!(thinking["budget_tokens"].as_u64() < max.as_u64());
    // Budgets become levels for the new ones.
    let budget = |budget| Thinking { budget: Some(budget), ..Thinking::default() };
    assert_eq!(think("claude-opus-4-8", budget(10_000), None).1, "medium");
    assert_eq!(
        think("claude-opus-4-8", budget(-1), None),
        (adaptive, none.clone(), json!(128_000), String::new())
    );
    // Off.
    assert_eq!(think("claude-opus-4-8", effort("none"), None).0, none);
    assert_eq!(think("claude-opus-5", effort("none"), None).0, json!({"type": "disabled"}));
    assert_eq!(think("claude-sonnet-5-5", budget(0), None).0, json!({"type": "between_tools"}));
    let (thinking, low, _, said) = think("claude-opus-5-5", effort("none"), None);
    assert_eq!((thinking, low, said.as_str()), (none.clone(), json!("low"), "reasoning_effort"));
    assert_eq!(think("claude-3-5-haiku", effort("high"), None).3, "reasoning_effort");
    let shown = Thinking { show: Some("detailed".into()), effort: Some("low".into()), ..Thinking::default() };
    assert_eq!(think("claude-opus-5", shown, None).0, json!({"type": "adaptive", "display": "summarized"}));
}

#[test]
fn a_forced_tool_stops_the_thinking() {
    let mut request = asks(vec![says(Role::User, "hi")]);
    request.tools = vec![function("f", None)];
    request.tool_choice = Some(ToolChoice::Required);
    request.thinking = Some(Thinking { effort: Some("high".into()), ..Thinking::default() });
    let (body, written) = sent(&request, "claude-sonnet-4-6");
    assert_eq!((&body["thinking"], &body["tool_choice"]), (&Value::Null, &json!({"type": "any"})));
    assert_eq!(dropped(&written), ["reasoning_effort"]);
    assert_eq!(sent(&request, "claude-opus-5").0["thinking"], json!({"type": "disabled"}));
    assert_eq!(refused(&request, "claude-opus-5-5").0, "tool_choice");
    // Where thinking cannot be turned off, or nobody asked, nothing is said of it.
    assert_eq!(sent(&request, "claude-fable-5").0["output_config"]["effort"], "high");
    let asked = request.thinking.take();
    assert_eq!(sent(&request, "deepseek-chat").0["thinking"], Value::Null);
    assert_eq!(sent(&request, "claude-opus-5").0["thinking"], json!({"type": "disabled"}));
    request.thinking = asked;
    request.tools.clear();
    assert_eq!(refused(&request, "claude-sonnet-4-6").0, "tool_choice");
}

#[test]
fn tools_are_made_fit() {
    let mut request = asks(vec![says(Role::User, "hi")]);
    request.tools = vec![
        function("a.b", None),
        function("c", Some(r#"{"properties":{}}"#)),
        function("d", Some("{}")),
        function("e", Some(r#"{"type":"object","$defs":{"x":{"maximum":1.0}}}"#)),
    ];
    request.parallel_tools = Some(false);
    let (body, _) = sent(&request, "claude-opus-5");
    assert_eq!(
        body["tools"][0],
        json!({"name": "tgx_a_2Eb", "input_schema": {"type": "object", "properties": {}}})
    );
    assert_eq!(body["tools"][1]["input_schema"], json!({"type": "object", "properties": {}}));
    assert_eq!(body["tools"][2]["input_schema"], json!({"type": "object"}));
    assert_eq!(body["tool_choice"], json!({"type": "auto", "disable_parallel_tool_use": true}));
    request.tool_choice = Some(ToolChoice::Allowed { names: vec!["d".into()], required: true });
    let (body, _) = sent(&request, "claude-opus-5");
    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
    assert_eq!(body["tool_choice"]["type"], "any");
    for tool in [
        function("f", Some(r#"{"type":"string"}"#)),
        function("", None),
        Tool::Custom { name: "x".into(), description: None, format: None },
        Tool::Hosted { kind: "web_search".into(), raw: Raw::parse(r#"{"type":"web_search"}"#).unwrap() },
    ] {
        request.tools = vec![tool];
        request.tool_choice = None;
        assert_eq!(refused(&request, "claude-opus-5").0, "tools");
    }
}

#[test]
fn results_stand_first_in_one_message() {
    let failed = ToolResult { call_id: "c 2".into(), is_error: true, ..ToolResult::default() };
    let request = asks(vec![
        says(Role::System, "S"),
        says(Role::Developer, "D"),
        says(Role::User, "one"),
        says(Role::User, "  "),
        says(Role::User, "two"),
        turn(Role::Assistant, vec![Part::text(""), call("c1", "f", ""), call("c 2", "f", "{broken")]),
        result("c1", "r1"),
        says(Role::User, "and"),
        turn(Role::Tool, vec![Part::ToolResult(failed)]),
        says(Role::Assistant, "done"),
        says(Role::User, "thanks"),
    ]);
    let (body, written) = sent(&request, "claude-opus-4-6");
    assert_eq!(dropped(&written), [""; 0]);
    assert_eq!(body["system"], json!([{"type": "text", "text": "S"}, {"type": "text", "text": "D"}]));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
                {"type": "tool_use", "id": "tgx_c_202", "name": "f", "input": {"INVALID_JSON": "{broken"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "r1"},
                {"type": "tool_result", "tool_use_id": "tgx_c_202", "is_error": true},
                {"type": "text", "text": "and"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "done"}]},
            {"role": "user", "content": [{"type": "text", "text": "thanks"}]}
        ])
    );
}

#[test]
fn orphans_are_refused_by_name() {
    let user = || says(Role::User, "x");
    let calls = || turn(Role::Assistant, vec![call("lost_1", "f", "{}")]);
    for turns in [
        vec![user(), calls()],
        vec![user(), calls(), user()],
        vec![user(), result("lost_1", "r")],
        vec![user(), calls(), result("lost_1", "r"), result("lost_1", "r")],
        vec![user(), calls(), says(Role::Assistant, "y"), user(), result("lost_1", "r"), calls()],
    ] {
        let (param, message) = refused(&asks(turns), "claude-opus-4-6");
        assert_eq!(param, "messages");
        assert!(message.contains("lost_1"), "{message}");
    }
}

#[test]
fn later_instructions_keep_their_place_where_they_can() {
    let request = asks(vec![
        says(Role::System, "A"),
        says(Role::User, "one"),
        says(Role::System, "B"),
        says(Role::Assistant, "two"),
        says(Role::User, "three"),
    ]);
    let (body, written) = sent(&request, "claude-opus-4-8");
    assert_eq!(dropped(&written), [""; 0]);
    assert_eq!(body["system"], "A");
    assert_eq!(body["messages"][1], json!({"role": "system", "content": "B"}));
    let (body, written) = sent(&request, "claude-opus-4-6");
    assert_eq!(dropped(&written), ["system"]);
    assert_eq!(body["system"], json!([{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]));
    assert_eq!(body["messages"].as_array().unwrap().len(), 3);
}

#[test]
fn words_to_go_on_from_are_for_the_families_that_do() {
    let request = asks(vec![says(Role::User, "one"), says(Role::Assistant, "The answer is ( \n")]);
    let (body, _) = sent(&request, "claude-sonnet-4-5");
    assert_eq!(body["messages"][1]["content"][0]["text"], "The answer is (");
    assert_eq!(refused(&request, "claude-sonnet-4-6").0, "messages");
}

#[test]
fn signatures_go_to_their_issuer_alone() {
    let thought = |provider: &str, kind| {
        Part::Reasoning(Reasoning {
            text: "t".into(),
            opaque: Some(Opaque {
                issuer: Issuer { dialect: Dialect::Messages, provider: provider.into() },
                kind,
                data: "sig".into(),
            }),
            ..Reasoning::default()
        })
    };
    let parts = vec![
        thought("anthropic", OpaqueKind::Signature),
        thought("", OpaqueKind::Redacted),
        thought("other", OpaqueKind::Signature),
        Part::text("a"),
    ];
    let request = asks(vec![says(Role::User, "x"), turn(Role::Assistant, parts), says(Role::User, "y")]);
    let (body, written) = sent(&request, "claude-opus-5");
    assert_eq!(dropped(&written), ["reasoning"]);
    assert_eq!(
        body["messages"][1]["content"],
        json!([{"type": "thinking", "thinking": "t", "signature": "sig"},
               {"type": "redacted_thinking", "data": "sig"}, {"type": "text", "text": "a"}])
    );
    // Servers of others want their unsigned thoughts back.
    let bare = Part::Reasoning(Reasoning { text: "t".into(), ..Reasoning::default() });
    let request = asks(vec![
        says(Role::User, "x"),
        turn(Role::Assistant, vec![bare, Part::text("a")]),
        says(Role::User, "y"),
    ]);
    assert_eq!(sent(&request, "deepseek-reasoner").0["messages"][1]["content"][0]["type"], "thinking");
    assert_eq!(dropped(&sent(&request, "claude-opus-5").1), ["reasoning"]);
}

#[test]
fn an_unsigned_step_under_way_stops_the_budget() {
    let mut request = asks(vec![
        says(Role::User, "x"),
        turn(Role::Assistant, vec![call("a", "f", "{}")]),
        result("a", "r"),
    ]);
    request.tools = vec![function("f", None)];
    request.thinking = Some(Thinking { effort: Some("high".into()), ..Thinking::default() });
    let (body, written) = sent(&request, "claude-sonnet-4-5");
    assert_eq!((&body["thinking"], dropped(&written)), (&Value::Null, vec!["reasoning_effort"]));
    assert_eq!(sent(&request, "claude-opus-4-6").0["thinking"]["type"], "adaptive");
}

#[test]
fn media_are_said_or_refused() {
    let media = |kind, source, mime: Option<&str>| Media {
        kind,
        source,
        mime: mime.map(str::to_owned),
        name: Some("a.txt".into()),
        detail: Some("high".into()),
        cache: None,
        extra: Vec::new(),
    };
    let base64 = |text: &str| MediaSource::Base64(text.into());
    let ask = |media| asks(vec![turn(Role::User, vec![Part::Media(media)])]);
    let block = |media| sent(&ask(media), "claude-opus-5").0["messages"][0]["content"][0].clone();
    assert_eq!(
        block(media(MediaKind::Image, base64("/9j/AAAA"), None)),
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/AAAA"}})
    );
    assert_eq!(
        block(media(MediaKind::File, base64("aGkg4oKs"), Some("text/markdown; charset=utf-8"))),
        json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi €"}, "title": "a.txt"})
    );
    let (_, written) =
        sent(&ask(media(MediaKind::Image, MediaSource::Url("https://x".into()), None)), "claude-opus-5");
    assert_eq!(dropped(&written), ["detail", "filename"]);
    for media in [
        media(MediaKind::Audio, base64("AAAA"), Some("audio/wav")),
        media(MediaKind::Video, MediaSource::Url("https://x".into()), None),
        media(MediaKind::Image, base64("AAAA"), Some("image/tiff")),
        media(MediaKind::File, base64("AAAA"), Some("application/zip")),
        media(MediaKind::File, MediaSource::FileId("file-openai".into()), None),
    ] {
        assert_eq!(refused(&ask(media), "claude-opus-5").0, "messages");
    }
}

#[test]
fn what_has_no_place_is_reported_or_refused() {
    let mut request = asks(vec![says(Role::User, "hi")]);
    request.seed = Raw::parse("1");
    request.presence_penalty = Raw::parse("0");
    request.frequency_penalty = Raw::parse("0.1");
    request.service_tier = Some("flex".into());
    request.verbosity = Some("low".into());
    request.store = Some(false);
    request.end_user = Some("u".into());
    request.extra = vec![
        ("prediction".into(), Raw::parse("{}").unwrap()),
        ("context_management".into(), Raw::parse("[]").unwrap()),
        ("speed".into(), Raw::parse("\"fast\"").unwrap()),
    ];
    let (body, written) = sent(&request, "claude-opus-5");
    assert_eq!(
        dropped(&written),
        ["service_tier", "seed", "frequency_penalty", "verbosity", "prediction", "context_management"]
    );
    assert_eq!((&body["metadata"], &body["speed"]), (&json!({"user_id": "u"}), &json!("fast")));
    let refuse = |param: &str, change: &dyn Fn(&mut Request)| {
        let mut request = asks(vec![says(Role::User, "hi")]);
        change(&mut request);
        assert_eq!(refused(&request, "claude-opus-5").0, param);
    };
    refuse("n", &|request| request.choices = Some(2));
    refuse("logprobs", &|request| request.logprobs = Some(true));
    refuse("response_format", &|request| request.format = Format::Json);
    refuse("previous_response_id", &|request| request.previous = Some("r".into()));
    refuse("stop", &|request| request.stop = vec!["\n".into()]);
    refuse("modalities", &|request| {
        request.extra.push(("modalities".into(), Raw::parse(r#"["text","audio"]"#).unwrap()));
    });
    refuse("messages", &|request| request.turns = vec![says(Role::User, " ")]);
}

#[test]
fn marks_beyond_four_are_left_out_from_the_front() {
    let marked = |text: &str| Part::Text {
        text: text.into(),
        citations: Vec::new(),
        opaque: None,
        cache: Some(CacheMark { ttl: Some("30m".into()) }),
    };
    let request = asks(vec![turn(Role::User, (0..6).map(|n| marked(&format!("t{n}"))).collect())]);
    let (body, written) = sent(&request, "claude-opus-5");
    let content = body["messages"][0]["content"].as_array().unwrap();
    let marks: Vec<bool> = content.iter().map(|block| block.get("cache_control").is_some()).collect();
    assert_eq!(marks, [false, false, true, true, true, true]);
    assert_eq!(content[5]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(dropped(&written), ["cache_control"]);
}

#[test]
fn custom_calls_of_earlier_turns_are_wrapped() {
    let call = ToolCall {
        id: "a".into(),
        name: "sh".into(),
        arguments: "ls \"x\"".into(),
        kind: ToolKind::Custom,
        ..ToolCall::default()
    };
    let request = asks(vec![
        says(Role::User, "x"),
        turn(Role::Assistant, vec![Part::ToolCall(call)]),
        result("a", "r"),
    ]);
    let (body, _) = sent(&request, "claude-opus-5");
    assert_eq!(body["messages"][1]["content"][0]["input"], json!({"input": "ls \"x\""}));
}
