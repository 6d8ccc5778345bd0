//! `thoughtSignature`: base64 bytes on any part.
//!
//! Google's Python SDK decodes the member and fails where it is not base64, and sends it back in the URL-safe alphabet.
//! A capsule (another dialect's bytes) begins with `tg1.`, whose full stop is in neither alphabet, so it goes out as
//! the base64 of its text, and is known again by its beginning in either alphabet.

use crate::blocks::opaque::PREFIX;
use crate::blocks::{Opaque, OpaqueKind};
use crate::dialects::Dialect;

/// What a client sent as `thoughtSignature`.
pub(super) fn received(text: &str) -> Opaque {
    // The base64 of `tg1`; looked at first, so that Google's own long signatures are not decoded for nothing.
    let capsule = text.starts_with("dGcx").then(|| decode(text)).flatten();
    let capsule =
        capsule.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| text.starts_with(PREFIX));
    Opaque::received(Dialect::Gemini, OpaqueKind::ThoughtSignature, capsule.as_deref().unwrap_or(text))
}

/// What a client is shown as `thoughtSignature`.
pub(super) fn shown(opaque: &Opaque) -> String {
    if opaque.issuer.dialect == Dialect::Gemini {
        opaque.data.clone()
    } else {
        encode(opaque.capsule().as_bytes())
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0u32, 0u32);
    for letter in text.trim_end_matches('=').bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        word = (word << 6 | u32::from(six)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// Standard base64 without line ends, out of either alphabet; `None` when it is no base64.
pub(super) fn standard(text: String) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let body = text.trim_end_matches('=');
    if body.bytes().all(plain) && text.len().is_multiple_of(4) {
        return Some(text);
    }
    let mut clean = Vec::with_capacity(text.len() + 3);
    for byte in text.bytes() {
        match byte {
            b'-' => clean.push(b'+'),
            b'_' => clean.push(b'/'),
            b'\r' | b'\n' | b' ' | b'\t' | b'=' => {}
            byte if plain(byte) => clean.push(byte),
            _ => return None,
        }
    }
    while !clean.len().is_multiple_of(4) {
        clean.push(b'=');
    }
    String::from_utf8(clean).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Issuer;

    #[test]
    fn a_capsule_survives_both_alphabets() {
        for data in ["x", "xy", "EqQBCkYI+/é??>>~~"] {
            let issuer = Issuer { dialect: Dialect::Messages, provider: "anthropic".into() };
            let opaque = Opaque { issuer, kind: OpaqueKind::Signature, data: data.into() };
            let text = shown(&opaque);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)));
            assert_eq!(received(&text), opaque);
            assert_eq!(received(&text.replace('+', "-").replace('/', "_")), opaque);
            assert_eq!(received(text.trim_end_matches('=')), opaque);
            assert_eq!(received(&opaque.capsule()), opaque);
        }
        assert_eq!(received("dGcx").data, "dGcx");
        assert_eq!(received("CiQB+/8=").data, "CiQB+/8=");
    }

    #[test]
    fn base64_of_either_alphabet_becomes_standard() {
        assert_eq!(standard("-_-_".into()).as_deref(), Some("+/+/"));
        assert_eq!(standard("QQ".into()).as_deref(), Some("QQ=="));
        assert_eq!(standard("QUJD\nQQ==".into()).as_deref(), Some("QUJDQQ=="));
        assert_eq!(standard("a.b".into()), None);
    }
}
