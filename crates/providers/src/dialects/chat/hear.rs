//! A provider's stream, read; a whole answer is a stream of one chunk that has `message` where others have `delta`.
//!
//! Vendors differ in where thoughts stand, in whether calls have ids and indices, in where usage is told and in whether
//! `[DONE]` comes. What is unusual and understood becomes what OpenAI would have said.

mod calls;
mod choice;

use super::members::{Members, array, read, text};
use crate::Usage;
use crate::blocks::{Event, Issuer, Stop, StopKind};
use crate::usage::Counts;
use choice::Choice;

/// OpenAI makes at most 128 answers; a larger number is no choice's.
const MOST_CHOICES: u32 = 128;

/// Reads a provider's stream.
#[derive(Debug)]
pub struct StreamReader(Box<Reader>);

impl StreamReader {
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self(Box::new(Reader::new(issuer)))
    }

    pub(crate) fn push(&mut self, name: Option<&[u8]>, data: &[u8], out: &mut Vec<Event>) {
        self.0.push(name, data, out);
    }

    pub(crate) fn end(&mut self, out: &mut Vec<Event>) {
        self.0.end(out);
    }
}

/// The state of one stream.
#[derive(Debug)]
pub(super) struct Reader {
    issuer: Issuer,
    id: Option<String>,
    counts: Counts,
    usage: Option<Usage>,
    tier: Option<String>,
    choices: Vec<Choice>,
    started: bool,
    over: bool,
}

impl Reader {
    pub(super) fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            id: None,
            counts: Counts::default(),
            usage: None,
            tier: None,
            choices: Vec::new(),
            started: false,
            over: false,
        }
    }

    fn push(&mut self, name: Option<&[u8]>, data: &[u8], out: &mut Vec<Event>) {
        let data = data.trim_ascii();
        if self.over || data.is_empty() {
            return;
        }
        if data == b"[DONE]" {
            return self.done(out);
        }
        let Ok(chunk) = serde_json::from_slice::<Members<'_>>(data) else {
            let message = "the stream holds an event that is not a JSON object".to_owned();
            return self.fail(message, None, out);
        };
        match error_of(&chunk, name == Some(b"error")) {
            Some((message, code)) => self.fail(message, code, out),
            None => self.chunk(&chunk, out),
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        // Without `[DONE]`, only a finish reason of each answer proves that nothing is missing.
        if !self.over && !self.choices.is_empty() && self.choices.iter().all(|choice| choice.stopped) {
            self.over = true;
            out.push(Event::End);
        }
    }

    fn fail(&mut self, message: String, code: Option<String>, out: &mut Vec<Event>) {
        self.over = true;
        out.push(Event::Error { message, code });
    }

    fn done(&mut self, out: &mut Vec<Event>) {
        self.over = true;
        // A relay whose own upstream died says `[DONE]` after nothing at all: that is no answer.
        if self.choices.is_empty() {
            return;
        }
        self.finish_all(out);
        out.push(Event::End);
    }

    /// Whether no choice has been told of.
    pub(super) fn is_empty(&self) -> bool {
        self.choices.is_empty()
    }

    /// Closes what is open; a choice that called tools and told no reason stopped for them.
    pub(super) fn finish_all(&mut self, out: &mut Vec<Event>) {
        for choice in self.choices.iter_mut().filter(|choice| !choice.stopped) {
            choice.close_all(out);
            if choice.has_calls() {
                choice.stopped = true;
                out.push(Event::Stop { choice: choice.number, stop: Stop::new(StopKind::ToolCalls) });
            }
        }
    }

    /// One chunk, or a whole answer.
    pub(super) fn chunk(&mut self, chunk: &Members<'_>, out: &mut Vec<Event>) {
        let choices = chunk.get("choices").and_then(array).unwrap_or_default();
        let filled = |name: &str| chunk.text(name).filter(|text| !text.is_empty()).map(String::from);
        let id = filled("id");
        let usage = chunk.get("usage").filter(|usage| usage.get().starts_with('{'));
        // Azure begins with a chunk about its filters that has neither.
        if !self.started && (id.is_some() || !choices.is_empty() || usage.is_some()) {
            self.started = true;
            self.id.clone_from(&id);
            let created = chunk.get("created").and_then(read);
            out.push(Event::Start { id, model: filled("model"), created });
        }
        if let Some(tier) = filled("service_tier").filter(|tier| self.tier.as_ref() != Some(tier)) {
            self.tier = Some(tier.clone());
            out.push(Event::ServiceTier(tier));
        }
        for (place, raw) in choices.into_iter().enumerate() {
            if let Some(members) = Members::of(raw) {
                self.choice(&members, place, out);
            }
        }
        if let Some(usage) = usage {
            self.counts.merge(usage.get().as_bytes());
        } else if let Some(usage) = chunk.object("x_groq").and_then(|groq| groq.get("usage")) {
            self.counts.merge(usage.get().as_bytes());
        }
        self.tell_usage(out);
    }

    fn choice(&mut self, members: &Members<'_>, place: usize, out: &mut Vec<Event>) {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let number = members.get("index").and_then(read).unwrap_or(place);
        if number >= MOST_CHOICES {
            return;
        }
        let at = match self.choices.iter().position(|choice| choice.number == number) {
            Some(at) => at,
            None => {
                self.choices.push(Choice::new(number));
                self.choices.len() - 1
            }
        };
        if let Some(choice) = self.choices.get_mut(at) {
            choice.read(members, &self.issuer, self.id.as_deref(), out);
        }
        if let Some(usage) = members.get("usage") {
            // Moonshot tells it here.
            self.counts.merge(usage.get().as_bytes());
        }
    }

    fn tell_usage(&mut self, out: &mut Vec<Event>) {
        let usage = self.counts.usage();
        if usage != self.usage {
            self.usage = usage;
            out.extend(usage.map(Event::Usage));
        }
    }
}

/// The error that a chunk is, as message and code.
pub(super) fn error_of(chunk: &Members<'_>, named: bool) -> Option<(String, Option<String>)> {
    let own = chunk.get("error");
    let is_error = named || own.is_some() || chunk.text("object").is_some_and(|object| object == "error");
    if let Some(message) = own.and_then(text) {
        return Some((message.into_owned(), None));
    }
    if !is_error {
        // OpenRouter may tell it in the choice.
        let choices = chunk.get("choices").and_then(array)?;
        let error = choices.into_iter().filter_map(Members::of).find_map(|choice| choice.object("error"))?;
        return Some(message_and_code(&error));
    }
    match own {
        Some(own) => Some(Members::of(own).map_or_else(
            || ("the provider reported an error".to_owned(), None),
            |own| message_and_code(&own),
        )),
        None => Some(message_and_code(chunk)),
    }
}

fn message_and_code(error: &Members<'_>) -> (String, Option<String>) {
    let message =
        error.text("message").map_or_else(|| "the provider reported an error".to_owned(), String::from);
    let word = |name: &str| {
        let raw = error.get(name)?;
        let word = text(raw).map_or_else(|| raw.get().to_owned(), String::from);
        (!word.is_empty() && !word.starts_with(['{', '['])).then_some(word)
    };
    (message, word("code").or_else(|| word("type")))
}
