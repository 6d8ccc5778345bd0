//! A response that a provider makes in the background: the client has its `queued` and goes; what it costs is known when
//! it is done.
//!
//! So the attempt stays open, with what was reserved for it, and the provider is asked now and then, as its clients do,
//! until it tells how the response ended. Nobody waits for this: a stop ends it, and then an estimate is booked.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use ledger::Basis;
use policy::Moment;
use providers::dialects::Dialect;
use providers::dialects::responses::history::Glance;
use providers::flow::passing::usage_in;
use providers::request::Operation;

use super::background::Place;
use crate::exchange::Exchange;
use crate::flight::Flight;
use crate::lanes::Lane;
use crate::relay::MAX_WHOLE;
use crate::settle::{self, Ending};
use crate::upstream::pool::Call;

/// The first pause, and the longest.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// One question takes at most this long.
const ANSWER: Duration = Duration::from_secs(30);
/// Longer than this no response is waited for.
const END: Duration = Duration::from_secs(2 * 60 * 60);
/// How often it is looked whether a stop has begun.
const LOOK: Duration = Duration::from_secs(1);

/// The id of a response that the provider goes on with, if that is what it answered.
pub(crate) fn going(exchange: &Exchange, lane: Lane, body: &[u8]) -> Option<String> {
    let asked = exchange.operation == Operation::Responses && lane == Lane::Same;
    if !asked || !exchange.stored.as_ref().is_some_and(|stored| stored.goes_on_alone()) {
        return None;
    }
    Glance::of(body).filter(Glance::is_going).map(|glance| glance.id)
}

/// Waits for the end in a task of its own, and books it.
pub(crate) fn begin(mut flight: Box<Flight>, id: String) {
    let exchange = flight.exchange();
    let gateway = Arc::clone(&exchange.gateway);
    let place = exchange.stored.as_mut().and_then(|stored| stored.place.take());
    exchange.leave();
    exchange.release_in_flight();
    gateway.tasks.spawn("background-watch", watch(flight, id, place));
}

async fn watch(mut flight: Box<Flight>, id: String, place: Option<Place>) {
    let ended = wait(&mut flight, &id).await;
    let estimate = flight.exchange().asked.input_estimate;
    let ending = match ended {
        Some(body) => {
            let told = usage_in(&body).map(settle::usage_of);
            let (usage, basis) = settle::complete_usage(told, estimate, 0, Basis::Unreported);
            let status = Glance::of(&body).map(|glance| glance.status.as_str().into());
            Ending::completed(usage, basis, status)
        }
        None => {
            let (usage, basis) = settle::complete_usage(None, estimate, 0, Basis::Aborted);
            Ending::completed(usage, basis, None)
        }
    };
    flight.settle(&ending);
    drop(place);
}

/// The Response object when it has ended; `None` when that will not be known.
async fn wait(flight: &mut Flight, id: &str) -> Option<Bytes> {
    let gateway = Arc::clone(&flight.exchange().gateway);
    let begun = gateway.clock.moment();
    let mut pause = SHORTEST;
    while gateway.clock.moment().since(begun) < END {
        if !rest(&gateway, pause).await {
            return None;
        }
        match tokio::time::timeout(ANSWER, ask(flight, id)).await {
            Ok(Some((200, body))) => {
                if Glance::of(&body).is_some_and(|glance| !glance.is_going()) {
                    return Some(body);
                }
            }
            // Deleted: nobody will know.
            Ok(Some((404, _))) => return None,
            Ok(_) | Err(_) => {
                tracing::debug!("a provider did not say how a response in its background stands");
            }
        }
        pause = (pause * 2).min(LONGEST);
    }
    None
}

/// Sleeps, unless a stop has begun.
async fn rest(gateway: &crate::Gateway, pause: Duration) -> bool {
    let mut left = pause;
    while !left.is_zero() {
        if gateway.lifecycle.draining() || gateway.tasks.is_stopping() {
            return false;
        }
        let piece = left.min(LOOK);
        tokio::time::sleep(piece).await;
        left -= piece;
    }
    true
}

/// Asks the provider; status and body.
async fn ask(flight: &mut Flight, id: &str) -> Option<(u16, Bytes)> {
    let deployment = Arc::clone(&flight.deployment);
    let gateway = Arc::clone(&flight.exchange().gateway);
    let upstream = gateway.upstreams.of(&deployment.provider).ok()?;
    let base = deployment.provider.responses.as_deref()?;
    let target = format!("{base}/responses/{id}");
    let head = upstream.bare_request(Some(Dialect::Responses), &Method::GET, &target).finish_bare();
    let now: Moment = gateway.clock.moment();
    let wire = upstream.origin.take(now).await.ok()?;
    let mut call = Call::send(&upstream.origin, wire, head, Bytes::new());
    let head = std::future::poll_fn(|context| call.poll_head(context)).await.ok()?;
    let mut body = BytesMut::new();
    while let Some(chunk) = std::future::poll_fn(|context| call.poll_chunk(context)).await {
        body.extend_from_slice(&chunk.ok()?);
        if body.len() > MAX_WHOLE {
            return None;
        }
    }
    call.recycle(gateway.clock.moment());
    Some((head.status.as_u16(), body.freeze()))
}
