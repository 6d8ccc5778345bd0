//! What a text is made of, by kind.
//!
//! The text comes as it stands between the quotes of a JSON string: escapes are read, not undone. A run of one kind is
//! walked at a time, since what a tokenizer makes of a run depends on its length: a word of six letters is mostly one
//! token, twelve digits are four.

/// How many of each kind a text has. Numbers, not text: two texts are added by adding them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub(super) [u32; KINDS]);

/// The kinds, as places in the array and in the rows of [`super::Family`].
pub(super) const KINDS: usize = 24;
/// Words of Latin letters; a capital after a small letter begins another.
const WORDS: usize = 0;
/// Their letters beyond the sixth.
const LONG: usize = 1;
/// Their capitals beyond the first.
const CAPITALS: usize = 2;
/// The same in a word of capitals alone.
const SHOUTED: usize = 23;
/// Their letters with marks.
const MARKED: usize = 3;
/// Groups of up to three digits, and digits.
const GROUPS: usize = 4;
const DIGITS: usize = 5;
/// Runs of line ends.
const LINES: usize = 6;
/// Runs of two or more spaces, and single ones before what is no letter.
const INDENTS: usize = 7;
const LONE_SPACES: usize = 8;
/// Runs of ASCII punctuation, and its characters.
const MARK_RUNS: usize = 9;
const MARKS: usize = 10;
/// Cyrillic and Greek: words, letters.
const CYRILLIC_WORDS: usize = 11;
const CYRILLIC: usize = 12;
/// Arabic and Hebrew: words, letters.
const ARABIC_WORDS: usize = 13;
const ARABIC: usize = 14;
const HAN: usize = 15;
const KANA: usize = 16;
const HANGUL: usize = 17;
/// Chinese and Japanese punctuation, full-width forms.
const WIDE_MARKS: usize = 18;
/// Devanagari and Thai, of the other scripts the ones that tokenizers know best.
const INDIC: usize = 22;
/// Letters of any other script.
const OTHER: usize = 19;
/// Signs that are not ASCII.
const SIGNS: usize = 20;
/// Characters of four bytes: emoji, rare characters.
const FOUR_BYTES: usize = 21;

/// What a byte begins, outside escapes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Small,
    Capital,
    Digit,
    Space,
    Line,
    Mark,
    Backslash,
    High,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Mark; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let b = byte as u8;
        classes[byte] = match b {
            b'a'..=b'z' => Class::Small,
            b'A'..=b'Z' => Class::Capital,
            b'0'..=b'9' => Class::Digit,
            b' ' | b'\t' => Class::Space,
            b'\n' | b'\r' => Class::Line,
            b'\\' => Class::Backslash,
            0x80.. => Class::High,
            _ => Class::Mark,
        };
        byte += 1;
    }
    classes
};

impl Counts {
    /// Adds the inside of a JSON string.
    pub fn add(&mut self, raw: &[u8]) {
        let mut at = 0;
        while at < raw.len() {
            at = match class(raw, at) {
                Class::Small => self.words(raw, at),
                Class::Capital => self.word(raw, at),
                Class::Digit => self.digits(raw, at),
                Class::Space => self.spaces(raw, at),
                Class::Line => self.lines(raw, at),
                Class::Mark => self.marks(raw, at),
                Class::Backslash => self.escape(raw, at),
                Class::High => self.high(raw, at),
            };
        }
    }

    /// Adds what another text has.
    pub fn join(&mut self, other: &Counts) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own = own.saturating_add(other);
        }
    }

    /// Adds `times` signs of JSON between strings (`":"`, `","`), one token each in all families.
    pub(crate) fn punctuate(&mut self, times: u32) {
        self.count(MARK_RUNS, times);
        self.count(MARKS, 2 * times);
    }

    /// How many of each kind, in the order of the weights.
    pub const fn kinds(&self) -> &[u32; KINDS] {
        &self.0
    }

    fn count(&mut self, kind: usize, times: u32) {
        self.0[kind] = self.0[kind].saturating_add(times);
    }

    /// Words of small letters with a space between them, which is what most of most texts is: the same as
    /// [`Self::word`] and [`Self::spaces`] in turn, without a step for each.
    fn words(&mut self, raw: &[u8], start: usize) -> usize {
        let (mut at, mut words, mut long) = (start, 0u32, 0u32);
        let next = loop {
            let end = small_letters(raw, at);
            if is(raw, end, Class::High) {
                // A letter with a mark goes on with the word.
                break self.word(raw, at);
            }
            words += 1;
            long = long.saturating_add(size((end - at).saturating_sub(6)));
            match (raw.get(end), raw.get(end + 1)) {
                (Some(b' '), Some(b'a'..=b'z')) => at = end + 1,
                _ => break end,
            }
        };
        self.count(WORDS, words);
        self.count(LONG, long);
        next
    }

    fn word(&mut self, raw: &[u8], start: usize) -> usize {
        let mut at = start;
        while is(raw, at, Class::Capital) {
            at += 1;
        }
        let capitals = at - start;
        if capitals > 1 && is(raw, at, Class::Small) {
            // `HTTPServer`: the last capital begins the next word.
            self.end_word(capitals - 1, capitals - 2);
            return at - 1;
        }
        let alone = |at: usize| {
            !raw.get(at)
                .is_some_and(|byte| matches!(CLASSES[usize::from(*byte)], Class::Digit | Class::Small))
        };
        if capitals > 1 && alone(at) && start.checked_sub(1).is_none_or(alone) {
            // `SELECT`, as against the letters of base64.
            self.end_word(capitals, 0);
            self.count(SHOUTED, size(capitals - 1));
            return at;
        }
        let mut marked = 0;
        loop {
            if is(raw, at, Class::Small) {
                at += 1;
            } else if let Some(width) = marked_letter(raw, at) {
                (marked, at) = (marked + 1, at + width);
            } else {
                break;
            }
        }
        self.count(MARKED, size(marked));
        self.end_word(at - start - marked, capitals.saturating_sub(1));
        at
    }

    fn end_word(&mut self, letters: usize, capitals: usize) {
        self.count(WORDS, 1);
        self.count(LONG, size(letters.saturating_sub(6)));
        self.count(CAPITALS, size(capitals));
    }

    fn digits(&mut self, raw: &[u8], start: usize) -> usize {
        let end = run(raw, start, Class::Digit);
        self.count(DIGITS, size(end - start));
        self.count(GROUPS, size((end - start).div_ceil(3)));
        end
    }

    fn spaces(&mut self, raw: &[u8], start: usize) -> usize {
        let end = run(raw, start, Class::Space);
        if end - start > 1 {
            self.count(INDENTS, 1);
        } else if !is_letter(raw, end) {
            self.count(LONE_SPACES, 1);
        }
        end
    }

    fn lines(&mut self, raw: &[u8], start: usize) -> usize {
        self.count(LINES, 1);
        run(raw, start, Class::Line)
    }

    fn marks(&mut self, raw: &[u8], start: usize) -> usize {
        let mut at = start;
        let mut marks = 0;
        loop {
            if is(raw, at, Class::Mark) {
                at += 1;
            } else if is(raw, at, Class::Backslash) && matches!(raw.get(at + 1), Some(b'"' | b'\\' | b'/')) {
                at += 2;
            } else {
                break;
            }
            marks += 1;
        }
        self.count(MARK_RUNS, 1);
        self.count(MARKS, marks);
        at
    }

    /// `\n`, `\"`, `\u4f60`, …
    fn escape(&mut self, raw: &[u8], at: usize) -> usize {
        match raw.get(at + 1) {
            Some(b'n' | b'r') => {
                let mut end = at + 2;
                while raw.get(end) == Some(&b'\\') && matches!(raw.get(end + 1), Some(b'n' | b'r')) {
                    end += 2;
                }
                self.count(LINES, 1);
                end
            }
            Some(b't') => {
                self.count(INDENTS, 1);
                at + 2
            }
            Some(b'"' | b'\\' | b'/') => self.marks(raw, at),
            Some(b'u') => self.unicode(raw, at),
            _ => raw.len().min(at + 2),
        }
    }

    /// `\u4f60`. Letters one after the other are one word, as where they are not escaped.
    fn unicode(&mut self, raw: &[u8], at: usize) -> usize {
        let end = raw.len().min(at + 6);
        let mut utf8 = [0; 4];
        let text = match escaped(raw, at).unwrap_or(0xfffd) {
            // The first half of a pair; the second counts.
            0xd800..=0xdbff => return end,
            0xdc00..=0xdfff => "\u{10000}",
            code => char::from_u32(code).unwrap_or('\u{fffd}').encode_utf8(&mut utf8),
        };
        if text.len() == 1 {
            self.count(MARK_RUNS, 1);
            self.count(MARKS, 1);
            return end;
        }
        let before = at.checked_sub(6).and_then(|before| escaped(raw, before)).and_then(char::from_u32);
        let words = (self.0[CYRILLIC_WORDS], self.0[ARABIC_WORDS]);
        self.high(text.as_bytes(), 0);
        let mut other = [0; 4];
        let before = before.map_or(&b""[..], |before| before.encode_utf8(&mut other).as_bytes());
        if before.len() == 2 && kind(before[0], before[1]).0 == kind(text.as_bytes()[0], text.as_bytes()[1]).0
        {
            (self.0[CYRILLIC_WORDS], self.0[ARABIC_WORDS]) = words;
        }
        end
    }

    /// Characters that are not ASCII.
    fn high(&mut self, raw: &[u8], start: usize) -> usize {
        if marked_letter(raw, start).is_some() {
            return self.word(raw, start);
        }
        let (lead, next) = (raw[start], raw.get(start + 1).copied().unwrap_or(0));
        let (kind, width) = kind(lead, next);
        match kind {
            CYRILLIC | ARABIC => {
                let mut at = start;
                let mut letters = 0;
                while let Some(lead) = raw.get(at).copied()
                    && lead >= 0x80
                    && self::kind(lead, raw.get(at + 1).copied().unwrap_or(0)).0 == kind
                {
                    (letters, at) = (letters + 1, at + 2);
                }
                self.count(if kind == CYRILLIC { CYRILLIC_WORDS } else { ARABIC_WORDS }, 1);
                self.count(kind, letters);
                raw.len().min(at)
            }
            _ => {
                self.count(kind, 1);
                raw.len().min(start + width)
            }
        }
    }
}

/// The code unit of `\u4f60`.
fn escaped(raw: &[u8], at: usize) -> Option<u32> {
    let hex = raw.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

/// The kind of a character that is neither ASCII nor a marked Latin letter, and its bytes.
const fn kind(lead: u8, next: u8) -> (usize, usize) {
    match (lead, next) {
        (0xcd..=0xd3, _) => (CYRILLIC, 2),
        (0xd6..=0xdd, _) => (ARABIC, 2),
        (0xc0..=0xdf, _) => (SIGNS, 2),
        (0xe2, _) | (0xef, 0xb8..=0xbb) => (SIGNS, 3),
        (0xe3, 0x81..=0x83) => (KANA, 3),
        (0xe3, 0x80) | (0xef, 0xbc..=0xbf) => (WIDE_MARKS, 3),
        (0xe3..=0xe9, _) => (HAN, 3),
        (0xea..=0xed, 0x80..=0xbf) => (HANGUL, 3),
        (0xe0, 0xa4 | 0xa5 | 0xb8 | 0xb9) => (INDIC, 3),
        (0xe0..=0xef, _) => (OTHER, 3),
        (0xf0.., _) => (FOUR_BYTES, 4),
        // A stray continuation byte.
        _ => (SIGNS, 1),
    }
}

/// The bytes of a Latin letter with a mark.
fn marked_letter(raw: &[u8], at: usize) -> Option<usize> {
    match (raw.get(at)?, raw.get(at + 1)?) {
        (0xc3..=0xc9, _) => Some(2),
        (0xe1, 0xb8..=0xbb) if at + 2 < raw.len() => Some(3),
        _ => None,
    }
}

fn class(raw: &[u8], at: usize) -> Class {
    CLASSES[usize::from(raw[at])]
}

fn is(raw: &[u8], at: usize, class: Class) -> bool {
    raw.get(at).is_some_and(|byte| CLASSES[usize::from(*byte)] == class)
}

/// Whether a letter begins here, or what is none of ASCII.
fn is_letter(raw: &[u8], at: usize) -> bool {
    let plain = raw.get(at).is_some_and(|byte| {
        matches!(CLASSES[usize::from(*byte)], Class::Small | Class::Capital | Class::High)
    });
    plain || escaped(raw, at).is_some()
}

fn run(raw: &[u8], start: usize, class: Class) -> usize {
    raw[start..].iter().position(|byte| CLASSES[usize::from(*byte)] != class).map_or(raw.len(), |n| start + n)
}

/// The end of the small letters that begin at `start`, eight at a time.
fn small_letters(raw: &[u8], start: usize) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let mut at = start;
    while let Some(eight) = raw.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let eight = u64::from_le_bytes(*eight);
        // In bytes below 0x80: the high bit is set from `a` on by the first sum, after `z` by the second.
        let low = eight & !HIGH;
        let small = (low + 0x1f * EACH) & !(low + 0x05 * EACH) & !eight & HIGH;
        let letters = (!small & HIGH).trailing_zeros() as usize / 8;
        at += letters;
        if letters < 8 {
            return at;
        }
    }
    run(raw, at, Class::Small)
}

fn size(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Bytes that a text may gain when a tokenizer first brings characters into their usual form (Unicode's NFC and NFKC):
/// some of them take a character apart, and then a token for each byte that came is not enough. Exact for none and
/// enough for all characters, by the tables of Unicode 15; `scripts/token-estimates` looks at every one.
pub(crate) fn growth(raw: &[u8]) -> u64 {
    if raw.is_ascii() {
        return 0;
    }
    let mut sum = 0;
    let mut at = 0;
    while let Some(step) = raw[at..].iter().position(|byte| *byte >= 0xc2) {
        at += step;
        let byte = |n: usize| raw.get(at + n).copied().unwrap_or(0);
        sum += grown(byte(0), byte(1), byte(2));
        at += 1;
    }
    sum
}

const fn grown(lead: u8, next: u8, third: u8) -> u64 {
    match (lead, next, third) {
        (0xc4 | 0xc5 | 0xc7 | 0xcb, _, _) => 1,
        (0xcd, 0x84 | 0xba, _) | (0xd6, 0x87, _) | (0xd9, 0xb5..=0xb8, _) | (0xe1, 0xbf, _) => 2,
        (0xc2, 0xa8..=0xbe, _) | (0xce, 0x84 | 0x85, _) => 3,
        (0xe0, 0xa5, 0x98..=0x9f) | (0xe0, 0xa7, 0x9c..=0x9f) | (0xe0, 0xb8, 0xb3) => 3,
        (0xe0, 0xa8 | 0xa9 | 0xad | 0xba | 0xbb | 0xbe, _) => 3,
        (0xe0, 0xbd, _) | (0xe2, 0x80, 0x97 | 0xa4..=0xa6 | 0xb2..=0xbc) | (0xe2, 0x88, _) => 6,
        (0xe2, 0x81 | 0xa8, _) => 9,
        (0xe2, 0x85 | 0x86 | 0x91 | 0x92 | 0xab, _) => 3,
        (0xe3, 0x82 | 0x83, 0x9f | 0xbf) => 3,
        (0xe3, 0x88..=0x8b | 0x8e | 0x8f, _) => 5,
        (0xe3, 0x8c | 0x8d, _) => 15,
        (0xef, 0xb7, _) => 30,
        (0xef, 0xa9..=0xbb, _) => 3,
        (0xf0, 0x9d | 0x9f, _) => 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A step for each word and each space.
    fn slowly(raw: &[u8]) -> Counts {
        let (mut counts, mut at) = (Counts::default(), 0);
        while at < raw.len() {
            at = match class(raw, at) {
                Class::Small | Class::Capital => counts.word(raw, at),
                Class::Digit => counts.digits(raw, at),
                Class::Space => counts.spaces(raw, at),
                Class::Line => counts.lines(raw, at),
                Class::Mark => counts.marks(raw, at),
                Class::Backslash => counts.escape(raw, at),
                Class::High => counts.high(raw, at),
            };
        }
        counts
    }

    proptest! {
        #[test]
        fn the_short_way_counts_the_same(text in "([a-zA-Z]{0,9}|[a-z]{0,30}| {1,2}|[0-9.,]|\\\\n|\\\\u00e9|é|潮|Ш|\u{1f6a2}|\n){0,40}") {
            let mut counts = Counts::default();
            counts.add(text.as_bytes());
            prop_assert_eq!(counts, slowly(text.as_bytes()));
        }
    }
}
