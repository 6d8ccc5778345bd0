//! Names and ids that this dialect does not take, made fit and back again.
//!
//! Tool names match `^[a-zA-Z0-9_-]{1,128}$` and tool ids `^[a-zA-Z0-9_-]+$`. Others are escaped behind a prefix: letters,
//! digits and hyphens stand for themselves, `__` for an underscore, `_XX` for any other byte. The original can be read
//! from the escaped form alone, so nothing must be remembered between request and answer.

use std::borrow::Cow;

const PREFIX: &str = "tgx_";
/// The longest name of a tool.
const LONGEST: usize = 128;

fn fits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A tool's name for the provider; `None` when it cannot be said at all.
pub(super) fn tool_name(name: &str) -> Option<Cow<'_, str>> {
    id(name).filter(|name| name.len() <= LONGEST)
}

/// A tool call's id for the provider; `None` when it is empty.
pub(super) fn id(text: &str) -> Option<Cow<'_, str>> {
    if text.is_empty() {
        return None;
    }
    if fits(text) && !text.starts_with(PREFIX) {
        return Some(Cow::Borrowed(text));
    }
    let mut escaped = String::with_capacity(PREFIX.len() + text.len() * 2);
    escaped.push_str(PREFIX);
    for byte in text.bytes() {
        match byte {
            b'_' => escaped.push_str("__"),
            b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => escaped.push(char::from(byte)),
            other => {
                escaped.push('_');
                for half in [other >> 4, other & 15] {
                    escaped.push(char::from(b"0123456789ABCDEF"[usize::from(half)]));
                }
            }
        }
    }
    Some(Cow::Owned(escaped))
}

/// A tool's name as the caller declared it.
pub(super) fn original(name: String) -> String {
    let Some(escaped) = name.strip_prefix(PREFIX) else { return name };
    match unescape(escaped) {
        // What does not escape to the same was never ours.
        Some(text) if id(&text).is_some_and(|again| again == name) => text,
        _ => name,
    }
}

fn unescape(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'_' {
            bytes.push(byte);
            continue;
        }
        match rest.next()? {
            b'_' => bytes.push(b'_'),
            high => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? << 4 | digit(rest.next()?)?).ok()?);
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for name in ["mcp.files/read", "größe", "tgx_a", "a b", "tgx_", "_.", "x:1"] {
            let sent = tool_name(name).map(Cow::into_owned).unwrap_or_default();
            assert!(fits(&sent), "{sent}");
            assert_eq!(original(sent), name);
        }
        assert_eq!(tool_name("get_weather").as_deref(), Some("get_weather"));
        assert_eq!(original("get_weather".into()), "get_weather");
        // Foreign names behind the prefix are left alone.
        assert_eq!(original("tgx_a_zz".into()), "tgx_a_zz");
        assert_eq!(tool_name(""), None);
        assert_eq!(tool_name(&"é".repeat(30)), None);
        assert_eq!(id("call_1").as_deref(), Some("call_1"));
    }
}
