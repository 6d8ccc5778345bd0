//! The opening handshake (RFC 6455 §4) on both sides.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Method, Request};
use ledger::Outcome;
use policy::{Deployment, Quirk, Timeouts};
use providers::failure::{self, Blame};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{PROTOCOL, config};
use crate::exchange::Exchange;
use crate::headers;
use crate::refusal::{Code, Refusal};
use crate::upstream::Upstream;
use crate::upstream::connect::Socket;
use crate::urls;

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
/// Of the protocols that OpenAI's clients offer, the one that is spoken.
const SPOKEN: &str = "realtime";

/// The value of `sec-websocket-accept`, or what is wrong with the request.
pub(super) fn accept(parts: &Parts) -> Result<HeaderValue, Box<Refusal>> {
    let bad = |message: &str| Refusal::new(Code::InvalidRequest, message);
    if parts.version >= http::Version::HTTP_2 {
        return Err(bad("sessions are opened with the upgrade of HTTP/1.1; this request came over HTTP/2"));
    }
    let has = |name: &HeaderName, token: &str| {
        let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
    };
    if !has(&UPGRADE, "websocket") || !has(&CONNECTION, "upgrade") {
        return Err(bad("this path takes a WebSocket: send `connection: upgrade` and `upgrade: websocket`"));
    }
    if parts.headers.get(&VERSION).is_none_or(|version| version != "13") {
        return Err(bad("`sec-websocket-version` must be 13"));
    }
    let mut keys = parts.headers.get_all(&KEY).iter();
    match (keys.next(), keys.next()) {
        // 16 bytes in base64.
        (Some(key), None) if key.len() == 24 => HeaderValue::try_from(derive_accept_key(key.as_bytes()))
            .map_err(|_| bad("`sec-websocket-key` is not valid")),
        _ => Err(bad("`sec-websocket-key` must be given once, 16 bytes in base64")),
    }
}

/// The protocol that is chosen among those offered. One that carries a key is never repeated.
pub(super) fn protocol(parts: &Parts) -> Option<HeaderValue> {
    let values = parts.headers.get_all(&PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut offered = values.flat_map(|value| value.split(',')).map(str::trim);
    offered.any(|one| one == SPOKEN).then(|| HeaderValue::from_static(SPOKEN))
}

/// The model in the query: `model`, or `deployment` as Azure's clients say it.
pub(super) fn model(query: Option<&str>) -> Option<String> {
    let find = |name: &str| query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let model = find("model").or_else(|| find("deployment"))?;
    Some(urls::unescape(&model.replace('+', " "))).filter(|model| !model.is_empty())
}

/// What is put to a provider.
pub(super) fn request(
    exchange: &Exchange,
    parts: &Parts,
    upstream: &Upstream,
    deployment: &Deployment,
) -> Result<Request<()>, Box<Refusal>> {
    let target = target(parts.uri.query(), deployment)?;
    let mut head = upstream.bare_request(None, &Method::GET, &target);
    let hops = headers::hop_names(&parts.headers);
    if !head.is_set(&headers::REQUEST_ID) {
        head.add(&headers::REQUEST_ID, &exchange.upstream_id());
    }
    for (name, value) in headers::upwards(&parts.headers, &hops) {
        if !head.is_set(name) {
            head.add(name, value);
        }
    }
    let unfit = || Refusal::new(Code::InternalError, "the request for a session cannot be written");
    let mut request = Request::builder()
        .method(Method::GET)
        // The library wants a whole address and writes its path alone; the host is in the lines below.
        .uri(format!("ws://provider{target}"))
        .body(())
        .map_err(|_| unfit())?;
    let lines = head.finish_bare();
    for line in lines.split(|byte| *byte == b'\n').skip(1) {
        let line = line.trim_ascii_end();
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| unfit())?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| unfit())?;
        request.headers_mut().append(name, value);
    }
    let own = request.headers_mut();
    own.remove(http::header::ACCEPT_ENCODING);
    own.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    own.insert(UPGRADE, HeaderValue::from_static("websocket"));
    own.insert(VERSION, HeaderValue::from_static("13"));
    own.insert(KEY, HeaderValue::try_from(generate_key()).map_err(|_| unfit())?);
    Ok(request)
}

/// Path and query: the provider's name of the model in place of the client's, the rest as it came.
fn target(query: Option<&str>, deployment: &Deployment) -> Result<String, Box<Refusal>> {
    let provider = &deployment.provider;
    let base = provider.endpoint(policy::Dialect::OpenAi).map_or("", |(base, _)| &**base);
    let ours = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        ["model", "deployment", "key", "api-version"].contains(&name) || name.is_empty()
    };
    let mut target = format!("{base}/realtime?");
    if provider.has(Quirk::DeploymentPaths) {
        let version = provider.api_version.as_deref().unwrap_or_default();
        target.push_str(&format!("api-version={version}&deployment="));
    } else {
        target.push_str("model=");
    }
    for byte in deployment.upstream_model.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) => {
                target.push(char::from(byte));
            }
            byte => target.push_str(&format!("%{byte:02X}")),
        }
    }
    for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !ours(pair)) {
        target.push('&');
        target.push_str(pair);
    }
    Ok(target)
}

/// Why a provider granted no session.
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) again: bool,
    pub(super) retry_after: Option<Duration>,
}

impl Failed {
    fn unreachable(message: String) -> Self {
        let code = Code::UpstreamUnreachable;
        Self { outcome: Outcome::NeverDispatched, code, message, again: true, retry_after: None }
    }

    fn late(message: String) -> Self {
        let code = Code::UpstreamTimeout;
        Self { outcome: Outcome::UpstreamFailed, code, message, again: true, retry_after: None }
    }
}

/// Connects to a provider and asks for the session.
pub(super) async fn dial(
    upstream: &Arc<Upstream>,
    request: Request<()>,
    limits: Timeouts,
) -> Result<WebSocketStream<Socket>, Failed> {
    let socket = match tokio::time::timeout(limits.connect, upstream.origin.connect()).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Err(Failed::unreachable(error.to_string())),
        Err(_) => {
            return Err(Failed::unreachable(format!(
                "no connection within {:?} (`connect`)",
                limits.connect
            )));
        }
    };
    let wait = limits.first_byte.min(limits.total);
    let asking = client_async_with_config(request, socket, Some(config()));
    match tokio::time::timeout(wait, asking).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(refused(error)),
        Err(_) => Err(Failed::late(format!("no answer within {wait:?} (`first_byte`)"))),
    }
}

/// The provider's refusal, as it blames.
fn refused(error: Error) -> Failed {
    let Error::Http(answer) = error else {
        let (outcome, code) = (Outcome::UpstreamFailed, Code::UpstreamClosed);
        return Failed { outcome, code, message: error.to_string(), again: true, retry_after: None };
    };
    let status = answer.status().as_u16();
    let find = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let failure = failure::classify(status, &find, answer.body().as_deref().unwrap_or_default());
    let said = failure.message.clone().unwrap_or_else(|| format!("status {status}"));
    let (code, message) = match failure.blame {
        Blame::Credential => (
            Code::UpstreamAuthentication,
            format!("it refused the gateway's credential (status {status}); the operator must mend it"),
        ),
        // Its own words may name the shared account.
        Blame::RateLimited => (Code::UpstreamRateLimited, "it limits its rate".to_owned()),
        Blame::Client => (Code::InvalidRequest, said),
        Blame::Timeout => (Code::UpstreamTimeout, said),
        Blame::Upstream | Blame::Overloaded => (Code::UpstreamError, said),
    };
    let (again, retry_after) = (failure.retryable, failure.retry_after);
    Failed { outcome: Outcome::Refused, code, message, again, retry_after }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parts(headers: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::builder().uri("/v1/realtime?model=x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn a_handshake_is_answered_as_the_standard_shows() {
        assert_eq!(accept(&parts(&GOOD)).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (without, named) in [
            ("connection", "upgrade"),
            ("upgrade", "upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "key"),
        ] {
            let rest: Vec<_> = GOOD.into_iter().filter(|(name, _)| *name != without).collect();
            let refusal = accept(&parts(&rest)).unwrap_err();
            assert!(refusal.message.contains(named), "{without}: {}", refusal.message);
        }
    }

    #[test]
    fn a_protocol_that_carries_a_key_is_never_repeated() {
        let offered = parts(&[(
            "sec-websocket-protocol",
            "openai-insecure-api-key.tg-1, realtime, openai-beta.realtime-v1",
        )]);
        assert_eq!(protocol(&offered).unwrap(), "realtime");
        assert_eq!(protocol(&parts(&[("sec-websocket-protocol", "openai-insecure-api-key.tg-1")])), None);
    }

    #[test]
    fn models_are_read_from_the_query() {
        assert_eq!(model(Some("api-version=1&deployment=a%2Fb")).as_deref(), Some("a/b"));
        assert_eq!(model(Some("model=x&deployment=y")).as_deref(), Some("x"));
        assert_eq!(model(Some("models=x&model=")), None);
        assert_eq!(model(None), None);
    }
}
