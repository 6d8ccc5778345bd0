//! Errors in the words of the caller's dialect: as a body, and as the one event that ends a stream.

use bytes::Bytes;

use crate::json::text::encode;

/// The JSON body of an OpenAI error: `{"error":{"message","type","param","code"}}`.
///
/// `kind` is the `type`; where it is empty, the type that goes with `status` is taken.
pub fn openai(status: u16, kind: &str, code: Option<&str>, message: &str, param: Option<&str>) -> String {
    let body = openai_bytes(status, kind, code, message, param, b"", b"");
    // Made of strings only.
    String::from_utf8(body).unwrap_or_default()
}

/// The same as one server-sent event. JSON escapes line ends, so it is always a single `data` line.
pub fn openai_event(
    status: u16,
    kind: &str,
    code: Option<&str>,
    message: &str,
    param: Option<&str>,
) -> Bytes {
    openai_bytes(status, kind, code, message, param, b"data: ", b"\n\n").into()
}

fn openai_bytes(
    status: u16,
    kind: &str,
    code: Option<&str>,
    message: &str,
    param: Option<&str>,
    before: &[u8],
    after: &[u8],
) -> Vec<u8> {
    let kind = if kind.is_empty() { kind_of(status) } else { kind };
    let mut out = Vec::with_capacity(96 + message.len());
    out.extend_from_slice(before);
    out.extend_from_slice(b"{\"error\":{\"message\":");
    encode(message, &mut out);
    out.extend_from_slice(b",\"type\":");
    encode(kind, &mut out);
    for (name, value) in [("param", param), ("code", code)] {
        out.push(b',');
        encode(name, &mut out);
        out.push(b':');
        match value {
            Some(value) => encode(value, &mut out),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.extend_from_slice(b"}}");
    out.extend_from_slice(after);
    out
}

/// The types that OpenAI sends with each status.
const fn kind_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_error_is_valid_json_whatever_the_message() {
        let message = "budget \"monthly\" \\ is spent:\r\n\u{1}\u{7f} 25,00 €\u{2028}";
        let body = openai(429, "insufficient_quota", Some("insufficient_quota"), message, None);
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            value,
            json!({"error": {"message": message, "type": "insufficient_quota", "param": null,
                             "code": "insufficient_quota"}})
        );
    }

    #[test]
    fn an_event_is_one_data_line() {
        let event = openai_event(502, "", None, "a\nb\rc", Some("model"));
        let text = std::str::from_utf8(&event).unwrap();
        let data = text.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains(['\n', '\r']));
        let value: Value = serde_json::from_str(data).unwrap();
        assert_eq!(value["error"]["type"], "server_error");
        assert_eq!(value["error"]["param"], "model");
    }
}
