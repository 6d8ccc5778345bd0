//! A plain HTTP client: one connection for each request unless a test keeps one, every wait bounded.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::stand::PATIENCE;

#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    key: String,
    headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// An answer that is still coming.
pub(crate) struct Coming {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    body: Incoming,
    connection: tokio::task::JoinHandle<()>,
}

impl Coming {
    /// The next bytes; `None` at the end; an error when the connection broke.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("bytes in time")?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    /// All the rest; an error when the connection broke before the end.
    pub(crate) async fn rest(mut self) -> Result<String, (String, hyper::Error)> {
        let mut text = String::new();
        while let Some(piece) = self.next().await {
            match piece {
                Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => return Err((text, error)),
            }
        }
        Ok(text)
    }

    /// Goes away without reading on.
    pub(crate) fn abort(self) {
        self.connection.abort();
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        Self { address, key: key.to_owned(), headers: Vec::new() }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub(crate) fn header(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Coming> {
        let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(self.address)).await??;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        let mut request = http::Request::builder().method(method).uri(path);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            request = request.header("host", self.address.to_string());
        }
        if !self.headers.iter().any(|(name, _)| name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        if !self.key.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.key));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body.into()))?;
        let response = tokio::time::timeout(PATIENCE, sender.send_request(request)).await??;
        let (head, body) = response.into_parts();
        Ok(Coming { status: head.status.as_u16(), headers: head.headers, body, connection })
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Reply> {
        let coming = self.open(method, path, body).await?;
        let (status, headers) = (coming.status, coming.headers.clone());
        let body = tokio::time::timeout(PATIENCE, coming.body.collect()).await??.to_bytes();
        Ok(Reply { status, headers, body })
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Reply> {
        self.send("GET", path, Bytes::new()).await
    }

    /// Value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").await.ok()?.text();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send("POST", path, body).await.unwrap()
    }

    /// A chat call that is not streamed.
    pub(crate) async fn chat(&self, model: &str) -> Reply {
        self.post("/v1/chat/completions", chat(model, "")).await
    }

    /// A chat call that is streamed.
    pub(crate) async fn stream(&self, model: &str) -> Coming {
        self.open("POST", "/v1/chat/completions", chat(model, r#","stream":true"#)).await.unwrap()
    }
}

/// A chat body with more members at its end.
pub(crate) fn chat(model: &str, more: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello there"}}]{more}}}"#)
}
