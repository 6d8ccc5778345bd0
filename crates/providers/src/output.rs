//! How much a model has said, in estimated tokens, from the strings of its answer.
//!
//! Used where the provider's own count may never come: an aborted stream is charged by what was seen.
//! A visitor walks a `delta`, a `message` or a whole `choices` and adds up the text that a model
//! wrote: content, refusal, reasoning, names and arguments of tool calls. Ids, roles, encrypted blobs
//! and log probabilities are not text.

use crate::json::{StringToken, Visitor};
use crate::request::weigh::{count_wide, tokens_of};

/// Adds up output text. `base` is the depth at which the members of a delta or message stand.
pub(crate) struct Output {
    base: usize,
    ascii: u64,
    wide: u64,
    escapes: u64,
    /// The string that comes next is not text.
    skip: bool,
    /// The member of the delta being walked tells reasoning.
    in_reasoning: bool,
    /// Reasoning was counted: vendors repeat it under a second and third name.
    reasoning_counted: bool,
    /// The member being walked is to be passed over whole.
    skip_member: bool,
}

impl Output {
    /// For a value that is itself the delta: its members have depth 1.
    pub(crate) const fn new(base: usize) -> Self {
        Self {
            base,
            ascii: 0,
            wide: 0,
            escapes: 0,
            skip: false,
            in_reasoning: false,
            reasoning_counted: false,
            skip_member: false,
        }
    }

    /// Estimated tokens: at least one when there was any text.
    pub(crate) fn tokens(&self) -> u64 {
        // A `\u` escape is six bytes of JSON for some three of text.
        let ascii = self.ascii.saturating_sub(6 * self.escapes);
        let wide = self.wide + 3 * self.escapes;
        if ascii + wide == 0 { 0 } else { tokens_of(ascii, wide).max(1) }
    }

    /// Adds a string that is text for certain.
    #[inline]
    pub(crate) fn text(&mut self, text: &[u8], string: StringToken) {
        let raw = string.inner.of(text);
        let wide = count_wide(raw);
        self.wide += wide;
        self.ascii += raw.len() as u64 - wide;
    }

    /// Another delta or message begins: reasoning may be told again.
    pub(crate) fn begin(&mut self) {
        self.reasoning_counted = false;
    }
}

impl Visitor for Output {
    #[inline]
    fn key(&mut self, depth: usize, text: &[u8], key: StringToken) {
        let key = key.inner.of(text);
        if depth == self.base {
            self.in_reasoning = matches!(key, b"reasoning" | b"reasoning_content" | b"reasoning_details");
            self.skip_member = self.in_reasoning && self.reasoning_counted;
        }
        self.skip = self.skip_member
            || matches!(
                key,
                b"role"
                    | b"id"
                    | b"type"
                    | b"data"
                    | b"signature"
                    | b"encrypted_content"
                    | b"format"
                    | b"thought_signature"
            );
    }

    #[inline]
    fn string(&mut self, depth: usize, text: &[u8], string: StringToken) {
        if !self.skip && !string.inner.is_empty() && depth >= self.base {
            self.reasoning_counted |= self.in_reasoning;
            self.text(text, string);
        }
    }

    fn unicode_escape(&mut self) {
        self.escapes += 1;
    }
}
