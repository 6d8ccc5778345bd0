//! An attempt of a call that is no conversation: its request with the client's own bytes, and its answer as it came.
//!
//! A whole JSON answer is read before it goes on, so that its cost is known when its head is sent. Anything else is
//! relayed as it comes, and the client's pace is the provider's. Nothing is ever added to such an answer: where it breaks
//! off, the connection to the client does too.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use http::{Method, Response, StatusCode};
use policy::Deployment;
use providers::dialects::Dialect;
use providers::flow::Flow;
use providers::flow::passing::{Kind, Passing, usage_in};
use providers::request::Raw;
use smallvec::smallvec;

use super::{Miss, Up, sync_if_durable, troubled};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::flight::Flight;
use crate::raw::addresses;
use crate::refusal::{Code, Refusal};
use crate::relay::{self, Relay};
use crate::settle::{self, Ending};
use crate::upstream::Upstream;
use crate::upstream::wire::Head;
use crate::{headers, raw};

/// The request as the provider gets it, head and body.
pub(super) fn build(
    exchange: &Exchange,
    raw: Raw,
    deployment: &Deployment,
    upstream: &Upstream,
    up: &Up<'_>,
    body: &Bytes,
) -> Result<(Bytes, Bytes), Box<Refusal>> {
    let Some(wanted) = exchange.raw.as_deref() else {
        return Err(Refusal::new(Code::InternalError, "nothing was asked"));
    };
    let target = raw::target(wanted, raw, upstream, deployment)?;
    let body = raw::body(exchange, wanted, deployment, body);
    let mut head = upstream.bare_request(raw.dialect(), &wanted.method, &target);
    // Where the gateway promises nothing itself under an idempotency key, the provider may.
    let promised = exchange.recall.noted.is_some();
    let names = [ACCEPT, CONTENT_TYPE, headers::IDEMPOTENCY_KEY];
    for name in names.into_iter().filter(|name| !promised || *name != headers::IDEMPOTENCY_KEY) {
        if let Some(value) = up.client.get(&name)
            && !head.is_set(&name)
        {
            head.add(&name, value);
        }
    }
    if !head.is_set(&headers::REQUEST_ID) {
        head.add(&headers::REQUEST_ID, &exchange.upstream_id());
    }
    let version = HeaderName::from_static("anthropic-version");
    if raw.dialect() == Some(Dialect::Messages) && !head.is_set(&version) && !up.client.contains_key(&version)
    {
        head.add(&version, &HeaderValue::from_static("2023-06-01"));
    }
    for (name, value) in headers::upwards(up.client, &up.hops) {
        if !head.is_set(name) {
            head.add(name, value);
        }
    }
    let bodiless = body.is_empty() && ![Method::POST, Method::PUT, Method::PATCH].contains(&wanted.method);
    Ok((if bodiless { head.finish_bare() } else { head.finish(body.len()) }, body))
}

/// From the head of an answer that is no error to the client's.
pub(super) async fn answer(
    mut flight: Box<Flight>,
    raw: Raw,
    head: Head,
) -> Result<Response<Body>, Box<Miss>> {
    let kind = Kind::of(head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes));
    if kind == Kind::Json && is_whole(raw, &head.headers) {
        return match relay::whole(&mut flight, relay::MAX_WHOLE).await {
            Ok(body) => Ok(whole(flight, raw, head, body).await),
            Err(trouble) => Err(troubled(flight, &trouble)),
        };
    }
    flight.flow = Some(Flow::Passing(Box::new(Passing::new(kind))));
    let first = match flight.chunk().await {
        Ok(Some(chunk)) => chunk,
        Ok(None) => return Ok(whole(flight, raw, head, Bytes::new()).await),
        Err(trouble) => return Err(troubled(flight, &trouble)),
    };
    let mut ready = smallvec![];
    if let Some(flow) = flight.flow.as_mut() {
        // This flow takes whatever comes.
        let _ = flow.push(first, &mut ready);
    }
    let first = flight.last_byte();
    let deployment = Arc::clone(&flight.deployment);
    let exchange = flight.exchange();
    exchange.times.first_byte = Some(first);
    let now = exchange.gateway.clock.moment();
    let own = exchange.own_time(now, exchange.times.dispatched).saturating_add(now.since(first));
    let mut answer = Response::new(());
    *answer.status_mut() = head.status;
    *answer.headers_mut() = downwards(exchange, &deployment, head.headers);
    headers::add_ours(exchange, answer.headers_mut(), own);
    let relay = Box::new(Relay::new(flight, ready, None));
    Ok(answer.map(|()| Body::stream(relay)))
}

/// Whether a JSON answer is read to its end first: what is long or may come slowly is not.
fn is_whole(raw: Raw, head: &HeaderMap) -> bool {
    let length = head.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
    let most = relay::MAX_WHOLE;
    let short = !raw.is_of_a_provider() || raw == Raw::MessageBatches;
    length.map_or(short, |length: usize| length <= most)
}

/// Answers with a body that is there; accounted for before.
async fn whole(mut flight: Box<Flight>, raw: Raw, head: Head, body: Bytes) -> Response<Body> {
    flight.land(None);
    let first = flight.last_byte();
    let deployment = Arc::clone(&flight.deployment);
    let (usage, basis) = raw::usage(raw, told(raw, &body).map(settle::usage_of));
    let cost = settle::cost(&deployment, &usage);
    let exchange = flight.exchange();
    exchange.times.first_byte = Some(first);
    let mut ending = Ending::completed(usage, basis, None);
    ending.status = head.status.as_u16();
    ending.answer = exchange.request_body.is_some().then(|| body.clone());
    flight.settle(&ending);
    sync_if_durable(&mut flight).await;
    let exchange = flight.exchange();
    exchange.leave();
    let now = exchange.gateway.clock.moment();
    let own = exchange.own_time(now, exchange.times.dispatched).saturating_add(now.since(first));
    // An answer to HEAD tells a length that it does not have.
    let length = head.headers.get(CONTENT_LENGTH).filter(|_| body.is_empty()).cloned();
    let here = exchange.raw.as_ref().and_then(|wanted| wanted.here.as_deref());
    let body = here.and_then(|here| addresses::of_results(&body, here)).unwrap_or(body);
    let mut answer = Response::new(Body::whole(body));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = downwards(exchange, &deployment, head.headers);
    let down = answer.headers_mut();
    if let Some(length) = length.filter(|_| exchange.raw.as_ref().is_some_and(|w| w.method == Method::HEAD)) {
        down.insert(CONTENT_LENGTH, length);
    }
    headers::add_ours(exchange, down, own);
    if let Some(cost) = cost {
        down.insert(headers::COST, headers::text(&cost.decimal()));
    }
    answer
}

/// The usage that a whole answer tells, by whichever names.
fn told(raw: Raw, body: &[u8]) -> Option<providers::Usage> {
    let vectors = || providers::vectors::counted(body).usage().filter(|_| raw.is_of_vectors());
    usage_in(body).or_else(vectors)
}

/// The provider's headers; how its body is encoded stays true.
fn downwards(exchange: &Exchange, deployment: &Deployment, mut head: HeaderMap) -> HeaderMap {
    let encoding = head.get(CONTENT_ENCODING).cloned();
    headers::downwards(&mut head, exchange.requests_standing.is_some());
    headers::without_empty_limits(exchange, &mut head);
    if let Some(encoding) = encoding {
        head.insert(CONTENT_ENCODING, encoding);
    }
    raw::lead_uploads_here(exchange, deployment, &mut head);
    head
}

/// Whether a status is for the client as it is: a success, and what a client asked for by its own headers or must follow.
pub(super) fn is_answer(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}
