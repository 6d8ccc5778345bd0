//! `read_request`.

use super::*;

fn whole() -> Value {
    json!({
        "model": "gpt-x", "stream": true, "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "Weather?"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "S"}],
             "content": [{"type": "reasoning_text", "text": "T"}], "encrypted_content": "ENC"},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "commentary",
             "content": [{"type": "output_text", "text": "I look.", "annotations": [
                {"type": "url_citation", "url": "https://x", "title": "X", "start_index": 0, "end_index": 1}]}]},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather",
             "arguments": "{\"n\":12345678901234567890}", "status": "completed"},
            {"type": "custom_tool_call", "call_id": "call_2", "name": "shell", "input": "ls"},
            {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
            {"type": "custom_tool_call_output", "call_id": "call_2", "output": [
                {"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:image/png;base64,aW1n"}]},
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
            {"role": "developer", "content": [{"type": "input_text", "text": "Now in French.",
             "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}]}
        ],
        "tools": [
            {"type": "function", "name": "weather", "parameters": schema(), "strict": true, "defer_loading": true},
            {"type": "custom", "name": "shell", "format": {"type": "text"}},
            {"type": "web_search"}
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [
            {"type": "function", "name": "weather"}, {"type": "custom", "name": "shell"}]},
        "parallel_tool_calls": false, "max_output_tokens": 100, "temperature": 1.0, "top_p": 0.50,
        "top_logprobs": 3, "include": ["reasoning.encrypted_content", "message.output_text.logprobs",
                                       "web_search_call.action.sources"],
        "reasoning": {"effort": "high", "summary": "detailed", "mode": "pro"},
        "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "a", "schema": schema(), "strict": true}},
        "metadata": {"k": "v"}, "service_tier": "flex", "prompt_cache_key": "p", "store": true,
        "safety_identifier": "me", "user": "old me", "previous_response_id": "resp_0",
        "truncation": "auto", "max_tool_calls": 3, "background": false, "unheard_of": [1],
        "stream_options": {"include_obfuscation": false}
    })
}

#[test]
fn every_field_is_in_the_form_or_extra() {
    let request = read(&whole());
    let roles: Vec<Role> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(
        roles,
        [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Assistant, Role::Developer]
    );
    let Part::Reasoning(thought) = &request.turns[2].parts[0] else { panic!() };
    assert_eq!((thought.id.as_deref(), thought.text.as_str()), (Some("rs_1"), "T"));
    assert_eq!(thought.summary, ["S"]);
    assert_eq!(thought.opaque.as_ref().map(|opaque| opaque.data.as_str()), Some("ENC"));
    let Part::Text { citations, .. } = &request.turns[2].parts[1] else { panic!() };
    assert_eq!(citations.len(), 1);
    let Part::ToolCall(call) = &request.turns[2].parts[2] else { panic!() };
    assert_eq!((call.id.as_str(), call.item_id.as_deref()), ("call_1", Some("fc_1")));
    assert_eq!(call.arguments, "{\"n\":12345678901234567890}");
    let Part::ToolCall(call) = &request.turns[2].parts[3] else { panic!() };
    assert_eq!((&call.kind, call.arguments.as_str()), (&ToolKind::Custom, "ls"));
    let Part::ToolResult(result) = &request.turns[3].parts[1] else { panic!() };
    assert_eq!((result.name.as_deref(), result.parts.len()), (Some("shell"), 2));
    let Part::Unknown { kind, .. } = &request.turns[4].parts[0] else { panic!() };
    assert_eq!(kind, "web_search_call");
    let Part::Text { cache, .. } = &request.turns[5].parts[0] else { panic!() };
    assert_eq!(cache, &Some(CacheMark { ttl: Some("30m".into()) }));

    assert_eq!(request.tools.len(), 3);
    assert_eq!(
        request.tool_choice,
        Some(ToolChoice::Allowed { names: vec!["weather".into(), "shell".into()], required: true })
    );
    assert_eq!(request.temperature.as_ref().map(Raw::get), Some("1.0"));
    assert_eq!(
        (request.max_output, request.top_logprobs, request.logprobs),
        (Some(100), Some(3), Some(true))
    );
    assert_eq!((request.store, request.parallel_tools), (Some(true), Some(false)));
    assert_eq!((request.end_user.as_deref(), request.verbosity.as_deref()), (Some("me"), Some("low")));
    let thinking = request.thinking.unwrap();
    assert_eq!((thinking.effort.as_deref(), thinking.show.as_deref()), (Some("high"), Some("detailed")));
    let mut names: Vec<&str> = request.extra.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "background",
            "include",
            "input.phase",
            "max_tool_calls",
            "reasoning.mode",
            "stream_options.include_obfuscation",
            "tools.defer_loading",
            "truncation",
            "unheard_of",
            "user"
        ]
    );
}

#[test]
fn what_was_read_is_written_again() {
    let mut asked = whole();
    let (body, mut dropped) = write(&read(&asked));
    dropped.sort();
    assert_eq!(dropped, ["input.phase", "tools.defer_loading", "unheard_of"]);
    asked["model"] = json!("gpt-up");
    for member in [
        "instructions",
        "tool_choice",
        "parallel_tool_calls",
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_logprobs",
        "reasoning",
        "text",
        "metadata",
        "service_tier",
        "prompt_cache_key",
        "store",
        "safety_identifier",
        "user",
        "previous_response_id",
        "truncation",
        "max_tool_calls",
        "background",
        "stream_options",
        "stream",
        "model",
    ] {
        assert_eq!(body[member], asked[member], "{member}");
    }
    assert_eq!(
        body["include"],
        json!([
            "reasoning.encrypted_content",
            "web_search_call.action.sources",
            "message.output_text.logprobs"
        ])
    );
    // Once more through the form, nothing changes any more.
    let again = read(&body);
    assert_eq!(write(&again).0, body);
    assert_eq!(
        again.turns,
        read(&asked)
            .turns
            .into_iter()
            .map(|mut turn| {
                for part in &mut turn.parts {
                    // Stored: ids stay, a message's own id does not count.
                    if let Part::Media(media) = part {
                        media.detail = media.detail.clone().or(Some("auto".into()));
                    }
                    if let Part::ToolResult(result) = part {
                        for part in &mut result.parts {
                            if let Part::Media(media) = part {
                                media.detail = Some("auto".into());
                            }
                        }
                    }
                }
                turn
            })
            .collect::<Vec<_>>()
    );
}

#[test]
fn media_are_taken_apart() {
    let request = read(&json!({"model": "m", "input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": "data:image/jpeg;base64,_-8", "detail": "low"},
        {"type": "input_image", "image_url": "https://x/y.png"},
        {"type": "input_image", "file_id": "file_1"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
        {"type": "input_file", "file_url": "https://x/a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        {"type": "input_thing", "thing": 1}
    ]}]}));
    let parts = &request.turns[0].parts;
    let media: Vec<&Media> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Media(media) => Some(media),
            _ => None,
        })
        .collect();
    assert_eq!(media[0].source, MediaSource::Base64("/+8=".into()));
    assert_eq!((media[0].mime.as_deref(), media[0].detail.as_deref()), (Some("image/jpeg"), Some("low")));
    assert_eq!(media[1].source, MediaSource::Url("https://x/y.png".into()));
    assert_eq!(media[2].source, MediaSource::FileId("file_1".into()));
    assert_eq!(
        (media[3].mime.as_deref(), media[3].name.as_deref()),
        (Some("application/pdf"), Some("a.pdf"))
    );
    assert_eq!((media[5].kind, media[5].mime.as_deref()), (MediaKind::Audio, Some("audio/mpeg")));
    assert!(matches!(&parts[6], Part::Unknown { kind, .. } if kind == "input_thing"));
}

#[test]
fn wrong_shapes_name_the_parameter() {
    for (body, param, code) in [
        (json!({"input": "a"}), Some("model"), "missing_required_parameter"),
        (json!({"model": 1}), Some("model"), "invalid_type"),
        (json!({"model": "m", "input": 5}), Some("input"), "invalid_type"),
        (json!({"model": "m", "input": ["a"]}), Some("input"), "invalid_type"),
        (json!({"model": "m", "input": [{}]}), Some("input.type"), "missing_required_parameter"),
        (
            json!({"model": "m", "input": [{"type": "item_reference", "id": "rs_1"}]}),
            Some("input"),
            "invalid_value",
        ),
        (json!({"model": "m", "input": [{"id": "rs_1"}]}), Some("input"), "invalid_value"),
        (
            json!({"model": "m", "input": [{"role": "robot", "content": ""}]}),
            Some("input.role"),
            "invalid_value",
        ),
        (
            json!({"model": "m", "input": [{"type": "function_call", "name": "f"}]}),
            Some("input.call_id"),
            "missing_required_parameter",
        ),
        (json!({"model": "m", "max_output_tokens": -1}), Some("max_output_tokens"), "invalid_type"),
        (json!({"model": "m", "temperature": "1"}), Some("temperature"), "invalid_type"),
        (json!({"model": "m", "tools": {}}), Some("tools"), "invalid_type"),
        (
            json!({"model": "m", "tools": [{"type": "function"}]}),
            Some("tools.name"),
            "missing_required_parameter",
        ),
        (json!({"model": "m", "tool_choice": "maybe"}), Some("tool_choice"), "invalid_value"),
        (
            json!({"model": "m", "text": {"format": {"type": "poem"}}}),
            Some("text.format.type"),
            "invalid_value",
        ),
        (json!({"model": "m", "metadata": []}), Some("metadata"), "invalid_type"),
        (json!([]), None, "invalid_json"),
    ] {
        let error = read_request(body.to_string().as_bytes()).unwrap_err();
        assert_eq!((error.param, error.code), (param, Some(code)), "{body}");
        assert!(
            param.is_none_or(|param| error.message.contains(param.split('.').next_back().unwrap())),
            "{error}"
        );
    }
    assert_eq!(read_request(b"{\"model\":").unwrap_err().code, Some("invalid_json"));
    assert_eq!(
        read_request(b"{\"model\":\"a\",\"mod\\u0065l\":\"b\"}").unwrap_err().code,
        Some("duplicate_parameter")
    );
}

#[test]
fn null_counts_as_absent() {
    let request = read(
        &json!({"model": "m", "input": "Hi", "instructions": null, "tools": null, "text": null,
        "reasoning": null, "temperature": null, "store": null, "include": null, "metadata": null, "other": null}),
    );
    assert_eq!(request, read(&json!({"model": "m", "input": "Hi"})));
}

#[test]
fn a_capsule_is_opened_and_a_carried_signature_goes_back_to_its_call() {
    let thought = sealed(Dialect::Messages, OpaqueKind::Signature, "SIG");
    let call = sealed(Dialect::Gemini, OpaqueKind::ThoughtSignature, "TS");
    let request = read(&json!({"model": "m", "input": [
        {"type": "reasoning", "id": "rs_a_0", "summary": [], "content": [{"type": "reasoning_text", "text": "T"}],
         "encrypted_content": thought.capsule()},
        {"type": "function_call", "id": "fc_a_1", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "id": "fc_a_2", "call_id": "c2", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "id": "rs_a_3_of_fc_a_1", "summary": [], "encrypted_content": call.capsule()},
        {"type": "function_call_output", "call_id": "c1", "output": ""},
        {"type": "function_call_output", "call_id": "c2", "output": ""}
    ]}));
    let parts = &request.turns[0].parts;
    assert_eq!(parts.len(), 3);
    assert!(
        matches!(&parts[0], Part::Reasoning(Reasoning { opaque: Some(opaque), .. }) if *opaque == thought)
    );
    assert!(matches!(&parts[1], Part::ToolCall(ToolCall { opaque: Some(opaque), .. }) if *opaque == call));
    assert!(matches!(&parts[2], Part::ToolCall(ToolCall { opaque: None, .. })));
}

#[test]
fn twenty_megabytes_are_read_in_one_go() {
    let data = "QUJD".repeat(5 << 20);
    let body = json!({"model": "m", "input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": format!("data:image/png;base64,{data}")}]}]});
    let request = read(&body);
    let (written, _) = write(&request);
    assert_eq!(written["input"][0]["content"][0]["image_url"], body["input"][0]["content"][0]["image_url"]);
    // Many members of an object: no comparing of each with each.
    let members: String = (0..200_000).map(|number| format!(",\"k{number}\":1")).collect();
    let request = read_request(format!("{{\"model\":\"m\"{members}}}").as_bytes()).unwrap();
    assert_eq!(request.extra.len(), 200_000);
}
