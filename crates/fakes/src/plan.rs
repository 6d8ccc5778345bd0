//! A plan: how one request to the scripted upstream is answered.
//!
//! A plan comes, first that is there, from the request's JSON field `fake` (an object with this struct's field
//! names), from the request's `model` when it is written in the syntax of `names`, from the script's queue,
//! or is the script's default. The first two keep no state in the upstream, so tests under load need none.

mod names;

use serde::{Deserialize, Serialize};

/// How one request is answered. The default is a good answer of 16 tokens, at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Status of the answer; 400 and above answer an OpenAI-shaped error.
    pub status: u16,
    /// `retry-after` of an error, verbatim (seconds or a date).
    pub retry_after: Option<String>,
    /// Output tokens of each choice; a stream sends one an event.
    pub tokens: u64,
    /// Milliseconds before the head of the answer.
    pub first: u64,
    /// Milliseconds between events; 0 sends them together.
    pub delay: u64,
    /// Input tokens; absent: one for each 8 bytes of what was asked.
    pub input: Option<u64>,
    /// Cached input tokens, part of the input.
    pub cached: u64,
    /// Reasoning tokens, on top of `tokens`, part of the output; they cost nothing to send.
    pub reasoning: u64,
    /// What is said about usage.
    pub usage: UsageQuirk,
    /// A stream ends with `data: [DONE]`.
    pub done: bool,
    /// How lines of a stream end.
    pub newline: Newline,
    /// The body goes out in pieces of so many bytes, each its own chunk and write; 0: as it comes.
    pub split: usize,
    /// Milliseconds between pieces (a slow trickle).
    pub split_delay: u64,
    /// A comment before every so many events; 0: none.
    pub ping: u64,
    /// Tokens of several bytes in UTF-8.
    pub utf8: bool,
    /// The first half of the tokens comes as `reasoning_content`.
    pub think: bool,
    /// Answers with so many tool calls instead of text.
    pub tools: u64,
    /// The text repeats the last user message, so that crossed answers show.
    pub echo: bool,
    /// Finishes with `length` instead of `stop`.
    pub length: bool,
    /// Finishes with `content_filter`.
    pub filter: bool,
    /// The body, verbatim, instead of a made one.
    pub body: Option<String>,
    /// The stream, verbatim: each element is one write and counts as one event.
    pub events: Option<Vec<String>>,
    /// The content type instead of the right one; empty: none at all.
    pub content_type: Option<String>,
    /// More headers of the answer.
    pub headers: Vec<(String, String)>,
    /// `content-encoding: gzip` (a real gzip body, not for streams).
    pub gzip: bool,
    /// A packed body that unpacks to so many MiB of spaces.
    pub bomb: u64,
    /// How that is packed.
    pub bomb_coding: Coding,
    /// A stream that is one line of so many KiB without an end.
    pub huge: u64,
    /// A stream that never ends.
    pub endless: bool,
    /// `max_tokens` is ignored: a provider that bills more than it was asked for.
    pub uncapped: bool,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// The provider bills this answer (errors are never billed). A wall's sign-in page is not billed.
    pub bills: bool,
    /// The provider stops billing when the client goes; otherwise it bills what it would have made.
    pub abort_stops_billing: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            status: 200,
            retry_after: None,
            tokens: 16,
            first: 0,
            delay: 0,
            input: None,
            cached: 0,
            reasoning: 0,
            usage: UsageQuirk::Normal,
            done: true,
            newline: Newline::Lf,
            split: 0,
            split_delay: 0,
            ping: 0,
            utf8: false,
            think: false,
            tools: 0,
            echo: false,
            length: false,
            filter: false,
            body: None,
            events: None,
            content_type: None,
            headers: Vec::new(),
            gzip: false,
            bomb: 0,
            bomb_coding: Coding::Gzip,
            huge: 0,
            endless: false,
            uncapped: false,
            fault: None,
            bills: true,
            abort_stops_billing: true,
        }
    }
}

/// What an answer says about usage, rightly or wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageQuirk {
    /// As OpenAI: whole answers tell; streams tell on a chunk of its own, if asked, and `null` before.
    Normal,
    /// Streams tell on a chunk of its own even if not asked.
    Always,
    /// Streams tell on the last chunk with choices.
    OnChoices,
    /// Every chunk tells the usage so far.
    EveryChunk,
    /// Nobody is told.
    Missing,
    /// Told twice, the same.
    Twice,
    /// Told twice, differently; the second is the truth.
    Contradictory,
    /// `"usage": null`, also at the end.
    Null,
}

/// How a bomb is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// 158 to 1.
    Gzip,
    /// 1.3 million to 1.
    Br,
    /// 32,768 to 1.
    Zstd,
    /// Gzip within gzip.
    GzipTwice,
}

impl Coding {
    /// The word of `content-encoding`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::GzipTwice => "gzip, gzip",
        }
    }
}

/// How lines of a stream end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Newline {
    /// `\n`
    Lf,
    /// `\r\n`
    CrLf,
    /// `\r`
    Cr,
}

impl Newline {
    /// The bytes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
            Self::Cr => "\r",
        }
    }
}

/// What goes wrong, and where. Events count from 0: at event 0 is after the head, before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The request is read and never answered.
    Hang,
    /// The connection is reset instead of an answer.
    ResetAtOnce,
    /// The connection is closed instead of an answer.
    CloseAtOnce,
    /// After so many events nothing more is sent.
    Silence(u64),
    /// After so many events the connection is reset.
    Reset(u64),
    /// After so many events the connection is closed, without the end that its framing needs.
    Close(u64),
    /// After so many bytes of the body (before framing) the connection is reset.
    ResetAtByte(u64),
    /// After so many bytes of the body (before framing) the connection is closed.
    CloseAtByte(u64),
    /// After so many events an error event is sent, and the stream ends as HTTP wants.
    Error(u64),
}

impl Plan {
    /// Reads the model-name syntax of the binary's help: `ok-t40-d5` is 40 tokens, 5 ms apart. `None` if the name
    /// is not in this syntax (does not begin with `ok`).
    ///
    /// # Errors
    /// Names the part that is not known.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Result<Self, String>> {
        names::parse(name)
    }
}

impl std::str::FromStr for Plan {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        names::parse(name).unwrap_or_else(|| Err(format!("`{name}` does not begin with `ok`")))
    }
}
