//! `read_answer` and `write_answer`.

use super::*;
use crate::Usage;
use crate::dialects::Unanswered;

pub(super) fn whole(output: &Value) -> Value {
    json!({
        "id": "resp_up", "object": "response", "created_at": 1_760_000_000.0, "status": "completed", "error": null,
        "incomplete_details": null, "model": "gpt-up-2026", "output": output, "service_tier": "default",
        "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 0},
                  "output_tokens": 40, "output_tokens_details": {"reasoning_tokens": 8}, "total_tokens": 140}
    })
}

pub(super) fn rich() -> Value {
    json!([
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "First."},
         {"type": "summary_text", "text": "Then."}], "content": [{"type": "reasoning_text", "text": "Hm."}],
         "encrypted_content": "ENC"},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "Hi é\n", "annotations": [
                {"type": "url_citation", "url": "https://x", "title": "X", "start_index": 0, "end_index": 1}],
             "logprobs": [{"token": "Hi", "bytes": [72, 105], "logprob": -0.10, "top_logprobs": []}]},
            {"type": "refusal", "refusal": "Not that."}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{\"n\":1.0}",
         "status": "completed"},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "g", "input": "ls"}
    ])
}

fn read_value(value: &Value) -> Result<Answer, Unanswered> {
    read_answer(value.to_string().as_bytes(), &issuer(Dialect::Responses))
}

fn written(answer: &Answer) -> Value {
    serde_json::from_slice(&write_answer(answer, &reply(&read(&json!({"model": "asked", "input": "Hi"})))))
        .unwrap()
}

#[test]
fn all_parts_are_read() {
    let answer = read_value(&whole(&rich())).unwrap();
    assert_eq!((answer.id.as_deref(), answer.created), (Some("resp_up"), Some(1_760_000_000)));
    let choice = &answer.choices[0];
    assert_eq!(choice.parts.len(), 5);
    let Part::Reasoning(thought) = &choice.parts[0] else { panic!() };
    assert_eq!(thought.summary, ["First.", "Then."]);
    assert_eq!(thought.opaque, Some(sealed(Dialect::Responses, OpaqueKind::Encrypted, "ENC")));
    assert!(matches!(&choice.parts[2], Part::Refusal { text } if text == "Not that."));
    assert_eq!(choice.stop.as_ref().unwrap().kind, StopKind::ToolCalls);
    let told: Value = choice.logprobs.as_ref().unwrap().read().unwrap();
    assert_eq!(told["content"][0]["token"], "Hi");
    let usage = answer.usage.unwrap();
    assert_eq!((usage.input, usage.cached_input, usage.cache_write), (Some(100), Some(64), Some(0)));
    assert_eq!((usage.output, usage.reasoning, usage.audio_input), (Some(40), Some(8), None));
}

#[test]
fn an_answer_comes_back_as_it_went() {
    let mut value = whole(&rich());
    let again = written(&read_value(&value).unwrap());
    // Consecutive texts are one message; its id is ours, because the form has none for it.
    value["output"][1]["id"] = json!("msg_abc123_1");
    assert_eq!(again["output"], value["output"]);
    assert_eq!(again["usage"], value["usage"]);
    assert_eq!((&again["id"], &again["model"]), (&json!("resp_up"), &json!("gpt-up-2026")));
    assert_eq!(again["created_at"], 1_760_000_000);
    assert_eq!(again["service_tier"], "default");
}

#[test]
fn each_stop_has_its_status() {
    use StopKind::{
        BadToolCall, ContextWindow, End, Filter, Length, Other, Pause, Refusal, Sequence, ToolCalls,
    };
    for (kind, status, reason) in [
        (End, "completed", None),
        (Sequence, "completed", None),
        (ToolCalls, "completed", None),
        (Refusal, "incomplete", Some("content_filter")),
        (Length, "incomplete", Some("max_output_tokens")),
        (ContextWindow, "incomplete", Some("max_output_tokens")),
        (Filter, "incomplete", Some("content_filter")),
        (Pause, "incomplete", None),
        (BadToolCall, "failed", None),
        (Other, "incomplete", None),
    ] {
        let stop = Stop { native: Some("NATIVE".into()), ..Stop::new(kind) };
        let choice = Choice { parts: vec![Part::text("Hi")], stop: Some(stop), logprobs: None };
        let value = written(&Answer { choices: vec![choice], ..Answer::default() });
        assert_eq!(value["status"], status, "{kind:?}");
        assert_eq!(value["incomplete_details"]["reason"].as_str(), reason, "{kind:?}");
        assert_eq!(value["error"].is_null(), status != "failed");
        assert_eq!(value["native_stop_reason"], "NATIVE");
        assert_eq!(value["output"][0]["status"] == "incomplete", status == "incomplete");
    }
    for (status, reason, kind) in [
        ("completed", None, End),
        ("incomplete", Some("max_output_tokens"), Length),
        ("incomplete", Some("content_filter"), Filter),
        ("incomplete", Some("steered"), Other),
        ("cancelled", None, Other),
    ] {
        let mut value = whole(&json!([]));
        value["status"] = json!(status);
        value["incomplete_details"] = reason.map_or(Value::Null, |reason| json!({"reason": reason}));
        let stop = read_value(&value).unwrap().choices[0].stop.clone().unwrap();
        assert_eq!((stop.kind, stop.native.as_deref()), (kind, reason.or(Some(status))));
    }
}

#[test]
fn unknown_counts_are_absent_and_zero_is_zero() {
    let mut value = whole(&json!([]));
    value["usage"] = json!({"input_tokens": 0, "output_tokens": 0});
    let usage = read_value(&value).unwrap().usage.unwrap();
    assert_eq!(usage, Usage { input: Some(0), output: Some(0), ..Usage::default() });
    value["usage"] = Value::Null;
    let answer = read_value(&value).unwrap();
    assert_eq!(answer.usage, None);
    assert_eq!(written(&answer)["usage"], Value::Null);
    let answer = Answer { usage: Some(Usage { input: Some(3), ..Usage::default() }), ..Answer::default() };
    assert_eq!(
        written(&answer)["usage"],
        json!({
        "input_tokens": 3, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 3})
    );
}

#[test]
fn foreign_bytes_travel_in_capsules_and_come_back() {
    let thought = sealed(Dialect::Messages, OpaqueKind::Signature, "SIG");
    let signature = sealed(Dialect::Gemini, OpaqueKind::ThoughtSignature, "TS");
    let mut signed = call("c1", "f", "");
    if let Part::ToolCall(call) = &mut signed {
        call.opaque = Some(signature.clone());
    }
    let text = Part::Text {
        text: "Hi".into(),
        citations: vec![raw(&json!({"type": "char_location"}))],
        opaque: Some(signature.clone()),
        cache: None,
    };
    let parts = vec![
        Part::Reasoning(Reasoning {
            text: "T".into(),
            opaque: Some(thought.clone()),
            ..Reasoning::default()
        }),
        text,
        Part::text("more"),
        signed,
        call("c2", "f", "{}"),
    ];
    let value =
        written(&Answer { choices: vec![Choice { parts, ..Choice::default() }], ..Answer::default() });
    let output = value["output"].as_array().unwrap();
    assert_eq!(output.len(), 7);
    assert_eq!(output[0]["encrypted_content"], thought.capsule());
    assert_eq!(output[1]["content"][0]["annotations"], json!([]));
    assert_eq!(output[4]["arguments"], "{}");
    let mut items = output.clone();
    items.push(json!({"type": "function_call_output", "call_id": "c1", "output": "1"}));
    items.push(json!({"type": "function_call_output", "call_id": "c2", "output": "2"}));
    let request = read(&json!({"model": "m", "input": items}));
    let parts: Vec<&Part> = request.turns.iter().flat_map(|turn| &turn.parts).collect();
    assert!(
        matches!(parts[0], Part::Reasoning(Reasoning { opaque: Some(opaque), .. }) if *opaque == thought)
    );
    assert!(matches!(parts[1], Part::Text { opaque: Some(opaque), .. } if *opaque == signature));
    assert!(matches!(parts[2], Part::Text { opaque: None, .. }));
    assert!(
        matches!(parts[3], Part::ToolCall(ToolCall { opaque: Some(opaque), .. }) if *opaque == signature)
    );
    assert!(matches!(parts[4], Part::ToolCall(ToolCall { opaque: None, .. })));
}

#[test]
fn the_request_is_repeated() {
    let mut request = read(
        &json!({"model": "asked", "instructions": "Be brief.", "input": "Hi", "temperature": 0.5,
        "max_output_tokens": 20, "reasoning": {"effort": "low"}, "metadata": {"a": "b"},
        "tools": [{"type": "function", "name": "f", "parameters": schema(), "strict": true}, {"type": "web_search"}],
        "tool_choice": {"type": "web_search"}, "text": {"format": {"type": "json_object"}, "verbosity": "low"}}),
    );
    request.temperature = Raw::parse("0.50");
    let bytes = write_answer(&Answer::default(), &reply(&request));
    assert!(String::from_utf8(bytes.clone()).unwrap().contains("\"temperature\":0.50"));
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(value["id"], "resp_abc123");
    assert_eq!(value["instructions"], "Be brief.");
    assert_eq!(value["tool_choice"], json!({"type": "web_search"}));
    assert_eq!(value["tools"][1], json!({"type": "web_search"}));
    assert_eq!(value["text"], json!({"format": {"type": "json_object"}, "verbosity": "low"}));
    assert_eq!((&value["max_output_tokens"], &value["metadata"]), (&json!(20), &json!({"a": "b"})));
    assert_eq!((&value["output"], &value["parallel_tool_calls"]), (&json!([]), &json!(true)));
}

#[test]
fn errors_in_place_of_an_answer_are_told_apart() {
    let error = read_value(&json!({"error": {"message": "M", "type": "T", "code": null}})).unwrap_err();
    assert_eq!(error.error, Some(("M".into(), Some("T".into()))));
    let mut value = whole(&json!([]));
    value["status"] = json!("failed");
    value["error"] = json!({"code": "server_error", "message": "M"});
    assert_eq!(read_value(&value).unwrap_err().error, Some(("M".into(), Some("server_error".into()))));
    for body in ["", "{}", "[]", "<html>", "{\"output\":3}", "{\"status\":\"in_progress\",\"output\":[]}"] {
        assert_eq!(
            read_answer(body.as_bytes(), &issuer(Dialect::Responses)).unwrap_err().error,
            None,
            "{body}"
        );
    }
}

#[test]
fn whoever_asks_for_summaries_sees_the_thoughts_of_other_vendors_there_and_gives_them_back() {
    let signature = sealed(Dialect::Messages, OpaqueKind::Signature, "SIGNED");
    let thought = Reasoning { text: "Hm.".into(), opaque: Some(signature.clone()), ..Reasoning::default() };
    let choice = Choice { parts: vec![Part::Reasoning(thought), Part::text("Hi")], ..Choice::default() };
    let answer = Answer { choices: vec![choice], ..Answer::default() };
    for (reasoning, summary) in [
        (json!({"summary": "auto"}), json!([{"type": "summary_text", "text": "Hm."}])),
        (json!({"summary": "none"}), json!([])),
        (json!({"effort": "low"}), json!([])),
    ] {
        let request = read(&json!({"model": "asked", "input": "Hi", "reasoning": reasoning}));
        let told: Value = serde_json::from_slice(&write_answer(&answer, &reply(&request))).unwrap();
        let item = &told["output"][0];
        assert_eq!(item["summary"], summary, "{reasoning}");
        assert_eq!(item.get("content").is_none(), summary != json!([]), "{item}");
        let next = read(&json!({"model": "asked", "input": told["output"]}));
        let Part::Reasoning(back) = &next.turns[0].parts[0] else { panic!("{next:?}") };
        assert_eq!((back.text.as_str(), back.opaque.as_ref()), ("Hm.", Some(&signature)), "{reasoning}");
        assert!(back.summary.is_empty());
    }
}
