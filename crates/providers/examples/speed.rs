//! Nanoseconds of each operation on the hot path: `cargo run --release -p providers --example speed`,
//! with a part of a name as argument to measure only what bears it.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for people, with a clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use providers::answer;
use providers::request::{Edits, Operation, read, rewrite};
use providers::tap::{Tap, TapOptions};
use smallvec::SmallVec;

/// The best of many short rounds: what the work costs when nothing disturbs it.
fn measure(name: &str, mut work: impl FnMut()) {
    if std::env::args().nth(1).is_some_and(|wanted| !name.contains(&wanted)) {
        return;
    }
    let mut best = f64::MAX;
    let end = Instant::now() + Duration::from_millis(800);
    while Instant::now() < end {
        let start = Instant::now();
        let mut rounds = 0_u32;
        while start.elapsed() < Duration::from_micros(500) {
            for _ in 0..4 {
                work();
            }
            rounds += 4;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds));
    }
    println!("{name:<52} {best:>10.0} ns");
}

/// A conversation of `turns` messages whose texts hold an escaped line end every 60 bytes.
fn request(turns: usize, line: &str) -> Bytes {
    let text = line.repeat(11);
    let mut body =
        String::from(r#"{"model":"openai/gpt-5-mini","stream":true,"temperature":0.7,"messages":["#);
    for turn in 0..turns {
        let role = if turn % 2 == 0 { "user" } else { "assistant" };
        let comma = if turn == 0 { "" } else { "," };
        body.push_str(&format!(r#"{comma}{{"role":"{role}","content":"{text}"}}"#));
    }
    body.push_str(r#"],"user":"someone","seed":7}"#);
    body.into()
}

fn reading(size: &str, body: &Bytes) {
    let asked = read(Operation::Chat, body).unwrap_or_default();
    assert!(!asked.model.is_empty(), "the sample is a valid request");
    let name = format!("{size} ({} bytes)", body.len());
    measure(&format!("read {name}"), || drop(black_box(read(Operation::Chat, black_box(body)))));
    measure(&format!("serde_json Value of {name}, to compare"), || {
        drop(black_box(serde_json::from_slice::<serde_json::Value>(black_box(body))));
    });
    let edits = Edits { model: Some("gpt-5-mini"), include_usage: true, remove_models: true };
    measure(&format!("rewrite {name}"), || drop(black_box(rewrite(body, &asked, black_box(&edits)))));
}

fn tapping(name: &str, event: &Bytes, swallow_usage: bool) {
    let mut tap = Tap::new(TapOptions { swallow_usage, max_event: 1 << 20 });
    let mut out = SmallVec::new();
    measure(&format!("tap {name} ({} bytes)", event.len()), || {
        out.clear();
        let _ = black_box(tap.push(black_box(event).clone(), &mut out));
    });
}

fn main() {
    let english = r"The quick brown fox jumps over the lazy dog, then rests a bit.\n";
    let chinese = r"敏捷的棕色狐狸跳过懒狗，然后休息一会儿。\n";
    reading("1 KB", &request(1, english));
    reading("99 KB", &request(131, english));
    reading("99 KB Chinese", &request(140, chinese));
    let event = |usage: &str| {
        Bytes::from(format!(
            "data: {{\"id\":\"chatcmpl-B8Z0aXq1t2u3v4w5x6y7z8A9\",\"object\":\"chat.completion.chunk\",\
             \"created\":1763800000,\"model\":\"gpt-5-mini-2025-08-07\",\"system_fingerprint\":\"fp_0123456789\",\
             \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" token\"}},\"logprobs\":null,\
             \"finish_reason\":null}}]{usage}}}\n\n"
        ))
    };
    tapping("event", &event(""), false);
    tapping("event, usage:null cut", &event(",\"usage\":null"), true);
    let read = Bytes::from(event("").repeat(8));
    tapping("8 events in one read", &read, true);
    let answer = format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":19,"completion_tokens":210,"total_tokens":229,"prompt_tokens_details":{{"cached_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0}}}}}}"#,
        english.repeat(12)
    );
    measure(&format!("answer ({} bytes)", answer.len()), || {
        drop(black_box(answer::read(Operation::Chat, black_box(answer.as_bytes()))));
    });
}
