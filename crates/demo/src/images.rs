//! What an image is, read from its first bytes. Only `data:` URLs: this crate never fetches anything.

/// What could be said of one image of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Image {
    /// A `data:` URL that decodes to a known format.
    Known { format: &'static str, width: u32, height: u32, bytes: usize },
    /// A `data:` URL that decodes to something else.
    Unknown { bytes: usize },
    /// A `data:` URL that does not decode.
    Broken,
    /// An address, which is not fetched.
    Address,
}

impl Image {
    /// Looks at an `image_url`.
    pub(crate) fn look(url: &str) -> Self {
        let Some(data) = url.strip_prefix("data:") else { return Self::Address };
        let Some(encoded) = data.split_once(";base64,").map(|(_, encoded)| encoded) else {
            return Self::Broken;
        };
        let Some(bytes) = decode(encoded) else { return Self::Broken };
        match png(&bytes).or_else(|| gif(&bytes)).or_else(|| jpeg(&bytes)).or_else(|| webp(&bytes)) {
            Some((format, width, height)) => Self::Known { format, width, height, bytes: bytes.len() },
            None => Self::Unknown { bytes: bytes.len() },
        }
    }

    /// One phrase for the answer.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Known { format, width, height, bytes } => {
                format!("a {format} image of {width} by {height} pixels ({bytes} bytes)")
            }
            Self::Unknown { bytes } => format!("{bytes} bytes in a format that the simulation does not know"),
            Self::Broken => "a data URL that is not valid base64".to_owned(),
            Self::Address => "an image at an address, which the simulation does not fetch".to_owned(),
        }
    }

    /// Prompt tokens: as OpenAI counts, 85 and 170 for each tile of 512 pixels a side.
    pub(crate) fn tokens(&self) -> u64 {
        match self {
            Self::Known { width, height, .. } => {
                85 + 170
                    * u64::from(width.div_ceil(512).clamp(1, 4))
                    * u64::from(height.div_ceil(512).clamp(1, 4))
            }
            _ => 85,
        }
    }
}

fn png(bytes: &[u8]) -> Option<(&'static str, u32, u32)> {
    let header = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    Some(("PNG", big(header.get(8..12)?), big(header.get(12..16)?)))
}

fn gif(bytes: &[u8]) -> Option<(&'static str, u32, u32)> {
    let header = bytes.strip_prefix(b"GIF87a").or_else(|| bytes.strip_prefix(b"GIF89a"))?;
    Some(("GIF", little(header.get(0..2)?), little(header.get(2..4)?)))
}

/// Walks the segments to the first start-of-frame.
fn jpeg(bytes: &[u8]) -> Option<(&'static str, u32, u32)> {
    let mut rest = bytes.strip_prefix(b"\xff\xd8")?;
    loop {
        let (marker, length) = (rest.get(0..2)?, big(rest.get(2..4)?) as usize);
        if marker[0] != 0xff || length < 2 {
            return None;
        }
        if matches!(marker[1], 0xc0..=0xcf) && !matches!(marker[1], 0xc4 | 0xc8 | 0xcc) {
            return Some(("JPEG", big(rest.get(7..9)?), big(rest.get(5..7)?)));
        }
        rest = rest.get(2 + length..)?;
    }
}

fn webp(bytes: &[u8]) -> Option<(&'static str, u32, u32)> {
    if bytes.get(0..4)? != b"RIFF" || bytes.get(8..12)? != b"WEBP" {
        return None;
    }
    let (width, height) = match bytes.get(12..16)? {
        b"VP8X" => (little(bytes.get(24..27)?) + 1, little(bytes.get(27..30)?) + 1),
        b"VP8 " => (little(bytes.get(26..28)?) & 0x3fff, little(bytes.get(28..30)?) & 0x3fff),
        b"VP8L" => {
            let bits = little(bytes.get(21..25)?);
            ((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1)
        }
        _ => return None,
    };
    Some(("WebP", width, height))
}

fn big(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

fn little(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

/// Base64, standard or URL alphabet, with or without padding, white space allowed between.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.trim_end_matches('=').bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(((bits >> held) & 0xff) as u8);
        }
    }
    (held < 6).then_some(out)
}

/// Base64 with padding, for embeddings in `encoding_format: "base64"`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = big(group) << (8 * (3 - group.len()));
        for place in 0..4 {
            let sign = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place > group.len() { '=' } else { char::from(sign) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_round_trip() {
        for length in 0..20u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(77)).collect();
            assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
        assert_eq!(encode(b"ab"), "YWI=");
        assert_eq!(decode("a"), None);
        assert_eq!(decode("a*bc"), None);
    }

    #[test]
    fn formats_and_sizes() {
        let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[0, 0, 0, 13], b"IHDR", &[0, 0, 2, 0], &[0, 0, 1, 44]]
            .concat();
        let jpeg =
            [&[0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc0, 0, 17, 8, 0, 100, 1, 0, 3][..], &[0; 9]]
                .concat();
        let gif = [b"GIF89a".as_slice(), &[7, 0, 9, 0]].concat();
        let look = |bytes: &[u8]| Image::look(&format!("data:image/x;base64,{}", encode(bytes))).describe();
        assert!(look(&png).starts_with("a PNG image of 512 by 300"), "{}", look(&png));
        assert!(look(&jpeg).starts_with("a JPEG image of 256 by 100"), "{}", look(&jpeg));
        assert!(look(&gif).starts_with("a GIF image of 7 by 9"), "{}", look(&gif));
        assert_eq!(Image::look("https://example.org/x.png"), Image::Address);
        assert_eq!(Image::look("data:image/png;base64,%%%"), Image::Broken);
        assert_eq!(Image::look("data:image/png;base64,AAAA"), Image::Unknown { bytes: 3 });
    }
}
