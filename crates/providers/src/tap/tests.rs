//! Whole streams through the tap: what leaves, what is withheld, what was learnt; in any chunking.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::steps;

const LIMIT: usize = 64 * 1024;

fn tap(swallow_usage: bool) -> Tap {
    Tap::new(TapOptions { swallow_usage, max_event: LIMIT })
}

/// Pushes chunks; gives what left, and the fault if there was one.
fn push_all(tap: &mut Tap, chunks: &[&[u8]]) -> (Vec<u8>, Result<(), StreamFault>) {
    let mut left = Vec::new();
    for chunk in chunks {
        let mut out = SmallVec::new();
        let outcome = tap.push(Bytes::copy_from_slice(chunk), &mut out);
        assert!(out.len() <= 1, "one write for one read");
        left.extend(out.iter().flat_map(|piece| piece.to_vec()));
        if outcome.is_err() {
            return (left, outcome);
        }
    }
    let mut out = SmallVec::new();
    let outcome = tap.end(&mut out);
    left.extend(out.iter().flat_map(|piece| piece.to_vec()));
    (left, outcome)
}

fn pass(swallow_usage: bool, text: &str) -> (String, Tap) {
    let mut tap = tap(swallow_usage);
    let (left, outcome) = push_all(&mut tap, &[text.as_bytes()]);
    outcome.unwrap();
    (String::from_utf8(left).unwrap(), tap)
}

fn fault(text: &str) -> (Vec<u8>, StreamFault) {
    let mut tap = tap(false);
    let (left, outcome) = push_all(&mut tap, &[text.as_bytes()]);
    (left, outcome.unwrap_err())
}

fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

fn delta(content: &str, more: &str) -> String {
    event(&format!(
        r#"{{"id":"c1","object":"chat.completion.chunk","model":"m1","choices":[{{"index":0,"delta":{{"content":"{content}"}},"logprobs":null,"finish_reason":null}}]{more}}}"#
    ))
}

fn finish(more: &str) -> String {
    event(&format!(r#"{{"id":"c1","choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}]{more}}}"#))
}

const USAGE: &str = r#""usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":0}}"#;
const DONE: &str = "data: [DONE]\n\n";

fn usage_event() -> String {
    event(&format!(r#"{{"id":"c1","choices":[],{USAGE}}}"#))
}

#[test]
fn a_plain_stream_leaves_as_it_came_but_for_done() {
    let events = [delta("Hel", ""), ": keep-alive\n\n".into(), delta("lo", ""), finish("")].concat();
    let (left, mut tap) = pass(false, &[&events, DONE].concat());
    assert_eq!(left, events);
    assert!(tap.started() && tap.finished());
    assert_eq!((tap.model(), tap.id(), tap.finish_reason()), (Some("m1"), Some("c1"), Some("stop")));
    assert_eq!((tap.output_estimate(), tap.usage(), tap.choices()), (2, None, 1));
    assert_eq!(tap.terminal().unwrap(), DONE);
    assert_eq!(tap.terminal(), None);
}

#[test]
fn untouched_chunks_leave_as_that_very_bytes() {
    let chunk = Bytes::from([delta("a", ""), delta("b", "")].concat());
    let mut out = SmallVec::new();
    tap(true).push(chunk.clone(), &mut out).unwrap();
    assert_eq!((out.len(), out[0].as_ptr(), out[0].len()), (1, chunk.as_ptr(), chunk.len()));
}

#[test]
fn usage_that_only_we_asked_for_is_taken_out() {
    let null = r#","usage":null"#;
    let text = [delta("a", null), finish(null), usage_event(), DONE.into()].concat();
    let (left, mut swallowing) = pass(true, &text);
    assert_eq!(left, [delta("a", ""), finish("")].concat());
    let usage = swallowing.usage().unwrap();
    assert_eq!(
        (usage.input, usage.output, usage.cached_input, usage.cache_write),
        (Some(9), Some(2), Some(0), None)
    );
    assert_eq!(swallowing.terminal().unwrap(), DONE);

    let (left, plain) = pass(false, &text);
    assert_eq!(left, text.strip_suffix(DONE).unwrap());
    assert_eq!(plain.usage(), Some(usage));
}

#[test]
fn null_usage_is_cut_only_at_the_top_of_an_event() {
    for (event_json, wanted) in [
        (r#"{"usage":null,"choices":[]}"#, r#"{"choices":[]}"#),
        (r#"{ "usage" : null , "choices":[] }"#, r#"{ "choices":[] }"#),
        (r#"{"choices":[],"usage":null}"#, r#"{"choices":[]}"#),
        (r#"{"a":1, "usage":null , "b":2}"#, r#"{"a":1 , "b":2}"#),
        (r#"{"usage":null}"#, "{}"),
        (r#"{"x":{"usage":null},"choices":[]}"#, r#"{"x":{"usage":null},"choices":[]}"#),
        (
            r#"{"choices":[{"delta":{"content":"say \"usage\":null"}}]}"#,
            r#"{"choices":[{"delta":{"content":"say \"usage\":null"}}]}"#,
        ),
    ] {
        let (left, _) = pass(true, &event(event_json));
        assert_eq!(left, event(wanted));
    }
}

#[test]
fn usage_on_a_chunk_with_choices_is_recorded_and_left() {
    let text = [delta("a", &format!(",{USAGE}")), finish("")].concat();
    let (left, tap) = pass(true, &text);
    assert_eq!(left, text);
    assert_eq!(tap.usage().unwrap().output, Some(2));
}

#[test]
fn vendors_streams_are_understood() {
    // Groq: usage in a corner of its own, on the last chunk.
    let groq = event(
        r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"queue_time":0.1,"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}}"#,
    );
    assert_eq!(pass(true, &groq).1.usage().unwrap().output, Some(7));
    // vLLM with running usage, spaces after colons: the last counts.
    let vllm = |n: u32| {
        event(&format!(
            r#"{{"id": "c", "model": "q", "choices": [{{"index": 0, "delta": {{"content": "xy"}}, "finish_reason": null}}], "usage": {{"prompt_tokens": 4, "completion_tokens": {n}}}}}"#
        ))
    };
    let (_, tap) = pass(true, &[vllm(1), vllm(2), vllm(3)].concat());
    assert_eq!((tap.usage().unwrap().output, tap.output_estimate(), tap.finished()), (Some(3), 3, false));
    // MiniMax: nothing but a zero total in the chunks.
    let minimax = delta("x", r#","usage":{"total_tokens":0}"#);
    assert_eq!(pass(true, &minimax).1.usage(), None);
    // DeepSeek: reasoning beside content, comments while queueing.
    let deepseek = [
        ": keep-alive\n\n".to_owned(),
        event(r#"{"id":"d","model":"ds","choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":"12345678"},"finish_reason":null}]}"#),
    ]
    .concat();
    let (left, tap) = pass(false, &deepseek);
    assert_eq!((left, tap.output_estimate()), (deepseek, 2));
    // OpenRouter repeats reasoning under a second name; it counts once.
    let twice = event(
        r#"{"choices":[{"delta":{"content":"","reasoning":"12345678","reasoning_details":[{"type":"reasoning.text","text":"12345678","format":"f"}]}}]}"#,
    );
    assert_eq!(pass(false, &twice).1.output_estimate(), 2);
    // Azure: a first chunk without choices or model, then the real ones.
    let azure = [event(r#"{"choices":[],"model":"","id":"","prompt_filter_results":[{"content_filter_results":{"error":{"code":"x"}}}]}"#), delta("a", "")].concat();
    let (left, tap) = pass(true, &azure);
    assert_eq!((left, tap.model()), (azure, Some("m1")));
    // Completions.
    let text = event(
        r#"{"id":"t","object":"text_completion","choices":[{"text":"12345678","index":0,"logprobs":null,"finish_reason":"length"}]}"#,
    );
    let (_, tap) = pass(false, &text);
    assert_eq!((tap.output_estimate(), tap.finish_reason(), tap.finished()), (2, Some("length"), true));
}

#[test]
fn tool_calls_count_names_and_arguments_not_ids() {
    let call = |inner: &str| {
        event(&format!(
            r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{inner}]}},"finish_reason":null}}]}}"#
        ))
    };
    let text = [
        call(r#"{"index":0,"id":"call_0123456789abcdef","type":"function","function":{"name":"weather!","arguments":""}}"#),
        call(r#"{"index":0,"function":{"arguments":"{\"city\":\"X"}}"#),
        call(r#"{"index":1,"function":{"arguments":"1234"}}"#),
    ]
    .concat();
    let (_, tap) = pass(false, &text);
    assert_eq!((tap.output_estimate(), tap.choices()), (2 + 3 + 1, 1));
}

#[test]
fn wide_text_counts_the_same_escaped_or_not() {
    for content in ["中文字符测试中文字符", r"\u4e2d\u6587\u5b57\u7b26\u6d4b\u8bd5\u4e2d\u6587\u5b57\u7b26"]
    {
        assert_eq!(pass(false, &delta(content, "")).1.output_estimate(), 6, "{content}");
    }
}

#[test]
fn a_stream_is_finished_when_every_choice_is() {
    let choice = |index: u32, reason: &str| {
        event(&format!(
            r#"{{"choices":[{{"index":{index},"delta":{{"content":"x"}},"finish_reason":{reason}}}]}}"#
        ))
    };
    let (_, tap) = pass(false, &[choice(0, "null"), choice(1, "null"), choice(0, "\"stop\"")].concat());
    assert_eq!((tap.choices(), tap.finished()), (2, false));
    let (_, tap) = pass(false, &[choice(0, "\"\""), choice(1, "\"length\""), choice(0, "\"stop\"")].concat());
    assert_eq!((tap.finish_reason(), tap.finished()), (Some("length"), true));
    let (_, tap) = pass(false, "");
    assert!(!tap.started() && !tap.finished());
    let (_, tap) = pass(false, DONE);
    assert!(tap.started() && tap.finished());
}

#[test]
fn an_error_in_the_stream_is_a_fault_and_does_not_leave() {
    let before = delta("a", "");
    for (text, message, code) in [
        (
            event(r#"{"error":{"message":"boom","type":"server_error","param":null,"code":null}}"#),
            "boom",
            Some("server_error"),
        ),
        (event(r#"{"error":{"message":"slow down","code":429}}"#), "slow down", Some("429")),
        (event(r#"{"error":"plain"}"#), "plain", None),
        (
            event(r#"{"object":"error","message":"vllm","type":"BadRequestError","code":400}"#),
            "vllm",
            Some("400"),
        ),
        (
            "event: error\ndata: {\"code\":\"Throttling\",\"message\":\"dash\"}\n\n".into(),
            "dash",
            Some("Throttling"),
        ),
        ("error: {\"code\":500,\"message\":\"llama\"}\n\n".into(), "llama", Some("500")),
        // Half of an event is nothing, but this one lacks only its blank line.
        ("data: {\"error\":{\"message\":\"cut\"}}".into(), "cut", None),
    ] {
        let (left, fault) = fault(&[&before[..], &text].concat());
        assert_eq!(left, before.as_bytes(), "{text}");
        let StreamFault::InBandError { raw, message: told, code: told_code } = fault else {
            panic!("{fault:?} for {text}")
        };
        assert!(raw.starts_with(text.trim_end().as_bytes()));
        assert_eq!((told.as_deref(), told_code.as_deref()), (Some(message), code), "{text}");
    }
}

#[test]
fn no_error_is_seen_where_there_is_none() {
    for more in [r#","error":null"#, r#","error":"""#, r#","x":{"error":{"message":"no"}}"#] {
        let text = delta("\\\"error\\\":1", more);
        assert_eq!(pass(false, &text).0, text);
    }
    assert_eq!(
        pass(false, "event: ping\ndata: {\"type\": \"ping\"}\n\n").0,
        "event: ping\ndata: {\"type\": \"ping\"}\n\n"
    );
}

#[test]
fn what_is_no_stream_of_events_is_told_at_once() {
    for text in [
        "<html>",
        "{\"error\":{\"message\":\"x\"}}",
        "[",
        "Internal Server Error",
        "  data: x\n\n",
        "\n\n<!DOCTYPE",
        "dat!",
        "\u{feff}{",
    ] {
        let (left, fault) = fault(text);
        assert_eq!(fault, StreamFault::NotEvents, "{text}");
        assert!(left.iter().all(|byte| *byte == b'\n'));
    }
    for text in [
        "\u{feff}data: {}\n\n",
        "\n\ndata: {}\n\n",
        ": c\n\n",
        "id: 1\ndata: {}\n\n",
        "retry: 3\n\n",
        "event: x\ndata: {}\n\n",
    ] {
        assert_eq!(pass(false, text).0, text);
    }
}

#[test]
fn the_limit_holds_in_any_chunking() {
    let text = [delta("a", ""), format!("data: {}\n\n", "x".repeat(500))].concat();
    for size in [1, 7, 100, 1000] {
        let mut tap = Tap::new(TapOptions { swallow_usage: true, max_event: 300 });
        let chunks: Vec<_> = text.as_bytes().chunks(size).collect();
        let (left, outcome) = push_all(&mut tap, &chunks);
        assert_eq!((outcome, left), (Err(StreamFault::TooLong), delta("a", "").into_bytes()));
        assert!(tap.carry.len() <= 300);
    }
}

#[test]
fn a_stream_without_its_last_blank_line_still_ends_well() {
    let events = [delta("a", ""), finish("")].concat();
    for ending in ["data: [DONE]", "data: [DONE]\n", "data:[DONE]\r\n"] {
        let (left, mut tap) = pass(false, &[&events, ending].concat());
        assert_eq!(left, events);
        assert!(tap.terminal().unwrap().starts_with(ending.as_bytes()));
    }
    let (left, tap) = pass(false, events.trim_end());
    assert_eq!((left, tap.finished()), (events.clone(), true));
    // Half an event is dropped.
    let (left, tap) = pass(false, &[&delta("a", "")[..], "data: {\"choices\":[{"].concat());
    assert_eq!((left, tap.finished()), (delta("a", ""), false));
}

#[test]
fn what_follows_done_is_kept_with_it() {
    let mut tap = tap(false);
    let mut out = SmallVec::new();
    tap.push(Bytes::from_static(b"data: [DONE]\r\n\r"), &mut out).unwrap();
    tap.push(Bytes::from_static(b"\n"), &mut out).unwrap();
    tap.push(Bytes::from_static(b": bye\n\n"), &mut out).unwrap();
    assert!(out.is_empty());
    assert_eq!(tap.terminal().unwrap(), "data: [DONE]\r\n\r\n: bye\n\n");
    tap.push(Bytes::from_static(b"data: {}\n\n"), &mut out).unwrap();
    assert_eq!((out.len(), tap.terminal()), (0, None));
}

#[test]
fn tapping_is_linear_byte_by_byte() {
    let text = |n: usize| [delta("word", r#","usage":null"#).repeat(n), DONE.into()].concat();
    let work = |n: usize, size: usize| {
        let text = text(n);
        steps::measured(|| {
            let mut tap = tap(true);
            push_all(&mut tap, &text.as_bytes().chunks(size).collect::<Vec<_>>()).1.unwrap();
        })
    };
    for size in [1, 100, 1 << 20] {
        assert!(work(320, size) <= 17 * work(20, size), "{size}");
        assert!(work(320, size) <= 6 * text(320).len() as u64);
    }
    // One long event in small pieces.
    let long = delta(&"x".repeat(60_000), "");
    let work = steps::measured(|| {
        push_all(&mut tap(true), &long.as_bytes().chunks(1).collect::<Vec<_>>()).1.unwrap();
    });
    assert!(work <= 6 * long.len() as u64, "{work}");
}

/// One event of a stream: its text, and what shall leave when usage is swallowed.
fn piece() -> impl Strategy<Value = (String, Option<String>)> {
    let content = "[a-z {}中é]{0,12}";
    prop_oneof![
        4 => content.prop_map(|text| (delta(&text, ""), None)),
        3 => content.prop_map(|text| (delta(&text, r#","usage":null"#), Some(delta(&text, "")))),
        1 => Just((usage_event(), Some(String::new()))),
        1 => Just((finish(""), None)),
        1 => Just((": ka\n\n".to_owned(), None)),
        1 => Just(("\n".to_owned(), None)),
        1 => Just(("event: x\ndata: {\"a\":\ndata: 1}\n\n".to_owned(), None)),
        1 => Just(("data: text\nid: 4\n\n".to_owned(), None)),
    ]
}

proptest! {
    #[test]
    fn chunking_changes_nothing_and_only_the_withheld_is_missing(
        pieces in prop::collection::vec(piece(), 0..10),
        ending in prop::sample::select(vec!["\n", "\r", "\r\n"]),
        done in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut text: String = pieces.iter().map(|(text, _)| &text[..]).collect();
        let mut wanted: String =
            pieces.iter().map(|(text, instead)| instead.as_deref().unwrap_or(text)).collect();
        let tail = if done { DONE } else { "" };
        text.push_str(tail);
        let text = text.replace('\n', ending).into_bytes();
        wanted = wanted.replace('\n', ending);
        let tail = tail.replace('\n', ending);

        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let pieces: Vec<_> = places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let single: Vec<_> = text.chunks(1).collect();
        for chunks in [vec![&text[..]], pieces, single] {
            let mut tap = tap(true);
            let (left, outcome) = push_all(&mut tap, &chunks);
            prop_assert_eq!(outcome, Ok(()));
            prop_assert_eq!(String::from_utf8(left).unwrap(), &wanted[..]);
            prop_assert_eq!(tap.terminal().unwrap_or_default(), tail.as_bytes());
        }
    }
}
