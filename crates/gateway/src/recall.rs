//! What was answered before and need not be asked again: the cache, and what was promised under an idempotency key.
//!
//! The room between `plan` and the taking of tokens and money. So whoever gets an answer from here has shown a good key,
//! has taken a turn from its limits and may use the model; and pays nothing, since nobody is asked. Both features are one
//! mechanism (`keep`): a digest of what is asked leads to an answer, or to somebody who asks for it just now, or makes
//! whoever came the one who asks. They differ in what the digest is made of (`key`) and in what is kept (`record`):
//!
//! - *cache*: where the route or the environment has it on; by all that is asked; whole good answers, for everybody in the
//!   environment who may use the model.
//! - *idempotency*: where the client sends a key; by virtual key and that key; errors of execution too, for 24 hours.
//!
//! Of identical concurrent requests one asks, and the others wait for the end of its answer, streams as well: so what
//! becomes of a stream under way concerns nobody but its own client. When the one goes away its call is carried on for
//! those who wait; when it has nothing to give, another asks.
//!
//! What lies in memory is lost with the process, and each node has its own; behind it there may be a [`Larder`] that
//! nodes share.

mod keep;
mod key;
mod larder;
mod record;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use http::{Response, StatusCode};
use parking_lot::Mutex;
use policy::{Deployment, Moment, Money, Name, Target, Usage};
use providers::request::{self, Operation, Print};
use tokio::sync::Semaphore;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::plan::Plan;
use crate::refusal::{Code, Refusal, SHOULD_RETRY};
use crate::{headers, limits, screen, settle};
use keep::{Asks, Bounds, Digest, End, Found, Keep, Lasting, Ticket};
use larder::Beyond;

pub(crate) use keep::Kept;
pub use larder::Larder;
pub(crate) use record::{Lead, Recorded};

/// How long the answer to an idempotency key is kept.
const PROMISED: Duration = Duration::from_secs(24 * 60 * 60);
/// How long whoever repeats a request under way waits for it, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);
const CACHED: Bounds = Bounds { entries: 16_384, bytes: 64 << 20, body: 1 << 20 };
const PROMISES: Bounds = Bounds { entries: 65_536, bytes: 64 << 20, body: 4 << 20 };
/// Says that an answer is the one that was given before for the same idempotency key.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What the gateway remembers.
pub(crate) struct Recall {
    cache: Arc<Keep>,
    promises: Arc<Keep>,
    larder: Option<Arc<dyn Larder>>,
    /// Places for answers on their way to it.
    on_the_way: Arc<Semaphore>,
}

impl Recall {
    pub(crate) fn new(larder: Option<Arc<dyn Larder>>) -> Self {
        let on_the_way = Arc::new(Semaphore::new(larder::MOST_ON_THE_WAY));
        Self { cache: Keep::new(CACHED), promises: Keep::new(PROMISES), larder, on_the_way }
    }

    /// Takes out what is past.
    pub(crate) fn sweep(&self, now: Moment) {
        self.cache.sweep(now);
        self.promises.sweep(now);
    }

    /// Entries and bytes: of the cache, then of what was promised.
    pub(crate) fn sizes(&self) -> [(usize, usize); 2] {
        [self.cache.size(), self.promises.size()]
    }
}

/// What a client asks of the cache.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Wish {
    #[default]
    Usual,
    /// It is left out.
    Off,
    /// The provider is asked anew, and its answer kept.
    Refresh,
}

/// What an answer has to do with the cache: `x-tidegate-cache`.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Word {
    #[default]
    Off,
    Miss,
    Hit,
}

impl Word {
    pub(crate) fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Off => "off",
            Self::Miss => "miss",
            Self::Hit => "hit",
        })
    }
}

/// What a request has to do with this room.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) wish: Wish,
    pub(crate) idempotency: Option<Name>,
    pub(crate) word: Word,
    /// Where its end is told, if somebody keeps the answer.
    pub(crate) noted: Option<Arc<Noted>>,
    /// A guardrail could not look, and it passed all the same.
    pub(crate) unseen: bool,
}

impl Said {
    /// Nobody but its own client is to have the answer.
    pub(crate) fn unseen(&mut self) {
        self.unseen = true;
        if let Some(noted) = &self.noted {
            noted.unseen.store(true, Ordering::Relaxed);
        }
    }
}

/// How a request ended whose answer may be kept.
#[derive(Default)]
pub(crate) struct Noted {
    told: Mutex<Option<Told>>,
    unseen: AtomicBool,
}

#[derive(Clone)]
struct Told {
    model: Option<Name>,
    usage: Usage,
    cost: Option<Money>,
    finish_reason: Option<Name>,
    error: Option<&'static str>,
    /// A provider was asked and may have done what it was asked.
    executed: bool,
}

impl Noted {
    /// It brought an answer, whole or in part.
    pub(crate) fn ended(&self, deployment: &Deployment, ending: &settle::Ending, cost: Option<Money>) {
        *self.told.lock() = Some(Told {
            model: Some(Arc::clone(&deployment.name)),
            usage: ending.usage,
            cost,
            finish_reason: ending.finish_reason.clone(),
            error: ending.error,
            executed: true,
        });
    }

    /// It was refused after its attempts.
    pub(crate) fn refused(&self, deployment: Option<&Arc<Deployment>>, error: &'static str, executed: bool) {
        *self.told.lock() = Some(Told {
            model: deployment.map(|deployment| Arc::clone(&deployment.name)),
            usage: Usage::default(),
            cost: None,
            finish_reason: None,
            error: Some(error),
            executed,
        });
    }

    fn told(&self) -> Option<Told> {
        self.told.lock().clone()
    }
}

/// What became of the question whether it was answered before.
pub(crate) enum Recalled {
    /// It was; this is the answer.
    Answer(Response<Body>),
    /// It was not, and its answer is to be kept.
    Lead(Box<Lead>),
    /// It has nothing to do with this room.
    Nothing,
}

/// Whether a request has to do with this room; all others pass by.
pub(crate) fn concerns(exchange: &Exchange, plan: &Plan) -> bool {
    let cached = plan.cache.is_some() && exchange.recall.wish != Wish::Off;
    cached || exchange.recall.idempotency.is_some()
}

/// Looks for an earlier answer, and waits for one that is under way.
pub(crate) async fn recall(
    exchange: &mut Exchange,
    plan: &Plan,
    client: &HeaderMap,
    body: &Bytes,
) -> Result<Recalled, Box<Refusal>> {
    if matches!(exchange.operation, Operation::Raw(raw) if !raw.is_repeatable()) {
        return Ok(Recalled::Nothing);
    }
    let print = request::print(body);
    let mut promise = None;
    if let Some(idempotency) = exchange.recall.idempotency.clone() {
        match promised(exchange, plan, &idempotency, print.as_ref(), (client, body)).await? {
            Sought::Found(kept) => {
                return replay(exchange, plan, &kept, Word::Off).await.map(Recalled::Answer);
            }
            Sought::Ours(ticket) => promise = Some(ticket),
            Sought::Nothing => {}
        }
    }
    let mut cache = None;
    if let Some((ttl, print)) = plan.cache.zip(print).filter(|(_, print)| is_cacheable(exchange, print)) {
        exchange.recall.word = Word::Miss;
        let digest = key::answer(exchange, plan, client, &print);
        match cached(exchange, plan, digest, ttl).await? {
            Sought::Found(kept) => {
                let answer = replay(exchange, plan, &kept, Word::Hit).await?;
                if let Some(promise) = promise {
                    promise.answer(&kept, exchange.gateway.clock.moment());
                }
                return Ok(Recalled::Answer(answer));
            }
            Sought::Ours(ticket) => cache = Some(ticket),
            Sought::Nothing => {}
        }
        exchange.gateway.metrics.count_miss();
    }
    if promise.is_none() && cache.is_none() {
        return Ok(Recalled::Nothing);
    }
    Ok(Recalled::Lead(Box::new(Lead::new(exchange, promise, cache))))
}

/// Whether the answer depends on nothing but what is asked, and nothing is to be kept elsewhere for it.
fn is_cacheable(exchange: &Exchange, print: &Print) -> bool {
    let kept = exchange.stored.as_ref().is_some_and(|stored| stored.is_kept());
    exchange.recall.wish != Wish::Off && !print.stateful && !kept && !exchange.recall.unseen
}

enum Sought {
    Found(Arc<Kept>),
    /// Nobody has asked: the holder does.
    Ours(Ticket),
    /// It goes its own way.
    Nothing,
}

async fn promised(
    exchange: &mut Exchange,
    plan: &Plan,
    idempotency: &str,
    print: Option<&Print>,
    (client, body): (&HeaderMap, &[u8]),
) -> Result<Sought, Box<Refusal>> {
    let body = print.map_or_else(|| key::bytes(body), |print| print.digest);
    let asks = Asks {
        digest: key::promise(exchange, idempotency),
        print: key::promised(exchange, client, &body),
        owner: Arc::clone(&exchange.caller.environment.name),
        ttl: PROMISED,
    };
    let most = plan.attempts.first().map_or(LONGEST_WAIT, |step| step.timeouts.total).min(LONGEST_WAIT);
    let ends = exchange.gateway.clock.moment().plus(most);
    loop {
        let now = exchange.gateway.clock.moment();
        let mut end = match exchange.gateway.recall.promises.enter(asks.clone(), now) {
            Found::Answer(kept) => return Ok(Sought::Found(kept)),
            Found::Nothing(ticket) => {
                return further(exchange, ticket).await.ok_or_else(|| reused(idempotency));
            }
            Found::Other => return Err(reused(idempotency)),
            Found::Coming(end) => end,
        };
        match wait(exchange, &mut end, ends).await? {
            Waited::End(End::Answer(kept)) => return Ok(Sought::Found(kept)),
            // Never two at once: one of those who wait asks, and the others wait for it.
            Waited::End(End::Unfit) | Waited::Gone => {}
            Waited::TooLong => {
                let message = format!(
                    "a request with the idempotency key `{idempotency}` has been under way for longer than {}; ask \
                     for its answer again later, with the same key",
                    headers::go_duration(most)
                );
                let refusal = Refusal::new(Code::IdempotencyInProgress, message);
                return Err(refusal.after(Duration::from_secs(1)).about("idempotency-key"));
            }
        }
    }
}

async fn cached(
    exchange: &mut Exchange,
    plan: &Plan,
    digest: Digest,
    ttl: Duration,
) -> Result<Sought, Box<Refusal>> {
    let owner = Arc::clone(&exchange.caller.environment.name);
    let asks = Asks { digest, print: Digest::default(), owner, ttl };
    if exchange.recall.wish == Wish::Refresh {
        return Ok(Sought::Ours(exchange.gateway.recall.cache.anew(asks)));
    }
    // As long as a call of one's own may be silent.
    let most = plan.attempts.first().map_or(LONGEST_WAIT, |step| step.timeouts.first_byte).min(LONGEST_WAIT);
    let ends = exchange.gateway.clock.moment().plus(most);
    loop {
        let now = exchange.gateway.clock.moment();
        let mut end = match exchange.gateway.recall.cache.enter(asks.clone(), now) {
            Found::Answer(kept) => return Ok(Sought::Found(kept)),
            Found::Nothing(ticket) => {
                return Ok(further(exchange, ticket).await.unwrap_or(Sought::Nothing));
            }
            Found::Other => return Ok(Sought::Nothing),
            Found::Coming(end) => end,
        };
        match wait(exchange, &mut end, ends).await? {
            Waited::End(End::Answer(kept)) => return Ok(Sought::Found(kept)),
            Waited::Gone => {}
            // One after another would wait for the failures of all before it.
            Waited::End(End::Unfit) | Waited::TooLong => return Ok(Sought::Nothing),
        }
    }
}

/// Looks beyond this process, for all who wait here; `None` where the digest stands for another request there.
async fn further(exchange: &Exchange, ticket: Ticket) -> Option<Sought> {
    let gateway = &exchange.gateway;
    let Some(larder) = &gateway.recall.larder else { return Some(Sought::Ours(ticket)) };
    match larder::find(&**larder, ticket.asks(), gateway.clock.now()).await {
        Beyond::Nothing => Some(Sought::Ours(ticket)),
        Beyond::Answer(kept, left) => {
            ticket.answer_for(&kept, left, gateway.clock.moment());
            Some(Sought::Found(kept))
        }
        Beyond::Other => None,
    }
}

enum Waited {
    End(End),
    /// Whoever asked went away.
    Gone,
    TooLong,
}

/// Waits for somebody else's answer, within the client's own limit; a stop of the gateway ends it.
async fn wait(
    exchange: &mut Exchange,
    end: &mut tokio::sync::watch::Receiver<Option<End>>,
    ends: Moment,
) -> Result<Waited, Box<Refusal>> {
    let began = exchange.gateway.clock.moment();
    let until = exchange.limit.map_or(ends, |limit| limit.ends.min(ends));
    let cut = exchange.gateway.lifecycle.cut.clone();
    let waited = tokio::select! {
        end = end.wait_for(Option::is_some) => match end.ok().and_then(|end| end.clone()) {
            Some(end) => Waited::End(end),
            None => Waited::Gone,
        },
        () = tokio::time::sleep(until.since(began)) => Waited::TooLong,
        () = cut.cancelled() => {
            return Err(Refusal::new(Code::ShuttingDown, "the gateway is stopping"));
        }
    };
    exchange.times.lost += exchange.gateway.clock.moment().since(began);
    match exchange.late() {
        Some(late) => Err(late),
        None => Ok(waited),
    }
}

fn reused(idempotency: &str) -> Box<Refusal> {
    let message = format!(
        "the idempotency key `{idempotency}` was used with another request; use a new key for each request, and the \
         same one only to repeat it"
    );
    Refusal::new(Code::IdempotencyKeyReused, message).about("idempotency-key")
}

/// An earlier answer, for this request. No provider is asked: it costs nothing and uses no tokens.
async fn replay(
    exchange: &mut Exchange,
    plan: &Plan,
    kept: &Kept,
    word: Word,
) -> Result<Response<Body>, Box<Refusal>> {
    limits::charge_turn(exchange, &plan.asked, exchange.times.received).await?;
    exchange.recall.word = word;
    exchange.deployment = kept.model.as_ref().and_then(|model| find(exchange, plan, model));
    let now = exchange.gateway.clock.moment();
    exchange.times.first_byte = Some(now);
    let body = kept.body.clone();
    let mut answer = Response::new(if kept.stream { Body::events(body) } else { Body::whole(body) });
    *answer.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let down = answer.headers_mut();
    for (name, value) in &kept.headers {
        match value.to_str() {
            Ok(told) if *name == headers::GUARDRAILS => screen::told_again(exchange, told),
            _ => _ = down.insert(name, value.clone()),
        }
    }
    headers::add_ours(exchange, down, exchange.own_time(now, None));
    let price = exchange.deployment.as_ref().and_then(|deployment| deployment.price.as_ref());
    let saved = price.map_or(kept.cost, |price| price.cost(&kept.usage));
    if !kept.stream && kept.status < 400 {
        let currency = saved.map_or(policy::Currency::USD, |saved| saved.currency);
        down.insert(headers::COST, headers::text(&Money::zero(currency).decimal()));
    }
    if word == Word::Off {
        down.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    settle::log_recalled(exchange, kept, saved, word);
    Ok(answer)
}

/// The deployment that once answered, as it is now.
fn find(exchange: &Exchange, plan: &Plan, model: &Name) -> Option<Arc<Deployment>> {
    let planned = plan.attempts.iter().map(|step| &step.deployment).find(|place| place.name == *model);
    planned.cloned().or_else(|| match exchange.caller.environment.resolve(model) {
        Ok(Target::Deployment(deployment)) => Some(deployment),
        _ => None,
    })
}

/// Which headers of an answer belong to it and not to the request that it was made for. Copies: a value from a provider is a part of
/// the buffer that its answer was read into, and would keep all of that for as long as itself.
fn lasting(head: &HeaderMap) -> Lasting {
    let names = [
        CONTENT_TYPE,
        CONTENT_ENCODING,
        CONTENT_DISPOSITION,
        CACHE_CONTROL,
        headers::DROPPED,
        headers::ESTIMATED,
        headers::GUARDRAILS,
        SHOULD_RETRY,
    ];
    let copy = |value: &HeaderValue| match value.as_bytes() {
        b"application/json" => Some(HeaderValue::from_static("application/json")),
        b"text/event-stream" => Some(HeaderValue::from_static("text/event-stream")),
        bytes => HeaderValue::from_bytes(bytes).ok(),
    };
    names.into_iter().filter_map(|name| head.get(&name).and_then(copy).map(|value| (name, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_head_holds_no_buffer() {
        let buffer = Bytes::from(b"text/plain; and much of an answer behind it".to_vec());
        let mut head = HeaderMap::new();
        let value = HeaderValue::from_maybe_shared(buffer.slice(..10));
        head.extend(value.ok().map(|value| (CONTENT_TYPE, value)));
        let kept = lasting(&head);
        drop(head);
        assert_eq!(kept[..], [(CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
        assert!(buffer.is_unique());
    }
}
