//! A whole answer, peeked at: validated once, a few members read, forwarded as the bytes it is.

use smallvec::SmallVec;

use crate::Usage;
use crate::json::text::decode;
use crate::json::{JsonError, JsonErrorKind, Span, StringToken, Visitor, scan_document};
use crate::output::Output;
use crate::request::Operation;
use crate::usage::Counts;

/// What an answer tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What the provider counted, if it told.
    pub usage: Option<Usage>,
    /// The body is an error object, whatever the status said.
    pub is_error: bool,
    /// There is at least one choice (or, for embeddings, one vector).
    pub has_output: bool,
    /// The finish reason of each choice that has one.
    pub finish_reasons: SmallVec<[String; 1]>,
    /// Estimated tokens of output; 0 for embeddings.
    pub output_estimate: u64,
    /// The model that says it answered.
    pub model: Option<String>,
    /// The upstream's id of this answer.
    pub id: Option<String>,
}

/// Reads a whole answer. An error means that it is not JSON, or not an object.
pub fn read(operation: Operation, body: &[u8]) -> Result<Answer, JsonError> {
    let mut peek = Peek {
        answer: Answer::default(),
        output: Output::new(4),
        member: Member::Other,
        part: Part::Other,
        root_is_object: false,
        container: 0,
        usage: None,
        vectors: operation == Operation::Embeddings,
    };
    scan_document(body, &mut peek)?;
    if !peek.root_is_object {
        return Err(JsonError::new(0, JsonErrorKind::NotAnObject));
    }
    let mut answer = peek.answer;
    answer.output_estimate = peek.output.tokens();
    answer.usage = peek.usage.and_then(|span| {
        let mut counts = Counts::default();
        counts.merge(span.of(body));
        counts.usage()
    });
    Ok(answer)
}

/// The top-level member being walked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Choices,
    Data,
    Usage,
    Error,
    Model,
    Id,
    Object,
    Other,
}

/// The member of a choice being walked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `message`, or the `text` of a completion.
    Message,
    FinishReason,
    /// Among others `logprobs`, which repeats the text token by token.
    Other,
}

struct Peek {
    answer: Answer,
    output: Output,
    member: Member,
    part: Part,
    root_is_object: bool,
    container: usize,
    usage: Option<Span>,
    vectors: bool,
}

impl Peek {
    fn in_message(&self) -> bool {
        self.member == Member::Choices && self.part == Part::Message
    }
}

impl Visitor for Peek {
    #[inline]
    fn key(&mut self, depth: usize, text: &[u8], key: StringToken) {
        match depth {
            1 => {
                self.member = match key.inner.of(text) {
                    b"choices" => Member::Choices,
                    b"data" => Member::Data,
                    b"usage" => Member::Usage,
                    b"error" => Member::Error,
                    b"model" => Member::Model,
                    b"id" => Member::Id,
                    b"object" => Member::Object,
                    _ => Member::Other,
                };
            }
            3 if self.member == Member::Choices => {
                self.part = match key.inner.of(text) {
                    b"message" | b"text" => Part::Message,
                    b"finish_reason" => Part::FinishReason,
                    _ => Part::Other,
                };
                self.output.begin();
            }
            _ if self.in_message() => self.output.key(depth, text, key),
            _ => {}
        }
    }

    #[inline]
    fn string(&mut self, depth: usize, text: &[u8], string: StringToken) {
        let outer = || decode(string.outer().of(text)).filter(|text| !text.is_empty());
        match (depth, self.member) {
            (1, Member::Model) => self.answer.model = outer(),
            (1, Member::Id) => self.answer.id = outer(),
            (1, Member::Error) => self.answer.is_error = !string.inner.is_empty(),
            (1, Member::Object) => self.answer.is_error |= string.is(text, "error"),
            (3, Member::Choices) if self.part == Part::FinishReason => {
                self.answer.finish_reasons.extend(outer());
            }
            (3, Member::Choices) if self.part == Part::Message => self.output.text(text, string),
            (4.., Member::Choices) if self.in_message() => self.output.string(depth, text, string),
            _ => {}
        }
    }

    fn open(&mut self, depth: usize, _: &[u8], at: usize, is_object: bool) {
        match (depth, self.member) {
            (0, _) => self.root_is_object = is_object,
            (1, Member::Usage) => self.container = at,
            (1, Member::Error) => self.answer.is_error = true,
            (2, Member::Choices) => self.answer.has_output |= !self.vectors,
            (2, Member::Data) => self.answer.has_output |= self.vectors,
            _ => {}
        }
        if depth == 2 {
            self.part = Part::Other;
        }
    }

    fn close(&mut self, depth: usize, _: &[u8], end: usize) {
        if depth == 1 && self.member == Member::Usage {
            self.usage = Some(Span::new(self.container, end));
        }
    }

    fn unicode_escape(&mut self) {
        if self.in_message() {
            self.output.unicode_escape();
        }
    }
}

#[cfg(test)]
#[path = "answer/tests.rs"]
mod tests;
