//! Nothing panics, whatever comes.

use proptest::prelude::*;

use super::*;
use crate::blocks::{Delta, Opaque, OpaqueKind, PartHead, Raw, Stop, StopKind, ToolKind};

fn any_delta() -> impl Strategy<Value = Delta> {
    let opaque = |dialect, kind| {
        let issuer = Issuer { dialect, provider: "p".into() };
        Delta::Opaque(Opaque { issuer, kind, data: "d".into() })
    };
    prop_oneof![
        ".{0,4}".prop_map(Delta::Text),
        ".{0,4}".prop_map(Delta::Arguments),
        ".{0,4}".prop_map(Delta::Thought),
        (0u32..3, ".{0,4}").prop_map(|(paragraph, text)| Delta::Summary { paragraph, text }),
        Just(opaque(Dialect::Messages, OpaqueKind::Redacted)),
        Just(opaque(Dialect::Messages, OpaqueKind::Signature)),
        Just(opaque(Dialect::Gemini, OpaqueKind::ThoughtSignature)),
        Just(Delta::Citation(Raw::parse(r#"{"type":"char_location"}"#).unwrap())),
    ]
}

fn any_head() -> impl Strategy<Value = PartHead> {
    let call = |kind| PartHead::ToolCall { id: String::new(), item_id: None, name: "f".into(), kind };
    let raw = Raw::parse(r#"{"type":"server_tool_use"}"#).unwrap();
    prop_oneof![
        Just(PartHead::Text),
        Just(PartHead::Refusal),
        Just(PartHead::Reasoning { id: None }),
        Just(call(ToolKind::Function)),
        Just(call(ToolKind::Custom)),
        Just(PartHead::Unknown { dialect: Dialect::Messages, kind: "server_tool_use".into(), raw }),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let choice = 0u32..2;
    prop_oneof![
        1 => Just(Event::Start { id: None, model: None, created: None }),
        4 => (choice.clone(), 0u32..4, any_head())
            .prop_map(|(choice, part, head)| Event::PartStart { choice, part, head }),
        6 => (choice.clone(), 0u32..4, any_delta())
            .prop_map(|(choice, part, delta)| Event::Delta { choice, part, delta }),
        3 => (choice, 0u32..4).prop_map(|(choice, part)| Event::PartEnd { choice, part }),
        1 => Just(Event::Stop { choice: 0, stop: Stop::new(StopKind::End) }),
        1 => Just(Event::Usage(crate::Usage { output: Some(3), ..crate::Usage::default() })),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let words = [
        "type",
        "index",
        "delta",
        "message",
        "content_block",
        "text",
        "thinking",
        "signature",
        "usage",
        "stop_reason",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_start",
        "message_delta",
        "tool_use",
        "input",
        "partial_json",
        "input_json_delta",
        "text_delta",
        "content",
        "role",
        "user",
        "messages",
        "model",
        "max_tokens",
        "source",
        "document",
        "tool_result",
        "error",
        "cache_control",
        "citations",
        "tools",
        "system",
    ];
    let word = move || prop::sample::select(words.to_vec()).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..5).prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(word(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_writer_makes_a_valid_stream_of_any_events(events in prop::collection::vec(any_event(), 0..40)) {
        let mut events = events;
        events.push(Event::End);
        let frames = written(&events);
        let mut open = None;
        let mut next = 0u64;
        prop_assert_eq!(&frames[0].0, "message_start");
        prop_assert_eq!(&frames[frames.len() - 2].0, "message_delta");
        prop_assert_eq!(&frames[frames.len() - 1].0, "message_stop");
        for (name, data) in &frames {
            match name.as_str() {
                "content_block_start" => {
                    prop_assert_eq!(&data["index"], &json!(next));
                    prop_assert!(open.replace(next).is_none());
                    next += 1;
                }
                "content_block_delta" => prop_assert_eq!(data["index"].as_u64(), open),
                "content_block_stop" => prop_assert_eq!(data["index"].as_u64(), open.take()),
                _ => {}
            }
        }
        prop_assert!(open.is_none());
    }

    #[test]
    fn readers_take_any_json(values in prop::collection::vec(any_json(), 1..12)) {
        let mut reader = StreamReader::new(issuer());
        let mut out = Vec::new();
        for value in &values {
            let bytes = serde_json::to_vec(value).unwrap();
            reader.push(None, &bytes, &mut out);
            let _ = read_request(&bytes);
            let _ = read_answer(&bytes, &issuer());
        }
    }

    #[test]
    fn readers_take_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut out = Vec::new();
        StreamReader::new(issuer()).push(None, &bytes, &mut out);
        let _ = read_request(&bytes);
        let _ = read_answer(&bytes, &issuer());
    }

    #[test]
    fn any_request_that_is_read_is_written_or_refused(content in any_json(), tools in any_json(), system in any_json()) {
        let body = json!({"model": "m", "max_tokens": 5, "system": system, "tools": tools,
            "messages": [{"role": "user", "content": content}, {"role": "user", "content": "x"}]});
        if let Ok(request) = read_request(&serde_json::to_vec(&body).unwrap())
            && let Ok(written) = write_request(&request, &target("claude-opus-5"))
        {
            prop_assert!(serde_json::from_slice::<Value>(&written.body).is_ok());
        }
    }
}
