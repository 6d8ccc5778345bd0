//! What the beginning of a finding looks like: so that of a text that still comes only the tail is held back in which
//! something could have begun.
//!
//! From an expression another is made that matches whatever one of its matches begins with. Put before the end of a
//! text it finds, in one linear search from behind, the first place from which on all that is there could still become a
//! match. What stands before it is decided for ever, whatever comes. Why not the length of the longest match instead: an
//! address may be six hundred bytes long, and nobody wants to read every answer that much later.

use regex_syntax::hir::{Class, Hir, HirKind, Literal, Repetition};

/// The expression as its syntax is understood, and the most bytes that a match has, where that is bounded.
pub(super) struct Beginnings {
    /// An expression for all beginnings, the empty one and the whole among them.
    pub(super) pattern: String,
    pub(super) longest: Option<usize>,
}

/// `None` where the expression cannot be read, which whoever compiles it finds out too.
pub(super) fn of(pattern: &str) -> Option<Beginnings> {
    let whole = regex_syntax::parse(pattern).ok()?;
    Some(Beginnings { pattern: begin(&whole).to_string(), longest: whole.properties().maximum_len() })
}

fn begin(hir: &Hir) -> Hir {
    match hir.kind() {
        // Whether an edge is at the end of a text depends on what comes, so it may be.
        HirKind::Empty | HirKind::Look(_) => Hir::empty(),
        HirKind::Literal(Literal(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().nth(1).is_some() => {
                let letters: Vec<Hir> =
                    text.chars().map(|c| Hir::literal(c.to_string().into_bytes())).collect();
                begin_of_all(&letters)
            }
            _ => perhaps(hir.clone()),
        },
        HirKind::Class(Class::Unicode(_) | Class::Bytes(_)) => perhaps(hir.clone()),
        HirKind::Repetition(repeated) => {
            let most = match repeated.max {
                Some(0) => return Hir::empty(),
                Some(most) => Some(most - 1),
                None => None,
            };
            let before = Repetition { min: 0, max: most, greedy: true, sub: repeated.sub.clone() };
            Hir::concat(vec![Hir::repetition(before), begin(&repeated.sub)])
        }
        HirKind::Capture(group) => begin(&group.sub),
        HirKind::Concat(parts) => begin_of_all(parts),
        HirKind::Alternation(ways) => Hir::alternation(ways.iter().map(begin).collect()),
    }
}

/// Halves and not one part after the other, so that a long expression does not become a deep one.
fn begin_of_all(parts: &[Hir]) -> Hir {
    match parts {
        [] => Hir::empty(),
        [one] => begin(one),
        parts => {
            let (first, rest) = parts.split_at(parts.len() / 2);
            let whole = Hir::concat(first.iter().cloned().chain([begin_of_all(rest)]).collect());
            Hir::alternation(vec![whole, begin_of_all(first)])
        }
    }
}

fn perhaps(hir: Hir) -> Hir {
    Hir::repetition(Repetition { min: 0, max: Some(1), greedy: true, sub: Box::new(hir) })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn a_beginning_is_found_where_it_starts() {
        for (pattern, text, start) in [
            (r"ACME-\d+", "see ACME-1", 4),
            (r"ACME-\d+", "see ACME-x", 10),
            (r"ACME-\d+", "see A", 4),
            (r"ACME-\d{2}", "ACME-123", 8),
            (r"a{2,3}b?", "xaa", 1),
            (r"a{2,3}b?", "xaaaa", 2),
            (r"\bfoo\b", "a fo", 2),
            (r"\bfoo\b", "afo", 3),
            (r"\bfoo\b", "foo", 0),
            (r"(?i)straße|苍鹭", "die STRAS", 8),
            (r"(?i)straße|苍鹭", "die STRA", 4),
            (r"(?i)straße|苍鹭", "那苍", 3),
            (r"^x", "ax", 2),
            (r"(?:ab)+c", "zabab", 1),
        ] {
            let begun = of(pattern).unwrap();
            let regex = Regex::new(&format!("(?:{})\\z", begun.pattern)).unwrap();
            assert_eq!(regex.find(text).unwrap().start(), start, "{pattern} {text}: {}", begun.pattern);
        }
        assert_eq!(of(r"a{2,3}é?").unwrap().longest, Some(5));
        assert_eq!(of(r"ab+").unwrap().longest, None);
        assert!(of("a(").is_none());
    }

    #[test]
    fn a_long_expression_does_not_become_a_deep_one() {
        let begun = of(&"abcdefghij".repeat(300)).unwrap();
        assert!(Regex::new(&begun.pattern).is_ok());
    }
}
