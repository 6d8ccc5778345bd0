//! Guardrails of somebody else: asked over HTTP, within a time of their own and the client's.
//!
//! What is asked is one `POST` of JSON with the texts and what they belong to; what is answered is one word, and for a mask the texts
//! anew. Connections are those of any upstream: pooled by origin, with the same TLS, no redirect followed. Whatever else comes
//! (nothing in time, another status, no such JSON) means that it could not look, and is never taken for a yes.

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use policy::{Detector, Guardrail, Hook, Moment, Stage};
use serde::{Deserialize, Serialize};

use crate::exchange::Exchange;
use crate::upstream::pool::Call;
use crate::{Gateway, headers};

/// The largest question and the largest answer, bytes.
const LARGEST: usize = 1 << 20;

/// What a hook says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Block,
    /// The texts as they may go on, as many as were asked about.
    Mask(Vec<String>),
    Annotate,
    Observe,
    /// Nothing: the client's own limit is over.
    Late,
}

/// What is asked.
#[derive(Serialize)]
struct Question<'a> {
    guardrail: &'a str,
    stage: &'static str,
    request_id: String,
    environment: &'a str,
    endpoint: &'static str,
    model: &'a str,
    /// The texts have gone on to the client already, so that none can be masked any more.
    streamed: bool,
    texts: &'a [&'a str],
}

#[derive(Deserialize)]
struct Answer {
    action: String,
    texts: Option<Vec<String>>,
}

/// A question that can be put when its exchange is busy elsewhere.
pub(crate) struct Asking {
    pub(crate) guardrail: std::sync::Arc<Guardrail>,
    gateway: std::sync::Arc<Gateway>,
    id: HeaderValue,
    question: Result<Bytes, String>,
    texts: usize,
    /// Until then the client waits.
    ends: Option<Moment>,
}

impl Asking {
    pub(crate) fn new(
        exchange: &Exchange,
        guardrail: &std::sync::Arc<Guardrail>,
        stage: Stage,
        texts: &[&str],
        streamed: bool,
    ) -> Self {
        let length: usize = texts.iter().map(|text| text.len()).sum();
        let question = Question {
            guardrail: &guardrail.name,
            stage: stage.as_str(),
            request_id: exchange.id.to_string(),
            environment: &exchange.caller.environment.name,
            endpoint: exchange.endpoint(),
            model: &exchange.model_asked,
            streamed,
            texts,
        };
        let question = match length {
            0..=LARGEST => serde_json::to_vec(&question).map(Bytes::from).map_err(|error| error.to_string()),
            _ => Err(format!("the texts have more than {LARGEST} bytes")),
        };
        Self {
            guardrail: std::sync::Arc::clone(guardrail),
            gateway: std::sync::Arc::clone(&exchange.gateway),
            id: exchange.id_text.clone(),
            question,
            texts: texts.len(),
            ends: exchange.limit.map(|limit| limit.ends),
        }
    }

    /// Asks, or says in words why there is no verdict.
    pub(crate) async fn ask(self) -> Result<Verdict, String> {
        let Detector::Hook(hook) = &self.guardrail.detector else { return Ok(Verdict::Pass) };
        let question = self.question?;
        let left = self.ends.map(|ends| ends.since(self.gateway.clock.moment()));
        let within = left.map_or(hook.timeout, |left| left.min(hook.timeout));
        let asked = put(&self.gateway, hook, &self.id, question);
        match tokio::time::timeout(within, asked).await {
            Ok(answer) => read(&answer?, self.texts),
            Err(_) if within < hook.timeout => Ok(Verdict::Late),
            Err(_) => {
                let timeout = headers::go_duration(hook.timeout);
                Err(format!("the hook did not answer within {timeout} (`timeout`)"))
            }
        }
    }
}

fn read(answer: &[u8], texts: usize) -> Result<Verdict, String> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|_| "the hook did not answer with the JSON that is expected".to_owned())?;
    match (&*answer.action, answer.texts) {
        ("pass", _) => Ok(Verdict::Pass),
        ("block", _) => Ok(Verdict::Block),
        ("annotate", _) => Ok(Verdict::Annotate),
        ("observe", _) => Ok(Verdict::Observe),
        ("mask", Some(masked)) if masked.len() == texts => Ok(Verdict::Mask(masked)),
        ("mask", _) => Err(format!("the hook masks and does not give {texts} texts")),
        _ => Err("the hook answered with an action that is not known".to_owned()),
    }
}

async fn put(gateway: &Gateway, hook: &Hook, id: &HeaderValue, question: Bytes) -> Result<Bytes, String> {
    let origin = gateway.upstreams.at(&hook.origin, hook.may_be_private)?;
    let wire = origin.take(gateway.clock.moment()).await.map_err(|error| error.to_string())?;
    let mut head = BytesMut::with_capacity(512);
    head.extend_from_slice(format!("POST {} HTTP/1.1\r\n", hook.path).as_bytes());
    let mut line = |name: &HeaderName, value: &[u8]| {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    line(&HOST, hook.origin.authority().as_bytes());
    line(&CONTENT_TYPE, b"application/json");
    line(&ACCEPT, b"application/json");
    line(&headers::REQUEST_ID, id.as_bytes());
    line(&CONTENT_LENGTH, question.len().to_string().as_bytes());
    if let Some(credential) = &hook.credential {
        line(&AUTHORIZATION, format!("Bearer {}", credential.expose()).as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    let mut call = Call::send(&origin, wire, head.freeze(), question);
    let head = std::future::poll_fn(|context| call.poll_head(context)).await;
    let head = head.map_err(|error| format!("the hook: {error}"))?;
    if head.status != http::StatusCode::OK {
        return Err(format!("the hook answered with status {}", head.status.as_u16()));
    }
    let mut answer = BytesMut::new();
    while let Some(chunk) = std::future::poll_fn(|context| call.poll_chunk(context)).await {
        let chunk = chunk.map_err(|error| format!("the hook: {error}"))?;
        if answer.len() + chunk.len() > LARGEST {
            return Err(format!("the hook answered with more than {LARGEST} bytes"));
        }
        answer.extend_from_slice(&chunk);
    }
    call.recycle(gateway.clock.moment());
    Ok(answer.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_expected_is_a_verdict() {
        assert_eq!(read(br#"{"action":"pass","reason":"x"}"#, 2), Ok(Verdict::Pass));
        assert_eq!(read(br#"{"action":"block"}"#, 2), Ok(Verdict::Block));
        let masked = Verdict::Mask(vec!["a".to_owned()]);
        assert_eq!(read(br#"{"action":"mask","texts":["a"]}"#, 1), Ok(masked));
        for bad in [
            &br#"{"action":"mask","texts":["a"]}"#[..],
            br#"{"action":"mask"}"#,
            br#"{"action":"PASS"}"#,
            br#"{"texts":[]}"#,
            b"ok",
            b"",
        ] {
            assert!(read(bad, 2).is_err(), "{bad:?}");
        }
    }
}
