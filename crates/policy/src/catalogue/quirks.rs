//! Where vendors deviate from the dialect that they speak: a closed list of flags.
//!
//! A flag is here so that code can ask for it by name instead of by vendor. Each says what it means and what is done
//! about it; the pages of the vendors repeat both. What is done about requests and answers is in `providers::quirks`.

use super::apis::matches;
use crate::ids::Name;
use serde::Deserialize;
use std::fmt;

/// One deviation.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    /// Azure's older form: `{base}/deployments/{model}/chat/completions?api-version=…`.
    DeploymentPaths,
    /// Its `x-ratelimit-*` headers may say 0 or -1 and mean nothing by it.
    RatelimitsMayBeNegative,
    /// Takes `max_tokens` and refuses or ignores `max_completion_tokens`.
    MaxTokensOnly,
    /// Streams the arguments of tool calls only with `tool_stream: true`.
    ToolStreamFlag,
    /// Takes no `tool_choice` but `auto`.
    ToolChoiceAutoOnly,
    /// Takes `response_format` `json_object` and no schema.
    JsonObjectOnly,
    /// Refuses `frequency_penalty` and `presence_penalty`.
    NoPenalties,
    /// Thinking is switched by `thinking: { type }`.
    ThinkingObject,
    /// It takes `reasoning_effort` (beside the switch of `thinking_object`, or alone): `low`, `high`, `max`.
    EffortLowHighMax,
    /// Thinking is switched by `enable_thinking` and bounded by `thinking_budget`.
    EnableThinkingFlag,
    /// `reasoning_content` of turns with tool calls must be sent back with them, or the call is refused.
    NeedsReasoningReplay,
    /// Leaves its reasoning between `<think>` and `</think>` in the content.
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
    /// Streams deltas whose `role` is an empty text, which strict clients refuse.
    EmptyRoleDeltas,
    /// Streams chunks whose usage is all zero and means nothing.
    ZeroUsageChunks,
}

/// Models of a vendor that deviate otherwise than its others.
#[derive(Clone, Eq, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// Patterns of their names, in lower case; `*` stands for any characters.
    pub models: Vec<Name>,
    /// What they do not share.
    #[serde(default)]
    pub without: Vec<Quirk>,
    /// What only they do.
    #[serde(default)]
    pub with: Vec<Quirk>,
}

impl Exception {
    /// Whether it speaks of this model.
    pub fn fits(&self, model: &str) -> bool {
        let model = model.to_ascii_lowercase();
        self.models.iter().any(|pattern| matches(pattern, &model))
    }
}

impl Quirk {
    /// Every flag.
    pub const ALL: [Quirk; 19] = [
        Quirk::DeploymentPaths,
        Quirk::RatelimitsMayBeNegative,
        Quirk::MaxTokensOnly,
        Quirk::ToolStreamFlag,
        Quirk::ToolChoiceAutoOnly,
        Quirk::JsonObjectOnly,
        Quirk::NoPenalties,
        Quirk::ThinkingObject,
        Quirk::EffortLowHighMax,
        Quirk::EnableThinkingFlag,
        Quirk::NeedsReasoningReplay,
        Quirk::ReasoningInThinkTags,
        Quirk::FixedSampling,
        Quirk::TemperatureUpToOne,
        Quirk::PrefillPrefix,
        Quirk::PrefillPartial,
        Quirk::NoContentLists,
        Quirk::EmptyRoleDeltas,
        Quirk::ZeroUsageChunks,
    ];

    /// Its name in the rows.
    pub fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// What it means, in one line.
    pub fn meaning(self) -> &'static str {
        self.facts().1
    }

    /// What is done about it.
    pub fn remedy(self) -> &'static str {
        self.facts().2
    }

    fn facts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Quirk::DeploymentPaths => (
                "deployment_paths",
                "paths are `{base}/deployments/{model}/…?api-version=…`",
                "calls are put to these paths",
            ),
            Quirk::RatelimitsMayBeNegative => (
                "ratelimits_may_be_negative",
                "`x-ratelimit-*` headers of 0 and less say nothing",
                "such headers are not passed on",
            ),
            Quirk::MaxTokensOnly => (
                "max_tokens_only",
                "takes `max_tokens`, not `max_completion_tokens`",
                "the limit is renamed; of two the lower holds",
            ),
            Quirk::ToolStreamFlag => (
                "tool_stream_flag",
                "streams tool arguments only with `tool_stream: true`",
                "added to streamed calls with tools",
            ),
            Quirk::ToolChoiceAutoOnly => (
                "tool_choice_auto_only",
                "takes no `tool_choice` but `auto`",
                "`none` becomes a call without tools; any other is refused with 400, or taken by a fallback",
            ),
            Quirk::JsonObjectOnly => (
                "json_object_only",
                "takes `response_format` `json_object` and no schema",
                "a schema is refused with 400, or taken by a fallback",
            ),
            Quirk::NoPenalties => (
                "no_penalties",
                "refuses `frequency_penalty` and `presence_penalty`",
                "they are dropped and reported",
            ),
            Quirk::ThinkingObject => (
                "thinking_object",
                "thinking is switched by `thinking: { type }`",
                "made of `reasoning_effort` and of what other dialects say, unless the client sets it; a level that cannot be said is reported",
            ),
            Quirk::EffortLowHighMax => (
                "effort_low_high_max",
                "takes `reasoning_effort` (beside that switch, or alone): `low`, `high`, `max`",
                "other levels become the nearest of these; `none` where there is no switch is dropped and reported",
            ),
            Quirk::EnableThinkingFlag => (
                "enable_thinking_flag",
                "thinking is switched by `enable_thinking` and bounded by `thinking_budget`",
                "made of `reasoning_effort` and of what other dialects say, unless the client sets it",
            ),
            Quirk::NeedsReasoningReplay => (
                "needs_reasoning_replay",
                "`reasoning_content` of turns with tool calls must be sent back",
                "remembered for an hour and put back where the client lost it",
            ),
            Quirk::ReasoningInThinkTags => (
                "reasoning_in_think_tags",
                "reasoning stands between think tags in the content",
                "moved to `reasoning_content`, streamed too",
            ),
            Quirk::FixedSampling => (
                "fixed_sampling",
                "refuses sampling parameters that differ from its defaults",
                "temperature, `top_p` and penalties are dropped and reported",
            ),
            Quirk::TemperatureUpToOne => (
                "temperature_up_to_one",
                "temperature lies above 0 and up to 1",
                "one outside becomes 0.01 or 1 and is reported",
            ),
            Quirk::PrefillPrefix => (
                "prefill_prefix",
                "a message to be continued carries `prefix: true`",
                "added to a last message of the assistant",
            ),
            Quirk::PrefillPartial => (
                "prefill_partial",
                "a message to be continued carries `partial: true`",
                "added to a last message of the assistant",
            ),
            Quirk::NoContentLists => (
                "no_content_lists",
                "its models without vision refuse a list as `content`",
                "a list of texts alone becomes one text, a line each",
            ),
            Quirk::EmptyRoleDeltas => (
                "empty_role_deltas",
                "streams deltas whose `role` is an empty text",
                "the member is taken out",
            ),
            Quirk::ZeroUsageChunks => (
                "zero_usage_chunks",
                "streams usage of zero that means nothing",
                "it is taken out and not counted",
            ),
        }
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
