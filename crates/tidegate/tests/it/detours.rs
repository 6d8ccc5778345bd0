//! Other names, other spellings, other addresses: by none of them does anybody get round a limit or a budget, or hold what is not
//! theirs.

use std::time::Duration;

use fakes::plan::Plan;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::chat;
use crate::stand::{PATIENCE, Setup, Stand};

/// A stand with a second provider that is not there, so that what comes after it is asked.
async fn stand(more: &str) -> Stand {
    let more = format!(
        "[providers.other]\ndialect = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\nmodels = [\"m\", \"n\"]\n\
         [models.\"other/m\"]\nprice = {{ per_request = \"0.01\" }}\n[models.\"fake/ok\"]\nprice = {{ per_request = \"0.01\" }}\n{more}\n"
    );
    let provider = "abort_stops_billing = true".to_owned();
    Stand::start(Setup { more, provider, ..Setup::default() }).await
}

fn rule(kind: &str, name: &str, rest: &str) -> String {
    format!("[[{kind}]]\nname = \"{name}\"\n{rest}\n")
}

#[tokio::test]
async fn a_fallback_of_the_client_meets_the_limits_and_budgets_of_its_name() {
    let rules = rule("limits", "scarce", "per = \"key\"\nmodels = [\"fake/ok\"]\nrequests_per_day = 2")
        + &rule(
            "budgets",
            "dear",
            "per = \"organization\"\nmodels = [\"fake/ok\"]\namount = \"0.01\"\nwindow = \"total\"",
        );
    let stand = stand(&rules).await;
    let client = stand.client();
    let body = || chat("other/m", r#","models":["fake/ok"]"#);
    let first = client.post("/v1/chat/completions", body()).await;
    assert_eq!((first.status, first.header("x-tidegate-model")), (200, Some("fake/ok")));
    // The limit has one more; the budget of that name is spent.
    let second = client.post("/v1/chat/completions", body()).await;
    assert_ne!(second.status, 200, "{}", second.text());
    let direct = client.chat("fake/ok").await;
    assert_eq!((direct.status, direct.code().as_str()), (429, "insufficient_quota"));
    assert_eq!(stand.upstream.journal().count(), 1);
    let (_, out, _) = stand.command(&["budgets", "--json"]);
    assert!(out.contains(r#""spent":"0.01""#) && out.contains(r#""reserved":"0.00""#), "{out}");
}

#[tokio::test]
async fn the_limit_of_a_fallbacks_name_counts_by_attempt() {
    let stand = stand(&rule("limits", "each", "per = \"model\"\nrequests_per_day = 1")).await;
    let client = stand.client();
    let body = |first: &str| chat(first, r#","models":["fake/ok"]"#);
    assert_eq!(client.post("/v1/chat/completions", body("other/m")).await.status, 200);
    let refused = client.post("/v1/chat/completions", body("other/n")).await;
    assert_ne!(refused.status, 200, "`fake/ok` was used up by way of `other/m`");
    assert_eq!(client.chat("fake/ok").await.code(), "rate_limit_exceeded");
}

#[tokio::test]
async fn neither_a_count_nor_a_passage_is_beside_the_limits() {
    let rules = rule("limits", "users", "per = \"end_user\"\nrequests_per_day = 1")
        + &rule("limits", "all-of-fake", "per = \"key\"\nmodels = [\"fake/*\"]\nrequests_per_day = 3");
    let stand = stand(&rules).await;
    let client = stand.client();
    let counting = client.header("x-tidegate-user", "u");
    let count = r#"{"model":"fake/ok","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#;
    let first = counting.post("/v1/messages/count_tokens", count).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(counting.post("/v1/messages/count_tokens", count).await.status, 429);
    for expected in [200, 200, 429] {
        let passed = client.post("/passthrough/fake/chat/completions", chat("ok", "")).await;
        assert_eq!(passed.status, expected, "{}", passed.text());
    }
}

#[tokio::test]
async fn what_no_name_takes_is_refused_as_what_it_is() {
    let takes = "[models.\"other/n\"]\ntakes = [\"text\"]\n[models.\"fake/slim\"]\ntakes = [\"text\"]\n";
    let stand = stand(takes).await;
    let body = r#"{"model":"other/n","models":["fake/slim"],"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x/y.png"}}]}]}"#;
    let refused = stand.client().post("/v1/chat/completions", body).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "no_fitting_model"), "{}", refused.text());
}

#[tokio::test]
async fn an_explanation_does_not_promise_a_fallback_for_a_spent_budget() {
    let route =
        "[routes.r]\ntargets = [\"other/m\"]\nfallbacks = [{ model = \"fake/ok\", on = [\"budget\"] }]\n";
    let stand = stand(route).await;
    let (code, out, err) = stand.command(&["routes", "explain", "r", "--json"]);
    assert_eq!(code, 0, "{err}");
    let explained: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(explained["attempts"].as_array().unwrap().len(), 1, "{out}");
    assert!(explained["left_out"].to_string().contains("when a budget is spent"), "{out}");
    assert_eq!(stand.client().chat("r").await.header("x-tidegate-attempts"), Some("1"));
}

/// A request head, a part of its body, and what follows it.
async fn send(stand: &Stand, key: &str, length: usize, sent: &str) -> TcpStream {
    let mut socket = TcpStream::connect(stand.address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(sent.as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn a_strangers_body_is_not_waited_for() {
    let stand = stand("").await;
    let mut socket = send(&stand, "nobody", 60_000, "{").await;
    let mut answer = vec![0; 1_024];
    let read = tokio::time::timeout(PATIENCE, socket.read(&mut answer)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 401 "));
    // Of whoever has a key the body is waited for, and counted.
    let body = chat("fake/ok", "");
    let (half, rest) = body.split_at(body.len() / 2);
    let mut socket = send(&stand, &stand.key, body.len(), half).await;
    let held = async || stand.client().metric("tidegate_held_bytes").await.unwrap_or(0.0) > 0.0;
    while !held().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    socket.write_all(rest.as_bytes()).await.unwrap();
    let read = tokio::time::timeout(PATIENCE, socket.read(&mut answer)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_goes_is_seen_though_it_has_sent_an_empty_line_more() {
    let mut stand = stand("").await;
    // Longer than anybody waits here: what ends it is the client.
    let slow = Plan { first: 600_000, ..Plan::default() };
    let body = chat("fake/ok", &format!(r#","fake":{}"#, serde_json::to_string(&slow).unwrap()));
    let mut socket = send(&stand, &stand.key.clone(), body.len(), &body).await;
    // As some old clients end what they send.
    socket.write_all(b"\r\n").await.unwrap();
    let in_flight = async |stand: &Stand| stand.client().metric("tidegate_in_flight").await.unwrap_or(0.0);
    while in_flight(&stand).await < 1.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(socket);
    stand.wait_drained().await;
}
