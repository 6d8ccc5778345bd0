//! An answer of any kind that passes as it came: bytes in, the same bytes out, with a look at the usage where there is one.
//!
//! What cannot be read (binary, too long, broken JSON) is not an error here: only its usage stays unknown.

use bytes::{Bytes, BytesMut};

use super::Pieces;
use crate::Usage;
use crate::json::top_level;
use crate::sse::Framer;
use crate::usage::Counts;

/// Of a JSON answer that comes in pieces this much is kept for the look.
const MAX_LOOK: usize = 1 << 20;

/// What an answer says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Server-sent events.
    Events,
    /// One JSON text.
    Json,
    /// Anything else.
    Other,
}

impl Kind {
    /// By a `content-type`.
    pub fn of(content_type: Option<&[u8]>) -> Self {
        let kind = content_type.unwrap_or_default().to_ascii_lowercase();
        let plain = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        match plain {
            b"text/event-stream" => Self::Events,
            b"application/json" => Self::Json,
            plain if plain.starts_with(b"application/") && plain.ends_with(b"+json") => Self::Json,
            _ => Self::Other,
        }
    }
}

#[derive(Debug)]
enum Look {
    Events(Framer),
    Json(BytesMut),
    Away,
}

/// One answer.
#[derive(Debug)]
pub struct Passing {
    look: Look,
    counts: Told,
    over: bool,
    told_over: bool,
}

impl Passing {
    /// For an answer of this kind.
    pub fn new(kind: Kind) -> Self {
        let look = match kind {
            Kind::Events => Look::Events(Framer::new(MAX_LOOK)),
            Kind::Json => Look::Json(BytesMut::new()),
            Kind::Other => Look::Away,
        };
        Self { look, counts: Told::default(), over: false, told_over: false }
    }

    pub(super) fn push(&mut self, chunk: Bytes, out: &mut Pieces) {
        match &mut self.look {
            Look::Away => {}
            Look::Json(kept) if kept.len() + chunk.len() > MAX_LOOK => self.look = Look::Away,
            Look::Json(kept) => kept.extend_from_slice(&chunk),
            Look::Events(framer) => {
                framer.push(chunk.clone());
                loop {
                    match framer.next() {
                        Ok(Some(event)) if event.comment_only => {}
                        Ok(Some(event)) => self.counts.read(&event.data),
                        Ok(None) => break,
                        Err(_) => {
                            self.look = Look::Away;
                            break;
                        }
                    }
                }
            }
        }
        out.push(chunk);
    }

    pub(super) fn end(&mut self) {
        if let Look::Json(kept) = &self.look {
            self.counts.read(kept);
        }
        self.over = true;
    }

    /// Nothing, once: whatever came has passed already.
    pub(super) fn terminal(&mut self) -> Option<Bytes> {
        (self.over && !std::mem::replace(&mut self.told_over, true)).then(Bytes::new)
    }

    pub(super) const fn over(&self) -> bool {
        self.over
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.counts.usage()
    }
}

/// The usage that a whole JSON answer tells.
pub fn usage_in(answer: &[u8]) -> Option<Usage> {
    let mut told = Told::default();
    told.read(answer);
    told.usage()
}

/// Counts by name, whichever vendor's they are.
#[derive(Debug, Default)]
struct Told {
    counts: Counts,
    /// Anthropic counts what the cache took beside the input, and not as a part of it.
    apart: bool,
}

impl Told {
    /// Reads `usage`, also of a `response` or `message` within.
    fn read(&mut self, json: &[u8]) {
        if memchr::memmem::find(json, b"usage").is_none() {
            return;
        }
        let Ok(object) = top_level(json) else { return };
        for outer in ["response", "message"] {
            if let Some(inner) = object.value(json, outer)
                && let Ok(object) = top_level(inner)
            {
                self.merge(object.value(inner, "usage"));
            }
        }
        self.merge(object.value(json, "usage"));
    }

    fn merge(&mut self, usage: Option<&[u8]>) {
        let Some(usage) = usage else { return };
        let has = |name: &[u8]| memchr::memmem::find(usage, name).is_some();
        self.apart |= has(b"cache_read_input_tokens") || has(b"\"cache_creation_input_tokens\"");
        // Some vendors of rerankers tell nothing but a total, which is all input.
        self.counts.merge(usage);
    }

    fn usage(&self) -> Option<Usage> {
        let mut usage = self.counts.usage().or_else(|| self.counts.total_alone())?;
        if self.apart {
            let beside = usage.cached_input.unwrap_or(0) + usage.cache_write.unwrap_or(0);
            usage.input = usage.input.map(|input| input + beside);
        }
        Some(usage)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn pass(kind: Kind, text: &str, size: usize) -> (Vec<u8>, Option<Usage>) {
        let (mut passing, mut out) = (Passing::new(kind), Pieces::new());
        for piece in text.as_bytes().chunks(size) {
            passing.push(Bytes::copy_from_slice(piece), &mut out);
            assert!(passing.terminal().is_none());
        }
        passing.end();
        assert!(passing.terminal().is_some() && passing.terminal().is_none());
        (out.concat(), passing.usage())
    }

    #[test]
    fn bytes_pass_and_usage_is_seen() {
        let json = r#"{"text":"hi","usage":{"type":"tokens","input_tokens":14,"output_tokens":4,"total_tokens":18}}"#;
        let events = "event: a\ndata: {\"type\":\"x\"}\n\n: c\n\ndata: {\"type\":\"done\",\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}\n\n";
        let claude = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":9}}\n\n";
        for size in [1, 7, 1000] {
            for (kind, text, input, output) in
                [(Kind::Json, json, 14, 4), (Kind::Events, events, 3, 2), (Kind::Events, claude, 8, 9)]
            {
                let (out, usage) = pass(kind, text, size);
                assert_eq!(out, text.as_bytes());
                let usage = usage.unwrap();
                assert_eq!((usage.input, usage.output), (Some(input), Some(output)), "{text}");
            }
            assert_eq!(pass(Kind::Other, json, size).1, None);
            assert_eq!(pass(Kind::Json, "{\"usage\":", size), (b"{\"usage\":".to_vec(), None));
        }
        assert_eq!(usage_in(br#"{"usage":{"total_tokens":7}}"#).unwrap().input, Some(7));
        assert_eq!(usage_in(br#"{"usage":{"type":"duration","seconds":7}}"#), None);
        assert_eq!(usage_in(br#"{"usage":null}"#), None);
    }

    #[test]
    fn kinds_are_read_from_the_type() {
        let of = |text: &str| Kind::of(Some(text.as_bytes()));
        assert_eq!(of("application/json; charset=utf-8"), Kind::Json);
        assert_eq!(of("application/problem+JSON"), Kind::Json);
        assert_eq!(of("Text/Event-Stream;charset=utf-8"), Kind::Events);
        assert_eq!(of("audio/mpeg"), Kind::Other);
        assert_eq!(Kind::of(None), Kind::Other);
    }
}
