//! Failures in the dialect's words.

use super::json::Out;
use crate::dialects::Failing;

/// What the vendor's product looks for when a conversation has grown too long, to shorten it.
const TOO_LONG: &str = "prompt is too long";

/// The status that clients of this dialect map to the right class.
pub(crate) fn error_status(failing: &Failing<'_>) -> u16 {
    match (failing.status, failing.code) {
        (402 | 403 | 429, "insufficient_quota" | "billing_error") => 402,
        (503, _) | (500.., "overloaded" | "overloaded_error") => 529,
        (status, _) => status,
    }
}

fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// A failure as a body: `{"type":"error","error":{"type","message","details"},"request_id"}`. The public code stands in
/// `details.error_code`, where the SDKs read it; one that they do not know leaves them with the class of the type.
pub(crate) fn error_body(failing: &Failing<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(160 + failing.message.len());
    write(failing, &mut bytes);
    bytes
}

fn write(failing: &Failing<'_>, bytes: &mut Vec<u8>) {
    let mut out = Out::object(bytes);
    out.text("type", "error");
    let mut error = Out::object(out.key("error"));
    error.text("type", kind(error_status(failing)));
    let too_long =
        failing.code == "context_length_exceeded" && !failing.message.to_ascii_lowercase().contains(TOO_LONG);
    if too_long {
        error.text("message", &format!("{TOO_LONG}: {}", failing.message));
    } else {
        error.text("message", failing.message);
    }
    if !failing.code.is_empty() {
        let mut details = Out::object(error.key("details"));
        details.text("error_code", failing.code);
        if let Some(param) = failing.param {
            details.text("param", param);
        }
        details.end();
    }
    error.end();
    if failing.request_id.is_empty() {
        out.raw("request_id", "null");
    } else {
        out.text("request_id", failing.request_id);
    }
    out.end();
}
