//! The way of one request: bytes in, bytes out, errors in the caller's dialect, the ledger behind it.

use std::time::Duration;

use fakes::plan::{Fault, Plan, UsageQuirk};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::client::{Client, chat};
use crate::stand::{PATIENCE, Setup, Stand, offline_key};

const PRICED: &str = r#"
[models."fake/ok"]
price = { input = "1.00", output = "2.00", currency = "USD" }
max_output = 1000
"#;

fn priced() -> Setup {
    Setup { more: PRICED.to_owned(), ..Setup::default() }
}

fn plan(plan: &Plan) -> String {
    format!(r#","fake":{}"#, serde_json::to_string(plan).unwrap())
}

/// A JSON object of `count` unknown members with everything that parsers like to rewrite.
fn odd_members(count: usize) -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("1.0".to_owned()),
        Just("1e400".to_owned()),
        Just("9007199254740993".to_owned()),
        Just("-0.0".to_owned()),
        Just("1E+2".to_owned()),
        Just(r#""\u00e9\/\ud83d\ude00 é\n""#.to_owned()),
        Just(r#"{"b":1,"a":[1.10,null],"b":2}"#.to_owned()),
        Just("[ ]".to_owned()),
        Just("true".to_owned()),
        "[a-zA-Z é漢]{0,12}".prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    let space = prop_oneof![Just(""), Just(" "), Just("\n\t"), Just("\r\n")];
    proptest::collection::vec((0..1000u32, value, space), count).prop_map(|members| {
        members.into_iter().map(|(n, value, space)| format!(r#",{space}"x_{n}"{space}:{value}"#)).collect()
    })
}

#[tokio::test]
async fn a_request_reaches_the_provider_byte_for_byte() {
    let stand = Stand::start(Setup::default()).await;
    let client = stand.client();
    let mut runner = TestRunner::deterministic();
    for round in 0..40 {
        let members = odd_members(200).new_tree(&mut runner).unwrap().current();
        let stream = round % 2 == 1;
        let flag = if stream { r#","stream":true"# } else { "" };
        let body = |model: &str, end: &str| {
            format!(
                r#"{{"messages":[{{"role":"user","content":"h\u0069"}}],"model":"{model}"{flag}{members}{end} }}"#
            )
        };
        let reply = client.post("/v1/chat/completions", body("fake/ok", "")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let sent = stand.upstream.journal().last().unwrap();
        let usage = if stream { r#","stream_options":{"include_usage":true}"# } else { "" };
        let raw = String::from_utf8(sent.raw.to_vec()).unwrap();
        assert_eq!(raw.replace(' ', ""), body("ok", usage).replace(' ', ""), "round {round}");
        // The same but for blanks at the very end, where the inserted member goes.
        assert_eq!(
            raw.trim_end_matches(['}', ' ']),
            body("ok", usage).trim_end_matches(['}', ' ']),
            "round {round}"
        );
        assert!(sent.problems.is_empty(), "{:?}", sent.problems);
        assert!(!sent.headers.iter().any(|(_, value)| value.contains("tg-")), "the virtual key went up");
        assert!(!sent.headers.iter().any(|(name, _)| name.starts_with("x-tidegate")));
    }
}

#[tokio::test]
async fn an_answer_comes_back_byte_for_byte() {
    let stand = Stand::start(Setup::default()).await;
    let odd = r#"{ "object":"chat.completion","n":1.0,"big":9007199254740993,"huge":1e400,"esc":"\u00e9\/",
        "choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"\ud83d\ude00"}}],
        "usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4},"zz":null} "#;
    let whole = Plan { body: Some(odd.to_owned()), ..Plan::default() };
    let reply = stand.client().post("/v1/chat/completions", chat("fake/ok", &plan(&whole))).await;
    assert_eq!(reply.body, odd);
    let event =
        "data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\u00e9\"},\"x\":1.0}]}\n\n";
    let last = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"y\":1e400}\n\n";
    let events = [event, ": keep-alive\n\n", last, "data: [DONE]\n\n"].map(str::to_owned).to_vec();
    let streamed = Plan { events: Some(events.clone()), ..Plan::default() };
    let more = format!(r#","stream":true{}"#, plan(&streamed));
    let reply = stand.client().post("/v1/chat/completions", chat("fake/ok", &more)).await;
    assert_eq!(reply.text(), events.concat());
}

#[tokio::test]
async fn a_second_model_cannot_be_smuggled() {
    let stand = Stand::start(Setup { key: r#"models = ["fake/ok"]"#.to_owned(), ..Setup::default() }).await;
    let client = stand.client();
    for body in [
        r#"{"model":"fake/ok","messages":[],"model":"fake/secret"}"#,
        r#"{"model":"fake/ok","messages":[],"mod\u0065l":"fake/secret"}"#,
    ] {
        let reply = client.post("/v1/chat/completions", body).await;
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(reply.text().contains("model"));
    }
    assert_eq!(client.chat("fake/secret").await.status, 403);
    let fallback = chat("fake/ok", r#","models":["fake/secret"]"#);
    assert_eq!(client.post("/v1/chat/completions", fallback).await.status, 403);
    assert_eq!(stand.upstream.journal().count(), 0);
}

#[tokio::test]
async fn usage_is_counted_and_swallowed_for_who_did_not_ask() {
    let mut stand = Stand::start(priced()).await;
    let quiet = stand.client().stream("fake/ok").await.rest().await.unwrap();
    assert!(!quiet.contains("usage"), "{quiet}");
    assert!(quiet.ends_with("data: [DONE]\n\n"));
    let asked = chat("fake/ok", r#","stream":true,"stream_options":{"include_usage":true}"#);
    let told = stand.client().post("/v1/chat/completions", asked).await.text();
    assert!(told.contains(r#""completion_tokens":16"#), "{told}");
    stand.wait_drained().await;
    let (code, out, err) = stand.command(&["logs", "--json", "--limit", "2"]);
    assert_eq!(code, 0, "{err}");
    for line in out.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["output_tokens"], 16, "{line}");
        assert_eq!(line["status"], 200);
        let input = line["input_tokens"].as_u64().unwrap();
        let nano = input * 1000 + 16 * 2000;
        assert_eq!(line["cost"].as_str().unwrap().parse::<f64>().unwrap(), nano as f64 / 1e9, "{line}");
    }
    assert_eq!(out.lines().count(), 2);
}

#[tokio::test]
async fn an_early_failure_is_a_real_status_and_a_late_one_an_error_event() {
    let stand = Stand::start(Setup::default()).await;
    let client = stand.client();
    let streamed = |p: Plan| chat("fake/ok", &format!(r#","stream":true{}"#, plan(&p)));
    for (early, status) in [
        (Fault::Reset(0), 502),
        (Fault::Close(0), 502),
        (Fault::Error(0), 502),
        (Fault::CloseAtOnce, 502),
        (Fault::ResetAtOnce, 502),
    ] {
        let plan = Plan { fault: Some(early), ..Plan::default() };
        let reply = client.post("/v1/chat/completions", streamed(plan)).await;
        assert_eq!(reply.status, status, "{early:?}: {}", reply.text());
        assert!(reply.json()["error"]["message"].is_string());
    }
    for late in
        [Fault::Reset(5), Fault::Close(5), Fault::ResetAtByte(700), Fault::CloseAtByte(701), Fault::Error(5)]
    {
        let plan = Plan { fault: Some(late), ..Plan::default() };
        let text = client.post("/v1/chat/completions", streamed(plan)).await.text();
        let last = text.trim_end().rsplit("\n\n").next().unwrap().strip_prefix("data: ").unwrap();
        let last: serde_json::Value =
            serde_json::from_str(last).unwrap_or_else(|e| panic!("{late:?} {e}: {text}"));
        assert!(last["error"]["message"].is_string(), "{late:?}: {text}");
        assert!(!text.contains("[DONE]"), "{late:?}: a clean end was made up");
        assert!(text.ends_with("\n\n"), "{late:?}: not whole events");
    }
}

#[tokio::test]
async fn every_status_of_a_provider_becomes_the_right_one() {
    let stand = Stand::start(Setup::default()).await;
    let client = stand.client();
    for (theirs, ours) in [
        (400, 400),
        (401, 502),
        (403, 502),
        (404, 404),
        (413, 413),
        (422, 422),
        (429, 429),
        (500, 500),
        (503, 503),
        (529, 529),
    ] {
        for flag in ["", r#","stream":true"#] {
            let p = Plan { status: theirs, retry_after: Some("3".to_owned()), ..Plan::default() };
            let reply =
                client.post("/v1/chat/completions", chat("fake/ok", &format!("{flag}{}", plan(&p)))).await;
            assert_eq!(reply.status, ours, "{theirs}: {}", reply.text());
            assert!(reply.json()["error"]["message"].is_string());
            assert!(reply.header("x-request-id").is_some());
            if theirs == 401 {
                assert_eq!(reply.code(), "upstream_authentication");
                assert_eq!(reply.header("x-should-retry"), Some("false"));
            }
            if theirs == 429 {
                assert_eq!(reply.header("retry-after"), Some("3"));
            }
        }
    }
    // Two hundreds that are none.
    for body in
        ["<html>oops</html>", r#"{"error":{"message":"overloaded","type":"server_error"}}"#, "", "[1]"]
    {
        let p = Plan { body: Some(body.to_owned()), ..Plan::default() };
        let reply = client.post("/v1/chat/completions", chat("fake/ok", &plan(&p))).await;
        assert_eq!(reply.status, 502, "{body}: {}", reply.text());
    }
}

#[tokio::test]
async fn bad_requests_are_told_clearly() {
    let stand = Stand::start(Setup { server: "max_body = \"64KiB\"".to_owned(), ..Setup::default() }).await;
    let client = stand.client();
    let big = chat("fake/ok", &format!(r#","x":"{}""#, "a".repeat(70_000)));
    for (path, body, status, code) in [
        ("/v1/chat/completions", "{", 400, "invalid_json"),
        ("/v1/chat/completions", "[]", 400, "invalid_json"),
        ("/v1/chat/completions", r#"{"messages":[]}"#, 400, "missing_required_parameter"),
        ("/v1/chat/completions", r#"{"model":5}"#, 400, "invalid_type"),
        ("/v1/chat/completions", r#"{"model":"nosuch"}"#, 404, "model_not_found"),
        ("/v1/chat/completions", r#"{"model":"fake/ok","stream":"yes"}"#, 400, "invalid_type"),
        ("/v1/nothing", "{}", 404, "unknown_url"),
        ("/v1/chat/completions", &big, 413, "request_too_large"),
    ] {
        let reply = client.post(path, body.to_owned()).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path}: {}", reply.text());
    }
    assert_eq!(client.get("/v1/chat/completions").await.unwrap().status, 405);
    let zipped = client.header("content-encoding", "gzip").post("/v1/chat/completions", "xx").await;
    assert_eq!((zipped.status, zipped.code().as_str()), (415, "unsupported_content_encoding"));
    let nobody = Client::new(stand.address, "").chat("fake/ok").await;
    assert_eq!((nobody.status, nobody.code().as_str()), (401, "invalid_api_key"));
    let wrong = client.with_key(&offline_key()).chat("fake/ok").await;
    assert_eq!((wrong.status, wrong.code().as_str()), (401, "invalid_api_key"));
    assert_eq!(client.with_key("sk-other").chat("fake/ok").await.status, 401);
    assert_eq!(stand.upstream.journal().count(), 0);
}

#[tokio::test]
async fn the_key_is_taken_wherever_an_sdk_puts_it() {
    let stand = Stand::start(Setup::default()).await;
    let bare = Client::new(stand.address, "");
    for name in ["x-api-key", "api-key", "x-goog-api-key"] {
        assert_eq!(bare.header(name, &stand.key).chat("fake/ok").await.status, 200, "{name}");
    }
    let path = format!("/v1/chat/completions?key={}", stand.key);
    assert_eq!(bare.post(&path, chat("fake/ok", "")).await.status, 200);
    assert!(!stand.log().contains(&stand.key), "the key is in the log");
}

#[tokio::test]
async fn limits_hold_exactly() {
    let key = "limits = { requests_per_minute = 5, concurrency = 2 }".to_owned();
    let stand = Stand::start(Setup { key, ..Setup::default() }).await;
    let client = stand.client();
    let slow = Plan { first: 60_000, ..Plan::default() };
    let held: Vec<_> = (0..2)
        .map(|_| {
            let (client, body) = (client.clone(), chat("fake/ok", &plan(&slow)));
            tokio::spawn(async move { client.send("POST", "/v1/chat/completions", body).await })
        })
        .collect();
    stand.upstream.journal().wait(PATIENCE, |seen| seen.len() == 2).await.expect("two in flight");
    let third = client.chat("fake/ok").await;
    assert_eq!((third.status, third.code().as_str()), (429, "concurrency_limit_exceeded"));
    for task in held {
        task.abort();
    }
    // The permits come back when the clients are gone; three of the five requests a minute are left.
    let mut admitted = 0;
    let mut refused = None;
    for _ in 0..600 {
        let reply = client.chat("fake/ok").await;
        match (reply.status, reply.code().as_str()) {
            (200, _) => admitted += 1,
            (429, "rate_limit_exceeded") => {
                refused = Some(reply);
                break;
            }
            (429, _) => tokio::time::sleep(Duration::from_millis(20)).await,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(admitted, 3);
    let refused = refused.unwrap();
    assert_eq!(refused.header("x-ratelimit-limit-requests"), Some("5"));
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
    let wait: u64 = refused.header("retry-after-ms").unwrap().parse().unwrap();
    assert!(wait > 0 && wait <= 12_000, "{wait}");
}

#[tokio::test]
async fn a_budget_is_never_overspent() {
    let key =
        r#"budgets = [{ name = "total", amount = "0.01", currency = "USD", window = "total" }]"#.to_owned();
    let mut stand = Stand::start(Setup { key, ..priced() }).await;
    let client = stand.client();
    // 16 output tokens cost 0.000032, the reservation at most 1,000 x 0.000002 + input: a few at once fit.
    let calls = (0..400).map(|n| {
        let client = client.clone();
        let body = chat("fake/ok", if n % 2 == 0 { "" } else { r#","stream":true"# });
        async move { client.post("/v1/chat/completions", body).await }
    });
    let mut tasks = tokio::task::JoinSet::new();
    for call in calls {
        tasks.spawn(call);
        if tasks.len() >= 16 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    tasks.join_all().await;
    let mut spent = None;
    for _ in 0..2000 {
        let reply = client.chat("fake/ok").await;
        if reply.status == 429 {
            spent = Some(reply);
            break;
        }
    }
    let spent = spent.expect("the budget is spent in the end");
    assert_eq!(spent.code(), "insufficient_quota");
    assert_eq!(spent.header("x-should-retry"), Some("false"));
    assert!(spent.text().contains("budget `total` of key `app`"), "{}", spent.text());
    stand.wait_drained().await;
    let (_, out, _) = stand.command(&["usage", "--json"]);
    let total: f64 = out
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["cost"]
                .as_str()
                .unwrap()
                .parse::<f64>()
                .unwrap()
        })
        .sum();
    assert!(total <= 0.01 && total > 0.007, "{total}");
    let unpriced = client.chat("fake/ok-t3").await;
    assert_eq!((unpriced.status, unpriced.code().as_str()), (403, "price_unknown"));
}

/// The only line of the log. The provider knows of the end of a call before the gateway has booked it.
async fn first_line(stand: &mut Stand) -> serde_json::Value {
    let line = async {
        loop {
            stand.wait_drained().await;
            let (_, out, _) = stand.command(&["logs", "--json", "--limit", "1"]);
            if let Ok(line) = serde_json::from_str(out.trim()) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, line).await.expect("the call is in the log")
}

#[tokio::test]
async fn an_abort_cancels_the_provider_and_is_charged_as_an_estimate() {
    let mut stand = Stand::start(priced()).await;
    let endless = Plan { tokens: 900, delay: 20, ..Plan::default() };
    let body = chat("fake/ok", &format!(r#","stream":true{}"#, plan(&endless)));
    let mut coming = stand.client().open("POST", "/v1/chat/completions", body).await.unwrap();
    for _ in 0..3 {
        coming.next().await.unwrap().unwrap();
    }
    coming.abort();
    let seen = stand.upstream.journal().quiet(PATIENCE).await.expect("the provider sees the end");
    assert!(seen[0].end.as_ref().unwrap().aborted.is_some());
    assert!(seen[0].end.as_ref().unwrap().events < 900);
    let line = first_line(&mut stand).await;
    assert_eq!(line["status"], 499, "{line}");
    assert_eq!(line["estimated"], true);
    assert!(line["output_tokens"].as_u64().unwrap() >= 1);
}

#[tokio::test]
async fn an_abort_where_the_bill_runs_on_is_read_to_its_end() {
    let setup = Setup { provider: "abort_stops_billing = false".to_owned(), ..priced() };
    let mut stand = Stand::start(setup).await;
    let long = Plan { tokens: 60, delay: 10, abort_stops_billing: false, ..Plan::default() };
    let body = chat("fake/ok", &format!(r#","stream":true{}"#, plan(&long)));
    let mut coming = stand.client().open("POST", "/v1/chat/completions", body).await.unwrap();
    coming.next().await.unwrap().unwrap();
    coming.abort();
    let seen = stand.upstream.journal().quiet(PATIENCE).await.expect("the answer ends");
    assert!(seen[0].end.as_ref().unwrap().complete, "{:?}", seen[0].end);
    let line = first_line(&mut stand).await;
    assert_eq!((&line["status"], &line["output_tokens"]), (&499.into(), &60.into()), "{line}");
    assert_eq!(line["estimated"], false);
}

#[tokio::test]
async fn an_abort_before_the_answer_begins_is_charged_as_the_provider_bills_it() {
    let setup = Setup { provider: "abort_stops_billing = false".to_owned(), ..priced() };
    let mut stand = Stand::start(setup).await;
    let late = Plan { first: 800, tokens: 40, delay: 5, abort_stops_billing: false, ..Plan::default() };
    let refused = Plan { first: 800, status: 500, ..Plan::default() };
    for (number, plan_of) in [&late, &refused].into_iter().enumerate() {
        let body = chat("fake/ok", &format!(r#","stream":true{}"#, plan(plan_of)));
        let client = stand.client();
        let call = tokio::spawn(async move { client.send("POST", "/v1/chat/completions", body).await });
        stand.upstream.journal().wait(PATIENCE, |seen| seen.len() == number + 1).await.expect("dispatched");
        call.abort();
        stand.upstream.journal().quiet(PATIENCE).await.expect("the provider comes to rest");
        stand.wait_drained().await;
    }
    let (_, out, _) = stand.command(&["logs", "--json", "--limit", "2"]);
    let lines: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&lines[0]["status"], &lines[0]["output_tokens"]), (&499.into(), &40.into()), "{out}");
    assert_eq!((&lines[1]["status"], &lines[1]["output_tokens"]), (&499.into(), &0.into()), "{out}");
    assert_eq!(lines[1]["cost"].as_str().unwrap().parse::<f64>().unwrap(), 0.0, "{out}");
}

#[tokio::test]
async fn an_answer_longer_than_expected_goes_on_while_the_budget_has_room() {
    // 100 output tokens cost 0.0002; the model is declared to bring 10 and its provider ignores it.
    let model = "fake/ok-t100-d2-uncapped";
    let budget = |amount: &str| Setup {
        key: format!(
            r#"budgets = [{{ name = "day", amount = "{amount}", currency = "USD", window = "day" }}]"#
        ),
        more: PRICED.replace("1000", "10").replace("fake/ok", model),
        ..Setup::default()
    };
    let enough = Stand::start(budget("0.0006")).await;
    let text = enough.client().stream(model).await.rest().await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let mut short = Stand::start(budget("0.00025")).await;
    let text = short.client().stream(model).await.rest().await.unwrap();
    assert!(text.contains("insufficient_quota") && !text.contains("[DONE]"), "{text}");
    short.wait_drained().await;
    let (_, out, _) = short.command(&["usage", "--json"]);
    let line: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    let cost: f64 = line["cost"].as_str().unwrap().parse().unwrap();
    assert!(cost > 0.0001 && cost <= 0.00025, "{out}");
}

#[tokio::test]
async fn comments_alone_are_no_first_byte() {
    let provider =
        r#"timeouts = { connect = "2s", first_byte = "1s", idle = "1s", total = "60s" }"#.to_owned();
    let stand = Stand::start(Setup { provider, ..Setup::default() }).await;
    let events = vec![": ping\n\n".to_owned(); 200];
    let pings = Plan { events: Some(events), delay: 100, ..Plan::default() };
    let body = chat("fake/ok", &format!(r#","stream":true{}"#, plan(&pings)));
    let reply = stand.client().post("/v1/chat/completions", body).await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "upstream_timeout"), "{}", reply.text());
}

#[tokio::test]
async fn missing_usage_is_an_estimate_and_unknown_price_is_unknown() {
    let mut stand = Stand::start(priced()).await;
    for flag in ["", r#","stream":true"#] {
        let p = Plan { usage: UsageQuirk::Missing, ..Plan::default() };
        let reply = stand
            .client()
            .post("/v1/chat/completions", chat("fake/ok", &format!("{flag}{}", plan(&p))))
            .await;
        assert_eq!(reply.status, 200);
    }
    let unpriced = stand.client().chat("fake/ok-t3").await;
    assert_eq!(unpriced.header("x-tidegate-cost"), None);
    stand.wait_drained().await;
    let (_, out, _) = stand.command(&["logs", "--json", "--limit", "3"]);
    let lines: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[2]["cost"].is_null(), "{}", lines[2]);
    assert_eq!(lines[2]["output_tokens"], 3);
    for line in &lines[..2] {
        assert_eq!(line["estimated"], true, "{line}");
        assert!(line["cost"].is_string());
    }
}

#[tokio::test]
async fn fallbacks_are_tried_before_the_first_byte() {
    let more = r#"
[providers.dead]
dialect = "openai"
base_url = "http://127.0.0.1:9/v1"
[routes.chat]
targets = [{ model = "dead/a", weight = 1 }]
fallbacks = ["fake/ok"]
"#;
    let mut stand = Stand::start(Setup { more: more.to_owned(), ..Setup::default() }).await;
    for flag in ["", r#","stream":true"#] {
        let reply = stand.client().post("/v1/chat/completions", chat("chat", flag)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-tidegate-attempts"), Some("2"));
        assert_eq!(reply.header("x-tidegate-model"), Some("fake/ok"));
    }
    let asked = chat("dead/a", r#","models":["fake/ok"]"#);
    let reply = stand.client().post("/v1/chat/completions", asked).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!String::from_utf8_lossy(&stand.upstream.journal().last().unwrap().raw).contains("models"));
    stand.wait_drained().await;
}

#[tokio::test]
async fn deadlines_end_what_hangs() {
    let provider =
        r#"timeouts = { connect = "300ms", first_byte = "300ms", idle = "300ms", total = "60s" }"#.to_owned();
    let stand = Stand::start(Setup { provider, ..Setup::default() }).await;
    let hang = Plan { fault: Some(Fault::Hang), ..Plan::default() };
    let reply = stand.client().post("/v1/chat/completions", chat("fake/ok", &plan(&hang))).await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "upstream_timeout"), "{}", reply.text());
    let silent = Plan { fault: Some(Fault::Silence(4)), ..Plan::default() };
    let body = chat("fake/ok", &format!(r#","stream":true{}"#, plan(&silent)));
    let text = stand.client().post("/v1/chat/completions", body).await.text();
    assert!(text.contains("upstream_timeout") && !text.contains("[DONE]"), "{text}");
}

#[tokio::test]
async fn completions_embeddings_and_models_go_the_same_way() {
    let stand =
        Stand::start(Setup { provider: r#"models = ["ok", "ok-t3"]"#.to_owned(), ..Setup::default() }).await;
    let client = stand.client();
    let reply = client.post("/v1/completions", r#"{"model":"fake/ok","prompt":"once"}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = client.post("/v1/embeddings", r#"{"model":"ok","input":["a","b"]}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["data"].as_array().unwrap().len(), 2);
    let list = client.get("/v1/models").await.unwrap().json();
    let ids: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect();
    assert!(ids.contains(&"fake/ok".to_owned()) && ids.iter().any(|id| id.starts_with("demo/")), "{ids:?}");
    let one = client.get("/v1/models/fake/ok").await.unwrap();
    assert_eq!(one.json()["id"], "fake/ok");
    let missing = client.get("/v1/models/fake/none").await.unwrap();
    assert_eq!((missing.status, missing.code().as_str()), (404, "model_not_found"));
}
