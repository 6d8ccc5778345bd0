//! The URLs: connections come in here, and each request goes to its endpoint.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::ask::{self, Ask};
use crate::directives::Directives;
use crate::models::{self, Kind, Model};
use crate::pace::{Body, SILENCE};
use crate::refusal::Refusal;
use crate::{chat, completions, compose, embeddings, realtime};

const MAX_BODY: usize = 64 << 20;
/// Connections at once; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 16_384;
const BODY_TIME: Duration = Duration::from_secs(60);

/// What the requests share.
struct Desk {
    clock: runtime::Clock,
    tasks: runtime::Tasks,
    /// Requests to `flaky` so far.
    flaky: AtomicU64,
}

/// Accepts connections until the tasks stop.
pub(crate) async fn accept(listener: TcpListener, clock: runtime::Clock, tasks: runtime::Tasks) {
    let desk = Arc::new(Desk { clock, tasks: tasks.clone(), flaky: AtomicU64::new(0) });
    let room = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = tasks.stopping() => return,
        };
        match stream {
            Ok((stream, _)) => {
                let connection = connection(stream, Arc::clone(&desk), tasks.clone());
                tasks.spawn("demo connection", async move {
                    connection.await;
                    drop(place);
                });
            }
            // Out of descriptors: give the others time to close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(stream: TcpStream, desk: Arc<Desk>, tasks: runtime::Tasks) {
    // Only latency is at stake.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(120));
    let mut serving = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = tasks.stopping() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "simulated provider: a connection broke");
    }
}

impl Desk {
    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let start = Instant::now();
        if request.uri().path() == "/v1/realtime" {
            let mut response = self.session(&mut request).unwrap_or_else(|refusal| refusal.response());
            response.headers_mut().insert("x-simulated", HeaderValue::from_static("true"));
            return response;
        }
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let answered = match (head.method, path.as_str()) {
            (Method::GET, "/v1/models") => Ok(json_answer(&json!({"object": "list",
                "data": models::models().iter().map(model_json).collect::<Vec<_>>()}))),
            (Method::GET, path) if path.starts_with("/v1/models/") => one_model(path),
            (Method::POST, "/v1/chat/completions" | "/v1/completions" | "/v1/embeddings") => {
                match read(body).await {
                    Ok(body) => self.endpoint(&path, &body, start).await,
                    Err(refusal) => Err(refusal),
                }
            }
            (method, path) => {
                Err(Refusal::status(404, None, format!("the simulated provider has no {method} {path}")))
            }
        };
        let mut response = answered.unwrap_or_else(|refusal| refusal.response());
        response.headers_mut().insert("x-simulated", HeaderValue::from_static("true"));
        response
    }

    /// Grants a session over a WebSocket.
    fn session(&self, request: &mut Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let query = request.uri().query().unwrap_or_default();
        let name = query.split('&').find_map(|pair| pair.strip_prefix("model=")).unwrap_or_default();
        let model = models::find(name).filter(|model| model.kind == Kind::Realtime).ok_or_else(|| {
            let message = format!("the simulated provider has no realtime model `{name}`");
            Refusal::status(404, Some("model_not_found"), message)
        })?;
        let Some(key) = request.headers().get("sec-websocket-key") else {
            return Err(Refusal::status(400, None, "`/v1/realtime` takes a WebSocket"));
        };
        let accept = derive_accept_key(key.as_bytes());
        let upgrade = hyper::upgrade::on(request);
        self.tasks.spawn("demo session", realtime::talk(upgrade, model));
        let mut response = Response::new(Body::whole(Bytes::new()));
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::try_from(accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        Ok(response)
    }

    async fn endpoint(&self, path: &str, body: &Value, start: Instant) -> Result<Response<Body>, Refusal> {
        let created = self.clock.now().as_millis() / 1_000;
        match path {
            "/v1/embeddings" => {
                let model = ask::model(body, true)?;
                let directives = Directives::take(&body["metadata"], &mut String::new())?;
                self.failures(model, &directives, start).await?;
                let answer = embeddings::answer(body, model)?;
                tokio::time::sleep_until(start + model.due(0, directives.pace) + directives.delay).await;
                Ok(json_answer(&answer))
            }
            "/v1/completions" => {
                let mut asks = Ask::completions(body)?;
                let Some(first) = asks.first() else {
                    return Err(Refusal::bad("prompt", "`prompt` is empty"));
                };
                self.failures(first.model, &first.directives, start).await?;
                let choices: Vec<_> = asks.iter().flat_map(compose::choices).collect();
                let whole = completions::whole(&asks, &choices, created, body["echo"] == true);
                let input = asks.iter().map(|ask| ask.input_tokens).sum();
                let mut ask = asks.swap_remove(0);
                ask.input_tokens = input;
                if ask.stream {
                    let events = completions::events(&ask, &choices);
                    return Ok(events_answer(Body::paced(
                        events,
                        completions::envelope(&ask, created),
                        start,
                    )));
                }
                Ok(whole_answer(&ask, &choices, &whole, start).await)
            }
            _ => {
                let ask = Ask::chat(body)?;
                self.failures(ask.model, &ask.directives, start).await?;
                let choices = compose::choices(&ask);
                if ask.stream {
                    let events = chat::events(&ask, &choices);
                    return Ok(events_answer(Body::paced(events, chat::envelope(&ask, created), start)));
                }
                let whole = chat::whole(&ask, &choices, created);
                Ok(whole_answer(&ask, &choices, &whole, start).await)
            }
        }
    }

    /// The failures that were asked for, by directive or by choosing a model that fails.
    async fn failures(&self, model: &Model, directives: &Directives, start: Instant) -> Result<(), Refusal> {
        let status = match (directives.status, model.kind) {
            (Some(status), _) => status,
            (None, Kind::Fail) => 500,
            (None, Kind::Flaky) => match self.flaky.fetch_add(1, Ordering::Relaxed) % 6 {
                2 => 503,
                5 => 429,
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        tokio::time::sleep_until(start + model.due(0, directives.pace) + directives.delay).await;
        let code = (status == 429).then_some("rate_limit_exceeded");
        let message = format!("simulated failure with status {status}, as asked of model `{}`", model.name);
        let asks_to_wait = matches!(status, 429 | 503);
        let retry_after = directives.retry_after.or(asks_to_wait.then_some(1));
        Err(Refusal { retry_after, ..Refusal::status(status, code, message) })
    }
}

async fn read(body: Incoming) -> Result<Value, Refusal> {
    let whole = tokio::time::timeout(BODY_TIME, Limited::new(body, MAX_BODY).collect()).await;
    let bytes = match whole {
        Ok(Ok(whole)) => whole.to_bytes(),
        Ok(Err(_)) => {
            return Err(Refusal::status(413, None, format!("the body is broken or over {MAX_BODY} bytes")));
        }
        Err(_) => return Err(Refusal::status(408, None, "the body did not arrive in time")),
    };
    let wrong =
        |error: serde_json::Error| Refusal::status(400, None, format!("the body is not valid JSON: {error}"));
    let body: Value = serde_json::from_slice(&bytes).map_err(wrong)?;
    if body.is_object() {
        Ok(body)
    } else {
        Err(Refusal::status(400, None, "the body must be a JSON object"))
    }
}

fn model_json(model: &Model) -> Value {
    json!({"id": model.name, "object": "model", "created": 1_767_225_600, "owned_by": "simulated", "description": model.says})
}

fn one_model(path: &str) -> Result<Response<Body>, Refusal> {
    let name = path.strip_prefix("/v1/models/").unwrap_or("");
    match models::find(name) {
        Some(model) => Ok(json_answer(&model_json(model))),
        None => Err(Refusal::status(
            404,
            Some("model_not_found"),
            format!("the simulated provider has no model `{name}`"),
        )),
    }
}

fn json_answer(value: &Value) -> Response<Body> {
    with_type(Body::whole(Bytes::from(value.to_string())), "application/json")
}

fn events_answer(body: Body) -> Response<Body> {
    let mut response = with_type(body, "text/event-stream; charset=utf-8");
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn with_type(body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A whole answer takes as long as its longest choice takes to generate.
async fn whole_answer(
    ask: &Ask,
    choices: &[compose::Choice],
    whole: &Value,
    start: Instant,
) -> Response<Body> {
    let longest = choices.iter().map(compose::Choice::tokens).max().unwrap_or(0);
    let Directives { die, stall, pace, delay, .. } = ask.directives;
    let breaks = [die, stall].into_iter().flatten().filter(|at| *at <= longest).min();
    let silence = if die.is_none() && breaks.is_some() { SILENCE } else { Duration::ZERO };
    tokio::time::sleep_until(start + ask.model.due(breaks.unwrap_or(longest), pace) + delay + silence).await;
    let bytes = Bytes::from(whole.to_string());
    if breaks.is_some() {
        return with_type(Body::half(&bytes), "application/json");
    }
    with_type(Body::whole(bytes), "application/json")
}
