//! What a client asks of the gateway by headers, and under which code the log keeps a refusal.

use fakes::plan::{Fault, Plan};

use crate::client::chat;
use crate::stand::{Setup, Stand};

fn plan(plan: &Plan) -> String {
    format!(r#","fake":{}"#, serde_json::to_string(plan).unwrap())
}

/// The error codes of the log, oldest first.
async fn logged(stand: &mut Stand) -> Vec<(u64, String)> {
    stand.wait_drained().await;
    let (code, out, err) = stand.command(&["logs", "--json", "--limit", "100"]);
    assert_eq!(code, 0, "{err}");
    out.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| (line["status"].as_u64().unwrap(), line["error_code"].as_str().unwrap_or("").to_owned()))
        .collect()
}

#[tokio::test]
async fn a_client_limits_the_time_of_its_request() {
    let mut stand = Stand::start(Setup::default()).await;
    let limited = stand.client().header("x-tidegate-timeout", "300ms");
    let mute = Plan { fault: Some(Fault::Hang), ..Plan::default() };
    for flag in ["", r#","stream":true"#] {
        let body = chat("fake/ok", &format!("{flag}{}", plan(&mute)));
        let reply = limited.post("/v1/chat/completions", body).await;
        assert_eq!((reply.status, reply.code().as_str()), (504, "upstream_timeout"), "{}", reply.text());
        assert!(reply.text().contains("300ms (`x-tidegate-timeout` of the request)"), "{}", reply.text());
        assert_eq!(reply.header("x-should-retry"), Some("false"));
    }
    // A stream that has begun ends with an error event, and not as if it were whole.
    let slow = Plan { tokens: 1000, delay: 20, ..Plan::default() };
    let body = chat("fake/ok-t3", &format!(r#","stream":true{}"#, plan(&slow)));
    let text = limited.post("/v1/chat/completions", body).await.text();
    assert!(text.contains("x-tidegate-timeout") && !text.contains("[DONE]"), "{text}");
    // A limit that is longer than the answer changes nothing; the header stays here.
    let reply = stand.client().header("x-tidegate-timeout", "50").chat("fake/ok").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = stand.upstream.journal().last().unwrap();
    assert!(!sent.headers.iter().any(|(name, _)| name.starts_with("x-tidegate")), "{:?}", sent.headers);
    let codes: Vec<_> = logged(&mut stand).await.into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["upstream_timeout", "upstream_timeout", "upstream_timeout", ""]);
}

/// Fallbacks do not begin the client's time anew.
#[tokio::test]
async fn the_time_of_a_request_is_that_of_all_its_attempts() {
    let more = "[routes.r]\ntargets = [\"fake/ok\"]\nfallbacks = [\"fake/two\", \"fake/three\"]\n\
                timeouts = { first_byte = \"250ms\" }\n";
    let stand = Stand::start(Setup { more: more.to_owned(), ..Setup::default() }).await;
    let mute = Plan { fault: Some(Fault::Hang), ..Plan::default() };
    let limited = stand.client().header("x-tidegate-timeout", "0.4");
    let reply = limited.post("/v1/chat/completions", chat("r", &plan(&mute))).await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "upstream_timeout"), "{}", reply.text());
    assert!(reply.text().contains("400ms"), "{}", reply.text());
    assert_eq!(reply.header("x-tidegate-attempts"), Some("2"), "the third was not begun");
}

#[tokio::test]
async fn headers_of_ours_that_cannot_be_read_are_refused_by_name() {
    let stand = Stand::start(Setup::default()).await;
    let client = stand.client();
    for (name, value, fine) in [
        ("x-tidegate-timeout", "soon", false),
        ("x-tidegate-timeout", "0", false),
        ("x-tidegate-timeout", "2m", true),
        ("x-tidegate-strict", "maybe", false),
        ("x-tidegate-strict", "true", true),
        ("x-tidegate-strict", "false", true),
    ] {
        let reply = client.header(name, value).chat("fake/ok").await;
        if fine {
            assert_eq!(reply.status, 200, "{name}: {value}: {}", reply.text());
            continue;
        }
        assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_request"), "{name}: {value}");
        let error = &reply.json()["error"];
        assert_eq!((&error["type"], &error["param"]), (&"invalid_request_error".into(), &name.into()));
        assert!(error["message"].as_str().unwrap().contains(name), "{error}");
    }
    assert_eq!(stand.upstream.journal().count(), 3);
}

#[tokio::test]
async fn a_refusal_is_logged_by_who_is_to_blame() {
    let mut stand = Stand::start(Setup::default()).await;
    let client = stand.client();
    for (status, code) in [
        (400, "invalid_request"),
        (404, "invalid_request"),
        (422, "invalid_request"),
        (401, "upstream_authentication"),
        (429, "upstream_rate_limited"),
        (500, "upstream_error"),
        (529, "upstream_error"),
        (504, "upstream_timeout"),
    ] {
        let refusing = Plan { status, ..Plan::default() };
        let reply = client.post("/v1/chat/completions", chat("fake/ok", &plan(&refusing))).await;
        let (logged_status, logged_code) = logged(&mut stand).await.pop().unwrap();
        assert_eq!((logged_status, logged_code.as_str()), (u64::from(reply.status), code), "{status}");
    }
}
