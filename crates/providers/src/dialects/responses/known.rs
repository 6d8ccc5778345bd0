//! The API's own lists of names (openai-python 3.54, 2026-11): what may be passed on as it is, because it means the
//! same there, and what may not, because it is another vendor's word.

use crate::blocks::Raw;

/// Tools that OpenAI runs, and their `type` in `tools`.
const HOSTED: [&str; 17] = [
    "apply_patch",
    "code_interpreter",
    "computer",
    "computer_use",
    "computer_use_preview",
    "file_search",
    "image_generation",
    "local_shell",
    "mcp",
    "namespace",
    "programmatic_tool_calling",
    "shell",
    "tool_search",
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
];

/// Items that hold what the form has no part for, in input and output alike.
const ITEMS: [&str; 25] = [
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "compaction_trigger",
    "computer_call",
    "computer_call_output",
    "configuration_update",
    "context_compaction",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
];

/// Levels of effort.
pub(super) const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
/// `reasoning.summary`.
pub(super) const SUMMARIES: [&str; 3] = ["auto", "concise", "detailed"];
/// `service_tier`.
pub(super) const TIERS: [&str; 7] = ["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"];
/// `detail` of an image.
pub(super) const DETAILS: [&str; 4] = ["auto", "low", "high", "original"];
/// `ttl` of a cache breakpoint.
pub(super) const TTLS: [&str; 2] = ["30m", "12h"];
/// `include` entries that are told by other means of the form.
pub(super) const INCLUDE_ENCRYPTED: &str = "reasoning.encrypted_content";
/// The same for log probabilities.
pub(super) const INCLUDE_LOGPROBS: &str = "message.output_text.logprobs";

/// Whether a hosted tool is one of OpenAI's.
pub(super) fn is_hosted(kind: &str) -> bool {
    HOSTED.contains(&kind)
}

/// Whether an item's `type` is one of OpenAI's that have no part of their own.
pub(super) fn is_item(kind: &str) -> bool {
    ITEMS.contains(&kind)
}

/// Whether an unknown part stands inside a message and is not an item of its own.
pub(super) fn is_content(kind: &str) -> bool {
    kind.starts_with("input_") || kind.starts_with("output_") || kind == "computer_screenshot"
}

/// Whether a member that the form has no place for may go on: its name is of this API, and its value has the shape that
/// the name has here (Anthropic too has a `context_management`).
pub(super) fn may_pass(name: &str, raw: &Raw) -> bool {
    let first = raw.get().as_bytes().first().copied().unwrap_or_default();
    match name {
        "prompt_cache_retention" | "truncation" | "user" | "reasoning.mode" | "reasoning.context" => {
            first == b'"'
        }
        "access_programs"
        | "background_options"
        | "image"
        | "moderation"
        | "prompt"
        | "prompt_cache_options" => first == b'{',
        "conversation" => matches!(first, b'"' | b'{'),
        "context_management" => first == b'[',
        "background" | "stream_options.include_obfuscation" => matches!(first, b't' | b'f'),
        "max_tool_calls" => first.is_ascii_digit(),
        _ => false,
    }
}

/// Whether `tool_choice` names one of OpenAI's own tools.
pub(super) fn is_hosted_choice(raw: &Raw) -> bool {
    #[derive(serde::Deserialize)]
    struct Choice {
        #[serde(rename = "type")]
        kind: String,
    }
    raw.read::<Choice>().is_some_and(|choice| is_hosted(&choice.kind) || choice.kind == "allowed_tools")
}

/// Models that do not reason and answer 400 when asked for encrypted reasoning.
pub(super) fn never_reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    ["gpt-3.5", "gpt-4", "chatgpt-", "gpt-5-chat", "computer-use"]
        .iter()
        .any(|family| name.starts_with(family))
}
