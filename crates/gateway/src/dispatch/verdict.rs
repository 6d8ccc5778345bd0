//! What a request whose attempts have all failed tells its client: our own words, or the provider's.
//!
//! The last attempt decides. A provider's own body goes on only where the client reads its dialect; else its message is
//! told anew, in the client's.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use providers::dialects::{self, Dialect};
use providers::failure::Blame;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::refusal::{Code, Refusal, SHOULD_RETRY, tell_wait};
use crate::{headers, settle};

/// What a failed request tells its client: our own words, or the provider's.
pub(super) enum Verdict {
    Ours(Box<Refusal>),
    /// The provider's words, in a dialect that the client does not read.
    Retold {
        blame: Blame,
        status: u16,
        message: String,
        code: String,
    },
    Theirs {
        blame: Blame,
        status: u16,
        content_type: Option<HeaderValue>,
        headers: HeaderMap,
        body: Bytes,
    },
}

impl Verdict {
    /// Whether it is the answer of a provider that carried out what it was asked, and failed in that; not that it had
    /// no time, no room or no credential for it, nor that no answer ever began.
    fn is_of_a_call_that_was_made(&self) -> bool {
        match self {
            Self::Ours(_) => false,
            Self::Retold { blame, .. } | Self::Theirs { blame, .. } => {
                matches!(blame, Blame::Client | Blame::Upstream)
            }
        }
    }
}

/// The answer to a request whose attempts have all failed.
pub(super) fn refuse(
    mut exchange: Box<Exchange>,
    verdict: Option<(Verdict, bool, Option<Duration>)>,
) -> http::Response<Body> {
    let (verdict, retryable, wait) = verdict.unwrap_or_else(|| {
        (Verdict::Ours(Refusal::new(Code::InternalError, "no attempt was made")), false, None)
    });
    let now = exchange.gateway.clock.moment();
    let executed = verdict.is_of_a_call_that_was_made();
    let (mut answer, error) = match verdict {
        Verdict::Ours(refusal) => {
            (refusal.answer_in(exchange.operation.dialect(), &exchange.id.to_string()), refusal.code_name())
        }
        Verdict::Retold { blame, status, message, code } => {
            (retold(&exchange, status, &message, &code), class_of(blame).name())
        }
        Verdict::Theirs { blame, status, content_type, headers, body } => {
            let mut answer = http::Response::new(Body::whole(body));
            *answer.status_mut() =
                http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
            *answer.headers_mut() = headers;
            headers::downwards(answer.headers_mut(), exchange.requests_standing.is_some());
            headers::without_empty_limits(&exchange, answer.headers_mut());
            if let Some(kind) = content_type {
                answer.headers_mut().insert(CONTENT_TYPE, kind);
            }
            (answer, class_of(blame).name())
        }
    };
    if let Some(wait) = wait {
        tell_wait(answer.headers_mut(), wait);
    }
    // Several providers were tried: an SDK's own retries would multiply that.
    if retryable && exchange.attempts > 1 {
        answer.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let Some(noted) = &exchange.recall.noted {
        noted.refused(exchange.deployment.as_ref(), error, executed);
    }
    let own = exchange.own_time(now, None);
    headers::add_ours(&exchange, answer.headers_mut(), own);
    settle::log_refused(&mut exchange, answer.status().as_u16(), error);
    answer
}

/// A provider's refusal in the client's dialect.
fn retold(exchange: &Exchange, status: u16, message: &str, code: &str) -> http::Response<Body> {
    let id = exchange.id.to_string();
    let dialect = exchange.operation.dialect().unwrap_or(Dialect::Chat);
    let (status, body) = dialects::retell(dialect, status, code, message, &id);
    let mut answer = http::Response::new(Body::whole(body));
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Under which code of the table a provider's own refusal is logged: who must act.
pub(super) fn class_of(blame: Blame) -> Code {
    match blame {
        Blame::Client => Code::InvalidRequest,
        Blame::Credential => Code::UpstreamAuthentication,
        Blame::RateLimited => Code::UpstreamRateLimited,
        Blame::Timeout => Code::UpstreamTimeout,
        Blame::Upstream | Blame::Overloaded => Code::UpstreamError,
    }
}
