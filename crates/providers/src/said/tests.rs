//! What is seen of answers and events of each dialect, and how the rest of a text is told.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn whole(operation: Operation, body: &str) -> Vec<(String, Part)> {
    let said = in_answer(operation, body.as_bytes()).unwrap();
    said.pieces.into_iter().map(|piece| (piece.text, piece.part)).collect()
}

fn event(operation: Operation, data: &str) -> Said {
    in_event(operation, data.as_bytes()).unwrap()
}

fn one(operation: Operation, data: &str) -> Piece {
    let said = event(operation, data);
    assert_eq!(said.pieces.len(), 1, "{data}: {said:?}");
    said.pieces.into_iter().next().unwrap()
}

#[test]
fn every_text_of_a_whole_answer_is_seen_and_nothing_that_was_asked() {
    let (content, thought, other) = (Part::Content, Part::Thought, Part::Other);
    let told = |text: &str, part| (text.to_owned(), part);
    let chat = r#"{"id":"x","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a","reasoning_content":"t","annotations":[{"type":"url_citation","url_citation":{"url":"u","title":"c"}}],
        "tool_calls":[{"id":"i","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}],"vendor":{"new":"v"}},"logprobs":{"content":[{"token":"a"}]},"finish_reason":"stop"}],"usage":{"z":1},"system_fingerprint":"q"}"#;
    let seen = whole(Operation::Chat, chat);
    let wanted = [
        told("a", content),
        told("t", thought),
        told("u", other),
        told("c", other),
        told("f", other),
        told("{\"x\":1}", other),
        told("v", other),
    ];
    assert_eq!(seen, wanted);
    let logs = in_answer(Operation::Chat, chat.as_bytes()).unwrap().logs;
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].of(chat.as_bytes()), br#"{"content":[{"token":"a"}]}"#);
    let completion = r#"{"choices":[{"text":"a","index":0,"logprobs":null,"finish_reason":"stop"}]}"#;
    assert_eq!(whole(Operation::Completions, completion), [told("a", content)]);
    let messages = r#"{"id":"m","type":"message","role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"AAAA"},{"type":"text","text":"a"},
        {"type":"tool_use","id":"i","name":"n","input":{"type":"in","id":[4111111111111111,12]}}],"stop_reason":"end_turn"}"#;
    let wanted = [
        told("t", thought),
        told("a", content),
        told("n", other),
        told("in", other),
        told("4111111111111111", other),
    ];
    assert_eq!(whole(Operation::Messages, messages), wanted);
    let responses = r#"{"id":"r","object":"response","instructions":"never say","tools":[{"name":"f"}],"text":{"format":{"type":"text"}},"output":[{"type":"reasoning","id":"g","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"zzz"},
        {"type":"message","id":"h","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[],"logprobs":[{"token":"a"}]}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]}"#;
    let wanted = [told("t", thought), told("a", content), told("f", other), told("{}", other)];
    assert_eq!(whole(Operation::Responses, responses), wanted);
    let gemini = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"t","thought":true},{"text":"a"},{"functionCall":{"name":"f","args":{"id":"x","n":12345678}}}]},"finishReason":"STOP"}],"modelVersion":"g"}"#;
    let wanted =
        [told("t", thought), told("a", content), told("f", other), told("x", other), told("12345678", other)];
    assert_eq!(whole(Operation::Gemini, gemini), wanted);
    assert!(whole(Operation::Embeddings, r#"{"data":[{"embedding":[1]}],"model":"m"}"#).is_empty());
}

#[test]
fn pieces_of_one_text_have_one_number_and_others_another() {
    let chat = |delta: &str, index: u32| {
        let data =
            format!(r#"{{"id":"x","choices":[{{"delta":{delta},"index":{index},"finish_reason":null}}]}}"#);
        one(Operation::Chat, &data).of.unwrap()
    };
    let content = chat(r#"{"content":"a"}"#, 0);
    assert_eq!(content, chat(r#"{"role":"assistant","content":"b"}"#, 0));
    let others = [
        chat(r#"{"content":"a"}"#, 1),
        chat(r#"{"reasoning_content":"a"}"#, 0),
        chat(r#"{"tool_calls":[{"index":0,"function":{"arguments":"a"}}]}"#, 0),
        chat(r#"{"tool_calls":[{"function":{"arguments":"a"},"index":1}]}"#, 0),
        chat(r#"{"refusal":"a"}"#, 0),
    ];
    for (at, other) in others.iter().enumerate() {
        assert!(*other != content && !others[..at].contains(other), "{at}");
    }
    let messages = |index: u32, delta: &str| {
        let data = format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#);
        one(Operation::Messages, &data).of.unwrap()
    };
    assert_eq!(
        messages(1, r#"{"type":"text_delta","text":"a"}"#),
        messages(1, r#"{"type":"text_delta","text":"b"}"#)
    );
    assert_ne!(
        messages(1, r#"{"type":"text_delta","text":"a"}"#),
        messages(2, r#"{"type":"text_delta","text":"a"}"#)
    );
    let gemini = |parts: &str| {
        let data = format!(r#"{{"candidates":[{{"content":{{"parts":[{parts}]}}}}]}}"#);
        event(Operation::Gemini, &data).pieces.iter().map(|piece| piece.of).collect::<Vec<_>>()
    };
    let two = gemini(
        r#"{"text":"a"},{"text":"b"},{"text":"c","thought":true},{"functionCall":{"name":"f","args":{"a":"b"}}}"#,
    );
    assert!(two[0].is_some() && two[0] == two[1] && two[2] != two[0] && two[3].is_none() && two[4].is_none());
    let responses = |kind: &str, item: u32| {
        let data = format!(
            r#"{{"type":"response.{kind}.delta","item_id":"i","output_index":{item},"content_index":0,"delta":"a"}}"#
        );
        one(Operation::Responses, &data).of.unwrap()
    };
    assert_eq!(responses("output_text", 0), responses("output_text", 0));
    assert_ne!(responses("output_text", 0), responses("output_text", 1));
    assert_ne!(responses("output_text", 0), responses("function_call_arguments", 0));
}

#[test]
fn events_say_what_is_over() {
    let chat =
        event(Operation::Chat, r#"{"choices":[{"index":1,"delta":{"content":"a"},"finish_reason":"stop"}]}"#);
    assert_eq!((chat.closes, chat.closes_all), (vec![1], false));
    let stop = event(Operation::Messages, r#"{"type":"content_block_stop","index":2}"#);
    assert_eq!(stop.closes, [2]);
    assert!(
        event(Operation::Messages, r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#)
            .closes_all
    );
    let gemini = event(
        Operation::Gemini,
        r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#,
    );
    assert_eq!(gemini.closes, [0]);
    let done = event(
        Operation::Responses,
        r#"{"type":"response.output_text.done","sequence_number":7,"output_index":3,"content_index":0,"text":"a"}"#,
    );
    assert_eq!((&done.closes[..], done.repeats, done.pieces[0].part), (&[3][..], true, Part::Content));
    let last = r#"{"type":"response.completed","response":{"instructions":"x","output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}]}}"#;
    let last = event(Operation::Responses, last);
    assert!(last.closes_all && last.repeats && last.pieces.len() == 1);
}

#[test]
fn the_rest_of_a_text_is_told_in_the_same_words() {
    let told = |operation, data: &str| {
        let number = event(operation, data).pieces.iter().find_map(|piece| piece.of).unwrap();
        let rest = rest(operation, data.as_bytes(), number, "\"z").unwrap();
        assert_eq!(
            event(operation, std::str::from_utf8(&rest).unwrap()).pieces[0].of,
            Some(number),
            "{data}"
        );
        serde_json::from_slice::<serde_json::Value>(&rest).unwrap()
    };
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let chat = r#"{"id":"x","object":"chat.completion.chunk","created":3,"choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":2,"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":null,"finish_reason":null}],"usage":{"a":1}}"#;
    assert_eq!(
        told(Operation::Chat, chat),
        value(
            r#"{"id":"x","object":"chat.completion.chunk","created":3,"choices":[{"index":0,"delta":{"tool_calls":[{"index":2,"type":"function","function":{"arguments":"\"z"}}]},"logprobs":null,"finish_reason":null}]}"#
        )
    );
    let messages =
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{"}}"#;
    assert_eq!(
        told(Operation::Messages, messages),
        value(
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\"z"}}"#
        )
    );
    let gemini = r#"{"candidates":[{"content":{"parts":[{"text":"a","thought":true}],"role":"model"},"index":0}],"usageMetadata":{"x":1},"modelVersion":"g"}"#;
    assert_eq!(
        told(Operation::Gemini, gemini),
        value(
            r#"{"candidates":[{"content":{"parts":[{"text":"\"z","thought":true}],"role":"model"},"index":0}],"modelVersion":"g"}"#
        )
    );
    let responses = r#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"i","output_index":0,"content_index":0,"delta":"a","logprobs":[{"token":"a"}],"obfuscation":"zz"}"#;
    assert_eq!(
        told(Operation::Responses, responses),
        value(
            r#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"i","output_index":0,"content_index":0,"delta":"\"z","logprobs":[]}"#
        )
    );
}

#[test]
fn only_what_changes_changes_and_a_failure_tells_nothing_again() {
    let body = br#"{ "choices":[{"index":0, "message":{"content":"\u0041" , "x":1.0}}] }"#;
    let said = in_answer(Operation::Chat, body).unwrap();
    let changed = with(body, &mut [(said.pieces[0].span, quoted("q\""))]);
    assert_eq!(&changed[..], br#"{ "choices":[{"index":0, "message":{"content":"q\"" , "x":1.0}}] }"#);
    let failed = Bytes::from_static(
        b"event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"r\",\"output\":[{\"x\":\"secret\"}],\"status\":\"failed\"}}\n\n",
    );
    let clean = without_output(&failed, 0);
    assert_eq!(
        &clean[..],
        b"event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"r\",\"output\":[],\"status\":\"failed\"}}\n\n"
    );
    let numbered = Bytes::from_static(b"data: {\"type\":\"error\",\"sequence_number\":4}\n\n");
    assert_eq!(without_output(&numbered, 0), numbered);
    assert_eq!(&without_output(&numbered, 2)[..], b"data: {\"type\":\"error\",\"sequence_number\":6}\n\n");
}

#[test]
fn a_name_that_is_spelled_with_escapes_is_the_same_name() {
    let plain = r#"{"choices":[{"index":1,"delta":{"content":"a"}}]}"#;
    let otherwise = r#"{"ch\u006fices":[{"\u0069ndex":1,"delt\u0061":{"c\u006fntent":"a"}}]}"#;
    assert_eq!(one(Operation::Chat, plain).of, one(Operation::Chat, otherwise).of);
    let (plain, otherwise) = (one(Operation::Chat, plain), one(Operation::Chat, otherwise));
    assert_eq!((plain.part, plain.group), (otherwise.part, otherwise.group));
    let number = otherwise.of.unwrap();
    let data = r#"{"ch\u006fices":[{"index":1,"delta":{"c\u006fntent":"a"}}]}"#;
    assert!(rest(Operation::Chat, data.as_bytes(), number, "z").is_some());
    // Nothing is passed over for it.
    assert_eq!(whole(Operation::Chat, r#"{"choices":[{"message":{"r\u006fle":"x","id":"y"}}]}"#).len(), 1);
}

#[test]
fn only_what_tells_a_place_begins_another_text() {
    let chat = |delta: &str| {
        let data = format!(
            r#"{{"index":4,"thought":true,"choices":[{{"index":0,"thought":true,"delta":{delta}}}]}}"#
        );
        one(Operation::Chat, &data)
    };
    let plain = one(Operation::Chat, r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#);
    for delta in [r#"{"content":"a"}"#, r#"{"content":"a","index":1}"#, r#"{"thought":true,"content":"a"}"#] {
        assert_eq!((chat(delta).of, chat(delta).part), (plain.of, Part::Content), "{delta}");
    }
    let delta = |more: &str| {
        let data = format!(
            r#"{{"type":"content_block_delta","index":2,"delta":{{"type":"text_delta","text":"a"{more}}}}}"#
        );
        one(Operation::Messages, &data).of
    };
    assert_eq!(delta(""), delta(r#","index":7"#));
}
