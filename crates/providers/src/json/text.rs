//! Bytes of strings: finding their end, comparing and decoding them, writing them.
//!
//! A string's end is searched eight bytes at a time in a register, then, once it proves long, in
//! blocks that the compiler turns into vector instructions. `memchr` alone would not do: a strict
//! reader must also refuse control characters, which would be a second pass.

use crate::steps;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const BLOCK: usize = 32;

/// Passes over ordinary text from `from` on: gives the place of the first quote, backslash or control
/// character, or the length of `text`.
#[inline]
pub(crate) fn find_special(text: &[u8], from: usize) -> usize {
    // Most strings are short: words first, blocks only once a string proves long.
    match find_in_words(text, from, BLOCK / 8) {
        Search::Found(at) => at,
        Search::NotWithin(at) => find_special_long(text, at),
    }
}

enum Search {
    Found(usize),
    /// Not before this place.
    NotWithin(usize),
}

/// Looks at up to `words` words, and at the bytes that follow the last whole word of the text.
#[inline(always)]
fn find_in_words(text: &[u8], from: usize, words: usize) -> Search {
    let mut at = from;
    for _ in 0..words {
        let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return Search::Found(find_bytewise(text, at));
        };
        let hits = special_bytes(u64::from_le_bytes(*word));
        if hits != 0 {
            let found = at + (hits.trailing_zeros() / 8) as usize;
            steps::count(found - from);
            return Search::Found(found);
        }
        at += 8;
    }
    steps::count(at - from);
    Search::NotWithin(at)
}

#[inline(never)]
fn find_special_long(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = text.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        // No way out within the block, so that it becomes a few vector instructions.
        let hit = block.iter().fold(false, |hit, &byte| hit | is_special(byte));
        if hit {
            break;
        }
        at += BLOCK;
    }
    steps::count(at - from);
    match find_in_words(text, at, usize::MAX) {
        Search::Found(at) | Search::NotWithin(at) => at,
    }
}

#[cold]
fn find_bytewise(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let passed = rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len());
    steps::count(passed);
    from + passed
}

#[inline(always)]
const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// The high bit of each byte of `word` that is special. Borrows can only mark bytes above a true hit,
/// so the lowest mark is exact.
#[inline(always)]
const fn special_bytes(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    ((quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word))
        & HIGH
}

/// First byte at or after `from` that is not JSON white space.
#[inline(always)]
pub(crate) fn skip_space(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
        at += 1;
    }
    steps::count(at - from);
    at
}

/// The characters of a valid string's inside, unescaped; a lone surrogate reads as U+FFFD, which no
/// name the gateway knows contains.
pub(crate) struct Unescaped<'t> {
    rest: std::str::Chars<'t>,
}

impl<'t> Unescaped<'t> {
    /// `raw` is the inside of a string that the scanner accepted; what is not UTF-8 reads as nothing.
    pub(crate) fn new(raw: &'t [u8]) -> Self {
        Self { rest: std::str::from_utf8(raw).unwrap_or_default().chars() }
    }

    fn hex4(&mut self) -> u32 {
        (0..4).fold(0, |value, _| {
            value << 4 | self.rest.next().and_then(|digit| digit.to_digit(16)).unwrap_or_default()
        })
    }

    fn unicode(&mut self) -> char {
        let unit = self.hex4();
        if !(0xD800..0xDC00).contains(&unit) {
            return char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
        let mut ahead = Unescaped { rest: self.rest.clone() };
        if ahead.rest.next() != Some('\\') || ahead.rest.next() != Some('u') {
            return char::REPLACEMENT_CHARACTER;
        }
        let low = ahead.hex4();
        if !(0xDC00..0xE000).contains(&low) {
            return char::REPLACEMENT_CHARACTER;
        }
        self.rest = ahead.rest;
        char::from_u32(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))
            .unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        if character != '\\' {
            return Some(character);
        }
        Some(match self.rest.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => self.unicode(),
            plain => plain,
        })
    }
}

/// Whether the inside of a string is `wanted` once unescaped; without building it.
pub(crate) fn unescaped_eq(raw: &[u8], wanted: &str) -> bool {
    // An escaped character takes at most 12 bytes (a surrogate pair): long keys need no look.
    raw.len() <= 12 * wanted.len() && Unescaped::new(raw).eq(wanted.chars())
}

/// The text of a string given with its quotes; `None` when it holds a lone surrogate or is no string.
pub fn decode(quoted: &[u8]) -> Option<String> {
    let inner = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(str::to_owned);
    }
    serde_json::from_slice(quoted).ok()
}

/// Appends `text` as a JSON string with its quotes.
pub fn encode(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let special = find_special(bytes, at);
        out.extend_from_slice(&bytes[at..special]);
        let Some(&byte) = bytes.get(special) else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                let digit = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(digit[usize::from(control >> 4)]);
                out.push(digit[usize::from(control & 15)]);
            }
        }
        at = special + 1;
    }
    out.push(b'"');
}
