//! Calls that are no conversation: forms, files, binary answers, any endpoint of a provider, and counts of tokens.

use std::time::Duration;

use bytes::Bytes;
use fakes::plan::{Fault, Plan, UsageQuirk};
use fakes::upstream::{Upstream, binary};
use serde_json::Value;

use crate::client::Client;
use crate::stand::{PATIENCE, Setup, Stand};

const PRICED: &str =
    "[models.\"fake/m\"]\nprice = { input = \"1.00\", output = \"2.00\", currency = \"USD\" }\n";

fn plan(plan: &Plan) -> String {
    format!(r#","fake":{}"#, serde_json::to_string(plan).unwrap())
}

/// The last lines of the log, the newest at the end.
async fn logged(stand: &mut Stand, count: usize) -> Vec<Value> {
    stand.wait_drained().await;
    let (code, out, err) = stand.command(&["logs", "--json", "--limit", &count.to_string()]);
    assert_eq!(code, 0, "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_body_with_a_model_goes_to_the_same_path_with_the_providers_name() {
    let mut stand = Stand::start(Setup { more: PRICED.to_owned(), ..Setup::default() }).await;
    for (path, theirs, endpoint) in [
        ("/v1/moderations", "/v1/moderations", "moderations"),
        ("/v1/rerank?a=b", "/v1/rerank?a=b", "rerank"),
        ("/rerank", "/v1/rerank", "rerank"),
        ("/v1/images/generations", "/v1/images/generations", "images"),
        ("/openai/deployments/fake%2Fm/images/edits", "/v1/images/edits", "image_edits"),
    ] {
        let body = |model: &str| format!(r#"{{ "input":"h\u0069", "model":"{model}","n":1.0,"x":[1e400]}} "#);
        let reply = stand.client().post(path, body("fake/m")).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_eq!(reply.header("x-tidegate-model"), Some("fake/m"));
        let sent = stand.upstream.journal().last().unwrap();
        assert_eq!((sent.path.as_str(), sent.body.unwrap()), (theirs, body("m")));
        assert!(sent.problems.is_empty(), "{:?}", sent.problems);
        let usage = &reply.json()["usage"];
        let (input, output) =
            (usage["input_tokens"].as_u64().unwrap(), usage["output_tokens"].as_u64().unwrap());
        let cost: f64 = reply.header("x-tidegate-cost").unwrap().parse().unwrap();
        assert!((cost - (input * 1000 + output * 2000) as f64 / 1e9).abs() < 1e-12, "{path}: {cost}");
        let line = logged(&mut stand, 1).await.remove(0);
        assert_eq!((&line["endpoint"], &line["output_tokens"]), (&endpoint.into(), &output.into()), "{line}");
    }
    let missing = stand.client().post("/v1/moderations", "{}").await;
    assert_eq!((missing.status, missing.code().as_str()), (400, "missing_required_parameter"));
    assert_eq!(stand.client().get("/v1/moderations").await.unwrap().status, 405);
}

#[tokio::test]
async fn a_cost_that_nobody_tells_stays_unknown() {
    let mut stand = Stand::start(Setup { more: PRICED.to_owned(), ..Setup::default() }).await;
    let mute = Plan { usage: UsageQuirk::Missing, ..Plan::default() };
    let body = format!(r#"{{"model":"fake/m","input":"x"{}}}"#, plan(&mute));
    let reply = stand.client().post("/v1/moderations", body).await;
    assert_eq!((reply.status, reply.header("x-tidegate-cost")), (200, None));
    let line = logged(&mut stand, 1).await.remove(0);
    assert!(line["cost"].is_null() && line["input_tokens"].is_null(), "{line}");
}

/// The budget pays what was reserved where nobody tells what a call has cost.
#[tokio::test]
async fn a_budget_holds_although_answers_tell_nothing() {
    let budget = r#"budgets = [{ name = "day", amount = "0.02", currency = "USD", window = "day" }]"#;
    let stand =
        Stand::start(Setup { key: budget.to_owned(), more: PRICED.to_owned(), ..Setup::default() }).await;
    let mute = Plan { tokens: 1, content_type: Some("audio/mpeg".to_owned()), ..Plan::default() };
    let body = format!(r#"{{"model":"fake/m","input":"x"{}}}"#, plan(&mute));
    let mut refused = None;
    for _ in 0..10 {
        let reply = stand.client().post("/v1/audio/speech", body.clone()).await;
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("the budget is spent in the end");
    assert_eq!((refused.status, refused.code().as_str()), (429, "insufficient_quota"), "{}", refused.text());
    let files = stand.client().get("/v1/files").await.unwrap();
    assert_eq!((files.status, files.code().as_str()), (403, "price_unknown"), "{}", files.text());
    assert!(files.text().contains(r#"[models.\"fake/files\"] price"#), "{}", files.text());
    // The way out that the refusal names.
    let free = "[models.\"fake/batches\"]\nprice = { per_request = \"0\", currency = \"USD\" }\n";
    let setup = Setup { key: budget.to_owned(), more: free.to_owned(), ..Setup::default() };
    let stand = Stand::start(setup).await;
    stand.upstream.set_plan(Plan { usage: UsageQuirk::Missing, ..Plan::default() });
    let batches = stand.client().get("/v1/batches").await.unwrap();
    assert_eq!(
        (batches.status, batches.header("x-tidegate-cost")),
        (200, Some("0.00")),
        "{}",
        batches.text()
    );
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend_from_slice(format!("--xyz\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--xyz--\r\n");
    body
}

#[tokio::test]
async fn the_model_of_a_form_is_replaced_and_nothing_else() {
    let mut stand =
        Stand::start(Setup { key: r#"models = ["fake/m"]"#.to_owned(), ..Setup::default() }).await;
    let client = stand.client().header("content-type", "multipart/form-data; boundary=xyz");
    let sound = binary(300);
    let file = "name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg";
    for (path, endpoint) in [
        ("/v1/audio/transcriptions", "transcriptions"),
        ("/v1/audio/translations", "translations"),
        ("/v1/images/edits", "image_edits"),
        ("/v1/images/variations", "image_variations"),
    ] {
        let body = |model: &str| form(&[(file, &sound), ("name=\"model\"", model.as_bytes())]);
        let reply = client.post(path, body("fake/m")).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let sent = stand.upstream.journal().last().unwrap();
        assert_eq!(sent.header("content-type"), Some("multipart/form-data; boundary=xyz"));
        assert!(sent.raw == body("m"), "{path}: the form was changed");
        assert_eq!(sent.path, path);
        let line = logged(&mut stand, 1).await.remove(0);
        assert_eq!((&line["endpoint"], &line["status"]), (&endpoint.into(), &200.into()), "{line}");
    }
    let other = client.post("/v1/audio/transcriptions", form(&[("name=\"model\"", b"fake/n")])).await;
    assert_eq!((other.status, other.code().as_str()), (403, "model_not_allowed"));
    let twice = form(&[("name=\"model\"", b"fake/m"), ("name=\"model\"", b"fake/n")]);
    let twice = client.post("/v1/audio/transcriptions", twice).await;
    assert_eq!((twice.status, twice.code().as_str()), (400, "duplicate_parameter"));
    let none = client.post("/v1/audio/transcriptions", form(&[(file, &sound)])).await;
    assert_eq!((none.status, none.code().as_str()), (400, "missing_required_parameter"));
}

#[tokio::test]
async fn a_stream_of_events_passes_and_its_usage_is_read() {
    let mut stand = Stand::start(Setup { more: PRICED.to_owned(), ..Setup::default() }).await;
    let events = [
        "event: transcript.text.delta\ndata: {\"delta\":\"hi\"}\n\n",
        ": comment\n\n",
        "data: {\"type\":\"transcript.text.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":45}}\n\n",
    ];
    let script = Plan { events: Some(events.map(str::to_owned).to_vec()), delay: 5, ..Plan::default() };
    stand.upstream.set_plan(script);
    let client = stand.client().header("content-type", "multipart/form-data; boundary=xyz");
    let body = form(&[("name=\"model\"", b"fake/m"), ("name=\"stream\"", b"true")]);
    let reply = client.post("/v1/audio/transcriptions", body).await;
    assert_eq!((reply.status, reply.text()), (200, events.concat()));
    let line = logged(&mut stand, 1).await.remove(0);
    assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&14.into(), &45.into()), "{line}");
    assert_eq!(line["cost"].as_str().unwrap().parse::<f64>().unwrap(), 0.000_104, "{line}");
}

fn audio(kib: u64) -> Plan {
    Plan { tokens: kib, content_type: Some("audio/mpeg".to_owned()), ..Plan::default() }
}

#[tokio::test]
async fn files_go_to_the_only_provider_or_to_the_one_that_is_named() {
    let mut stand = Stand::start(Setup::default()).await;
    let client = stand.client();
    for (method, path) in [
        ("GET", "/v1/files?limit=2&after=x%2Fy"),
        ("POST", "/v1/files"),
        ("DELETE", "/v1/files/file-1"),
        ("POST", "/v1/batches/b/cancel"),
        ("GET", "/v1/videos/v"),
    ] {
        let body = if method == "POST" { "not \0 json" } else { "" };
        let reply = client.send(method, path, body).await.unwrap();
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let sent = stand.upstream.journal().last().unwrap();
        assert_eq!(
            (sent.method.as_str(), sent.path.as_str(), &sent.raw[..]),
            (method, path, body.as_bytes())
        );
        assert_eq!(sent.header("content-length").is_some(), method == "POST", "{method}");
    }
    stand.upstream.set_plan(Plan { split: 5000, ..audio(200) });
    let content = client.get("/v1/files/f/content").await.unwrap();
    assert!(content.body == binary(200), "{} bytes", content.body.len());
    assert_eq!(content.header("content-type"), Some("audio/mpeg"));
    let head = client.send("HEAD", "/v1/files/f/content", "").await.unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("12345")));
    let lines = logged(&mut stand, 2).await;
    for line in lines {
        assert_eq!((&line["endpoint"], &line["model"]), (&"files".into(), &"fake/files".into()));
        assert!(line["cost"].is_null() && line["status"] == 200, "{line}");
    }
    assert_eq!(client.send("PATCH", "/v1/files", "").await.unwrap().status, 405);

    let second = Upstream::start(fakes::upstream::Script::default()).await.unwrap();
    let more = format!("[providers.other]\nbase_url = \"{}\"\n", second.base_url());
    let two = Stand::start(Setup { more, ..Setup::default() }).await;
    let unclear = two.client().get("/v1/files").await.unwrap();
    assert_eq!(unclear.status, 400, "{}", unclear.text());
    assert!(unclear.text().contains("`fake`, `other`") && unclear.text().contains("x-tidegate-provider"));
    let named = two.client().header("x-tidegate-provider", "other").get("/v1/files").await.unwrap();
    assert_eq!((named.status, second.journal().count(), two.upstream.journal().count()), (200, 1, 0));
    let unknown = two.client().header("x-tidegate-provider", "nosuch").get("/v1/files").await.unwrap();
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn a_key_reaches_a_provider_as_its_list_allows() {
    let key = |models: &str| Setup { key: format!("models = [{models}]"), ..Setup::default() };
    for (models, files, any) in [
        (r#""fake/m""#, 403, 403),
        (r#""fake/files""#, 200, 403),
        (r#""fake/passthrough""#, 403, 200),
        (r#""fake/*""#, 200, 200),
    ] {
        let stand = Stand::start(key(models)).await;
        let client = stand.client();
        assert_eq!(client.get("/v1/files").await.unwrap().status, files, "{models}");
        let reply = client.get("/passthrough/fake/anything").await.unwrap();
        assert_eq!(reply.status, any, "{models}: {}", reply.text());
        if any == 403 {
            assert!(reply.text().contains("`fake/passthrough` or `fake/*`"), "{}", reply.text());
        }
    }
}

#[tokio::test]
async fn any_endpoint_of_a_provider_is_passed_through() {
    let provider = "credential = \"env:FAKE_KEY\"".to_owned();
    let environment = vec![("FAKE_KEY".to_owned(), "sk-upstream".to_owned())];
    let mut stand = Stand::start(Setup { provider, environment, ..Setup::default() }).await;
    let client = Client::new(stand.address, "")
        .header("content-type", "text/odd")
        .header("accept", "text/x")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("cookie", "a=b")
        .header("x-tidegate-user", "me")
        .header("openai-beta", "assistants=v2");
    for (method, path, theirs) in [
        ("GET", "anything", "/v1/anything"),
        ("PATCH", "anything/a%20b?x=%2F&y", "/v1/anything/a%20b?x=%2F&y"),
        ("PUT", "v1/anything", "/v1/anything"),
        ("OPTIONS", "anything//", "/v1/anything//"),
        ("DELETE", "anything", "/v1/anything"),
    ] {
        let mark = if path.contains('?') { '&' } else { '?' };
        let ours = format!("/passthrough/fake/{path}{mark}key={}", stand.key);
        let reply = client.send(method, &ours, "\0 any \u{e9}").await.unwrap();
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
        let sent = stand.upstream.journal().last().unwrap();
        assert_eq!((sent.method.as_str(), sent.path.as_str()), (method, theirs));
        assert_eq!(sent.raw, "\0 any \u{e9}");
        for (name, value) in [
            ("content-type", Some("text/odd")),
            ("accept", Some("text/x")),
            ("authorization", Some("Bearer sk-upstream")),
            ("openai-beta", Some("assistants=v2")),
            ("x-hop", None),
            ("cookie", None),
            ("x-tidegate-user", None),
        ] {
            assert_eq!(sent.header(name), value, "{name}");
        }
        assert!(sent.problems.is_empty(), "{:?}", sent.problems);
        assert!(!sent.headers.iter().any(|(_, value)| value.contains("tg-")), "the virtual key went up");
    }
    assert!(!stand.log().contains(&stand.key), "the key is in the log");
    let client = stand.client();
    let unknown = client.get("/passthrough/nosuch/x").await.unwrap();
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "unknown_url"), "{}", unknown.text());
    for path in ["../x", "a/%2e%2e/x"] {
        assert_eq!(
            client.get(&format!("/passthrough/fake/anything/{path}")).await.unwrap().status,
            400,
            "{path}"
        );
    }
    let refused = Plan {
        status: 404,
        body: Some("plain words".to_owned()),
        content_type: Some("text/plain".into()),
        ..Plan::default()
    };
    let moved = Plan {
        status: 302,
        headers: vec![("location".into(), "https://elsewhere/".into())],
        ..Plan::default()
    };
    stand.upstream.enqueue([refused, moved]);
    let reply = client.get("/passthrough/fake/anything").await.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (404, "plain words"));
    assert_eq!(reply.header("content-type"), Some("text/plain"));
    let reply = client.get("/passthrough/fake/anything").await.unwrap();
    assert_eq!((reply.status, reply.header("location")), (302, Some("https://elsewhere/")));
    let lines = logged(&mut stand, 6).await;
    assert_eq!((&lines[0]["end_user"], &lines[5]["status"]), (&"me".into(), &302.into()), "{lines:?}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_its_connection() {
    let mut stand = Stand::start(Setup::default()).await;
    let client = stand.client();
    stand.upstream.enqueue([
        Plan { fault: Some(Fault::ResetAtByte(100_000)), ..audio(200) },
        Plan { fault: Some(Fault::ResetAtOnce), ..audio(200) },
    ]);
    let coming = client.open("GET", "/v1/files/f/content", Bytes::new()).await.unwrap();
    assert_eq!(coming.status, 200);
    let (got, _) = coming.rest().await.expect_err("a broken answer looks like a whole one");
    assert!(!got.contains("error"), "something was added to the bytes");
    let early = client.get("/v1/files/f/content").await.unwrap();
    assert_eq!((early.status, early.code().as_str()), (502, "upstream_closed"));
    let lines = logged(&mut stand, 2).await;
    assert_eq!(lines[0]["error_code"], "upstream_closed", "{}", lines[0]);
    assert!(lines[0]["cost"].is_null());
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_and_time_limits_hold() {
    let provider =
        "abort_stops_billing = false\ntimeouts = { first_byte = \"2s\", idle = \"2s\" }".to_owned();
    let mut stand = Stand::start(Setup { provider, ..Setup::default() }).await;
    let client = stand.client();
    stand.upstream.enqueue([
        Plan { split: 4096, split_delay: 20, ..audio(4000) },
        Plan { fault: Some(Fault::Hang), ..audio(1) },
        Plan { fault: Some(Fault::Silence(1)), ..audio(100) },
    ]);
    let mut coming = client.open("GET", "/v1/files/f/content", Bytes::new()).await.unwrap();
    coming.next().await.unwrap().unwrap();
    coming.abort();
    let seen = stand.upstream.journal().quiet(PATIENCE).await.expect("the provider sees the end");
    let end = seen[0].end.as_ref().unwrap();
    assert!(end.aborted.is_some() && end.bytes_out < 3_000_000, "{end:?}");
    let mute = client.get("/v1/files/f/content").await.unwrap();
    assert_eq!((mute.status, mute.code().as_str()), (504, "upstream_timeout"));
    let silent = client.open("GET", "/v1/files/f/content", Bytes::new()).await.unwrap();
    assert!(silent.rest().await.is_err());
    let codes: Vec<_> = logged(&mut stand, 3).await.iter().map(|line| line["error_code"].clone()).collect();
    assert_eq!(codes, ["client_gone", "upstream_timeout", "upstream_timeout"]);
}

/// A client that does not read stops its provider: what is between them is bounded.
#[tokio::test]
async fn a_slow_client_holds_its_provider_back() {
    let stand = Stand::start(Setup::default()).await;
    stand.upstream.set_plan(audio(200_000));
    let mut coming = stand.client().open("GET", "/v1/files/f/content", Bytes::new()).await.unwrap();
    let mut got = coming.next().await.unwrap().unwrap().len();
    // Nothing is read meanwhile; on a gateway that reads on, all of it would be in its memory by now.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", stand.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 150_000, "{kib} KiB are held for a client that does not read");
    while let Some(piece) = coming.next().await {
        got += piece.unwrap().len();
    }
    assert_eq!(got, 200_000 * 1024);
}

#[tokio::test]
async fn limits_hold_for_every_endpoint() {
    let key = "limits = { requests_per_minute = 2, concurrency = 1 }".to_owned();
    let stand = Stand::start(Setup { key, ..Setup::default() }).await;
    let client = stand.client();
    stand.upstream.set_plan(Plan { first: 60_000, ..audio(1) });
    let held = client.clone();
    let held = tokio::spawn(async move { held.get("/passthrough/fake/anything").await });
    stand.upstream.journal().wait(PATIENCE, |seen| seen.len() == 1).await.expect("one in flight");
    let second = client.get("/v1/files").await.unwrap();
    assert_eq!((second.status, second.code().as_str()), (429, "concurrency_limit_exceeded"));
    held.abort();
    stand.upstream.journal().quiet(PATIENCE).await.expect("cancelled");
    stand.upstream.set_plan(audio(1));
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let reply = client.get("/v1/files").await.unwrap();
        if reply.status == 200 || reply.code() != "concurrency_limit_exceeded" {
            answers.push(reply.status);
        }
    }
    assert_eq!(answers, [200, 429]);
    let nobody = Client::new(stand.address, "");
    assert_eq!(nobody.get("/passthrough/fake/anything").await.unwrap().status, 401);
    assert_eq!(nobody.get("/passthrough/nosuch/anything").await.unwrap().status, 401);
}

#[tokio::test]
async fn tokens_are_counted_by_the_provider_or_estimated_here() {
    let claude = Upstream::start(fakes::upstream::Script::default()).await.unwrap();
    let more = format!(
        "[providers.anthropic]\nbase_url = \"{}\"\ncredential = \"env:CLAUDE\"\n{PRICED}",
        claude.base_url()
    );
    let environment = vec![("CLAUDE".to_owned(), "sk-ant".to_owned())];
    let key = "limits = { tokens_per_minute = 10 }\nbudgets = [{ name = \"d\", amount = \"0.000001\", currency = \"USD\", window = \"day\" }]";
    let setup = Setup { more, environment, key: key.to_owned(), ..Setup::default() };
    let mut stand = Stand::start(setup).await;
    let body = |model: &str| {
        format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{}"}}]}}"#, "word ".repeat(40))
    };
    claude.set_plan(Plan { body: Some(r#"{"input_tokens":77}"#.to_owned()), ..Plan::default() });
    let reply = stand.client().post("/v1/messages/count_tokens", body("anthropic/opus")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"input_tokens":77}"#));
    assert_eq!(reply.header("x-tidegate-estimated"), None);
    let sent = claude.journal().last().unwrap();
    assert_eq!(
        (sent.path.as_str(), sent.body.as_deref()),
        ("/v1/messages/count_tokens", Some(&*body("opus")))
    );
    assert_eq!(sent.header("anthropic-version"), Some("2023-06-01"));
    let line = logged(&mut stand, 1).await.remove(0);
    assert_eq!(line["endpoint"], "count_tokens");
    assert_eq!(line["cost"].as_str().unwrap().parse::<f64>().unwrap(), 0.0, "{line}");

    let reply = stand.client().post("/v1/messages/count_tokens", body("fake/m")).await;
    assert_eq!((reply.status, reply.header("x-tidegate-estimated")), (200, Some("true")), "{}", reply.text());
    let tokens = reply.json()["input_tokens"].as_u64().unwrap();
    assert!((30..100).contains(&tokens), "{tokens}");
    let gemini =
        format!(r#"{{"contents":[{{"role":"user","parts":[{{"text":"{}"}}]}}]}}"#, "word ".repeat(40));
    let reply = stand.client().post("/v1beta/models/fake%2Fm:countTokens", gemini.clone()).await;
    assert_eq!((reply.status, reply.header("x-tidegate-estimated")), (200, Some("true")), "{}", reply.text());
    assert!((30..100).contains(&reply.json()["totalTokens"].as_u64().unwrap()), "{}", reply.text());
    assert_eq!(stand.upstream.journal().count(), 0);
    let unknown = stand.client().post("/v1/messages/count_tokens", body("nosuch")).await;
    assert_eq!((unknown.status, &unknown.json()["type"]), (404, &"error".into()));
    let foreign = stand.client().post("/v1beta/models/fake%2Fm:embedContent", gemini).await;
    assert!(foreign.status >= 400, "{}", foreign.text());
}

#[tokio::test]
async fn embeddings_of_google_go_to_google() {
    let google = Upstream::start(fakes::upstream::Script::default()).await.unwrap();
    let more = format!(
        "[providers.gemini]\nbase_url = \"{}\"\ncredential = \"env:G\"\n",
        google.base_url().replace("/v1", "/v1beta")
    );
    let environment = vec![("G".to_owned(), "AIza".to_owned())];
    let mut stand = Stand::start(Setup { more, environment, ..Setup::default() }).await;
    let body = |model: &str| {
        format!(
            r#"{{"requests":[{{"model":"{model}","content":{{"parts":[{{"text":"a"}}]}}}}, {{"model":"{model}"}}]}}"#
        )
    };
    let path = "/v1beta/models/gemini%2Fgemini-embedding-001:batchEmbedContents";
    let reply = stand.client().post(path, body("models/gemini/gemini-embedding-001")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = google.journal().last().unwrap();
    assert_eq!(sent.path, "/v1beta/models/gemini-embedding-001:batchEmbedContents");
    assert_eq!(sent.body.as_deref(), Some(&*body("models/gemini-embedding-001")));
    let line = logged(&mut stand, 1).await.remove(0);
    assert_eq!(line["endpoint"], "batch_embed_contents");
}

#[tokio::test]
async fn batches_and_files_of_anthropic_go_to_anthropic_and_their_results_come_from_here() {
    let claude = Upstream::start(fakes::upstream::Script::default()).await.unwrap();
    let more =
        format!("[providers.anthropic]\nbase_url = \"{}\"\ncredential = \"env:CLAUDE\"\n", claude.base_url());
    let environment = vec![("CLAUDE".to_owned(), "sk-ant".to_owned())];
    let mut stand = Stand::start(Setup { more, environment, ..Setup::default() }).await;
    let batch = r#"{"id":"msgbatch_1", "odd":1.0,"results_url":"https://api.anthropic.com/v1/messages/batches/msgbatch_1/results"}"#;
    claude.set_plan(Plan { body: Some(batch.to_owned()), ..Plan::default() });
    let client = stand.client();
    for (method, path) in [
        ("POST", "/v1/messages/batches"),
        ("GET", "/v1/messages/batches/msgbatch_1"),
        ("POST", "/anthropic/v1/messages/batches/msgbatch_1/cancel"),
        ("DELETE", "/v1/messages/batches/msgbatch_1"),
        ("GET", "/anthropic/v1/files?limit=2"),
    ] {
        let body = if method == "POST" { "not \0 json" } else { "" };
        let reply = client.send(method, path, body).await.unwrap();
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let sent = claude.journal().last().unwrap();
        let own = path.strip_prefix("/anthropic").unwrap_or(path);
        assert_eq!((sent.method.as_str(), sent.path.as_str(), &sent.raw[..]), (method, own, body.as_bytes()));
        assert_eq!(
            (sent.header("x-api-key"), sent.header("anthropic-version")),
            (Some("sk-ant"), Some("2023-06-01"))
        );
        if path.contains("batches") {
            let mount = if path.starts_with("/anthropic") { "/anthropic" } else { "" };
            let wanted = format!("http://{}{mount}/v1", stand.address);
            assert_eq!(reply.text(), batch.replace("https://api.anthropic.com/v1", &wanted), "{path}");
        }
    }
    let version = "anthropic-version";
    assert_eq!(stand.client().header(version, "2023-06-01").get("/v1/files").await.unwrap().status, 200);
    assert_eq!(claude.journal().last().unwrap().path, "/v1/files");
    assert_eq!((claude.journal().count(), stand.upstream.journal().count()), (6, 0));
    assert_eq!(stand.client().get("/v1/files").await.unwrap().status, 200);
    assert_eq!(stand.upstream.journal().count(), 1, "OpenAI's files");
    let lines = logged(&mut stand, 7).await;
    let endpoints: Vec<_> = lines.iter().map(|line| line["model"].as_str().unwrap()).collect();
    assert_eq!(
        endpoints[..5],
        ["anthropic/batches"; 4].into_iter().chain(["anthropic/files"]).collect::<Vec<_>>()[..]
    );
    assert!(lines.iter().all(|line| line["cost"].is_null()), "what nobody tells is unknown");
}
