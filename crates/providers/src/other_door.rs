//! Whether a provider refused a call in Chat Completions because its model is served through Responses.
//!
//! OpenAI says so with status 400 or 404, and only in the words of its message and in `param`: "This model is only
//! supported in v1/responses and not in v1/chat/completions." (`param`: `model`), "Function tools with
//! reasoning_effort are not supported for … in /v1/chat/completions. …" (`param`: `reasoning_effort`). A wrong guess
//! costs one attempt and nothing else, because it is only made where the provider has Responses.

use serde::Deserialize;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlyByResponses {
    /// The model at all.
    Everything,
    /// Its tools.
    Tools,
    /// Its tools while it thinks.
    ToolsThatThink,
}

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    error: Error<'b>,
}

#[derive(Deserialize)]
struct Error<'b> {
    #[serde(borrow, default)]
    message: Option<std::borrow::Cow<'b, str>>,
    #[serde(borrow, default)]
    param: Option<std::borrow::Cow<'b, str>>,
}

/// Understands a refusal of a call in Chat Completions.
pub fn read(status: u16, body: &[u8]) -> Option<OnlyByResponses> {
    if !matches!(status, 400 | 404) {
        return None;
    }
    let error = serde_json::from_slice::<Body<'_>>(body).ok()?.error;
    let message = error.message?.to_ascii_lowercase();
    let of_chat = message.contains("v1/chat/completions");
    let to_responses = message.contains("v1/responses") || message.contains("responses api");
    let of_tools = message.contains("tools") || message.contains("tool calling");
    if of_tools && (of_chat || to_responses) {
        let thinks =
            error.param.as_deref() == Some("reasoning_effort") || message.contains("reasoning_effort");
        return Some(if thinks { OnlyByResponses::ToolsThatThink } else { OnlyByResponses::Tools });
    }
    // Models of the oldest API are refused in the same words, with the way to `v1/completions`.
    let unsupported = of_chat && message.contains("not supported in") && !message.contains("v1/completions");
    (unsupported || of_chat && to_responses).then_some(OnlyByResponses::Everything)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, message: &str, param: &str) -> Option<OnlyByResponses> {
        let error =
            serde_json::json!({ "message": message, "type": "invalid_request_error", "param": param });
        read(status, serde_json::json!({ "error": error }).to_string().as_bytes())
    }

    #[test]
    fn the_way_to_responses_is_understood() {
        let alone = "This model is only supported in v1/responses and not in v1/chat/completions.";
        assert_eq!(told(404, alone, "model"), Some(OnlyByResponses::Everything));
        assert_eq!(told(400, alone, "model"), Some(OnlyByResponses::Everything));
        let tools = "Function tools with reasoning_effort are not supported for gpt-5.6-sol in /v1/chat/completions. \
                     Use /v1/responses, or set reasoning_effort to none.";
        assert_eq!(told(400, tools, "reasoning_effort"), Some(OnlyByResponses::ToolsThatThink));
        let always =
            "Tool calling is not supported for gpt-6-astra in /v1/chat/completions; use /v1/responses.";
        assert_eq!(told(400, always, "tools"), Some(OnlyByResponses::Tools));
        let endpoint = "This model is not supported in the v1/chat/completions endpoint.";
        assert_eq!(told(400, endpoint, "model"), Some(OnlyByResponses::Everything));
    }

    #[test]
    fn other_refusals_are_no_way_to_responses() {
        let old = "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to \
                   use v1/completions?";
        for (status, message) in [
            (404, old),
            (400, "Invalid value for `temperature`"),
            (400, "Unknown tools"),
            (500, "This model is only supported in v1/responses and not in v1/chat/completions."),
        ] {
            assert_eq!(told(status, message, "x"), None, "{message}");
        }
        assert_eq!(read(400, b"<html>v1/responses v1/chat/completions"), None);
        assert_eq!(read(400, br#"{"error":"use v1/responses, not v1/chat/completions"}"#), None);
    }
}
