//! One request after another over kept connections, and what became of each.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::stream::{Reader, error_name, usage};
use super::{Kind, Load, Seen, Shot};
use crate::journal::lock;
use crate::random::micros;

type Sender = SendRequest<Full<Bytes>>;

/// An answer that is not read to its end is larger than this.
const MAX_ANSWER: usize = 64 << 20;

pub(super) struct Client {
    addr: SocketAddr,
    base: String,
    pub(super) load: Load,
    idle: Mutex<Vec<Sender>>,
    opened: AtomicU64,
    filler: String,
}

/// Why a request has no answer; the class of [`Seen`].
type Class = &'static str;

impl Client {
    pub(super) fn new(addr: SocketAddr, base: String, load: Load) -> Self {
        let filler =
            "the tide comes in and goes out again ".chars().cycle().take(load.prompt_bytes).collect();
        Self { addr, base, load, idle: Mutex::new(Vec::new()), opened: AtomicU64::new(0), filler }
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Sends one request and follows it to its end.
    pub(super) async fn shoot(&self, shot: &Shot, due: Instant) -> Seen {
        let mut seen = Seen {
            index: shot.index,
            kind: shot.kind.name().to_owned(),
            model: shot.model.clone(),
            at: micros() - i64::try_from(due.elapsed().as_micros()).unwrap_or(0),
            ..Seen::default()
        };
        let deadline = due + Duration::from_secs_f64(self.load.timeout);
        let class = match timeout_at(deadline, self.follow(shot, due, &mut seen)).await {
            Ok(Ok(class) | Err(class)) => class.to_owned(),
            Err(_) => "timeout".to_owned(),
        };
        seen.class = if class == "status" { format!("status_{}", seen.status) } else { class };
        seen.latency = since(due);
        seen
    }

    async fn follow(&self, shot: &Shot, due: Instant, seen: &mut Seen) -> Result<Class, Class> {
        let sending = self.send(shot);
        let (response, sender) = match shot.abort.filter(|_| shot.kind != Kind::Stream) {
            // Given up after as many milliseconds as a stream would see events.
            Some(abort) => match tokio::time::timeout(Duration::from_millis(abort), sending).await {
                Ok(sent) => sent?,
                Err(_) => {
                    seen.aborted_at = Some(micros());
                    return Ok("aborted");
                }
            },
            None => sending.await?,
        };
        seen.status = response.status().as_u16();
        seen.request_id = text_of(response.headers(), "x-request-id");
        seen.attempts =
            text_of(response.headers(), "x-tidegate-attempts").and_then(|attempts| attempts.parse().ok());
        seen.retry_after = text_of(response.headers(), "retry-after");
        let streamed = shot.kind == Kind::Stream && response.status() == 200;
        let class = if streamed {
            self.stream(shot, due, response, seen).await?
        } else {
            self.whole(shot, due, response, seen).await?
        };
        if seen.complete {
            self.give_back(sender);
        }
        Ok(class)
    }

    async fn send(&self, shot: &Shot) -> Result<(Response<Incoming>, Sender), Class> {
        let mut request = self.request(shot);
        loop {
            let pooled = if shot.own_connection { None } else { lock(&self.idle).pop() };
            let reused = pooled.is_some();
            let mut sender = match pooled {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            if sender.ready().await.is_err() {
                if reused {
                    continue;
                }
                return Err("connect");
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                // Closed by the server before a byte was sent on it: any client would try anew.
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if reused => request = unsent,
                    _ => return Err("broken"),
                },
            }
        }
    }

    async fn connect(&self) -> Result<Sender, Class> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let stream = TcpStream::connect(self.addr).await.map_err(|_| "connect")?;
        // Only latency is at stake.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| "connect")?;
        tokio::spawn(async move {
            // How it ended shows in the requests on it.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn give_back(&self, sender: Sender) {
        if !sender.is_closed() {
            lock(&self.idle).push(sender);
        }
    }

    /// What this request says and its answer repeats, if the model is an echo.
    fn mark(&self, shot: &Shot) -> String {
        format!("mark {}-{}.", self.load.seed, shot.index)
    }

    fn request(&self, shot: &Shot) -> Request<Full<Bytes>> {
        let text = format!("{} {}", self.mark(shot), self.filler);
        let (path, mut body) = match shot.kind {
            Kind::Embeddings => ("embeddings", json!({"model": shot.model, "input": text})),
            _ => {
                let messages = json!([{"role": "user", "content": text}]);
                ("chat/completions", json!({"model": shot.model, "messages": messages}))
            }
        };
        if shot.kind == Kind::Stream {
            body["stream"] = Value::Bool(true);
            if shot.include_usage {
                body["stream_options"] = json!({"include_usage": true});
            }
        }
        if let Some(most) = self.load.max_tokens.filter(|_| shot.kind != Kind::Embeddings) {
            body["max_tokens"] = most.into();
        }
        let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = format!("{}/{path}", self.base).parse().unwrap_or_default();
        let headers = request.headers_mut();
        let mut add = |name, value: String| {
            if let Ok(value) = http::HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        };
        add(header::HOST, self.addr.to_string());
        add(header::CONTENT_TYPE, "application/json".to_owned());
        add(header::AUTHORIZATION, format!("Bearer {}", self.load.key));
        request
    }

    async fn whole(
        &self,
        shot: &Shot,
        due: Instant,
        response: Response<Incoming>,
        seen: &mut Seen,
    ) -> Result<Class, Class> {
        let status = response.status();
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err("truncated") };
            seen.first_byte.get_or_insert_with(|| since(due));
            bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if bytes.len() > MAX_ANSWER {
                return Err("malformed");
            }
        }
        let Ok(answer) = serde_json::from_slice::<Value>(&bytes) else {
            return Err(if status == 200 { "malformed" } else { "status" });
        };
        seen.complete = true;
        if status != 200 {
            seen.error = Some(error_name(&answer));
            return Ok("status");
        }
        seen.usage = usage(&answer);
        let text = answer["choices"][0]["message"]["content"].as_str();
        if self.load.expect_echo
            && shot.kind == Kind::Chat
            && !text.is_some_and(|text| text.contains(&self.mark(shot)))
        {
            return Ok("crossed");
        }
        Ok("ok")
    }

    async fn stream(
        &self,
        shot: &Shot,
        due: Instant,
        response: Response<Incoming>,
        seen: &mut Seen,
    ) -> Result<Class, Class> {
        let mut reader = Reader { keep_text: self.load.expect_echo, ..Reader::default() };
        let mut body = response.into_body();
        let mut whole = true;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                whole = false;
                break;
            };
            seen.first_byte.get_or_insert_with(|| since(due));
            reader.push(frame.data_ref().map_or(&[][..], |data| data));
            seen.events = reader.events;
            if shot.abort.is_some_and(|abort| reader.events >= abort) && !reader.done {
                seen.aborted_at = Some(micros());
                return Ok("aborted");
            }
        }
        seen.usage = reader.usage;
        seen.error = reader.error.clone();
        if reader.malformed || reader.trailing {
            return Err("malformed");
        }
        if !whole || !reader.at_border() {
            return Err("truncated");
        }
        if reader.error.is_some() {
            return Err("error_event");
        }
        if !reader.done {
            return Err("truncated");
        }
        seen.complete = true;
        if self.load.expect_echo && !reader.text.contains(&self.mark(shot)) {
            return Ok("crossed");
        }
        Ok("stream_ok")
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Stream => "stream",
            Self::Embeddings => "embeddings",
        }
    }
}

fn since(due: Instant) -> u64 {
    u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
