//! Reads a provider's answer: each event is a whole `GenerateContentResponse`, and a whole answer is one such event.
//!
//! Parts of the same kind in a row are one part, because Google cuts text and thoughts anywhere. A signature ends the
//! part that it stands on, since two signed parts must not become one. Reasons to finish are held until the end: some
//! models tell one with every chunk.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde_json::value::RawValue;

use crate::blocks::{Delta, Event, Issuer, Opaque, OpaqueKind, PartHead, Stop, StopKind, ToolKind};

use crate::dialects::Dialect;

use super::contents::{id_name, read_media};
use super::members::{Members, integer, keep};
use super::tools::with_name;
use super::usage::Counts;
use super::{logprobs, words};

/// More answers than anybody asks for; a number above it is not an index.
const MOST_CHOICES: i64 = 64;

/// Reads a provider's stream.
#[derive(Debug)]
pub struct StreamReader {
    issuer: Issuer,
    begun: bool,
    /// An error has come, or the end: nothing more is read.
    over: bool,
    id: Option<String>,
    choices: Vec<Choice>,
    counts: Counts,
    /// The prompt was stopped by a filter.
    blocked: Option<String>,
}

#[derive(Debug, Default)]
struct Choice {
    /// How many parts have begun.
    parts: u32,
    /// The last of them, while it may go on.
    open: Option<Kind>,
    calls: u32,
    finish: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
}

impl StreamReader {
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            begun: false,
            over: false,
            id: None,
            choices: Vec::new(),
            counts: Counts::default(),
            blocked: None,
        }
    }

    pub(crate) fn push(&mut self, _name: Option<&[u8]>, data: &[u8], out: &mut Vec<Event>) {
        if self.over {
            return;
        }
        let chunk = std::str::from_utf8(data).ok().map(unlisted).and_then(Members::parse);
        let Some(mut chunk) = chunk else {
            return self.fail("the provider sent an event that cannot be read", out);
        };
        if let Some(error) = chunk.take("error") {
            let (message, code) = read_error(error);
            self.over = true;
            return out.push(Event::Error { message, code });
        }
        if !self.begun {
            self.begun = true;
            self.id = chunk.take_text("responseId");
            let model = chunk.take_text("modelVersion");
            out.push(Event::Start { id: self.id.clone(), model, created: None });
        }
        if let Some(feedback) =
            chunk.take("promptFeedback").and_then(|feedback| Members::parse(feedback.get()))
            && let Some(reason) = { feedback }.take_text("blockReason")
        {
            self.blocked = Some(reason);
        }
        if let Some(candidates) = chunk.take("candidates") {
            let Ok(candidates) = serde_json::from_str::<Vec<Members<'_>>>(candidates.get()) else {
                return self.fail("the provider sent candidates that are no list", out);
            };
            for (place, candidate) in candidates.into_iter().enumerate() {
                self.candidate(place, candidate, out);
                if self.over {
                    return;
                }
            }
        }
        if let Some(told) = chunk.take("usageMetadata") {
            let before = self.counts;
            self.counts.merge(told);
            if self.counts != before
                && let Some(usage) = self.counts.usage()
            {
                out.push(Event::Usage(usage));
            }
        }
    }

    pub(crate) fn end(&mut self, out: &mut Vec<Event>) {
        if self.over {
            return;
        }
        if let Some(reason) = self.blocked.take()
            && self.choices.iter().all(|choice| choice.finish.is_none())
        {
            self.close_all(out);
            self.over = true;
            let stop = Stop { kind: StopKind::Filter, sequence: None, native: Some(reason) };
            out.extend([Event::Stop { choice: 0, stop }, Event::End]);
            return;
        }
        if self.choices.is_empty() || self.choices.iter().any(|choice| choice.finish.is_none()) {
            return;
        }
        self.close_all(out);
        self.over = true;
        for (number, choice) in (0u32..).zip(&self.choices) {
            let stop = words::read_stop(choice.finish.as_deref().unwrap_or_default(), choice.calls > 0);
            out.push(Event::Stop { choice: number, stop });
        }
        out.push(Event::End);
    }

    /// Whether anything was answered: a candidate, or the reason why there is none.
    pub(super) fn has_answer(&self) -> bool {
        !self.choices.is_empty() || self.blocked.is_some()
    }

    fn fail(&mut self, message: &str, out: &mut Vec<Event>) {
        self.over = true;
        out.push(Event::Error { message: message.to_owned(), code: None });
    }

    fn close_all(&mut self, out: &mut Vec<Event>) {
        for number in 0..self.choices.len() {
            self.close(number, out);
        }
    }

    fn candidate(&mut self, place: usize, mut candidate: Members<'_>, out: &mut Vec<Event>) {
        let index = candidate.take("index").and_then(integer);
        let index = index.unwrap_or_else(|| i64::try_from(place).unwrap_or(MOST_CHOICES));
        let Some(index) = usize::try_from(index).ok().filter(|_| index < MOST_CHOICES) else {
            return self.fail("the provider sent a candidate whose index is out of range", out);
        };
        if self.choices.len() <= index {
            self.choices.resize_with(index + 1, Choice::default);
        }
        let content = candidate.take("content").and_then(|content| Members::parse(content.get()));
        if let Some(parts) = content.and_then(|mut content| content.take("parts")) {
            let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(parts.get()) else {
                return self.fail("the provider sent parts that are no list", out);
            };
            for part in parts {
                self.part(index, part, out);
                if self.over {
                    return;
                }
            }
        }
        if let Some(told) = candidate.take("logprobsResult").and_then(logprobs::read) {
            out.push(Event::Logprobs { choice: number(index), raw: told });
        }
        for name in super::answer::SOURCES {
            if let Some(source) = candidate.take(name).filter(|source| !is_empty(source)) {
                self.source(index, name, source, out);
            }
        }
        let finish = candidate.take_text("finishReason");
        if let Some(finish) = finish.filter(|word| word != "FINISH_REASON_UNSPECIFIED") {
            self.choices[index].finish = Some(finish);
        }
    }

    fn part(&mut self, choice: usize, raw: &RawValue, out: &mut Vec<Event>) {
        let Some(mut part) = Members::parse(raw.get()) else {
            return self.fail("the provider sent a part that is no object", out);
        };
        let thought = part.take("thought").is_some_and(|thought| thought.get() == "true");
        let signature = part.take_text("thoughtSignature").filter(|signature| !signature.is_empty());
        let opaque = signature.map(|data| Opaque {
            issuer: self.issuer.clone(),
            kind: OpaqueKind::ThoughtSignature,
            data,
        });
        if let Some(call) = part.take("functionCall") {
            return self.call(choice, call, opaque, out);
        }
        let text = part.take_text("text");
        if text.is_none()
            && let Some(name) = part.first_name()
        {
            let head = head_of(name, raw);
            let part = self.begin(choice, head, out);
            out.push(Event::PartEnd { choice: number(choice), part });
            return;
        }
        self.said(choice, text.unwrap_or_default(), thought, opaque, out);
    }

    fn said(
        &mut self,
        choice: usize,
        text: String,
        thought: bool,
        opaque: Option<Opaque>,
        out: &mut Vec<Event>,
    ) {
        if text.is_empty() && opaque.is_none() {
            return;
        }
        let open = self.choices[choice].open;
        let kind = match open {
            // A signature alone belongs to what was being said; with nothing open it stands for a hidden thought.
            Some(open) if text.is_empty() => open,
            _ if thought || text.is_empty() => Kind::Thought,
            _ => Kind::Text,
        };
        let part = if open == Some(kind) {
            self.choices[choice].parts.saturating_sub(1)
        } else {
            let head = match kind {
                Kind::Text => PartHead::Text,
                Kind::Thought => PartHead::Reasoning { id: None },
            };
            let part = self.begin(choice, head, out);
            self.choices[choice].open = Some(kind);
            part
        };
        let choice_number = number(choice);
        if !text.is_empty() {
            let delta = if kind == Kind::Text { Delta::Text(text) } else { Delta::Thought(text) };
            out.push(Event::Delta { choice: choice_number, part, delta });
        }
        if let Some(opaque) = opaque {
            out.push(Event::Delta { choice: choice_number, part, delta: Delta::Opaque(opaque) });
            self.close(choice, out);
        }
    }

    fn call(&mut self, choice: usize, call: &RawValue, opaque: Option<Opaque>, out: &mut Vec<Event>) {
        let Some(mut call) = Members::parse(call.get()) else {
            return self.fail("the provider sent a functionCall that is no object", out);
        };
        if call.get("partialArgs").is_some()
            || call.get("willContinue").is_some_and(|more| more.get() == "true")
        {
            // They come only where a request asks for them, and no request written here does.
            return self.fail("the provider sent the arguments of a functionCall in pieces", out);
        }
        let name = call.take_text("name").unwrap_or_default();
        let count = self.choices[choice].calls;
        self.choices[choice].calls += 1;
        let id = call.take_text("id").filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| self.call_id(&name, choice, count));
        let arguments = call.take("args").map(|args| args.get().to_owned()).unwrap_or_default();
        let head = PartHead::ToolCall { id, item_id: None, name, kind: ToolKind::Function };
        let part = self.begin(choice, head, out);
        let choice = number(choice);
        if !arguments.is_empty() {
            out.push(Event::Delta { choice, part, delta: Delta::Arguments(arguments) });
        }
        if let Some(opaque) = opaque {
            out.push(Event::Delta { choice, part, delta: Delta::Opaque(opaque) });
        }
        out.push(Event::PartEnd { choice, part });
    }

    /// An id for a call that has none. It names the answer, because a conversation may not have the same id twice.
    fn call_id(&self, name: &str, choice: usize, count: u32) -> String {
        let mut id = format!("call_{}_{count}", id_name(name));
        if choice > 0 {
            id.push_str(&format!("_{choice}"));
        }
        if let Some(answer) = self.id.as_deref().filter(|answer| !answer.is_empty()) {
            id.push('_');
            // The beginning of Google's ids is the time; 16 letters keep the whole below OpenAI's 64.
            id.push_str(&id_name(answer).chars().take(16).collect::<String>());
        } else {
            // An answer without a name is told apart by chance.
            id.push_str(&format!("_{:x}", RandomState::new().build_hasher().finish()));
        }
        id
    }

    /// Where the answer comes from: on the text that is open, else a part of its own.
    fn source(&mut self, choice: usize, name: &str, source: &RawValue, out: &mut Vec<Event>) {
        let raw = with_name(name, source);
        if self.choices[choice].open == Some(Kind::Text) {
            let part = self.choices[choice].parts.saturating_sub(1);
            out.push(Event::Delta { choice: number(choice), part, delta: Delta::Citation(raw) });
        } else {
            let part = self.begin(
                choice,
                PartHead::Unknown { dialect: Dialect::Gemini, kind: name.to_owned(), raw },
                out,
            );
            out.push(Event::PartEnd { choice: number(choice), part });
        }
    }

    fn begin(&mut self, choice: usize, head: PartHead, out: &mut Vec<Event>) -> u32 {
        self.close(choice, out);
        let part = self.choices[choice].parts;
        self.choices[choice].parts += 1;
        out.push(Event::PartStart { choice: number(choice), part, head });
        part
    }

    fn close(&mut self, choice: usize, out: &mut Vec<Event>) {
        let state = &mut self.choices[choice];
        if state.open.take().is_some() {
            out.push(Event::PartEnd { choice: number(choice), part: state.parts.saturating_sub(1) });
        }
    }
}

/// A part that is no text: a medium where it can be read as one.
fn head_of(name: &str, raw: &RawValue) -> PartHead {
    let media = Members::parse(raw.get()).filter(|members| members.get("thought").is_none()).and_then(
        |mut members| {
            let mut media = read_media(&mut members).ok().flatten()?;
            let rest = members.rest().into_iter();
            media.extra.extend(rest.map(|(name, value)| (name.into_owned(), keep(value))));
            Some(media)
        },
    );
    match media {
        Some(media) => PartHead::Media(Box::new(media)),
        None => PartHead::Unknown { dialect: Dialect::Gemini, kind: name.to_owned(), raw: keep(raw) },
    }
}

fn number(choice: usize) -> u32 {
    u32::try_from(choice).unwrap_or(0)
}

fn is_empty(object: &RawValue) -> bool {
    Members::parse(object.get()).is_none_or(|members| members.first_name().is_none())
}

/// The text of a list's only item: some servers put an error into a list.
pub(super) fn unlisted(text: &str) -> &str {
    let listed = text.trim_start().starts_with('[');
    let items = listed.then(|| serde_json::from_str::<Vec<&RawValue>>(text).ok()).flatten();
    match items.as_deref() {
        Some([item]) => item.get(),
        _ => text,
    }
}

/// The message of an error object and its `status`, else its `code`.
pub(super) fn read_error(error: &RawValue) -> (String, Option<String>) {
    if let Ok(message) = serde_json::from_str::<String>(error.get()) {
        return (message, None);
    }
    let Some(mut error) = Members::parse(error.get()) else { return (String::new(), None) };
    let message = error.take_text("message").unwrap_or_default();
    let code = error.take("code").map(|code| code.get().trim_matches('"').to_owned());
    (message, error.take_text("status").or(code))
}
