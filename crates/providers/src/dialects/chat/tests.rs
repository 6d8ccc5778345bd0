//! What each door does, and that the two ways of answering come to the same.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod answers;
mod asking;

mod putting;
mod random;
mod streams;

use bytes::BytesMut;
use serde_json::Value;

use super::{StreamReader, StreamWriter};
use crate::blocks::{Answer, Event, Fold, Issuer, Opaque, OpaqueKind, Request};
use crate::dialects::{Dialect, Reply, Target};

fn issuer(dialect: Dialect, provider: &str) -> Issuer {
    Issuer { dialect, provider: provider.to_owned() }
}

fn signed(dialect: Dialect, provider: &str, kind: OpaqueKind, data: &str) -> Opaque {
    Opaque { issuer: issuer(dialect, provider), kind, data: data.to_owned() }
}

fn target(model: &str) -> Target<'_> {
    Target { model, issuer: issuer(Dialect::Chat, "up"), max_output: None, stream_usage: true }
}

fn reply(request: &Request) -> Reply<'_> {
    Reply { id: "0abc", model: "alias", created: 1_700_000_000, request }
}

/// Reads a stream given as the data of its events.
fn events(stream: &[&str], ends: bool) -> Vec<Event> {
    let mut reader = StreamReader::new(issuer(Dialect::Chat, "up"));
    let mut out = Vec::new();
    for data in stream {
        reader.push(None, data.as_bytes(), &mut out);
    }
    if ends {
        reader.end(&mut out);
    }
    out
}

fn folded(events: &[Event]) -> Answer {
    let mut fold = Fold::default();
    for event in events {
        fold.push(event);
    }
    fold.answer()
}

/// The data of each event that a writer makes.
fn written(events: &[Event], request: &Request) -> Vec<String> {
    let mut writer = StreamWriter::new(&reply(request));
    let mut out = BytesMut::new();
    for event in events {
        writer.write(event, &mut out);
    }
    let text = String::from_utf8(out.to_vec()).unwrap();
    text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
}

fn json(text: impl AsRef<[u8]>) -> Value {
    serde_json::from_slice(text.as_ref()).unwrap()
}
