//! Every error that a client can meet, in one table, and its shape in the caller's dialect.
//!
//! The status is chosen so that official SDKs raise the right class and do not retry what cannot help: they retry 408,
//! 409, 429 and 5xx unless `x-should-retry: false` says otherwise, so a refusal that stands says so.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use providers::dialects::{self, Dialect, Failing};
use providers::error_event;

use crate::body::Body;

pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
pub(crate) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

macro_rules! codes {
    ($($variant:ident $status:literal $kind:literal $code:literal $retry:ident $says:literal;)*) => {
        /// A public error code. The table is the documentation (`docs/errors.md` is made from it).
        #[derive(Copy, Clone, Debug, Eq, PartialEq)]
        pub(crate) enum Code { $($variant),* }

        impl Code {
            const fn row(self) -> Row {
                match self { $(Self::$variant => Row { status: $status, kind: $kind, code: $code, retry: Retry::$retry }),* }
            }
        }

        /// The rows of `docs/errors.md`: code, status, type, whether a retry can help, meaning.
        pub const ERRORS: &[(&str, u16, &str, bool, &str)] =
            &[$(($code, $status, $kind, matches!(Retry::$retry, Retry::Helps), $says)),*];
    };
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Retry {
    Helps,
    Useless,
}

struct Row {
    status: u16,
    kind: &'static str,
    code: &'static str,
    retry: Retry,
}

codes! {
    InvalidApiKey 401 "invalid_request_error" "invalid_api_key" Useless "no virtual key was sent, or it is malformed or unknown";
    KeyExpired 401 "invalid_request_error" "key_expired" Useless "the virtual key has expired";
    KeyRevoked 401 "invalid_request_error" "key_revoked" Useless "the virtual key was revoked";
    InvalidRequest 400 "invalid_request_error" "invalid_request" Useless "the body, a parameter or a header cannot be used; the message names it. In the request log also: a provider blames the request";
    AmbiguousRequest 400 "invalid_request_error" "ambiguous_request" Useless "the head or the chunks of the request are no HTTP or could be read in two ways; the message says where, and the connection is closed";
    GuardrailBlocked 400 "invalid_request_error" "guardrail_blocked" Useless "a guardrail refuses what the request or its answer holds; the message names it. An answer that is refused was made, and is paid. See [guardrails](guardrails.md)";
    GuardrailFailed 400 "invalid_request_error" "guardrail_failed" Useless "a guardrail has to look at the request or its answer and cannot (a form, tokens, a realtime session), and its `on_failure` is `closed`";
    ModelAmbiguous 400 "invalid_request_error" "model_ambiguous" Useless "several providers serve a model of this name; write `provider/model`";
    NoFittingModel 400 "invalid_request_error" "no_fitting_model" Useless "no model of the route takes this request: what it has besides text, what it could cost, or the conditions of the route leave none; or the model that is asked for does not take what it has";
    ModelNotAllowed 403 "invalid_request_error" "model_not_allowed" Useless "the virtual key may not use this model";
    SharedAccount 403 "invalid_request_error" "shared_account" Useless "the provider's account is also that of another environment, so files, batches, videos and the passage to it are closed: whoever reaches them would see what is not theirs";
    PriceUnknown 403 "invalid_request_error" "price_unknown" Useless "the key has a budget and the model has no known price, so the budget could not hold";
    PreviousResponseNotFound 400 "invalid_request_error" "previous_response_not_found" Useless "`previous_response_id` names no response that is kept for this environment: unknown, deleted, expired, or made with `store: false`";
    ResponseNotFound 404 "invalid_request_error" "response_not_found" Useless "no response of this id is kept for this environment";
    ModelNotFound 404 "invalid_request_error" "model_not_found" Useless "the environment has no model of this name";
    UnknownUrl 404 "invalid_request_error" "unknown_url" Useless "nothing is served at this path";
    MethodNotAllowed 405 "invalid_request_error" "method_not_allowed" Useless "the path takes another method";
    RequestTimeout 408 "invalid_request_error" "request_timeout" Helps "the request itself came too slowly: a head has 10 s, a body keeps moving every 30 s; the connection is closed";
    RequestTooLarge 413 "invalid_request_error" "request_too_large" Useless "the body is larger than `server.max_body`";
    UnsupportedEncoding 415 "invalid_request_error" "unsupported_content_encoding" Useless "the body is compressed; send it plain";
    IdempotencyKeyReused 422 "invalid_request_error" "idempotency_key_reused" Useless "the idempotency key was used with another request; see [caching](caching.md#idempotency-keys)";
    HeadTooLarge 431 "invalid_request_error" "request_head_too_large" Useless "the head of the request is larger than 64 KiB or has more than 100 lines; the connection is closed";
    RateLimitExceeded 429 "rate_limit_error" "rate_limit_exceeded" Helps "a limit of requests or tokens a minute is reached; `retry-after` says when to come back";
    ConcurrencyLimitExceeded 429 "rate_limit_error" "concurrency_limit_exceeded" Helps "the key has as many requests in flight as it may";
    InsufficientQuota 429 "insufficient_quota" "insufficient_quota" Useless "a budget of the key is spent or cannot hold this request; the message names it";
    UpstreamAuthentication 502 "server_error" "upstream_authentication" Useless "a provider refused the gateway's credential; this is for the operator to mend";
    UpstreamUnreachable 502 "server_error" "upstream_unreachable" Helps "no connection to the provider came about";
    UpstreamInvalidAnswer 502 "server_error" "upstream_invalid_answer" Helps "the provider answered something that is not an answer";
    UpstreamClosed 502 "server_error" "upstream_closed" Helps "the provider closed the connection before its answer was complete";
    UpstreamError 502 "server_error" "upstream_error" Helps "the provider failed; its own status and text are passed on where it gave them";
    UpstreamRateLimited 429 "rate_limit_error" "upstream_rate_limited" Helps "the provider's own limit is reached";
    UpstreamTimeout 504 "server_error" "upstream_timeout" Useless "the provider did not answer in time; the message says which limit (of the settings, or `x-tidegate-timeout`)";
    Overloaded 503 "server_error" "overloaded" Helps "the gateway holds as many bytes of requests as it may";
    NotReady 503 "server_error" "not_ready" Helps "the gateway has no release to serve yet";
    KeyStoreUnavailable 503 "server_error" "key_store_unavailable" Helps "this key is not known here and the database that would know it is away";
    ResponseStoreUnavailable 503 "server_error" "response_store_unavailable" Helps "a stored response is needed and the database that keeps it is away, or has no room";
    IdempotencyInProgress 503 "server_error" "idempotency_in_progress" Helps "a request with the same idempotency key has been under way for longer than this one could wait; asked again with the same key it gets that answer";
    BudgetUnavailable 503 "server_error" "budget_unavailable" Helps "several gateways share the budget, this one's share does not hold the request, and the database that divides it did not give more in time";
    AccountingUnavailable 503 "server_error" "accounting_unavailable" Helps "the call could not be recorded, so it was not made";
    ShuttingDown 503 "server_error" "shutting_down" Helps "the gateway is stopping";
    InternalError 500 "server_error" "internal_error" Useless "a fault of the gateway; the request id helps to find it";
}

impl Code {
    /// As it stands in the table, in answers and in the request log.
    pub(crate) const fn name(self) -> &'static str {
        self.row().code
    }
}

/// A refusal on its way to the client.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) param: Option<Cow<'static, str>>,
    pub(crate) retry_after: Option<Duration>,
    /// A more telling code than the table's, such as `context_length_exceeded` of a provider.
    pub(crate) detail: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { code, message: message.into(), param: None, retry_after: None, detail: None })
    }

    pub(crate) fn after(mut self: Box<Self>, wait: Duration) -> Box<Self> {
        self.retry_after = Some(wait);
        self
    }

    pub(crate) fn about(mut self: Box<Self>, param: &'static str) -> Box<Self> {
        self.param = Some(Cow::Borrowed(param));
        self
    }

    pub(crate) fn status(&self) -> u16 {
        self.code.row().status
    }

    /// After these nothing further is read from an HTTP/1 connection.
    fn ends_connection(&self) -> bool {
        matches!(self.code, Code::AmbiguousRequest | Code::HeadTooLarge | Code::RequestTimeout)
    }

    pub(crate) fn code_name(&self) -> &'static str {
        self.detail.unwrap_or(self.code.name())
    }

    /// The error as an answer in the OpenAI dialect.
    pub(crate) fn answer(&self) -> http::Response<Body> {
        let row = self.code.row();
        let text = error_event::openai(
            row.status,
            row.kind,
            Some(self.code_name()),
            &self.message,
            self.param.as_deref(),
        );
        let mut answer = http::Response::new(Body::whole(text));
        *answer.status_mut() =
            http::StatusCode::from_u16(row.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // No SDK tries 400 again; of a guardrail's word it is said to proxies and agents as well.
        let guarded = matches!(self.code, Code::GuardrailBlocked | Code::GuardrailFailed);
        let tempting = row.status >= 500 || matches!(row.status, 422 | 429) || guarded;
        if row.retry == Retry::Useless && tempting {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if self.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(wait) = self.retry_after {
            tell_wait(headers, wait);
        }
        answer
    }

    /// The error as an answer in the dialect of an operation.
    pub(crate) fn answer_in(&self, dialect: Option<Dialect>, request_id: &str) -> http::Response<Body> {
        let mut answer = self.answer();
        let Some(dialect @ (Dialect::Messages | Dialect::Gemini)) = dialect else { return answer };
        let failing = self.failing(request_id);
        let status = dialects::error_status(dialect, &failing);
        *answer.body_mut() = Body::whole(dialects::error_body(dialect, &failing));
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
        answer
    }

    /// The error in neutral words.
    pub(crate) fn failing<'a>(&'a self, request_id: &'a str) -> Failing<'a> {
        let row = self.code.row();
        Failing {
            status: row.status,
            code: self.code_name(),
            kind: row.kind,
            message: &self.message,
            param: self.param.as_deref(),
            retry_after: self.retry_after.map(|wait| wait.as_secs().max(1)),
            request_id,
        }
    }

    /// The error as one event of a stream that has begun, in OpenAI's dialect.
    pub(crate) fn event(&self) -> bytes::Bytes {
        let row = self.code.row();
        error_event::openai_event(
            row.status,
            row.kind,
            Some(self.code_name()),
            &self.message,
            self.param.as_deref(),
        )
    }
}

/// `retry-after` in whole seconds (rounded up) and `retry-after-ms`, which the SDKs prefer.
pub(crate) fn tell_wait(headers: &mut http::HeaderMap, wait: Duration) {
    let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    headers.insert(RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1000)));
    headers.insert(RETRY_AFTER_MS, HeaderValue::from(milliseconds));
}

/// The table of `docs/errors.md`.
#[must_use]
pub fn errors_table() -> String {
    let mut table = String::from("| Code | Status | Type | Retry helps | Meaning |\n|---|---|---|---|---|\n");
    for (code, status, kind, retry, says) in ERRORS {
        let retry = if *retry { "yes" } else { "no" };
        table.push_str(&format!("| `{code}` | {status} | `{kind}` | {retry} | {says} |\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_documented() {
        for (at, (code, ..)) in ERRORS.iter().enumerate() {
            assert!(ERRORS[..at].iter().all(|(other, ..)| other != code), "{code} stands twice");
        }
        let page = include_str!("../../../docs/errors.md");
        assert!(
            page.contains(&errors_table()),
            "docs/errors.md is not up to date: cargo run -p gateway --example errors"
        );
    }

    #[test]
    fn a_refusal_that_stands_tells_sdks_not_to_retry() {
        let spent = Refusal::new(Code::InsufficientQuota, "spent").answer();
        assert_eq!(spent.status(), 429);
        assert_eq!(spent.headers().get(SHOULD_RETRY).and_then(|v| v.to_str().ok()), Some("false"));
        let busy = Refusal::new(Code::RateLimitExceeded, "later").after(Duration::from_millis(1500)).answer();
        assert!(busy.headers().get(SHOULD_RETRY).is_none());
        assert_eq!(busy.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()), Some("2"));
        assert_eq!(busy.headers().get(RETRY_AFTER_MS).and_then(|v| v.to_str().ok()), Some("1500"));
    }
}
