//! Counting tokens as a real tokenizer would, roughly: pieces of words, single signs, single CJK characters.
//!
//! No vocabulary is carried: the point is that counts, pace and limits agree with one another and look right.

/// The longest piece of a word, in characters.
const WORD: usize = 6;

/// Splits a text into its tokens; joined they are the text again.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut left = text;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let (piece, rest) = left.split_at(first_length(left));
        left = rest;
        Some(piece)
    })
}

/// How many tokens a text has.
pub(crate) fn count(text: &str) -> u64 {
    pieces(text).map(|_| 1).sum()
}

/// The byte length of the first token: at most one space before at most [`WORD`] letters, or one character.
fn first_length(text: &str) -> usize {
    let space = usize::from(text.starts_with(' '));
    let letter = |char: &char| char.is_alphanumeric() && !wide(*char);
    let word: usize = text[space..].chars().take_while(letter).take(WORD).map(char::len_utf8).sum();
    if word > 0 { space + word } else { text.chars().next().map_or(0, char::len_utf8) }
}

/// Scripts that are not written in spaced words.
const fn wide(char: char) -> bool {
    matches!(char, '\u{2E80}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

/// A small stable hash (FNV-1a) behind everything that looks random here.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in *part {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        state = (state ^ 0xff).wrapping_mul(0x0100_0000_01b3);
    }
    state
}

/// A stream of numbers from a seed (splitmix64): the same seed, the same numbers.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `choices`, which is not empty.
    pub(crate) fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let index = self.next() % choices.len().max(1) as u64;
        choices.get(usize::try_from(index).unwrap_or(0)).copied().unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text() {
        for text in [
            "",
            " ",
            "  ",
            "Hello, simulated world!",
            "  two  spaces ",
            "你好，世界 ok",
            "a\n\nb",
            "naïve 🎈x ",
        ] {
            assert_eq!(pieces(text).collect::<String>(), text);
            assert!(pieces(text).all(|piece| !piece.is_empty()));
        }
        assert_eq!(
            pieces("Hello, simulated world!").collect::<Vec<_>>(),
            ["Hello", ",", " simula", "ted", " world", "!"]
        );
        assert_eq!(count("你好 世界"), 5);
    }
}
