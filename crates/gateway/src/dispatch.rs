//! Makes the attempts of a plan, one after another, until one brings an answer.
//!
//! An attempt that fails before its first byte reached the client is no failure of the request: the next deployment of
//! the plan is tried. What the client did wrong is never tried again elsewhere.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ledger::{Basis, Intent, Outcome, Reservation};
use policy::{Deployment, Timeouts};
use providers::answer;
use providers::failure::{self, Blame, Failure};
use providers::request::{Edits, Operation, rewrite};
use providers::tap::{Tap, TapOptions};

use crate::body::Body;
use crate::exchange::Exchange;
use crate::flight::{Flight, Trouble};
use crate::plan::Plan;
use crate::refusal::{Code, Refusal, SHOULD_RETRY, tell_wait};
use crate::relay::{self, FirstEvent, Relay};
use crate::settle::{self, Ending};
use crate::upstream::Upstream;
use crate::upstream::pool::{Call, Unreachable};
use crate::upstream::wire::{Head, Wire};
use crate::{admit, headers};

/// Of a provider's error at most this much is read and passed on.
const MAX_ERROR: usize = 256 * 1024;

/// What a failed request tells its client: our own words, or the provider's.
enum Verdict {
    Ours(Box<Refusal>),
    Theirs { blame: Blame, status: u16, content_type: Option<HeaderValue>, headers: HeaderMap, body: Bytes },
}

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
}

/// Runs the plan.
pub(crate) async fn dispatch(
    mut exchange: Box<Exchange>,
    client_headers: &HeaderMap,
    body: Bytes,
    plan: Plan,
    mut reservation: Reservation,
) -> http::Response<Body> {
    let up = Up { client: client_headers, hops: headers::hop_names(client_headers) };
    let mut verdict = None;
    let last = plan.attempts.len().saturating_sub(1);
    for (at, step) in plan.attempts.iter().enumerate() {
        let deployment = &step.deployment;
        exchange.attempts += 1;
        exchange.deployment = Some(Arc::clone(deployment));
        let timeouts = exchange.within_limit(step.timeouts);
        let miss = match attempt(exchange, deployment, timeouts, &up, &body, reservation).await {
            Ok(answer) => return answer,
            Err(miss) => *miss,
        };
        exchange = miss.exchange;
        if let Some(late) = exchange.late() {
            verdict = Some((Verdict::Ours(late), false, None));
            break;
        }
        let again = miss.retryable && at < last;
        verdict = Some((miss.verdict, miss.retryable, miss.retry_after));
        let Some(left) = miss.reservation else { break };
        if !again {
            break;
        }
        reservation = left;
    }
    refuse(exchange, verdict)
}

/// The answer to a request whose attempts have all failed.
fn refuse(
    mut exchange: Box<Exchange>,
    verdict: Option<(Verdict, bool, Option<Duration>)>,
) -> http::Response<Body> {
    let (verdict, retryable, wait) = verdict.unwrap_or_else(|| {
        (Verdict::Ours(Refusal::new(Code::InternalError, "no attempt was made")), false, None)
    });
    let now = exchange.gateway.clock.moment();
    let (mut answer, error) = match verdict {
        Verdict::Ours(refusal) => (refusal.answer(), refusal.code_name()),
        Verdict::Theirs { blame, status, content_type, headers, body } => {
            let mut answer = http::Response::new(Body::whole(body));
            *answer.status_mut() =
                http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
            *answer.headers_mut() = headers;
            headers::downwards(answer.headers_mut(), exchange.requests_standing.is_some());
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
    let own = exchange.own_time(now, None);
    headers::add_ours(&exchange, answer.headers_mut(), own);
    settle::log_refused(&mut exchange, answer.status().as_u16(), error);
    answer
}

/// Under which code of the table a provider's own refusal is logged: who must act.
fn class_of(blame: Blame) -> Code {
    match blame {
        Blame::Client => Code::InvalidRequest,
        Blame::Credential => Code::UpstreamAuthentication,
        Blame::RateLimited => Code::UpstreamRateLimited,
        Blame::Timeout => Code::UpstreamTimeout,
        Blame::Upstream | Blame::Overloaded => Code::UpstreamError,
    }
}

/// One attempt: intent in the ledger, call, answer.
async fn attempt(
    exchange: Box<Exchange>,
    deployment: &Arc<Deployment>,
    timeouts: Timeouts,
    up: &Up<'_>,
    body: &Bytes,
    reservation: Reservation,
) -> Result<http::Response<Body>, Box<Miss>> {
    let gateway = Arc::clone(&exchange.gateway);
    let durable = exchange.caller.key.record.durable;
    let upstream = match gateway.upstreams.of(&deployment.provider) {
        Ok(upstream) => upstream,
        Err(problem) => {
            tracing::error!(provider = %deployment.provider.name, %problem, "provider cannot be called");
            let refusal = Refusal::new(
                Code::UpstreamUnreachable,
                format!("provider `{}`: {problem}", deployment.provider.name),
            );
            return Err(Box::new(Miss {
                exchange,
                reservation: Some(reservation),
                verdict: Verdict::Ours(refusal),
                retryable: true,
                retry_after: None,
            }));
        }
    };
    let (head, body) = build(&exchange, deployment, &upstream, up, body);
    let intent = intent(&exchange, deployment);
    let opened = match gateway.ledger.begin(intent, reservation, durable) {
        Ok(opened) => opened,
        Err(error) => return Err(unrecorded(exchange, &error)),
    };
    let mut flight = Box::new(Flight::new(exchange, opened, Arc::clone(deployment), timeouts));
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

/// Opens a connection in time, or says in words why there is none, and whether all were in use.
async fn connect(
    upstream: &Upstream,
    limit: Duration,
    now: policy::Moment,
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
    Box::new(Miss { exchange, reservation: None, verdict, retryable: false, retry_after: None })
}

fn unreachable(flight: Box<Flight>, what: &str, full: bool) -> Box<Miss> {
    let provider = Arc::clone(&flight.deployment.provider.name);
    tracing::warn!(%provider, "provider unreachable: {what}");
    let code = if full { Code::Overloaded } else { Code::UpstreamUnreachable };
    let refusal = Refusal::new(code, format!("provider `{provider}`: {what}"));
    miss(flight, Outcome::NeverDispatched, Verdict::Ours(refusal), true, None)
}

fn miss(
    flight: Box<Flight>,
    outcome: Outcome,
    verdict: Verdict,
    retryable: bool,
    retry_after: Option<Duration>,
) -> Box<Miss> {
    let (exchange, reservation) = flight.fail(outcome);
    Box::new(Miss { exchange, reservation, verdict, retryable, retry_after })
}

fn troubled(flight: Box<Flight>, trouble: &Trouble) -> Box<Miss> {
    let provider = Arc::clone(&flight.deployment.provider.name);
    if !matches!(trouble, Trouble::Stopping) {
        tracing::warn!(%provider, reused = flight.on_reused_connection(), "attempt failed: {trouble}");
    }
    let refusal = trouble.refusal(&provider);
    let retryable = !matches!(trouble, Trouble::Stopping | Trouble::Total(_));
    miss(flight, Outcome::UpstreamFailed, Verdict::Ours(refusal), retryable, None)
}

/// The request as the provider gets it: the client's bytes but for the edited spans, our credential, no compression.
fn build(
    exchange: &Exchange,
    deployment: &Deployment,
    upstream: &Upstream,
    up: &Up<'_>,
    body: &Bytes,
) -> (Bytes, Bytes) {
    let asked = &exchange.asked;
    let edits = Edits {
        model: (asked.model != *deployment.upstream_model).then_some(&*deployment.upstream_model),
        include_usage: asked.stream && !asked.include_usage && deployment.provider.stream_usage,
        remove_models: !asked.fallbacks.is_empty(),
    };
    let body = rewrite(body, asked, &edits);
    let mut head = upstream.request(&http::Method::POST, upstream.path(exchange.operation));
    if !head.is_set(&ACCEPT) {
        let accept = if asked.stream { "text/event-stream, application/json" } else { "application/json" };
        head.add(&ACCEPT, &HeaderValue::from_static(accept));
    }
    if !head.is_set(&headers::REQUEST_ID) {
        head.add(&headers::REQUEST_ID, &exchange.upstream_id());
    }
    for (name, value) in headers::upwards(up.client, &up.hops) {
        if !head.is_set(name) {
            head.add(name, value);
        }
    }
    (head.finish(body.len()), body)
}

fn intent(exchange: &Exchange, deployment: &Arc<Deployment>) -> Intent {
    let output_cap = admit::output_bound(exchange, deployment);
    Intent {
        request_id: exchange.id,
        attempt_no: exchange.attempts,
        at: exchange.at,
        labels: Arc::clone(&exchange.labels),
        provider: Arc::clone(&deployment.provider.name),
        model: Arc::clone(&deployment.name),
        price: deployment.price.clone(),
        input_bound: exchange.asked.input_bound,
        input_estimate: exchange.asked.input_estimate,
        output_cap: Some(output_cap),
        endpoint: exchange.gateway.endpoint_name(exchange.operation),
        model_asked: Arc::clone(&exchange.model_asked),
        stream: exchange.asked.stream,
        end_user: exchange.end_user.clone(),
        session: exchange.session.clone(),
        tags: exchange.tags.clone(),
    }
}

/// From the head of the provider's answer to the client's.
async fn answer_of(mut flight: Box<Flight>) -> Result<http::Response<Body>, Box<Miss>> {
    let head = match std::future::poll_fn(|context| flight.poll_head(context)).await {
        Ok(head) => head,
        Err(trouble) => return Err(troubled(flight, &trouble)),
    };
    runtime::failpoint!("gateway.first_byte");
    let upstream_id = head.headers.get("x-request-id").or_else(|| head.headers.get("request-id"));
    flight.exchange().upstream_request_id = upstream_id.and_then(|id| id.to_str().ok()).map(Into::into);
    if !head.status.is_success() {
        return Err(Box::pin(refused(flight, head)).await);
    }
    if flight.exchange().asked.stream && flight.exchange().operation != Operation::Embeddings {
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
    failed(flight, head, body, &failure)
}

fn failed(flight: Box<Flight>, head: Head, body: Bytes, failure: &Failure) -> Box<Miss> {
    let provider = Arc::clone(&flight.deployment.provider.name);
    let status = head.status.as_u16();
    if failure.blame != Blame::Client {
        tracing::warn!(%provider, status, blame = ?failure.blame, "provider refused an attempt");
    }
    let is_json = body.first() == Some(&b'{');
    let verdict = match failure.blame {
        Blame::Credential => Verdict::Ours(Refusal::new(
            Code::UpstreamAuthentication,
            format!(
                "provider `{provider}` refused the gateway's credential (status {status}); the operator must mend it"
            ),
        )),
        // The provider's own words may name the shared account.
        Blame::RateLimited => {
            let refusal =
                Refusal::new(Code::UpstreamRateLimited, format!("provider `{provider}` limits its rate"));
            Verdict::Ours(refusal)
        }
        _ if is_json && status >= 400 => Verdict::Theirs {
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
    miss(flight, Outcome::Refused, verdict, failure.retryable, failure.retry_after)
}

/// An error object where an answer should be: the status 200 was not true.
fn false_success(flight: Box<Flight>, head: Head, body: Bytes) -> Box<Miss> {
    let none = |_: &str| None;
    let mut failure = failure::classify(502, &none, &body);
    failure.retryable = true;
    let mut head = head;
    head.status = http::StatusCode::BAD_GATEWAY;
    failed(flight, head, body, &failure)
}

async fn streamed(mut flight: Box<Flight>, head: Head) -> Result<http::Response<Body>, Box<Miss>> {
    let exchange = flight.exchange();
    let swallow_usage = !exchange.asked.include_usage;
    flight.tap = Some(Tap::new(TapOptions { swallow_usage, max_event: relay::MAX_EVENT }));
    if !is_event_stream(&head.headers) {
        return Err(Box::pin(not_a_stream(flight, head)).await);
    }
    let ready = match relay::first_event(&mut flight).await {
        Ok(ready) => ready,
        Err(FirstEvent::Trouble(trouble)) => return Err(troubled(flight, &trouble)),
        Err(FirstEvent::Error(raw)) => {
            let body = error_object(&raw);
            return Err(false_success(flight, head, body));
        }
    };
    let first = flight.last_byte();
    let exchange = flight.exchange();
    exchange.times.first_byte = Some(first);
    let now = exchange.gateway.clock.moment();
    let waited = exchange.times.dispatched;
    let own = exchange.own_time(now, waited).saturating_add(now.since(first));
    let mut answer = http::Response::new(());
    *answer.headers_mut() = head.headers;
    let down = answer.headers_mut();
    headers::downwards(down, exchange.requests_standing.is_some());
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
        Ok(body) if answer::read(flight.exchange().operation, &body).is_ok_and(|answer| answer.is_error) => {
            flight.land(None);
            false_success(flight, head, body)
        }
        Ok(_) => {
            let what = "a stream was asked for and something else came".to_owned();
            troubled(flight, &Trouble::NotAnAnswer(what))
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
    let operation = flight.exchange().operation;
    let read = match answer::read(operation, &body) {
        Ok(read) if read.is_error => {
            flight.land(None);
            return Err(false_success(flight, head, body));
        }
        Ok(read) => read,
        Err(error) => {
            flight.land(None);
            let what = format!("the answer is not the JSON that was asked for: {error}");
            return Err(troubled(flight, &Trouble::NotAnAnswer(what)));
        }
    };
    flight.land(None);
    let first = flight.last_byte();
    let deployment = Arc::clone(&flight.deployment);
    let exchange = flight.exchange();
    exchange.times.first_byte = Some(first);
    let told = read.usage.map(|usage| {
        let mut usage = settle::usage_of(usage);
        if operation == Operation::Embeddings {
            usage.output = usage.output.or(Some(0));
        }
        usage
    });
    let (usage, basis) =
        settle::complete_usage(told, exchange.asked.input_estimate, read.output_estimate, Basis::Unreported);
    let cost = settle::cost(&deployment, &usage);
    let mut ending =
        Ending::completed(usage, basis, read.finish_reasons.first().map(|reason| reason.as_str().into()));
    ending.answer = exchange.request_body.is_some().then(|| body.clone());
    flight.settle(&ending);
    sync_if_durable(&mut flight).await;
    let exchange = flight.exchange();
    exchange.permit = None;
    let now = exchange.gateway.clock.moment();
    let own = exchange.own_time(now, exchange.times.dispatched).saturating_add(now.since(first));
    let mut answer = http::Response::new(Body::whole(body));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    let down = answer.headers_mut();
    headers::downwards(down, exchange.requests_standing.is_some());
    down.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    headers::add_ours(exchange, down, own);
    if let Some(cost) = cost {
        down.insert(headers::COST, headers::text(&cost.decimal()));
    }
    runtime::failpoint!("gateway.ack");
    Ok(answer)
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
