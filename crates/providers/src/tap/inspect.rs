//! Looks at one event: by searching first, by its members only when the search found something.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use smallvec::SmallVec;

use crate::failure::read_error;
use crate::json::text::{decode, skip_space};
use crate::json::{Object, Span, StringToken, Visitor, scan_value, top_level};
use crate::output::Output;
use crate::sse::{Data, Fields};
use crate::usage::Counts;

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Withhold,
    /// Passes without these bytes of it.
    Cut(Span),
    Done,
    Error {
        message: Option<String>,
        code: Option<String>,
    },
}

/// One answer among the `n` of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    index: u64,
    finished: bool,
}

/// What the events so far have told.
#[derive(Debug, Default)]
pub(super) struct Inspector {
    pub(super) started: bool,
    pub(super) counts: Counts,
    pub(super) output_tokens: u64,
    pub(super) finish_reason: Option<String>,
    pub(super) model: Option<String>,
    pub(super) id: Option<String>,
    pub(super) choices: SmallVec<[Choice; 2]>,
    begun: bool,
    /// Events searched for the model's name so far.
    searched_for_model: u8,
}

/// Prepared once: making a searcher costs more than a search of one event.
struct Finders {
    usage: Finder<'static>,
    error: Finder<'static>,
    finish_reason: Finder<'static>,
    index: Finder<'static>,
    delta: Finder<'static>,
    text: Finder<'static>,
}

static FIND: LazyLock<Finders> = LazyLock::new(|| Finders {
    usage: Finder::new("\"usage\""),
    error: Finder::new("\"error\""),
    finish_reason: Finder::new("\"finish_reason\""),
    index: Finder::new("\"index\""),
    delta: Finder::new("\"delta\""),
    text: Finder::new("\"text\""),
});

const LAST_NULL_USAGE: &[u8] = b",\"usage\":null}";
/// More choices than any request may ask for are not told apart.
const MOST_CHOICES: usize = 4096;
/// Vendors that leave `model` empty at first (Azure) name it within a few events.
const EVENTS_WITH_MODEL: u8 = 4;

impl Inspector {
    /// Judges one whole event.
    pub(super) fn inspect(&mut self, raw: &[u8], swallow_usage: bool) -> Verdict {
        let fields = Fields::read(raw, !std::mem::replace(&mut self.begun, true));
        let (data, is_line) = match &fields.data {
            Data::None => {
                return fields.error.map_or(Verdict::Pass, error_verdict);
            }
            Data::Line(line) => (*line, true),
            Data::Joined(joined) => (&joined[..], false),
        };
        if data.trim_ascii() == b"[DONE]" {
            self.started = true;
            return Verdict::Done;
        }
        if fields.name == Some(b"error") {
            return error_verdict(data);
        }
        if data.trim_ascii_start().first() != Some(&b'{') {
            // Not ours to understand; an empty `data:` is how some servers keep a connection alive.
            self.started |= !data.trim_ascii().is_empty();
            return Verdict::Pass;
        }
        match self.read(data, swallow_usage) {
            // A cut is told in bytes of `data`; where that is a line of `raw`, it can be made there.
            Verdict::Cut(cut) if is_line => {
                let offset = data.as_ptr().addr() - raw.as_ptr().addr();
                Verdict::Cut(Span::new(offset + cut.start, offset + cut.end))
            }
            Verdict::Cut(_) => Verdict::Pass,
            verdict => verdict,
        }
    }

    fn read(&mut self, data: &[u8], swallow_usage: bool) -> Verdict {
        let has_usage = FIND.usage.find(data).is_some();
        let has_error = FIND.error.find(data).is_some();
        let tells_choices = any_value(&FIND.finish_reason, data, |value| !value.starts_with(b"null"))
            || any_value(&FIND.index, data, |value| !is_zero(value));
        let wants_model = self.model.is_none() && self.searched_for_model < EVENTS_WITH_MODEL;
        // The commonest event by far when usage was asked for: in JSON that ends so, the last brace
        // closes the event itself, so this is a member of its top level.
        if !(has_error || tells_choices || wants_model) && swallow_usage && data.ends_with(LAST_NULL_USAGE) {
            self.started = true;
            self.count_output(data);
            return Verdict::Cut(Span::new(data.len() - LAST_NULL_USAGE.len(), data.len() - 1));
        }
        if has_usage || has_error || tells_choices || wants_model {
            // Text that is no JSON after all passes as it came: it is the client's to refuse.
            let Ok(object) = top_level(data) else { return Verdict::Pass };
            if has_error && is_error(data, &object) {
                return error_verdict(data);
            }
            self.started = true;
            self.count_output(data);
            if wants_model {
                self.read_names(data, &object);
            }
            if tells_choices {
                self.read_choices(data, &object);
            }
            if has_usage {
                return self.read_usage(data, &object, swallow_usage);
            }
        } else {
            self.started = true;
            self.count_output(data);
        }
        Verdict::Pass
    }

    /// Adds the text of every delta in the event, or of completions' `text`.
    fn count_output(&mut self, data: &[u8]) {
        let mut found = false;
        for value in values(&FIND.delta, data) {
            found = true;
            let mut output = Output::new(1);
            // A delta cut short (by no JSON at all) counts as far as it goes.
            let _ = scan_value(value, 0, &mut output);
            self.output_tokens += output.tokens();
        }
        if !found {
            for value in values(&FIND.text, data).filter(|value| value.first() == Some(&b'"')) {
                found = true;
                let mut output = Output::new(0);
                let _ = scan_value(value, 0, &mut output);
                self.output_tokens += output.tokens();
            }
        }
        if found && self.choices.is_empty() {
            self.choices.push(Choice { index: 0, finished: false });
        }
    }

    fn read_names(&mut self, data: &[u8], object: &Object) {
        self.searched_for_model += 1;
        let text = |key| object.value(data, key).and_then(decode).filter(|text| !text.is_empty());
        self.model = text("model");
        self.id = self.id.take().or_else(|| text("id"));
    }

    fn read_choices(&mut self, data: &[u8], object: &Object) {
        let Some(value) = object.value(data, "choices") else { return };
        let mut reader = Choices { inspector: self, key: ChoiceKey::Other, index: 0, reason: None };
        // `top_level` validated it.
        let _ = scan_value(value, 0, &mut reader);
    }

    fn choice(&mut self, index: u64, finish_reason: Option<String>) {
        let finished = finish_reason.is_some();
        if self.finish_reason.is_none() {
            self.finish_reason = finish_reason;
        }
        if let Some(choice) = self.choices.iter_mut().find(|choice| choice.index == index) {
            choice.finished |= finished;
        } else if self.choices.len() < MOST_CHOICES {
            self.choices.push(Choice { index, finished });
        }
    }

    fn read_usage(&mut self, data: &[u8], object: &Object, swallow_usage: bool) -> Verdict {
        let Some(place) = object.fields.iter().rposition(|field| field.key_is(data, "usage")) else {
            if let Some(groq) = object.value(data, "x_groq")
                && let Ok(inner) = top_level(groq)
                && let Some(usage) = inner.value(groq, "usage")
            {
                self.counts.merge(usage);
            }
            return Verdict::Pass;
        };
        let value = object.fields[place].value.of(data);
        if value == b"null" {
            return if swallow_usage { Verdict::Cut(member_cut(object, place)) } else { Verdict::Pass };
        }
        self.counts.merge(value);
        if swallow_usage && has_no_choices(data, object) { Verdict::Withhold } else { Verdict::Pass }
    }

    /// Whether every choice seen, and at least one, told its finish reason.
    pub(super) fn all_finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finished)
    }
}

/// The member at `place` with one comma, so that what remains is an object still.
fn member_cut(object: &Object, place: usize) -> Span {
    let field = object.fields[place];
    match (place.checked_sub(1).map(|before| object.fields[before]), object.fields.get(place + 1)) {
        (Some(before), _) => Span::new(before.value.end, field.value.end),
        (None, Some(after)) => Span::new(field.key.start, after.key.start),
        (None, None) => Span::new(field.key.start, field.value.end),
    }
}

fn has_no_choices(data: &[u8], object: &Object) -> bool {
    match object.value(data, "choices") {
        None => true,
        Some(value) => value.first() == Some(&b'[') && value.get(skip_space(value, 1)) == Some(&b']'),
    }
}

/// `{"error": …}`, or vLLM's `{"object": "error", …}`; an error that is empty is none.
fn is_error(data: &[u8], object: &Object) -> bool {
    let told = object.value(data, "error").is_some_and(|error| !matches!(error, b"\"\"" | b"{}" | b"false"));
    told || object.value(data, "object") == Some(b"\"error\"")
}

fn error_verdict(data: &[u8]) -> Verdict {
    let (message, code, _) = read_error(data);
    Verdict::Error { message, code }
}

/// What follows each occurrence of a key and its colon.
fn values<'d>(finder: &Finder<'_>, data: &'d [u8]) -> impl Iterator<Item = &'d [u8]> {
    let length = finder.needle().len();
    finder.find_iter(data).filter_map(move |at| {
        let colon = skip_space(data, at + length);
        (data.get(colon) == Some(&b':')).then(|| &data[skip_space(data, colon + 1)..])
    })
}

fn any_value(finder: &Finder<'_>, data: &[u8], wanted: impl Fn(&[u8]) -> bool) -> bool {
    values(finder, data).any(wanted)
}

fn is_zero(value: &[u8]) -> bool {
    value.first() == Some(&b'0') && !matches!(value.get(1), Some(b'0'..=b'9' | b'.'))
}

/// What the key just read announces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChoiceKey {
    Index,
    FinishReason,
    Other,
}

/// Reads `index` and `finish_reason` of each element of `choices`.
struct Choices<'i> {
    inspector: &'i mut Inspector,
    key: ChoiceKey,
    index: u64,
    reason: Option<String>,
}

impl Visitor for Choices<'_> {
    fn key(&mut self, depth: usize, text: &[u8], key: StringToken) {
        self.key = match key.inner.of(text) {
            b"index" if depth == 2 => ChoiceKey::Index,
            b"finish_reason" if depth == 2 => ChoiceKey::FinishReason,
            _ => ChoiceKey::Other,
        };
    }

    fn string(&mut self, _: usize, text: &[u8], string: StringToken) {
        if self.key == ChoiceKey::FinishReason && !string.inner.is_empty() {
            self.reason = decode(string.outer().of(text));
        }
    }

    fn scalar(&mut self, _: usize, text: &[u8], span: Span) {
        if self.key == ChoiceKey::Index {
            self.index = std::str::from_utf8(span.of(text)).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
        }
    }

    fn open(&mut self, depth: usize, _: &[u8], _: usize, _: bool) {
        if depth == 1 {
            (self.index, self.reason) = (0, None);
        }
        self.key = ChoiceKey::Other;
    }

    fn close(&mut self, depth: usize, _: &[u8], _: usize) {
        if depth == 1 {
            let reason = self.reason.take();
            self.inspector.choice(self.index, reason);
        }
    }
}

/// Whether the first line, as far as it has come, is one of server-sent events: a comment or a field
/// of the standard (or `error`, see [`Fields::error`]). Anything else at the very beginning is an
/// error page or a plain answer, which a lenient reader would swallow in silence.
pub(super) fn begins_like_events(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if MARK.starts_with(bytes) {
        return true;
    }
    let text = bytes.strip_prefix(MARK).unwrap_or(bytes);
    let line = &text[text.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()..];
    if line.is_empty() || line[0] == b':' {
        return true;
    }
    [&b"data"[..], b"event", b"id", b"retry", b"error"].iter().any(|name| {
        let common = line.len().min(name.len());
        line[..common] == name[..common]
            && line.get(name.len()).is_none_or(|after| matches!(after, b':' | b'\r' | b'\n'))
    })
}

/// Whether an event that lacks its blank line is whole nonetheless: its data is `[DONE]` or JSON.
pub(super) fn is_complete(raw: &[u8]) -> bool {
    match Fields::read(raw, true).data {
        Data::None => false,
        Data::Line(data) => data.trim_ascii() == b"[DONE]" || top_level(data).is_ok(),
        Data::Joined(data) => top_level(&data).is_ok(),
    }
}
