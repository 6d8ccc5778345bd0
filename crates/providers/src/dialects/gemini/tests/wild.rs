//! Nothing makes a reader or a writer panic.

use proptest::prelude::*;

use super::*;
use crate::blocks::{Delta, Opaque, OpaqueKind, PartHead, Raw, Stop, StopKind, ToolKind};

/// JSON that looks like Google's, with members in wrong places.
fn value() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "candidates",
        "content",
        "parts",
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "name",
        "args",
        "id",
        "functionResponse",
        "response",
        "result",
        "error",
        "inlineData",
        "data",
        "mimeType",
        "fileData",
        "fileUri",
        "index",
        "finishReason",
        "usageMetadata",
        "promptTokenCount",
        "promptFeedback",
        "blockReason",
        "contents",
        "role",
        "tools",
        "functionDeclarations",
        "parameters",
        "type",
        "properties",
        "nullable",
        "generationConfig",
        "responseSchema",
        "system_instruction",
        "groundingMetadata",
        "logprobsResult",
        "chosenCandidates",
        "willContinue",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![
            "model", "user", "STOP", "OBJECT", "", "dGcxLg", "tg1.", "QUJD", "{}", "é\u{1}"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..5).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

/// Requests that Google would take, of any mixture of parts.
fn request() -> impl Strategy<Value = Value> {
    let part = prop::sample::select(vec![
        r#"{"text":"a"}"#,
        r#"{"text":"b","thoughtSignature":"QUJD"}"#,
        r#"{"text":"","thoughtSignature":"QUJE"}"#,
        r#"{"text":"t","thought":true}"#,
        r#"{"text":"u","thought":true,"thought_signature":"dGcxLm5vdA"}"#,
        r#"{"inline_data":{"mime_type":"audio/wav","data":"-_8"}}"#,
        r#"{"fileData":{"fileUri":"https://x.test/a.mp4"},"videoMetadata":{"fps":1}}"#,
        r#"{"functionCall":{"name":"f","args":{"a": 1.0}}}"#,
        r#"{"functionCall":{"id":"call_f_0","name":"g"},"thoughtSignature":"QUJD"}"#,
        r#"{"functionResponse":{"name":"f","response":{"result":"x"}}}"#,
        r#"{"functionResponse":{"name":"f","response":{"result":"{}"}}}"#,
        r#"{"functionResponse":{"name":"g","response":{"error":"no"},"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}}"#,
        r#"{"executableCode":{"language":"PYTHON","code":"1"}}"#,
        r#"{}"#,
    ]);
    let role = prop::sample::select(vec!["user", "model", "function"]);
    let parts = prop::collection::vec(part, 0..4);
    prop::collection::vec((role, parts), 1..7).prop_map(|contents| {
        let content = |(role, parts): (&str, Vec<&str>)| {
            let parts: Vec<Value> = parts.into_iter().map(|part| json(part.as_bytes())).collect();
            serde_json::json!({"role": role, "parts": parts})
        };
        let contents: Vec<Value> = contents.into_iter().map(content).collect();
        serde_json::json!({"system_instruction": {"parts": [{"text": "s"}]}, "contents": contents})
    })
}

fn event() -> impl Strategy<Value = Event> {
    let place = (0u32..3, 0u32..4);
    let words = prop::sample::select(vec!["", "a", "{\"a\":", "1}", "{}", "\"\u{e9}"]);
    let head = prop_oneof![
        Just(PartHead::Text),
        Just(PartHead::Refusal),
        Just(PartHead::Reasoning { id: None }),
        Just(PartHead::ToolCall { id: "c".into(), item_id: None, name: "f".into(), kind: ToolKind::Custom }),
        Just(PartHead::ToolCall {
            id: String::new(),
            item_id: None,
            name: "f".into(),
            kind: ToolKind::Function
        }),
        Just(PartHead::Unknown {
            dialect: Dialect::Gemini,
            kind: "executableCode".into(),
            raw: Raw::string("x")
        }),
        Just(PartHead::Unknown {
            dialect: Dialect::Gemini,
            kind: "groundingMetadata".into(),
            raw: Raw::string("x")
        }),
    ];
    let opaque = Opaque { issuer: issuer(), kind: OpaqueKind::ThoughtSignature, data: "QUJD".into() };
    let delta = prop_oneof![
        words.clone().prop_map(|text| Delta::Text(text.into())),
        words.clone().prop_map(|text| Delta::Arguments(text.into())),
        words.clone().prop_map(|text| Delta::Thought(text.into())),
        (any::<u32>(), words).prop_map(|(paragraph, text)| Delta::Summary { paragraph, text: text.into() }),
        Just(Delta::Opaque(opaque)),
        Just(Delta::Citation(Raw::string("c"))),
    ];
    let usage = crate::Usage { output: Some(1), reasoning: Some(9), ..crate::Usage::default() };
    prop_oneof![
        1 => Just(Event::Start { id: None, model: None, created: None }),
        4 => (place.clone(), head).prop_map(|((choice, part), head)| Event::PartStart { choice, part, head }),
        8 => (place.clone(), delta).prop_map(|((choice, part), delta)| Event::Delta { choice, part, delta }),
        3 => place.prop_map(|(choice, part)| Event::PartEnd { choice, part }),
        1 => (0u32..3).prop_map(|choice| Event::Stop { choice, stop: Stop::new(StopKind::End) }),
        1 => Just(Event::Logprobs { choice: 0, raw: Raw::string("l") }),
        1 => Just(Event::Usage(usage)),
        1 => Just(Event::Error { message: "m".into(), code: None }),
        1 => Just(Event::End),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn readers_take_any_json(value in value(), more in value()) {
        let (text, more) = (value.to_string(), more.to_string());
        if let Ok(request) = read_request(text.as_bytes())
            && let Ok(written) = write_request(&request, &target("gemini-3-pro"))
        {
            let again = read_request(&written.body).unwrap();
            prop_assert!(!again.turns.is_empty());
        }
        if let Ok(answer) = read_answer(text.as_bytes(), &issuer()) {
            let request = Request::default();
            json(&write_answer(&answer, &reply(&request)));
        }
        events(&[&text, &more]);
    }

    /// What was written says, when it is read, what was read before.
    #[test]
    fn a_request_that_was_written_comes_out_the_same(value in request(), old in any::<bool>()) {
        let model = if old { "gemini-2.5-pro" } else { "gemini-3-pro" };
        let Ok(request) = read_request(value.to_string().as_bytes()) else { return Ok(()) };
        let Ok(written) = write_request(&request, &target(model)) else { return Ok(()) };
        prop_assert!(written.dropped.is_empty() || written.dropped.iter().all(|param| param.0 == "system"));
        let again = write_request(&read_request(&written.body).unwrap(), &target(model)).unwrap();
        prop_assert_eq!(String::from_utf8(again.body), String::from_utf8(written.body));
    }

    #[test]
    fn readers_take_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_request(&bytes);
        let _ = read_answer(&bytes, &issuer());
        let mut reader = StreamReader::new(issuer());
        let mut out = Vec::new();
        reader.push(Some(b"x"), &bytes, &mut out);
        reader.end(&mut out);
    }

    #[test]
    fn writers_take_events_in_any_order(events in prop::collection::vec(event(), 0..40)) {
        let request = Request::default();
        let stream = written(&events, StreamWriter::new(&reply(&request)));
        for frame in frames(&stream) {
            json(frame.as_bytes());
        }
        let array = written(&events, StreamWriter::array(&reply(&request)));
        if events.contains(&Event::End) {
            let items: Vec<Value> = serde_json::from_str(&array).unwrap();
            prop_assert_eq!(items.len(), frames(&stream).len());
        }
    }

    #[test]
    fn what_a_reader_makes_of_a_stream_a_writer_can_say(value in value()) {
        let request = Request::default();
        let text = value.to_string();
        let sent = frames(&written(&events(&[&text]), StreamWriter::new(&reply(&request))));
        for frame in sent {
            json(frame.as_bytes());
        }
    }
}
