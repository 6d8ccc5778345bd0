//! A fingerprint of a body: equal where two bodies ask the same, whatever their white space, the order of their members
//! and the escapes of their strings.
//!
//! Numbers count as they are written (`1` and `1.0` are two, and so are two long numbers that one float stands for), and
//! the order of lists counts. A body with a member twice has none: what it asks depends on who reads it.
//!
//! One pass of the strict scanner, and nothing is built but the form of what is open: text goes into it as it stands, a value whose form
//! is long is put in by its hash, and where an object ends its members are put in order by their names. So most bodies are
//! hashed once, with a few values apart, and the memory that this takes does not grow with texts and lists.

use sha2::{Digest, Sha256};

use crate::json::text::decode;
use crate::json::{Span, StringToken, Visitor, scan_document};

/// Open objects together may have so many members; a body with more has no fingerprint.
const MOST_MEMBERS: usize = 1 << 16;
/// A value whose form is longer, bytes, stands in what is around it by its hash.
const LONG: usize = 128;
/// Up to so many bytes a value is put together before it is hashed, which is quicker than to hash it in parts.
const AT_ONCE: usize = 1 << 12;
/// Of a list whose elements' forms are longer, bytes, no more than this is kept.
const KEPT_OF_LIST: usize = 1 << 10;
/// Members of the outermost object by which an answer depends on what a server keeps, or is to be kept there.
const STATEFUL: [&[u8]; 5] =
    [b"store", b"previous_response_id", b"conversation", b"container", b"background"];

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
    let mut printer = Printer { form: Vec::with_capacity(KEPT_OF_LIST), ..Printer::default() };
    scan_document(body, &mut printer).ok()?;
    let Printer { form, stateful, spoilt, .. } = printer;
    (!spoilt).then(|| Print { digest: Sha256::digest(form).into(), stateful })
}

enum Open {
    /// Where its elements begin in the form, and the hash of those that are not there any more.
    List { start: usize, before: Option<Box<Sha256>> },
    /// The first of its members.
    Object { first: usize },
}

/// A member of an open object: where its name begins in the form, where the value does, and where that ends.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    value: usize,
    end: usize,
}

#[derive(Default)]
struct Printer {
    /// What was read of all that is open.
    form: Vec<u8>,
    open: Vec<Open>,
    members: Vec<Member>,
    /// A form in the making.
    sorted: Vec<u8>,
    /// A member of the outermost object whose value makes the request stateful.
    watched: bool,
    stateful: bool,
    spoilt: bool,
}

impl Printer {
    /// Puts in a value without parts.
    fn put(&mut self, kind: u8, bytes: &[u8]) {
        let start = self.form.len();
        if bytes.len() > AT_ONCE {
            let length = (bytes.len() as u64).to_le_bytes();
            let hash = Sha256::new_with_prefix([kind]).chain_update(length).chain_update(bytes).finalize();
            self.put_hash(kind, hash.into());
        } else {
            self.put_whole(kind, bytes);
            if bytes.len() > LONG {
                self.hash_from(start, kind);
            }
        }
        self.ended();
    }

    /// Puts its hash in place of a value that begins there.
    fn hash_from(&mut self, start: usize, kind: u8) {
        let hash = Sha256::digest(&self.form[start..]);
        self.form.truncate(start);
        self.put_hash(kind, hash.into());
    }

    fn put_whole(&mut self, kind: u8, bytes: &[u8]) {
        self.form.push(kind);
        self.form.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.form.extend_from_slice(bytes);
    }

    /// No value that stands there itself has a kind in capitals.
    fn put_hash(&mut self, kind: u8, hash: [u8; 32]) {
        self.form.push(kind.to_ascii_uppercase());
        self.form.extend_from_slice(&hash);
    }

    /// A value has ended: it is a member, or an element of a list.
    fn ended(&mut self) {
        match self.open.last_mut() {
            Some(Open::Object { .. }) => {
                if let Some(member) = self.members.last_mut() {
                    member.end = self.form.len();
                }
            }
            Some(Open::List { start, before }) if self.form.len() - *start > KEPT_OF_LIST => {
                before
                    .get_or_insert_with(|| Box::new(Sha256::new_with_prefix(b"l")))
                    .update(&self.form[*start..]);
                self.form.truncate(*start);
            }
            _ => {}
        }
    }

    fn end_list(&mut self, start: usize, before: Option<Box<Sha256>>) {
        let elements = &self.form[start..];
        let hash = match before {
            Some(before) => Some(before.chain_update(elements).finalize()),
            None if elements.len() > LONG => {
                Some(Sha256::new_with_prefix(b"l").chain_update(elements).finalize())
            }
            None => None,
        };
        match hash {
            Some(hash) => {
                self.form.truncate(start);
                self.put_hash(b'l', hash.into());
            }
            None => {
                let length = (elements.len() as u64).to_le_bytes();
                self.form.splice(start..start, std::iter::once(b'l').chain(length));
            }
        }
    }

    fn end_object(&mut self, first: usize) {
        let form = &self.form;
        let members = &mut self.members[first..];
        let start = members.first().map_or(form.len(), |member| member.start);
        let name = |member: &Member| &form[member.start..member.value];
        members.sort_unstable_by(|one, other| name(one).cmp(name(other)));
        self.spoilt |= members.windows(2).any(|pair| name(&pair[0]) == name(&pair[1]));
        self.sorted.clear();
        for member in &*members {
            let name = name(member);
            self.sorted.extend_from_slice(&(name.len() as u64).to_le_bytes());
            self.sorted.extend_from_slice(name);
            self.sorted.extend_from_slice(&form[member.value..member.end]);
        }
        self.members.truncate(first);
        self.form.truncate(start);
        let sorted = std::mem::take(&mut self.sorted);
        self.put_whole(b'o', &sorted);
        if sorted.len() > LONG {
            self.hash_from(start, b'o');
        }
        self.sorted = sorted;
    }
}

impl Visitor for Printer {
    fn key(&mut self, depth: usize, text: &[u8], key: StringToken) {
        if self.spoilt {
            return;
        }
        let start = self.form.len();
        if key.escaped {
            let decoded = decode(key.outer().of(text));
            self.spoilt |= decoded.is_none();
            self.form.extend_from_slice(decoded.unwrap_or_default().as_bytes());
        } else {
            self.form.extend_from_slice(key.inner.of(text));
        }
        let value = self.form.len();
        self.watched = depth == 1 && STATEFUL.contains(&&self.form[start..]);
        self.members.push(Member { start, value, end: value });
        self.spoilt |= self.members.len() > MOST_MEMBERS;
    }

    fn string(&mut self, depth: usize, text: &[u8], string: StringToken) {
        if self.spoilt {
            return;
        }
        self.stateful |= self.watched && depth == 1;
        if string.escaped {
            let decoded = decode(string.outer().of(text));
            self.spoilt |= decoded.is_none();
            self.put(b's', decoded.unwrap_or_default().as_bytes());
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
        self.open.push(if is_object {
            Open::Object { first: self.members.len() }
        } else {
            Open::List { start: self.form.len(), before: None }
        });
    }

    fn close(&mut self, _: usize, _: &[u8], _: usize) {
        if self.spoilt {
            return;
        }
        match self.open.pop() {
            Some(Open::Object { first }) => self.end_object(first),
            Some(Open::List { start, before }) => self.end_list(start, before),
            None => {}
        }
        self.ended();
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

    /// What is long stands by its hash, of lists piece by piece; whatever differs in it is another all the same.
    #[test]
    fn what_is_long_is_told_apart_too() {
        let text = "x".repeat(2 * LONG);
        let list = |element: &str| vec![element; 3 * KEPT_OF_LIST].join(",");
        let all = [
            format!(r#"{{"a":"{text}"}}"#),
            format!(r#"{{"a":"{text}x"}}"#),
            format!(r#"{{"a":["{text}"]}}"#),
            format!(r#"{{"b":"{text}"}}"#),
            format!(r#"{{"a":"{text}","b":"{text}"}}"#),
            format!("[{}]", list("1")),
            format!("[{},1]", list("1")),
            format!("[[{}],1]", list("1")),
            format!("[1,[{}]]", list("1")),
            format!("[{}]", list("\"1\"")),
            format!("[{}]", list("[]")),
            format!("[{}]", list("{}")),
            format!(r#"[{{"a":[{}]}}]"#, list("1")),
            format!(r#"{{"a":{{"a":"{text}"}}}}"#),
        ];
        for (at, one) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                assert_eq!(at == other_at, of(one) == of(other), "{} {}", &one[..20], &other[..20]);
            }
        }
        let wide = |names: &mut dyn Iterator<Item = usize>| {
            let members: Vec<_> = names.map(|n| format!(r#""m{n}" : "{text}{n}""#)).collect();
            format!("{{{}}}", members.join(" , "))
        };
        assert_eq!(of(&wide(&mut (0..200))), of(&wide(&mut (0..200).rev())));
        assert_ne!(of(&wide(&mut (0..200))), of(&wide(&mut (0..199))));
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
            // Some so long that they stand by their hashes.
            "[a-b]{60,70}".prop_map(Value::from),
            "[a]{127,130}".prop_map(Value::from),
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
