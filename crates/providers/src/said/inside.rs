//! JSON inside a text: what tools are given and give back is told as a text that holds JSON, so what is said in its strings is escaped
//! once more. Whoever looks at the text alone sees `\nword` where the word begins a line.
//!
//! It is read as it comes, in pieces of any size, and nobody has promised that it is JSON: whatever it is, every byte of it is given
//! once and in order, so that what is not changed is what came.

use memchr::memchr2;

/// Numbers shorter than this identify nobody.
const SHORT: usize = 7;
/// Longer ones are no numbers.
const LONG: usize = 64;

/// One thing in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'t> {
    /// What is around strings, their quotes too.
    Plain(&'t str),
    /// More of a string: as it stands, and as it reads.
    Text {
        /// As it stands.
        raw: &'t str,
        /// As it reads.
        plain: &'t str,
    },
    /// The string is over; its quote follows.
    End,
    /// A number that stands for a value.
    Number(&'t str),
}

/// Whether a text holds JSON, or begins as if it did: `None` where that is still to come.
pub fn begins(text: &str) -> Option<bool> {
    let first = text.trim_start_matches([' ', '\t', '\r', '\n']).chars().next()?;
    Some(matches!(first, '{' | '[' | '"'))
}

/// One text.
#[derive(Debug, Default)]
pub struct Inside {
    /// The beginning of what is not whole yet: an escape or a number.
    carry: String,
    in_string: bool,
    /// What stands last outside of strings, white space left out.
    before: u8,
}

impl Inside {
    /// Whether something is held until more comes.
    pub fn holds(&self) -> bool {
        !self.carry.is_empty()
    }

    /// More of the text, or with `last` its end: tells `see` what is in it.
    ///
    /// # Errors
    /// Those of `see`, after which nothing more is to be pushed.
    pub fn push<E>(
        &mut self,
        more: &str,
        last: bool,
        see: &mut dyn FnMut(Token<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let carried = std::mem::take(&mut self.carry) + more;
        let mut rest = &*carried;
        while !rest.is_empty() {
            let left =
                if self.in_string { self.string(rest, last, see)? } else { self.around(rest, last, see)? };
            if left.len() == rest.len() {
                break;
            }
            rest = left;
        }
        rest.clone_into(&mut self.carry);
        if last && std::mem::take(&mut self.in_string) {
            see(Token::End)?;
        }
        Ok(())
    }

    /// What is around strings, up to the next one. Gives what is left.
    fn around<'t, E>(
        &mut self,
        text: &'t str,
        last: bool,
        see: &mut dyn FnMut(Token<'_>) -> Result<(), E>,
    ) -> Result<&'t str, E> {
        let bytes = text.as_bytes();
        let (mut from, mut at) = (0, 0);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => {
                    (self.in_string, self.before) = (true, b'"');
                    see(Token::Plain(&text[from..=at]))?;
                    return Ok(&text[at + 1..]);
                }
                b'0'..=b'9' | b'-' if matches!(self.before, b':' | b',' | b'[') => {
                    let of = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                    let length = bytes[at..].iter().take_while(|byte| of(byte)).count();
                    let end = at + length;
                    if end == text.len() && !last && length <= LONG {
                        if from < at {
                            see(Token::Plain(&text[from..at]))?;
                        }
                        return Ok(&text[at..]);
                    }
                    if (SHORT..=LONG).contains(&length) {
                        if from < at {
                            see(Token::Plain(&text[from..at]))?;
                        }
                        see(Token::Number(&text[at..end]))?;
                        from = end;
                    }
                    (self.before, at) = (b'0', end);
                }
                _ => {
                    if !byte.is_ascii_whitespace() {
                        self.before = *byte;
                    }
                    at += 1;
                }
            }
        }
        if from < at {
            see(Token::Plain(&text[from..]))?;
        }
        Ok("")
    }

    /// A string, up to its end. Gives what is left, its quote first.
    fn string<'t, E>(
        &mut self,
        text: &'t str,
        last: bool,
        see: &mut dyn FnMut(Token<'_>) -> Result<(), E>,
    ) -> Result<&'t str, E> {
        let mut rest = text;
        loop {
            let end = memchr2(b'"', b'\\', rest.as_bytes()).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            if !run.is_empty() {
                see(Token::Text { raw: run, plain: run })?;
            }
            rest = after;
            match rest.as_bytes().first() {
                None => return Ok(""),
                Some(b'"') => {
                    (self.in_string, self.before) = (false, b'"');
                    see(Token::End)?;
                    see(Token::Plain("\""))?;
                    return Ok(&rest[1..]);
                }
                Some(_) => match escape(rest) {
                    Escape::Is(length, c) => {
                        let (raw, after) = rest.split_at(length);
                        see(Token::Text { raw, plain: c.encode_utf8(&mut [0; 4]) })?;
                        rest = after;
                    }
                    Escape::Open if !last => return Ok(rest),
                    // Nobody knows what it should be, so it is what it is.
                    Escape::Open | Escape::None => {
                        see(Token::Text { raw: "\\", plain: "\\" })?;
                        rest = &rest[1..];
                    }
                },
            }
        }
    }
}

/// What a backslash begins.
enum Escape {
    /// A character, in so many bytes.
    Is(usize, char),
    /// More has to come.
    Open,
    None,
}

fn escape(text: &str) -> Escape {
    let Some(letter) = text.as_bytes().get(1) else { return Escape::Open };
    let plain = match letter {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(text),
        _ => return Escape::None,
    };
    Escape::Is(2, plain)
}

fn unicode(text: &str) -> Escape {
    let high = match unit(text) {
        Unit::Is(high) => high,
        Unit::Open => return Escape::Open,
        Unit::None => return Escape::None,
    };
    let lone = Escape::Is(6, char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
    if !(0xD800..0xDC00).contains(&high) {
        return lone;
    }
    match unit(&text[6..]) {
        Unit::Is(low) if (0xDC00..0xE000).contains(&low) => {
            let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            Escape::Is(12, char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
        }
        Unit::Open => Escape::Open,
        Unit::Is(_) | Unit::None => lone,
    }
}

/// `\uXXXX`.
enum Unit {
    Is(u32),
    Open,
    None,
}

fn unit(text: &str) -> Unit {
    let bytes = text.as_bytes();
    let fits = |(at, byte): (usize, &u8)| match at {
        0 => *byte == b'\\',
        1 => *byte == b'u',
        _ => byte.is_ascii_hexdigit(),
    };
    let length = bytes.len().min(6);
    if !bytes[..length].iter().enumerate().all(fits) {
        return Unit::None;
    }
    match text.get(2..6).and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
        Some(unit) => Unit::Is(unit),
        None => Unit::Open,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What it is put together again, and the strings and numbers that were read.
    fn read(pieces: &[&str]) -> (String, Vec<String>) {
        let (mut inside, mut whole, mut read) = (Inside::default(), String::new(), Vec::new());
        let mut now = String::new();
        let mut see = |token: Token<'_>| {
            match token {
                Token::Plain(text) => whole.push_str(text),
                Token::Text { raw, plain } => {
                    whole.push_str(raw);
                    now.push_str(plain);
                }
                Token::End => read.push(std::mem::take(&mut now)),
                Token::Number(number) => {
                    whole.push_str(number);
                    read.push(number.to_owned());
                }
            }
            Ok::<(), ()>(())
        };
        for (at, piece) in pieces.iter().enumerate() {
            inside.push(piece, at + 1 == pieces.len(), &mut see).unwrap();
        }
        (whole, read)
    }

    #[test]
    fn strings_and_long_numbers_are_read() {
        for (text, wanted) in [
            (r#"{"body":"hi\nfoo\u0062ar"}"#, &["body", "hi\nfoobar"][..]),
            (
                r#"{"card": 4111111111111111, "x":1,"l":[12345678,-1.5e300]}"#,
                &["card", "4111111111111111", "x", "l", "12345678", "-1.5e300"],
            ),
            (r#"["\ud83c\udf0a\u82cd\ud83c"]"#, &["🌊苍\u{fffd}"]),
            (r#"{"p":"C:\Users\t", "open":"half\u00"#, &["p", "C:\\Users\t", "open", "half\\u00"]),
            ("[1] call 12345678 now", &[]),
            ("{", &[]),
            ("\"a", &["a"]),
        ] {
            assert_eq!(
                read(&[text]),
                (text.to_owned(), wanted.iter().map(|text| (*text).to_owned()).collect())
            );
        }
        assert_eq!(
            (begins(" {"), begins("x{"), begins(" \n"), begins("[")),
            (Some(true), Some(false), None, Some(true))
        );
    }

    proptest! {
        #[test]
        fn every_byte_is_given_once_however_it_is_cut(
            text in r#"[{\[":,](?:[a-z"\\/{},:\[\] 0-9-]|\\[un"]|\\u[0-9a-f]{4}|\\ud83c\\udf0a|é){0,40}"#,
            lengths in prop::collection::vec(1usize..5, 1..8),
        ) {
            let (whole, strings) = read(&[&text]);
            prop_assert_eq!(&whole, &text);
            let (mut pieces, mut at, mut turn) = (Vec::new(), 0, 0);
            while at < text.len() {
                let mut end = (at + lengths[turn % lengths.len()]).min(text.len());
                while !text.is_char_boundary(end) { end += 1; }
                pieces.push(&text[at..end]);
                (at, turn) = (end, turn + 1);
            }
            prop_assert_eq!(read(&pieces), (whole, strings));
            if let Ok(serde_json::Value::String(value)) = serde_json::from_str(&text) {
                prop_assert_eq!(read(&[&text]).1, [value]);
            }
        }
    }
}
