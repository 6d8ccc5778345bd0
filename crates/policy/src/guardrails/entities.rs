//! What the built-in detectors know: a shape, and what proves that a text of this shape is meant.
//!
//! A shape alone is wrong too often where numbers are concerned, so wherever there is a checksum it has to hold. Shapes are bounded
//! in length, so that looking again after one that proved false costs little.

use super::checksums::{cn_id, de_id, digits, es_id, fr_id, iban, iban_length, it_id, luhn, pl_id, us_ssn};
use super::signs::Sign;
use crate::key;

/// Says where a match that begins at `start` and has the shape until `end` really ends; `None`: it is none.
pub(super) type Proof = fn(text: &str, start: usize, end: usize) -> Option<usize>;

/// One thing that can be found.
pub(super) struct Entity {
    /// As settings name it.
    pub(super) name: &'static str,
    pub(super) pattern: &'static str,
    /// What every text of this shape has.
    pub(super) sign: Sign,
    pub(super) proof: Proof,
}

/// `kind = "pii"`.
pub(super) const PII: &[Entity] = &[
    Entity {
        name: "email",
        pattern: r"[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}",
        sign: Sign::At,
        proof: |_, _, end| Some(end),
    },
    Entity { name: "card", pattern: r"[2-6](?:[ -]?[0-9]){12,18}", sign: Sign::Digits(13), proof: card },
    Entity {
        name: "iban",
        // No `(?i)`: letters of other alphabets count as ours then.
        pattern: r"[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}",
        sign: Sign::Account,
        proof: an_iban,
    },
    Entity {
        name: "phone",
        pattern: r"\+[1-9](?:[ ().-]{0,2}[0-9]){7,14}|(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ])[2-9][0-9]{2}[-. ][0-9]{4}|1[3-9][0-9]{9}",
        sign: Sign::Digits(8),
        proof: apart,
    },
    Entity {
        name: "us_ssn",
        pattern: r"[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{3} [0-9]{2} [0-9]{4}",
        sign: Sign::Digits(9),
        proof: |t, s, e| apart(t, s, e).filter(|_| us_ssn(&digits(&t[s..e]))),
    },
    Entity {
        name: "cn_id",
        pattern: r"[1-9][0-9]{16}[0-9Xx]",
        sign: Sign::Digits(17),
        proof: |t, s, e| apart(t, s, e).filter(|_| cn_id(&t[s..e])),
    },
    Entity {
        name: "es_id",
        pattern: r"[0-9]{8}-?[A-Z]|[XYZ]-?[0-9]{7}-?[A-Z]",
        sign: Sign::Digits(7),
        proof: |t, s, e| apart(t, s, e).filter(|_| es_id(&t[s..e])),
    },
    Entity {
        name: "it_id",
        pattern: r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]",
        sign: Sign::Digits(7),
        proof: |t, s, e| apart(t, s, e).filter(|_| it_id(&t[s..e])),
    },
    Entity {
        name: "fr_id",
        pattern: r"[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        sign: Sign::Digits(14),
        proof: |t, s, e| apart(t, s, e).filter(|_| fr_id(&t[s..e])),
    },
    Entity {
        name: "de_id",
        pattern: r"[1-9][0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
        sign: Sign::Digits(11),
        proof: |t, s, e| apart(t, s, e).filter(|_| de_id(&digits(&t[s..e]))),
    },
    Entity {
        name: "pl_id",
        pattern: r"[0-9]{11}",
        sign: Sign::Digits(11),
        proof: |t, s, e| apart(t, s, e).filter(|_| pl_id(&digits(&t[s..e]))),
    },
];

/// `kind = "secrets"`.
pub(super) const SECRETS: &[Entity] = &[
    Entity { name: "tidegate_key", pattern: r"tg-[0-9A-Za-z]{38}", sign: Sign::Unsaid, proof: own_key },
    Entity {
        name: "openai_key",
        pattern: r"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,200}",
        sign: Sign::Unsaid,
        proof: apart,
    },
    Entity { name: "aws_key", pattern: r"(?:AKIA|ASIA)[A-Z2-7]{16}", sign: Sign::Unsaid, proof: apart },
    Entity {
        name: "aws_secret",
        pattern: r#"(?i)aws_?secret_?access_?key["']?\s{0,4}[:=]\s{0,4}["']?[A-Za-z0-9/+=]{40}"#,
        sign: Sign::Unsaid,
        proof: |_, _, end| Some(end),
    },
    Entity { name: "google_key", pattern: r"AIza[A-Za-z0-9_-]{35}", sign: Sign::Unsaid, proof: apart },
    Entity {
        name: "github_token",
        pattern: r"gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}",
        sign: Sign::Unsaid,
        proof: apart,
    },
    Entity {
        name: "slack_token",
        pattern: r"xox[abeoprs]-[A-Za-z0-9-]{10,250}",
        sign: Sign::Unsaid,
        proof: apart,
    },
    Entity {
        name: "stripe_key",
        pattern: r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,247}",
        sign: Sign::Unsaid,
        proof: apart,
    },
    Entity {
        name: "jwt",
        pattern: r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
        sign: Sign::Unsaid,
        proof: |_, _, end| Some(end),
    },
    Entity {
        // What follows the header goes with it, also where the end is missing.
        name: "private_key",
        pattern: r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----[^-]*(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?",
        sign: Sign::Unsaid,
        proof: |_, _, end| Some(end),
    },
];

/// Nothing that could be a part of it stands beside it.
fn apart(text: &str, start: usize, end: usize) -> Option<usize> {
    (is_edge(text, start) && !text.as_bytes().get(end).is_some_and(u8::is_ascii_alphanumeric)).then_some(end)
}

/// No letter or digit before it, and no decimal point after a digit. Letters of other scripts are edges: Chinese has no spaces.
fn is_edge(text: &str, start: usize) -> bool {
    let before = &text.as_bytes()[..start];
    match before {
        [.., last]
            if last.is_ascii_alphanumeric() && !matches!(text.as_bytes().get(start), Some(b'+' | b'(')) =>
        {
            false
        }
        [.., digit, b'.'] if digit.is_ascii_digit() => false,
        _ => true,
    }
}

/// The longest beginning of the digits, groups whole, that is a card: a check number or a date may follow it.
fn card(text: &str, start: usize, end: usize) -> Option<usize> {
    if !is_edge(text, start) {
        return None;
    }
    let bytes = text.as_bytes();
    let ends = (start + 13..=end).rev().filter(|end| {
        bytes[end - 1].is_ascii_digit() && !bytes.get(*end).is_some_and(u8::is_ascii_alphanumeric)
    });
    let is_card = |end: &usize| {
        let digits = digits(&text[start..*end]);
        (13..=19).contains(&digits.len()) && luhn(&digits)
    };
    ends.into_iter().find(is_card)
}

/// As many characters as its country has, whatever follows.
fn an_iban(text: &str, start: usize, end: usize) -> Option<usize> {
    let wanted = iban_length(&text[start..start + 2].to_ascii_uppercase())?;
    if !is_edge(text, start) {
        return None;
    }
    let mut compact = String::with_capacity(wanted);
    let mut at = start;
    for byte in text[start..end].bytes() {
        at += 1;
        if byte.is_ascii_alphanumeric() {
            compact.push(char::from(byte.to_ascii_uppercase()));
            if compact.len() == wanted {
                let open = text.as_bytes().get(at).is_some_and(u8::is_ascii_alphanumeric);
                return (!open && iban(&compact)).then_some(at);
            }
        }
    }
    None
}

/// Its checksum tells a virtual key of ours with certainty.
fn own_key(text: &str, start: usize, end: usize) -> Option<usize> {
    key::parse(&text.as_bytes()[start..end]).is_ok().then_some(end)
}
