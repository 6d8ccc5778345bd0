//! The admin API: through the owner-only socket in the data folder, or over the network with a token.

use super::connect::{Door, fetch};
use crate::environment;
use crate::located::{Place, socket_in};
use anyhow::{Context, bail};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Method, Request, StatusCode};
use runtime::Tasks;
use serde_json::Value;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(30);
/// A thousand log lines with bodies are the largest thing asked for.
const MOST: usize = 256 * 1024 * 1024;

const USUAL_URL: &str = "http://127.0.0.1:8080";

/// A way to ask a gateway: the one that runs on this host, or the one that a token is for.
pub(crate) struct Control {
    door: Door,
    /// What stands before every path.
    under: String,
    token: Option<String>,
    tasks: Tasks,
}

impl Control {
    /// The gateway of this place. Nothing is opened yet.
    pub(crate) fn of(place: &Place) -> anyhow::Result<Self> {
        let tasks = Tasks::new();
        let Some(token) = environment::find(environment::TOKEN) else {
            let door = Door::Unix(socket_in(&place.data_dir()?));
            return Ok(Self { door, under: String::new(), token: None, tasks });
        };
        let url = environment::find(environment::URL).unwrap_or_else(|| USUAL_URL.to_owned());
        let (door, path) = Door::of_url(&url)?;
        // `chat` takes the address with `/v1`, and people have one variable.
        let under = path.strip_suffix("/v1").unwrap_or(&path).to_owned();
        Ok(Self { door, under, token: Some(token), tasks })
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
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.under));
        if let Some(token) = &self.token {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.context("TIDEGATE_TOKEN holds what no header may")?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(body))?;
        let reply = fetch(&self.door, &self.tasks, request, WITHIN, MOST).await.with_context(|| match &self.door {
            Door::Unix(socket) => {
                let socket = socket.display();
                format!("no gateway answers at `{socket}`; is `tidegate serve` running, with this data folder?")
            }
            _ => "no gateway answers at TIDEGATE_URL".to_owned(),
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
