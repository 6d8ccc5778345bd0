//! Why an answer ended, in Google's words and in the form's.

use crate::blocks::{Stop, StopKind};

/// `finishReason` words of google-genai 3.4 and what they mean. `STOP` with a call means that it waits for tools; the
/// reader derives that.
const REASONS: [(&str, StopKind); 22] = [
    ("STOP", StopKind::End),
    ("MAX_TOKENS", StopKind::Length),
    ("SAFETY", StopKind::Filter),
    ("RECITATION", StopKind::Filter),
    ("LANGUAGE", StopKind::Other),
    ("OTHER", StopKind::Other),
    ("BLOCKLIST", StopKind::Filter),
    ("PROHIBITED_CONTENT", StopKind::Filter),
    ("SPII", StopKind::Filter),
    ("MALFORMED_FUNCTION_CALL", StopKind::BadToolCall),
    ("IMAGE_SAFETY", StopKind::Filter),
    ("IMAGE_PROHIBITED_CONTENT", StopKind::Filter),
    ("IMAGE_OTHER", StopKind::Filter),
    ("NO_IMAGE", StopKind::Other),
    ("IMAGE_RECITATION", StopKind::Filter),
    ("UNEXPECTED_TOOL_CALL", StopKind::BadToolCall),
    ("TOO_MANY_TOOL_CALLS", StopKind::BadToolCall),
    ("MISSING_THOUGHT_SIGNATURE", StopKind::BadToolCall),
    ("MALFORMED_RESPONSE", StopKind::BadToolCall),
    ("ESCALATION", StopKind::Other),
    ("CONTINUATION", StopKind::Pause),
    ("MODEL_ARMOR", StopKind::Filter),
];

/// `promptFeedback.blockReason` words.
const BLOCKS: [&str; 7] =
    ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "MODEL_ARMOR", "JAILBREAK"];

/// What a `finishReason` means.
pub(super) fn read_stop(word: &str, calls: bool) -> Stop {
    let kind = REASONS.iter().find(|(known, _)| *known == word).map_or(StopKind::Other, |(_, kind)| *kind);
    let kind = if calls && kind == StopKind::End { StopKind::ToolCalls } else { kind };
    Stop { kind, sequence: None, native: Some(word.to_owned()) }
}

/// The `finishReason` of a stop: Google's own word where it was one, else the nearest.
pub(super) fn finish_reason(stop: &Stop) -> &'static str {
    let native = stop.native.as_deref().unwrap_or_default();
    if let Some((word, kind)) = REASONS.iter().find(|(word, _)| *word == native)
        && (*kind == stop.kind || (*kind == StopKind::End && stop.kind == StopKind::ToolCalls))
    {
        return word;
    }
    match stop.kind {
        StopKind::End | StopKind::Sequence | StopKind::ToolCalls => "STOP",
        StopKind::Length | StopKind::ContextWindow => "MAX_TOKENS",
        StopKind::Filter | StopKind::Refusal => "SAFETY",
        StopKind::Pause => "CONTINUATION",
        StopKind::BadToolCall => "MALFORMED_FUNCTION_CALL",
        StopKind::Other => "OTHER",
    }
}

/// The `blockReason` of an answer that has nothing in it because Google's filter stopped the prompt.
pub(super) fn block_reason(stop: &Stop) -> Option<&'static str> {
    let native = stop.native.as_deref()?;
    (stop.kind == StopKind::Filter).then(|| BLOCKS.iter().find(|word| **word == native).copied()).flatten()
}
