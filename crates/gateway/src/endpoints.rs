//! The first steps of every request: where it goes, whose it is, what it asks.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use ledger::Labels;
use policy::{Name, Taken};
use providers::request::{self, Operation, Raw};
use runtime::Dice;

use crate::alarm::Spare;
use crate::body::Body;
use crate::exchange::{Caller, Exchange, Limit, Times};
use crate::listen::Client;
use crate::realtime::turns;
use crate::recall::Recalled;
use crate::receive::Held;
use crate::refusal::{Code, Refusal};
use crate::urls::{self, Endpoint, find};
use crate::{
    Gateway, admit, authenticate, dispatch, headers, health, limits, models, plan, queue, raw, realtime,
    recall, receive, rollout, screen, settle, stored, wishes,
};

/// End users, sessions and tags longer than this are cut, characters.
const MAX_LABEL: usize = 256;
const MAX_TAGS: usize = 16;
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Answers one request.
pub(crate) async fn answer(
    gateway: Arc<Gateway>,
    client: Client,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let (busy, peer) = (client.answer(), client.address);
    if let Some(refused) = client.refused(&request) {
        let refusal = refused.refusal();
        gateway.metrics.count_unauthenticated(refusal.status());
        let mut answer = refusal.answer();
        headers::add_id(answer.headers_mut(), Dice::request_id(&gateway.clock));
        return answer.map(|body| body.holding(busy));
    }
    let http1 = request.version() < http::Version::HTTP_2;
    let upgrade = http1 && request.headers().contains_key(http::header::UPGRADE);
    let path = request.uri().path().to_owned();
    let mut answer = match find(request.method(), &path) {
        Endpoint::Call(asked) => {
            if matches!(asked.operation, Operation::Raw(Raw::MessageBatches | Raw::GoogleUpload)) {
                // Its answers tell an address of ours.
                request.extensions_mut().insert(client);
            }
            call(gateway, asked, request, peer).await
        }
        Endpoint::Session(asked) if asked.operation == Operation::Responses => {
            Box::pin(turns::answer(gateway, &client, request)).await
        }
        Endpoint::Session(asked) => Box::pin(realtime::answer(gateway, &client, asked, request)).await,
        Endpoint::Aside if gateway.serves_admin => {
            // Whoever signs in is counted by it.
            if let Some(address) = limits::address(&gateway, peer, request.headers()) {
                request.extensions_mut().insert(address);
            }
            gateway.aside.call(request).await.map(Body::aside)
        }
        _ => {
            let (parts, body) = request.into_parts();
            let answer = small(&gateway, &parts);
            without_body(body, answer).await
        }
    };
    if upgrade && answer.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        // Where an upgrade is not granted, nothing that follows one on this connection may be read as a request.
        answer.headers_mut().insert(CONNECTION, CLOSE);
    }
    answer.map(|body| body.holding(busy))
}

/// Answers that need no body.
fn small(gateway: &Gateway, parts: &Parts) -> Response<Body> {
    let (path, query) = (parts.uri.path(), parts.uri.query());
    let found = find(&parts.method, path);
    let request = Dice::request_id(&gateway.clock);
    let id = &request.to_string();
    let dialect = models::dialect(urls::asker_at(path, &parts.headers, query));
    let mut answer = match found {
        Endpoint::Models(mount) => models::list(gateway, &parts.headers, query, mount, id),
        Endpoint::Model(mount, name) => models::one(gateway, &parts.headers, query, mount, name, id),
        Endpoint::Health => health::alive(),
        Endpoint::Ready => health::ready(gateway),
        Endpoint::Metrics if gateway.serves_admin => health::metrics(gateway),
        Endpoint::WrongMethod => {
            let message = format!("`{path}` does not take {}", parts.method);
            let mut answer = Refusal::new(Code::MethodNotAllowed, message).answer_in(dialect, id);
            answer.headers_mut().insert(ALLOW, headers::text(&allowed(path)));
            answer
        }
        _ => Refusal::new(Code::UnknownUrl, format!("nothing is served at `{path}`")).answer_in(dialect, id),
    };
    if !matches!(found, Endpoint::Aside | Endpoint::Health | Endpoint::Ready | Endpoint::Metrics) {
        headers::add_id(answer.headers_mut(), request);
    }
    answer
}

/// The methods that a path takes.
fn allowed(path: &str) -> String {
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::DELETE];
    let taken = methods.iter().filter(|method| find(method, path) != Endpoint::WrongMethod);
    taken.map(Method::as_str).collect::<Vec<_>>().join(", ")
}

/// An answer that did not need the request's body: what little is left of it is read, so that the connection can go on;
/// more than a little ends the connection, and the client is told.
async fn without_body(body: Incoming, mut answer: Response<Body>) -> Response<Body> {
    if !http_body::Body::is_end_stream(&body)
        && !Box::pin(receive::linger(body, receive::LINGER_STRANGER)).await
    {
        answer.headers_mut().insert(CONNECTION, CLOSE);
    }
    answer
}

/// One call of a model, from its key to its answer.
async fn call(
    gateway: Arc<Gateway>,
    asked: urls::Call<'_>,
    request: Request<Incoming>,
    peer: Option<IpAddr>,
) -> Response<Body> {
    let started = gateway.clock.moment();
    let (parts, body) = request.into_parts();
    let id = Dice::request_id(&gateway.clock);
    let operation = urls::as_asked(asked.operation, &parts.headers);
    let mut exchange = match admitted(&gateway, operation, id, started, &parts, peer).await {
        Ok(exchange) => exchange,
        Err(answer) => return without_body(body, *answer).await,
    };
    let (body, held) = match receive::receive(&gateway.memory, gateway.max_body, &parts, body).await {
        Ok(received) => received,
        Err(refusal) => return refuse(&mut exchange, &refusal),
    };
    exchange.held = Some(held);
    received(exchange, asked, parts, body).await
}

/// The same for a call that came by another way than a request of its own (`realtime::turns`).
pub(crate) async fn begun(
    gateway: Arc<Gateway>,
    asked: urls::Call<'static>,
    parts: Parts,
    body: Bytes,
    held: Held,
    peer: Option<IpAddr>,
) -> Response<Body> {
    let started = gateway.clock.moment();
    let id = Dice::request_id(&gateway.clock);
    match admitted(&gateway, asked.operation, id, started, &parts, peer).await {
        Ok(mut exchange) => {
            exchange.held = Some(held);
            // Its headers are those of the connection, and each of its turns is another request.
            exchange.recall = recall::Said { wish: recall::Wish::Off, ..recall::Said::default() };
            received(exchange, asked, parts, body).await
        }
        Err(answer) => *answer,
    }
}

/// Answers a call whose whole body is there; `since`: when its head was, where the body came later.
pub(crate) async fn answer_whole(
    gateway: Arc<Gateway>,
    parts: Parts,
    body: Bytes,
    since: Option<policy::Moment>,
    (peer, alarm): (Option<IpAddr>, Spare),
) -> Response<Body> {
    let now = gateway.clock.moment();
    let started = since.unwrap_or(now);
    let uri = parts.uri.clone();
    let Endpoint::Call(asked) = find(&parts.method, uri.path()) else { return small(&gateway, &parts) };
    let id = Dice::request_id(&gateway.clock);
    let operation = urls::as_asked(asked.operation, &parts.headers);
    let mut exchange = match admitted(&gateway, operation, id, started, &parts, peer).await {
        Ok(exchange) => exchange,
        Err(answer) => return *answer,
    };
    exchange.alarm = Some(alarm);
    exchange.at = exchange.at.minus(now.since(started));
    match receive::whole(&gateway.memory, gateway.max_body, &parts, &body) {
        Ok(held) => exchange.held = Some(held),
        Err(refusal) => return refuse(&mut exchange, &refusal),
    }
    received(exchange, asked, parts, body).await
}

/// From the whole body to the answer.
async fn received(
    mut exchange: Box<Exchange>,
    asked: urls::Call<'_>,
    parts: Parts,
    body: Bytes,
) -> Response<Body> {
    exchange.times.received = exchange.gateway.clock.moment();
    let mut body = named(exchange.operation, &asked, body);
    if exchange.operation == Operation::Raw(Raw::StoredResponses) {
        return Box::pin(stored::serve(exchange, &asked, &parts, body)).await;
    }
    if stored::concerns(exchange.operation) {
        match Box::pin(stored::open(&mut exchange, body)).await {
            Ok(whole) => body = whole,
            Err(refusal) => return refuse(&mut exchange, &refusal),
        }
    }
    let mut plan = match planned(&mut exchange, &asked, &parts, &body) {
        Ok(plan) => plan,
        Err(refusal) => return refuse(&mut exchange, &refusal),
    };
    if exchange.caller.environment.guards {
        match Box::pin(screen::request(&mut exchange, &body)).await {
            Ok(None) => {}
            Ok(Some(masked)) => {
                body = masked;
                // Places in the body are others now.
                plan = match planned(&mut exchange, &asked, &parts, &body) {
                    Ok(plan) => plan,
                    Err(refusal) => return refuse(&mut exchange, &refusal),
                };
            }
            Err(refusal) => return refuse(&mut exchange, &refusal),
        }
    }
    let mut lead = None;
    if recall::concerns(&exchange, &plan) {
        match Box::pin(recall::recall(&mut exchange, &plan, &parts.headers, &body)).await {
            Ok(Recalled::Answer(answer)) => return answer,
            Ok(Recalled::Lead(asks)) => lead = Some(asks),
            Ok(Recalled::Nothing) => {}
            Err(refusal) => return refuse(&mut exchange, &refusal),
        }
    }
    if counting(exchange.operation).is_none() {
        plan::weigh(&mut exchange, &mut plan);
    }
    if queue::concerns(&exchange, &plan) {
        let turn = Box::pin(queue::enter(&mut exchange, &plan, body.len())).await;
        if let Err(refusal) = turn {
            return refuse(&mut exchange, &refusal);
        }
    }
    let reservation = match afford(&mut exchange, &mut plan).await {
        Ok(reservation) => reservation,
        Err(refusal) => return refuse(&mut exchange, &refusal),
    };
    match lead {
        None => put(exchange, &parts.headers, body, plan, reservation).await,
        Some(mut lead) => {
            if plan.cache.is_none() {
                lead.leave_cache();
            }
            lead.take_places(&mut exchange);
            let client = parts.headers;
            let answering = Box::pin(async move { put(exchange, &client, body, plan, reservation).await });
            lead.carry(answering).await
        }
    }
}

/// Puts what is planned and paid for to whoever answers it.
async fn put(
    mut exchange: Box<Exchange>,
    client: &HeaderMap,
    body: Bytes,
    plan: plan::Plan,
    reservation: ledger::Reservation,
) -> Response<Body> {
    match counting(exchange.operation) {
        Some(raw) if plan.attempts.is_empty() => raw::estimated(&mut exchange, raw),
        _ if exchange.stored.as_ref().is_some_and(|stored| stored.is_detached()) => {
            let begin = stored::background::begin(exchange, client, body, plan, reservation);
            Box::pin(begin).await
        }
        _ => dispatch::dispatch(exchange, client, body, plan, reservation).await,
    }
}

/// Azure's older paths name the model, and not every client says it again in the body.
fn named(operation: Operation, call: &urls::Call<'_>, body: Bytes) -> Bytes {
    let of_openai = matches!(
        operation,
        Operation::Chat | Operation::Completions | Operation::Embeddings | Operation::Responses
    );
    let model = call.model.filter(|_| of_openai).map(urls::unescape);
    model.and_then(|model| request::with_model(&body, &model)).unwrap_or(body)
}

/// Whose request it is, with a turn from the key's limits; before anything of a body is read.
pub(crate) async fn admitted(
    gateway: &Arc<Gateway>,
    operation: Operation,
    id: policy::RequestId,
    started: policy::Moment,
    parts: &Parts,
    peer: Option<IpAddr>,
) -> Result<Box<Exchange>, Box<Response<Body>>> {
    let caller = match authenticate::caller(gateway, operation, parts) {
        Ok(caller) => caller,
        Err(refusal) => {
            gateway.metrics.count_unauthenticated(refusal.status());
            let mut answer = refusal.answer_in(operation.dialect(), &id.to_string());
            headers::add_id(answer.headers_mut(), id);
            return Err(Box::new(answer));
        }
    };
    let mut exchange = Box::new(open(gateway, operation, id, started, caller, parts));
    rollout::begin(&mut exchange);
    if !exchange.caller.environment.limits.is_empty() {
        exchange.address = limits::address(gateway, peer, &parts.headers);
    }
    if let Err(refusal) = limits::enter(&mut exchange, started).await {
        return Err(Box::new(refuse(&mut exchange, &refusal)));
    }
    match wishes::read(&parts.headers) {
        Ok(wishes) => {
            exchange.limit = wishes.timeout.map(|timeout| Limit { timeout, ends: started.plus(timeout) });
            exchange.strict = wishes.strict;
            exchange.recall.wish = wishes.cache;
            exchange.recall.idempotency = wishes.idempotency;
            Ok(exchange)
        }
        Err(refusal) => Err(Box::new(refuse(&mut exchange, &refusal))),
    }
}

/// Reads the body and resolves the model.
fn planned(
    exchange: &mut Exchange,
    call: &urls::Call<'_>,
    parts: &Parts,
    body: &Bytes,
) -> Result<plan::Plan, Box<Refusal>> {
    match exchange.operation {
        Operation::Raw(raw) => raw::read(exchange, raw, call, parts, body)?,
        _ => read(exchange, call, parts, body)?,
    }
    exchange.model_asked = exchange.asked.model.as_str().into();
    if exchange.end_user.is_none() {
        exchange.end_user = exchange.asked.end_user.as_deref().map(label);
    }
    rollout::decide(exchange);
    if exchange.caller.environment.log_bodies {
        exchange.request_body = Some(body.clone());
    }
    let mut plan = match exchange.operation {
        Operation::Raw(raw) => raw::plan(exchange, raw, &parts.headers)?,
        _ => plan::plan(exchange, &parts.headers)?,
    };
    exchange.named = Arc::clone(&plan.asked);
    stored::narrow(exchange, &mut plan)?;
    match exchange.late() {
        Some(late) => Err(late),
        None => Ok(plan),
    }
}

/// Takes tokens and reserves money.
async fn afford(exchange: &mut Exchange, plan: &mut plan::Plan) -> Result<ledger::Reservation, Box<Refusal>> {
    if counting(exchange.operation).is_none() {
        limits::charge(exchange, &plan.asked, exchange.times.received).await?;
    } else {
        limits::charge_turn(exchange, &plan.asked, exchange.times.received).await?;
    }
    let reservation = match admit::reserve(exchange, plan).await {
        Err(spent) if spent.code == Code::InsufficientQuota && !plan.cheaper.is_empty() => {
            plan.attempts = plan.cheaper.drain(..).collect();
            // What answers since this key's money is spent is no answer for others.
            plan.cache = None;
            admit::reserve(exchange, plan).await?
        }
        reserved => reserved?,
    };
    runtime::failpoint!("gateway.reserved");
    Ok(reservation)
}

fn read(
    exchange: &mut Exchange,
    call: &urls::Call<'_>,
    parts: &Parts,
    body: &Bytes,
) -> Result<(), Box<Refusal>> {
    exchange.asked = request::read(exchange.operation, body).map_err(|bad| {
        let mut refusal = Refusal::new(Code::InvalidRequest, bad.message);
        refusal.param = bad.param.map(Into::into);
        refusal.detail = bad.code;
        refusal
    })?;
    if let Some(model) = call.model {
        exchange.asked.name(urls::model_name(model));
    }
    if let Some(stream) = call.stream {
        exchange.asked.stream = stream;
        let events = parts.uri.query().is_some_and(|query| query.split('&').any(|part| part == "alt=sse"));
        exchange.as_array = stream && !events;
    }
    Ok(())
}

/// A call that only counts tokens.
fn counting(operation: Operation) -> Option<Raw> {
    match operation {
        Operation::Raw(raw) if raw.counts_tokens() => Some(raw),
        _ => None,
    }
}

/// Refuses an authenticated request; it is logged like any other.
pub(crate) fn refuse(exchange: &mut Exchange, refusal: &Refusal) -> Response<Body> {
    let mut answer = refusal.answer_in(exchange.operation.dialect(), &exchange.id.to_string());
    let now = exchange.gateway.clock.moment();
    headers::add_ours(exchange, answer.headers_mut(), exchange.own_time(now, None));
    settle::log_refused(exchange, refusal.status(), refusal.code_name());
    answer
}

pub(crate) fn open(
    gateway: &Arc<Gateway>,
    operation: Operation,
    id: policy::RequestId,
    started: policy::Moment,
    caller: Caller,
    parts: &Parts,
) -> Exchange {
    let client = &parts.headers;
    let environment = &caller.environment;
    let labels = Labels {
        organization: Arc::clone(&environment.organization),
        workspace: Arc::clone(&environment.workspace),
        environment: Arc::clone(&environment.name),
        layer: gateway.layer_name(environment.layer),
        region: Arc::clone(&environment.region),
        release: environment.release,
        variant: None,
        prompt_version: None,
        key_id: caller.key.record.id.clone(),
        key_name: Arc::clone(&caller.key.record.name),
    };
    let header = |name: http::HeaderName| {
        client.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty())
    };
    Exchange {
        id,
        id_text: headers::id(id),
        at: gateway.clock.now(),
        times: Times::begun(started),
        operation,
        http1: parts.version < http::Version::HTTP_2,
        labels: Arc::new(labels),
        caller,
        address: None,
        taken: Taken::default(),
        visited: Taken::default(),
        turns: queue::Turns::default(),
        held: None,
        limit: None,
        strict: false,
        requests_standing: None,
        tokens_standing: None,
        asked: request::Asked::default(),
        raw: None,
        stored: None,
        parsed: None,
        vectors: None,
        dropped: Vec::new(),
        usage_estimated: false,
        as_array: false,
        model_asked: Name::default(),
        named: Name::default(),
        end_user: header(headers::USER).map(label),
        session: header(headers::SESSION).map(label),
        tags: header(headers::TAGS).map(tags).unwrap_or_default(),
        attempts: 0,
        budgeted: false,
        set_output: None,
        busy: None,
        paced: None,
        deployment: None,
        by: None,
        upstream_request_id: None,
        request_body: None,
        in_flight: Some(gateway.metrics.begin()),
        alarm: None,
        answer_guards: screen::InForce::new(),
        guarded: String::new(),
        recall: recall::Said::default(),
        undecided: false,
        gateway: Arc::clone(gateway),
    }
}

fn label(text: &str) -> Name {
    // Bytes are never fewer than characters.
    if text.len() <= MAX_LABEL {
        text.into()
    } else {
        text.chars().take(MAX_LABEL).collect::<String>().into()
    }
}

/// `k=v,…`; what has no `=` is a tag with an empty value.
fn tags(text: &str) -> Vec<(Name, Name)> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).take(MAX_TAGS);
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| !ledger::is_own_tag(name.trim()))
        .map(|(k, v)| (label(k.trim()), label(v.trim())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_leniently_and_bounded() {
        let read = tags("team=search, beta,, x = y ");
        let read: Vec<_> = read.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(read, [("team", "search"), ("beta", ""), ("x", "y")]);
        assert_eq!(tags(&"a=b,".repeat(100)).len(), MAX_TAGS);
    }
}
