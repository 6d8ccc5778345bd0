//! What pictures and sound count: by each vendor's published rule, from the size that the file's own head tells.
//!
//! The head of a picture is read out of its base64 in place: four characters are three bytes, so any byte can be looked
//! at without decoding what stands before it. A file whose head is not understood (another format, a URL) has no size,
//! and [`UNKNOWN_PICTURE`] is assumed.

/// Tokens assumed, probably, of a picture whose size nobody knows: one of about a megapixel.
pub const UNKNOWN_PICTURE: u32 = 1_000;

/// How a family counts pictures. A place in [`Pictures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// OpenAI: 85 and 170 for each tile of 512 pixels, after fitting into 2048 and to a shorter side of 768.
    /// developers.openai.com, images and vision, 2026.
    Tiles,
    /// Claude up to 4.6: width × height / 750, after fitting into 1568 pixels and 1600 tokens.
    /// platform.claude.com, vision, 2026.
    Area,
    /// Claude since 4.7: the same within 2576 pixels and 4784 tokens. platform.claude.com, vision, 2026.
    LargeArea,
    /// Gemini: 258 up to 384 pixels, else for each tile of 768. ai.google.dev, tokens, 2026.
    Crops,
    /// Qwen and most open models: a token for each 28 × 28 pixels, 1280 at most where nothing else is set.
    /// The processors of Qwen2.5-VL.
    Grid,
}

const RULES: usize = 5;

/// Width and height, pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// Tokens of the pictures of a request, by each rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pictures([u32; RULES]);

impl Pictures {
    /// Adds one picture, with its size if that is known.
    pub fn add(&mut self, size: Option<Size>) {
        let rules = [Rule::Tiles, Rule::Area, Rule::LargeArea, Rule::Crops, Rule::Grid];
        for rule in rules {
            let tokens = size.map_or(UNKNOWN_PICTURE, |size| rule.tokens(size));
            let sum = &mut self.0[rule as usize];
            *sum = sum.saturating_add(tokens);
        }
    }

    /// The sum by one rule.
    pub fn tokens(&self, rule: Rule) -> u64 {
        u64::from(self.0[rule as usize])
    }
}

impl Rule {
    /// Tokens of one picture.
    pub fn tokens(self, size: Size) -> u32 {
        // No vendor takes sides beyond this, and the sums below stay small.
        let (width, height) =
            (u64::from(size.width.clamp(1, 65_536)), u64::from(size.height.clamp(1, 65_536)));
        let tokens = match self {
            Self::Tiles => {
                let (width, height) = within(width, height, 2048);
                let short = width.min(height);
                let (width, height) =
                    if short > 768 { (width * 768 / short, height * 768 / short) } else { (width, height) };
                85 + 170 * width.div_ceil(512) * height.div_ceil(512)
            }
            Self::Area => area(width, height, 1568, 1600),
            Self::LargeArea => area(width, height, 2576, 4784),
            Self::Crops if width <= 384 && height <= 384 => 258,
            Self::Crops => 258 * width.div_ceil(768) * height.div_ceil(768),
            Self::Grid => (width * height).div_ceil(28 * 28).clamp(4, 1280) + 2,
        };
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }
}

fn within(width: u64, height: u64, side: u64) -> (u64, u64) {
    let long = width.max(height);
    if long <= side { (width, height) } else { ((width * side / long).max(1), (height * side / long).max(1)) }
}

fn area(width: u64, height: u64, side: u64, most: u64) -> u64 {
    let (width, height) = within(width, height, side);
    (width * height).div_ceil(750).min(most)
}

/// Base64 as an array of bytes, without decoding it.
#[derive(Clone, Copy)]
struct Encoded<'t>(&'t [u8]);

impl Encoded<'_> {
    fn byte(self, at: usize) -> Option<u8> {
        let (group, place) = (at / 3 * 4, at % 3);
        let six = |n: usize| digit(*self.0.get(group + n)?);
        let (left, right) = (six(place)?, six(place + 1)?);
        Some(match place {
            0 => left << 2 | right >> 4,
            1 => left << 4 | right >> 2,
            _ => left << 6 | right,
        })
    }

    fn is(self, at: usize, bytes: &[u8]) -> bool {
        bytes.iter().enumerate().all(|(n, byte)| self.byte(at + n) == Some(*byte))
    }

    fn big(self, at: usize, bytes: usize) -> Option<u32> {
        (0..bytes).try_fold(0u32, |sum, n| Some(sum << 8 | u32::from(self.byte(at + n)?)))
    }

    fn little(self, at: usize, bytes: usize) -> Option<u32> {
        (0..bytes).rev().try_fold(0u32, |sum, n| Some(sum << 8 | u32::from(self.byte(at + n)?)))
    }
}

/// Both alphabets.
const fn digit(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// What stands after `base64,` in a data URL; anything else is taken to be base64 itself.
fn payload(text: &[u8]) -> &[u8] {
    if !text.starts_with(b"data:") {
        return text;
    }
    let head = &text[..text.len().min(200)];
    head.iter().position(|byte| *byte == b',').map_or(&[], |comma| &text[comma + 1..])
}

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture whose head tells its size.
    Picture(Size),
    /// A PDF, or text by the type of its URL.
    Document,
    /// A WAV, an MP3, or what a URL calls sound.
    Sound,
    /// Something else.
    Unknown,
}

/// What stands in a data URL or in base64.
pub fn kind(text: &[u8]) -> Kind {
    let file = Encoded(payload(text));
    if let Some(size) = picture_size(text) {
        return Kind::Picture(size);
    }
    let named = |prefix: &[u8]| text.starts_with(prefix);
    if file.is(0, b"%PDF") || named(b"data:application/") || named(b"data:text/") {
        return Kind::Document;
    }
    let wav = file.is(0, b"RIFF") && file.is(8, b"WAVE");
    if wav || file.is(0, b"ID3") || named(b"data:audio/") { Kind::Sound } else { Kind::Unknown }
}

/// The size of a PNG, JPEG, WebP or GIF, from its base64 or data URL.
pub fn picture_size(text: &[u8]) -> Option<Size> {
    let file = Encoded(payload(text));
    let size = |width: Option<u32>, height: Option<u32>| {
        let size = Size { width: width?, height: height? };
        (size.width > 0 && size.height > 0).then_some(size)
    };
    if file.is(0, b"\x89PNG") {
        return size(file.big(16, 4), file.big(20, 4));
    }
    if file.is(0, b"GIF8") {
        return size(file.little(6, 2), file.little(8, 2));
    }
    if file.is(0, b"RIFF") && file.is(8, b"WEBP") {
        return webp(file).and_then(|(width, height)| size(Some(width), Some(height)));
    }
    if file.is(0, b"\xff\xd8") {
        let (height, width) = jpeg(file)?;
        return size(Some(width), Some(height));
    }
    None
}

fn webp(file: Encoded<'_>) -> Option<(u32, u32)> {
    if file.is(12, b"VP8X") {
        return Some((file.little(24, 3)? + 1, file.little(27, 3)? + 1));
    }
    if file.is(12, b"VP8L") {
        let bits = file.little(21, 4)?;
        return Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1));
    }
    file.is(12, b"VP8 ").then_some(())?;
    Some((file.little(26, 2)? & 0x3fff, file.little(28, 2)? & 0x3fff))
}

/// Walks the segments to the frame's head, a bounded number of them.
fn jpeg(file: Encoded<'_>) -> Option<(u32, u32)> {
    let mut at = 2;
    for _ in 0..256 {
        if file.byte(at)? != 0xff {
            return None;
        }
        match file.byte(at + 1)? {
            0xff => at += 1,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Some((file.big(at + 5, 2)?, file.big(at + 7, 2)?));
            }
            0xd0..=0xd9 | 0x01 => at += 2,
            _ => at += 2 + usize::try_from(file.big(at + 2, 2)?).ok()?,
        }
    }
    None
}

/// Seconds of a sound, at least one: of a WAV by its head, else taken to come at the eight kilobytes a second of common
/// encodings.
pub fn seconds(text: &[u8]) -> u64 {
    let data = payload(text);
    let file = Encoded(data);
    let bytes = data.len() as u64 / 4 * 3;
    let rate = if file.is(0, b"RIFF") && file.is(8, b"WAVE") && file.is(12, b"fmt ") {
        file.little(28, 4).filter(|rate| *rate > 0)
    } else {
        None
    };
    let rate = u64::from(rate.unwrap_or(8_000));
    ((bytes + rate / 2) / rate).max(1)
}
