//! One guardrail at a text that comes in pieces: what may go on goes on at once, what could still be the beginning of a
//! finding is held, and what leaves does not depend on how the text was cut.
//!
//! Why it does not: whether something could have begun at a place is decided by the text up to now alone, and so is
//! what is found before the first such place. The window is passed at the same byte however pieces lie, since a piece that would lead
//! beyond it is taken in parts. A quarter more than the window is kept, so that a full one is looked at once for each quarter and not for
//! each character. Masking is done again over what was masked, as in a text that is there: each round is a
//! sieve of its own behind the one before.

use super::places::{Places, floor};
use super::{Found, MAX_ROUNDS};

/// So much of what went on is kept, since edges of words and numbers are looked for before them.
const CONTEXT: usize = 8;

/// One text, as one guardrail sees it.
#[derive(Debug, Default)]
pub struct Sieve {
    rounds: Vec<Round>,
    window: usize,
}

/// One pass over a text.
#[derive(Debug, Default)]
struct Round {
    /// Context, then what is held.
    text: String,
    /// Of it so many bytes went on already.
    gone: usize,
    /// Bytes that were looked at.
    #[cfg(test)]
    looked: usize,
}

impl Sieve {
    /// At the beginning of a text. Whoever only looks needs one round.
    pub(super) fn new(places: &Places, masks: bool, window: usize) -> Self {
        let rounds = if masks && places.are_built_in() { MAX_ROUNDS + 1 } else { 1 };
        let mut sieve = Self { rounds: Vec::new(), window: places.window(window) };
        sieve.rounds.resize_with(rounds, Round::default);
        sieve
    }

    /// More of the text, or with `last` its end: appends what may go on, masked, and tells what was found.
    pub(super) fn push(
        &mut self,
        places: &Places,
        more: &str,
        last: bool,
        out: &mut String,
        found: &mut Found,
    ) {
        let mut passed = String::new();
        let count = self.rounds.len();
        for (at, round) in self.rounds.iter_mut().enumerate() {
            let before = std::mem::take(&mut passed);
            let more = if at == 0 { more } else { &before };
            let into = if at + 1 == count { &mut *out } else { &mut passed };
            round.push(places, self.window, more, into, found);
            if last {
                round.go_on(places, true, into, found);
            }
        }
    }

    /// Bytes that were looked at, each as often as it was.
    #[cfg(test)]
    pub(super) fn looked(&self) -> usize {
        self.rounds.iter().map(|round| round.looked).sum()
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.rounds.iter().map(|round| round.text.len() - round.gone).sum()
    }
}

impl Round {
    fn push(&mut self, places: &Places, window: usize, mut more: &str, out: &mut String, found: &mut Found) {
        while !more.is_empty() {
            let room = (window + window / 4).saturating_sub(self.text.len() - self.gone);
            let cut = floor(more, room);
            if cut == 0 {
                self.force(places, window / 4, out, found);
                continue;
            }
            self.text.push_str(&more[..cut]);
            more = &more[cut..];
            self.go_on(places, false, out, found);
        }
    }

    /// Lets go on what is decided.
    fn go_on(&mut self, places: &Places, last: bool, out: &mut String, found: &mut Found) {
        let open = if last { self.text.len() } else { places.open_from(&self.text, self.gone) };
        if open <= self.gone && !last {
            return;
        }
        let finds = self.find(places);
        // What reaches into the open tail may become one with what begins there.
        let across = finds.iter().find(|(range, _)| range.start < open && range.end > open);
        let until = across.map_or(open, |(range, _)| range.start);
        self.release(&finds, until, out, found);
    }

    fn find(&mut self, places: &Places) -> Vec<(std::ops::Range<usize>, &'static str)> {
        #[cfg(test)]
        {
            self.looked += self.text.len() - self.gone;
        }
        places.find_from(&self.text, self.gone)
    }

    /// The window is full, and more: what is found by now is taken as it stands, and a quarter goes on. Whatever begins in it
    /// has had its window.
    fn force(&mut self, places: &Places, quarter: usize, out: &mut String, found: &mut Found) {
        let finds = self.find(places);
        let first = self.text[self.gone..].chars().next().map_or(1, char::len_utf8);
        let edge = floor(&self.text, self.gone + quarter.max(first));
        let across = finds.iter().find(|(range, _)| range.start < edge && range.end > edge);
        let until = match across {
            Some((range, _)) if range.start > self.gone => range.start,
            Some((range, _)) => range.end,
            None => edge,
        };
        self.release(&finds, until, out, found);
        self.go_on(places, false, out, found);
    }

    fn release(
        &mut self,
        finds: &[(std::ops::Range<usize>, &'static str)],
        until: usize,
        out: &mut String,
        found: &mut Found,
    ) {
        let mut at = self.gone;
        for (range, kind) in finds.iter().filter(|(range, _)| range.end <= until) {
            found.add(kind);
            out.push_str(&self.text[at..range.start]);
            super::mask_into(kind, out);
            at = range.end;
        }
        out.push_str(&self.text[at..until]);
        self.gone = until;
        let context = floor(&self.text, self.gone.saturating_sub(CONTEXT));
        // Cut now and then, not at each word.
        if context > 8 * CONTEXT {
            self.text.drain(..context);
            self.gone -= context;
        }
    }
}
