//! Whatever comes: no panic, and nothing malformed goes out.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

use super::streams::{parse, push_all};
use super::*;
use crate::Usage;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-zé\"\\\\\n{}]{0,6}"]
}

fn head() -> impl Strategy<Value = PartHead> {
    prop_oneof![
        Just(PartHead::Text),
        Just(PartHead::Refusal),
        Just(PartHead::Reasoning { id: None }),
        Just(PartHead::Reasoning { id: Some("rs_1".into()) }),
        (text(), any::<bool>()).prop_map(|(id, custom)| PartHead::ToolCall {
            item_id: (!custom).then(|| "fc_1".into()),
            id,
            name: "f".into(),
            kind: if custom { ToolKind::Custom } else { ToolKind::Function },
        }),
        Just(PartHead::Unknown {
            dialect: Dialect::Responses,
            kind: "web_search_call".into(),
            raw: Raw::parse("{\"type\":\"web_search_call\",\"id\":\"ws_1\"}").unwrap()
        }),
        Just(PartHead::Unknown {
            dialect: Dialect::Responses,
            kind: "x".into(),
            raw: Raw::parse("3").unwrap()
        }),
    ]
}

fn delta() -> impl Strategy<Value = Delta> {
    prop_oneof![
        text().prop_map(Delta::Text),
        text().prop_map(Delta::Arguments),
        text().prop_map(Delta::Thought),
        (prop_oneof![0..3u32, Just(u32::MAX)], text())
            .prop_map(|(paragraph, text)| Delta::Summary { paragraph, text }),
        Just(Delta::Opaque(sealed(Dialect::Gemini, OpaqueKind::ThoughtSignature, "TS"))),
        Just(Delta::Citation(Raw::parse("{\"type\":\"file_path\",\"file_id\":\"f\",\"index\":0}").unwrap())),
        Just(Delta::Citation(Raw::parse("[]").unwrap())),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let choice = prop_oneof![4 => Just(0u32), 1 => Just(1u32)];
    let part = prop_oneof![4 => 0..5u32, 1 => Just(u32::MAX)];
    prop_oneof![
        1 => Just(Event::Start { id: Some("resp_2".into()), model: None, created: Some(5) }),
        4 => (choice.clone(), part.clone(), head())
            .prop_map(|(choice, part, head)| Event::PartStart { choice, part, head }),
        8 => (choice.clone(), part.clone(), delta())
            .prop_map(|(choice, part, delta)| Event::Delta { choice, part, delta }),
        3 => (choice.clone(), part).prop_map(|(choice, part)| Event::PartEnd { choice, part }),
        1 => choice.prop_map(|choice| Event::Stop { choice, stop: Stop::new(StopKind::Length) }),
        1 => Just(Event::Logprobs { choice: 0, raw: Raw::parse("{\"content\":[{\"token\":\"a\",\"logprob\":0}]}").unwrap() }),
        1 => Just(Event::Usage(Usage { input: Some(u64::MAX), output: Some(u64::MAX), ..Usage::default() })),
        1 => Just(Event::Error { message: "m".into(), code: None }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn a_writer_keeps_its_order_whatever_comes(events in vec(event(), 0..40)) {
        let request = read(&json!({"model": "m", "input": "Hi"}));
        let mut writer = StreamWriter::new(&reply(&request));
        let mut out = BytesMut::new();
        for event in &events {
            writer.write(event, &mut out);
        }
        writer.write(&Event::End, &mut out);
        let list = parse(&out);
        prop_assert_eq!(&list[0]["type"], "response.created");
        let mut added = 0;
        let mut done = std::collections::BTreeMap::new();
        for (number, event) in list.iter().enumerate() {
            prop_assert_eq!(&event["sequence_number"], number);
            match event["type"].as_str().unwrap() {
                "response.output_item.added" => {
                    prop_assert_eq!(&event["output_index"], added);
                    added += 1;
                }
                "response.output_item.done" => {
                    let index = event["output_index"].as_u64().unwrap();
                    prop_assert!(done.insert(index, event["item"].clone()).is_none());
                }
                _ if event["output_index"].is_u64() => {
                    let index = event["output_index"].as_u64().unwrap();
                    prop_assert!(index < added);
                    prop_assert!(!done.contains_key(&index));
                }
                _ => {}
            }
        }
        let last = list.last().unwrap();
        // Log probabilities that come after their text was closed stand in the last object alone.
        let mut output = last["response"]["output"].as_array().unwrap().clone();
        let mut done: Vec<Value> = done.into_values().collect();
        for item in output.iter_mut().chain(&mut done) {
            for part in item["content"].as_array_mut().into_iter().flatten() {
                part["logprobs"] = Value::Null;
            }
        }
        prop_assert_eq!(output, done);
        prop_assert_eq!(&last["response"]["id"], &list[0]["response"]["id"]);
        prop_assert!(matches!(last["type"].as_str().unwrap(), "response.completed" | "response.incomplete"));
        // The reader understands it.
        let events = push_all(&list);
        prop_assert_eq!(events.last(), Some(&Event::End));
    }

    #[test]
    fn readers_take_any_bytes(data in vec(vec(any::<u8>(), 0..60), 0..8)) {
        let mut reader = StreamReader::new(issuer(Dialect::Responses));
        let mut out = Vec::new();
        for data in &data {
            reader.push(None, data, &mut out);
            let _ = read_request(data);
            let _ = read_answer(data, &issuer(Dialect::Responses));
        }
    }

    #[test]
    fn readers_take_events_of_any_shape(list in vec((0..24usize, 0..6u64, any_value(), any_value()), 0..20)) {
        const KINDS: [&str; 24] = ["created", "in_progress", "output_item.added", "output_item.done",
            "content_part.added", "content_part.done", "output_text.delta", "output_text.done", "refusal.delta",
            "refusal.done", "output_text.annotation.added", "function_call_arguments.delta",
            "function_call_arguments.done", "custom_tool_call_input.delta", "custom_tool_call_input.done",
            "reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.done",
            "reasoning_text.delta", "completed", "incomplete", "failed", "queued", "x"];
        let list: Vec<Value> = list.into_iter().map(|(kind, index, one, two)| json!({
            "type": format!("response.{}", KINDS[kind]), "output_index": index, "content_index": one,
            "summary_index": u64::MAX, "delta": two, "text": one, "arguments": two, "item": one, "part": two,
            "annotation": one, "response": two})).collect();
        let mut open = std::collections::BTreeSet::new();
        let mut next = 0;
        let events = push_all(&list);
        for (number, event) in events.iter().enumerate() {
            match event {
                Event::Start { .. } => prop_assert!(number == 0),
                Event::PartStart { part, .. } => {
                    prop_assert_eq!(*part, next);
                    next += 1;
                    open.insert(*part);
                }
                Event::Delta { part, .. } => prop_assert!(open.contains(part)),
                Event::PartEnd { part, .. } => prop_assert!(open.remove(part)),
                Event::Error { .. } | Event::End => prop_assert_eq!(number, events.len() - 1),
                _ => {}
            }
        }
    }

    #[test]
    fn requests_of_any_shape_are_read_or_refused(input in vec(any_value(), 0..6), other in any_value()) {
        let body = json!({"model": "m", "input": input, "tools": other, "text": other, "include": other});
        if let Ok(request) = read_request(body.to_string().as_bytes()) {
            let target = Target { model: "m", issuer: issuer(Dialect::Responses), max_output: None, stream_usage: true };
            if let Ok(written) = write_request(&request, &target) {
                let body: Value = serde_json::from_slice(&written.body).unwrap();
                prop_assert!(body.is_object());
            }
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let kinds = [
        "message",
        "function_call",
        "custom_tool_call",
        "reasoning",
        "output_text",
        "refusal",
        "web_search_call",
        "function_call_output",
        "input_image",
        "url_citation",
    ];
    let object = (0..kinds.len(), text(), any::<bool>()).prop_map(move |(kind, text, more)| {
        let mut value = json!({"type": kinds[kind], "text": text, "refusal": text, "arguments": text, "input": text,
            "name": "f", "id": "x_1", "call_id": text, "role": "assistant", "output": text, "status": "completed"});
        if more {
            value["content"] = json!([{"type": "output_text", "text": text, "annotations": [{"type": "url_citation"}]}]);
            value["summary"] = json!([{"type": "summary_text", "text": text}]);
            value["encrypted_content"] = json!(text);
            value["output"] = json!([{"type": "message", "content": [{"type": "refusal", "refusal": text}]}]);
        }
        value
    });
    prop_oneof![4 => object, 1 => Just(Value::Null), 1 => Just(json!(3)), 1 => text().prop_map(Value::from),
        1 => Just(json!([{}]))]
}
