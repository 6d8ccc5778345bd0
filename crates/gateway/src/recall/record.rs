//! Keeps the answer of a request while it passes to its client.
//!
//! Nothing is added to the way of the bytes: a stream goes at its client's pace, and what passed is copied. When the
//! client goes away and somebody relies on the answer (others wait for it, or it was promised under an idempotency key)
//! the call is carried on to its end without it, within the same bounds as other answers without a client.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::HeaderValue;
use policy::{Moment, Taken};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::keep::{Kept, Lasting, Ticket};
use super::{Noted, Told, larder, lasting};
use crate::Gateway;
use crate::body::Body;
use crate::exchange::Exchange;
use crate::receive::Held;
use crate::refusal::{Code, SHOULD_RETRY};
use crate::relay::Relay;

/// How long a call is carried on without its client.
const UNATTENDED: Duration = Duration::from_secs(10 * 60);

/// Of what was under way when the gateway stopped.
const STOPPING: &str = Code::ShuttingDown.name();
/// Of a stream that the budget of its own key cut.
const SPENT: &str = Code::InsufficientQuota.name();

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A request whose answer is to be kept.
pub(crate) struct Lead {
    gateway: Arc<Gateway>,
    promise: Option<Ticket>,
    cache: Option<Ticket>,
    noted: Arc<Noted>,
    /// Its client gave it a time of its own.
    hasty: bool,
    /// The places that the client has by its limits; its going gives them back although the call goes on.
    places: Taken,
    /// Nobody's client waits any more; the place among the calls that go on so.
    alone: Option<OwnedSemaphorePermit>,
}

/// What of an answer's head is kept.
struct Head {
    status: u16,
    stream: bool,
    headers: Lasting,
}

impl Lead {
    pub(super) fn new(exchange: &mut Exchange, promise: Option<Ticket>, cache: Option<Ticket>) -> Self {
        let noted = Arc::<Noted>::default();
        exchange.recall.noted = Some(Arc::clone(&noted));
        let gateway = Arc::clone(&exchange.gateway);
        let hasty = exchange.limit.is_some();
        Self { gateway, promise, cache, noted, hasty, places: Taken::default(), alone: None }
    }

    /// The answer is for its own client alone; of those who wait another asks.
    pub(crate) fn leave_cache(&mut self) {
        self.cache = None;
    }

    /// Takes over the client's places, which end with the answer or with the client.
    pub(crate) fn take_places(&mut self, exchange: &mut Exchange) {
        self.places = exchange.taken.take_places();
    }

    /// Brings the answer to the client and keeps it.
    pub(crate) fn carry(self: Box<Self>, answering: Answering) -> Carried {
        Carried { answering: Some(answering), lead: Some(self) }
    }

    /// Whether somebody relies on the answer but the client.
    fn is_wanted(&self) -> bool {
        self.promise.is_some() || self.cache.as_ref().is_some_and(Ticket::is_awaited)
    }

    /// Gives the client's places back, and takes one to go on without a client, where that is wanted and there is any.
    fn go_alone(&mut self) -> bool {
        self.places.leave();
        if self.alone.is_some() || std::thread::panicking() || !self.is_wanted() {
            return false;
        }
        self.alone = Arc::clone(&self.gateway.unattended).try_acquire_owned().ok();
        self.alone.is_some()
    }

    /// The answer's head is there: a whole one is kept at once, a stream while it passes.
    fn head(mut self: Box<Self>, answer: Response<Body>) -> Response<Body> {
        let (mut parts, body) = answer.into_parts();
        let head =
            Head { status: parts.status.as_u16(), stream: body.is_relay(), headers: lasting(&parts.headers) };
        let body = match body.into_relay() {
            Ok(relay) => {
                let held = self.gateway.memory.hold(0);
                let record = Record { lead: self, head, bytes: BytesMut::new(), held };
                Body::recorded(Recorded { relay: Some(relay), record: Some(record) })
            }
            Err(body) => {
                if let Some(bytes) = body.bytes() {
                    let promised = self.finish(head, bytes);
                    if promised && parts.status.as_u16() >= 400 {
                        // Asked again with the same key, it would be the same.
                        parts.headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
                    }
                }
                body
            }
        };
        Response::from_parts(parts, body)
    }

    /// The answer is over; whether it is what the idempotency key stands for from now on.
    fn finish(&mut self, mut head: Head, body: &Bytes) -> bool {
        self.places.leave();
        let now = self.gateway.clock.moment();
        let told = self.noted.told();
        let (promise, cache) = (self.promise.take(), self.cache.take());
        let whole = is_whole(&head, told.as_ref()) && !self.noted.unseen.load(Ordering::Relaxed);
        let final_word = is_final(&head, told.as_ref());
        if head.status >= 400 {
            head.headers.retain(|(name, _)| *name != SHOULD_RETRY);
            head.headers.push((SHOULD_RETRY, HeaderValue::from_static("false")));
        }
        let kept = Arc::new(Kept {
            status: head.status,
            stream: head.stream,
            headers: head.headers,
            // A copy, so that no larger buffer is held with it.
            body: Bytes::copy_from_slice(body),
            model: told.as_ref().and_then(|told| told.model.clone()),
            usage: told.as_ref().map(|told| told.usage).unwrap_or_default(),
            cost: told.as_ref().and_then(|told| told.cost),
            finish_reason: told.as_ref().and_then(|told| told.finish_reason.clone()),
            error: told.as_ref().and_then(|told| told.error),
        });
        match cache {
            Some(cache) if whole => self.give(cache, &kept, now),
            // Not the provider failed, so another of those who wait may ask.
            Some(cache) if self.hasty || told.is_some_and(|told| told.error == Some(SPENT)) => drop(cache),
            Some(cache) => cache.unfit(),
            None => {}
        }
        match promise {
            Some(promise) if final_word && body.len() <= promise.longest() => {
                self.give(promise, &kept, now);
                true
            }
            // Given up: whoever waits asks anew.
            _ => false,
        }
    }
}

impl Lead {
    /// To all who wait and will come, here and beyond.
    fn give(&self, ticket: Ticket, kept: &Arc<Kept>, now: Moment) {
        if kept.body.len() <= ticket.longest() {
            larder::keep(&self.gateway, ticket.asks(), kept);
        }
        ticket.answer(kept, now);
    }
}

/// A good answer to its end, as another client could have it.
fn is_whole(head: &Head, told: Option<&Told>) -> bool {
    head.status == 200 && told.is_some_and(|told| told.executed && told.error.is_none())
}

/// What the same request is not asked for again: good answers, streams that broke off (they were begun), and a provider's
/// own refusals and its own failure. What was refused for now, or began no answer, is none of these; nor is what was cut
/// because the gateway stops.
fn is_final(head: &Head, told: Option<&Told>) -> bool {
    match head.status {
        408 | 409 | 425 | 429 | 501.. => false,
        // What is made in the background has told nothing yet.
        status if status < 400 => told.is_none_or(|told| told.executed && told.error != Some(STOPPING)),
        _ => told.is_some_and(|told| told.executed),
    }
}

/// The way to the answer's head. Dropped before it is there, the call may go on.
pub(crate) struct Carried {
    answering: Option<Answering>,
    lead: Option<Box<Lead>>,
}

impl Future for Carried {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response<Body>> {
        let Some(answering) = self.answering.as_mut() else { return Poll::Pending };
        let answer = std::task::ready!(answering.as_mut().poll(context));
        self.answering = None;
        Poll::Ready(match self.lead.take() {
            Some(lead) => lead.head(answer),
            None => answer,
        })
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let (Some(answering), Some(mut lead)) = (self.answering.take(), self.lead.take()) else { return };
        if !lead.go_alone() {
            return;
        }
        let (tasks, cut) = (lead.gateway.tasks.clone(), lead.gateway.lifecycle.cut.clone());
        tasks.spawn("carried-call", async move {
            let whole = async move {
                let answer = lead.head(answering.await);
                if let Some(recorded) = answer.into_body().into_recorded() {
                    recorded.read_on().await;
                }
            };
            let _ = tokio::time::timeout(UNATTENDED, woken_by(cut, whole)).await;
        });
    }
}

/// What no connection's task polls any more is polled once when the gateway cuts what still runs: it asks whether that is so.
async fn woken_by<T>(cut: CancellationToken, going: impl Future<Output = T>) -> T {
    let (mut cut, mut going) = (pin!(cut.cancelled_owned()), pin!(going));
    let mut is_cut = false;
    std::future::poll_fn(|context| {
        let done = going.as_mut().poll(context);
        if done.is_pending() && !is_cut && cut.as_mut().poll(context).is_ready() {
            is_cut = true;
            return going.as_mut().poll(context);
        }
        done
    })
    .await
}

struct Record {
    lead: Box<Lead>,
    head: Head,
    bytes: BytesMut,
    /// The share of memory that they take, of the same whole as requests.
    held: Option<Held>,
}

impl Record {
    /// Copies what passes; false when nobody can have it any more, since it is too long or there is no room.
    fn add(&mut self, bytes: &Bytes) -> bool {
        if !self.held.as_mut().is_some_and(|held| held.grow(bytes.len() as u64)) {
            return false;
        }
        let length = self.bytes.len() + bytes.len();
        if self.lead.cache.as_ref().is_some_and(|cache| length > cache.longest())
            && let Some(cache) = self.lead.cache.take()
        {
            cache.unfit();
        }
        if self.lead.promise.as_ref().is_some_and(|promise| length > promise.longest()) {
            self.lead.promise = None;
        }
        self.bytes.extend_from_slice(bytes);
        self.lead.promise.is_some() || self.lead.cache.is_some()
    }

    fn finish(mut self) {
        let bytes = std::mem::take(&mut self.bytes).freeze();
        self.lead.finish(self.head, &bytes);
    }
}

/// A stream that is kept while it passes.
pub(crate) struct Recorded {
    relay: Option<Box<Relay>>,
    record: Option<Record>,
}

impl Recorded {
    /// As [`Relay::poll_event`].
    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(relay) = self.relay.as_mut() else { return Poll::Ready(None) };
        let event = std::task::ready!(relay.poll_event(context));
        if let (Some(bytes), Some(record)) = (&event, self.record.as_mut())
            && !record.add(bytes)
        {
            // The places stay taken until the stream is over.
            relay.hold(std::mem::take(&mut record.lead.places));
            // Whoever waits has waited in vain, and need not wait for the next one.
            if let Some(cache) = record.lead.cache.take() {
                cache.unfit();
            }
            self.record = None;
        }
        // Kept before the client has the end of it, so that it finds what it was told.
        let over = (event.is_none() || relay.is_over()) && !relay.will_break_off();
        if let Some(record) = self.record.take_if(|_| over) {
            record.finish();
        }
        Poll::Ready(event)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.relay.as_ref().is_none_or(|relay| relay.is_over())
    }

    /// As [`Relay::broken_off`].
    pub(crate) fn broken_off(&mut self) -> Option<&'static str> {
        self.relay.as_mut().and_then(|relay| relay.broken_off())
    }

    /// Reads to the end without a client.
    async fn read_on(mut self) {
        let mut more = true;
        // Where it cannot be kept any more, nobody wants it.
        while more && self.record.is_some() {
            more = std::future::poll_fn(|context| self.poll_event(context)).await.is_some();
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let (Some(relay), Some(mut record)) = (self.relay.take(), self.record.take()) else { return };
        if relay.is_over() || !record.lead.go_alone() {
            return;
        }
        let (tasks, cut) = (record.lead.gateway.tasks.clone(), record.lead.gateway.lifecycle.cut.clone());
        let recorded = Self { relay: Some(relay), record: Some(record) };
        tasks.spawn("carried-stream", async move {
            let _ = tokio::time::timeout(UNATTENDED, woken_by(cut, recorded.read_on())).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn who_goes_on_alone_hears_of_the_cut() {
        let (cut, is_cut) = (CancellationToken::new(), AtomicBool::new(false));
        let going = std::future::poll_fn(|_| match is_cut.load(Ordering::Acquire) {
            true => Poll::Ready("cut"),
            false => Poll::Pending,
        });
        let cutting = async {
            tokio::task::yield_now().await;
            is_cut.store(true, Ordering::Release);
            cut.cancel();
        };
        let (end, ()) = tokio::join!(woken_by(cut.clone(), going), cutting);
        assert_eq!(end, "cut");
    }
}
