//! Each flag alone: what it edits, what it reports, what it refuses, and that it touches nothing else.

#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;

use super::request::{Ask, Edited, edit};
use super::{Quirk, Quirks, answer};
use crate::blocks::{Issuer, Refused, Thinking};
use crate::dialects::Dialect;
use crate::flow::{Flow, Pieces};
use crate::quirks::stream::Cleaned;
use crate::tap::{Tap, TapOptions};

fn ask(stream: bool) -> Ask<'static> {
    Ask { stream, thinking: None, thoughts: &|_| None }
}

fn edited(quirk: Quirk, body: &str, ask: &Ask<'_>) -> Result<Edited, Refused> {
    edit(&Bytes::from(body.to_owned()), Quirks::from_iter([quirk]), ask)
}

fn becomes(quirk: Quirk, body: &str, wanted: &str, dropped: &[&str]) {
    let done = edited(quirk, body, &ask(true)).unwrap();
    assert_eq!(std::str::from_utf8(&done.body).unwrap(), wanted, "{quirk:?}");
    assert_eq!(done.dropped, dropped, "{quirk:?}: {body}");
}

#[test]
fn limits_have_their_older_name() {
    let quirk = Quirk::MaxTokensOnly;
    becomes(quirk, r#"{"a":1.0, "max_completion_tokens" : 9}"#, r#"{"a":1.0, "max_tokens" : 9}"#, &[]);
    becomes(quirk, r#"{"max_tokens":7,"max_completion_tokens":5,"z":0}"#, r#"{"max_tokens":5,"z":0}"#, &[]);
    becomes(quirk, r#"{"max_completion_tokens":9,"max_tokens":7}"#, r#"{"max_tokens":7}"#, &[]);
    becomes(quirk, r#"{"max_tokens":null,"max_completion_tokens":5}"#, r#"{"max_tokens":5}"#, &[]);
    becomes(quirk, r#"{"max_tokens":3}"#, r#"{"max_tokens":3}"#, &[]);
}

#[test]
fn tool_arguments_are_streamed() {
    let quirk = Quirk::ToolStreamFlag;
    becomes(quirk, r#"{"tools":[{}] }"#, r#"{"tools":[{}],"tool_stream":true }"#, &[]);
    becomes(quirk, r#"{"tools":[]}"#, r#"{"tools":[]}"#, &[]);
    becomes(quirk, r#"{"tools":[{}],"tool_stream":false}"#, r#"{"tools":[{}],"tool_stream":false}"#, &[]);
    let whole = edited(quirk, r#"{"tools":[{}]}"#, &ask(false)).unwrap();
    assert_eq!(whole.body, r#"{"tools":[{}]}"#);
}

#[test]
fn a_choice_of_tools_that_cannot_be_said_is_refused() {
    let quirk = Quirk::ToolChoiceAutoOnly;
    becomes(quirk, r#"{"tools":[{}],"tool_choice":"auto"}"#, r#"{"tools":[{}],"tool_choice":"auto"}"#, &[]);
    becomes(quirk, r#"{"a":1,"tools":[{}],"tool_choice":"none"}"#, r#"{"a":1}"#, &[]);
    for choice in [r#""required""#, r#"{"type":"function","function":{"name":"f"}}"#] {
        let body = format!(r#"{{"tools":[{{}}],"tool_choice":{choice}}}"#);
        assert_eq!(edited(quirk, &body, &ask(false)).unwrap_err().param, "tool_choice");
    }
}

#[test]
fn a_schema_is_refused_and_an_object_is_not() {
    let quirk = Quirk::JsonObjectOnly;
    let object = r#"{"response_format":{"type":"json_object"}}"#;
    becomes(quirk, object, object, &[]);
    let schema = r#"{"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{}}}}"#;
    assert_eq!(edited(quirk, schema, &ask(false)).unwrap_err().param, "response_format");
}

#[test]
fn sampling_that_would_be_refused_is_dropped_and_reported() {
    let body = r#"{"temperature":0.2,"top_p":0.5,"presence_penalty":1,"frequency_penalty":null,"seed":1}"#;
    becomes(Quirk::NoPenalties, body, r#"{"temperature":0.2,"top_p":0.5,"seed":1}"#, &["presence_penalty"]);
    becomes(Quirk::FixedSampling, body, r#"{"seed":1}"#, &["temperature", "top_p", "presence_penalty"]);
    let quirk = Quirk::TemperatureUpToOne;
    becomes(quirk, r#"{"temperature":1.7}"#, r#"{"temperature":1.0}"#, &["temperature"]);
    becomes(quirk, r#"{"temperature":0}"#, r#"{"temperature":0.01}"#, &["temperature"]);
    becomes(quirk, r#"{"temperature":1e0}"#, r#"{"temperature":1e0}"#, &[]);
}

#[test]
fn thinking_is_switched_in_the_vendors_words() {
    let object = Quirk::ThinkingObject;
    becomes(object, r#"{"reasoning_effort":"none"}"#, r#"{"thinking":{"type":"disabled"}}"#, &[]);
    becomes(
        object,
        r#"{"a":1,"reasoning_effort":"low"}"#,
        r#"{"a":1,"thinking":{"type":"enabled"}}"#,
        &["reasoning_effort"],
    );
    let own = r#"{"thinking":{"type":"disabled"},"reasoning_effort":"high"}"#;
    becomes(object, own, own, &[]);
    let flag = Quirk::EnableThinkingFlag;
    becomes(flag, r#"{"reasoning_effort":"none"}"#, r#"{"enable_thinking":false}"#, &[]);
    becomes(flag, r#"{"reasoning_effort":"low"}"#, r#"{"enable_thinking":true,"thinking_budget":4096}"#, &[]);
    becomes(flag, r#"{"reasoning_effort":"high"}"#, r#"{"enable_thinking":true}"#, &[]);
    becomes(flag, r#"{"model":"m"}"#, r#"{"model":"m"}"#, &[]);
    let both = Quirks::from_iter([object, Quirk::EffortLowHighMax]);
    let done = edit(&Bytes::from_static(br#"{"reasoning_effort":"medium"}"#), both, &ask(false)).unwrap();
    assert_eq!(done.body, r#"{"reasoning_effort":"high","thinking":{"type":"enabled"}}"#);
    assert!(done.dropped.is_empty());
    let level = Quirk::EffortLowHighMax;
    becomes(level, r#"{"reasoning_effort":"xhigh"}"#, r#"{"reasoning_effort":"high"}"#, &[]);
    becomes(level, r#"{"a":1,"reasoning_effort":"none"}"#, r#"{"a":1}"#, &["reasoning_effort"]);
}

/// Clients of Anthropic's and Google's dialects count tokens or switch off; what Chat cannot say of it, the switch can.
#[test]
fn thinking_of_other_dialects_reaches_the_switch() {
    let counted = Thinking { budget: Some(2_000), mode: Some("enabled".into()), ..Thinking::default() };
    let off = Thinking { mode: Some("disabled".into()), ..Thinking::default() };
    let of = |quirk, thinking, body| {
        edited(quirk, body, &Ask { stream: false, thinking: Some(thinking), thoughts: &|_| None }).unwrap()
    };
    let done = of(Quirk::EnableThinkingFlag, &counted, r#"{"reasoning_effort":"low"}"#);
    assert_eq!(done.body, r#"{"enable_thinking":true,"thinking_budget":2000}"#);
    assert_eq!(done.kept, ["reasoning_effort", "thinking_budget"]);
    let done = of(Quirk::EnableThinkingFlag, &off, r#"{"m":1}"#);
    assert_eq!(done.body, r#"{"m":1,"enable_thinking":false}"#);
    let done = of(Quirk::ThinkingObject, &off, r#"{"m":1}"#);
    assert_eq!(
        (done.body, done.kept),
        (Bytes::from_static(br#"{"m":1,"thinking":{"type":"disabled"}}"#), vec!["reasoning_effort"])
    );
    let done = of(Quirk::ThinkingObject, &Thinking::default(), r#"{"m":1}"#);
    assert_eq!(done.body, r#"{"m":1}"#);
}

#[test]
fn a_message_to_be_continued_is_marked() {
    let body = r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y" }]}"#;
    for (quirk, mark) in [(Quirk::PrefillPrefix, "prefix"), (Quirk::PrefillPartial, "partial")] {
        let wanted = body.replace(r#""y" }"#, &format!(r#""y","{mark}":true }}"#));
        becomes(quirk, body, &wanted, &[]);
        becomes(quirk, &wanted, &wanted, &[]);
        let asked = r#"{"messages":[{"role":"assistant","content":"y"},{"role":"user","content":"x"}]}"#;
        becomes(quirk, asked, asked, &[]);
    }
}

#[test]
fn lists_of_texts_become_one_text() {
    let body = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a\u00e9"},{"text":"\"b","type":"text"}]}]}"#;
    becomes(Quirk::NoContentLists, body, r#"{"messages":[{"role":"user","content":"a\u00e9\n\"b"}]}"#, &[]);
    let image = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}]}"#;
    becomes(Quirk::NoContentLists, image, image, &[]);
}

#[test]
fn lost_thoughts_are_put_back() {
    let body = |more: &str| {
        format!(
            r#"{{"messages":[{{"role":"assistant","tool_calls":[{{"id":"c1","function":{{}}}}]{more}}},{{"role":"tool"}}]}}"#
        )
    };
    let thoughts = |id: &str| (id == "c1").then(|| "so \"be\" it".to_owned());
    let ask = Ask { stream: false, thinking: None, thoughts: &thoughts };
    let quirk = Quirk::NeedsReasoningReplay;
    let with = body(r#","reasoning_content":"so \"be\" it""#);
    for lost in [body(""), body(r#","reasoning_content":"""#), body(r#","reasoning_content":null"#)] {
        assert_eq!(edited(quirk, &lost, &ask).unwrap().body, with);
    }
    let own = body(r#","reasoning_content":"mine""#);
    assert_eq!(edited(quirk, &own, &ask).unwrap().body, own);
    let unknown = body("").replace("c1", "c2");
    assert_eq!(edited(quirk, &unknown, &ask).unwrap().body, unknown);
}

#[test]
fn what_needs_nothing_is_the_very_bytes() {
    let all: Quirks =
        [Quirk::MaxTokensOnly, Quirk::NoPenalties, Quirk::ThinkingObject, Quirk::NoContentLists]
            .into_iter()
            .collect();
    let body = Bytes::from_static(
        b"{ \"messages\" : [ { \"role\":\"user\" , \"content\":\"\\u0041\"} ],\"n\":1.50 }",
    );
    let done = edit(&body, all, &ask(true)).unwrap();
    assert_eq!(done.body.as_ptr(), body.as_ptr());
    let text = Bytes::from_static(b"[1]");
    assert_eq!(edit(&text, all, &ask(true)).unwrap().body, text);
}

#[test]
fn whole_answers_lose_their_tags() {
    let quirks = Quirks::from_iter([Quirk::ReasoningInThinkTags]);
    let body = Bytes::from_static(
        br#"{"x":1.0,"choices":[{"message":{"content":"<think>\nhm\n</think>\n\nyes","role":"assistant"}}]}"#,
    );
    assert_eq!(
        answer::clean(body.clone(), quirks),
        r#"{"x":1.0,"choices":[{"message":{"content":"yes","role":"assistant","reasoning_content":"hm"}}]}"#
    );
    let plain = Bytes::from_static(br#"{"choices":[{"message":{"content":"a <think> b"}}]}"#);
    assert_eq!(answer::clean(plain.clone(), quirks).as_ptr(), plain.as_ptr());
}

/// What a client gets of a stream that comes in pieces of `size` bytes.
fn streamed(quirks: Quirks, stream: &str, size: usize) -> (String, Option<crate::Usage>, Option<String>) {
    let issuer = Issuer { dialect: Dialect::Chat, provider: "p".into() };
    let tap = Flow::Tapped(Tap::new(TapOptions { swallow_usage: false, max_event: 1 << 20 }));
    let mut flow = Flow::Cleaned(Box::new(Cleaned::new(quirks, issuer, tap, 1 << 20)));
    let mut out = Vec::new();
    let mut terminal = Vec::new();
    for piece in stream.as_bytes().chunks(size) {
        let mut pieces = Pieces::new();
        flow.push(Bytes::copy_from_slice(piece), &mut pieces).unwrap();
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        terminal.extend(flow.terminal().unwrap_or_default());
    }
    let mut pieces = Pieces::new();
    flow.end(&mut pieces).unwrap();
    out.extend(pieces.concat());
    out.extend(terminal);
    let kept = flow.keepsake().and_then(|keepsake| keepsake.plain_thoughts());
    (String::from_utf8(out).unwrap(), flow.usage(), kept)
}

fn delta(delta: &str, more: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{{delta}}}{more}}}]}}\n\n")
}

fn told(stream: &str, member: &str) -> String {
    let events = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = events.filter_map(|data| serde_json::from_str::<serde_json::Value>(data).ok());
    events.filter_map(|event| event["choices"][0]["delta"][member].as_str().map(str::to_owned)).collect()
}

#[test]
fn streams_lose_tags_empty_roles_and_empty_counts() {
    let quirks: Quirks =
        [Quirk::ReasoningInThinkTags, Quirk::EmptyRoleDeltas, Quirk::ZeroUsageChunks].into_iter().collect();
    let stream = [
        delta(r#""role":"assistant","content":"<th""#, ""),
        delta(r#""role":"","content":"ink>let me</thi""#, ""),
        delta(r#""content":"nk>\n\nIt is""#, ""),
        ": alive\n\n".to_owned(),
        delta(r#""content":" so.","role":"""#, r#","x":[1.0]"#),
        delta("", r#","finish_reason":"stop""#).replace("]}", r#"],"usage":{"total_tokens":0}}"#),
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n".to_owned(),
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}}\n\n".to_owned(),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    for size in [1, 2, 7, 50, 10_000] {
        let (out, usage, _) = streamed(quirks, &stream, size);
        assert_eq!(
            (told(&out, "reasoning_content"), told(&out, "content")),
            ("let me".into(), "It is so.".into()),
            "{out}"
        );
        assert_eq!(told(&out, "role"), "assistant");
        assert!(!out.contains(r#""role":"""#) && !out.contains(r#""total_tokens":0"#), "{out}");
        assert!(
            out.contains(": alive\n\n") && out.contains(r#","x":[1.0]"#) && out.ends_with("data: [DONE]\n\n")
        );
        assert_eq!(usage.unwrap().output, Some(2));
    }
}

#[test]
fn text_that_is_held_back_is_told_before_the_end() {
    let quirks = Quirks::from_iter([Quirk::ReasoningInThinkTags]);
    for more in ["", r#","finish_reason":"length""#] {
        let stream = format!("{}data: [DONE]\n\n", delta(r#""content":"<think>well </th""#, more));
        let (out, ..) = streamed(quirks, &stream, 1_000);
        assert_eq!(told(&out, "reasoning_content"), "well </th", "{out}");
    }
    let plain = format!("{}data: [DONE]\n\n", delta(r#""content":"plain""#, r#","finish_reason":"stop""#));
    assert_eq!(streamed(quirks, &plain, 1_000).0, plain);
}

#[test]
fn thoughts_before_calls_are_heard() {
    let quirks = Quirks::from_iter([Quirk::NeedsReasoningReplay]);
    let stream = [
        delta(r#""role":"assistant","reasoning_content":"I must ""#, ""),
        delta(r#""reasoning_content":"look""#, ""),
        delta(r#""tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]"#, ""),
        delta("", r#","finish_reason":"tool_calls""#),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    for size in [3, 10_000] {
        let (out, _, kept) = streamed(quirks, &stream, size);
        assert_eq!((out, kept), (stream.clone(), Some("I must look".to_owned())));
    }
}
