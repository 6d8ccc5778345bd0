//! Failures in Google's words: `{"error": {code, message, status, details}}`.

use crate::dialects::Failing;

use super::emit::{List, Object};

/// A failure as a body.
pub(crate) fn error_body(failing: &Failing<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + failing.message.len());
    let mut body = Object::new(&mut out);
    let mut error = Object::new(body.name("error"));
    error.number("code", failing.status);
    error.text("message", failing.message);
    error.text("status", status_of(failing.status));
    let mut details = List::new(error.name("details"));
    let mut info = Object::new(details.item());
    info.text("@type", "type.googleapis.com/google.rpc.ErrorInfo");
    info.text("reason", &failing.code.to_ascii_uppercase());
    info.text("domain", "tidegate");
    info.end();
    if let Some(param) = failing.param {
        let mut request = Object::new(details.item());
        request.text("@type", "type.googleapis.com/google.rpc.BadRequest");
        let mut violations = List::new(request.name("fieldViolations"));
        let mut violation = Object::new(violations.item());
        violation.text("field", param);
        violation.text("description", failing.message);
        violation.end();
        violations.end();
        request.end();
    }
    if let Some(seconds) = failing.retry_after {
        let mut retry = Object::new(details.item());
        retry.text("@type", "type.googleapis.com/google.rpc.RetryInfo");
        retry.text("retryDelay", &format!("{seconds}s"));
        retry.end();
    }
    if !failing.request_id.is_empty() {
        let mut request = Object::new(details.item());
        request.text("@type", "type.googleapis.com/google.rpc.RequestInfo");
        request.text("requestId", failing.request_id);
        request.end();
    }
    details.end();
    error.end();
    body.end();
    out
}

/// The canonical word of a status (google.rpc.Code).
fn status_of(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "ABORTED",
        412 => "FAILED_PRECONDITION",
        402 | 429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        502 | 503 | 529 => "UNAVAILABLE",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}
