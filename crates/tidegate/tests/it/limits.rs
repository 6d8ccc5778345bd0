//! Limits for others than single keys, several at once.

use std::time::Duration;

use fakes::plan::Plan;

use crate::client::{Client, Reply, chat};
use crate::stand::{PATIENCE, Setup, Stand};

/// A stand with these `[[limits]]`, and a second provider to fall back to.
async fn stand(limits: &str) -> Stand {
    let more = format!(
        "[providers.other]\ndialect = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\nmodels = [\"m\"]\n{limits}\n"
    );
    Stand::start(Setup { more, ..Setup::default() }).await
}

fn limit(name: &str, rest: &str) -> String {
    format!("[[limits]]\nname = \"{name}\"\n{rest}\n")
}

fn plan(plan: &Plan) -> String {
    format!(r#","fake":{}"#, serde_json::to_string(plan).unwrap())
}

fn outcome(reply: &Reply) -> (u16, String) {
    (reply.status, reply.code())
}

const REFUSED: &str = "rate_limit_exceeded";

async fn ask(client: &Client, user: &str) -> Reply {
    client.header("x-tidegate-user", user).chat("fake/ok").await
}

#[tokio::test]
async fn each_end_user_has_a_limit_for_itself() {
    let stand = stand(&limit("users", "per = \"end_user\"\nrequests_per_day = 2")).await;
    let client = stand.client();
    for user in ["one", "two"] {
        for left in [1, 0] {
            let reply = ask(&client, user).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.header("x-ratelimit-remaining-requests"), Some(left.to_string().as_str()));
        }
    }
    let refused = ask(&client, "one").await;
    assert_eq!(outcome(&refused), (429, REFUSED.to_owned()));
    assert_eq!(refused.header("x-ratelimit-limit-requests"), Some("2"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((43_000..=43_200).contains(&wait), "half a day, and not {wait} seconds");
    let text = refused.text();
    assert!(
        text.contains("limit `users`: end user `one` may make 2 requests a day (`requests_per_day`)"),
        "{text}"
    );
    // Who names no end user is nobody's; and a user in the body is the same user.
    assert_eq!(client.chat("fake/ok").await.status, 200);
    let body = chat("fake/ok", r#","user":"two""#);
    assert_eq!(client.post("/v1/chat/completions", body).await.status, 429);
    assert_eq!(ask(&client, "three").await.status, 200);
}

#[tokio::test]
async fn what_one_limit_refuses_no_other_is_charged_for() {
    let limits = limit("all", "per = \"environment\"\nrequests_per_day = 4")
        + &limit("users", "per = \"end_user\"\nrequests_per_day = 1");
    let stand = stand(&limits).await;
    let client = stand.client();
    assert_eq!(ask(&client, "one").await.status, 200);
    for _ in 0..10 {
        let refused = ask(&client, "one").await;
        assert_eq!(refused.status, 429);
        assert!(refused.text().contains("limit `users`"), "{}", refused.text());
    }
    // The ten refused ones took nothing of the environment's four.
    for user in ["two", "three", "four"] {
        assert_eq!(ask(&client, user).await.status, 200);
    }
    let refused = ask(&client, "five").await;
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("limit `all`: environment `dev`"), "{}", refused.text());
}

#[tokio::test]
async fn tokens_of_input_and_output_count_apart() {
    let stand = stand(&limit("out", "per = \"model\"\noutput_tokens_per_day = 20")).await;
    let client = stand.client();
    // 16 of output are told, whatever was expected.
    let first = client.chat("fake/ok").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("x-ratelimit-limit-tokens"), Some("20"));
    let usage = first.json()["usage"]["completion_tokens"].as_u64().unwrap();
    let body = chat("fake/ok", r#","max_tokens":20"#);
    let refused = client.post("/v1/chat/completions", body).await;
    assert_eq!(outcome(&refused), (429, REFUSED.to_owned()), "{usage} were used");
    let text = refused.text();
    assert!(text.contains("model `fake/ok` may use 20 output tokens a day"), "{text}");
    let small = chat("fake/ok", r#","max_tokens":1"#);
    assert_eq!(client.post("/v1/chat/completions", small).await.status, 200);
    // Another model has its own, and a bare name is the same model.
    assert_eq!(client.chat("fake/other").await.status, 200);
}

#[tokio::test]
async fn a_shadow_counts_and_refuses_nothing() {
    let stand =
        stand(&limit("trial", "per = \"key\"\nrequests_per_day = 1\nconcurrency = 1\nshadow = true")).await;
    let client = stand.client();
    for _ in 0..3 {
        let reply = client.chat("fake/ok").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("x-ratelimit-limit-requests"), None, "it is no limit yet");
    }
    let metrics = client.get("/metrics").await.unwrap().text();
    let line = "tidegate_limited_requests_total{limit=\"trial\",shadow=\"true\"} 2";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_full_provider_is_passed_over_and_refuses_only_alone() {
    let limits = limit("tiny", "per = \"provider\"\nonly = [\"fake\"]\nrequests_per_day = 2")
        + "[routes.r]\ntargets = [\"fake/ok\"]\nfallbacks = [\"other/m\"]\n";
    let stand = stand(&limits).await;
    let client = stand.client();
    for _ in 0..2 {
        let reply = client.chat("r").await;
        assert_eq!((reply.status, reply.header("x-tidegate-model")), (200, Some("fake/ok")));
    }
    // The other is not there at all: which shows that it was asked.
    let reply = client.chat("r").await;
    assert_eq!(outcome(&reply), (502, "upstream_unreachable".to_owned()));
    assert_eq!(reply.header("x-tidegate-attempts"), Some("1"));
    let alone = client.chat("fake/ok").await;
    assert_eq!(outcome(&alone), (429, REFUSED.to_owned()));
    assert!(alone.text().contains("limit `tiny`: provider `fake`"), "{}", alone.text());
    assert_eq!(alone.header("x-tidegate-attempts"), Some("0"));
    assert_eq!(stand.upstream.journal().count(), 2);
}

#[tokio::test]
async fn places_of_an_address_come_back_with_the_answer() {
    let limits = limit("addresses", "per = \"address\"\nconcurrency = 1");
    let server = "trusted_proxies = [\"127.0.0.0/8\"]".to_owned();
    let stand = Stand::start(Setup { server, more: limits, ..Setup::default() }).await;
    let client = stand.client();
    let slow = Plan { first: 60_000, ..Plan::default() };
    let from = |address: &str| client.header("x-forwarded-for", address);
    let (one, body) = (from("203.0.113.1"), chat("fake/ok", &plan(&slow)));
    let held = tokio::spawn(async move { one.send("POST", "/v1/chat/completions", body).await });
    stand.upstream.journal().wait(PATIENCE, |seen| seen.len() == 1).await.expect("one in flight");
    // What a client writes before its proxy's word is not believed.
    let refused = from("198.51.100.9, 203.0.113.1").chat("fake/ok").await;
    assert_eq!(outcome(&refused), (429, "concurrency_limit_exceeded".to_owned()));
    assert!(refused.text().contains("limit `addresses`: address `203.0.113.1`"), "{}", refused.text());
    assert_eq!(from("203.0.113.2").chat("fake/ok").await.status, 200);
    held.abort();
    for _ in 0..600 {
        if from("203.0.113.1").chat("fake/ok").await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place did not come back");
}

#[tokio::test]
async fn a_reload_keeps_what_was_used() {
    let limits = limit("users", "per = \"end_user\"\nrequests_per_day = 1");
    let mut stand = stand(&limits).await;
    let client = stand.client();
    assert_eq!(ask(&client, "one").await.status, 200);
    stand.write_settings("[routes.new]\ntargets = [\"fake/ok\"]\n");
    stand.signal(libc::SIGHUP);
    let reloaded = |stand: &Stand| {
        let client = stand.client();
        async move { client.chat("new").await.status == 200 }
    };
    stand.wait_until("the reload", reloaded).await;
    assert_eq!(ask(&client, "one").await.status, 429);
    assert_eq!(ask(&client, "two").await.status, 200);
}
