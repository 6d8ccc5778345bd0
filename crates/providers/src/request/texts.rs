//! Every text of a JSON body, with its place, for whoever has to look at all of them; and the body with some of them replaced.
//!
//! Not the texts of messages alone, by dialect: every string of the document but those that are names of the protocol (`role`,
//! `type`, ids). A list of places would be one that the next field of a vendor is missing from, and a text that is not looked at
//! is a way past whoever looks. So it is the same for every endpoint, and what is no text (a number in the arguments of a tool)
//! counts as one where the model reads it as such.

use std::borrow::Cow;

use bytes::Bytes;

use super::Operation;
use crate::json::text::Unescaped;
use crate::json::text::encode;
use crate::json::{JsonError, Span, StringToken, Visitor, scan_document};
use smallvec::{SmallVec, smallvec};

/// Numbers shorter than this identify nobody.
const SHORT_NUMBER: usize = 7;
/// From this length on a string in the alphabet of base 64 at a place for it is a file and no text.
const FILE: usize = 256;
/// Names and ids of the protocol are no longer than this.
const NAME: usize = 256;
/// So many digits in a row are no part of one: they may be a card's.
const LONG_NUMBER: usize = 12;

/// One text of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<'b> {
    /// The value as it stands, with its quotes.
    pub span: Span,
    /// The text, unescaped.
    pub text: Cow<'b, str>,
}

/// The texts of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts<'b> {
    /// In the order of the body.
    pub texts: Vec<Text<'b>>,
    /// Some of the input is given as numbers of tokens, which are no text to anybody but the model.
    pub has_tokens: bool,
}

/// Collects the texts of a body, which must be JSON.
///
/// # Errors
/// It is not.
pub fn texts(operation: Operation, body: &[u8]) -> Result<Texts<'_>, JsonError> {
    let found = Texts::default();
    let mut collector = Collector { operation, body, found, keys: smallvec![Key::Other], free: None };
    scan_document(body, &mut collector)?;
    Ok(collector.found)
}

/// The body with some values replaced by texts; every other byte as it was. `changes` in the order of the body.
pub fn with_texts(body: &[u8], changes: &[(Span, String)]) -> Bytes {
    let mut out = Vec::with_capacity(body.len());
    let mut at = 0;
    for (span, text) in changes {
        out.extend_from_slice(body.get(at..span.start).unwrap_or_default());
        encode(text, &mut out);
        at = span.end;
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    out.into()
}

/// What a value is, by the key above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Model,
    /// A name of the protocol.
    Protocol,
    /// Often a file in base 64.
    File,
    /// What may be given as tokens.
    Input,
    /// Arguments and results of tools, where names mean nothing to us.
    Free,
    Other,
}

impl Key {
    fn of(raw: &[u8]) -> Self {
        match raw {
            b"model" => Self::Model,
            b"role"
            | b"type"
            | b"id"
            | b"call_id"
            | b"tool_call_id"
            | b"tool_use_id"
            | b"item_id"
            | b"previous_response_id"
            | b"mimeType"
            | b"mime_type"
            | b"media_type" => Self::Protocol,
            b"data" | b"file_data" | b"url" | b"image_url" | b"b64_json" | b"signature"
            | b"encrypted_content" | b"thoughtSignature" | b"thought_signature" => Self::File,
            b"input" | b"prompt" => Self::Input,
            b"args" | b"arguments" | b"response" => Self::Free,
            _ => Self::Other,
        }
    }
}

struct Collector<'b> {
    operation: Operation,
    /// What is scanned, for as long as its texts are lent.
    body: &'b [u8],
    found: Texts<'b>,
    /// The key above the values of each depth.
    keys: SmallVec<[Key; 16]>,
    /// From this depth on names mean nothing.
    free: Option<usize>,
}

impl Collector<'_> {
    fn key_at(&self, depth: usize) -> Key {
        self.keys.get(depth).copied().unwrap_or(Key::Other)
    }

    fn is_conversation(&self) -> bool {
        !matches!(self.operation, Operation::Raw(_))
    }

    fn skips(&self, key: Key, raw: &[u8]) -> bool {
        if self.free.is_some() {
            return false;
        }
        match key {
            Key::Model => true,
            Key::Protocol => self.is_conversation() && is_name(raw),
            Key::File => raw.len() >= FILE && is_base64(raw),
            Key::Input | Key::Free | Key::Other => false,
        }
    }
}

/// `data:image/png;base64,…`, or what follows the comma alone; a slash may be escaped, and nothing else.
fn is_base64(raw: &[u8]) -> bool {
    let start = match memchr::memmem::find(raw.get(..128).unwrap_or(raw), b";base64,") {
        Some(at) if raw.starts_with(b"data:") => at + 8,
        _ => 0,
    };
    let mut rest = raw[start..].iter().copied().peekable();
    while let Some(byte) = rest.next() {
        let fits = match byte {
            b'\\' => rest.peek() == Some(&b'/'),
            byte => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_'),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// Whether it is what a name or an id of the protocol may be, and no text or number that somebody put there.
fn is_name(raw: &[u8]) -> bool {
    let longest_number = raw.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).max().unwrap_or(0);
    let of = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.:/+|=".contains(byte);
    raw.len() <= NAME && longest_number < LONG_NUMBER && raw.iter().all(of)
}

impl Visitor for Collector<'_> {
    fn key(&mut self, depth: usize, text: &[u8], key: StringToken) {
        let raw = key.inner.of(text);
        // A key that is spelled with escapes may be one of ours all the same; but nothing is passed over for its sake.
        let plain: Cow<'_, [u8]> = match key.escaped {
            true => Unescaped::new(raw).collect::<String>().into_bytes().into(),
            false => raw.into(),
        };
        let known = if key.escaped {
            match Key::of(&plain) {
                more @ (Key::Input | Key::Free) => more,
                _ => Key::Other,
            }
        } else {
            Key::of(raw)
        };
        let key = match known {
            // At the top it is the conversation of Responses; deeper it is what a tool was given.
            Key::Input if depth > 1 && *plain == *b"input" => Key::Free,
            key => key,
        };
        if let Some(place) = self.keys.get_mut(depth) {
            *place = key;
        }
    }

    fn string(&mut self, depth: usize, _: &[u8], string: StringToken) {
        let raw = string.inner.of(self.body);
        if raw.is_empty() || self.skips(self.key_at(depth), raw) {
            return;
        }
        let text = match std::str::from_utf8(raw) {
            Ok(plain) if !string.escaped => Cow::Borrowed(plain),
            _ => Unescaped::new(raw).collect(),
        };
        self.found.texts.push(Text { span: string.outer(), text });
    }

    fn scalar(&mut self, depth: usize, _: &[u8], span: Span) {
        let raw = span.of(self.body);
        if !raw.first().is_some_and(|first| first.is_ascii_digit() || *first == b'-') {
            return;
        }
        let of_input = matches!(self.operation, Operation::Completions | Operation::Embeddings);
        self.found.has_tokens |= of_input && self.key_at(depth) == Key::Input;
        if (self.free.is_some() || !self.is_conversation()) && raw.len() >= SHORT_NUMBER {
            let text = String::from_utf8_lossy(raw);
            self.found.texts.push(Text { span, text });
        }
    }

    fn open(&mut self, depth: usize, _: &[u8], _: usize, is_object: bool) {
        let above = self.key_at(depth);
        if above == Key::Free && is_object && self.free.is_none() {
            self.free = Some(depth);
        }
        self.keys.truncate(depth + 1);
        self.keys.push(if is_object { Key::Other } else { above });
    }

    fn close(&mut self, depth: usize, _: &[u8], _: usize) {
        if self.free == Some(depth) {
            self.free = None;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn of(operation: Operation, body: &str) -> Vec<String> {
        texts(operation, body.as_bytes())
            .unwrap()
            .texts
            .into_iter()
            .map(|text| text.text.into_owned())
            .collect()
    }

    #[test]
    fn every_text_is_there_and_names_are_not() {
        let chat = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a\u0020b"},{"type":"image_url","image_url":{"url":"http://x"}}]},
            {"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"r"}],"m\u006fdel":"?"}"#;
        assert_eq!(of(Operation::Chat, chat), ["a b", "http://x", "f", "{\"x\":1}", "r", "?"]);
        let messages = r#"{"system":"s","messages":[{"role":"user","content":[{"type":"tool_use","id":"t","name":"n","input":{"type":"in","id":[4111111111111111,12],"data":"d"}},{"type":"text","text":"z"}]}],"max_tokens":10000000}"#;
        assert_eq!(of(Operation::Messages, messages), ["s", "n", "in", "4111111111111111", "d", "z"]);
        let gemini = r#"{"contents":[{"role":"user","parts":[{"text":"t"},{"functionResponse":{"name":"n","response":{"role":"x"}}}]}],"systemInstruction":{"parts":[{"text":"s"}]}}"#;
        assert_eq!(of(Operation::Gemini, gemini), ["t", "n", "x", "s"]);
        let responses = r#"{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"t"}]},{"type":"function_call_output","call_id":"c","output":"o"}],"instructions":"i"}"#;
        assert_eq!(of(Operation::Responses, responses), ["t", "o", "i"]);
    }

    #[test]
    fn files_are_no_texts_and_texts_at_their_place_are() {
        let body =
            |data: &str| format!(r#"{{"messages":[{{"source":{{"type":"base64","data":"{data}"}}}}]}}"#);
        assert!(of(Operation::Messages, &body(&"QUJD".repeat(100))).is_empty());
        assert!(
            of(Operation::Chat, &body(&format!("data:image/png;base64,{}", "QUJD".repeat(100)))).is_empty()
        );
        for text in ["4111111111111111".to_owned(), "a word ".repeat(100)] {
            assert_eq!(of(Operation::Messages, &body(&text)), [text]);
        }
        // A space or a new line that is spelled with an escape is one all the same.
        for (written, text) in [("a\\u0020word", "a word"), ("a\\nword", "a\nword")] {
            assert_eq!(of(Operation::Messages, &body(&written.repeat(100))), [text.repeat(100)]);
        }
    }

    #[test]
    fn what_is_no_name_is_looked_at_where_a_name_belongs() {
        let chat = r#"{"messages":[{"role":"4111 1111 1111 1111","tool_call_id":"4111111111111111","id":"call_9","type":"a b"}]}"#;
        assert_eq!(of(Operation::Chat, chat), ["4111 1111 1111 1111", "4111111111111111", "a b"]);
    }

    #[test]
    fn tokens_are_seen() {
        let has = |operation, body: &str| texts(operation, body.as_bytes()).unwrap().has_tokens;
        assert!(has(Operation::Embeddings, r#"{"input":[1,2]}"#));
        assert!(has(Operation::Completions, r#"{"prompt":["a",[1,2]]}"#));
        assert!(has(Operation::Embeddings, r#"{"\u0069nput":[1,2]}"#));
        assert!(!has(Operation::Embeddings, r#"{"input":["a"],"dimensions":8}"#));
        assert!(texts(Operation::Chat, b"--boundary").is_err());
    }

    #[test]
    fn only_what_changes_changes() {
        let body = br#"{ "a" : "x", "n":1.0, "b":"\u0041" }"#;
        let found = texts(Operation::Chat, body).unwrap().texts;
        let changed = with_texts(body, &[(found[1].span, "q\"".to_owned())]);
        assert_eq!(&changed[..], br#"{ "a" : "x", "n":1.0, "b":"q\"" }"#);
        assert_eq!(&with_texts(body, &[])[..], body);
    }
}
