//! Why an answer ended, in Chat's words.

use crate::blocks::{Stop, StopKind};

/// A `finish_reason` in the form's words; the native word is kept.
pub(super) fn read(reason: &str, has_calls: bool) -> Stop {
    let kind = match reason.to_ascii_lowercase().as_str() {
        // Some servers say `stop` though the model called tools.
        "stop" | "end_turn" | "eos" | "completed" if has_calls => StopKind::ToolCalls,
        "stop" | "end_turn" | "eos" | "completed" => StopKind::End,
        "stop_sequence" => StopKind::Sequence,
        "length" | "max_tokens" | "max_output_tokens" => StopKind::Length,
        "model_length" | "model_context_window_exceeded" => StopKind::ContextWindow,
        "tool_calls" | "function_call" | "tool_use" => StopKind::ToolCalls,
        // `sensitive` is Zhipu's word.
        "content_filter" | "sensitive" | "safety" => StopKind::Filter,
        "refusal" => StopKind::Refusal,
        "pause_turn" => StopKind::Pause,
        "malformed_function_call" => StopKind::BadToolCall,
        _ => StopKind::Other,
    };
    Stop { native: Some(reason.to_owned()), ..Stop::new(kind) }
}

/// The `finish_reason` of a choice. Clients know five words; what none of them says is told beside it by
/// [`native`], so that `stop` is never the whole story.
pub(super) fn word(kind: StopKind) -> &'static str {
    match kind {
        StopKind::Length | StopKind::ContextWindow => "length",
        StopKind::ToolCalls => "tool_calls",
        StopKind::Filter | StopKind::Refusal => "content_filter",
        StopKind::End | StopKind::Sequence | StopKind::Pause | StopKind::BadToolCall | StopKind::Other => {
            "stop"
        }
    }
}

/// The provider's own word, where it says more than Chat's.
pub(super) fn native<'s>(stop: &'s Stop, word: &str) -> Option<&'s str> {
    let known = match stop.kind {
        StopKind::Pause => Some("pause_turn"),
        StopKind::BadToolCall => Some("malformed_function_call"),
        StopKind::ContextWindow => Some("model_context_window_exceeded"),
        _ => None,
    };
    stop.native.as_deref().or(known).filter(|native| *native != word)
}
