//! Base64, as far as this dialect needs it: the standard alphabet out of both, bytes out of text, and guesses.

/// Standard base64 without line ends and with padding, out of either alphabet; what already is that is left alone.
pub(super) fn standard(text: String) -> String {
    let odd = |byte: u8| matches!(byte, b'-' | b'_') || byte.is_ascii_whitespace();
    let unpadded = !text.len().is_multiple_of(4);
    if !unpadded && !text.bytes().any(odd) {
        return text;
    }
    let mut clean: String = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    while !clean.len().is_multiple_of(4) {
        clean.push('=');
    }
    clean
}

/// The bytes of standard base64.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.chunks(4) {
        let mut word = 0u32;
        for byte in chunk {
            let six = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(six);
        }
        word <<= 6 * (4 - chunk.len());
        let whole = chunk.len().checked_sub(1).filter(|whole| *whole > 0)?;
        bytes.extend_from_slice(&word.to_be_bytes()[1..=whole]);
    }
    Some(bytes)
}

/// What the first bytes of a file say it is, where nobody else does.
pub(super) fn guess(base64: &str) -> Option<&'static str> {
    [
        ("/9j/", "image/jpeg"),
        ("iVBORw0KGgo", "image/png"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
        ("JVBERi", "application/pdf"),
    ]
    .into_iter()
    .find(|(start, _)| base64.starts_with(start))
    .map(|(_, mime)| mime)
}
