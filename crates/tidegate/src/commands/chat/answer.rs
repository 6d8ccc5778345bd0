//! One streamed answer: asked for, shown as it comes, measured.

use super::cost::Cost;
use crate::client::{Door, send};
use crate::terminal::{Terminal, harmless};
use anyhow::Context;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use policy::Moment;
use providers::sse::Framer;
use runtime::{Clock, Tasks};
use serde_json::{Value, json};
use std::time::Duration;

/// A model may think for long before its first word.
const HEAD_WITHIN: Duration = Duration::from_secs(600);
/// The longest single event.
const MOST_EVENT: usize = 4 * 1024 * 1024;
/// The longest refusal that is read.
const MOST_REFUSAL: usize = 1024 * 1024;

/// What is asked, of whom, as whom.
pub(super) struct Question<'a> {
    pub(super) door: &'a Door,
    pub(super) path: &'a str,
    pub(super) key: &'a str,
    pub(super) model: &'a str,
    pub(super) messages: &'a [Value],
    pub(super) quiet: bool,
}

/// What came.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) model: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    pub(super) first_token_ms: Option<f64>,
    pub(super) total_ms: f64,
    pub(super) stopped: bool,
    pub(super) failure: Option<String>,
    done: bool,
}

impl Answer {
    pub(super) fn as_json(&self, asked: &str, cost: Option<&Cost>) -> Value {
        json!({
            "request_id": self.request_id,
            "model": self.model.as_deref().unwrap_or(asked),
            "content": self.text,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": cost.map(|cost| &cost.amount),
            "currency": cost.map(|cost| &cost.currency),
            "first_token_ms": self.first_token_ms,
            "total_ms": self.total_ms,
            "stopped": self.stopped,
            "error": self.failure,
        })
    }

    /// Takes one event of the stream; gives back the text to show.
    fn take(&mut self, data: &[u8]) -> Option<String> {
        if data == b"[DONE]" {
            self.done = true;
            return None;
        }
        let event: Value = serde_json::from_slice(data).ok()?;
        if !event["error"].is_null() {
            let message = event["error"]["message"].as_str().unwrap_or("the answer broke off");
            self.failure = Some(message.to_owned());
            return None;
        }
        self.input_tokens = event["usage"]["prompt_tokens"].as_u64().or(self.input_tokens);
        self.output_tokens = event["usage"]["completion_tokens"].as_u64().or(self.output_tokens);
        let delta = &event["choices"][0]["delta"];
        let spoken = delta["content"].as_str().or_else(|| delta["refusal"].as_str()).map(str::to_owned);
        spoken.or_else(|| spoken_call(&delta["tool_calls"][0])).filter(|text| !text.is_empty())
    }
}

/// A call of a tool, said as text: its name once, its arguments as they come.
fn spoken_call(call: &Value) -> Option<String> {
    let function = &call["function"];
    let name = function["name"].as_str().map(|name| format!("[{name}] "));
    let arguments = function["arguments"].as_str();
    (name.is_some() || arguments.is_some()).then(|| name.unwrap_or_default() + arguments.unwrap_or_default())
}

/// Asks and shows. An error means that nothing came; an answer that broke off carries its failure.
pub(super) async fn ask(
    question: &Question<'_>,
    tasks: &Tasks,
    clock: &Clock,
    terminal: &mut Terminal,
) -> anyhow::Result<Answer> {
    let began = clock.moment();
    let asked = send(question.door, tasks, request_of(question)?, HEAD_WITHIN);
    let response = tokio::select! {
        answered = asked => answered.context("the gateway cannot be reached")?,
        _ = tokio::signal::ctrl_c() => {
            return Ok(Answer { stopped: true, total_ms: ms_since(clock, began), ..Answer::default() });
        }
    };
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut answer =
        Answer { request_id: header("x-request-id"), model: header("x-tidegate-model"), ..Answer::default() };
    if response.status() != StatusCode::OK {
        return Err(refusal(response).await);
    }
    relay(response.into_body(), &mut answer, question.quiet, (clock, began), terminal).await?;
    answer.total_ms = ms_since(clock, began);
    if !question.quiet && !answer.text.is_empty() {
        terminal.line("")?;
    }
    Ok(answer)
}

fn request_of(question: &Question<'_>) -> anyhow::Result<Request<Full<Bytes>>> {
    let body = json!({
        "model": question.model,
        "messages": question.messages,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    Request::builder()
        .method(Method::POST)
        .uri(format!("{}/chat/completions", question.path))
        .header("authorization", format!("Bearer {}", question.key))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(&body)?)))
        .context("the key is not one that a header can carry")
}

async fn relay(
    mut body: Incoming,
    answer: &mut Answer,
    quiet: bool,
    (clock, began): (&Clock, Moment),
    terminal: &mut Terminal,
) -> anyhow::Result<()> {
    let mut framer = Framer::new(MOST_EVENT);
    while !answer.done && answer.failure.is_none() {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = tokio::signal::ctrl_c() => {
                answer.stopped = true;
                return Ok(());
            }
        };
        let chunk = match frame {
            None => break,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => {
                answer.failure = Some(format!("the connection broke: {error}"));
                break;
            }
        };
        framer.push(chunk);
        while let Some(event) = framer.next()? {
            let Some(text) = answer.take(&event.data) else { continue };
            answer.first_token_ms.get_or_insert_with(|| ms_since(clock, began));
            answer.text.push_str(&text);
            if !quiet {
                terminal.part(&harmless(&text, true))?;
            }
        }
    }
    if !answer.done && answer.failure.is_none() {
        answer.failure = Some("the answer ended without its end mark".to_owned());
    }
    Ok(())
}

async fn refusal(response: Response<Incoming>) -> anyhow::Error {
    let status = response.status();
    let read = Limited::new(response.into_body(), MOST_REFUSAL).collect().await;
    let body = read.map(|whole| whole.to_bytes()).unwrap_or_default();
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let told = answer["error"]["message"].as_str().map(|text| harmless(text, false));
    let hint =
        if status == StatusCode::UNAUTHORIZED { "; is TIDEGATE_API_KEY a key of this gateway?" } else { "" };
    match told {
        Some(message) => anyhow::anyhow!("{message} ({status}{hint})"),
        None => anyhow::anyhow!("the gateway answered {status}{hint}"),
    }
}

fn ms_since(clock: &Clock, began: Moment) -> f64 {
    let micros = clock.moment().since(began).as_micros();
    // Hours in microseconds are far below 2^53.
    #[expect(clippy::cast_precision_loss, reason = "spans of hours fit")]
    let ms = micros as f64 / 1_000.0;
    ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_gathered_event_by_event() {
        let mut answer = Answer::default();
        assert_eq!(answer.take(br#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#), None);
        assert_eq!(answer.take(br#"{"choices":[{"delta":{"content":"Hi"}}]}"#).as_deref(), Some("Hi"));
        answer.take(br#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#);
        assert_eq!((answer.input_tokens, answer.output_tokens), (Some(7), Some(2)));
        assert!(!answer.done);
        answer.take(b"[DONE]");
        assert!(answer.done && answer.failure.is_none());
    }

    #[test]
    fn an_error_in_the_stream_is_a_failure_not_text() {
        let mut answer = Answer::default();
        assert_eq!(answer.take(br#"{"error":{"message":"upstream died","code":"x"}}"#), None);
        assert_eq!(answer.failure.as_deref(), Some("upstream died"));
    }
}
