//! Where vendors deviate from the dialect that they speak: a closed list of flags.
//!
//! A flag is here so that code can ask for it by name instead of by vendor. Each says what it means and who reads
//! it; a flag that nothing reads yet says so, and the pages of the vendors repeat it.

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

impl Quirk {
    /// Every flag.
    pub const ALL: [Quirk; 18] = [
        Quirk::DeploymentPaths,
        Quirk::RatelimitsMayBeNegative,
        Quirk::MaxTokensOnly,
        Quirk::ToolStreamFlag,
        Quirk::ToolChoiceAutoOnly,
        Quirk::JsonObjectOnly,
        Quirk::NoPenalties,
        Quirk::ThinkingObject,
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

    /// The part of the program that reads it; `None`: nothing does yet, so the deviation reaches the caller.
    pub fn reader(self) -> Option<&'static str> {
        self.facts().2
    }

    fn facts(self) -> (&'static str, &'static str, Option<&'static str>) {
        match self {
            Quirk::DeploymentPaths => (
                "deployment_paths",
                "paths are `{base}/deployments/{model}/…?api-version=…`",
                Some("the path of each call"),
            ),
            Quirk::RatelimitsMayBeNegative => {
                ("ratelimits_may_be_negative", "`x-ratelimit-*` headers of 0 and less say nothing", None)
            }
            Quirk::MaxTokensOnly => {
                ("max_tokens_only", "takes `max_tokens`, not `max_completion_tokens`", None)
            }
            Quirk::ToolStreamFlag => {
                ("tool_stream_flag", "streams tool arguments only with `tool_stream: true`", None)
            }
            Quirk::ToolChoiceAutoOnly => ("tool_choice_auto_only", "takes no `tool_choice` but `auto`", None),
            Quirk::JsonObjectOnly => {
                ("json_object_only", "takes `response_format` `json_object` and no schema", None)
            }
            Quirk::NoPenalties => {
                ("no_penalties", "refuses `frequency_penalty` and `presence_penalty`", None)
            }
            Quirk::ThinkingObject => {
                ("thinking_object", "thinking is switched by `thinking: { type }`", None)
            }
            Quirk::EnableThinkingFlag => (
                "enable_thinking_flag",
                "thinking is switched by `enable_thinking` and bounded by `thinking_budget`",
                None,
            ),
            Quirk::NeedsReasoningReplay => (
                "needs_reasoning_replay",
                "`reasoning_content` of turns with tool calls must be sent back",
                None,
            ),
            Quirk::ReasoningInThinkTags => {
                ("reasoning_in_think_tags", "reasoning stands between think tags in the content", None)
            }
            Quirk::FixedSampling => {
                ("fixed_sampling", "refuses sampling parameters that differ from its defaults", None)
            }
            Quirk::TemperatureUpToOne => {
                ("temperature_up_to_one", "temperature lies above 0 and up to 1", None)
            }
            Quirk::PrefillPrefix => {
                ("prefill_prefix", "a message to be continued carries `prefix: true`", None)
            }
            Quirk::PrefillPartial => {
                ("prefill_partial", "a message to be continued carries `partial: true`", None)
            }
            Quirk::NoContentLists => {
                ("no_content_lists", "its models without vision refuse a list as `content`", None)
            }
            Quirk::EmptyRoleDeltas => {
                ("empty_role_deltas", "streams deltas whose `role` is an empty text", None)
            }
            Quirk::ZeroUsageChunks => ("zero_usage_chunks", "streams usage of zero that means nothing", None),
        }
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
