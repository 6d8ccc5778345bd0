//! Guardrails: what a text must not hold, found and masked. Pure: no clock, no I/O; who asks and what is done about it is the
//! gateway's.
//!
//! What has a place in a text is one kind of thing, a regular expression with a proof, so there is one loop that finds, and it is linear: the
//! engine never backtracks, and shapes of the built-in entities are bounded. Words are an expression too, since case of all
//! scripts and edges of words are what the engine knows best.

mod beginnings;
mod checksums;
mod entities;
mod languages;
mod places;
mod schema;
mod sieve;
mod signs;

use crate::ids::Name;
use crate::key::Secret;
use crate::nearest;
use crate::snapshot::Origin;
use entities::{Entity, PII, SECRETS};
use places::compiled;
use serde::Serialize;
use signs::Sign;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

pub use languages::{Languages, is_language};
pub use places::Places;
pub use schema::Schema;
pub use sieve::Sieve;

/// How often a text that was masked is looked at again.
const MAX_ROUNDS: usize = 4;
/// Bytes of a streamed text that are held at most, where a match has no longest form.
const WINDOW: usize = 256;
/// The same of secrets: what a private key has between its lines.
const SECRET_WINDOW: usize = 4_096;

/// What is done about a finding.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The request, or the answer, is refused.
    #[default]
    Block,
    /// What was found is replaced by the name of its kind in brackets.
    Mask,
    /// The client is told by a header.
    Annotate,
    /// Log and metrics alone.
    Observe,
}

impl Action {
    /// As settings, logs and metrics spell them.
    pub const NAMES: [(&'static str, Action); 4] = [
        ("block", Action::Block),
        ("mask", Action::Mask),
        ("annotate", Action::Annotate),
        ("observe", Action::Observe),
    ];

    /// As settings, logs and metrics spell it.
    pub fn as_str(self) -> &'static str {
        Action::NAMES.iter().find(|(_, action)| *action == self).map_or("block", |(name, _)| name)
    }
}

/// When a guardrail looks.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Before the call.
    Request,
    /// At the answer.
    Response,
}

impl Stage {
    /// As settings, logs and metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// One guardrail of an environment, ready to look.
#[derive(Debug)]
pub struct Guardrail {
    /// As the settings name it.
    pub name: Name,
    /// What is done about a finding.
    pub action: Action,
    /// It looks at requests.
    pub request: bool,
    /// It looks at answers.
    pub response: bool,
    /// Where it cannot look at all: `true` lets pass, `false` refuses.
    pub fail_open: bool,
    /// Bytes of a streamed text that are held at most, where a match has no longest form.
    pub window: Option<usize>,
    /// Changes whenever it would decide otherwise.
    pub fingerprint: Name,
    /// What it looks for.
    pub detector: Detector,
}

impl Guardrail {
    /// Whether it looks at this stage.
    pub fn is_at(&self, stage: Stage) -> bool {
        match stage {
            Stage::Request => self.request,
            Stage::Response => self.response,
        }
    }

    /// What looks at one text that comes in pieces, where it looks for places.
    pub fn sieve(&self) -> Option<Sieve> {
        let Detector::Places(places) = &self.detector else { return None };
        let usual = if places.are_secrets() { SECRET_WINDOW } else { WINDOW };
        Some(Sieve::new(places, self.action == Action::Mask, self.window.unwrap_or(usual)))
    }

    /// More of that text, or with `last` its end: appends to `out` what may go on, and tells what was found.
    pub fn sift(&self, sieve: &mut Sieve, more: &str, last: bool, out: &mut String, found: &mut Found) {
        let Detector::Places(places) = &self.detector else { return out.push_str(more) };
        sieve.push(places, more, last, out, found);
    }
}

/// What a guardrail looks for.
#[derive(Debug)]
pub enum Detector {
    /// Places in a text.
    Places(Places),
    /// More characters than this in all texts together.
    Length(u64),
    /// Texts in other languages than these.
    Language(Languages),
    /// An answer whose text does not keep to a schema.
    Schema(Schema),
    /// Somebody else decides.
    Hook(Box<Hook>),
}

/// Who is asked over HTTP, and how.
#[derive(Debug)]
pub struct Hook {
    /// Where it is.
    pub origin: Origin,
    /// The path, `/` at least.
    pub path: String,
    /// What it is sent as a bearer token.
    pub credential: Option<Secret>,
    /// How long it may take.
    pub timeout: Duration,
    /// It may be at a private address, as providers may (`server.allow_private_upstreams`).
    pub may_be_private: bool,
}

/// What was found: kinds and how many of each; never the text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    kinds: Vec<(&'static str, usize)>,
}

impl Found {
    /// Nothing was.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// One more of a kind.
    pub fn add(&mut self, kind: &'static str) {
        match self.kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => self.kinds.push((kind, 1)),
        }
    }

    /// `email=2 card=1`.
    pub fn told(&self) -> String {
        let mut told = String::new();
        for (kind, count) in &self.kinds {
            let space = if told.is_empty() { "" } else { " " };
            // Writing to a text cannot fail.
            let _ = write!(told, "{space}{kind}={count}");
        }
        told
    }
}

impl Found {
    /// What was found elsewhere too.
    pub fn join(&mut self, other: &Found) {
        for (kind, count) in &other.kinds {
            match self.kinds.iter_mut().find(|(known, _)| known == kind) {
                Some((_, known)) => *known += *count,
                None => self.kinds.push((kind, *count)),
            }
        }
    }

    /// What is more than was told before.
    pub fn beyond(&self, told: &Found) -> Found {
        let before =
            |kind| told.kinds.iter().find(|(known, _)| *known == kind).map_or(0, |(_, count)| *count);
        let more = self.kinds.iter().map(|(kind, count)| (*kind, count.saturating_sub(before(*kind))));
        Found { kinds: more.filter(|(_, count)| *count > 0).collect() }
    }

    /// Of the same text seen again, under another name: the larger count is the true one.
    pub fn at_least(&mut self, other: &Found) {
        for (kind, count) in &other.kinds {
            match self.kinds.iter_mut().find(|(known, _)| known == kind) {
                Some((_, known)) => *known = (*known).max(*count),
                None => self.kinds.push((kind, *count)),
            }
        }
    }
}

/// The kind's name as it stands in place of what was found.
fn mask_into(kind: &str, out: &mut String) {
    out.push('[');
    out.extend(kind.chars().map(|c| c.to_ascii_uppercase()));
    out.push(']');
}

fn any(_: &str, _: usize, end: usize) -> Option<usize> {
    Some(end)
}

impl Detector {
    /// A pattern of the user's own.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn regex(pattern: &str) -> Result<Detector, String> {
        let places = Places::of([compiled(pattern, "pattern", Sign::Unsaid, any)?]);
        if places.is_match("") {
            return Err("the pattern matches an empty text".to_owned());
        }
        Ok(Detector::Places(places))
    }

    /// Words or phrases, whole and in any case.
    ///
    /// # Errors
    /// They are too many or too long.
    pub fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<Detector, String> {
        // Of two that begin alike the longer is tried first.
        let mut words: Vec<&str> = words.into_iter().map(str::trim).collect();
        if words.iter().any(|word| word.is_empty()) {
            return Err("a word is empty".to_owned());
        }
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        // Chinese and its neighbours write words without spaces, so only letters of other scripts have an edge.
        let has_edge = |edge: Option<char>| edge.is_some_and(|c| c.is_alphanumeric() && (c as u32) < 0x2E80);
        let one = |word: &&str| {
            let edge = |at| if has_edge(at) { r"\b" } else { "" };
            format!("{}{}{}", edge(word.chars().next()), regex::escape(word), edge(word.chars().next_back()))
        };
        let pattern = format!("(?i){}", words.iter().map(one).collect::<Vec<_>>().join("|"));
        Ok(Detector::Places(Places::of([compiled(&pattern, "word", Sign::Unsaid, any)?])))
    }

    /// Built-in entities: of `pii`, else of `secrets`. Without names all of them.
    ///
    /// # Errors
    /// Which name is unknown, by its place in the list, and the nearest known one.
    pub fn entities(pii: bool, names: &[&str]) -> Result<Detector, (usize, String)> {
        let known = if pii { PII } else { SECRETS };
        for (at, name) in names.iter().enumerate() {
            if !known.iter().any(|entity| entity.name == *name) {
                let near = nearest::one(name, known.iter().map(|entity| entity.name));
                let all = known.iter().map(|entity| entity.name).collect::<Vec<_>>().join(", ");
                return Err((
                    at,
                    near.map_or(format!("one of {all}"), |near| format!("did you mean `{near}`?")),
                ));
            }
        }
        let wanted = known.iter().filter(|entity| names.is_empty() || names.contains(&entity.name));
        let made = wanted.map(|Entity { name, pattern, sign, proof }| compiled(pattern, name, *sign, *proof));
        let made: Vec<_> = made.collect::<Result<_, _>>().map_err(|problem| (0, problem))?;
        Ok(Detector::Places(Places::of(made)))
    }

    /// Makes ready for answers, which may come in pieces.
    ///
    /// # Errors
    /// It cannot look at such.
    pub fn begin(&mut self) -> Result<(), String> {
        match self {
            Detector::Places(places) => places.begin(),
            _ => Ok(()),
        }
    }

    /// Whether what it finds has a place in a text, and so can be masked.
    pub fn has_places(&self) -> bool {
        matches!(self, Detector::Places(_) | Detector::Hook(_))
    }

    /// Looks at one text. Places are in order and do not overlap.
    pub fn find(&self, text: &str) -> Vec<(Range<usize>, &'static str)> {
        match self {
            Detector::Places(places) => places.find_from(text, 0),
            _ => Vec::new(),
        }
    }

    /// The text with every finding replaced by its kind, such as `[EMAIL]`; adds to `found`.
    pub fn mask<'t>(&self, text: &'t str, found: &mut Found) -> Cow<'t, str> {
        let mut masked = self.mask_once(text, found);
        // What stood right beside a number was a part of it, and may be a finding now that the number is gone. A pattern of the
        // user's own could find the name of its kind for ever.
        let built_in = matches!(self, Detector::Places(places) if places.are_built_in());
        for _ in 0..MAX_ROUNDS {
            match &masked {
                Cow::Owned(text) if built_in => match self.mask_once(text, found) {
                    Cow::Owned(next) => masked = Cow::Owned(next),
                    Cow::Borrowed(_) => break,
                },
                _ => break,
            }
        }
        masked
    }

    fn mask_once<'t>(&self, text: &'t str, found: &mut Found) -> Cow<'t, str> {
        let places = self.find(text);
        if places.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut at = 0;
        for (range, kind) in places {
            found.add(kind);
            masked.push_str(&text[at..range.start]);
            mask_into(kind, &mut masked);
            at = range.end;
        }
        masked.push_str(&text[at..]);
        Cow::Owned(masked)
    }
}

#[cfg(test)]
#[path = "guardrails/tests.rs"]
mod tests;
