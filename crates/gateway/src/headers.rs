//! Which headers travel: client to provider, provider to client, and the ones that are ours.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use policy::{Deployment, Quirk, Standing};
use smallvec::SmallVec;

use crate::exchange::Exchange;

macro_rules! names {
    ($($name:ident $text:literal;)*) => { $(pub(crate) const $name: HeaderName = HeaderName::from_static($text);)* };
}

names! {
    API_KEY "api-key";
    X_API_KEY "x-api-key";
    GOOG_API_KEY "x-goog-api-key";
    WEBSOCKET_PROTOCOL "sec-websocket-protocol";
    USER "x-tidegate-user";
    SESSION "x-tidegate-session";
    TAGS "x-tidegate-tags";
    REQUEST_ID "x-request-id";
    REQUEST_ID_SHORT "request-id";
    UPSTREAM_REQUEST_ID "x-tidegate-upstream-request-id";
    MODEL "x-tidegate-model";
    RELEASE "x-tidegate-release";
    ATTEMPTS "x-tidegate-attempts";
    CACHE "x-tidegate-cache";
    DROPPED "x-tidegate-dropped";
    GUARDRAILS "x-tidegate-guardrails";
    COST "x-tidegate-cost";
    TIMEOUT "x-tidegate-timeout";
    STRICT "x-tidegate-strict";
    IDEMPOTENCY_KEY "idempotency-key";
    PROVIDER "x-tidegate-provider";
    ESTIMATED "x-tidegate-estimated";
    SERVER_TIMING "server-timing";
    LIMIT_REQUESTS "x-ratelimit-limit-requests";
    REMAINING_REQUESTS "x-ratelimit-remaining-requests";
    RESET_REQUESTS "x-ratelimit-reset-requests";
    LIMIT_TOKENS "x-ratelimit-limit-tokens";
    REMAINING_TOKENS "x-ratelimit-remaining-tokens";
    RESET_TOKENS "x-ratelimit-reset-tokens";
}

/// Client headers that never reach a provider: credentials, hop-by-hop (RFC 9110 §7.6.1), what the new connection sets
/// itself, what tells a provider who or where the client is, and what the gateway promises itself: two clients may choose
/// the same idempotency key.
fn never_up(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "x-api-key"
            | "api-key"
            | "x-goog-api-key"
            | "proxy-authorization"
            | "cookie"
            | "host"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "accept-encoding"
            | "accept"
            | "expect"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "forwarded"
            | "via"
            | "x-real-ip"
            | "x-request-id"
            | "idempotency-key"
            | "openai-organization"
            | "openai-project"
            | "http2-settings"
            | "true-client-ip"
            | "origin"
            | "referer"
    ) || name.starts_with("x-tidegate-")
        || name.starts_with("x-forwarded-")
        || name.starts_with("cf-")
        || name.starts_with("sec-")
        || name.starts_with("x-envoy-")
        || name.starts_with("proxy-")
}

/// Where clients put their keys and their users' secrets.
pub(crate) fn is_credential(name: &str) -> bool {
    let known = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "cookie"];
    known.contains(&name) || name == WEBSOCKET_PROTOCOL
}

/// Provider headers that never reach a client: hop-by-hop, framing, cookies, and the shared account's identity.
fn never_down(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "content-length"
            | "content-encoding"
            | "set-cookie"
            | "set-cookie2"
            | "proxy-authenticate"
            | "www-authenticate"
            | "alt-svc"
            | "server"
            | "date"
            | "x-request-id"
            | "request-id"
            | "openai-organization"
            | "openai-project"
            | "anthropic-organization-id"
            | "anthropic-workspace-id"
            | "strict-transport-security"
            | "access-control-allow-origin"
            | "access-control-expose-headers"
            | "x-should-retry"
            | "via"
            | "server-timing"
            | "nel"
            | "report-to"
            | "content-security-policy"
    ) || name.starts_with("x-tidegate-")
        || name.starts_with("cf-")
        || name.starts_with("x-envoy-")
        || name.starts_with("access-control-")
}

/// Names that the `connection` header declares to be for one hop only.
pub(crate) fn hop_names(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        let listed = value.to_str().unwrap_or_default().split(',');
        names.extend(listed.filter_map(|name| HeaderName::try_from(name.trim()).ok()));
    }
    names
}

/// Headers of one dialect's own, which mean nothing to a provider of another.
pub(crate) fn is_of_a_dialect(name: &str) -> bool {
    ["anthropic-", "openai-", "x-goog-", "x-stainless-"].iter().any(|prefix| name.starts_with(prefix))
}

/// What a provider gets of the client's headers, beside what the gateway sets itself.
pub(crate) fn upwards<'a>(
    client: &'a HeaderMap,
    hops: &'a [HeaderName],
) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
    client.iter().filter(|(name, _)| !hops.contains(name) && !never_up(name.as_str()))
}

/// Takes from a provider's headers what a client must not get.
pub(crate) fn downwards(headers: &mut HeaderMap, own_limits: bool) {
    let mut gone = hop_names(headers);
    let theirs = |name: &str| own_limits && name.starts_with("x-ratelimit-");
    let unfit = |name: &&HeaderName| theirs(name.as_str()) || never_down(name.as_str());
    gone.extend(headers.keys().filter(unfit).cloned());
    for name in gone {
        headers.remove(name);
    }
}

/// Takes out what a vendor that is known for it says of its limits without meaning it: nothing left, or less.
pub(crate) fn without_empty_limits(exchange: &Exchange, headers: &mut HeaderMap) {
    let known = |deployment: &Arc<Deployment>| deployment.provider.has(Quirk::RatelimitsMayBeNegative);
    if !exchange.deployment.as_ref().is_some_and(known) {
        return;
    }
    let empty = |value: &HeaderValue| {
        let number = value.to_str().ok().and_then(|text| text.trim().parse::<i64>().ok());
        number.is_some_and(|number| number <= 0)
    };
    let says_nothing = |(name, value): &(&HeaderName, &HeaderValue)| {
        name.as_str().starts_with("x-ratelimit-") && empty(value)
    };
    let gone: Vec<_> = headers.iter().filter(says_nothing).map(|(name, _)| name.clone()).collect();
    for name in gone {
        headers.remove(name);
    }
}

/// The id of a request.
pub(crate) fn id(id: policy::RequestId) -> HeaderValue {
    HeaderValue::from_bytes(&id.hyphenated()).unwrap_or(HeaderValue::from_static(""))
}

/// The id of a request that has no exchange, under both of its names.
pub(crate) fn add_id(down: &mut HeaderMap, id: policy::RequestId) {
    let id = self::id(id);
    down.insert(REQUEST_ID_SHORT, id.clone());
    down.insert(REQUEST_ID, id);
}

/// Adds the gateway's own headers to an answer.
pub(crate) fn add_ours(exchange: &Exchange, down: &mut HeaderMap, own_time: Duration) {
    down.insert(REQUEST_ID_SHORT, exchange.id_text.clone());
    down.insert(REQUEST_ID, exchange.id_text.clone());
    if let Some(deployment) = &exchange.deployment {
        down.insert(MODEL, text(&deployment.name));
    }
    down.insert(RELEASE, release(&exchange.caller.environment));
    down.insert(ATTEMPTS, HeaderValue::from(exchange.attempts));
    down.insert(CACHE, exchange.recall.word.value());
    if !exchange.dropped.is_empty() {
        // One name may have been said by the request and by the answer.
        let mut names: SmallVec<[&str; 4]> = SmallVec::new();
        for name in &exchange.dropped {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        down.insert(DROPPED, text(&names.join(", ")));
    }
    if !exchange.guarded.is_empty() {
        down.insert(GUARDRAILS, text(&exchange.guarded));
    }
    if exchange.usage_estimated {
        down.insert(ESTIMATED, HeaderValue::from_static("true"));
    }
    if let Some(upstream) = &exchange.upstream_request_id {
        down.insert(UPSTREAM_REQUEST_ID, text(upstream));
    }
    down.insert(SERVER_TIMING, timing(own_time));
    add_standing(exchange, down);
}

/// The limits of the key, in the SDKs' own headers.
pub(crate) fn add_standing(exchange: &Exchange, down: &mut HeaderMap) {
    if let Some(standing) = &exchange.requests_standing {
        insert_standing(down, standing, [LIMIT_REQUESTS, REMAINING_REQUESTS, RESET_REQUESTS]);
    }
    if let Some(standing) = &exchange.tokens_standing {
        insert_standing(down, standing, [LIMIT_TOKENS, REMAINING_TOKENS, RESET_TOKENS]);
    }
}

/// Limit, remaining and reset under the given names.
pub(crate) fn insert_standing(down: &mut HeaderMap, standing: &Standing, names: [HeaderName; 3]) {
    let [limit, remaining, reset] = names;
    down.insert(limit, HeaderValue::from(standing.limit));
    down.insert(remaining, HeaderValue::from(standing.remaining));
    down.insert(reset, go_line(standing.reset).value());
}

/// `dev/42`: the environment, and the release's number at the end.
pub(crate) fn release(environment: &policy::Environment) -> HeaderValue {
    let mut line = Line::default();
    line.text(&environment.name).text("/").number(environment.release);
    line.value()
}

/// `gateway;dur=0.123`, milliseconds.
fn timing(own_time: Duration) -> HeaderValue {
    let micros = u64::try_from(own_time.as_micros()).unwrap_or(u64::MAX);
    let mut line = Line::default();
    line.text("gateway;dur=").number(micros / 1000).text(".").thousandths(micros % 1000);
    line.value()
}

/// A header's value being put together, mostly without memory of its own.
#[derive(Default)]
struct Line(SmallVec<[u8; 64]>);

impl Line {
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.text(itoa::Buffer::new().format(number))
    }

    /// Three digits.
    fn thousandths(&mut self, number: u64) -> &mut Self {
        let leading = if number < 10 {
            "00"
        } else if number < 100 {
            "0"
        } else {
            ""
        };
        self.text(leading).number(number)
    }

    fn value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| text(&String::from_utf8_lossy(&self.0)))
    }
}

/// A header value of visible characters; whatever a header cannot carry is left out.
pub(crate) fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| {
        let kept: String = value.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
        HeaderValue::from_str(&kept).unwrap_or(HeaderValue::from_static(""))
    })
}

/// A duration as the OpenAI SDKs read it: `250ms`, `1.5s`, `6m0s`.
pub(crate) fn go_duration(duration: Duration) -> String {
    String::from_utf8_lossy(&go_line(duration).0).into_owned()
}

fn go_line(duration: Duration) -> Line {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (seconds, part) = (milliseconds / 1000, milliseconds % 1000);
    let mut line = Line::default();
    match (seconds, part) {
        (0, part) => line.number(part).text("ms"),
        (seconds, 0) if seconds < 60 => line.number(seconds).text("s"),
        (seconds, part) if seconds < 60 => {
            line.number(seconds).text(".").thousandths(part);
            while line.0.last() == Some(&b'0') {
                line.0.pop();
            }
            line.text("s")
        }
        (seconds, _) => line.number(seconds / 60).text("m").number(seconds % 60).text("s"),
    };
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn credentials_and_hops_never_go_up() {
        let client = map(&[
            ("authorization", "Bearer tg-x"),
            ("x-api-key", "tg-x"),
            ("x-goog-api-key", "tg-x"),
            ("cookie", "a=b"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("x-tidegate-user", "me"),
            ("x-forwarded-for", "1.2.3.4"),
            ("openai-beta", "assistants=v2"),
            ("x-stainless-lang", "python"),
            ("idempotency-key", "k"),
        ]);
        let hops = hop_names(&client);
        let mut names: Vec<_> = upwards(&client, &hops).map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["openai-beta", "x-stainless-lang"]);
    }

    #[test]
    fn the_shared_account_is_not_told() {
        let provider = map(&[
            ("openai-organization", "acme"),
            ("set-cookie", "a"),
            ("openai-processing-ms", "12"),
            ("x-ratelimit-remaining-tokens", "5"),
            ("transfer-encoding", "chunked"),
            ("content-type", "application/json"),
        ]);
        let mut down = provider.clone();
        downwards(&mut down, true);
        assert_eq!(down.len(), 2);
        let mut down = provider;
        downwards(&mut down, false);
        assert!(down.contains_key("x-ratelimit-remaining-tokens"));
    }

    #[test]
    fn durations_read_like_the_sdks_own() {
        for (ms, text) in [
            (0, "0ms"),
            (250, "250ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (1050, "1.05s"),
            (1234, "1.234s"),
            (360_000, "6m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(ms)), text);
        }
    }
}
