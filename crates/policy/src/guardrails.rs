//! Guardrails: what a text must not hold, found and masked. Pure: no clock, no I/O; who asks and what is done about it is the
//! gateway's.
//!
//! Everything is one kind of thing, a regular expression with a proof, so there is one loop that finds, and it is linear: the
//! engine never backtracks, and shapes of the built-in entities are bounded. Words are an expression too, since case of all
//! scripts and edges of words are what the engine knows best.

mod checksums;
mod entities;

use crate::ids::Name;
use crate::nearest;
use entities::{Entity, PII, Proof, SECRETS};
use regex::{Regex, RegexBuilder};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

/// The largest compiled expression, bytes.
const MAX_COMPILED: usize = 4 << 20;
/// How often a text that was masked is looked at again.
const MAX_ROUNDS: usize = 4;

/// What is done about a finding.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The request is refused.
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

/// One guardrail of an environment, ready to look.
#[derive(Debug)]
pub struct Guardrail {
    /// As the settings name it.
    pub name: Name,
    /// What is done about a finding.
    pub action: Action,
    /// Where it cannot look at all: `true` lets the request pass, `false` refuses it.
    pub fail_open: bool,
    /// What it looks for.
    pub detector: Detector,
}

/// What a guardrail looks for.
#[derive(Debug)]
pub enum Detector {
    /// Places in a text.
    Places(Box<[Pattern]>),
    /// More characters than this in all texts together.
    Length(u64),
}

/// One kind of thing that is looked for.
pub struct Pattern {
    kind: &'static str,
    regex: Regex,
    proof: Proof,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind)
    }
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

fn compiled(pattern: &str, kind: &'static str, proof: Proof) -> Result<Pattern, String> {
    let regex = RegexBuilder::new(pattern).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
    let regex = regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        // The last line says why; those before it draw the place.
        other => {
            other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    })?;
    Ok(Pattern { kind, regex, proof })
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
        let pattern = compiled(pattern, "pattern", any)?;
        if pattern.regex.is_match("") {
            return Err("the pattern matches an empty text".to_owned());
        }
        Ok(Detector::Places(Box::new([pattern])))
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
        Ok(Detector::Places(Box::new([compiled(&pattern, "word", any)?])))
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
        let made = wanted.map(|Entity { name, pattern, proof }| compiled(pattern, name, *proof));
        Ok(Detector::Places(made.collect::<Result<_, _>>().map_err(|problem| (0, problem))?))
    }

    /// Whether what it finds has a place in a text, and so can be masked.
    pub fn has_places(&self) -> bool {
        matches!(self, Detector::Places(_))
    }

    /// Looks at one text. Places are in order and do not overlap.
    pub fn find(&self, text: &str) -> Vec<(Range<usize>, &'static str)> {
        let Detector::Places(patterns) = self else { return Vec::new() };
        let mut all = Vec::new();
        for pattern in patterns {
            pattern.find(text, &mut all);
        }
        all.sort_by_key(|(range, _): &(Range<usize>, _)| (range.start, std::cmp::Reverse(range.end)));
        // What overlaps is one place, so that nothing of a second finding is left beside the first.
        let mut joined: Vec<(Range<usize>, &'static str)> = Vec::with_capacity(all.len());
        for (range, kind) in all {
            match joined.last_mut() {
                Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
                _ => joined.push((range, kind)),
            }
        }
        joined
    }

    /// The text with every finding replaced by its kind, such as `[EMAIL]`; adds to `found`.
    pub fn mask<'t>(&self, text: &'t str, found: &mut Found) -> Cow<'t, str> {
        let mut masked = self.mask_once(text, found);
        // What stood right beside a number was a part of it, and may be a finding now that the number is gone. A pattern of the
        // user's own could find the name of its kind for ever.
        let Detector::Places(patterns) = self else { return masked };
        let built_in = patterns.iter().all(|pattern| !matches!(pattern.kind, "pattern" | "word"));
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
            masked.push('[');
            masked.push_str(&kind.to_ascii_uppercase());
            masked.push(']');
            at = range.end;
        }
        masked.push_str(&text[at..]);
        Cow::Owned(masked)
    }
}

impl Pattern {
    fn find(&self, text: &str, all: &mut Vec<(Range<usize>, &'static str)>) {
        let mut at = 0;
        while let Some(hit) = self.regex.find_at(text, at) {
            let proven = (self.proof)(text, hit.start(), hit.end()).filter(|end| *end > hit.start());
            if let Some(end) = proven {
                all.push((hit.start()..end, self.kind));
            }
            at = proven.unwrap_or(hit.start() + 1);
            while at < text.len() && !text.is_char_boundary(at) {
                at += 1;
            }
            if at > text.len() {
                return;
            }
        }
    }
}

#[cfg(test)]
#[path = "guardrails/tests.rs"]
mod tests;
