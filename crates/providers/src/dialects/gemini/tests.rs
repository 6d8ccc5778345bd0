//! What Google's dialect says, read and written; streams against whole answers; wild input.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod answers;
mod asked;
mod asking;
mod streams;
mod wild;

use bytes::BytesMut;
use serde_json::Value;

use super::*;
use crate::blocks::{Answer, Event, Fold, Issuer, Part, Request, Written};
use crate::dialects::{Dialect, Failing, Reply, Target};

fn issuer() -> Issuer {
    Issuer { dialect: Dialect::Gemini, provider: "google".into() }
}

fn target(model: &str) -> Target<'_> {
    Target { model, issuer: issuer(), max_output: None, stream_usage: true }
}

fn read(body: &str) -> Request {
    read_request(body.as_bytes()).unwrap()
}

fn write(request: &Request, model: &str) -> (Value, Vec<String>) {
    let Written { body, dropped, headers } = write_request(request, &target(model)).unwrap();
    assert!(headers.is_empty());
    (json(&body), dropped.into_iter().map(|param| param.0).collect())
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

fn reply(request: &Request) -> Reply<'_> {
    Reply { id: "abc123", model: "my-model", created: 1_700_000_000, request }
}

fn events(chunks: &[&str]) -> Vec<Event> {
    let mut reader = StreamReader::new(issuer());
    let mut out = Vec::new();
    for chunk in chunks {
        reader.push(None, chunk.as_bytes(), &mut out);
    }
    reader.end(&mut out);
    out
}

/// What events add up to, with what a fold cannot know put right.
fn folded(events: &[Event]) -> (Answer, bool) {
    let mut fold = Fold::default();
    events.iter().for_each(|event| fold.push(event));
    let ended = fold.ended;
    let answer = fold.answer();
    (answer, ended)
}

fn written(events: &[Event], mut writer: StreamWriter) -> String {
    let mut out = BytesMut::new();
    events.iter().for_each(|event| writer.write(event, &mut out));
    String::from_utf8(out.to_vec()).unwrap()
}

/// The data of the events of a stream.
fn frames(stream: &str) -> Vec<String> {
    let frames: Vec<String> =
        stream.split("\r\n\r\n").filter(|frame| !frame.is_empty()).map(str::to_owned).collect();
    frames.iter().map(|frame| frame.strip_prefix("data: ").unwrap().to_owned()).collect()
}
