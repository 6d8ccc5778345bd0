//! Answers of each endpoint, peeked at.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn chat(body: &str) -> Answer {
    read(Operation::Chat, body.as_bytes()).unwrap()
}

#[test]
fn reads_a_chat_completion() {
    let answer = chat(
        r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-5-mini",
        "choices":[{"index":0,"message":{"role":"assistant","content":"0123456789abcdef","refusal":null,
        "annotations":[],"tool_calls":[{"id":"call_aaaaaaaaaaaaaaaaaaaaaaaa","type":"function",
        "function":{"name":"f","arguments":"{\"a\":1}"}}]},
        "logprobs":{"content":[{"token":"0123456789abcdef0123456789abcdef","logprob":-0.1,"bytes":[1]}]},
        "finish_reason":"stop"},{"index":1,"message":{"content":"x"},"finish_reason":"length"}],
        "usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,
        "completion_tokens_details":{"reasoning_tokens":0}},"error":null,"system_fingerprint":"fp"}"#,
    );
    assert_eq!(answer.model.as_deref(), Some("gpt-5-mini"));
    assert_eq!(answer.id.as_deref(), Some("chatcmpl-1"));
    assert_eq!(answer.finish_reasons.as_slice(), ["stop", "length"]);
    assert!(answer.has_output && !answer.is_error);
    let usage = answer.usage.unwrap();
    assert_eq!(
        (usage.input, usage.output, usage.reasoning, usage.cached_input),
        (Some(5), Some(7), Some(0), None)
    );
    // 16 of content, 1 + 9 of a tool call, 1 of the second choice.
    assert_eq!(answer.output_estimate, 27 / 4);
}

#[test]
fn reads_completions_and_embeddings() {
    let text = r#"{"object":"text_completion","choices":[{"text":"01234567","index":0,"logprobs":{"tokens":["01234567"]},"finish_reason":"length"}]}"#;
    let answer = read(Operation::Completions, text.as_bytes()).unwrap();
    assert_eq!((answer.output_estimate, answer.usage), (2, None));
    assert_eq!(answer.finish_reasons.as_slice(), ["length"]);

    let vectors = |data: &str| {
        let body = format!(
            r#"{{"object":"list","data":{data},"model":"e","usage":{{"prompt_tokens":3,"total_tokens":3}}}}"#
        );
        read(Operation::Embeddings, body.as_bytes()).unwrap()
    };
    let answer = vectors(r#"[{"object":"embedding","index":0,"embedding":"AAAA"}]"#);
    assert!(answer.has_output);
    assert_eq!((answer.output_estimate, answer.usage.unwrap().input), (0, Some(3)));
    assert!(vectors(r#"[{"embedding":[0.1,-2e-3]}]"#).has_output);
    assert!(!vectors("[]").has_output);
}

#[test]
fn an_error_in_a_success_is_seen() {
    for body in [r#"{"error":{"message":"no"}}"#, r#"{"error":"no"}"#, r#"{"object":"error","message":"no"}"#]
    {
        assert!(chat(body).is_error, "{body}");
    }
    for body in [r#"{"error":null,"choices":[{}]}"#, r#"{"error":"","x":{"error":{}}}"#] {
        assert!(!chat(body).is_error, "{body}");
    }
    assert!(!chat(r#"{"choices":[]}"#).has_output);
}

#[test]
fn what_is_no_json_object_is_refused() {
    for body in ["", "<html>", "[]", "{\"a\":1", "{} {}", "\"x\""] {
        assert!(read(Operation::Chat, body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn reading_is_linear() {
    let work = |n: usize| {
        let vector = "0.0123456789,".repeat(n);
        let body = format!(r#"{{"data":[{{"embedding":[{vector}0]}}],"x":"{}"}}"#, "\\n中".repeat(n));
        crate::steps::measured(|| drop(read(Operation::Embeddings, body.as_bytes()).unwrap()))
    };
    assert!(work(3200) <= 17 * work(200));
}
