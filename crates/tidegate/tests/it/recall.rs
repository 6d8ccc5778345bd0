//! Answers that are given again: the cache; `promises` has idempotency keys.

mod promises;

use std::time::{Duration, Instant};

use fakes::plan::{Fault, Plan};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{Client, Reply, chat};
use crate::stand::{PATIENCE, Setup, Stand, offline_key};

const PATH: &str = "/v1/chat/completions";
/// Goes before other tables.
const ON: &str = "cache = { enabled = true, ttl = \"1h\" }\n";
const PRICE: &str = "[models.\"fake/m\"]\nprice = { input = \"1000\", output = \"1000\" }\n";

/// A stand whose route `r` is cached and whose models are not.
async fn stand(more: &str) -> Stand {
    let more = format!("[routes.r]\ntargets = [\"fake/m\"]\n{ON}{more}");
    Stand::start(Setup { more, ..Setup::default() }).await
}

fn word(reply: &Reply) -> &str {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("x-tidegate-cache").unwrap()
}

async fn ask(client: &Client, body: impl Into<bytes::Bytes>) -> Reply {
    client.post(PATH, body).await
}

/// Lines of the log, newest first.
async fn logged(stand: &mut Stand) -> Vec<serde_json::Value> {
    stand.wait_drained().await;
    let (code, out, err) = stand.command(&["logs", "--json", "--limit", "100"]);
    assert_eq!(code, 0, "{err}");
    out.lines().rev().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until something has happened.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn in_flight(stand: &Stand, count: f64) {
    until("so many in flight", async || stand.client().metric("tidegate_in_flight").await == Some(count))
        .await;
}

/// Until the upstream was asked so often.
async fn asked(stand: &Stand, count: u64) {
    until("the upstream is asked", async || stand.upstream.journal().count() >= count).await;
}

/// Asks without waiting for an answer; dropped, the client is gone.
async fn ask_and_hold(stand: &Stand, body: &str, header: &str) -> TcpStream {
    let mut stream = TcpStream::connect(stand.address).await.unwrap();
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         {header}content-length: {}\r\n\r\n{body}",
        stand.key,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn an_answer_is_given_again_and_costs_nothing() {
    let mut stand = stand(PRICE).await;
    let client = stand.client();
    let first = ask(&client, chat("r", "")).await;
    assert_eq!(word(&first), "miss");
    let again = ask(&client, chat("r", "")).await;
    assert_eq!(word(&again), "hit");
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("x-tidegate-attempts"), Some("0"));
    assert_eq!(again.header("x-tidegate-model"), Some("fake/m"));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    assert!(again.header("x-tidegate-cost").unwrap().parse::<f64>().unwrap() == 0.0);
    // Left out, and asked for anew: what the provider says then is what is given from then on.
    assert_eq!(word(&ask(&client.header("x-tidegate-cache", "off"), chat("r", "")).await), "off");
    assert_eq!(stand.upstream.journal().count(), 2);
    stand.upstream.set_plan(Plan { tokens: 3, ..Plan::default() });
    let anew = ask(&client.header("x-tidegate-cache", "refresh"), chat("r", "")).await;
    assert_eq!(word(&anew), "miss");
    assert_ne!(anew.body, first.body);
    let again = ask(&client, chat("r", "")).await;
    assert_eq!((word(&again), &again.body), ("hit", &anew.body));
    assert_eq!(stand.upstream.journal().count(), 3);
    // A model by its own name has the environment's word, which is off.
    for _ in 0..2 {
        assert_eq!(word(&ask(&client, chat("fake/m", "")).await), "off");
    }
    let refused = ask(&client.header("x-tidegate-cache", "always"), chat("r", "")).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_request"));

    let log = logged(&mut stand).await;
    let hits: Vec<_> = log.iter().filter(|line| line["cache"] == "hit").collect();
    assert_eq!(hits.len(), 2, "{log:?}");
    let cost = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap().parse::<f64>().unwrap();
    for hit in &hits {
        assert_eq!((cost(hit, "cost"), hit["attempts"].as_u64()), (0.0, Some(0)), "{hit}");
        assert_eq!(
            (hit["model"].as_str(), hit["output_tokens"].as_u64()),
            (Some("fake/m"), Some(0)),
            "{hit}"
        );
        assert!(hit["tags"].as_object().unwrap().is_empty(), "{hit}");
    }
    // Newest first: the later hit was of the answer that was asked for anew.
    let paid: Vec<_> =
        log.iter().filter(|line| line["model_asked"] == "r" && line["cache"] != "hit").collect();
    assert_eq!(cost(hits[0], "saved"), cost(paid[0], "cost"));
    assert_eq!(cost(hits[1], "saved"), cost(paid[2], "cost"));
    let words: Vec<_> = log.iter().rev().map(|line| line["cache"].as_str()).collect();
    let (miss, hit) = (Some("miss"), Some("hit"));
    assert_eq!(words, [miss, hit, None, miss, hit, None, None, None]);
    let metrics = client.get("/metrics").await.unwrap().text();
    for line in ["tidegate_cache_hits_total 2", "tidegate_cache_misses_total 2", "tidegate_cache_entries 1"] {
        assert!(metrics.lines().any(|has| has == line), "{line}\n{metrics}");
    }
    assert!(
        metrics.contains("tidegate_cache_saved_total{model=\"fake/m\",currency=\"USD\"} 0.0"),
        "{metrics}"
    );
}

#[tokio::test]
async fn only_the_same_request_has_the_same_answer() {
    let stand = stand("").await;
    let client = stand.client();
    let body = r#"{"model":"r","messages":[{"role":"system","content":"be kind"},{"role":"user","content":"a/b"}],"seed":1}"#;
    assert_eq!(word(&ask(&client, body).await), "miss");
    for same in [
        "{ \"seed\" : 1, \"messages\":[{\"content\":\"be kind\",\"role\":\"system\"},\n{\"role\":\"user\",\"content\":\"a/b\"}],\"model\":\"r\"}",
        r#"{"model":"r","messages":[{"role":"system","content":"be \u006bind"},{"role":"user","content":"a\/b"}],"seed":1}"#,
    ] {
        assert_eq!(word(&ask(&client, same).await), "hit", "{same}");
    }
    for other in [
        body.replace("be kind", "be rude"),
        body.replace("\"seed\":1", "\"seed\":1.0"),
        body.replace("\"seed\":1", "\"seed\":2"),
        body.replace("\"seed\":1", "\"seed\":1,\"temperature\":0"),
        body.replace("\"seed\":1", "\"seed\":1,\"stream\":true"),
        body.replace("\"seed\":1", "\"seed\":1,\"user\":\"u\""),
        body.replace("\"seed\":1", "\"seed\":1,\"unknown\":null"),
        body.replace("\"seed\":1", "\"seed\":1,\"models\":[\"fake/m\"]"),
        body.replace(
            r#"[{"role":"system","content":"be kind"},{"role":"user","content":"a/b"}]"#,
            r#"[{"role":"user","content":"a/b"},{"role":"system","content":"be kind"}]"#,
        ),
    ] {
        assert_eq!(word(&ask(&client, other.clone()).await), "miss", "{other}");
        assert_eq!(word(&ask(&client, other.clone()).await), "hit", "{other}");
    }
    for (name, value, expected) in [
        ("user-agent", "another", "hit"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "hit"),
        ("x-tidegate-user", "somebody", "hit"),
        ("x-tidegate-strict", "true", "miss"),
        ("x-my-own", "1", "miss"),
        ("openai-beta", "x", "miss"),
    ] {
        assert_eq!(word(&ask(&client.header(name, value), body).await), expected, "{name}");
    }
    // The same words of another dialect's client ask for another shape.
    let messages = r#"{"model":"r","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
    let other = client.post("/v1/messages", messages).await;
    assert_eq!((word(&other), other.json()["type"].as_str()), ("miss", Some("message")));
    let chat = ask(&client, messages).await;
    assert_eq!((word(&chat), chat.json()["object"].as_str()), ("miss", Some("chat.completion")));
    let again = client.post("/v1/messages", messages).await;
    assert_eq!((word(&again), &again.body), ("hit", &other.body));
    // What is to be kept elsewhere, or leans on what is, is asked for each time.
    for _ in 0..2 {
        assert_eq!(word(&ask(&client, body.replace("\"seed\":1", "\"store\":true")).await), "off");
        assert_eq!(word(&client.post("/v1/responses", r#"{"model":"r","input":"x"}"#).await), "off");
    }
    let stateless = r#"{"model":"r","input":"x","store":false}"#;
    assert_eq!(word(&client.post("/v1/responses", stateless).await), "miss");
    assert_eq!(word(&client.post("/v1/responses", stateless).await), "hit");
    let vectors = r#"{"model":"r","input":"x"}"#;
    assert_eq!(word(&client.post("/v1/embeddings", vectors).await), "miss");
    assert_eq!(word(&client.post("/v1/embeddings", vectors).await), "hit");
}

#[tokio::test]
async fn a_stream_is_given_again_byte_for_byte() {
    let stand = stand("").await;
    let client = stand.client();
    let gemini = r#"{"contents":[{"role":"user","parts":[{"text":"x"}]}]}"#;
    let usage = r#","stream":true,"stream_options":{"include_usage":true}"#;
    for (path, body) in [
        (PATH, chat("r", r#","stream":true"#)),
        (PATH, chat("r", usage)),
        (
            "/v1/messages",
            r#"{"model":"r","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#
                .to_owned(),
        ),
        ("/v1/responses", r#"{"model":"r","input":"x","store":false,"stream":true}"#.to_owned()),
        ("/v1beta/models/r:streamGenerateContent?alt=sse", gemini.to_owned()),
        ("/v1beta/models/r:streamGenerateContent", gemini.to_owned()),
    ] {
        stand.upstream.set_plan(Plan { utf8: true, ping: 3, split: 7, ..Plan::default() });
        let first = client.post(path, body.clone()).await;
        assert_eq!(word(&first), "miss", "{path}");
        let again = client.post(path, body.clone()).await;
        assert_eq!(word(&again), "hit", "{path}");
        assert_eq!(first.text(), again.text(), "{path}");
        assert_eq!(first.header("content-type"), again.header("content-type"), "{path}");
        assert_eq!(again.header("content-length"), None, "{path}");
        // A client that did not ask for usage gets none.
        if path == PATH {
            assert_eq!(
                body.contains("include_usage"),
                again.text().contains("total_tokens"),
                "{}",
                again.text()
            );
        }
    }
    assert_eq!(stand.upstream.journal().count(), 6);
}

#[tokio::test]
async fn what_is_no_whole_answer_is_asked_for_again() {
    let stand = stand("").await;
    let client = stand.client();
    for (status, expected) in [(500, 500), (429, 429), (400, 400)] {
        stand.upstream.set_plan(Plan { status, ..Plan::default() });
        for _ in 0..2 {
            let reply = ask(&client, chat("r", "")).await;
            assert_eq!((reply.status, reply.header("x-tidegate-cache")), (expected, Some("miss")));
        }
    }
    for fault in [Fault::Error(3), Fault::Reset(3), Fault::Close(3)] {
        stand.upstream.set_plan(Plan { fault: Some(fault), ..Plan::default() });
        for _ in 0..2 {
            let reply = ask(&client, chat("r", r#","stream":true"#)).await;
            assert_eq!(word(&reply), "miss");
            assert!(!reply.text().contains("[DONE]"), "{}", reply.text());
        }
    }
    assert_eq!(client.metric("tidegate_cache_entries").await, Some(0.0));
    stand.upstream.set_plan(Plan { tools: 2, ..Plan::default() });
    for (flag, expected) in
        [("", "miss"), ("", "hit"), (r#","stream":true"#, "miss"), (r#","stream":true"#, "hit")]
    {
        let reply = ask(&client, chat("r", flag)).await;
        assert_eq!(word(&reply), expected);
        assert!(reply.text().contains("tool_calls"), "{}", reply.text());
    }
    // Longer than an entry may be: given to its client, whole, and to nobody else.
    stand.upstream.set_plan(Plan { tokens: 40_000, utf8: true, ..Plan::default() });
    for _ in 0..2 {
        let reply = ask(&client, chat("r", r#","stream":true,"seed":9"#)).await;
        assert_eq!(word(&reply), "miss");
        assert!(reply.body.len() > 1 << 20 && reply.text().contains("[DONE]"));
    }
}

#[tokio::test]
async fn of_fifty_at_once_one_asks() {
    let stand = stand("").await;
    for (number, flag) in ["", r#","stream":true"#].into_iter().enumerate() {
        stand.upstream.set_plan(Plan { first: 700, ..Plan::default() });
        let before = stand.upstream.journal().count();
        let asking: Vec<_> = (0..50)
            .map(|_| {
                let client = stand.client();
                tokio::spawn(async move { ask(&client, chat("r", flag)).await })
            })
            .collect();
        let mut replies = Vec::new();
        for one in asking {
            replies.push(one.await.unwrap());
        }
        assert_eq!(stand.upstream.journal().count() - before, 1, "{number}");
        assert!(replies.iter().all(|reply| reply.body == replies[0].body));
        let misses = replies.iter().filter(|reply| word(reply) == "miss").count();
        assert_eq!(misses, 1);
    }
}

#[tokio::test]
async fn who_waits_does_not_fail_with_who_asked() {
    let stand = stand("").await;
    let slow = Plan { first: 1500, ..Plan::default() };
    for (seed, flag) in [(1, ""), (2, r#","stream":true"#)] {
        stand.upstream.set_plan(slow.clone());
        let body = chat("r", &format!(r#"{flag},"seed":{seed}"#));
        let before = stand.upstream.journal().count();
        // Its client goes away while another waits: the call goes on for that one.
        in_flight(&stand, 0.0).await;
        let first = ask_and_hold(&stand, &body, "").await;
        asked(&stand, before + 1).await;
        let (client, waiting) = (stand.client(), body.clone());
        let waiting = tokio::spawn(async move { ask(&client, waiting).await });
        until("another waits, or has it", async || {
            waiting.is_finished() || stand.client().metric("tidegate_in_flight").await == Some(2.0)
        })
        .await;
        drop(first);
        let reply = waiting.await.unwrap();
        assert_eq!(word(&reply), "hit", "{flag}");
        assert_eq!(stand.upstream.journal().count() - before, 1, "{flag}");
    }
    // Nobody waits: the call ends with its client, and the next one asks.
    in_flight(&stand, 0.0).await;
    stand.upstream.set_plan(Plan { fault: Some(Fault::Hang), ..Plan::default() });
    let before = stand.upstream.journal().count();
    let first = ask_and_hold(&stand, &chat("r", ""), "").await;
    asked(&stand, before + 1).await;
    drop(first);
    in_flight(&stand, 0.0).await;
    stand.upstream.set_plan(Plan::default());
    assert_eq!(word(&ask(&stand.client(), chat("r", "")).await), "miss");
    // The call fails: those who wait ask themselves, and have what they are told.
    stand.upstream.enqueue([Plan { status: 500, first: 1500, ..Plan::default() }]);
    let body = chat("r", r#","seed":3"#);
    let asking: Vec<_> = (0..5)
        .map(|_| {
            let (client, body) = (stand.client(), body.clone());
            tokio::spawn(async move { ask(&client, body).await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for one in asking {
        statuses.push(one.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 500]);
}

#[tokio::test]
async fn no_answer_leaves_its_environment_or_reaches_who_may_not_ask() {
    let keys = [offline_key(), offline_key(), offline_key()];
    let names = ["STRANGER_KEY", "MATE_KEY", "NARROW_KEY"];
    let environment = names.iter().zip(&keys).map(|(name, key)| ((*name).to_owned(), key.clone())).collect();
    let mut stand = Stand::prepare(Setup { environment, ..Setup::default() }).await;
    let base = stand.upstream.base_url();
    stand.write_settings(&format!(
        "[routes.r]\ntargets = [\"fake/m\"]\n{ON}\
         [keys.mate]\nsecret = \"env:MATE_KEY\"\n[keys.narrow]\nsecret = \"env:NARROW_KEY\"\nmodels = [\"fake/n\"]\n\
         [environments.other]\nlayer = \"production\"\n{ON}\
         [environments.other.providers.fake]\ndialect = \"openai\"\nbase_url = \"{base}\"\n\
         [environments.other.routes.r]\ntargets = [\"fake/m\"]\n\
         [environments.other.keys.stranger]\nsecret = \"env:STRANGER_KEY\"\n"
    ));
    stand.run().await;
    let client = stand.client();
    assert_eq!(word(&ask(&client, chat("r", "")).await), "miss");
    assert_eq!(
        word(&ask(&client.with_key(&keys[1]), chat("r", "")).await),
        "hit",
        "another key of the environment"
    );
    assert_eq!(word(&ask(&client.with_key(&keys[0]), chat("r", "")).await), "miss", "another environment");
    assert_eq!(word(&ask(&client.with_key(&keys[0]), chat("r", "")).await), "hit");
    let refused = ask(&client.with_key(&keys[2]), chat("r", "")).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "model_not_allowed"));
    assert_eq!(ask(&client.with_key("tg-nobody"), chat("r", "")).await.status, 401);
    assert_eq!(stand.upstream.journal().count(), 2);
}

#[tokio::test]
async fn a_changed_route_is_another_question() {
    let mut stand = Stand::prepare(Setup::default()).await;
    let route = |target: &str| format!("[routes.r]\ntargets = [\"fake/{target}\"]\n{ON}");
    stand.write_settings(&route("m"));
    stand.run().await;
    let client = stand.client();
    assert_eq!(word(&ask(&client, chat("r", "")).await), "miss");
    let release = ask(&client, chat("r", "")).await.header("x-tidegate-release").unwrap().to_owned();
    let reloaded = async |stand: &mut Stand, before: &str| {
        let client = stand.client();
        stand.signal(libc::SIGHUP);
        until("another release", async || {
            ask(&client, chat("fake/m", "")).await.header("x-tidegate-release") != Some(before)
        })
        .await;
    };
    stand.write_settings(&route("other"));
    reloaded(&mut stand, &release).await;
    let reply = ask(&client, chat("r", "")).await;
    assert_eq!((word(&reply), reply.header("x-tidegate-model")), ("miss", Some("fake/other")));
    // Another release in which this route is as it was.
    let release = reply.header("x-tidegate-release").unwrap().to_owned();
    stand.write_settings(&format!("{}[routes.new]\ntargets = [\"fake/x\"]\n", route("other")));
    reloaded(&mut stand, &release).await;
    assert_eq!(word(&ask(&client, chat("r", "")).await), "hit");
}

#[tokio::test]
async fn an_answer_grows_old() {
    let more = "[routes.r]\ntargets = [\"fake/m\"]\ncache = { ttl = \"1s\" }\n".to_owned();
    let stand = Stand::start(Setup { more, ..Setup::default() }).await;
    assert_eq!(word(&ask(&stand.client(), chat("r", "")).await), "miss");
    until("asked again", async || word(&ask(&stand.client(), chat("r", "")).await) == "miss").await;
    assert_eq!(stand.upstream.journal().count(), 2);
}

#[tokio::test]
async fn a_hit_is_a_request_and_takes_neither_tokens_nor_money() {
    let mate = offline_key();
    let key = "budgets = [{ name = \"small\", amount = \"0.30\", window = \"total\" }]\n";
    let limits = "limits = { requests_per_minute = 4, tokens_per_minute = 60 }\n";
    let more = format!(
        "[keys.mate]\nsecret = \"env:MATE_KEY\"\n{limits}[routes.r]\ntargets = [\"fake/m\"]\n{ON}{PRICE}"
    );
    let environment = vec![("MATE_KEY".to_owned(), mate.clone())];
    let stand = Stand::start(Setup { key: key.to_owned(), more, environment, ..Setup::default() }).await;
    let client = stand.client();
    let body = chat("r", r#","max_tokens":20"#);
    assert_eq!(word(&ask(&client, body.clone()).await), "miss");
    // Until there is no money for another call.
    let mut seed = 0;
    loop {
        let other = ask(&client, chat("r", &format!(r#","max_tokens":20,"seed":{seed}"#))).await;
        if other.status != 200 {
            assert_eq!(other.code(), "insufficient_quota", "{}", other.text());
            break;
        }
        seed += 1;
        assert!(seed < 100, "never spent");
    }
    assert_eq!(word(&ask(&client, body.clone()).await), "hit");
    // Two of these calls would be more tokens than there are.
    let mate = client.with_key(&mate);
    for _ in 0..4 {
        let hit = ask(&mate, body.clone()).await;
        assert_eq!(word(&hit), "hit");
        assert!(hit.header("x-ratelimit-remaining-requests").is_some());
    }
    let limited = ask(&mate, body).await;
    assert_eq!((limited.status, limited.code().as_str()), (429, "rate_limit_exceeded"), "{}", limited.text());
    assert_eq!(stand.upstream.journal().count(), 1 + seed);
}

#[tokio::test]
async fn a_client_in_a_hurry_takes_nobody_with_it() {
    let stand = stand("").await;
    // The first gives up early; of those who wait, one asks again and all the others have that.
    stand.upstream.enqueue([Plan { fault: Some(Fault::Hang), ..Plan::default() }]);
    stand.upstream.set_plan(Plan { first: 500, ..Plan::default() });
    let hasty = stand.client().header("x-tidegate-timeout", "1s");
    let hasty = tokio::spawn(async move { ask(&hasty, chat("r", "")).await.status });
    asked(&stand, 1).await;
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let client = stand.client();
            tokio::spawn(async move { ask(&client, chat("r", "")).await })
        })
        .collect();
    assert_eq!(hasty.await.unwrap(), 504);
    for one in waiting {
        assert_eq!(one.await.unwrap().status, 200);
    }
    assert_eq!(stand.upstream.journal().count(), 2);
}

/// Those who wait and calls without a client end with the gateway.
#[tokio::test]
async fn a_stop_waits_for_nobody_who_waits() {
    let server = "drain = { accept = \"50ms\", deadline = \"500ms\" }\n".to_owned();
    let more = format!("[routes.r]\ntargets = [\"fake/m\"]\n{ON}");
    let mut stand = Stand::start(Setup { server, more, ..Setup::default() }).await;
    stand.upstream.set_plan(Plan { fault: Some(Fault::Hang), ..Plan::default() });
    let body = chat("r", "");
    let first = ask_and_hold(&stand, &body, "").await;
    in_flight(&stand, 1.0).await;
    let (client, waits) = (stand.client(), body.clone());
    let waiting = tokio::spawn(async move { ask(&client, waits).await });
    in_flight(&stand, 2.0).await;
    let lost = ask_and_hold(&stand, &chat("fake/m", ""), "idempotency-key: lost\r\n").await;
    in_flight(&stand, 3.0).await;
    drop((first, lost));
    assert_eq!(stand.stop().await, Some(0));
    let reply = waiting.await.unwrap();
    assert_eq!((reply.status, reply.code().as_str()), (503, "shutting_down"), "{}", reply.text());
}

#[tokio::test]
async fn what_a_route_makes_of_who_asks_is_part_of_the_question() {
    let mate = offline_key();
    let key = "budgets = [{ name = \"small\", amount = \"1.00\", window = \"total\" }]\n".to_owned();
    let more = format!(
        "[models.\"fake/m\"]\nprice = {{ per_request = \"0.01\" }}\n[models.\"fake/dear\"]\nprice = {{ per_request = \"0.60\" }}\n\
         [keys.mate]\nsecret = \"env:MATE_KEY\"\n\
         [routes.set]\n{ON}targets = [{{ model = \"fake/m\", when = \"tags.tier == 'a'\", set = {{ temperature = 0.25 }} }}, \
         {{ model = \"fake/m\", when = \"tags.tier == 'b'\", set = {{ temperature = 0.75 }} }}]\n\
         [routes.r]\n{ON}targets = [\"fake/dear\"]\nfallbacks = [{{ model = \"fake/m\", on = [\"budget\"] }}]\n"
    );
    let environment = vec![("MATE_KEY".to_owned(), mate.clone())];
    let stand = Stand::start(Setup { key, more, environment, ..Setup::default() }).await;
    let client = stand.client();
    for tier in ["tier=a", "tier=b"] {
        let client = client.header("x-tidegate-tags", tier);
        for expected in ["miss", "hit"] {
            assert_eq!(word(&ask(&client, chat("set", "")).await), expected, "{tier}");
        }
    }
    // Whose money is spent has a cheaper answer, and nobody else has that.
    let answered = |reply: &Reply| reply.header("x-tidegate-model").unwrap().to_owned();
    let dear = ask(&client, chat("r", r#","seed":1"#)).await;
    assert_eq!((word(&dear), answered(&dear).as_str()), ("miss", "fake/dear"));
    let cheap = ask(&client, chat("r", r#","seed":2"#)).await;
    assert_eq!((word(&cheap), answered(&cheap).as_str()), ("miss", "fake/m"));
    let other = ask(&client.with_key(&mate), chat("r", r#","seed":2"#)).await;
    assert_eq!((word(&other), answered(&other).as_str()), ("miss", "fake/dear"));
    let again = ask(&client, chat("r", r#","seed":2"#)).await;
    assert_eq!((word(&again), answered(&again).as_str()), ("hit", "fake/dear"));
}
