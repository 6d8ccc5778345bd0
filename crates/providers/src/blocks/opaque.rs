//! Signatures and encrypted thoughts: bytes that only their issuer understands.
//!
//! A provider refuses another's, so each carries whose it is. A client of the issuer's own dialect sees it as its
//! dialect has it. A client of another dialect gets it where its dialect has a place for foreign bytes: there it
//! travels as a capsule, a text that begins with [`PREFIX`] and names the issuer, and comes back with the next turn.
//! A capsule is not secret and not trusted: what it holds was the client's to see, and a forged one is refused by the
//! provider that it names.

use serde::{Deserialize, Serialize};

use crate::dialects::Dialect;

/// How a capsule begins.
pub const PREFIX: &str = "tg1.";

/// Who made it and so may see it again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Issuer {
    /// The dialect in which it was issued.
    pub dialect: Dialect,
    /// The provider's name in the settings; empty when unknown, because a client sent it in its own dialect's form.
    pub provider: String,
}

impl Issuer {
    /// Whether something of this issuer may be sent to `target`.
    pub fn may_see(&self, target: &Self) -> bool {
        self.dialect == target.dialect && (self.provider.is_empty() || self.provider == target.provider)
    }
}

/// What kind of bytes it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpaqueKind {
    /// Anthropic: `signature` of a `thinking` block.
    Signature,
    /// Anthropic: `data` of a `redacted_thinking` block.
    Redacted,
    /// OpenAI Responses: `encrypted_content` of a reasoning item.
    Encrypted,
    /// Gemini: `thoughtSignature` of a part.
    ThoughtSignature,
}

/// Bytes and whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Opaque {
    /// Whose.
    pub issuer: Issuer,
    /// What.
    pub kind: OpaqueKind,
    /// The text as it came, mostly base64.
    pub data: String,
}

impl Opaque {
    /// As one text for a place that takes any: `tg1.` and base64url of JSON.
    pub fn capsule(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut text = PREFIX.to_owned();
        base64url(&json, &mut text);
        text
    }

    /// Opens a capsule; `None` for any other text.
    pub fn open(text: &str) -> Option<Self> {
        serde_json::from_slice(&from_base64url(text.strip_prefix(PREFIX)?)?).ok()
    }

    /// What a client sent in a place of its own dialect: a capsule of another issuer, or its dialect's own bytes.
    pub fn received(dialect: Dialect, kind: OpaqueKind, text: &str) -> Self {
        Self::open(text).unwrap_or_else(|| Self {
            issuer: Issuer { dialect, provider: String::new() },
            kind,
            data: text.to_owned(),
        })
    }

    /// How it is shown to a client of `dialect`: bare where it is that dialect's own, else as a capsule.
    pub fn shown(&self, dialect: Dialect) -> String {
        if self.issuer.dialect == dialect { self.data.clone() } else { self.capsule() }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64url(bytes: &[u8], out: &mut String) {
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * place) & 63) as usize]));
        }
    }
}

fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.as_bytes().chunks(4) {
        let mut word = 0u32;
        for byte in chunk {
            let six = ALPHABET.iter().position(|letter| letter == byte)?;
            word = word << 6 | u32::try_from(six).ok()?;
        }
        word <<= 6 * (4 - chunk.len());
        let whole = chunk.len().checked_sub(1).filter(|whole| *whole > 0)?;
        bytes.extend_from_slice(&word.to_be_bytes()[1..=whole]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capsule_comes_back_as_it_went() {
        for data in ["", "a", "ab", "EqQBCkYIBxgCKkA=+/é"] {
            let issuer = Issuer { dialect: Dialect::Messages, provider: "anthropic".into() };
            let opaque = Opaque { issuer, kind: OpaqueKind::Signature, data: data.into() };
            assert_eq!(Opaque::open(&opaque.capsule()), Some(opaque.clone()));
            assert_eq!(
                Opaque::received(Dialect::Gemini, OpaqueKind::ThoughtSignature, &opaque.capsule()),
                opaque
            );
        }
        assert_eq!(Opaque::open("tg1.!"), None);
        assert_eq!(Opaque::open("EqQBCkYIBxgCKkA"), None);
    }
}
