//! Which of OpenAI's two APIs an attempt takes at a provider that has both.
//!
//! Chat Completions, as long as it serves the model: whoever speaks Chat keeps the bytes that way. Some models it serves
//! without tools, or not at all; these calls are put to Responses, through the ordered form.

use bytes::Bytes;
use policy::{Deployment, ThroughChat};
use providers::blocks::Request;
use providers::dialects::Dialect;

use super::parsed;
use crate::exchange::Exchange;

/// Whether a call that would be put to Chat Completions must be put to Responses.
pub(super) fn by_responses(
    exchange: &mut Exchange,
    deployment: &Deployment,
    client: Dialect,
    body: &Bytes,
) -> bool {
    if deployment.provider.responses.is_none() {
        return false;
    }
    let chat = exchange.gateway.learned.through_chat(deployment);
    match chat {
        ThroughChat::Everything => false,
        ThroughChat::Nothing => true,
        // What cannot be read is refused by whoever reads it next.
        _ => parsed(exchange, client, body).is_ok_and(|request| !serves(chat, &request)),
    }
}

/// Whether Chat Completions serves this request to a model of which it serves `chat`.
fn serves(chat: ThroughChat, request: &Request) -> bool {
    if request.tools.is_empty() {
        return chat != ThroughChat::Nothing;
    }
    match chat {
        ThroughChat::Everything => true,
        ThroughChat::ToolsWithoutThinking => request.thinking.as_ref().is_some_and(|thinking| {
            thinking.effort.as_deref() == Some("none")
                || thinking.effort.is_none()
                    && (thinking.mode.as_deref() == Some("disabled") || thinking.budget == Some(0))
        }),
        ThroughChat::NoTools | ThroughChat::Nothing => false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use providers::dialects::read_request;

    fn served(chat: ThroughChat, dialect: Dialect, body: &str) -> bool {
        serves(chat, &read_request(dialect, body.as_bytes()).unwrap())
    }

    #[test]
    fn tools_decide_and_the_effort() {
        let ask =
            |more: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{more}}}"#);
        let tools =
            r#","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]"#;
        let chat = |rule, more: &str| served(rule, Dialect::Chat, &ask(more));
        for rule in [ThroughChat::NoTools, ThroughChat::ToolsWithoutThinking] {
            assert!(chat(rule, ""));
            assert!(!chat(rule, tools));
            assert!(!chat(rule, &format!(r#"{tools},"reasoning_effort":"low""#)));
        }
        let quiet = format!(r#"{tools},"reasoning_effort":"none""#);
        assert!(chat(ThroughChat::ToolsWithoutThinking, &quiet));
        assert!(!chat(ThroughChat::NoTools, &quiet));
        assert!(!chat(ThroughChat::Nothing, ""));
        let messages = r#","max_tokens":9,"tools":[{"name":"f","input_schema":{"type":"object"}}],
                         "thinking":{"type":"disabled"}"#;
        assert!(served(ThroughChat::ToolsWithoutThinking, Dialect::Messages, &ask(messages)));
    }
}
