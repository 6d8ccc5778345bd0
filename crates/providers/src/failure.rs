//! Whose fault an upstream's refusal is, and whether another attempt elsewhere makes sense.
//!
//! Decided by status, and by the documented `code` (else `type`) of the error object where a status
//! is ambiguous; never by words of a message, which only lend a code where a vendor has none for what it says. The retry
//! logic reads [`Failure`] and nothing else.

use std::time::Duration;

use serde_json::Value;

use crate::http_date;

/// Who must act so that the call could succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The client: the request itself is refused and would be elsewhere.
    Client,
    /// The upstream: it broke.
    Upstream,
    /// We: the upstream refuses our credential, or what it may spend. Never shown to the client as is.
    Credential,
    /// The upstream limits our rate.
    RateLimited,
    /// The upstream took too long.
    Timeout,
    /// The upstream has too much to do.
    Overloaded,
}

/// A refusal, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Who must act.
    pub blame: Blame,
    /// Whether another deployment or credential may do better.
    pub retryable: bool,
    /// How long the upstream asks to be left alone, at most [`LONGEST_WAIT`].
    pub retry_after: Option<Duration>,
    /// The upstream's message, at most 2,000 bytes. With [`Blame::Credential`] it may quote a part of
    /// our credential: log it, do not forward it.
    pub message: Option<String>,
    /// The upstream's `code`, else its `type`.
    pub code: Option<String>,
}

impl Failure {
    /// The account has nothing left to spend, so that its credential is good for nothing.
    pub fn is_out_of_credit(&self, status: u16) -> bool {
        const CODES: [&str; 6] = [
            "insufficient_quota",
            "billing_not_active",
            "billing_hard_limit_reached",
            "exceeded_current_quota_error",
            "Arrearage",
            "1113",
        ];
        status == 402 || self.code.as_deref().is_some_and(|code| CODES.contains(&code))
    }

    /// The content is refused by a rule of the provider's, which another may not have.
    pub fn is_content_policy(&self) -> bool {
        // OpenAI and Azure, DashScope, Zhipu, by their pages on errors, 2026-11.
        const CODES: [&str; 7] = [
            "content_policy_violation",
            "content_filter",
            "content_policy",
            "data_inspection_failed",
            "DataInspectionFailed",
            "1301",
            "guardrail_blocked",
        ];
        self.code.as_deref().is_some_and(|code| CODES.contains(&code))
    }

    /// The conversation is too long for the model.
    pub fn is_too_long(&self) -> bool {
        self.code.as_deref() == Some(TOO_LONG)
    }
}

/// A day: whoever asks for more means "not in this life of the process".
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Of a larger error body only the status is used.
const LARGEST_BODY: usize = 256 * 1024;
const LONGEST_MESSAGE: usize = 2_000;
const LONGEST_CODE: usize = 100;

/// Codes (and types) by which vendors say that our account or key is at fault, whatever the status:
/// OpenAI, Moonshot, DashScope (`Arrearage`, `InvalidApiKey`), Zhipu (1000-1004 authentication, 1112
/// and 1113 account), Google (a bad key is a 400 with this `reason`), by their pages on errors, 2026-11.
const CREDENTIAL_CODES: [&str; 20] = [
    "insufficient_quota",
    "billing_not_active",
    "billing_hard_limit_reached",
    "account_deactivated",
    "invalid_api_key",
    "invalid_authentication_error",
    "incorrect_api_key_error",
    "permission_denied_error",
    "exceeded_current_quota_error",
    "Arrearage",
    "InvalidApiKey",
    "AccessDenied.Unpurchased",
    "1000",
    "1001",
    "1002",
    "1003",
    "1004",
    "1112",
    "1113",
    BAD_KEY_OF_GOOGLE,
];
const BAD_KEY_OF_GOOGLE: &str = "API_KEY_INVALID";

/// OpenAI's code of a conversation that is too long, by which its clients know it.
const TOO_LONG: &str = "context_length_exceeded";
/// How Anthropic and Google say the same in a 400 of no code of its own (their pages on errors, 2026-11).
const TOO_LONG_IN_WORDS: [&str; 2] = ["prompt is too long", "exceeds the maximum number of tokens"];

/// Understands a refusal.
///
/// `header` looks up a response header by its lower-case name; `body` is what came, whole or cut.
pub fn classify<'h>(status: u16, header: &dyn Fn(&str) -> Option<&'h str>, body: &[u8]) -> Failure {
    let (message, mut code, wait) = read_error(body);
    let says = |words: &&str| message.as_deref().is_some_and(|message| message.contains(words));
    let vague = matches!(code.as_deref(), None | Some("INVALID_ARGUMENT" | "invalid_request_error"));
    if status == 400 && vague && TOO_LONG_IN_WORDS.iter().any(says) {
        code = Some(TOO_LONG.to_owned());
    }
    let by_code = code.as_deref().is_some_and(|code| CREDENTIAL_CODES.contains(&code));
    let blame = if by_code && (400..500).contains(&status) { Blame::Credential } else { by_status(status) };
    Failure {
        blame,
        retryable: blame != Blame::Client,
        retry_after: retry_after(header).or(wait),
        message,
        code,
    }
}

/// The status that an error should have had which came within a stream, or as an answer of status 200: by its code or type,
/// in the words of OpenAI, Anthropic and Google (their pages on errors, 2026-11). 502 where the code says nothing.
pub fn status_within(code: Option<&str>) -> u16 {
    let code = code.unwrap_or_default();
    if let Ok(status @ 400..=599) = code.parse() {
        return status;
    }
    match code.to_ascii_lowercase().as_str() {
        "rate_limit_exceeded"
        | "rate_limit_error"
        | "rate_limited"
        | "resource_exhausted"
        | "too_many_requests"
        | "tokens"
        | "requests"
        | "insufficient_quota" => 429,
        "overloaded_error"
        | "overloaded"
        | "server_overloaded"
        | "unavailable"
        | "service_unavailable"
        | "engine_overloaded" => 503,
        "timeout_error" | "deadline_exceeded" | "timeout" => 504,
        "invalid_api_key" | "authentication_error" | "unauthenticated" | "api_key_invalid" => 401,
        "billing_error" => 402,
        "permission_error" | "permission_denied" => 403,
        "not_found_error" | "model_not_found" | "not_found" => 404,
        "request_too_large" => 413,
        "invalid_request_error"
        | "invalid_argument"
        | "failed_precondition"
        | "invalid_prompt"
        | "context_length_exceeded"
        | "content_policy_violation"
        | "content_filter"
        | "string_above_max_length" => 400,
        _ => 502,
    }
}

fn by_status(status: u16) -> Blame {
    match status {
        401..=403 | 407 => Blame::Credential,
        // 522 and 524 are a content network's words for a timeout.
        408 | 504 | 522 | 524 => Blame::Timeout,
        429 => Blame::RateLimited,
        // 498: Groq's "capacity exceeded"; 529: Anthropic's "overloaded".
        498 | 503 | 529 => Blame::Overloaded,
        // A conflict, a locked or failed dependency or a lost client are the upstream's own affairs.
        409 | 421 | 423..=425 | 499 => Blame::Upstream,
        400..=499 => Blame::Client,
        // Also what is no failure by its status: a redirect, or a success whose body is an error.
        _ => Blame::Upstream,
    }
}

/// `retry-after-ms` in milliseconds, else `retry-after` in seconds or as a date; a date is measured
/// against the response's own `date`, because there is no clock here and theirs may differ from ours.
fn retry_after<'h>(header: &dyn Fn(&str) -> Option<&'h str>) -> Option<Duration> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| *number >= 0.0);
    let seconds = if let Some(milliseconds) = header("retry-after-ms").and_then(number) {
        milliseconds / 1e3
    } else {
        let text = header("retry-after")?;
        match number(text) {
            Some(seconds) => seconds,
            None => {
                let then = http_date::seconds(text)?;
                let now = http_date::seconds(header("date")?)?;
                return Some(Duration::from_secs(then.saturating_sub(now)).min(LONGEST_WAIT));
            }
        }
    };
    Some(Duration::from_secs_f64(seconds.min(LONGEST_WAIT.as_secs_f64())))
}

/// The message, the code (else type) and the wait of an error body, in the shapes in which servers write them:
/// `{"error": {…}}`, `{"error": "…"}`, the members without the wrapper, `{"detail": …}`, and any of
/// them alone in an array.
pub(crate) fn read_error(body: &[u8]) -> (Option<String>, Option<String>, Option<Duration>) {
    if body.len() > LARGEST_BODY {
        return (None, None, None);
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return (None, None, None) };
    let outer = value.get(0).unwrap_or(&value);
    let error = match outer.get("error") {
        Some(error) if !error.is_null() => error,
        _ => outer,
    };
    if let Some(message) = error.as_str() {
        return (non_empty(message, LONGEST_MESSAGE), text(outer.get("code"), LONGEST_CODE), None);
    }
    let message = text(error.get("message"), LONGEST_MESSAGE)
        .or_else(|| text(error.get("msg"), LONGEST_MESSAGE))
        .or_else(|| detail(outer.get("detail")?));
    let code = word_of_google(error)
        .or_else(|| text(error.get("code"), LONGEST_CODE))
        .or_else(|| text(error.get("type"), LONGEST_CODE));
    (message, code, delay_of_google(error))
}

/// Google's `code` is the status again; what it means stands in `status`, and of a bad key only in a detail.
fn word_of_google(error: &Value) -> Option<String> {
    if !error.get("code")?.is_number() {
        return None;
    }
    let details = error.get("details").and_then(Value::as_array);
    let reason = |detail: &Value| detail.get("reason").and_then(Value::as_str) == Some(BAD_KEY_OF_GOOGLE);
    if details.is_some_and(|details| details.iter().any(reason)) {
        return Some(BAD_KEY_OF_GOOGLE.to_owned());
    }
    let word = error.get("status")?.as_str()?;
    non_empty(word, LONGEST_CODE)
}

/// `retryDelay` in Google's details: `"37s"`, `"1.5s"`.
fn delay_of_google(error: &Value) -> Option<Duration> {
    let details = error.get("details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    let seconds = delay.strip_suffix('s')?.parse::<f64>().ok().filter(|seconds| *seconds >= 0.0)?;
    Some(Duration::from_secs_f64(seconds.min(LONGEST_WAIT.as_secs_f64())))
}

/// FastAPI's `detail`: a text, or a list of what is wrong where.
fn detail(detail: &Value) -> Option<String> {
    text(Some(detail), LONGEST_MESSAGE).or_else(|| text(detail.get(0)?.get("msg"), LONGEST_MESSAGE))
}

fn text(value: Option<&Value>, longest: usize) -> Option<String> {
    match value? {
        Value::String(text) => non_empty(text, longest),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn non_empty(text: &str, longest: usize) -> Option<String> {
    let cut = text.floor_char_boundary(longest);
    (!text.is_empty()).then(|| text[..cut].to_owned())
}

#[cfg(test)]
#[path = "failure/tests.rs"]
mod tests;
