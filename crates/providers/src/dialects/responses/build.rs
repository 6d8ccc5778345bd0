//! Writes JSON member by member.
//!
//! Not serde: a body is half ours and half somebody else's text ([`Raw`]), which must come out as it came in.

use crate::blocks::Raw;
use crate::json::text::encode;

/// An object that is being written; its brace is closed by [`Object::end`].
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    /// Opens the brace.
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// The place of a member's value.
    pub(super) fn value(&mut self, key: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        encode(key, self.out);
        self.out.push(b':');
        self.out
    }

    /// A string.
    pub(super) fn text(&mut self, key: &str, text: &str) -> &mut Self {
        encode(text, self.value(key));
        self
    }

    /// A string, or `null`.
    pub(super) fn text_or_null(&mut self, key: &str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(key, text),
            None => self.json(key, "null"),
        }
    }

    /// A string where there is one.
    pub(super) fn text_if(&mut self, key: &str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.text(key, text);
        }
        self
    }

    /// Finished JSON.
    pub(super) fn json(&mut self, key: &str, json: &str) -> &mut Self {
        self.value(key).extend_from_slice(json.as_bytes());
        self
    }

    /// Somebody else's JSON where there is some.
    pub(super) fn raw_if(&mut self, key: &str, raw: Option<&Raw>) -> &mut Self {
        if let Some(raw) = raw {
            self.json(key, raw.get());
        }
        self
    }

    /// Somebody else's JSON, or `null`.
    pub(super) fn raw_or_null(&mut self, key: &str, raw: Option<&Raw>) -> &mut Self {
        self.json(key, raw.map_or("null", Raw::get))
    }

    /// A number.
    pub(super) fn number(&mut self, key: &str, number: impl Into<i128>) -> &mut Self {
        self.json(key, &number.into().to_string())
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str, flag: bool) -> &mut Self {
        self.json(key, if flag { "true" } else { "false" })
    }

    /// An object.
    pub(super) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        object(self.value(key), fill);
        self
    }

    /// An array.
    pub(super) fn array<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        write: impl FnMut(T, &mut Vec<u8>),
    ) -> &mut Self {
        array(self.value(key), items, write);
        self
    }

    /// Members that were written before, without their braces.
    pub(super) fn members(&mut self, members: &[u8]) -> &mut Self {
        if !members.is_empty() {
            if !std::mem::take(&mut self.first) {
                self.out.push(b',');
            }
            self.out.extend_from_slice(members);
        }
        self
    }

    /// Closes the brace.
    pub(super) fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes an object.
pub(super) fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    let mut object = Object::new(out);
    fill(&mut object);
    object.end();
}

/// Writes an array.
pub(super) fn array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(b'[');
    for (number, item) in items.into_iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}
