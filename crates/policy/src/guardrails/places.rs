//! Expressions with their proofs, and the one loop that finds: in a text that is there, and in one that still comes.

use aho_corasick::packed::Searcher;
use regex::{Regex, RegexBuilder};
use std::ops::Range;

use super::beginnings;
use super::entities::Proof;
use super::signs::{self, Shown, Sign};

/// The largest compiled expression, bytes.
const MAX_COMPILED: usize = 4 << 20;
/// Beginnings are about as many times as large as the expression.
const MAX_BEGINNINGS: usize = 32 << 20;
/// The longest match, bytes, for which a whole window is kept.
const MAX_LONGEST: usize = 64 << 10;
/// What may stand behind a match and be looked at, bytes.
const BEHIND: usize = 8;

/// One kind of thing that is looked for.
pub(super) struct Pattern {
    pub(super) kind: &'static str,
    source: String,
    regex: Regex,
    sign: Sign,
    proof: Proof,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind)
    }
}

/// What is looked for in a text.
#[derive(Debug)]
pub struct Places {
    patterns: Box<[Pattern]>,
    /// Matches every text in which one of those without a sign could begin.
    gate: Option<Searcher>,
    begun: Begun,
    /// The most bytes of a match, where that is bounded.
    longest: Option<usize>,
}

/// Where in the tail of a text something could have begun.
#[derive(Debug)]
enum Begun {
    /// Not asked for.
    Unknown,
    Search(Box<Regex>),
    /// Too many words for that: a match is never longer than so many bytes.
    Within(usize),
}

pub(super) fn compiled(
    pattern: &str,
    kind: &'static str,
    sign: Sign,
    proof: Proof,
) -> Result<Pattern, String> {
    let regex = RegexBuilder::new(pattern).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
    let regex = regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        // The last line says why; those before it draw the place.
        other => {
            other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    })?;
    Ok(Pattern { kind, source: pattern.to_owned(), regex, sign, proof })
}

impl Places {
    pub(super) fn of(patterns: impl Into<Box<[Pattern]>>) -> Self {
        let patterns = patterns.into();
        let unsaid = patterns.iter().filter(|pattern| pattern.sign == Sign::Unsaid);
        let gate = signs::gate(unsaid.map(|pattern| &*pattern.source));
        Self { patterns, gate, begun: Begun::Unknown, longest: None }
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.regex.is_match(text))
    }

    /// Whether what they find is known so well that it is looked for again when something is masked.
    pub(super) fn are_built_in(&self) -> bool {
        self.patterns.iter().all(|pattern| !matches!(pattern.kind, "pattern" | "word"))
    }

    /// Whether they find secrets, some of which are long.
    pub(super) fn are_secrets(&self) -> bool {
        self.patterns.iter().any(|pattern| matches!(pattern.kind, "jwt" | "private_key"))
    }

    /// Makes ready for texts that come in pieces.
    ///
    /// # Errors
    /// The expression is too large for that.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        let all: Option<Vec<_>> =
            self.patterns.iter().map(|pattern| beginnings::of(&pattern.source)).collect();
        let all = all.unwrap_or_default();
        let longest: Option<usize> =
            all.iter().map(|one| one.longest).try_fold(0, |most, one| Some(most.max(one?)));
        self.longest = longest.filter(|longest| *longest <= MAX_LONGEST);
        let ways: Vec<&str> = all.iter().map(|one| &*one.pattern).collect();
        let search = RegexBuilder::new(&format!("(?:{})\\z", ways.join("|")))
            .size_limit(MAX_BEGINNINGS)
            .dfa_size_limit(MAX_COMPILED)
            .nest_limit(1_000)
            .build();
        self.begun = match (search, self.longest) {
            (Ok(search), _) => Begun::Search(Box::new(search)),
            (Err(_), Some(longest)) => Begun::Within(longest),
            (Err(_), None) => return Err("the pattern is too large to look at streams".to_owned()),
        };
        Ok(())
    }

    /// So many bytes of a text that comes have to be held at most, where a match of any length is worth `usual`.
    pub(super) fn window(&self, usual: usize) -> usize {
        self.longest.map_or(usual, |longest| longest + BEHIND)
    }

    /// From where on `text` could still become, or be part of, something else than it is now.
    pub(super) fn open_from(&self, text: &str, at: usize) -> usize {
        let start = match &self.begun {
            Begun::Search(search) => search.find_at(text, at).map_or(text.len(), |found| found.start()),
            Begun::Within(longest) => text.len().saturating_sub(*longest),
            Begun::Unknown => at,
        };
        floor(text, start.max(at))
    }

    /// Whether one of those without a sign may begin behind `at`.
    fn is_open(&self, text: &str, at: usize) -> bool {
        let rest = text.as_bytes().get(at..).unwrap_or_default();
        self.gate.as_ref().is_none_or(|gate| gate.find(rest).is_some())
    }

    /// Looks at a text from a place on. What is found is in order and does not overlap.
    pub(super) fn find_from(&self, text: &str, at: usize) -> Vec<(Range<usize>, &'static str)> {
        let mut all = Vec::new();
        let shown = Shown::of(text.get(at..).unwrap_or_default());
        let mut open = None;
        for pattern in &self.patterns {
            let may_be = match pattern.sign {
                Sign::Unsaid => *open.get_or_insert_with(|| self.is_open(text, at)),
                sign => shown.has(sign),
            };
            if may_be {
                pattern.find(text, at, &mut all);
            }
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
}

impl Pattern {
    fn find(&self, text: &str, from: usize, all: &mut Vec<(Range<usize>, &'static str)>) {
        let mut at = from;
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

/// The last edge of a character that is not behind `at`.
pub(super) fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
