//! JSON written straight into bytes. Commas place themselves: one is due unless the last byte opens something.

use crate::blocks::Raw;
use crate::json::text::encode;

/// A JSON text in the making.
#[derive(Debug, Default)]
pub(super) struct Json(pub(super) Vec<u8>);

impl Json {
    fn comma(&mut self) {
        if !matches!(self.0.last(), None | Some(b'{' | b'[' | b':' | b',' | b' ')) {
            self.0.push(b',');
        }
    }

    /// `{` or `[`.
    pub(super) fn open(&mut self, bracket: u8) {
        self.comma();
        self.0.push(bracket);
    }

    /// `}` or `]`.
    pub(super) fn close(&mut self, bracket: u8) {
        self.0.push(bracket);
    }

    /// The name of the member that follows.
    pub(super) fn key(&mut self, name: &str) {
        self.comma();
        encode(name, &mut self.0);
        self.0.push(b':');
    }

    /// A string.
    pub(super) fn string(&mut self, text: &str) {
        self.comma();
        encode(text, &mut self.0);
    }

    /// JSON as it is.
    pub(super) fn raw(&mut self, text: &str) {
        self.comma();
        self.0.extend_from_slice(text.as_bytes());
    }

    /// `"name":"text"`.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        self.string(text);
    }

    /// `"name":"text"` where there is one.
    pub(super) fn text_if(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// `"name":json`.
    pub(super) fn json(&mut self, name: &str, text: &str) {
        self.key(name);
        self.raw(text);
    }

    /// `"name":json` where there is one.
    pub(super) fn raw_if(&mut self, name: &str, raw: Option<&Raw>) {
        if let Some(raw) = raw {
            self.json(name, raw.get());
        }
    }

    /// `"name":number`.
    pub(super) fn number(&mut self, name: &str, number: impl std::fmt::Display) {
        self.json(name, &number.to_string());
    }

    /// `"name":true`.
    pub(super) fn flag(&mut self, name: &str, flag: bool) {
        self.json(name, if flag { "true" } else { "false" });
    }

    /// `"name":number` where there is one.
    pub(super) fn number_if(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    /// `"name":{`, to be closed.
    pub(super) fn object(&mut self, name: &str) {
        self.key(name);
        self.open(b'{');
    }

    /// `"name":[`, to be closed.
    pub(super) fn array(&mut self, name: &str) {
        self.key(name);
        self.open(b'[');
    }
}
