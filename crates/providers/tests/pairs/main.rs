//! Every pair of dialects, against each other: what one asks as the other is told it, what one answers as the other
//! shows it.
//!
//! Each dialect has its own unit tests; here is what only shows between two. The inputs are one request, one answer and
//! one stream for each feature in each dialect (`inputs/`); what the other three make of it stands in `golden/`, to be
//! read by people. `TIDEGATE_BLESS=1` writes it anew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod errors;
mod golden;
mod inputs;
mod odd;
mod requests;
mod round;
mod streams;

use bytes::Bytes;
use providers::blocks::{Answer, Event, Fold, Issuer, Request, Written};
use providers::dialects::{Dialect, Reply, StreamReader, StreamWriter, Target};
use providers::flow::{Flow, Pieces, Translated};
use providers::sse::Framer;

const MAX_EVENT: usize = 4 << 20;

fn issuer(dialect: Dialect) -> Issuer {
    Issuer { dialect, provider: format!("the-{}", dialect.name()) }
}

fn model(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat | Dialect::Responses => "gpt-5.1",
        Dialect::Messages => "claude-opus-4-6",
        Dialect::Gemini => "gemini-3-pro",
    }
}

fn target(dialect: Dialect) -> Target<'static> {
    Target { model: model(dialect), issuer: issuer(dialect), max_output: Some(32_000), stream_usage: true }
}

fn reply(request: &Request) -> Reply<'_> {
    Reply { id: "0abc", model: "house/model", created: 1_700_000_001, request }
}

/// What a client of the dialect has asked to get the answers here.
fn asked() -> Request {
    Request { include_usage: true, stream: true, ..Request::default() }
}

fn read_request(dialect: Dialect, body: &[u8]) -> Request {
    let mut request = providers::dialects::read_request(dialect, body)
        .unwrap_or_else(|error| panic!("{dialect:?} {}: {error:?}", String::from_utf8_lossy(body)));
    // Gemini has the model in the path.
    request.model = "m".to_owned();
    request
}

fn write_request(dialect: Dialect, request: &Request) -> Result<Written, providers::blocks::Refused> {
    providers::dialects::write_request(dialect, request, &target(dialect))
}

fn read_answer(dialect: Dialect, body: &[u8]) -> Answer {
    providers::dialects::read_answer(dialect, body, &issuer(dialect))
        .unwrap_or_else(|error| panic!("{dialect:?} {}: {error}", String::from_utf8_lossy(body)))
}

/// The events of a dialect as they go over the wire.
fn wire(dialect: Dialect, events: &[String]) -> Vec<u8> {
    #[derive(serde::Deserialize)]
    struct Kind {
        r#type: String,
    }
    let mut out = Vec::new();
    for data in events {
        if matches!(dialect, Dialect::Responses | Dialect::Messages) {
            let kind: Kind = serde_json::from_str(data).unwrap();
            out.extend_from_slice(format!("event: {}\n", kind.r#type).as_bytes());
        }
        let end = if dialect == Dialect::Gemini { "\r\n\r\n" } else { "\n\n" };
        out.extend_from_slice(format!("data: {data}{end}").as_bytes());
    }
    out
}

/// A provider's stream in pieces of `size` bytes, through to a client; with its error event if it fails.
fn translate(from: Dialect, to: Dialect, stream: &[u8], size: usize) -> Vec<u8> {
    let request = asked();
    let writer = StreamWriter::new(to, &reply(&request));
    let mut flow = Flow::Translated(Box::new(Translated::new(issuer(from), writer, MAX_EVENT)));
    let mut out = Vec::new();
    let mut pieces = Pieces::new();
    let mut done = Ok(());
    for chunk in stream.chunks(size) {
        done = flow.push(Bytes::copy_from_slice(chunk), &mut pieces);
        if done.is_err() {
            break;
        }
    }
    if done.is_ok() {
        done = flow.end(&mut pieces);
    }
    for piece in pieces {
        out.extend_from_slice(&piece);
    }
    match done {
        Ok(()) => out.extend(flow.terminal().unwrap_or_else(|| panic!("{from:?} to {to:?}: no end"))),
        Err(providers::tap::StreamFault::InBandError { message, code, .. }) => {
            out.extend_from_slice(&flow.retold(message.as_deref(), code.as_deref(), "req_1"));
        }
        Err(other) => panic!("{from:?} to {to:?}: {other:?}"),
    }
    out
}

/// The events that a dialect's reader makes of a stream.
fn events(dialect: Dialect, stream: &[u8]) -> Vec<Event> {
    let mut framer = Framer::new(MAX_EVENT);
    framer.push(Bytes::copy_from_slice(stream));
    let mut reader = StreamReader::new(issuer(dialect));
    let mut out = Vec::new();
    while let Some(event) = framer.next().unwrap() {
        if !event.comment_only {
            reader.push(event.name.as_deref(), &event.data, &mut out);
        }
    }
    reader.end(&mut out);
    out
}

fn fold(events: &[Event]) -> Fold {
    let mut fold = Fold::default();
    for event in events {
        fold.push(event);
    }
    fold
}

fn pairs() -> impl Iterator<Item = (Dialect, Dialect)> {
    Dialect::ALL.into_iter().flat_map(|one| {
        Dialect::ALL.into_iter().filter(move |other| *other != one).map(move |other| (one, other))
    })
}
