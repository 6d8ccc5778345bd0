//! An answer while it comes.
//!
//! Readers of all dialects make the same sequence of it: one [`Event::Start`]; for each part a `PartStart`, deltas and a
//! `PartEnd`; a [`Event::Stop`] for each choice; [`Event::Usage`] whenever counts are told (the last wins, field by
//! field); one [`Event::End`] when the dialect's own end was seen. Parts are numbered within their choice from 0 in
//! order of their start. Several parts may be open at once (Chat interleaves the arguments of parallel calls): a writer
//! whose dialect is strictly sequential keeps back all but the first open one.
//!
//! A reader that meets an error event gives [`Event::Error`] and nothing after it; a stream that breaks off gives no
//! `End`, so that nobody takes half an answer for a whole one.

use super::{Media, Opaque, Raw, Stop, ToolKind};
use crate::Usage;
use crate::dialects::Dialect;

/// One step of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It begins. Comes once, before all others.
    Start {
        /// The provider's id of the answer.
        id: Option<String>,
        /// The model that says it answers.
        model: Option<String>,
        /// Seconds since 1970.
        created: Option<i64>,
    },
    /// A part begins.
    PartStart {
        /// Which answer, from 0.
        choice: u32,
        /// Which part of it, from 0, each number once and in order.
        part: u32,
        /// What it is.
        head: PartHead,
    },
    /// More of an open part.
    Delta {
        /// Which answer.
        choice: u32,
        /// Which part.
        part: u32,
        /// What.
        delta: Delta,
    },
    /// A part is complete.
    PartEnd {
        /// Which answer.
        choice: u32,
        /// Which part.
        part: u32,
    },
    /// An answer is complete.
    Stop {
        /// Which answer.
        choice: u32,
        /// Why.
        stop: Stop,
    },
    /// Log probabilities of what was just said (OpenAI), verbatim.
    Logprobs {
        /// Which answer.
        choice: u32,
        /// Verbatim.
        raw: Raw,
    },
    /// Counts so far.
    Usage(Usage),
    /// `service_tier` as told; the last counts.
    ServiceTier(String),
    /// The provider says that it fails.
    Error {
        /// The provider's message; it may name the provider's account.
        message: String,
        /// Its `code`, else its `type`.
        code: Option<String>,
    },
    /// The proper end.
    End,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq)]
pub enum PartHead {
    /// Text.
    Text,
    /// The model's refusal.
    Refusal,
    /// Thoughts.
    Reasoning {
        /// Responses' item id.
        id: Option<String>,
    },
    /// A tool call; arguments follow as deltas.
    ToolCall {
        /// Pairs it with its result.
        id: String,
        /// Responses' item id.
        item_id: Option<String>,
        /// The tool.
        name: String,
        /// Function or custom.
        kind: ToolKind,
    },
    /// A picture or a sound that the model made; no deltas follow.
    Media(Box<Media>),
    /// Something that only its own dialect knows; no deltas follow.
    Unknown {
        /// Where it came from.
        dialect: Dialect,
        /// Its `type`.
        kind: String,
        /// Verbatim.
        raw: Raw,
    },
}

/// More of a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// Of text or refusal.
    Text(String),
    /// Of a call's arguments: a piece of JSON text.
    Arguments(String),
    /// Of raw thoughts.
    Thought(String),
    /// Of the summary; `paragraph` counts from 0.
    Summary {
        /// Which paragraph.
        paragraph: u32,
        /// The piece.
        text: String,
    },
    /// The signature or encrypted form of a thought, or of the call or text that it stands on; whole.
    Opaque(Opaque),
    /// A citation of the text, verbatim.
    Citation(Raw),
}
