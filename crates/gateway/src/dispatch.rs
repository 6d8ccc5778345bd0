//! Makes the attempts of a plan, one after another, until one brings an answer.
//!
//! An attempt that fails before its first byte reached the client is no failure of the request: the next deployment of
//! the plan is tried. What the client did wrong is never tried again elsewhere.

mod order;
mod raw;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ledger::{Basis, Outcome, Reservation};
use policy::{Deployment, Moment, Money, Timeouts};
use providers::failure::{self, Blame, Failure};
use providers::request::Operation;
use smallvec::SmallVec;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::flight::{Flight, Trouble};
use crate::lanes::{self, Lane, NoAnswer};
use crate::plan::{self, Plan, Step};
use crate::refusal::{Code, Refusal};
use crate::relay::{self, FirstEvent, Relay};
use crate::settle::{self, Ending};
use crate::standing::{Fault, Told};
use crate::upstream::Upstream;
use crate::upstream::pool::{Call, Unreachable};
use crate::upstream::wire::{Head, Wire};
use crate::{Gateway, admit, headers, stored};
use verdict::{Verdict, class_of, refuse};

/// Of a provider's error at most this much is read and passed on.
const MAX_ERROR: usize = 256 * 1024;

/// The client's headers, and which of them were for one hop only.
struct Up<'a> {
    client: &'a HeaderMap,
    hops: Vec<HeaderName>,
}

/// An attempt that brought no answer.
struct Miss {
    exchange: Box<Exchange>,
    reservation: Option<Reservation>,
    verdict: Verdict,
    retryable: bool,
    retry_after: Option<Duration>,
    /// The provider says that it serves the model through Responses, which is known now.
    by_responses: bool,
    /// The input is too long for this model, and perhaps not for another.
    too_long: bool,
    /// What it says of its place.
    told: Told,
}

/// Runs the plan.
pub(crate) async fn dispatch(
    mut exchange: Box<Exchange>,
    client_headers: &HeaderMap,
    body: Bytes,
    plan: Plan,
    mut reservation: Reservation,
) -> http::Response<Body> {
    let gateway = Arc::clone(&exchange.gateway);
    let up = Up { client: client_headers, hops: headers::hop_names(client_headers) };
    let mut verdict = None;
    let mut left: SmallVec<[&Step; 4]> = plan.attempts.iter().collect();
    // What is put to its provider's other door.
    let mut turned: Option<&Step> = None;
    let mut made = 0;
    while let Some((step, visit)) = order::next(&gateway, &mut left, made, turned) {
        let deployment = &step.deployment;
        exchange.attempts += 1;
        exchange.deployment = Some(Arc::clone(deployment));
        let timeouts = exchange.within_limit(step.timeouts);
        let miss = match attempt(&gateway, exchange, deployment, timeouts, &up, &body, reservation).await {
            Ok(answer) => {
                visit.ended(Ok(()));
                return answer;
            }
            Err(miss) => *miss,
        };
        visit.ended(miss.told);
        exchange = miss.exchange;
        if let Some(late) = exchange.late() {
            verdict = Some((Verdict::Ours(late), false, None));
            break;
        }
        let turn = miss.by_responses && turned.is_none();
        made += usize::from(!turn);
        if miss.too_long {
            order::keep_longer(&mut left, step);
        }
        let again = turn || ((miss.retryable || miss.too_long) && made < plan::MAX_ATTEMPTS);
        verdict = Some((miss.verdict, miss.retryable, miss.retry_after));
        let Some(more) = miss.reservation.filter(|_| again) else { break };
        turned = turn.then_some(step);
        reservation = more;
    }
    refuse(exchange, verdict)
}

/// One attempt: intent in the ledger, call, answer.
async fn attempt(
    gateway: &Arc<Gateway>,
    mut exchange: Box<Exchange>,
    deployment: &Arc<Deployment>,
    timeouts: Timeouts,
    up: &Up<'_>,
    body: &Bytes,
    reservation: Reservation,
) -> Result<http::Response<Body>, Box<Miss>> {
    let durable = exchange.caller.key.record.durable;
    let upstream = match gateway.upstreams.of(&deployment.provider) {
        Ok(upstream) => upstream,
        Err(problem) => {
            tracing::error!(provider = %deployment.provider.name, %problem, "provider cannot be called");
            let refusal = Refusal::new(
                Code::UpstreamUnreachable,
                format!("provider `{}`: {problem}", deployment.provider.name),
            );
            return Err(unasked(exchange, reservation, refusal));
        }
    };
    let lane = match lanes::decide(&mut exchange, deployment, body) {
        Ok(lane) => lane,
        Err(refusal) => return Err(unasked(exchange, reservation, refusal)),
    };
    let (head, body) = match build(&mut exchange, lane, deployment, &upstream, up, body) {
        Ok(request) => request,
        Err(refusal) => return Err(unasked(exchange, reservation, refusal)),
    };
    let intent = admit::intent(&mut exchange, deployment);
    let opened = match gateway.ledger.begin(intent, reservation, durable) {
        Ok(opened) => opened,
        Err(error) => return Err(unrecorded(exchange, &error)),
    };
    let mut flight = Box::new(Flight::new(exchange, opened, Arc::clone(deployment), timeouts, lane));
    if durable && let Err(error) = gateway.ledger.sync().await {
        let (exchange, _) = flight.fail(Outcome::NeverDispatched);
        return Err(unrecorded(exchange, &error));
    }
    let now = gateway.clock.moment();
    let wire = match upstream.origin.take_idle(now) {
        Some(wire) => wire,
        // A new connection is rare; boxed, its state does not make every request's larger.
        None => match Box::pin(connect(&upstream, timeouts.connect, now)).await {
            Ok(wire) => wire,
            Err((what, full)) => return Err(unreachable(flight, &what, full)),
        },
    };
    flight.depart(Call::send(&upstream.origin, wire, head, body));
    answer_of(flight).await
}

/// An attempt that could not even be put to its provider: another may take it.
fn unasked(exchange: Box<Exchange>, reservation: Reservation, refusal: Box<Refusal>) -> Box<Miss> {
    Box::new(Miss {
        exchange,
        reservation: Some(reservation),
        verdict: Verdict::Ours(refusal),
        retryable: true,
        retry_after: None,
        by_responses: false,
        too_long: false,
        told: Err(None),
    })
}

/// Opens a connection in time, or says in words why there is none, and whether all were in use.
async fn connect(
    upstream: &Upstream,
    limit: Duration,
    now: Moment,
) -> Result<(Wire, tokio::sync::OwnedSemaphorePermit), (String, bool)> {
    match tokio::time::timeout(limit, upstream.origin.take(now)).await {
        Ok(Ok(wire)) => Ok(wire),
        Ok(Err(error)) => Err((error.to_string(), matches!(error, Unreachable::Full))),
        Err(_) => Err((format!("no connection within {limit:?} (`connect`)"), false)),
    }
}

fn unrecorded(exchange: Box<Exchange>, error: &ledger::SpoolUnavailable) -> Box<Miss> {
    tracing::error!(%error, "a call could not be recorded and was not made");
    let refusal = Refusal::new(
        Code::AccountingUnavailable,
        format!("the call could not be recorded, so it was not made: {error}"),
    );
    let verdict = Verdict::Ours(refusal.after(Duration::from_secs(1)));
    Box::new(Miss {
        exchange,
        reservation: None,
        verdict,
        retryable: false,
        retry_after: None,
        by_responses: false,
        too_long: false,
        told: Err(None),
    })
}

fn unreachable(flight: Box<Flight>, what: &str, full: bool) -> Box<Miss> {
    let provider = Arc::clone(&flight.deployment.provider.name);
    tracing::warn!(%provider, "provider unreachable: {what}");
    let code = if full { Code::Overloaded } else { Code::UpstreamUnreachable };
    let refusal = Refusal::new(code, format!("provider `{provider}`: {what}"));
    // That all connections are in use is not its fault.
    let told = Err((!full).then_some(Fault::Failed));
    miss(flight, Outcome::NeverDispatched, told, Verdict::Ours(refusal), true, None)
}

fn miss(
    flight: Box<Flight>,
    outcome: Outcome,
    told: Told,
    verdict: Verdict,
    retryable: bool,
    retry_after: Option<Duration>,
) -> Box<Miss> {
    let (exchange, reservation) = flight.fail(outcome);
    Box::new(Miss {
        exchange,
        reservation,
        verdict,
        retryable,
        retry_after,
        by_responses: false,
        too_long: false,
        told,
    })
}

fn troubled(flight: Box<Flight>, trouble: &Trouble) -> Box<Miss> {
    let provider = Arc::clone(&flight.deployment.provider.name);
    if !matches!(trouble, Trouble::Stopping) {
        tracing::warn!(%provider, reused = flight.on_reused_connection(), "attempt failed: {trouble}");
    }
    let refusal = trouble.refusal(&provider);
    let retryable = !matches!(trouble, Trouble::Stopping | Trouble::Total(_));
    miss(flight, Outcome::UpstreamFailed, trouble.told(), Verdict::Ours(refusal), retryable, None)
}

/// The request as the provider gets it (head and body): our credential, no compression, and the client's own bytes
/// but for the edited spans, or what they are in the provider's dialect.
fn build(
    exchange: &mut Exchange,
    lane: Lane,
    deployment: &Deployment,
    upstream: &Upstream,
    up: &Up<'_>,
    body: &Bytes,
) -> Result<(Bytes, Bytes), Box<Refusal>> {
    if let (Operation::Raw(raw), Lane::Same) = (exchange.operation, lane) {
        return raw::build(exchange, raw, deployment, upstream, up, body);
    }
    let body = lanes::body(exchange, lane, deployment, body)?;
    let target = upstream.target(exchange, lane, deployment)?;
    let mut head = upstream.request(lane.spoken(exchange.operation), &http::Method::POST, &target);
    if !head.is_set(&ACCEPT) {
        let accept =
            if exchange.asked.stream { "text/event-stream, application/json" } else { "application/json" };
        head.add(&ACCEPT, &HeaderValue::from_static(accept));
    }
    if !head.is_set(&headers::REQUEST_ID) {
        head.add(&headers::REQUEST_ID, &exchange.upstream_id());
    }
    for (name, value) in &body.headers {
        let name = HeaderName::from_static(name);
        if !head.is_set(&name) && (lane != Lane::Same || !up.client.contains_key(&name)) {
            head.add(&name, &headers::text(value));
        }
    }
    for (name, value) in headers::upwards(up.client, &up.hops) {
        let foreign = lane != Lane::Same && headers::is_of_a_dialect(name.as_str());
        if !foreign && !head.is_set(name) {
            head.add(name, value);
        }
    }
    Ok((head.finish(body.bytes.len()), body.bytes))
}

/// From the head of the provider's answer to the client's.
async fn answer_of(mut flight: Box<Flight>) -> Result<http::Response<Body>, Box<Miss>> {
    let head = match std::future::poll_fn(|context| flight.poll_head(context)).await {
        Ok(head) => head,
        Err(trouble) => return Err(troubled(flight, &trouble)),
    };
    runtime::failpoint!("gateway.first_byte");
    let upstream_id =
        head.headers.get(headers::REQUEST_ID).or_else(|| head.headers.get(headers::REQUEST_ID_SHORT));
    flight.exchange().upstream_request_id = upstream_id.and_then(|id| id.to_str().ok()).map(Into::into);
    let lane = flight.lane;
    let raw = match flight.exchange().operation {
        Operation::Raw(raw) if lane == Lane::Same => Some(raw),
        _ => None,
    };
    if let Some(raw) = raw.filter(|_| raw::is_answer(head.status)) {
        return Box::pin(raw::answer(flight, raw, head)).await;
    }
    if !head.status.is_success() {
        return Err(Box::pin(refused(flight, head)).await);
    }
    let vectors = matches!(lane, Lane::Vectors { .. });
    if flight.exchange().asked.stream && !vectors && flight.exchange().operation != Operation::Embeddings {
        streamed(flight, head).await
    } else {
        whole(flight, head).await
    }
}

/// The provider answered with an error status.
async fn refused(mut flight: Box<Flight>, head: Head) -> Box<Miss> {
    let body = match relay::whole(&mut flight, MAX_ERROR).await {
        Ok(body) => {
            flight.land(None);
            body
        }
        Err(trouble) => {
            tracing::debug!(%trouble, "the text of a provider's error was not read to its end");
            Bytes::new()
        }
    };
    let find = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let failure = failure::classify(head.status.as_u16(), &find, &body);
    let by_responses = lanes::learn(&mut flight, head.status.as_u16(), &body);
    let mut miss = failed(flight, head, body, &failure);
    miss.by_responses = by_responses;
    miss
}

fn failed(mut flight: Box<Flight>, head: Head, body: Bytes, failure: &Failure) -> Box<Miss> {
    let provider = Arc::clone(&flight.deployment.provider.name);
    let status = head.status.as_u16();
    if failure.blame != Blame::Client {
        tracing::warn!(%provider, status, blame = ?failure.blame, "provider refused an attempt");
    }
    // Known by other means than a body of an error.
    let told_aside = body.is_empty() && failure.message.is_some();
    // What is no conversation may be refused in any form.
    let readable = body.first() == Some(&b'{') || matches!(flight.exchange().operation, Operation::Raw(_));
    let verdict = match failure.blame {
        Blame::Credential => Verdict::Ours(Refusal::new(
            Code::UpstreamAuthentication,
            format!(
                "provider `{provider}` {} (status {status}); the operator must mend it",
                if failure.is_out_of_credit(status) {
                    "says that the gateway's account has nothing left to spend"
                } else {
                    "refused the gateway's credential"
                }
            ),
        )),
        // The provider's own words may name the shared account.
        Blame::RateLimited => {
            let refusal =
                Refusal::new(Code::UpstreamRateLimited, format!("provider `{provider}` limits its rate"));
            Verdict::Ours(refusal)
        }
        _ if status >= 400 && (flight.lane != Lane::Same || told_aside) => Verdict::Retold {
            blame: failure.blame,
            status,
            message: failure
                .message
                .clone()
                .unwrap_or_else(|| format!("provider `{provider}` answered with status {status}")),
            code: failure.code.clone().unwrap_or_else(|| class_of(failure.blame).name().to_owned()),
        },
        _ if readable && status >= 400 => Verdict::Theirs {
            blame: failure.blame,
            status,
            content_type: head.headers.get(CONTENT_TYPE).cloned(),
            headers: head.headers,
            body,
        },
        _ => Verdict::Ours(Refusal::new(
            Code::UpstreamError,
            format!("provider `{provider}` answered with status {status} and no readable error"),
        )),
    };
    let told = order::told(failure, status);
    // What an operator must mend does not mend itself by waiting.
    let wait = failure.retry_after.filter(|_| failure.blame != Blame::Credential);
    let mut miss = miss(flight, Outcome::Refused, told, verdict, failure.retryable, wait);
    miss.too_long = failure.is_too_long();
    miss
}

/// An error object where an answer should be: the status 200 was not true. `known` is what the dialect's reader made of it.
fn false_success(
    flight: Box<Flight>,
    head: Head,
    body: Bytes,
    known: Option<(Option<String>, Option<String>)>,
) -> Box<Miss> {
    let none = |_: &str| None;
    let first = failure::classify(502, &none, &body);
    let (message, code) = known.unwrap_or_default();
    let code = code.or(first.code);
    let status = failure::status_within(code.as_deref());
    let mut failure = failure::classify(status, &none, &body);
    // Whoever does not say what it is may be better elsewhere.
    failure.retryable |= status == 502;
    (failure.message, failure.code) = (message.or(failure.message), code);
    let mut head = head;
    head.status = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    failed(flight, head, body, &failure)
}

async fn streamed(mut flight: Box<Flight>, head: Head) -> Result<http::Response<Body>, Box<Miss>> {
    let exchange = flight.exchange();
    let swallow_usage = !exchange.asked.include_usage;
    let (lane, deployment) = (flight.lane, Arc::clone(&flight.deployment));
    flight.flow = Some(lanes::flow(flight.exchange(), lane, &deployment, swallow_usage));
    if !is_event_stream(&head.headers) {
        return Err(Box::pin(not_a_stream(flight, head)).await);
    }
    let ready = match relay::first_event(&mut flight).await {
        Ok(ready) => ready,
        Err(FirstEvent::Trouble(trouble)) => return Err(troubled(flight, &trouble)),
        Err(FirstEvent::Error { raw, message, code }) if flight.lane == Lane::Same => {
            let known = Some((message, code));
            // What Responses sends in a stream is no body of an error.
            let of_events = flight.exchange().operation == Operation::Responses;
            let body = if of_events { Bytes::new() } else { error_object(&raw) };
            return Err(false_success(flight, head, body, known));
        }
        Err(FirstEvent::Error { message, code, .. }) => {
            return Err(false_success(flight, head, Bytes::new(), Some((message, code))));
        }
    };
    let first = flight.last_byte();
    let exchange = flight.exchange();
    exchange.times.first_byte = Some(first);
    if exchange.stored.is_some() {
        Box::pin(stored::note_stream(exchange, lane, &ready)).await;
    }
    let now = exchange.gateway.clock.moment();
    let waited = exchange.times.dispatched;
    let own = exchange.own_time(now, waited).saturating_add(now.since(first));
    let mut answer = http::Response::new(());
    *answer.headers_mut() = head.headers;
    let down = answer.headers_mut();
    if lane == Lane::Same {
        headers::downwards(down, exchange.requests_standing.is_some());
        headers::without_empty_limits(exchange, down);
    } else {
        down.clear();
    }
    if exchange.as_array {
        down.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    down.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/event-stream"));
    down.entry(http::header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    headers::add_ours(exchange, down, own);
    let relay = Box::new(Relay::new(flight, ready));
    Ok(answer.map(|()| Body::stream(relay)))
}

fn is_event_stream(head: &HeaderMap) -> bool {
    // Some servers leave the type out; only a type that says something else is believed.
    head.get(CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/event-stream"))
}

/// A stream was asked for and something else came.
async fn not_a_stream(mut flight: Box<Flight>, head: Head) -> Box<Miss> {
    match relay::whole(&mut flight, MAX_ERROR).await {
        Ok(body) => {
            let (lane, deployment) = (flight.lane, Arc::clone(&flight.deployment));
            match lanes::whole(flight.exchange(), lane, &deployment, body.clone()) {
                Err(NoAnswer::Error) => {
                    flight.land(None);
                    false_success(flight, head, body, None)
                }
                _ => {
                    let what = "a stream was asked for and something else came".to_owned();
                    troubled(flight, &Trouble::NotAnAnswer(what))
                }
            }
        }
        Err(trouble) => troubled(flight, &trouble),
    }
}

/// The JSON of an event's data lines.
fn error_object(event: &Bytes) -> Bytes {
    let start = memchr::memchr(b'{', event).unwrap_or(0);
    let end = memchr::memrchr(b'}', event).map_or(event.len(), |at| at + 1);
    event.slice(start..end.max(start))
}

async fn whole(mut flight: Box<Flight>, head: Head) -> Result<http::Response<Body>, Box<Miss>> {
    let body = match relay::whole(&mut flight, relay::MAX_WHOLE).await {
        Ok(body) => body,
        Err(trouble) => return Err(troubled(flight, &trouble)),
    };
    let (operation, lane, deployment) =
        (flight.exchange().operation, flight.lane, Arc::clone(&flight.deployment));
    if let Some(id) = stored::watch::going(flight.exchange(), lane, &body) {
        return Ok(Box::pin(in_background(flight, head, body, id)).await);
    }
    let read = match lanes::whole(flight.exchange(), lane, &deployment, body.clone()) {
        Ok(read) => read,
        Err(NoAnswer::Error) => {
            flight.land(None);
            return Err(false_success(flight, head, body, None));
        }
        Err(NoAnswer::Other(error)) => {
            flight.land(None);
            let what = format!("the answer is not the JSON that was asked for: {error}");
            return Err(troubled(flight, &Trouble::NotAnAnswer(what)));
        }
    };
    flight.land(None);
    let first = flight.last_byte();
    let exchange = flight.exchange();
    exchange.times.first_byte = Some(first);
    let told = read.usage.map(|usage| {
        let mut usage = settle::usage_of(usage);
        if operation == Operation::Embeddings {
            usage.output = usage.output.or(Some(0));
        }
        usage
    });
    let (usage, basis) = match (lane, told) {
        (Lane::Vectors { .. }, None) => (policy::Usage::default(), Basis::Unreported),
        _ => {
            let (input, output) = (exchange.asked.input_estimate, read.output_estimate);
            settle::complete_usage(told, input, output, Basis::Unreported)
        }
    };
    let cost = settle::cost(&deployment, &usage);
    let mut ending = Ending::completed(usage, basis, read.finish_reason);
    ending.answer = exchange.request_body.is_some().then(|| read.body.clone());
    flight.settle(&ending);
    sync_if_durable(&mut flight).await;
    let exchange = flight.exchange();
    if exchange.stored.is_some() {
        Box::pin(stored::keep_whole(exchange, lane, &read.body)).await;
    }
    exchange.permit = None;
    let answer = tell(exchange, lane, head, read.body, cost, first);
    runtime::failpoint!("gateway.ack");
    Ok(answer)
}

/// A whole answer as the client gets it.
fn tell(
    exchange: &Exchange,
    lane: Lane,
    head: Head,
    body: Bytes,
    cost: Option<Money>,
    first: Moment,
) -> http::Response<Body> {
    let now = exchange.gateway.clock.moment();
    let own = exchange.own_time(now, exchange.times.dispatched).saturating_add(now.since(first));
    let mut answer = http::Response::new(Body::whole(body));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    let down = answer.headers_mut();
    if lane == Lane::Same {
        headers::downwards(down, exchange.requests_standing.is_some());
        headers::without_empty_limits(exchange, down);
    } else {
        down.clear();
    }
    down.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    headers::add_ours(exchange, down, own);
    if let Some(cost) = cost {
        down.insert(headers::COST, headers::text(&cost.decimal()));
    }
    answer
}

/// The provider goes on without us: its word that it does is the answer, and the attempt stays open.
async fn in_background(mut flight: Box<Flight>, head: Head, body: Bytes, id: String) -> http::Response<Body> {
    flight.land(None);
    let (lane, first) = (flight.lane, flight.last_byte());
    let exchange = flight.exchange();
    exchange.times.first_byte = Some(first);
    stored::keep_whole(exchange, lane, &body).await;
    let answer = tell(exchange, lane, head, body, None, first);
    stored::watch::begin(flight, id);
    answer
}

async fn sync_if_durable(flight: &mut Flight) {
    let exchange = flight.exchange();
    if exchange.caller.key.record.durable {
        let ledger = exchange.gateway.ledger.clone();
        if let Err(error) = ledger.sync().await {
            tracing::error!(%error, "a durable key's settlement is not yet safe against loss of power");
        }
    }
}
