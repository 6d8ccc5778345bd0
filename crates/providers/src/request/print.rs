//! A fingerprint of a body: equal where two bodies ask the same, whatever their white space, the order of their members
//! and the escapes of their strings.
//!
//! Numbers count as they are written (`1` and `1.0` are two, and so are two long numbers that one float stands for), and
//! the order of lists counts. A body with a member twice has none: what it asks depends on who reads it.
//!
//! One pass of the strict scanner, and nothing is built: text goes straight into the hash of the member that it stands
//! in, and where an object ends its members are put in order by their names.

use sha2::{Digest, Sha256};

use crate::json::text::decode;
use crate::json::{Span, StringToken, Visitor, scan_document};

/// Open objects together may have so many members; a body with more has no fingerprint.
const MOST_MEMBERS: usize = 1 << 16;
/// Members of the outermost object by which an answer depends on what a server keeps, or is to be kept there.
const STATEFUL: [&str; 5] = ["store", "previous_response_id", "conversation", "container", "background"];

/// What is told of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print {
    /// SHA-256 over what is asked.
    pub digest: [u8; 32],
    /// The answer depends on more than the body, or is to be kept by the provider.
    pub stateful: bool,
}

/// The fingerprint of a JSON body; `None` where it is no JSON, has a member twice, or text that is no text.
#[must_use]
pub fn print(body: &[u8]) -> Option<Print> {
    let mut printer = Printer::default();
    scan_document(body, &mut printer).ok()?;
    (!printer.spoilt).then(|| Print { digest: printer.hash.finalize().into(), stateful: printer.stateful })
}

enum Open {
    Array,
    Object {
        /// The hash of what the object stands in.
        around: Sha256,
        key: Option<String>,
        members: Vec<(String, [u8; 32])>,
    },
}

#[derive(Default)]
struct Printer {
    hash: Sha256,
    open: Vec<Open>,
    members: usize,
    /// A member of the outermost object whose value makes the request stateful.
    watched: bool,
    stateful: bool,
    spoilt: bool,
}

impl Printer {
    fn put(&mut self, kind: u8, bytes: &[u8]) {
        self.hash.update([kind]);
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }

    /// Ends the member that is being read, if there is one.
    fn end_member(&mut self, next: Option<String>) {
        let Some(Open::Object { key, members, .. }) = self.open.last_mut() else { return };
        let done = std::mem::replace(&mut self.hash, Sha256::new());
        if let Some(key) = std::mem::replace(key, next) {
            members.push((key, done.finalize().into()));
            self.members += 1;
            self.spoilt |= self.members > MOST_MEMBERS;
        }
    }

    fn text(&mut self, text: &[u8], string: StringToken) -> Option<String> {
        let decoded = decode(string.outer().of(text));
        self.spoilt |= decoded.is_none();
        decoded
    }
}

impl Visitor for Printer {
    fn key(&mut self, depth: usize, text: &[u8], key: StringToken) {
        if self.spoilt {
            return;
        }
        let key = self.text(text, key).unwrap_or_default();
        self.watched = depth == 1 && STATEFUL.contains(&key.as_str());
        self.end_member(Some(key));
    }

    fn string(&mut self, depth: usize, text: &[u8], string: StringToken) {
        if self.spoilt {
            return;
        }
        self.stateful |= self.watched && depth == 1;
        if string.escaped {
            let decoded = self.text(text, string).unwrap_or_default();
            self.put(b's', decoded.as_bytes());
        } else {
            self.put(b's', string.inner.of(text));
        }
    }

    fn scalar(&mut self, depth: usize, text: &[u8], span: Span) {
        if self.spoilt {
            return;
        }
        let scalar = span.of(text);
        self.stateful |= self.watched && depth == 1 && !matches!(scalar, b"false" | b"null");
        self.put(b'n', scalar);
    }

    fn open(&mut self, depth: usize, _: &[u8], _: usize, is_object: bool) {
        if self.spoilt {
            return;
        }
        self.stateful |= self.watched && depth == 1;
        if is_object {
            let around = std::mem::replace(&mut self.hash, Sha256::new());
            self.open.push(Open::Object { around, key: None, members: Vec::new() });
        } else {
            self.hash.update(b"[");
            self.open.push(Open::Array);
        }
    }

    fn close(&mut self, _: usize, _: &[u8], _: usize) {
        if self.spoilt {
            return;
        }
        self.end_member(None);
        match self.open.pop() {
            Some(Open::Object { around, mut members, .. }) => {
                self.hash = around;
                self.members -= members.len();
                members.sort_unstable();
                self.spoilt |= members.windows(2).any(|pair| pair[0].0 == pair[1].0);
                self.hash.update(b"{");
                self.hash.update((members.len() as u64).to_le_bytes());
                for (key, value) in members {
                    self.put(b'k', key.as_bytes());
                    self.hash.update(value);
                }
            }
            _ => self.hash.update(b"]"),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn of(text: &str) -> [u8; 32] {
        print(text.as_bytes()).unwrap().digest
    }

    #[test]
    fn the_same_question_is_the_same_however_it_is_written() {
        let plain = of(r#"{"model":"m","messages":[{"role":"user","content":"Grüße/1"}],"n":1}"#);
        for same in [
            "{\n \"n\": 1,\"messages\" :[ {\"content\":\"Grüße/1\" ,\"role\":\"user\"} ], \"model\":\"m\"}",
            r#"{"mod\u0065l":"m","messages":[{"role":"us\u0065r","content":"Gr\u00fc\u00dfe\/1"}],"n":1}"#,
        ] {
            assert_eq!(of(same), plain, "{same}");
        }
    }

    #[test]
    fn another_question_is_another() {
        let all = [
            r#"{"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{"1":1}}"#,
            r#"{"a":1,"b":null}"#,
            r#"{"a":null}"#,
            r#"{"a":"null"}"#,
            r#"{"a":12345678901234567890123}"#,
            r#"{"a":12345678901234567890124}"#,
            r#"{"a":0.10000000000000000555}"#,
            r#"{"a":0.1}"#,
            r#"{"a":[[1],2]}"#,
            r#"{"a":[[1,2]]}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":["x","y"]}"#,
            r#"{"a":["xy",""]}"#,
            r#"{"a":{"b":1},"c":2}"#,
            r#"{"a":{"b":1,"c":2}}"#,
            r#"{"a":{}}"#,
            r#"{"a":[]}"#,
            r#"{"a":[{}]}"#,
            r#"{"A":1}"#,
        ];
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert_ne!(of(one), of(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn what_two_readers_could_take_differently_has_none() {
        for odd in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":[{"a":1,"\u0061":2}]}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"\ud800":1}"#,
            r#"{"a":1"#,
            "",
        ] {
            assert_eq!(print(odd.as_bytes()), None, "{odd}");
        }
        let many: Vec<_> = (0..=MOST_MEMBERS).map(|n| format!("\"{n}\":1")).collect();
        assert_eq!(print(format!("{{{}}}", many.join(",")).as_bytes()), None);
        let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
        assert!(print(deep.as_bytes()).is_some());
    }

    #[test]
    fn what_a_server_keeps_is_seen() {
        for (body, stateful) in [
            (r#"{"store":true}"#, true),
            (r#"{"st\u006fre":true}"#, true),
            (r#"{"store":false}"#, false),
            (r#"{"store":null}"#, false),
            (r#"{"previous_response_id":"r"}"#, true),
            (r#"{"container":{"id":"c"}}"#, true),
            (r#"{"metadata":{"store":true}}"#, false),
            (r#"{"x":["store",true]}"#, false),
            (r#"{"store":false,"x":true}"#, false),
        ] {
            assert_eq!(print(body.as_bytes()).unwrap().stateful, stateful, "{body}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-c\"\\\\é]{0,2}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Another order of members and other white space.
    fn shuffled(value: &Value, out: &mut String) {
        match value {
            Value::Object(map) => {
                out.push_str("{ ");
                for (at, (key, value)) in map.iter().rev().enumerate() {
                    out.push_str(if at > 0 { "\n," } else { "" });
                    out.push_str(&Value::from(key.as_str()).to_string());
                    out.push_str(" :\t");
                    shuffled(value, out);
                }
                out.push('}');
            }
            Value::Array(list) => {
                out.push('[');
                for (at, value) in list.iter().enumerate() {
                    out.push_str(if at > 0 { " , " } else { "" });
                    shuffled(value, out);
                }
                out.push_str(" ]");
            }
            other => out.push_str(&other.to_string()),
        }
    }

    proptest! {
        #[test]
        fn equal_values_and_only_they_are_equal(one in values(), other in values()) {
            let mut written = String::new();
            shuffled(&one, &mut written);
            prop_assert_eq!(of(&one.to_string()), of(&written));
            prop_assert_eq!(one == other, of(&one.to_string()) == of(&other.to_string()));
        }
    }
}
