//! The admin API through the owner-only socket in the data folder.

use super::connect::{Door, fetch};
use crate::located::{Place, socket_in};
use anyhow::{Context, bail};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use runtime::Tasks;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(30);
/// A thousand log lines with bodies are the largest thing asked for.
const MOST: usize = 256 * 1024 * 1024;

/// A way to ask the gateway that runs on this host.
pub(crate) struct Control {
    socket: PathBuf,
    tasks: Tasks,
}

impl Control {
    /// The gateway of this place. Nothing is opened yet.
    pub(crate) fn of(place: &Place) -> anyhow::Result<Self> {
        Ok(Self { socket: socket_in(&place.data_dir()?), tasks: Tasks::new() })
    }

    /// `GET`, with query parameters that are there.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, Option<String>)]) -> anyhow::Result<Value> {
        let pairs: Vec<String> = query
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", escape(value.as_deref()?))))
            .collect();
        let target = if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) };
        self.ask(Method::GET, &target, Bytes::new()).await
    }

    /// `POST` of a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Bytes::from(serde_json::to_vec(body)?)).await
    }

    async fn ask(&self, method: Method, target: &str, body: Bytes) -> anyhow::Result<Value> {
        let mut request = Request::builder().method(method).uri(target);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(body))?;
        let door = Door::Unix(self.socket.clone());
        let reply = fetch(&door, &self.tasks, request, WITHIN, MOST).await.with_context(|| {
            let socket = self.socket.display();
            format!("no gateway answers at `{socket}`; is `tidegate serve` running, with this data folder?")
        })?;
        let value: Value = serde_json::from_slice(&reply.body).context("the gateway's answer is not JSON")?;
        if reply.status.is_success() {
            return Ok(value);
        }
        bail!("{}", message_of(&value, reply.status))
    }
}

fn message_of(answer: &Value, status: StatusCode) -> String {
    answer["error"]["message"]
        .as_str()
        .map_or_else(|| format!("the gateway answered {status}"), str::to_owned)
}

/// Percent-encodes everything that is not plain in a query.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_carries_any_text() {
        assert_eq!(escape("demo/echo &x=明"), "demo%2Fecho%20%26x%3D%E6%98%8E");
    }
}
