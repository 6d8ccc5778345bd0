//! Strict JSON by spans: one validating pass that says where things are, and builds nothing.
//!
//! Why an own scanner: a request is forwarded as the bytes that came, so what is needed is proof that
//! the text is well-formed (else a lenient upstream could read another request than the gateway did)
//! and the places of a few members. A tree would cost three times as much and lose what must survive:
//! number spelling, key order, escapes, duplicates.
//!
//! The grammar is RFC 8259 and no more: no comments, no trailing commas, no `NaN`, no byte order mark.
//! The text must be UTF-8. An escaped lone surrogate is grammatical and passes; reading such a string
//! as text ([`text::decode`]) fails.

mod scan;
pub mod text;

use smallvec::SmallVec;

pub(crate) use scan::{Visitor, scan_document, scan_value};

/// How many arrays and objects may be open at once, as in `serde_json`: deeper text is refused, so
/// that no recursive reader behind the gateway can be made to overflow its stack.
pub const MAX_DEPTH: usize = 128;

/// Where text stops being JSON, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonError {
    /// Bytes before the offence.
    pub offset: usize,
    /// What is wrong there.
    pub kind: JsonErrorKind,
}

impl JsonError {
    pub(crate) const fn new(offset: usize, kind: JsonErrorKind) -> Self {
        Self { offset, kind }
    }
}

/// What can be wrong with JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// The text ends inside a value.
    #[error("unexpected end")]
    UnexpectedEnd,
    /// A byte that the grammar does not allow there.
    #[error("unexpected character")]
    UnexpectedCharacter,
    /// A value is complete and more text follows.
    #[error("text after the value")]
    TrailingText,
    /// `\x`, or `\u` without four hexadecimal digits.
    #[error("invalid escape")]
    InvalidEscape,
    /// A character below U+0020 inside a string.
    #[error("control character in a string")]
    ControlCharacter,
    /// Such as `01`, `1.` or `+1`.
    #[error("invalid number")]
    InvalidNumber,
    /// More than [`MAX_DEPTH`] open arrays and objects.
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// The value is valid but is not an object.
    #[error("not an object")]
    NotAnObject,
}

/// Bytes `start..end` of the text that was scanned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// How many bytes.
    pub const fn len(self) -> usize {
        self.end - self.start
    }

    /// Whether it holds nothing.
    pub const fn is_empty(self) -> bool {
        self.end == self.start
    }

    /// The bytes themselves, of the text that was scanned.
    pub fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start..self.end]
    }
}

/// A string as it stands in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StringToken {
    /// Between the quotes.
    pub(crate) inner: Span,
    /// Whether a backslash occurs, so that the bytes are not the text yet.
    pub(crate) escaped: bool,
}

impl StringToken {
    /// With its quotes.
    pub(crate) const fn outer(self) -> Span {
        Span::new(self.inner.start - 1, self.inner.end + 1)
    }

    /// Whether the string, once unescaped, is `wanted`.
    pub(crate) fn is(self, text: &[u8], wanted: &str) -> bool {
        let raw = self.inner.of(text);
        if self.escaped { text::unescaped_eq(raw, wanted) } else { raw == wanted.as_bytes() }
    }
}

/// One member of an object: `"key": value`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// The key with its quotes.
    pub key: Span,
    /// The value, without white space around it.
    pub value: Span,
    key_escaped: bool,
}

impl Field {
    /// Whether the key, once unescaped, is `wanted`: `"mod\u0065l"` is `model`.
    pub fn key_is(&self, text: &[u8], wanted: &str) -> bool {
        let inner = Span::new(self.key.start + 1, self.key.end - 1);
        StringToken { inner, escaped: self.key_escaped }.is(text, wanted)
    }
}

/// The top level of an object: its members in the order of the text, duplicates included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Members in the order of the text.
    pub fields: SmallVec<[Field; 16]>,
}

impl Object {
    /// The last member called `key` (as most readers take duplicates), if any.
    pub fn find(&self, text: &[u8], key: &str) -> Option<Field> {
        self.fields.iter().rev().find(|field| field.key_is(text, key)).copied()
    }

    /// The bytes of the last member called `key`, unless they are absent or `null`.
    pub fn value<'t>(&self, text: &'t [u8], key: &str) -> Option<&'t [u8]> {
        self.find(text, key).map(|field| field.value.of(text)).filter(|value| *value != b"null")
    }
}

/// Validates `body` as one JSON object and gives the spans of its members.
///
/// Linear in the length of `body`; allocates only for more than 16 members.
pub fn top_level(body: &[u8]) -> Result<Object, JsonError> {
    let mut members = Members::default();
    scan_document(body, &mut members)?;
    if members.is_object {
        Ok(members.object)
    } else {
        Err(JsonError::new(text::skip_space(body, 0), JsonErrorKind::NotAnObject))
    }
}

/// Validates `body` as one JSON value of any type.
pub fn validate(body: &[u8]) -> Result<(), JsonError> {
    struct Nothing;
    impl Visitor for Nothing {}
    scan_document(body, &mut Nothing)
}

#[derive(Default)]
struct Members {
    object: Object,
    is_object: bool,
    pending: Field,
}

impl Members {
    fn finish(&mut self, value: Span) {
        self.pending.value = value;
        self.object.fields.push(self.pending);
    }
}

impl Visitor for Members {
    fn key(&mut self, depth: usize, _: &[u8], key: StringToken) {
        if depth == 1 {
            self.pending.key = key.outer();
            self.pending.key_escaped = key.escaped;
        }
    }

    fn string(&mut self, depth: usize, _: &[u8], string: StringToken) {
        if depth == 1 && self.is_object {
            self.finish(string.outer());
        }
    }

    fn scalar(&mut self, depth: usize, _: &[u8], span: Span) {
        if depth == 1 && self.is_object {
            self.finish(span);
        }
    }

    fn open(&mut self, depth: usize, _: &[u8], at: usize, is_object: bool) {
        match depth {
            0 => self.is_object = is_object,
            1 => self.pending.value.start = at,
            _ => {}
        }
    }

    fn close(&mut self, depth: usize, _: &[u8], end: usize) {
        if depth == 1 && self.is_object {
            self.finish(Span::new(self.pending.value.start, end));
        }
    }
}

#[cfg(test)]
#[path = "json/tests.rs"]
mod tests;
