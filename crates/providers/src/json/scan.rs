//! The one pass: a validating walk that reports what it meets to a [`Visitor`].
//!
//! Not recursive (open containers are bits of one word, so hostile depth costs nothing), generic over
//! the visitor so that each reader compiles to one loop of its own.

use super::text::{find_special, skip_space};
use super::{JsonError, JsonErrorKind, MAX_DEPTH, Span, StringToken};
use crate::steps;

/// Hears of each token in order. `depth` is the number of containers open around the token: members
/// of the outermost object have depth 1.
pub(crate) trait Visitor {
    /// A member's key.
    fn key(&mut self, _depth: usize, _text: &[u8], _key: StringToken) {}
    /// A string value.
    fn string(&mut self, _depth: usize, _text: &[u8], _string: StringToken) {}
    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self, _depth: usize, _text: &[u8], _span: Span) {}
    /// An array or object begins at byte `at`; `depth` does not count it yet.
    fn open(&mut self, _depth: usize, _text: &[u8], _at: usize, _is_object: bool) {}
    /// The container opened at this `depth` ended before byte `end`.
    fn close(&mut self, _depth: usize, _text: &[u8], _end: usize) {}
    /// A `\u` escape inside the key or string that is reported next.
    fn unicode_escape(&mut self) {}
}

/// Walks a whole document: UTF-8, one value, nothing after it but white space.
pub(crate) fn scan_document<V: Visitor>(text: &[u8], visitor: &mut V) -> Result<(), JsonError> {
    steps::count(text.len());
    if !text.is_ascii()
        && let Err(error) = std::str::from_utf8(text)
    {
        return Err(JsonError::new(error.valid_up_to(), JsonErrorKind::InvalidUtf8));
    }
    let end = skip_space(text, scan_value(text, 0, visitor)?);
    if end == text.len() { Ok(()) } else { Err(JsonError::new(end, JsonErrorKind::TrailingText)) }
}

/// Open containers, innermost in the lowest bit: 1 for an object, 0 for an array.
struct Open {
    kinds: u128,
    depth: usize,
}

impl Open {
    fn push(&mut self, at: usize, is_object: bool) -> Result<(), JsonError> {
        if self.depth == MAX_DEPTH {
            return Err(JsonError::new(at, JsonErrorKind::TooDeep));
        }
        self.kinds = (self.kinds << 1) | u128::from(is_object);
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) {
        self.kinds >>= 1;
        self.depth -= 1;
    }

    const fn in_object(&self) -> bool {
        self.kinds & 1 == 1
    }
}

/// Walks the value that begins at or after byte `from` (white space is skipped) and gives the end of
/// it. Does not check UTF-8.
pub(crate) fn scan_value<V: Visitor>(text: &[u8], from: usize, visitor: &mut V) -> Result<usize, JsonError> {
    let mut open = Open { kinds: 0, depth: 0 };
    let mut at = from;
    loop {
        at = skip_space(text, at);
        match text.get(at) {
            Some(b'"') => {
                let string = read_string(text, at, visitor)?;
                visitor.string(open.depth, text, string);
                at = string.inner.end + 1;
            }
            Some(&bracket @ (b'{' | b'[')) => {
                let is_object = bracket == b'{';
                visitor.open(open.depth, text, at, is_object);
                open.push(at, is_object)?;
                at = skip_space(text, at + 1);
                let close = if is_object { b'}' } else { b']' };
                if text.get(at) != Some(&close) {
                    if is_object {
                        at = read_key(text, at, open.depth, visitor)?;
                    }
                    continue;
                }
            }
            _ => {
                let end = read_scalar(text, at)?;
                visitor.scalar(open.depth, text, Span::new(at, end));
                at = end;
            }
        }
        match after_value(text, at, &mut open, visitor)? {
            Next::Value(next) => at = next,
            Next::End(end) => return Ok(end),
        }
    }
}

enum Next {
    Value(usize),
    End(usize),
}

/// After a value (or before the bracket of an empty container): closes what closes here, then finds
/// where the next value begins.
#[inline]
fn after_value<V: Visitor>(
    text: &[u8],
    mut at: usize,
    open: &mut Open,
    visitor: &mut V,
) -> Result<Next, JsonError> {
    loop {
        if open.depth == 0 {
            return Ok(Next::End(at));
        }
        at = skip_space(text, at);
        match text.get(at) {
            Some(b',') if open.in_object() => {
                let key = skip_space(text, at + 1);
                return read_key(text, key, open.depth, visitor).map(Next::Value);
            }
            Some(b',') => return Ok(Next::Value(at + 1)),
            Some(&bracket @ (b'}' | b']')) if (bracket == b'}') == open.in_object() => {
                open.pop();
                at += 1;
                visitor.close(open.depth, text, at);
            }
            _ => return Err(unexpected(text, at)),
        }
    }
}

/// Reads `"key" :` and gives the byte after the colon.
#[inline]
fn read_key<V: Visitor>(text: &[u8], at: usize, depth: usize, visitor: &mut V) -> Result<usize, JsonError> {
    if text.get(at) != Some(&b'"') {
        return Err(unexpected(text, at));
    }
    let key = read_string(text, at, visitor)?;
    visitor.key(depth, text, key);
    let colon = skip_space(text, key.inner.end + 1);
    if text.get(colon) == Some(&b':') { Ok(colon + 1) } else { Err(unexpected(text, colon)) }
}

/// Reads the string whose opening quote is at byte `quote`.
#[inline]
fn read_string<V: Visitor>(text: &[u8], quote: usize, visitor: &mut V) -> Result<StringToken, JsonError> {
    let start = quote + 1;
    let mut escaped = false;
    let mut at = start;
    loop {
        at = find_special(text, at);
        match text.get(at) {
            Some(b'"') => return Ok(StringToken { inner: Span::new(start, at), escaped }),
            Some(b'\\') => {
                escaped = true;
                at = read_escape(text, at, visitor)?;
            }
            Some(_) => return Err(JsonError::new(at, JsonErrorKind::ControlCharacter)),
            None => return Err(JsonError::new(at, JsonErrorKind::UnexpectedEnd)),
        }
    }
}

#[inline]
fn read_escape<V: Visitor>(text: &[u8], backslash: usize, visitor: &mut V) -> Result<usize, JsonError> {
    match text.get(backslash + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(backslash + 2),
        Some(b'u') => {
            visitor.unicode_escape();
            for at in backslash + 2..backslash + 6 {
                match text.get(at) {
                    Some(digit) if digit.is_ascii_hexdigit() => {}
                    Some(_) => return Err(JsonError::new(at, JsonErrorKind::InvalidEscape)),
                    None => return Err(JsonError::new(at, JsonErrorKind::UnexpectedEnd)),
                }
            }
            Ok(backslash + 6)
        }
        Some(_) => Err(JsonError::new(backslash + 1, JsonErrorKind::InvalidEscape)),
        None => Err(JsonError::new(backslash + 1, JsonErrorKind::UnexpectedEnd)),
    }
}

/// Reads a number or one of the three words; gives its end.
#[inline]
fn read_scalar(text: &[u8], at: usize) -> Result<usize, JsonError> {
    let word: &[u8] = match text.get(at) {
        Some(b'-' | b'0'..=b'9') => return read_number(text, at),
        Some(b't') => b"true",
        Some(b'f') => b"false",
        Some(b'n') => b"null",
        _ => return Err(unexpected(text, at)),
    };
    let rest = &text[at..];
    if rest.starts_with(word) {
        return Ok(at + word.len());
    }
    let good = rest.iter().zip(word).take_while(|(have, want)| have == want).count();
    Err(unexpected(text, at + good))
}

fn read_number(text: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut at = start + usize::from(text[start] == b'-');
    at = match text.get(at) {
        Some(b'0') => at + 1,
        Some(b'1'..=b'9') => skip_digits(text, at),
        _ => return Err(bad_number(text, at)),
    };
    if text.get(at) == Some(&b'.') {
        at = some_digits(text, at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        at = some_digits(text, at + 1 + sign)?;
    }
    // `01` and `1x` end here; whoever comes next refuses them, except a digit, which says it better.
    if matches!(text.get(at), Some(b'0'..=b'9')) { Err(bad_number(text, at)) } else { Ok(at) }
}

fn some_digits(text: &[u8], from: usize) -> Result<usize, JsonError> {
    let end = skip_digits(text, from);
    if end == from { Err(bad_number(text, from)) } else { Ok(end) }
}

fn skip_digits(text: &[u8], from: usize) -> usize {
    from + text.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
}

#[cold]
fn bad_number(text: &[u8], at: usize) -> JsonError {
    let kind = if at < text.len() { JsonErrorKind::InvalidNumber } else { JsonErrorKind::UnexpectedEnd };
    JsonError::new(at, kind)
}

#[cold]
fn unexpected(text: &[u8], at: usize) -> JsonError {
    let at = at.min(text.len());
    let kind =
        if at < text.len() { JsonErrorKind::UnexpectedCharacter } else { JsonErrorKind::UnexpectedEnd };
    JsonError::new(at, kind)
}
