//! What a provider answered with success: whole or as a stream, or not an answer at all.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use ledger::Basis;
use policy::{Moment, Money};
use providers::failure;
use providers::request::Operation;

use super::{MAX_ERROR, Miss, failed, troubled};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::flight::{Flight, Refused, Trouble};
use crate::lanes::{self, Lane, NoAnswer};
use crate::refusal::Refusal;
use crate::relay::{self, FirstEvent, Relay};
use crate::screen::stream::Screen;
use crate::settle::{self, Ending};
use crate::upstream::wire::Head;
use crate::{headers, screen, stored};

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

pub(super) async fn streamed(mut flight: Box<Flight>, head: Head) -> Result<http::Response<Body>, Box<Miss>> {
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
    let (mut ready, mut screen) = (ready, Screen::of(exchange));
    if let Some(screen) = &mut screen {
        let passed = screen.pass(&mut ready);
        screen.announce(exchange);
        if let Err(refusal) = passed {
            screen.tell(exchange);
            return Ok(refused_at_once(flight, &refusal));
        }
    }
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
    let relay = Box::new(Relay::new(flight, ready, screen));
    Ok(answer.map(|()| Body::stream(relay)))
}

/// A stream that a guardrail refuses before anything of it left: an answer with a status of its own. What the provider bills is
/// paid.
fn refused_at_once(mut flight: Box<Flight>, refusal: &Refusal) -> http::Response<Body> {
    let answer = told_instead(flight.exchange(), refusal, None);
    flight.refuse(Refused { status: refusal.status(), error: refusal.code_name(), answer: None });
    answer
}

/// A refusal in place of an answer that was made.
fn told_instead(exchange: &Exchange, refusal: &Refusal, cost: Option<Money>) -> http::Response<Body> {
    let mut answer = refusal.answer_in(exchange.operation.dialect(), &exchange.id.to_string());
    let own = exchange.own_time(exchange.gateway.clock.moment(), exchange.times.dispatched);
    headers::add_ours(exchange, answer.headers_mut(), own);
    if let Some(cost) = cost {
        answer.headers_mut().insert(headers::COST, headers::text(&cost.decimal()));
    }
    answer
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

pub(super) async fn whole(mut flight: Box<Flight>, head: Head) -> Result<http::Response<Body>, Box<Miss>> {
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
    // A client that goes while somebody looks at its answer pays for it.
    flight.used = Some((usage, basis));
    let exchange = flight.exchange();
    let screened = match exchange.answer_guards.is_empty() {
        true => Ok(read.body),
        false => Box::pin(screen::answers::whole(exchange, read.body)).await,
    };
    let mut ending = Ending::completed(usage, basis, read.finish_reason);
    match &screened {
        Ok(body) => ending.answer = exchange.request_body.is_some().then(|| body.clone()),
        Err(refusal) => (ending.status, ending.error) = (refusal.status(), Some(refusal.code_name())),
    }
    let ended = flight.say_end(&ending);
    runtime::others_first().await;
    settle::write(flight.exchange(), ended);
    sync_if_durable(&mut flight).await;
    let exchange = flight.exchange();
    let body = match screened {
        Ok(body) => body,
        Err(refusal) => {
            exchange.leave();
            return Ok(told_instead(exchange, &refusal, cost));
        }
    };
    if exchange.stored.is_some() {
        Box::pin(stored::keep_whole(exchange, lane, &body)).await;
    }
    exchange.leave();
    let answer = tell(exchange, lane, head, body, cost, first);
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

pub(super) async fn sync_if_durable(flight: &mut Flight) {
    let exchange = flight.exchange();
    if exchange.caller.key.record.durable {
        let ledger = exchange.gateway.ledger.clone();
        if let Err(error) = ledger.sync().await {
            tracing::error!(%error, "a durable key's settlement is not yet safe against loss of power");
        }
    }
}
