//! What is answered.

use super::{Part, Raw};
use crate::Usage;

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The model that says it answered.
    pub model: Option<String>,
    /// Seconds since 1970, where the provider tells.
    pub created: Option<i64>,
    /// One for each answer that was asked for.
    pub choices: Vec<Choice>,
    /// What the provider counted.
    pub usage: Option<Usage>,
    /// `service_tier` as told.
    pub service_tier: Option<String>,
}

/// One of the answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// What the model said and wants, in order.
    pub parts: Vec<Part>,
    /// Why it ended; absent while it has not.
    pub stop: Option<Stop>,
    /// OpenAI's log probabilities, verbatim.
    pub logprobs: Option<Raw>,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// In words that every dialect has some form of.
    pub kind: StopKind,
    /// The stop sequence that was met.
    pub sequence: Option<String>,
    /// The provider's own word, such as `RECITATION`.
    pub native: Option<String>,
}

impl Stop {
    /// Without more detail.
    pub fn new(kind: StopKind) -> Self {
        Self { kind, sequence: None, native: None }
    }
}

/// Why, in the form's words (`docs/protocols`: the table of stop reasons).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopKind {
    /// The model was done.
    End,
    /// A stop sequence was met.
    Sequence,
    /// The output limit was reached.
    Length,
    /// The context window was full.
    ContextWindow,
    /// It waits for tools.
    ToolCalls,
    /// A filter stepped in.
    Filter,
    /// The model refused (Anthropic `refusal`).
    Refusal,
    /// A long turn was paused (Anthropic `pause_turn`).
    Pause,
    /// The model's tool call could not be used.
    BadToolCall,
    /// None of these; `native` has the word.
    Other,
}
