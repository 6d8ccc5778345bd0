//! Responses over a WebSocket (`GET /v1/responses`): each `response.create` is a call of its own.
//!
//! A call is what the same body at `POST /v1/responses` with `stream: true` would be: admitted, limited, planned, translated
//! and recorded each by itself, so every model can be asked this way, whether or not its provider has such sessions.
//! What the connection adds is order: one call at a time, those that come meanwhile wait. A client that closes ends its
//! call as one that breaks off a stream does.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use policy::Moment;
use providers::json;
use providers::request::Operation;
use providers::sse::Framer;
use runtime::Dice;
use serde_json::value::RawValue;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::{ACCEPT, Place, config, handshake};
use crate::body::Body;
use crate::listen::Client;
use crate::receive::Held;
use crate::refusal::{Code, Refusal};
use crate::relay::{MAX_EVENT, MAX_WHOLE};
use crate::{Gateway, authenticate, endpoints, headers, urls};

/// How often a client is asked whether it is there; one that has not been heard of for three times that is gone.
const PING: Duration = Duration::from_secs(30);
/// How long a connection may be open, as at OpenAI.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How long the client may take to take a message.
const TAKES: Duration = Duration::from_secs(60);
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Calls that may wait behind the one that runs.
const MAX_WAITING: usize = 8;
/// What is said of a call in its message and not in its body.
const OF_THE_MESSAGE: [&str; 3] = ["type", "stream", "event_id"];

type ToClient = SplitSink<WebSocketStream<TokioIo<Upgraded>>, Message>;
type FromClient = SplitStream<WebSocketStream<TokioIo<Upgraded>>>;

/// Answers the request for a connection, and starts it.
pub(crate) async fn answer(
    gateway: Arc<Gateway>,
    client: &Client,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let id = Dice::request_id(&gateway.clock);
    let refuse = |refusal: &Refusal| {
        gateway.metrics.count_unauthenticated(refusal.status());
        let mut answer = refusal.answer_in(Operation::Responses.dialect(), &id.to_string());
        headers::add_id(answer.headers_mut(), id);
        answer
    };
    // Each call is admitted by itself; but who has no key gets no connection.
    let caller = match authenticate::authenticate(&gateway, &parts.headers, parts.uri.query()) {
        Ok(caller) => caller,
        Err(refusal) => return refuse(&refusal),
    };
    let accept = match handshake::accept(&parts) {
        Ok(accept) => accept,
        Err(refusal) => return refuse(&refusal),
    };
    let place = match Place::take(&gateway, &caller.key.record.id) {
        Ok(place) => place,
        Err(refusal) => return refuse(&refusal),
    };
    let mut answer = Response::new(Body::whole(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let down = answer.headers_mut();
    down.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    down.insert(UPGRADE, HeaderValue::from_static("websocket"));
    down.insert(ACCEPT, accept);
    headers::add_id(down, id);
    client.becomes_a_tunnel();
    let busy = client.answer();
    let turns = Turns {
        gateway: Arc::clone(&gateway),
        headers: of_calls(parts.headers),
        uri: parts.uri,
        peer: client.address,
    };
    gateway.tasks.spawn("responses-socket", async move {
        let _held = (busy, place);
        turns.run(upgrade).await;
    });
    answer
}

/// The headers that each call is made with: not those of the handshake, nor of the one connection.
fn of_calls(mut headers: HeaderMap) -> HeaderMap {
    // Where a browser had no other place for its key.
    let offered = authenticate::in_protocol(&headers).next().map(|key| [b"Bearer ", key].concat());
    if let Some(Ok(bearer)) = offered.map(|text| HeaderValue::from_bytes(&text))
        && !headers.contains_key(AUTHORIZATION)
    {
        headers.insert(AUTHORIZATION, bearer);
    }
    let websocket = |name: &HeaderName| name.as_str().starts_with("sec-websocket-");
    let gone: Vec<_> = headers.keys().filter(|name| websocket(name)).cloned().collect();
    for name in gone.iter().chain([&CONNECTION, &UPGRADE, &headers::REQUEST_ID]) {
        headers.remove(name);
    }
    headers
}

/// A connection.
struct Turns {
    gateway: Arc<Gateway>,
    headers: HeaderMap,
    uri: Uri,
    peer: Option<IpAddr>,
}

/// The client's end: what it has sent and is not served yet.
struct Peer {
    to: ToClient,
    from: FromClient,
    waiting: VecDeque<(Utf8Bytes, Held)>,
    heard: Moment,
}

/// How a connection ends: what the client is told.
type End = Option<CloseFrame>;

fn frame(code: CloseCode, reason: &'static str) -> End {
    Some(CloseFrame { code, reason: reason.into() })
}

impl Turns {
    async fn run(self, upgrade: OnUpgrade) {
        let Ok(Ok(upgraded)) = tokio::time::timeout(PING, upgrade).await else { return };
        let stream =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config())).await;
        let (to, from) = stream.split();
        let heard = self.gateway.clock.moment();
        let mut peer = Peer { to, from, waiting: VecDeque::new(), heard };
        let gateway = Arc::clone(&self.gateway);
        let end = tokio::select! {
            end = self.serve(&mut peer) => end,
            () = tokio::time::sleep(LONGEST) => frame(CloseCode::Normal, "the connection is an hour old"),
            () = gateway.lifecycle.cut.cancelled() => frame(CloseCode::Away, "the gateway is stopping"),
        };
        let last = async {
            let _ = peer.to.send(Message::Close(end)).await;
            let _ = peer.to.close().await;
        };
        let _ = tokio::time::timeout(LAST_WORDS, last).await;
    }

    async fn serve(&self, peer: &mut Peer) -> End {
        loop {
            while let Some((message, held)) = peer.waiting.pop_front() {
                if let Err(end) = self.turn(message, held, peer).await {
                    return end;
                }
            }
            if let Err(end) = self.listen(peer).await {
                return end;
            }
        }
    }

    /// Waits for the client's next message, which then waits to be served.
    async fn listen(&self, peer: &mut Peer) -> Result<(), End> {
        let mut ask = tokio::time::interval(PING);
        ask.reset();
        loop {
            let message = tokio::select! {
                message = peer.from.next() => message,
                _ = ask.tick() => {
                    if self.gateway.clock.moment().since(peer.heard) > PING * 3 {
                        return Err(None);
                    }
                    say(&mut peer.to, Message::Ping(Bytes::new())).await?;
                    continue;
                }
            };
            peer.heard = self.gateway.clock.moment();
            match message {
                Some(Ok(Message::Text(text))) if peer.waiting.len() < MAX_WAITING => {
                    // Counted from here on: what waits takes as much room as what runs.
                    let Some(held) = self.gateway.memory.hold_body(text.len() as u64) else {
                        return Err(frame(CloseCode::Again, "the gateway holds as many bytes as it may"));
                    };
                    peer.waiting.push_back((text, held));
                    return Ok(());
                }
                Some(Ok(Message::Text(_))) => {
                    return Err(frame(CloseCode::Policy, "too many calls wait on this connection"));
                }
                Some(Ok(Message::Binary(_))) => {
                    return Err(frame(CloseCode::Unsupported, "calls are texts"));
                }
                Some(Ok(Message::Close(close))) => return Err(close),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(Error::Capacity(_))) => {
                    return Err(frame(CloseCode::Size, "the message is too long"));
                }
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Serves one message. An error ends the connection; what is wrong with the call does not.
    async fn turn(&self, message: Utf8Bytes, held: Held, peer: &mut Peer) -> Result<(), End> {
        let body = match call_of(&message) {
            Ok(body) => body,
            Err(refusal) => {
                return say(&mut peer.to, error_event(refusal.status(), &refusal_of(&refusal), None)).await;
            }
        };
        drop(message);
        let (parts, ()) = self.request().into_parts();
        let asked = urls::Call::of(Operation::Responses);
        let answering =
            Box::pin(endpoints::begun(Arc::clone(&self.gateway), asked, parts, body, held, self.peer));
        let answer = self.unless_gone(answering, peer).await?;
        let (head, mut body) = answer.into_parts();
        let events = head
            .headers
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let mut framer = Framer::new(MAX_EVENT);
        let mut whole = Vec::new();
        loop {
            let piece = match self.unless_gone(Box::pin(body.frame()), peer).await? {
                None => break,
                Some(Ok(piece)) => piece,
                // Bytes of which nothing is known break off; events never do without saying so.
                Some(Err(_)) => return Err(frame(CloseCode::Error, "the provider broke off")),
            };
            let Ok(bytes) = piece.into_data() else { continue };
            if !events {
                if whole.len() + bytes.len() > MAX_WHOLE {
                    return Err(frame(CloseCode::Size, "the answer is too long"));
                }
                whole.extend_from_slice(&bytes);
                continue;
            }
            framer.push(bytes);
            while let Ok(Some(event)) = framer.next() {
                if !event.comment_only && !event.continues && &*event.data != b"[DONE]" {
                    let text = Utf8Bytes::try_from(event.data)
                        .map_err(|_| frame(CloseCode::Error, "the provider sent no text"))?;
                    say(&mut peer.to, Message::Text(text)).await?;
                }
            }
        }
        if !events {
            say(&mut peer.to, error_event(head.status.as_u16(), &whole, Some(&head.headers))).await?;
        }
        Ok(())
    }

    /// The head of a call.
    fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        // A task of its own polls it, as with HTTP/2.
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(http::header::CONTENT_TYPE, json);
        request
    }

    /// Waits for something of a call, which is dropped when its client goes away meanwhile.
    async fn unless_gone<T>(
        &self,
        waiting: impl Future<Output = T> + Unpin,
        peer: &mut Peer,
    ) -> Result<T, End> {
        let mut waiting = waiting;
        loop {
            tokio::select! {
                biased;
                done = &mut waiting => return Ok(done),
                heard = self.listen(peer) => heard?,
            }
        }
    }
}

async fn say(to: &mut ToClient, message: Message) -> Result<(), End> {
    match tokio::time::timeout(TAKES, to.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(None),
    }
}

/// The body of a call: the message without what makes it one, every other byte as it came.
fn call_of(message: &str) -> Result<Bytes, Box<Refusal>> {
    let text = message.as_bytes();
    let bad = |message: String, param: &'static str| Refusal::new(Code::InvalidRequest, message).about(param);
    let object = json::top_level(text).map_err(|error| {
        let mut refusal =
            Refusal::new(Code::InvalidRequest, format!("the message is no JSON object: {error}"));
        refusal.detail = Some("invalid_json");
        refusal
    })?;
    let kinds: Vec<_> = object.fields.iter().filter(|field| field.key_is(text, "type")).collect();
    match kinds.as_slice() {
        [kind] if kind.value.of(text) == b"\"response.create\"" => {}
        _ => {
            return Err(bad(
                "`type` must be `response.create`; nothing else is taken here".to_owned(),
                "type",
            ));
        }
    }
    for name in ["stream_id", "generate", "background"] {
        if object.fields.iter().any(|field| field.key_is(text, name) && field.value.of(text) != b"false")
            || (name == "generate" && object.fields.iter().any(|field| field.key_is(text, name)))
        {
            return Err(bad(format!("`{name}` is not taken on this connection: leave it out"), name));
        }
    }
    let mut body = br#"{"stream":true"#.to_vec();
    for field in &object.fields {
        if !OF_THE_MESSAGE.iter().any(|name| field.key_is(text, name)) {
            body.push(b',');
            body.extend_from_slice(text.get(field.key.start..field.value.end).unwrap_or_default());
        }
    }
    body.push(b'}');
    Ok(body.into())
}

fn refusal_of(refusal: &Refusal) -> Vec<u8> {
    providers::dialects::error_body(providers::dialects::Dialect::Responses, &refusal.failing(""))
}

/// A refusal as OpenAI's clients read it on such a connection: the status, the error, and what the headers say.
fn error_event(status: u16, body: &[u8], told: Option<&HeaderMap>) -> Message {
    #[derive(serde::Deserialize)]
    struct Refused<'a> {
        #[serde(borrow)]
        error: &'a RawValue,
    }
    #[derive(serde::Serialize)]
    struct Event<'a> {
        r#type: &'static str,
        status: u16,
        error: serde_json::Map<String, serde_json::Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    }
    let error = serde_json::from_slice::<Refused<'_>>(body).ok().and_then(|refused| {
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(refused.error.get()).ok()
    });
    let mut error = error.unwrap_or_else(|| {
        let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
        let message = format!("the call was answered with status {status} and no readable error");
        [("message".to_owned(), message.into()), ("type".to_owned(), kind.into())].into_iter().collect()
    });
    let header = |name: &str| told?.get(name)?.to_str().ok();
    let worth = ["retry-after", "retry-after-ms", "x-tidegate-attempts", "x-tidegate-model"];
    let told: serde_json::Map<_, _> =
        worth.iter().filter_map(|name| Some(((*name).to_owned(), header(name)?.into()))).collect();
    if !told.is_empty() {
        error.insert("headers".to_owned(), told.into());
    }
    let event = Event { r#type: "error", status, error, request_id: header("x-request-id") };
    // Texts and numbers cannot fail to be written.
    Message::text(serde_json::to_string(&event).unwrap_or_default())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_its_message_but_for_what_makes_it_one() {
        let message = r#"{"type":"response.create", "model":"m","input" : "a","event_id":"e","temperature":1.0,"stream":false}"#;
        let body = call_of(message).unwrap();
        assert_eq!(body, r#"{"stream":true,"model":"m","input" : "a","temperature":1.0}"#);
        assert_eq!(call_of(r#"{"type":"response.create"}"#).unwrap(), r#"{"stream":true}"#);
    }

    #[test]
    fn what_is_no_call_is_refused_by_name() {
        for (message, param) in [
            (r#"{"type":"response.steer"}"#, Some("type")),
            (r#"{"type":"response.create","type":"response.create"}"#, Some("type")),
            (r#"{"model":"m"}"#, Some("type")),
            (r#"{"type":"response.create","generate":false}"#, Some("generate")),
            (r#"{"type":"response.create","background":true}"#, Some("background")),
            (r#"{"type":"response.create","stream_id":"a"}"#, Some("stream_id")),
            ("[]", None),
            ("{", None),
        ] {
            let refusal = call_of(message).unwrap_err();
            assert_eq!((refusal.param.as_deref(), refusal.status()), (param, 400), "{message}");
        }
        assert!(call_of(r#"{"type":"response.create","background":false}"#).is_ok());
    }

    #[test]
    fn a_refusal_is_an_event() {
        let read =
            |message: Message| serde_json::from_str::<serde_json::Value>(message.to_text().unwrap()).unwrap();
        let mut told = HeaderMap::new();
        told.insert("retry-after", HeaderValue::from_static("2"));
        told.insert("x-request-id", HeaderValue::from_static("r"));
        let event = read(error_event(
            429,
            br#"{"error":{"message":"m","type":"t","code":"c","param":null}}"#,
            Some(&told),
        ));
        assert_eq!(
            (&event["type"], &event["status"], &event["error"]["code"]),
            (&"error".into(), &429.into(), &"c".into())
        );
        assert_eq!(
            (&event["error"]["headers"]["retry-after"], &event["request_id"]),
            (&"2".into(), &"r".into())
        );
        let event = read(error_event(502, b"<html>", None));
        assert!(event["error"]["message"].as_str().unwrap().contains("502"));
    }
}
