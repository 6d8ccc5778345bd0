//! Makes the attempts of a plan, one after another, until one brings an answer.
//!
//! An attempt that fails before its first byte reached the client is no failure of the request: the next deployment of
//! the plan is tried. What the client did wrong is never tried again elsewhere.

mod answers;
mod order;
mod raw;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ledger::{Outcome, Reservation};
use policy::{Causes, Moment, Name, Timeouts};
use providers::failure::{self, Blame, Failure};
use providers::quirks;
use providers::request::Operation;
use smallvec::SmallVec;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::flight::{Flight, Trouble};
use crate::lanes::{self, Lane};
use crate::pace::{Lesson, Paced};
use crate::plan::{self, Plan, Step};
use crate::refusal::{Code, Refusal};
use crate::relay;
use crate::standing::{Fault, Told};
use crate::upstream::Upstream;
use crate::upstream::pool::{Call, Unreachable};
use crate::upstream::wire::{Head, Wire};
use crate::vitals::Vital;
use crate::{Gateway, admit, headers, limits, queue};
use answers::{streamed, sync_if_durable, whole};
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
    /// Content is refused that another may take.
    content: bool,
    /// It was too much for whoever was asked.
    too_much: bool,
    /// What it says of its place.
    told: Told,
}

/// Runs the plan.
pub(crate) async fn dispatch(
    mut exchange: Box<Exchange>,
    client_headers: &HeaderMap,
    body: Bytes,
    plan: Plan,
    reservation: Reservation,
) -> http::Response<Body> {
    let gateway = Arc::clone(&exchange.gateway);
    let up = Up { client: client_headers, hops: headers::hop_names(client_headers) };
    let mut verdict = None;
    let mut left: SmallVec<[&Step; 4]> = plan.attempts.iter().collect();
    // What is put to its provider's other door.
    let (mut turned, mut last): (Option<&Step>, Option<&Step>) = (None, None);
    let (mut made, mut cause) = (0, None);
    // What is held, and for which of the names that were asked for.
    let mut held = (Some(reservation), &plan.asked);
    if !gateway.standings.all_is_well() {
        gateway.retries.request(exchange.times.received);
    }
    while let Some((step, visit)) = order::next(&gateway, &mut left, cause, turned, last) {
        let deployment = &step.deployment;
        let others = !left.is_empty();
        let entered = match queue::turn(&mut exchange, &deployment.provider, body.len(), others).await {
            Ok(()) => enter(&mut exchange, &plan, step, &mut held).await,
            Err(full) => Err((full, Causes::RATE_LIMIT)),
        };
        let reservation = match entered {
            Ok(reservation) => reservation,
            Err((refusal, why)) => {
                visit.ended(Err(None));
                turned = None;
                order::leave(&mut left, step);
                cause = Some(why);
                verdict.get_or_insert((Verdict::Ours(refusal), true, None));
                continue;
            }
        };
        exchange.attempts += 1;
        exchange.deployment = Some(Arc::clone(deployment));
        exchange.by = step.by.clone();
        exchange.set_output = step.max_output;
        exchange.busy = step.vital.as_ref().map(Vital::begin);
        exchange.paced = gateway.paces.begin(step.at(), || gateway.clock.moment());
        let lesson = exchange.paced.as_ref().map(Paced::lesson);
        let stream = exchange.asked.stream;
        let timeouts = exchange.within_limit(step.timeouts);
        let miss = match attempt(&gateway, exchange, step, timeouts, &up, &body, reservation).await {
            Ok(answer) => {
                visit.ended(Ok(()));
                if let Some(lesson) = lesson {
                    lesson.answered(stream, gateway.clock.moment());
                }
                return answer;
            }
            Err(miss) => *miss,
        };
        visit.ended(miss.told);
        if miss.too_much {
            refused_as_too_much(&gateway, step, lesson.as_ref());
        }
        cause = Some(order::cause(&miss));
        exchange = miss.exchange;
        if let Some(late) = exchange.late() {
            verdict = Some((Verdict::Ours(late), false, None));
            break;
        }
        let turn = miss.by_responses && turned.is_none();
        made += usize::from(!turn);
        if !turn && !order::is_of_the_credential(miss.told) {
            order::leave(&mut left, step);
        }
        if miss.too_long {
            order::keep_longer(&mut left, step);
        }
        let elsewhere = miss.retryable || miss.too_long || (miss.content && order::takes_refused(&left));
        let again = turn || (elsewhere && made < plan::MAX_ATTEMPTS);
        verdict = Some((miss.verdict, miss.retryable, miss.retry_after));
        let Some(more) = miss.reservation.filter(|_| again) else { break };
        turned = turn.then_some(step);
        last = (made + 1 >= plan::MAX_ATTEMPTS).then_some(step);
        held.0 = Some(more);
    }
    refuse(exchange, verdict)
}

/// What an attempt takes before it is made: of the limits that are its own, and money in the budgets of the name that leads to it.
async fn enter<'a>(
    exchange: &mut Exchange,
    plan: &'a Plan,
    step: &'a Step,
    held: &mut (Option<Reservation>, &'a Name),
) -> Result<Reservation, (Box<Refusal>, Causes)> {
    limits::visit(exchange, step).await.map_err(|full| (full, Causes::RATE_LIMIT))?;
    let name = step.asked.as_ref().unwrap_or(&plan.asked);
    match held.0.take() {
        Some(reservation) if held.1 == name => Ok(reservation),
        other => {
            held.1 = name;
            admit::rebook(exchange, plan, name, other).await.map_err(|spent| {
                // It will not be made, so it takes nothing.
                std::mem::take(&mut exchange.visited).undo();
                (spent, Causes::BUDGET)
            })
        }
    }
}

/// What a place that was asked too much is given at once from now on.
fn refused_as_too_much(gateway: &Gateway, step: &Step, lesson: Option<&Lesson>) {
    // How many were under way at a place that is not counted yet, nobody knows: at most as many as there are connections.
    let most = step.provider().max_connections;
    let free = gateway.upstreams.of(step.provider()).map_or(most, |upstream| upstream.origin.free());
    let under_way = most.saturating_sub(free).saturating_add(1);
    gateway.paces.refused(step.at(), lesson, under_way, gateway.clock.moment());
}

/// One attempt: intent in the ledger, call, answer.
async fn attempt(
    gateway: &Arc<Gateway>,
    mut exchange: Box<Exchange>,
    step: &Step,
    timeouts: Timeouts,
    up: &Up<'_>,
    body: &Bytes,
    reservation: Reservation,
) -> Result<http::Response<Body>, Box<Miss>> {
    let deployment = &step.deployment;
    let durable = exchange.caller.key.record.durable;
    let upstream = match gateway.upstreams.of(step.provider()) {
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
    let (head, body) = match build(&mut exchange, lane, step, &upstream, up, body) {
        Ok(request) => request,
        Err(refusal) => return Err(unasked(exchange, reservation, refusal)),
    };
    let intent = admit::intent(&mut exchange, deployment);
    let (opened, opening) = match gateway.ledger.say(intent, reservation, durable) {
        Ok(said) => said,
        Err(error) => return Err(unrecorded(exchange, &error)),
    };
    let mut flight = Box::new(Flight::new(exchange, opened, Arc::clone(deployment), timeouts, lane));
    runtime::others_first().await;
    if let Err(error) = flight.written(opening) {
        return Err(unrecorded(flight.never_was(), &error));
    }
    if durable && let Err(error) = gateway.ledger.sync().await {
        let (exchange, _) = flight.fail(Outcome::NeverDispatched);
        return Err(unrecorded(exchange, &error));
    }
    let mut now = gateway.clock.moment();
    let wire = match upstream.origin.take_idle(now) {
        Some(wire) => wire,
        // A new connection is rare; boxed, its state does not make every request's larger.
        None => match Box::pin(connect(&upstream, timeouts.connect, now)).await {
            Ok(wire) => {
                now = gateway.clock.moment();
                wire
            }
            Err((what, full)) => return Err(unreachable(flight, &what, full)),
        },
    };
    flight.depart(Call::send(&upstream.origin, wire, head, body), now);
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
        content: false,
        too_much: false,
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
        content: false,
        too_much: false,
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
        content: false,
        too_much: false,
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
    step: &Step,
    upstream: &Upstream,
    up: &Up<'_>,
    body: &Bytes,
) -> Result<(Bytes, Bytes), Box<Refusal>> {
    let deployment = &step.deployment;
    if let (Operation::Raw(raw), Lane::Same) = (exchange.operation, lane) {
        return raw::build(exchange, raw, deployment, upstream, up, body);
    }
    let mut body = lanes::body(exchange, lane, deployment, body)?;
    if let Some(set) = &step.set {
        body.bytes = quirks::say(&body.bytes, set.iter().map(|(name, value)| (&**name, &**value)));
    }
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
    let now = flight.last_byte();
    if let Some(busy) = &flight.exchange().busy {
        busy.told(&head.headers, now);
    }
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
        let credential = flight.exchange().credential_name();
        tracing::warn!(%provider, credential, status, blame = ?failure.blame, "provider refused an attempt");
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
    miss.content = failure.is_content_policy();
    miss.too_much = order::is_too_much(failure, status);
    miss
}
