//! The languages that model APIs speak, one folder each, all with the same six doors.
//!
//! | Door | What goes in | What comes out |
//! |---|---|---|
//! | `read_request` | a client's body | [`Request`] |
//! | `write_request` | a [`Request`] and a [`Target`] | a body for the provider, and what it could not say |
//! | `read_answer` | a provider's whole answer | [`Answer`] |
//! | `write_answer` | an [`Answer`] and a [`Reply`] | a body for the client |
//! | `StreamReader` | server-sent events of a provider | [`Event`]s |
//! | `StreamWriter` | [`Event`]s | bytes for the client |
//!
//! and `error`: a failure in the dialect's words, as a body and as the event that ends a stream.
//!
//! Answers name the model that the provider names in its own (`gpt-5.1-2025-11-13`), in every dialect, as the vendors'
//! SDKs promise their users and as the lane that changes nothing passes it on; where the provider names none, the
//! client's own word for it. The deployment that answered stands in a header.
//!
//! This file is the only one that knows all of them.

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use crate::blocks::{Answer, Event, Issuer, Refused, Request, Written, request::Unreadable};

pub mod chat;
pub mod gemini;
pub mod messages;
pub mod responses;
pub mod signals;

/// A language of conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
    /// Google Gemini `generateContent`.
    Gemini,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Responses, Self::Messages, Self::Gemini];

    /// Its name in settings, docs and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Gemini => "gemini",
        }
    }
}

/// Whom a request is written for.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The upstream's own name of the model.
    pub model: &'a str,
    /// Whose opaque bytes may be sent along.
    pub issuer: Issuer,
    /// The most output tokens that the model can make, where known; Anthropic must be told a limit.
    pub max_output: Option<u64>,
    /// Ask for usage in a stream (Chat `stream_options.include_usage`): off for servers that refuse it.
    pub stream_usage: bool,
}

/// What a writer of answers must know of the call.
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    /// The id to show where the provider gave none that fits the dialect; without prefix, `[0-9a-z]`.
    pub id: &'a str,
    /// The model as the client asked for it: shown where the provider names none.
    pub model: &'a str,
    /// Seconds since 1970, for dialects that tell it.
    pub created: i64,
    /// What was asked; answers of Responses repeat much of it.
    pub request: &'a Request,
}

/// A whole answer that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unanswered {
    /// What is wrong with it.
    pub message: String,
    /// The body is an error object of the dialect: its message and its code (else type).
    pub error: Option<(String, Option<String>)>,
}

/// An error in neutral words, for `error` of each dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing<'a> {
    /// HTTP status.
    pub status: u16,
    /// Our public code (`docs/errors.md`), or the provider's own.
    pub code: &'a str,
    /// OpenAI's `type` of it.
    pub kind: &'a str,
    /// For the caller.
    pub message: &'a str,
    /// The parameter at fault.
    pub param: Option<&'a str>,
    /// Seconds after which to come back.
    pub retry_after: Option<u64>,
    /// Shown where the dialect has a place for it.
    pub request_id: &'a str,
}

/// Reads a client's body. For Gemini, `model` and `stream` stand in the URL: the caller sets them in the result.
///
/// # Errors
/// What is wrong with it, for the client.
pub fn read_request(dialect: Dialect, body: &[u8]) -> Result<Request, Unreadable> {
    match dialect {
        Dialect::Chat => chat::read_request(body),
        Dialect::Responses => responses::read_request(body),
        Dialect::Messages => messages::read_request(body),
        Dialect::Gemini => gemini::read_request(body),
    }
}

/// Writes a provider's body.
///
/// # Errors
/// What the target cannot be asked for.
pub fn write_request(dialect: Dialect, request: &Request, target: &Target<'_>) -> Result<Written, Refused> {
    if dialect != Dialect::Messages
        && let Some((request, cited)) = messages::without_search_results(request)
    {
        let mut written = write_request(dialect, &request, target)?;
        if cited {
            written.drop_param("citations");
        }
        return Ok(written);
    }
    match dialect {
        Dialect::Chat => chat::write_request(request, target),
        Dialect::Responses => responses::write_request(request, target),
        Dialect::Messages => messages::write_request(request, target),
        Dialect::Gemini => gemini::write_request(request, target),
    }
}

/// Reads a provider's whole answer of status 200.
///
/// # Errors
/// When it is no answer; an error object in its place is told apart.
pub fn read_answer(dialect: Dialect, body: &[u8], issuer: &Issuer) -> Result<Answer, Unanswered> {
    match dialect {
        Dialect::Chat => chat::read_answer(body, issuer),
        Dialect::Responses => responses::read_answer(body, issuer),
        Dialect::Messages => messages::read_answer(body, issuer),
        Dialect::Gemini => gemini::read_answer(body, issuer),
    }
}

/// Writes a client's whole answer.
pub fn write_answer(dialect: Dialect, answer: &Answer, reply: &Reply<'_>) -> Vec<u8> {
    match dialect {
        Dialect::Chat => chat::write_answer(answer, reply),
        Dialect::Responses => responses::write_answer(answer, reply),
        Dialect::Messages => messages::write_answer(answer, reply),
        Dialect::Gemini => gemini::write_answer(answer, reply),
    }
}

/// A failure as a body.
pub fn error_body(dialect: Dialect, failing: &Failing<'_>) -> Vec<u8> {
    match dialect {
        Dialect::Chat | Dialect::Responses => chat::error_body(failing),
        Dialect::Messages => messages::error_body(failing),
        Dialect::Gemini => gemini::error_body(failing),
    }
}

/// The status that clients of the dialect map to the right class (a spent budget is 402 for Anthropic's, 429 for
/// OpenAI's and Google's; what is overloaded says 529 to Anthropic's clients and 503 to all others).
pub fn error_status(dialect: Dialect, failing: &Failing<'_>) -> u16 {
    match dialect {
        Dialect::Messages => messages::error_status(failing),
        Dialect::Chat | Dialect::Responses | Dialect::Gemini if failing.status == 529 => 503,
        Dialect::Chat | Dialect::Responses | Dialect::Gemini => failing.status,
    }
}

/// What a provider refused, in its own words, for a client that reads another dialect: status and body. `code` is the
/// provider's, or ours where it has none.
pub fn retell(client: Dialect, status: u16, code: &str, message: &str, request_id: &str) -> (u16, Vec<u8>) {
    // What is not found of a conversation is its model; Anthropic and Google do not say so.
    let vague = status == 404 && ["not_found_error", "NOT_FOUND"].contains(&code);
    let code = if vague { "model_not_found" } else { code };
    let mut failing = Failing { status, code, kind: "", message, param: None, retry_after: None, request_id };
    // Google's errors say the status in the body too.
    failing.status = error_status(client, &failing);
    (failing.status, error_body(client, &failing))
}

/// Reads a provider's stream. Push the data of each server-sent event; after the last byte call `end`.
#[derive(Debug)]
pub enum StreamReader {
    /// OpenAI Chat Completions.
    Chat(chat::StreamReader),
    /// OpenAI Responses.
    Responses(responses::StreamReader),
    /// Anthropic Messages.
    Messages(messages::StreamReader),
    /// Google Gemini.
    Gemini(gemini::StreamReader),
}

impl StreamReader {
    /// At the beginning of a stream of `issuer`, in its dialect.
    pub fn new(issuer: Issuer) -> Self {
        match issuer.dialect {
            Dialect::Chat => Self::Chat(chat::StreamReader::new(issuer)),
            Dialect::Responses => Self::Responses(responses::StreamReader::new(issuer)),
            Dialect::Messages => Self::Messages(messages::StreamReader::new(issuer)),
            Dialect::Gemini => Self::Gemini(gemini::StreamReader::new(issuer)),
        }
    }

    /// The data of one event (its `event:` name where it has one). Data that cannot be read is an error event.
    pub fn push(&mut self, name: Option<&[u8]>, data: &[u8], out: &mut Vec<Event>) {
        match self {
            Self::Chat(reader) => reader.push(name, data, out),
            Self::Responses(reader) => reader.push(name, data, out),
            Self::Messages(reader) => reader.push(name, data, out),
            Self::Gemini(reader) => reader.push(name, data, out),
        }
    }

    /// The connection ended in good order: dialects without an end marker of their own end here.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        match self {
            Self::Chat(reader) => reader.end(out),
            Self::Responses(reader) => reader.end(out),
            Self::Messages(reader) => reader.end(out),
            Self::Gemini(reader) => reader.end(out),
        }
    }
}

/// Writes a client's stream.
#[derive(Debug)]
pub enum StreamWriter {
    /// OpenAI Chat Completions.
    Chat(Box<chat::StreamWriter>),
    /// OpenAI Responses.
    Responses(Box<responses::StreamWriter>),
    /// Anthropic Messages.
    Messages(Box<messages::StreamWriter>),
    /// Google Gemini.
    Gemini(Box<gemini::StreamWriter>),
}

impl StreamWriter {
    /// For one call.
    pub fn new(dialect: Dialect, reply: &Reply<'_>) -> Self {
        match dialect {
            Dialect::Chat => Self::Chat(Box::new(chat::StreamWriter::new(reply))),
            Dialect::Responses => Self::Responses(Box::new(responses::StreamWriter::new(reply))),
            Dialect::Messages => Self::Messages(Box::new(messages::StreamWriter::new(reply))),
            Dialect::Gemini => Self::Gemini(Box::new(gemini::StreamWriter::new(reply))),
        }
    }

    /// Appends what the event is in the dialect: nothing, one or several server-sent events. [`Event::End`] writes the
    /// dialect's terminal event; [`Event::Error`] writes nothing (the gateway calls [`StreamWriter::error`]).
    pub fn write(&mut self, event: &Event, out: &mut BytesMut) {
        match self {
            Self::Chat(writer) => writer.write(event, out),
            Self::Responses(writer) => writer.write(event, out),
            Self::Messages(writer) => writer.write(event, out),
            Self::Gemini(writer) => writer.write(event, out),
        }
    }

    /// The dialect that it writes.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Chat(_) => Dialect::Chat,
            Self::Responses(_) => Dialect::Responses,
            Self::Messages(_) => Dialect::Messages,
            Self::Gemini(_) => Dialect::Gemini,
        }
    }

    /// What it writes next follows this event of the same dialect, which somebody else wrote.
    pub(crate) fn follow(&mut self, event: &[u8]) {
        if let Self::Responses(writer) = self {
            writer.follow(event);
        }
    }

    /// The one error event that ends a stream that has begun.
    pub fn error(&mut self, failing: &Failing<'_>, out: &mut BytesMut) {
        match self {
            Self::Chat(writer) => writer.error(failing, out),
            Self::Responses(writer) => writer.error(failing, out),
            Self::Messages(writer) => writer.error(failing, out),
            Self::Gemini(writer) => writer.error(failing, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing() -> Failing<'static> {
        Failing {
            status: 529,
            code: "overloaded_error",
            kind: "",
            message: "busy",
            param: None,
            retry_after: None,
            request_id: "",
        }
    }

    /// What a writer tells before its end, and the error that is told in place of that.
    fn told(mut writer: StreamWriter, text: Option<&str>) -> (String, String) {
        let (mut before, mut held, mut error) = (BytesMut::new(), BytesMut::new(), BytesMut::new());
        let start = Event::Start { id: None, model: None, created: None };
        writer.write(&start, &mut before);
        if let Some(text) = text {
            let head = crate::blocks::PartHead::Text;
            writer.write(&Event::PartStart { choice: 0, part: 0, head }, &mut before);
            let delta = crate::blocks::Delta::Text(text.to_owned());
            writer.write(&Event::Delta { choice: 0, part: 0, delta }, &mut before);
        }
        let stop = crate::blocks::Stop::new(crate::blocks::StopKind::End);
        writer.write(&Event::Stop { choice: 0, stop }, &mut before);
        writer.write(&Event::End, &mut held);
        assert!(!held.is_empty());
        writer.error(&failing(), &mut error);
        let mut again = BytesMut::new();
        writer.error(&failing(), &mut again);
        assert!(again.is_empty(), "one error is told once");
        let text = |bytes: BytesMut| String::from_utf8_lossy(&bytes).into_owned();
        (text(before), text(error))
    }

    #[test]
    fn an_error_may_stand_in_place_of_the_end() {
        let request = Request::default();
        let reply = Reply { request: &request, id: "r", model: "m", created: 1 };
        for text in [Some("half"), None] {
            for dialect in [Dialect::Chat, Dialect::Messages, Dialect::Gemini, Dialect::Responses] {
                let (before, error) = told(StreamWriter::new(dialect, &reply), text);
                assert!(error.contains("busy"), "{dialect:?}: {error}");
                if dialect == Dialect::Responses {
                    let number = |text: &str| {
                        let at = text.rfind("\"sequence_number\":")? + 18;
                        text[at..].split([',', '}']).next()?.parse::<u64>().ok()
                    };
                    assert_eq!(number(&error), number(&before).map(|number| number + 1), "{before}{error}");
                }
            }
            let array = StreamWriter::Gemini(Box::new(gemini::StreamWriter::array(&reply)));
            let (before, error) = told(array, text);
            let items: Result<Vec<serde_json::Value>, _> = serde_json::from_str(&format!("{before}{error}"));
            assert_eq!(items.map(|items| items.len()).ok(), Some(1 + usize::from(text.is_some())));
        }
    }

    #[test]
    fn what_is_overloaded_says_so_in_the_status_of_the_client() {
        let failing = failing();
        for (dialect, status) in [(Dialect::Messages, 529), (Dialect::Gemini, 503), (Dialect::Chat, 503)] {
            assert_eq!(error_status(dialect, &failing), status, "{dialect:?}");
        }
    }
}
