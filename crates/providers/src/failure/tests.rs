//! Refusals as vendors send them.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn classified(status: u16, headers: &[(&str, &str)], body: &str) -> Failure {
    let find = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    classify(status, &find, body.as_bytes())
}

#[test]
fn statuses_decide_blame_and_retry() {
    for (status, blame) in [
        (400, Blame::Client),
        (401, Blame::Credential),
        (402, Blame::Credential),
        (403, Blame::Credential),
        (404, Blame::Client),
        (405, Blame::Client),
        (408, Blame::Timeout),
        (409, Blame::Upstream),
        (413, Blame::Client),
        (415, Blame::Client),
        (422, Blame::Client),
        (424, Blame::Upstream),
        (429, Blame::RateLimited),
        (498, Blame::Overloaded),
        (500, Blame::Upstream),
        (502, Blame::Upstream),
        (503, Blame::Overloaded),
        (504, Blame::Timeout),
        (524, Blame::Timeout),
        (529, Blame::Overloaded),
        (599, Blame::Upstream),
        (200, Blame::Upstream),
        (302, Blame::Upstream),
    ] {
        let failure = classified(status, &[], "");
        assert_eq!((failure.blame, failure.retryable), (blame, blame != Blame::Client), "{status}");
    }
}

#[test]
fn codes_tell_what_a_status_hides() {
    for (status, body, blame, code) in [
        (
            429,
            r#"{"error":{"message":"m","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            Blame::Credential,
            "insufficient_quota",
        ),
        (
            429,
            r#"{"error":{"message":"m","type":"tokens","code":"rate_limit_exceeded"}}"#,
            Blame::RateLimited,
            "rate_limit_exceeded",
        ),
        (
            429,
            r#"{"error":{"message":"m","type":"exceeded_current_quota_error"}}"#,
            Blame::Credential,
            "exceeded_current_quota_error",
        ),
        (429, r#"{"error":{"code":"1113","message":"m"}}"#, Blame::Credential, "1113"),
        (400, r#"{"code":"Arrearage","message":"m"}"#, Blame::Credential, "Arrearage"),
        (
            400,
            r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#,
            Blame::Client,
            "context_length_exceeded",
        ),
        (
            400,
            r#"[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]"#,
            Blame::Client,
            "INVALID_ARGUMENT",
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
            Blame::Credential,
            "API_KEY_INVALID",
        ),
        (
            500,
            r#"{"error":{"message":"m","code":"insufficient_quota"}}"#,
            Blame::Upstream,
            "insufficient_quota",
        ),
    ] {
        let failure = classified(status, &[], body);
        assert_eq!((failure.blame, failure.code.as_deref()), (blame, Some(code)), "{body}");
        assert_eq!(failure.message.as_deref(), Some("m"));
    }
    // Who has no code for it says it in words.
    for body in [
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 3 tokens > 2 maximum"}}"#,
        r#"{"error":{"code":400,"message":"The input token count (3) exceeds the maximum number of tokens allowed (2).","status":"INVALID_ARGUMENT"}}"#,
    ] {
        let failure = classified(400, &[], body);
        assert_eq!(
            (failure.blame, failure.code.as_deref()),
            (Blame::Client, Some("context_length_exceeded"))
        );
        assert_ne!(classified(500, &[], body).code.as_deref(), Some("context_length_exceeded"));
    }
    // The words of a message decide nothing.
    let words = classified(400, &[], r#"{"error":{"message":"insufficient_quota, please retry"}}"#);
    assert_eq!((words.blame, words.retryable), (Blame::Client, false));
}

#[test]
fn messages_are_found_where_servers_put_them() {
    for (body, message) in [
        (r#"{"error":"plain"}"#, Some("plain")),
        (r#"{"detail":"Not Found"}"#, Some("Not Found")),
        (r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, Some("field required")),
        (r#"{"object":"error","message":"vllm","code":40301}"#, Some("vllm")),
        ("<html>502</html>", None),
        ("", None),
        (r#"{"error":null}"#, None),
        (r#"{"error":{"message":""}}"#, None),
        ("[]", None),
        ("7", None),
    ] {
        assert_eq!(classified(500, &[], body).message.as_deref(), message, "{body}");
    }
    let long = format!(r#"{{"error":"{}"}}"#, "é".repeat(5_000));
    let message = classified(500, &[], &long).message.unwrap();
    assert!(message.len() <= 2_000 && message.starts_with('é'));
}

#[test]
fn waits_are_read_in_each_form() {
    let date = ("date", "Sun, 22 Nov 2026 10:00:00 GMT");
    for (headers, wanted) in [
        (&[("retry-after", "7")][..], Some(Duration::from_secs(7))),
        (&[("retry-after", " 0.5 ")], Some(Duration::from_millis(500))),
        (&[("retry-after", "7"), ("retry-after-ms", "250")], Some(Duration::from_millis(250))),
        (&[("retry-after", "Sun, 22 Nov 2026 10:01:30 GMT"), date], Some(Duration::from_secs(90))),
        (&[("retry-after", "Sun, 22 Nov 2026 09:00:00 GMT"), date], Some(Duration::ZERO)),
        (&[("retry-after", "Sun, 22 Nov 2026 10:01:30 GMT")], None),
        (&[("retry-after", "1e300")], Some(LONGEST_WAIT)),
        (&[("retry-after", "inf")], Some(LONGEST_WAIT)),
        (&[("retry-after", "NaN")], None),
        (&[("retry-after", "-1")], None),
        (&[("retry-after", "soon"), date], None),
        (&[], None),
    ] {
        assert_eq!(classified(429, headers, "").retry_after, wanted, "{headers:?}");
    }
}

#[test]
fn google_says_in_the_body_when_to_come_back() {
    let delay = |text: &str| {
        let body = format!(
            r#"{{"error":{{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{{"x":1}},{{"retryDelay":"{text}"}}]}}}}"#
        );
        classified(429, &[], &body).retry_after
    };
    assert_eq!(delay("37s"), Some(Duration::from_secs(37)));
    assert_eq!(delay("1.5s"), Some(Duration::from_millis(1500)));
    assert_eq!(delay("1e300s"), Some(LONGEST_WAIT));
    for nonsense in ["", "s", "-1s", "5", "NaNs"] {
        assert_eq!(delay(nonsense), None, "{nonsense}");
    }
    let body = r#"{"error":{"code":429,"details":[{"retryDelay":"37s"}]}}"#;
    assert_eq!(classified(429, &[("retry-after", "2")], body).retry_after, Some(Duration::from_secs(2)));
}
