//! What vendors of OpenAI's Chat Completions want otherwise than OpenAI: edits of the request on its way there, and of
//! the answer on its way back.
//!
//! The edits are the last thing that happens to a request and the first that happens to an answer, so both lanes share
//! them: the client's own bytes with a few spans spliced, or what was written from the ordered form. What no flag speaks
//! of is not touched, and a body that needs nothing comes back as the very bytes.
//!
//! A parameter is mapped to the vendor's word for it, or taken out and reported, or refused where the caller relies on
//! it; nothing is lost silently.
//!
//! Reading order: `splice` (the surgery), [`request`], `thinking`, `messages`, [`answer`], [`stream`].

pub mod answer;
mod messages;
pub mod request;
mod said;
mod splice;
pub mod stream;
mod thinking;

pub use said::say;

/// One deviation of a vendor's Chat Completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Quirk {
    /// Takes `max_tokens`, not `max_completion_tokens`.
    MaxTokensOnly,
    /// Streams tool arguments only with `tool_stream: true`.
    ToolStreamFlag,
    /// Takes no `tool_choice` but `auto`.
    ToolChoiceAutoOnly,
    /// Takes `response_format` `json_object` and no schema.
    JsonObjectOnly,
    /// Refuses the two penalties.
    NoPenalties,
    /// Thinking is switched by `thinking: { type }`.
    ThinkingObject,
    /// Beside that switch it takes `reasoning_effort`: `low`, `high`, `max`.
    EffortLowHighMax,
    /// Thinking is switched by `enable_thinking` and bounded by `thinking_budget`.
    EnableThinkingFlag,
    /// `reasoning_content` of turns with tool calls must be sent back.
    NeedsReasoningReplay,
    /// Reasoning stands between think tags in the content.
    ReasoningInThinkTags,
    /// Refuses sampling parameters that differ from its defaults.
    FixedSampling,
    /// Temperature lies in (0, 1].
    TemperatureUpToOne,
    /// A message to be continued carries `prefix: true`.
    PrefillPrefix,
    /// A message to be continued carries `partial: true`.
    PrefillPartial,
    /// Its models without vision refuse a list as `content`.
    NoContentLists,
    /// Streams deltas whose `role` is an empty text.
    EmptyRoleDeltas,
    /// Streams usage of zero that means nothing.
    ZeroUsageChunks,
}

/// A set of deviations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks(u32);

impl Quirks {
    /// What changes answers on their way back.
    const OF_ANSWERS: Quirks = Quirks(
        1 << Quirk::ReasoningInThinkTags as u8
            | 1 << Quirk::EmptyRoleDeltas as u8
            | 1 << Quirk::ZeroUsageChunks as u8,
    );

    /// Every second deviation, for the property runs: two sets that together are all.
    pub(crate) const EVEN: Quirks = Quirks(0x5555_5555);
    /// The others.
    pub(crate) const ODD: Quirks = Quirks(0xaaaa_aaaa);

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is there.
    pub const fn has(self, quirk: Quirk) -> bool {
        self.0 & (1 << quirk as u8) != 0
    }

    /// Whether answers must be looked at on their way back.
    pub const fn touch_answers(self) -> bool {
        self.0 & Self::OF_ANSWERS.0 != 0
    }
}

impl FromIterator<Quirk> for Quirks {
    fn from_iter<I: IntoIterator<Item = Quirk>>(quirks: I) -> Self {
        Self(quirks.into_iter().fold(0, |set, quirk| set | 1 << quirk as u8))
    }
}

#[cfg(test)]
#[path = "quirks/tests.rs"]
mod tests;
