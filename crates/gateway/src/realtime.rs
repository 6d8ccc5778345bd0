//! Sessions over a WebSocket (`GET /v1/realtime`): from the request for one to a provider that granted it.
//!
//! Everything that can be refused is refused before the upgrade, as an ordinary error: key, model, limits, budget, a
//! provider that is away. Only then is the client told 101, so a fallback is possible up to there. What follows is a
//! [`session`]: messages pass both ways as they came, and a tap counts. Connections of Responses ([`turns`]) are calls one after another.
//!
//! The framing of WebSockets is a library's, on both sides: this room routes and counts, it does not mask bytes.

mod asks;
mod counts;
mod handshake;
mod session;
pub(crate) mod turns;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use ledger::{Attempt, Outcome, Reservation};
use parking_lot::Mutex;
use policy::KeyId;
use runtime::Dice;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use self::session::Session;
use crate::body::Body;
use crate::endpoints::{admitted, refuse};
use crate::exchange::Exchange;
use crate::listen::Client;
use crate::plan::{self, Plan, Step};
use crate::refusal::{Code, Refusal};
use crate::upstream::connect::Socket;
use crate::{Gateway, admit, headers, limits, screen, settle, urls};

/// Sessions at once, over all keys and of one.
pub(crate) const MAX_SESSIONS: usize = 4096;
const MAX_OF_A_KEY: u32 = 512;
/// The longest message, bytes: sound is sent in pieces of at most 15 MiB (OpenAI's reference of `input_audio_buffer.append`).
const MAX_MESSAGE: usize = 16 << 20;
/// What may wait to be written to a peer that does not read, bytes, beside one message.
const MAX_WAITING: usize = 1 << 20;
/// Tokens each way that are reserved for the next answer of a session: nobody knows how long it will be.
pub(crate) const NEXT_ANSWER: u64 = 4096;

const PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// Places for sessions, so that no key has them all.
#[derive(Default)]
pub(crate) struct Places(Mutex<HashMap<KeyId, u32>>);

/// A place that is taken; free again when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    key: KeyId,
    _one: OwnedSemaphorePermit,
}

impl Place {
    /// A place for a session of this key.
    fn take(gateway: &Gateway, key: &KeyId) -> Result<Self, Box<Refusal>> {
        let full = |message: String| Refusal::new(Code::Overloaded, message).after(Duration::from_secs(1));
        let Ok(one) = Arc::clone(&gateway.sessions).try_acquire_owned() else {
            return Err(full(format!("{MAX_SESSIONS} sessions are open, as many as may be")));
        };
        let places = Arc::clone(&gateway.places);
        let mut taken = places.0.lock();
        let count = taken.entry(key.clone()).or_default();
        if *count >= MAX_OF_A_KEY {
            return Err(full(format!("{MAX_OF_A_KEY} sessions of this key are open, as many as may be")));
        }
        *count += 1;
        drop(taken);
        Ok(Self { places, key: key.clone(), _one: one })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

/// A provider that granted the session.
struct Granted {
    exchange: Box<Exchange>,
    attempt: Attempt,
    step: Step,
    socket: WebSocketStream<Socket>,
}

/// An attempt that brought none.
struct Miss {
    exchange: Box<Exchange>,
    reservation: Option<Reservation>,
    refusal: Box<Refusal>,
    again: bool,
}

pub(crate) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_MESSAGE + MAX_WAITING)
}

/// Answers the request for a session, and starts it.
pub(crate) async fn answer(
    gateway: Arc<Gateway>,
    client: &Client,
    call: urls::Call<'_>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let started = gateway.clock.moment();
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let id = Dice::request_id(&gateway.clock);
    let mut exchange = match admitted(&gateway, call.operation, id, started, &parts, client.address).await {
        Ok(exchange) => exchange,
        Err(answer) => return *answer,
    };
    let accept = match handshake::accept(&parts) {
        Ok(accept) => accept,
        Err(refusal) => return refuse(&mut exchange, &refusal),
    };
    let place = match Place::take(&gateway, &exchange.caller.key.record.id) {
        Ok(place) => place,
        Err(refusal) => return refuse(&mut exchange, &refusal),
    };
    let (plan, reservation) = match prepare(&mut exchange, parts.uri.query(), &parts.headers).await {
        Ok(prepared) => prepared,
        Err(refusal) => return refuse(&mut exchange, &refusal),
    };
    let granted = match attempts(exchange, &parts, plan, reservation).await {
        Ok(granted) => granted,
        Err((mut exchange, refusal)) => return refuse(&mut exchange, &refusal),
    };
    let mut answer = Response::new(Body::whole(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let down = answer.headers_mut();
    down.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    down.insert(UPGRADE, HeaderValue::from_static("websocket"));
    down.insert(ACCEPT, accept);
    if let Some(protocol) = handshake::protocol(&parts) {
        down.insert(PROTOCOL, protocol);
    }
    let now = gateway.clock.moment();
    headers::add_ours(&granted.exchange, down, granted.exchange.own_time(now, None));
    // From here on the bytes of this connection are the session's.
    client.becomes_a_tunnel();
    let busy = client.answer();
    let Granted { exchange, attempt, step, socket } = granted;
    let session = Session::new(exchange, attempt, step);
    gateway.tasks.spawn("realtime-session", async move {
        let _held = (busy, place);
        session.run(upgrade, socket).await;
    });
    answer
}

/// Resolves the model, takes tokens and reserves money for the first answer.
async fn prepare(
    exchange: &mut Exchange,
    query: Option<&str>,
    headers: &http::HeaderMap,
) -> Result<(Plan, Reservation), Box<Refusal>> {
    let model = handshake::model(query).ok_or_else(|| {
        let mut refusal = Refusal::new(Code::InvalidRequest, "the query names no `model`").about("model");
        refusal.detail = Some("missing_required_parameter");
        refusal
    })?;
    exchange.asked.name(model);
    exchange.asked.stream = true;
    exchange.asked.choices = 1;
    exchange.asked.input_bound = NEXT_ANSWER;
    exchange.asked.max_output = Some(NEXT_ANSWER);
    exchange.model_asked = exchange.asked.model.as_str().into();
    if exchange.caller.environment.guards {
        screen::session(exchange)?;
    }
    let mut plan = plan::plan(exchange, headers)?;
    exchange.named = Arc::clone(&plan.asked);
    let all: Vec<_> = plan.attempts.iter().map(|step| Arc::clone(&step.deployment.provider.name)).collect();
    plan.attempts.retain(|step| step.deployment.provider.endpoint(policy::Dialect::OpenAi).is_some());
    if plan.attempts.is_empty() {
        let message = format!("provider `{}` has no realtime sessions of OpenAI's kind", all.join("`, `"));
        return Err(Refusal::new(Code::InvalidRequest, message).about("model"));
    }
    limits::charge(exchange, &plan.asked, exchange.times.received).await?;
    let reservation = admit::reserve(exchange, &plan).await?;
    Ok((plan, reservation))
}

/// Asks one provider after another.
async fn attempts(
    mut exchange: Box<Exchange>,
    parts: &http::request::Parts,
    plan: Plan,
    mut reservation: Reservation,
) -> Result<Granted, (Box<Exchange>, Box<Refusal>)> {
    let last = plan.attempts.len().min(plan::MAX_ATTEMPTS).saturating_sub(1);
    let mut refusal = Refusal::new(Code::InternalError, "no attempt was made");
    for (at, step) in plan.attempts.into_iter().take(plan::MAX_ATTEMPTS).enumerate() {
        if let Err(full) = limits::visit(&mut exchange, &step).await {
            refusal = full;
            continue;
        }
        exchange.attempts += 1;
        exchange.deployment = Some(Arc::clone(&step.deployment));
        let miss = match Box::pin(attempt(exchange, parts, step, reservation)).await {
            Ok(granted) => return Ok(granted),
            Err(miss) => *miss,
        };
        (exchange, refusal) = (miss.exchange, miss.refusal);
        let Some(left) = miss.reservation.filter(|_| miss.again && at < last) else { break };
        reservation = left;
    }
    Err((exchange, refusal))
}

async fn attempt(
    mut exchange: Box<Exchange>,
    parts: &http::request::Parts,
    step: Step,
    reservation: Reservation,
) -> Result<Granted, Box<Miss>> {
    let gateway = Arc::clone(&exchange.gateway);
    let deployment = Arc::clone(&step.deployment);
    let name = Arc::clone(&deployment.provider.name);
    let unasked = |exchange, reservation, refusal| {
        Box::new(Miss { exchange, reservation: Some(reservation), refusal, again: true })
    };
    let upstream = match gateway.upstreams.of(step.provider()) {
        Ok(upstream) => upstream,
        Err(problem) => {
            let message = format!("provider `{name}`: {problem}");
            return Err(unasked(exchange, reservation, Refusal::new(Code::UpstreamUnreachable, message)));
        }
    };
    let request = match handshake::request(&exchange, parts, &upstream, &deployment) {
        Ok(request) => request,
        Err(refusal) => return Err(unasked(exchange, reservation, refusal)),
    };
    let durable = exchange.caller.key.record.durable;
    let attempt = match gateway.ledger.begin(admit::intent(&mut exchange, &deployment), reservation, durable)
    {
        Ok(attempt) => attempt,
        Err(error) => return Err(unrecorded(exchange, &error)),
    };
    if durable && let Err(error) = gateway.ledger.sync().await {
        drop(settle::fail(&exchange, attempt, &deployment, Outcome::NeverDispatched));
        return Err(unrecorded(exchange, &error));
    }
    exchange.times.dispatched = Some(gateway.clock.moment());
    let timeouts = exchange.within_limit(step.timeouts);
    match handshake::dial(&upstream, request, timeouts).await {
        Ok(socket) => Ok(Granted { exchange, attempt, step, socket }),
        Err(failed) => {
            let now = gateway.clock.moment();
            if let Some(dispatched) = exchange.times.dispatched.take() {
                exchange.times.lost += now.since(dispatched);
            }
            tracing::warn!(provider = %name, "a realtime session was not granted: {}", failed.message);
            let reservation = settle::fail(&exchange, attempt, &deployment, failed.outcome);
            let mut refusal = Refusal::new(failed.code, format!("provider `{name}`: {}", failed.message));
            if let Some(wait) = failed.retry_after {
                refusal = refusal.after(wait);
            }
            let again = failed.again;
            Err(Box::new(Miss { exchange, reservation: Some(reservation), refusal, again }))
        }
    }
}

fn unrecorded(exchange: Box<Exchange>, error: &ledger::SpoolUnavailable) -> Box<Miss> {
    tracing::error!(%error, "a session could not be recorded and was not begun");
    let message = format!("the session could not be recorded, so it was not begun: {error}");
    let refusal = Refusal::new(Code::AccountingUnavailable, message).after(Duration::from_secs(1));
    Box::new(Miss { exchange, reservation: None, refusal, again: false })
}
