//! Nothing panics, whatever comes.

use bytes::BytesMut;
use proptest::prelude::*;

use super::{events, folded, issuer, json, reply, target};
use crate::blocks::{Delta, Event, Opaque, OpaqueKind, PartHead, Raw, Request, Stop, StopKind, ToolKind};
use crate::dialects::Dialect;
use crate::dialects::chat::think_tag::{Piece, ThinkTag};
use crate::dialects::chat::{StreamWriter, read_answer, read_request, write_request};

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
        Just("\"stop\"".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"text\"".to_owned()),
        Just("\"function\"".to_owned()),
        Just("\"<think>a</think>b\"".to_owned()),
        (-2i64..200).prop_map(|number| number.to_string()),
        "[a-z\"\\\\é]{0,6}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let names = prop::sample::select(vec![
        "id",
        "index",
        "delta",
        "message",
        "content",
        "role",
        "type",
        "text",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "finish_reason",
        "reasoning_content",
        "reasoning_details",
        "signature",
        "data",
        "error",
        "usage",
        "choices",
        "image_url",
        "url",
        "file",
        "messages",
        "refusal",
        "annotations",
        "extra_content",
        "google",
        "thought_signature",
        "audio",
        "images",
        "function_call",
        "tool_call_id",
        "model",
        "tools",
        "custom",
    ]);
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((names.clone(), inner), 0..6).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn event() -> impl Strategy<Value = Event> {
    let (choice, part) = (0u32..3, prop_oneof![0u32..4, Just(u32::MAX)]);
    let head = prop_oneof![
        Just(PartHead::Text),
        Just(PartHead::Refusal),
        Just(PartHead::Reasoning { id: Some("rs".into()) }),
        Just(PartHead::ToolCall {
            id: "a".into(),
            item_id: None,
            name: "f".into(),
            kind: ToolKind::Function
        }),
        Just(PartHead::ToolCall { id: "b".into(), item_id: None, name: "g".into(), kind: ToolKind::Custom }),
        Just(PartHead::Unknown { dialect: Dialect::Chat, kind: "audio".into(), raw: Raw::string("x") }),
    ];
    let opaque =
        Opaque { issuer: issuer(Dialect::Gemini, "g"), kind: OpaqueKind::ThoughtSignature, data: "d".into() };
    let delta = prop_oneof![
        Just(Delta::Text("t".into())),
        Just(Delta::Arguments("{}".into())),
        Just(Delta::Thought("h".into())),
        (0u32..3).prop_map(|paragraph| Delta::Summary { paragraph, text: "s".into() }),
        Just(Delta::Summary { paragraph: u32::MAX, text: "s".into() }),
        Just(Delta::Opaque(opaque)),
        Just(Delta::Citation(Raw::string("c"))),
    ];
    prop_oneof![
        1 => Just(Event::Start { id: None, model: None, created: None }),
        4 => (choice.clone(), part.clone(), head).prop_map(|(choice, part, head)| Event::PartStart { choice, part, head }),
        8 => (choice.clone(), part.clone(), delta).prop_map(|(choice, part, delta)| Event::Delta { choice, part, delta }),
        3 => (choice.clone(), part).prop_map(|(choice, part)| Event::PartEnd { choice, part }),
        1 => choice.clone().prop_map(|choice| Event::Stop { choice, stop: Stop::new(StopKind::End) }),
        1 => choice.prop_map(|choice| Event::Logprobs { choice, raw: Raw::string("x") }),
        1 => Just(Event::Usage(crate::Usage::default())),
        1 => Just(Event::End),
    ]
}

/// Starts before deltas, each part once and in order, nothing after the end.
fn in_order(events: &[Event]) -> bool {
    let mut next = std::collections::HashMap::new();
    let mut open = std::collections::HashSet::new();
    events.iter().all(|event| match event {
        Event::PartStart { choice, part, .. } => {
            let next = next.entry(*choice).or_insert(0);
            *next += 1;
            open.insert((*choice, *part)) && *part == *next - 1
        }
        Event::Delta { choice, part, .. } => open.contains(&(*choice, *part)),
        Event::PartEnd { choice, part } => open.remove(&(*choice, *part)),
        _ => true,
    })
}

proptest! {
    #[test]
    fn a_reader_takes_anything(chunks in prop::collection::vec(value(), 0..6), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let wrapped: Vec<String> = chunks.iter().map(|chunk| format!(r#"{{"choices":[{{"delta":{chunk}}},{chunk}]}}"#)).collect();
        let mut stream: Vec<&str> = wrapped.iter().map(String::as_str).collect();
        let read = events(&stream, true);
        prop_assert!(in_order(&read), "{read:?}");
        let noise = String::from_utf8_lossy(&bytes).into_owned();
        stream.extend(chunks.iter().map(String::as_str));
        stream.push(&noise);
        folded(&events(&stream, true));
        for body in stream {
            let _ = read_answer(body.as_bytes(), &issuer(Dialect::Chat, "up"));
        }
    }

    #[test]
    fn a_writer_takes_any_order(events in prop::collection::vec(event(), 0..40)) {
        let request = Request { include_usage: true, ..Request::default() };
        let mut writer = StreamWriter::new(&reply(&request));
        let mut out = BytesMut::new();
        for event in &events {
            writer.write(event, &mut out);
        }
        let text = std::str::from_utf8(&out).unwrap();
        for data in text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()) {
            prop_assert!(data == "[DONE]" || json(data)["choices"].is_array());
        }
    }

    #[test]
    fn any_request_is_read_or_refused_and_what_is_read_is_written(messages in prop::collection::vec(value(), 0..4), more in value()) {
        let body = format!(r#"{{"model":"m","messages":[{}],"tools":{more},"tool_choice":{more},"stop":{more}}}"#, messages.join(","));
        let _ = read_request(more.as_bytes());
        if let Ok(request) = read_request(body.as_bytes())
            && let Ok(written) = write_request(&request, &target("gpt-6-sol"))
        {
            prop_assert!(json(written.body)["messages"].is_array());
        }
    }

    #[test]
    fn however_content_is_cut_its_thoughts_are_the_same(text in "(\n)?(<think>[ab <\n]{0,8}(</think>)?)?[ab<\n ]{0,8}", cuts in prop::collection::vec(0usize..30, 0..6)) {
        let split = |cuts: &[usize]| {
            let mut tag = ThinkTag::default();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.iter().copied().chain([text.len()]) {
                let cut = cut.clamp(from, text.len());
                tag.push(&text[from..cut], &mut pieces);
                from = cut;
            }
            tag.end(&mut pieces);
            pieces.into_iter().fold((String::new(), String::new()), |(mut thought, mut said), piece| {
                match piece {
                    Piece::Thought(piece) => thought.push_str(&piece),
                    Piece::Said(piece) => said.push_str(&piece),
                }
                (thought, said)
            })
        };
        let mut cuts = cuts;
        cuts.sort_unstable();
        prop_assert_eq!(split(&cuts), split(&[]));
    }
}
