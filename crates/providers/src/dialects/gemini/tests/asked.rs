//! What clients ask, read.

use serde_json::json;

use super::*;
use crate::blocks::{Format, MediaKind, MediaSource, OpaqueKind, Raw, Role, Tool, ToolChoice, ToolKind};

#[test]
fn every_field_is_in_the_form_or_in_extra() {
    let request = read(
        r#"{"system_instruction":{"parts":[{"text":"Be brief."},{"text":"Be kind."}]},
        "contents":[{"role":"user","parts":[{"text":"Hi"},
            {"inline_data":{"mime_type":"image/png","data":"-_8="}},
            {"fileData":{"fileUri":"https://x.test/a.pdf?x=1"},"videoMetadata":{"fps":2}}]},
          {"role":"model","parts":[{"text":"Hm","thought":true},{"text":"m.","thought":true,"thoughtSignature":"c2ln"},
            {"functionCall":{"name":"look.up","args":{"n":12345678901234567890,"a":"\u00e9"}},"thoughtSignature":"QUJD"},
            {"functionCall":{"name":"look.up","args":{}}},{"executableCode":{"language":"PYTHON","code":"1"}}]},
          {"role":"function","parts":[{"functionResponse":{"name":"look.up","response":{"result":"ok"}}},
            {"function_response":{"name":"look.up","response":{"error":"no"}}}]},
          {"parts":[{"text":"And?"}]}],
        "tools":[{"function_declarations":[{"name":"look.up","description":"d","parameters":{"type":"OBJECT","properties":{"n":{"type":"INTEGER","nullable":true}}}},
            {"name":"b","parametersJsonSchema":{"type":"object","$defs":{}},"behavior":"BLOCKING"}],"googleSearch":{}}],
        "toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["b"]},"retrievalConfig":{"languageCode":"en"}},
        "generationConfig":{"temperature":0.70,"top_p":1e-1,"topK":40,"seed":7,"maxOutputTokens":100,"candidateCount":2,
            "stopSequences":["X"],"responseLogprobs":true,"logprobs":3,"presencePenalty":0.1,"frequencyPenalty":-0.1,
            "responseMimeType":"application/json","responseSchema":{"type":"STRING"},
            "thinkingConfig":{"includeThoughts":true,"thinkingLevel":"HIGH","thinkingBudget":-1},
            "mediaResolution":"MEDIA_RESOLUTION_LOW","responseModalities":["TEXT","IMAGE"],"new_thing":{"a":1}},
        "safetySettings":[{"category":"C","threshold":"T"}],"cachedContent":"cachedContents/1","store":false,"serviceTier":"flex","novel":1,"nothing":null}"#,
    );
    let roles: Vec<Role> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
    let user = &request.turns[1].parts;
    let Part::Media(image) = &user[1] else { panic!() };
    assert_eq!(image.source, MediaSource::Base64("+/8=".into()));
    assert_eq!((image.kind, image.mime.as_deref()), (MediaKind::Image, Some("image/png")));
    let Part::Media(file) = &user[2] else { panic!() };
    assert_eq!(file.source, MediaSource::Url("https://x.test/a.pdf?x=1".into()));
    assert_eq!(file.extra, [("videoMetadata".to_owned(), Raw::parse(r#"{"fps":2}"#).unwrap())]);
    let model = &request.turns[2].parts;
    let Part::Reasoning(thought) = &model[0] else { panic!() };
    assert_eq!(thought.text, "Hmm.");
    let opaque = thought.opaque.as_ref().unwrap();
    assert_eq!((opaque.kind, opaque.data.as_str()), (OpaqueKind::ThoughtSignature, "c2ln"));
    let Part::ToolCall(call) = &model[1] else { panic!() };
    assert_eq!(call.arguments, r#"{"n":12345678901234567890,"a":"\u00e9"}"#);
    assert_eq!((call.id.as_str(), call.opaque.is_some()), ("call_look_up_0", true));
    let Part::ToolCall(call) = &model[2] else { panic!() };
    assert_eq!((call.id.as_str(), call.arguments.as_str()), ("call_look_up_1", "{}"));
    assert!(
        matches!(&model[3], Part::Unknown { dialect: Dialect::Gemini, kind, .. } if kind == "executableCode")
    );
    let [Part::ToolResult(one), Part::ToolResult(two)] = request.turns[3].parts.as_slice() else { panic!() };
    assert_eq!(
        (one.call_id.as_str(), one.is_error, &one.parts),
        ("call_look_up_0", false, &vec![Part::text("ok")])
    );
    assert_eq!(
        (two.call_id.as_str(), two.is_error, &two.parts),
        ("call_look_up_1", true, &vec![Part::text("no")])
    );
    let Tool::Function { parameters, .. } = &request.tools[0] else { panic!() };
    assert_eq!(
        parameters.as_ref().unwrap().get(),
        r#"{"type":"object","properties":{"n":{"type":["integer","null"]}}}"#
    );
    assert!(matches!(&request.tools[2], Tool::Hosted { kind, .. } if kind == "googleSearch"));
    assert_eq!(request.tool_choice, Some(ToolChoice::One { name: "b".into(), kind: ToolKind::Function }));
    assert_eq!(request.temperature.unwrap().get(), "0.70");
    assert_eq!(request.top_p.unwrap().get(), "1e-1");
    assert_eq!((request.choices, request.max_output, request.top_logprobs), (Some(2), Some(100), Some(3)));
    assert!(
        matches!(&request.format, Format::Schema { schema, .. } if schema.get() == r#"{"type":"string"}"#)
    );
    let thinking = request.thinking.unwrap();
    assert_eq!((thinking.effort.as_deref(), thinking.budget), (Some("high"), Some(-1)));
    assert_eq!(thinking.show.as_deref(), Some("true"));
    assert_eq!((request.store, request.service_tier.as_deref()), (Some(false), Some("flex")));
    let extra: Vec<&str> = request.extra.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        extra,
        [
            "functionDeclarations.behavior",
            "toolConfig.retrievalConfig",
            "modalities",
            "generationConfig.mediaResolution",
            "generationConfig.newThing",
            "safetySettings",
            "cachedContent",
            "novel"
        ]
    );
}

#[test]
fn pieces_of_a_streamed_answer_are_one_turn() {
    let request = read(
        r#"{"contents":[{"parts":{"text":"a"}},{"role":"model","parts":[{"text":"Hel"}]},{"role":"model","parts":[{"text":"lo"}]},
        {"role":"model","parts":[{"text":"","thoughtSignature":"QUJD"}]},{"role":"model","parts":[{"text":"next"}]},
        {"role":"user","parts":[{"text":"b"}]},{"role":"user","parts":[{"text":"c"}]}]}"#,
    );
    assert_eq!(request.turns.len(), 4);
    let [Part::Text { text, opaque: Some(opaque), .. }, Part::Text { text: next, .. }] =
        request.turns[1].parts.as_slice()
    else {
        panic!("{:?}", request.turns)
    };
    assert_eq!((text.as_str(), opaque.data.as_str(), next.as_str()), ("Hello", "QUJD", "next"));
}

#[test]
fn results_find_their_calls() {
    let request = read(
        r#"{"contents":[{"role":"model","parts":[{"functionCall":{"id":"x","name":"f"}},{"functionCall":{"name":"f"}},{"functionCall":{"name":"g"}}]},
        {"role":"user","parts":[{"functionResponse":{"name":"g","response":{"a":1}}},{"functionResponse":{"id":"x","name":"f","response":{}}}]},
        {"role":"user","parts":[{"functionResponse":{"name":"f","response":{"result":"{\"a\":1}"}}},{"functionResponse":{"name":"f","response":{"error":{"code":1}}}}]}]}"#,
    );
    let [_, results] = request.turns.as_slice() else { panic!() };
    let ids: Vec<&str> = results
        .parts
        .iter()
        .map(|part| {
            let Part::ToolResult(result) = part else { panic!() };
            result.call_id.as_str()
        })
        .collect();
    assert_eq!(ids, ["call_g_0", "x", "call_f_0", "call_f_1"]);
    let Part::ToolResult(third) = &results.parts[2] else { panic!() };
    assert_eq!(third.parts, [Part::text(r#"{"result":"{\"a\":1}"}"#)]);
    let refused = write_request(&request, &target("gemini-3-pro")).unwrap_err();
    assert_eq!(refused.param, "messages");
    assert!(refused.message.contains("call_f_1"));
}

#[test]
fn capsules_come_back_as_what_they_hold() {
    let issuer = Issuer { dialect: Dialect::Messages, provider: "anthropic".into() };
    let opaque = crate::blocks::Opaque { issuer, kind: OpaqueKind::Signature, data: "Eq/+".into() };
    let body = json!({"contents":[{"role":"model","parts":[{"text":"t","thought":true,"thoughtSignature":signature::shown(&opaque)}]}]});
    let request = read(&body.to_string());
    let Part::Reasoning(thought) = &request.turns[0].parts[0] else { panic!() };
    assert_eq!(thought.opaque.as_ref(), Some(&opaque));
}

#[test]
fn wrong_types_are_named() {
    for (body, param) in [
        (r#"{"contents":5}"#, "contents"),
        (r#"{}"#, "contents"),
        (r#"{"contents":[]}"#, "contents"),
        (r#"{"contents":[{"role":"assistant","parts":[{"text":"a"}]}]}"#, "contents.role"),
        (r#"{"contents":[{"parts":[{"text":1}]}]}"#, "contents.parts.text"),
        (r#"{"contents":[{"parts":[{"inlineData":{"data":"!!"}}]}]}"#, "contents.parts.inlineData.data"),
        (r#"{"contents":[{"parts":[{"functionCall":{"args":{}}}]}]}"#, "contents.parts.functionCall.name"),
        (
            r#"{"contents":[{"parts":[{"functionCall":{"name":"a","args":[]}}]}]}"#,
            "contents.parts.functionCall.args",
        ),
        (r#"{"contents":[{"parts":[{"text":"a"}]}],"tools":{}}"#, "tools"),
        (
            r#"{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"temperature":"hot"}}"#,
            "generationConfig.temperature",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"maxOutputTokens":-1}}"#,
            "generationConfig.maxOutputTokens",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"a"}]}],"toolConfig":{"functionCallingConfig":{"mode":"SOME"}}}"#,
            "toolConfig.functionCallingConfig.mode",
        ),
    ] {
        let error = read_request(body.as_bytes()).unwrap_err();
        assert_eq!(error.param, Some(param), "{body}");
        assert!(error.message.starts_with(param), "{error}");
    }
    for body in ["", "[]", "{", "\u{feff}{}", "{\"contents\":01}"] {
        assert_eq!(read_request(body.as_bytes()).unwrap_err().code, Some("invalid_json"), "{body}");
    }
}

#[test]
fn a_large_image_is_read_whole() {
    let body = |length: usize| {
        let data = "QUJD".repeat(length / 4);
        format!(
            r#"{{"contents":[{{"parts":[{{"inlineData":{{"mimeType":"image/png","data":"{data}"}}}}]}}]}}"#
        )
    };
    let request = read(&body(4_000_000));
    let Part::Media(image) = &request.turns[0].parts[0] else { panic!() };
    let MediaSource::Base64(data) = &image.source else { panic!() };
    assert_eq!(data.len(), 4_000_000);
}
