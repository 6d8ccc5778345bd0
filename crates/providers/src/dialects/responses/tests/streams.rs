//! `StreamReader` and `StreamWriter`.

use bytes::BytesMut;

use super::answers::{rich, whole};
use super::*;
use crate::dialects::Failing;

pub(super) fn fold(events: &[Event]) -> Fold {
    let mut fold = Fold::default();
    for event in events {
        fold.push(event);
    }
    fold
}

pub(super) fn push_all(list: &[Value]) -> Vec<Event> {
    let mut reader = StreamReader::new(issuer(Dialect::Responses));
    let mut out = Vec::new();
    for event in list {
        reader.push(event["type"].as_str().map(str::as_bytes), event.to_string().as_bytes(), &mut out);
    }
    reader.end(&mut out);
    out
}

/// The events of a text: name and data of each.
pub(super) fn parse(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut list = Vec::new();
    for event in text.split_terminator("\n\n") {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: ").unwrap(), data["type"]);
        list.push(data);
    }
    list
}

fn write_events(events: &[Event]) -> Vec<Value> {
    let request = read(&json!({"model": "asked", "input": "Hi"}));
    let mut writer = StreamWriter::new(&reply(&request));
    let mut out = BytesMut::new();
    for event in events {
        writer.write(event, &mut out);
    }
    parse(&out)
}

fn item(index: u64, item: &Value) -> Vec<Value> {
    let mut begun = item.clone();
    for (member, empty) in
        [("content", json!([])), ("arguments", json!("")), ("input", json!("")), ("summary", json!([]))]
    {
        if begun.get(member).is_some() {
            begun[member] = empty;
        }
    }
    begun.as_object_mut().unwrap().remove("encrypted_content");
    let mut list = vec![json!({"type": "response.output_item.added", "output_index": index, "item": begun})];
    let at = |kind: &str, more: Value| {
        let mut event = json!({"type": kind, "output_index": index, "item_id": item["id"]});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let halves = |text: &str| {
        let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
        [text[..middle].to_owned(), text[middle..].to_owned()]
    };
    match item["type"].as_str().unwrap() {
        "message" => {
            for (number, part) in item["content"].as_array().unwrap().iter().enumerate() {
                let (kind, text, empty) = match part["type"].as_str().unwrap() {
                    "refusal" => ("refusal", &part["refusal"], json!({"type": "refusal", "refusal": ""})),
                    _ => (
                        "output_text",
                        &part["text"],
                        json!({"type": "output_text", "text": "", "annotations": []}),
                    ),
                };
                list.push(at("response.content_part.added", json!({"content_index": number, "part": empty})));
                for half in halves(text.as_str().unwrap()) {
                    list.push(at(
                        &format!("response.{kind}.delta"),
                        json!({"content_index": number, "delta": half, "logprobs": []}),
                    ));
                }
                for annotation in part["annotations"].as_array().into_iter().flatten() {
                    list.push(at(
                        "response.output_text.annotation.added",
                        json!({"content_index": number, "annotation_index": 0, "annotation": annotation}),
                    ));
                }
                let member = if kind == "refusal" { "refusal" } else { "text" };
                list.push(at(
                    &format!("response.{kind}.done"),
                    json!({"content_index": number, member: text}),
                ));
                list.push(at("response.content_part.done", json!({"content_index": number, "part": part})));
            }
        }
        "function_call" => {
            for half in halves(item["arguments"].as_str().unwrap()) {
                list.push(at("response.function_call_arguments.delta", json!({"delta": half})));
            }
            list.push(at("response.function_call_arguments.done", json!({"arguments": item["arguments"]})));
        }
        "custom_tool_call" => {
            list.push(at("response.custom_tool_call_input.delta", json!({"delta": item["input"]})));
            list.push(at("response.custom_tool_call_input.done", json!({"input": item["input"]})));
        }
        "reasoning" => {
            for (number, part) in item["summary"].as_array().unwrap().iter().enumerate() {
                list.push(at(
                    "response.reasoning_summary_part.added",
                    json!({"summary_index": number, "part": {"type": "summary_text", "text": ""}}),
                ));
                for half in halves(part["text"].as_str().unwrap()) {
                    list.push(at(
                        "response.reasoning_summary_text.delta",
                        json!({"summary_index": number, "delta": half}),
                    ));
                }
                list.push(at(
                    "response.reasoning_summary_text.done",
                    json!({"summary_index": number, "text": part["text"]}),
                ));
                list.push(at(
                    "response.reasoning_summary_part.done",
                    json!({"summary_index": number, "part": part}),
                ));
            }
            for (number, part) in item["content"].as_array().into_iter().flatten().enumerate() {
                for half in halves(part["text"].as_str().unwrap()) {
                    list.push(at(
                        "response.reasoning_text.delta",
                        json!({"content_index": number, "delta": half}),
                    ));
                }
                list.push(at(
                    "response.reasoning_text.done",
                    json!({"content_index": number, "text": part["text"]}),
                ));
            }
        }
        _ => {}
    }
    list.push(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
    list
}

/// The recording of an answer as OpenAI streams it.
fn recording(answer: &Value) -> Vec<Value> {
    let mut begun = answer.clone();
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    begun["status"] = json!("in_progress");
    let mut list = vec![
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.in_progress", "response": begun}),
    ];
    for (index, part) in answer["output"].as_array().unwrap().iter().enumerate() {
        list.extend(item(index as u64, part));
    }
    let kind = format!("response.{}", answer["status"].as_str().unwrap());
    list.push(json!({"type": kind, "response": answer}));
    list
}

fn stopped(mut answer: Value, status: &str, reason: &str) -> Value {
    answer["status"] = json!(status);
    answer["incomplete_details"] = json!({"reason": reason});
    answer
}

fn recordings() -> Vec<Value> {
    let text = |text: &str| {
        json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
    };
    let call = |id: &str, arguments: &str| {
        json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id,
        "name": "f", "arguments": arguments, "status": "completed"})
    };
    vec![
        whole(&rich()),
        whole(&json!([text("Hello 👋 world")])),
        whole(&json!([call("a", "{\"q\":\"x\"}"), call("b", "{\"q\":\"é\"}"), call("c", "")])),
        whole(
            &json!([{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "E1"}, call("a", "{}"),
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "E2"}, text("ok")]),
        ),
        whole(&json!([{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "refusal", "refusal": "I cannot."}]}])),
        stopped(whole(&json!([text("cut")])), "incomplete", "max_output_tokens"),
        stopped(whole(&json!([text("")])), "incomplete", "content_filter"),
        whole(&json!([])),
    ]
}

#[test]
fn a_stream_added_up_is_the_whole_answer() {
    for value in recordings() {
        let fold = fold(&push_all(&recording(&value)));
        assert!(fold.ended);
        let whole = read_answer(value.to_string().as_bytes(), &issuer(Dialect::Responses)).unwrap();
        assert_eq!(fold.answer(), whole, "{value}");
    }
}

#[test]
fn parallel_calls_may_interleave() {
    let value = recordings().remove(2);
    let mut list = recording(&value);
    // added a, added b, deltas in turns, done b, done a.
    let (head, mut middle, tail) =
        (list[..2].to_vec(), list[2..list.len() - 1].to_vec(), list.split_off(list.len() - 1));
    middle.sort_by_key(|event| match event["type"].as_str().unwrap() {
        "response.output_item.added" => 0,
        "response.output_item.done" => 2,
        _ => 1,
    });
    let deltas = middle.iter().filter(|event| event["delta"].is_string()).count();
    assert!(deltas >= 4);
    let events = push_all(&[head, middle, tail].concat());
    let whole = read_answer(value.to_string().as_bytes(), &issuer(Dialect::Responses)).unwrap();
    assert_eq!(fold(&events).answer(), whole);
}

#[test]
fn servers_that_tell_less_are_understood() {
    for value in recordings() {
        let whole = read_answer(value.to_string().as_bytes(), &issuer(Dialect::Responses)).unwrap();
        let full = recording(&value);
        let only = |keep: &dyn Fn(&str) -> bool| -> Vec<Value> {
            full.iter().filter(|event| keep(event["type"].as_str().unwrap())).cloned().collect()
        };
        for (what, list) in [
            ("no deltas", only(&|kind| !kind.ends_with(".delta"))),
            (
                "items alone",
                only(&|kind| {
                    !kind.contains("output_item.added")
                        && !kind.contains("_part")
                        && !kind.contains("delta")
                        && !kind.contains("text.")
                        && !kind.contains("arguments")
                        && !kind.contains("input.")
                        && !kind.contains("refusal")
                }),
            ),
            ("the end alone", full[full.len() - 1..].to_vec()),
            ("deltas and the end", only(&|kind| !kind.ends_with("item.done"))),
        ] {
            let fold = fold(&push_all(&list));
            assert_eq!(fold.answer(), whole, "{what}: {value}");
        }
    }
}

#[test]
fn hosted_items_are_kept_for_their_own_dialect() {
    let search = json!({"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}});
    let events = push_all(&recording(&whole(&json!([search]))));
    assert!(events.iter().any(|event| matches!(event, Event::PartStart { head: PartHead::Unknown { kind, .. }, .. } if kind == "web_search_call")));
    let list = write_events(&events);
    assert_eq!(list.last().unwrap()["response"]["output"][0], search);
    let foreign = Event::PartStart {
        choice: 0,
        part: 0,
        head: PartHead::Unknown {
            dialect: Dialect::Responses,
            kind: "server_tool_use".into(),
            raw: raw(&json!({"type": "server_tool_use"})),
        },
    };
    assert_eq!(write_events(&[foreign, Event::End]).last().unwrap()["response"]["output"], json!([]));
}

#[test]
fn errors_in_mid_stream_end_it() {
    for (event, message, code) in [
        (
            json!({"type": "error", "code": "rate_limit_exceeded", "message": "Slow", "param": null}),
            "Slow",
            Some("rate_limit_exceeded"),
        ),
        (json!({"type": "error", "code": null, "message": "Slow"}), "Slow", None),
        (
            json!({"type": "error", "error": {"type": "server_error", "code": null, "message": "Ow"}}),
            "Ow",
            Some("server_error"),
        ),
        (json!({"error": {"type": "server_error", "message": "Ow"}}), "Ow", Some("server_error")),
        (
            json!({"type": "response.failed", "response": {"id": "resp_1", "status": "failed", "error": {"code": "server_error", "message": "Ow"}}}),
            "Ow",
            Some("server_error"),
        ),
    ] {
        let mut list = recording(&whole(&rich()));
        list.insert(4, event);
        let events = push_all(&list);
        assert_eq!(
            events.last(),
            Some(&Event::Error { message: message.into(), code: code.map(str::to_owned) })
        );
    }
    let mut out = Vec::new();
    let mut reader = StreamReader::new(issuer(Dialect::Responses));
    reader.push(None, b"{oops", &mut out);
    reader.push(None, b"{}", &mut out);
    assert!(matches!(out.as_slice(), [Event::Error { .. }]));
}

#[test]
fn a_stream_that_breaks_off_has_no_end() {
    let list = recording(&whole(&rich()));
    for cut in 0..list.len() {
        assert!(!fold(&push_all(&list[..cut])).ended);
    }
}

#[test]
fn the_order_is_the_one_that_sdks_enforce() {
    let list = write_events(&push_all(&recording(&whole(&rich()))));
    let kinds: Vec<&str> =
        list.iter().map(|event| event["type"].as_str().unwrap().strip_prefix("response.").unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.delta",
            "content_part.added",
            "reasoning_text.delta",
            "reasoning_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "reasoning_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.annotation.added",
            "output_text.done",
            "content_part.done",
            "content_part.added",
            "refusal.delta",
            "refusal.delta",
            "refusal.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "output_item.added",
            "custom_tool_call_input.delta",
            "custom_tool_call_input.done",
            "output_item.done",
            "completed"
        ]
    );
    for (number, event) in list.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    let done = list.iter().find(|event| event["type"] == "response.function_call_arguments.done").unwrap();
    assert_eq!((&done["name"], &done["arguments"]), (&json!("f"), &json!("{\"n\":1.0}")));
}

#[test]
fn what_is_streamed_is_what_is_answered_whole() {
    for value in recordings() {
        let events = push_all(&recording(&value));
        let request = read(&json!({"model": "asked", "input": "Hi"}));
        let answer = fold(&events).answer();
        let whole: Value = serde_json::from_slice(&write_answer(&answer, &reply(&request))).unwrap();
        let list = write_events(&events);
        assert_eq!(list.last().unwrap()["response"], whole, "{value}");
        // And the reader takes it for the same.
        assert_eq!(fold(&push_all(&list)).answer().choices[0].parts.len(), answer.choices[0].parts.len());
    }
}

#[test]
fn an_error_fails_the_response() {
    let request = read(&json!({"model": "asked", "input": "Hi"}));
    let failing = Failing {
        status: 502,
        code: "upstream_broke_off",
        kind: "server_error",
        message: "It broke off.",
        param: None,
        retry_after: None,
        request_id: "r",
    };
    let events = push_all(&recording(&whole(&rich())));
    for cut in 0..events.len() - 1 {
        let mut writer = StreamWriter::new(&reply(&request));
        let mut out = BytesMut::new();
        for event in &events[..cut] {
            writer.write(event, &mut out);
        }
        writer.error(&failing, &mut out);
        let before = out.len();
        writer.error(&failing, &mut out);
        writer.write(&Event::End, &mut out);
        assert_eq!(out.len(), before);
        let list = parse(&out);
        assert_eq!(list[0]["type"], "response.created");
        let last = list.last().unwrap();
        assert_eq!(
            (&last["type"], &last["response"]["status"]),
            (&json!("response.failed"), &json!("failed"))
        );
        assert_eq!(
            last["response"]["error"],
            json!({"code": "upstream_broke_off", "message": "It broke off.", "type": "server_error"})
        );
        assert_eq!(last["response"]["id"], list[0]["response"]["id"]);
    }
}

#[test]
fn log_probabilities_of_chunks_gather_in_their_text() {
    let token = |token: &str| {
        raw(&json!({"content": [{"token": token, "logprob": -0.5, "bytes": null, "top_logprobs": []}]}))
    };
    let list = write_events(&[
        Event::Start { id: None, model: None, created: None },
        Event::PartStart { choice: 0, part: 0, head: PartHead::Text },
        Event::Delta { choice: 0, part: 0, delta: Delta::Text("a".into()) },
        Event::Logprobs { choice: 0, raw: token("a") },
        Event::Delta { choice: 0, part: 0, delta: Delta::Text("b".into()) },
        Event::Logprobs { choice: 0, raw: token("b") },
        Event::PartEnd { choice: 0, part: 0 },
        Event::Stop { choice: 0, stop: Stop::new(StopKind::End) },
        Event::End,
    ]);
    assert_eq!(
        list.last().unwrap()["response"]["output"][0]["content"][0]["logprobs"],
        json!([
        {"token": "a", "logprob": -0.5, "bytes": [], "top_logprobs": []},
        {"token": "b", "logprob": -0.5, "bytes": [], "top_logprobs": []}])
    );
}

#[test]
fn thoughts_are_streamed_as_a_summary_to_whoever_asks_for_one() {
    let request = read(&json!({"model": "asked", "input": "Hi", "reasoning": {"summary": "auto"}}));
    let mut writer = StreamWriter::new(&reply(&request));
    let mut out = BytesMut::new();
    let of = |delta| Event::Delta { choice: 0, part: 0, delta };
    for event in [
        Event::Start { id: None, created: None, model: None },
        Event::PartStart { choice: 0, part: 0, head: PartHead::Reasoning { id: None } },
        of(Delta::Thought("Hm".into())),
        of(Delta::Thought(".".into())),
        of(Delta::Summary { paragraph: 0, text: "In short.".into() }),
        Event::PartEnd { choice: 0, part: 0 },
        Event::End,
    ] {
        writer.write(&event, &mut out);
    }
    let events = parse(&out);
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert!(
        kinds.iter().all(|kind| !kind.contains("content_part") && !kind.contains("reasoning_text")),
        "{kinds:?}"
    );
    let told = |number: u64| -> String {
        let mine = |event: &&Value| {
            event["type"] == "response.reasoning_summary_text.delta" && event["summary_index"] == number
        };
        events.iter().filter(mine).filter_map(|event| event["delta"].as_str()).collect()
    };
    assert_eq!((told(0), told(1)), ("Hm.".to_owned(), "In short.".to_owned()));
    assert_eq!(
        events.last().unwrap()["response"]["output"][0]["summary"],
        json!([{"type": "summary_text", "text": "Hm."}, {"type": "summary_text", "text": "In short."}])
    );
}
