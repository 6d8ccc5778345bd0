//! What providers are asked.

use serde_json::json;

use super::*;
use crate::blocks::{
    CacheMark, Format, Media, MediaKind, MediaSource, Opaque, OpaqueKind, Raw, Reasoning, Role, Thinking,
    Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};

fn turn(role: Role, parts: Vec<Part>) -> Turn {
    Turn { role, parts, name: None }
}

fn asked(parts: Vec<Part>) -> Request {
    Request { turns: vec![turn(Role::User, parts)], ..Request::default() }
}

fn call(id: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall {
        id: id.into(),
        name: "look".into(),
        arguments: arguments.into(),
        ..ToolCall::default()
    })
}

fn result(id: &str, text: &str, is_error: bool) -> Part {
    Part::ToolResult(ToolResult {
        call_id: id.into(),
        parts: vec![Part::text(text)],
        is_error,
        ..ToolResult::default()
    })
}

fn media(kind: MediaKind, source: MediaSource) -> Media {
    Media { kind, source, mime: None, name: None, detail: None, cache: None, extra: Vec::new() }
}

#[test]
fn a_tool_conversation_of_another_dialect() {
    let request = Request {
        turns: vec![
            turn(Role::System, vec![Part::text("Rules")]),
            turn(Role::User, vec![Part::text("Go")]),
            turn(Role::Assistant, vec![Part::text("ok"), call("c1", ""), call("c2", "not json")]),
            turn(Role::Tool, vec![result("c1", "sunny", false), result("c2", "boom", true)]),
            turn(Role::Developer, vec![Part::text("More rules")]),
            turn(Role::User, vec![Part::text("And?")]),
            turn(Role::Assistant, vec![call("c3", r#"{"a":12345678901234567890123}"#)]),
            turn(Role::Tool, vec![result("c3", r#" {"b": [1]} "#, false)]),
        ],
        tools: vec![Tool::Function {
            name: "look".into(),
            description: Some("looks".into()),
            parameters: Raw::parse(r#"{"type":"object","additionalProperties":false}"#),
            strict: Some(true),
            cache: Some(CacheMark { ttl: None }),
        }],
        tool_choice: Some(ToolChoice::One { name: "look".into(), kind: ToolKind::Function }),
        ..Request::default()
    };
    let written = write_request(&request, &target("gemini-3.1-pro-preview")).unwrap();
    assert_eq!(
        String::from_utf8(written.body).unwrap(),
        concat!(
            r#"{"systemInstruction":{"parts":[{"text":"Rules"},{"text":"More rules"}]},"contents":["#,
            r#"{"role":"user","parts":[{"text":"Go"}]},"#,
            r#"{"role":"model","parts":[{"text":"ok"},"#,
            r#"{"functionCall":{"id":"c1","name":"look","args":{}},"thoughtSignature":"skip_thought_signature_validator"},"#,
            r#"{"functionCall":{"id":"c2","name":"look","args":{"input":"not json"}}}]},"#,
            r#"{"role":"user","parts":[{"functionResponse":{"id":"c1","name":"look","response":{"result":"sunny"}}},"#,
            r#"{"functionResponse":{"id":"c2","name":"look","response":{"error":"boom"}}},{"text":"And?"}]},"#,
            r#"{"role":"model","parts":[{"functionCall":{"id":"c3","name":"look","args":{"a":12345678901234567890123}},"thoughtSignature":"skip_thought_signature_validator"}]},"#,
            r#"{"role":"user","parts":[{"functionResponse":{"id":"c3","name":"look","response":{"b": [1]}}}]}],"#,
            r#""tools":[{"functionDeclarations":[{"name":"look","description":"looks","parametersJsonSchema":{"type":"object","additionalProperties":false}}]}],"#,
            r#""toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["look"]}}}"#
        )
    );
    let dropped: Vec<_> = written.dropped.iter().map(|param| param.0.as_str()).collect();
    assert_eq!(dropped, ["system", "strict", "cache_control"]);
    let (body, _) = write(&request, "gemini-2.5-flash");
    assert!(!body.to_string().contains("thoughtSignature"), "2.5 checks none");
}

#[test]
fn each_step_begins_with_a_signature() {
    let mut request = asked(vec![Part::text("a")]);
    request.turns.push(turn(Role::Assistant, vec![Part::text("I look")]));
    request.turns.push(turn(Role::Assistant, vec![call("c", "{}")]));
    request.turns.push(turn(Role::Assistant, vec![call("d", "{}")]));
    request.turns.push(turn(Role::Tool, vec![result("c", "1", false), result("d", "2", false)]));
    request.turns.push(turn(Role::Assistant, vec![call("e", "{}")]));
    let (body, _) = write(&request, "gemini-3-flash");
    let signed = |content: usize, part: usize| {
        body["contents"][content]["parts"][part]["thoughtSignature"].is_string()
    };
    assert_eq!([signed(1, 0), signed(1, 1), signed(1, 2), signed(3, 0)], [false, true, false, true]);
}

#[test]
fn signatures_go_to_their_issuer_alone() {
    let opaque = |dialect, provider: &str| {
        let issuer = Issuer { dialect, provider: provider.into() };
        Some(Opaque { issuer, kind: OpaqueKind::ThoughtSignature, data: "QUJD".into() })
    };
    let with = |opaque: Option<Opaque>| Request {
        turns: vec![
            turn(Role::User, vec![Part::text("a")]),
            turn(
                Role::Assistant,
                vec![
                    Part::Reasoning(Reasoning {
                        text: "t".into(),
                        opaque: opaque.clone(),
                        ..Reasoning::default()
                    }),
                    Part::Text { text: "b".into(), citations: vec![], opaque: opaque.clone(), cache: None },
                    Part::ToolCall(ToolCall {
                        id: "c".into(),
                        name: "f".into(),
                        opaque,
                        ..ToolCall::default()
                    }),
                ],
            ),
        ],
        ..Request::default()
    };
    for own in [opaque(Dialect::Gemini, ""), opaque(Dialect::Gemini, "google")] {
        let (body, dropped) = write(&with(own), "gemini-3-flash");
        assert_eq!(
            body["contents"][1]["parts"],
            json!([{"text":"t","thought":true,"thoughtSignature":"QUJD"},{"text":"b","thoughtSignature":"QUJD"},
                {"functionCall":{"id":"c","name":"f","args":{}},"thoughtSignature":"QUJD"}])
        );
        assert!(dropped.is_empty());
    }
    for foreign in [opaque(Dialect::Messages, "google"), opaque(Dialect::Gemini, "other")] {
        let (body, dropped) = write(&with(foreign), "gemini-2.5-pro");
        assert_eq!(
            body["contents"][1]["parts"],
            json!([{"text":"b"},{"functionCall":{"id":"c","name":"f","args":{}}}])
        );
        assert_eq!(dropped, ["reasoning"]);
    }
}

#[test]
fn media_by_bytes_and_by_address() {
    let mut image = media(MediaKind::Image, MediaSource::Url("https://x.test/A.PNG".into()));
    image.detail = Some("high".into());
    let mut pdf = media(MediaKind::File, MediaSource::Base64("JVBERi0=".into()));
    pdf.name = Some("a.pdf".into());
    pdf.extra.push(("context".into(), Raw::string("c")));
    let text = media(MediaKind::File, MediaSource::Text("plain".into()));
    let sound = media(MediaKind::Audio, MediaSource::Base64("UklGRg==".into()));
    let parts =
        vec![Part::Media(image), Part::Media(pdf), Part::Media(text), Part::Media(sound), Part::text("")];
    let (body, dropped) = write(&asked(parts), "gemini-2.5-flash");
    assert_eq!(
        body["contents"][0]["parts"],
        json!([{"fileData":{"mimeType":"image/png","fileUri":"https://x.test/A.PNG"}},
            {"inlineData":{"mimeType":"application/pdf","data":"JVBERi0="}},{"text":"plain"},
            {"inlineData":{"mimeType":"audio/wav","data":"UklGRg=="}}])
    );
    assert_eq!(dropped, ["detail", "filename", "context"]);
    let foreign = asked(vec![Part::Media(media(MediaKind::File, MediaSource::FileId("file-1".into())))]);
    assert_eq!(write_request(&foreign, &target("gemini-3-pro")).unwrap_err().param, "file_id");
}

#[test]
fn media_in_results_stand_where_the_family_takes_them() {
    let image = Part::Media(media(MediaKind::Image, MediaSource::Base64("iVBORw0KGgo=".into())));
    let mut request = asked(vec![Part::text("a")]);
    request.turns.push(turn(Role::Assistant, vec![call("c", "{}")]));
    let result =
        ToolResult { call_id: "c".into(), parts: vec![Part::text("see"), image], ..ToolResult::default() };
    request.turns.push(turn(Role::Tool, vec![Part::ToolResult(result)]));
    let blob = json!({"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}});
    let (body, _) = write(&request, "gemini-3-flash");
    assert_eq!(body["contents"][2]["parts"][0]["functionResponse"]["parts"], json!([blob]));
    let (body, _) = write(&request, "gemini-2.5-flash");
    assert_eq!(body["contents"][2]["parts"][1], blob);
    assert_eq!(body["contents"][2]["parts"][0]["functionResponse"]["response"], json!({"result":"see"}));
}

#[test]
fn thinking_by_family() {
    let config = |model: &str, thinking: Thinking, limit: Option<u64>| {
        let mut request = asked(vec![Part::text("a")]);
        request.thinking = Some(thinking);
        request.max_output = limit;
        let (mut body, dropped) = write(&request, model);
        (body["generationConfig"]["thinkingConfig"].take(), dropped)
    };
    let effort = |effort: &str| Thinking { effort: Some(effort.into()), ..Thinking::default() };
    for (model, word, wanted) in [
        ("gemini-3-pro-preview", "none", json!({"thinkingLevel":"LOW"})),
        ("models/gemini-3-flash", "minimal", json!({"thinkingLevel":"MINIMAL"})),
        ("gemini-3.1-pro", "max", json!({"thinkingLevel":"HIGH"})),
        ("gemini-4-argon", "xhigh", json!({"thinkingLevel":"XHIGH"})),
        ("gemini-flash-latest", "medium", json!({"thinkingLevel":"MEDIUM"})),
        ("gemini-2.5-flash", "none", json!({"thinkingBudget":0})),
        ("gemini-2.5-pro", "none", json!({"thinkingBudget":128})),
        ("gemini-2.5-flash", "low", json!({"thinkingBudget":1024})),
        ("gemini-2.5-pro", "max", json!({"thinkingBudget":32768})),
    ] {
        assert_eq!(config(model, effort(word), None), (wanted, vec![]), "{model} {word}");
    }
    assert_eq!(config("gemini-2.5-flash", effort("high"), Some(4000)).0, json!({"thinkingBudget":2000}));
    let off = Thinking { mode: Some("disabled".into()), ..Thinking::default() };
    assert_eq!(config("gemini-2.5-flash", off, None).0, json!({"thinkingBudget":0}));
    let on = Thinking { mode: Some("enabled".into()), budget: Some(2048), ..Thinking::default() };
    assert_eq!(config("gemini-2.5-flash", on, None).0, json!({"thinkingBudget":2048,"includeThoughts":true}));
    assert_eq!(
        config("gemini-2.0-flash", effort("high"), None),
        (Value::Null, vec!["reasoning_effort".to_owned()])
    );
    assert_eq!(config("gemini-2.0-flash", effort("none"), None), (Value::Null, vec![]));
}

#[test]
fn what_cannot_be_said_is_reported_or_refused() {
    let mut request = asked(vec![Part::text("a")]);
    request.logit_bias = Raw::parse("{}");
    request.end_user = Some("u".into());
    request.metadata = Raw::parse("{}");
    request.cache_key = Some("k".into());
    request.verbosity = Some("low".into());
    request.parallel_tools = Some(false);
    request.store = Some(true);
    request.service_tier = Some("scale".into());
    request.turns[0].name = Some("bob".into());
    request.extra.push(("prediction".into(), Raw::string("p")));
    request.extra.push(("modalities".into(), Raw::parse(r#"["text"]"#).unwrap()));
    let (body, dropped) = write(&request, "gemini-3-flash");
    assert_eq!(body, json!({"contents":[{"role":"user","parts":[{"text":"a"}]}]}));
    assert_eq!(
        dropped,
        [
            "name",
            "service_tier",
            "store",
            "logit_bias",
            "user",
            "metadata",
            "prompt_cache_key",
            "verbosity",
            "parallel_tool_calls",
            "prediction"
        ]
    );
    let refused = |change: &dyn Fn(&mut Request)| {
        let mut request = asked(vec![Part::text("a")]);
        change(&mut request);
        write_request(&request, &target("gemini-3-flash")).unwrap_err().param
    };
    assert_eq!(refused(&|request| request.previous = Some("resp_1".into())), "previous_response_id");
    let audio = Raw::parse(r#"["text","audio"]"#).unwrap();
    assert_eq!(refused(&|request| request.extra.push(("modalities".into(), audio.clone()))), "modalities");
    let raw = Raw::parse(r#"{"type":"web_search"}"#).unwrap();
    assert_eq!(
        refused(&|request| request.tools.push(Tool::Hosted { kind: "web_search".into(), raw: raw.clone() })),
        "tools"
    );
    assert_eq!(
        refused(&|request| {
            request.tools.push(Tool::Custom { name: "p".into(), description: None, format: None });
        }),
        "tools"
    );
    assert_eq!(refused(&|request| request.turns.clear()), "messages");
}

#[test]
fn somebody_always_speaks_first() {
    let system = Request { turns: vec![turn(Role::System, vec![Part::text("s")])], ..Request::default() };
    let (body, dropped) = write(&system, "gemini-3-flash");
    assert_eq!(body, json!({"contents":[{"role":"user","parts":[{"text":"s"}]}]}));
    assert_eq!(dropped, ["system"]);
    let greeting =
        vec![turn(Role::Assistant, vec![Part::text("Hi")]), turn(Role::User, vec![Part::text("a")])];
    let (body, _) = write(&Request { turns: greeting, ..Request::default() }, "gemini-3-flash");
    assert_eq!(body["contents"][0], json!({"role":"user","parts":[{"text":" "}]}));
    assert_eq!(body["contents"][1]["role"], "model");
}

#[test]
fn a_request_comes_out_as_it_went_in() {
    let body = json!({
        "systemInstruction":{"parts":[{"text":"S"}]},
        "contents":[
            {"role":"user","parts":[{"text":"a"},{"inlineData":{"mimeType":"video/mp4","data":"AAAA"},"videoMetadata":{"fps":1}},
                {"fileData":{"mimeType":"application/pdf","fileUri":"gs://b/c"}}]},
            {"role":"model","parts":[{"text":"t","thought":true},{"text":"u","thoughtSignature":"QUJD"},
                {"functionCall":{"id":"i","name":"f","args":{"x":1}},"thoughtSignature":"QQ=="},
                {"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}}]},
            {"role":"user","parts":[{"functionResponse":{"id":"i","name":"f","response":{"output":"y"}}}]}],
        "tools":[{"googleSearch":{}},{"urlContext":{}},{"functionDeclarations":[{"name":"f","description":"d","parametersJsonSchema":{"type":"object"}}]}],
        "toolConfig":{"functionCallingConfig":{"mode":"VALIDATED"},"retrievalConfig":{"languageCode":"en"},"includeServerSideToolInvocations":true},
        "generationConfig":{"temperature":0.5,"topP":0.9,"topK":3,"seed":1,"presencePenalty":0.1,"frequencyPenalty":0.2,
            "maxOutputTokens":9,"candidateCount":2,"logprobs":1,"responseLogprobs":true,"stopSequences":["x"],
            "responseMimeType":"application/json","responseJsonSchema":{"type":"object"},
            "thinkingConfig":{"thinkingLevel":"LOW","includeThoughts":true},"responseModalities":["TEXT"],
            "mediaResolution":"MEDIA_RESOLUTION_LOW","speechConfig":{"languageCode":"en"},"imageConfig":{"aspectRatio":"1:1"}},
        "serviceTier":"flex","store":false,"safetySettings":[{"category":"C","threshold":"T"}],"cachedContent":"c/1","labels":{"a":"b"}
    });
    let (again, dropped) = write(&read(&body.to_string()), "gemini-3-flash");
    assert_eq!(again, body);
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn formats_and_choices_of_tools() {
    let mut request = asked(vec![Part::text("a")]);
    request.format = Format::Json;
    assert_eq!(
        write(&request, "gemini-3-flash").0["generationConfig"],
        json!({"responseMimeType":"application/json"})
    );
    for (choice, wanted) in [
        (ToolChoice::Auto, json!({"mode":"AUTO"})),
        (ToolChoice::Required, json!({"mode":"ANY"})),
        (ToolChoice::None, json!({"mode":"NONE"})),
        (
            ToolChoice::Allowed { names: vec!["a".into(), "b".into()], required: true },
            json!({"mode":"ANY","allowedFunctionNames":["a","b"]}),
        ),
        (
            ToolChoice::Allowed { names: vec!["a".into()], required: false },
            json!({"mode":"VALIDATED","allowedFunctionNames":["a"]}),
        ),
    ] {
        request.tool_choice = Some(choice.clone());
        let (body, _) = write(&request, "gemini-3-flash");
        assert_eq!(body["toolConfig"]["functionCallingConfig"], wanted);
        assert_eq!(read(&body.to_string()).tool_choice, Some(choice));
    }
}
