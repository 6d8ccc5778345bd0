//! What of a text shows in one quick look, so that few expressions have to search it: most texts hold hardly a digit and no `@`.
//!
//! An expression is left out only where a text lacks what every match of it must have. For expressions that begin with
//! something certain this is made from the expression itself; for the others it is said beside it ([`Sign`]), and a test makes matches of
//! each and looks whether they show it.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use aho_corasick::packed::Searcher;
use regex_syntax::hir::literal::Extractor;

/// Beginnings of all expressions together; more are no quick look.
const MOST_BEGINNINGS: usize = 64;
/// Shorter ones are in every text.
const SHORTEST: usize = 3;
/// So much of a beginning is looked for, bytes: as much as one step of the search compares.
const ENOUGH: usize = 4;
/// Bytes that may stand between two digits of one number.
const BETWEEN: usize = 2;
/// So many bytes are looked at at once.
const STEP: usize = 32;

/// What every match of an expression has.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Sign {
    /// Nothing is known but what may be made from the expression.
    Unsaid,
    /// An `@`.
    At,
    /// So many digits, with at most two bytes between one and the next.
    Digits(usize),
    /// Two letters and right behind them two digits.
    Account,
}

/// What a text shows, looked at when it is asked for.
pub(super) struct Shown<'t> {
    text: &'t [u8],
    numbers: OnceCell<Numbers>,
}

/// The digits of a text.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
struct Numbers {
    /// The most that stand together.
    most: usize,
    /// Two stand right behind two letters.
    account: bool,
}

impl<'t> Shown<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { text: text.as_bytes(), numbers: OnceCell::new() }
    }

    /// Whether a match may be there.
    pub(super) fn has(&self, sign: Sign) -> bool {
        match sign {
            Sign::Unsaid => true,
            Sign::At => self.text.contains(&b'@'),
            Sign::Digits(least) => self.numbers().most >= least,
            Sign::Account => self.numbers().account,
        }
    }

    fn numbers(&self) -> Numbers {
        *self.numbers.get_or_init(|| numbers(self.text))
    }
}

fn numbers(text: &[u8]) -> Numbers {
    let mut found = Numbers::default();
    let (mut count, mut last) = (0, None);
    for (step, bytes) in text.chunks(STEP).enumerate() {
        // All at once, which is many times as quick as one by one; most steps of most texts end here.
        if bytes.iter().fold(0u8, |digits, byte| digits | u8::from(byte.is_ascii_digit())) == 0 {
            continue;
        }
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
            let at = step * STEP + at;
            let near = last.is_some_and(|last| at - last <= BETWEEN + 1);
            count = if near { count + 1 } else { 1 };
            found.most = found.most.max(count);
            found.account |= last.is_some_and(|last| last + 1 == at)
                && at >= 3
                && text[at - 3..at - 1].iter().all(u8::is_ascii_alphabetic);
            last = Some(at);
        }
    }
    found
}

/// Finds every place where one of these could begin; `None` where that is not certain, or no quick look (as on a processor without
/// vector instructions).
pub(super) fn gate<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Option<Searcher> {
    let mut ways = BTreeSet::new();
    for pattern in patterns {
        let whole = regex_syntax::parse(pattern).ok()?;
        let mut extractor = Extractor::new();
        extractor.limit_literal_len(ENOUGH).limit_total(MOST_BEGINNINGS);
        for beginning in extractor.extract(&whole).literals()? {
            let bytes = beginning.as_bytes();
            ways.insert(bytes[..bytes.len().min(ENOUGH)].to_vec());
        }
    }
    let quick = (1..=MOST_BEGINNINGS).contains(&ways.len()) && ways.iter().all(|way| way.len() >= SHORTEST);
    if quick { Searcher::new(ways) } else { None }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::entities::{PII, SECRETS};
    use super::*;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    /// As many as make short and long forms of each part likely.
    const TRIES: usize = 2_000;

    #[test]
    fn whatever_matches_shows_its_sign() {
        let mut runner = TestRunner::deterministic();
        for entity in PII {
            assert_ne!(entity.sign, Sign::Unsaid, "{}", entity.name);
            let matches = proptest::string::string_regex(entity.pattern).unwrap();
            for _ in 0..TRIES {
                let text = matches.new_tree(&mut runner).unwrap().current();
                assert!(Shown::of(&text).has(entity.sign), "{} {text}", entity.name);
            }
        }
    }

    #[test]
    fn whatever_begins_passes_the_gate() {
        let Some(gate) = gate(SECRETS.iter().map(|entity| entity.pattern)) else { return };
        let mut runner = TestRunner::deterministic();
        for entity in SECRETS {
            assert_eq!(entity.sign, Sign::Unsaid, "{}", entity.name);
            let matches = proptest::string::string_regex(entity.pattern).unwrap();
            for _ in 0..TRIES / 10 {
                let text = matches.new_tree(&mut runner).unwrap().current();
                assert!(gate.find(&text).is_some(), "{} {text}", entity.name);
            }
        }
        assert!(gate.find("Is somebody at the desk at that hour? We arrive on Friday.").is_none());
    }

    #[test]
    fn numbers_stand_together_or_not() {
        for (text, most, account) in [
            ("", 0, false),
            ("a1", 1, false),
            ("12 34", 4, false),
            ("12, 34", 4, false),
            ("12 or 34", 2, false),
            ("room 4711", 4, false),
            ("AB12", 2, true),
            ("é12", 2, false),
            ("(415) 555-2671", 10, false),
            (&"7".repeat(100), 100, false),
            (&format!("{}DE89", "x".repeat(30)), 2, true),
            (&format!("{}12", "x".repeat(31)), 2, true),
        ] {
            assert_eq!(numbers(text.as_bytes()), Numbers { most, account }, "{text}");
        }
    }

    #[test]
    fn what_begins_with_anything_has_no_gate() {
        for pattern in ["[a-z]+x", "ab", ".*secret", "(?i)[a-z]{5}"] {
            assert!(gate([pattern]).is_none(), "{pattern}");
        }
        assert!(gate(["secret", "[a-z]"]).is_none());
        if let Some(gate) = gate([r"\bfoo bar\b|(?i)straße"]) {
            assert!(gate.find("die STRAßE").is_some() && gate.find("die Gasse").is_none());
        }
    }

    proptest! {
        #[test]
        fn numbers_are_told_as_one_by_one(text in "[0-9 a-zé.-]{0,120}") {
            let bytes = text.as_bytes();
            let (mut most, mut count, mut gap) = (0, 0, usize::MAX);
            for byte in bytes {
                if byte.is_ascii_digit() {
                    count = if gap <= BETWEEN { count + 1 } else { 1 };
                    (most, gap) = (most.max(count), 0);
                } else {
                    gap = gap.saturating_add(1);
                }
            }
            let account = bytes.windows(4).any(|four| {
                four[..2].iter().all(u8::is_ascii_alphabetic) && four[2..].iter().all(u8::is_ascii_digit)
            });
            prop_assert_eq!(numbers(bytes), Numbers { most, account });
        }
    }
}
