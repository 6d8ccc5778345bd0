//! Vendors that refuse what the real ones refuse, and answer in their manner.
//!
//! The scripted upstream takes anything; here the point is what is not taken. Each [`Manner`] knows the deviations of one
//! vendor from its pages (`docs/providers`, the notes they name) and answers 400 in that vendor's words to a request
//! that the vendor would refuse. With tools and no result of one yet, it calls the first tool; else it says something.

mod azure;
mod chat;
mod openai;
mod signed;
mod vectors;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::journal::lock;

const MAX_BODY: usize = 64 << 20;

/// Whose manner it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Thinking by object and three levels, thoughts replayed, `prefix`, comments while it waits.
    DeepSeek,
    /// `enable_thinking` and `thinking_budget`.
    Qwen,
    /// `max_tokens`, `tool_stream`, `tool_choice` auto, no schema, no penalties.
    Glm,
    /// Fixed sampling, thoughts replayed, `partial`, texts as texts.
    Kimi,
    /// Think tags, empty roles, empty counts, temperature in (0, 1].
    MiniMax,
    /// Chat and Responses, each with the models that it serves.
    OpenAi,
    /// Azure by deployment, with `api-version`.
    AzureClassic,
    /// Azure's v1 form.
    AzureV1,
    /// Signs its thoughts and refuses others'.
    Anthropic,
    /// Signs its calls and refuses others'; makes vectors.
    Gemini,
    /// Vectors for a purpose, texts in order, tokens and units as it bills them; OpenAI's dialect beside it.
    Cohere,
    /// OpenAI's frame for vectors with words of its own, and documents in order.
    Jina,
}

/// A request that came, and the status of its answer.
#[derive(Clone, Debug)]
pub struct Seen {
    /// With the query.
    pub path: String,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: String,
    /// Of the answer.
    pub status: u16,
}

impl Manner {
    /// By its name on a command line.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "openai" => Self::OpenAi,
            "anthropic" => Self::Anthropic,
            "gemini" => Self::Gemini,
            "cohere" => Self::Cohere,
            "jina" => Self::Jina,
            _ => return None,
        })
    }
}

impl Seen {
    /// The body as JSON; `null` where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// A request, read.
pub(crate) struct Asked<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body: &'a Value,
}

impl Asked<'_> {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn streams(&self) -> bool {
        self.body["stream"] == true
    }
}

/// The first of these names that does not fit: at most so long, letters, digits, `_` and what else is taken.
pub(crate) fn odd_name<'v>(
    names: impl Iterator<Item = &'v Value>,
    longest: usize,
    more: &str,
) -> Option<&'v str> {
    let fits = |name: &&str| {
        let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(c));
        letters && !name.is_empty() && name.len() <= longest
    };
    names.filter_map(Value::as_str).find(|name| !fits(name))
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: Vec::new(), content_type: "application/json", body: body.to_string() }
    }

    /// Events: each `event: NAME` where it has one, and its data; comments and `[DONE]` as they stand.
    pub(crate) fn events(events: &[(Option<&str>, Value)], done: bool) -> Self {
        let mut body = String::new();
        for (name, data) in events {
            if let Some(name) = name {
                body.push_str(&format!("event: {name}\n"));
            }
            body.push_str(&format!("data: {data}\n\n"));
        }
        if done {
            body.push_str("data: [DONE]\n\n");
        }
        Self { status: 200, headers: Vec::new(), content_type: "text/event-stream", body }
    }

    /// A refusal in OpenAI's form.
    pub(crate) fn refused(message: &str, param: &str) -> Self {
        let error = serde_json::json!({
            "message": message, "type": "invalid_request_error", "param": param, "code": null
        });
        Self::json(400, &serde_json::json!({ "error": error }))
    }
}

/// A running vendor; dropping it closes all its connections.
#[derive(Debug)]
pub struct Vendor {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: JoinHandle<()>,
}

impl Vendor {
    /// Starts serving on a free port of the loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(manner: Manner) -> anyhow::Result<Self> {
        Self::start_at(manner, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// The same at an address.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn start_at(manner: Manner, listen: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let serving = tokio::spawn(serve(listener, manner, Arc::clone(&seen)));
        Ok(Self { address, seen, serving })
    }

    /// Its root: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn root(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came, the oldest first.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    /// What came last.
    #[must_use]
    pub fn last(&self) -> Option<Seen> {
        lock(&self.seen).last().cloned()
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, manner: Manner, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { return };
        let seen = Arc::clone(&seen);
        open.spawn(async move {
            let service = service_fn(|request| respond(request, manner, &seen));
            // A client that goes away is no concern of the vendor.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    request: http::Request<Incoming>,
    manner: Manner,
    seen: &Mutex<Vec<Seen>>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers: Vec<_> =
        head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let reply = answer(manner, &Asked { path, query, headers: &headers, body: &json });
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let body = String::from_utf8_lossy(&body).into_owned();
    lock(seen).push(Seen { path, headers, body, status: reply.status });
    let mut response =
        http::Response::builder().status(reply.status).header("content-type", reply.content_type);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(reply.body.into())).unwrap_or_default())
}

fn answer(manner: Manner, asked: &Asked<'_>) -> Reply {
    match manner {
        Manner::OpenAi => openai::answer(asked),
        Manner::AzureClassic | Manner::AzureV1 => azure::answer(manner, asked),
        Manner::Anthropic => signed::anthropic(asked),
        Manner::Gemini => vectors::gemini(asked).unwrap_or_else(|| signed::gemini(asked)),
        Manner::Cohere | Manner::Jina => vectors::answer(manner, asked),
        _ => chat::answer(manner, asked),
    }
}
