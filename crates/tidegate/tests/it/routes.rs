//! Which deployment a route asks: strategies, conditions, causes, what is set, and the explanation of it all.

use std::fmt::Write as _;
use std::time::Duration;

use fakes::plan::{Fault, Plan};
use fakes::upstream::{Script, Upstream};

use crate::client::{Client, Reply, chat};
use crate::stand::{PATIENCE, Setup, Stand};

/// A stand with providers `p0`, `p1`, … that serve `m`, each after its plan, and the tables given.
async fn stand(plans: impl IntoIterator<Item = Plan>, key: &str, tables: &str) -> (Stand, Vec<Upstream>) {
    let mut upstreams = Vec::new();
    let mut more = String::new();
    for plan in plans {
        let upstream = Upstream::start(Script { plan, ..Script::default() }).await.unwrap();
        let (number, base) = (upstreams.len(), upstream.base_url());
        write!(more, "[providers.p{number}]\nbase_url = \"{base}\"\nmodels = [\"m\"]\n").unwrap();
        upstreams.push(upstream);
    }
    more.push_str(tables);
    (Stand::start(Setup { key: key.to_owned(), more, ..Setup::default() }).await, upstreams)
}

fn good() -> Plan {
    Plan::default()
}

fn failing(status: u16) -> Plan {
    Plan { status, ..Plan::default() }
}

fn model(reply: &Reply) -> &str {
    reply.header("x-tidegate-model").unwrap_or_default()
}

async fn ask(client: &Client, more: &str) -> Reply {
    client.post("/v1/chat/completions", chat("r", more)).await
}

const PICTURE: &str = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==";

fn with_picture(model: &str) -> String {
    format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":[{{"type":"text","text":"what is it?"}},{{"type":"image_url","image_url":{{"url":"{PICTURE}"}}}}]}}]}}"#
    )
}

#[tokio::test]
async fn conditions_choose_by_what_the_request_is() {
    let route = "[routes.r]\nstrategy = \"ordered\"\ntargets = [\n\
                 { model = \"p0/m\", when = \"tokens > 1000\" },\n\
                 { model = \"p1/m\", when = \"tags.tier == 'gold' || headers['x-team'] == 'search'\" },\n\
                 { model = \"p2/m\", when = \"end_user == 'u1' && stream\" },\n\
                 \"p3/m\"]\n";
    let (stand, upstreams) = stand([good(), good(), good(), good()], "", route).await;
    let client = stand.client();
    assert_eq!(model(&ask(&client, "").await), "p3/m");
    assert_eq!(model(&ask(&client.header("x-tidegate-tags", "tier=gold"), "").await), "p1/m");
    assert_eq!(model(&ask(&client.header("x-team", "search"), "").await), "p1/m");
    assert_eq!(model(&ask(&client.header("x-tidegate-user", "u1"), r#","stream":true"#).await), "p2/m");
    let long =
        format!(r#"{{"model":"r","messages":[{{"role":"user","content":"{}"}}]}}"#, "word ".repeat(3_000));
    assert_eq!(model(&client.post("/v1/chat/completions", long).await), "p0/m");
    assert_eq!(upstreams.iter().map(|one| one.journal().count()).sum::<u64>(), 5);
}

#[tokio::test]
async fn an_image_never_goes_to_a_model_without_eyes() {
    let tables = "[models.\"p0/m\"]\ntakes = [\"text\", \"tools\"]\n\
                  [routes.r]\nstrategy = \"ordered\"\ntargets = [\"p0/m\", \"p1/m\"]\n\
                  [routes.blind]\ntargets = [\"p0/m\"]\n";
    let (stand, upstreams) = stand([good(), failing(500)], "", tables).await;
    let client = stand.client();
    assert_eq!(model(&ask(&client, "").await), "p0/m");
    let seen = client.post("/v1/chat/completions", with_picture("r")).await;
    assert_eq!(seen.status, 500, "it is rather refused than put to the blind one");
    assert_eq!(upstreams[0].journal().count(), 1);
    for asked in ["blind", "p0/m"] {
        let refused = client.post("/v1/chat/completions", with_picture(asked)).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "no_fitting_model"));
        assert!(refused.text().contains("does not take image"), "{}", refused.text());
    }
    let anthropic = r#"{"model":"blind","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"http://h/x.png"}}]}]}"#;
    assert_eq!(client.post("/v1/messages", anthropic).await.status, 400);
    let google = r#"{"contents":[{"role":"user","parts":[{"fileData":{"mimeType":"image/png","fileUri":"http://h/x"}}]}]}"#;
    assert_eq!(client.post("/v1beta/models/blind:generateContent", google).await.status, 400);
    assert_eq!(upstreams[0].journal().count(), 1);
}

#[tokio::test]
async fn fallbacks_are_for_their_causes() {
    let refusal =
        r#"{"error":{"message":"no","type":"invalid_request_error","code":"content_policy_violation"}}"#;
    let refusing = Plan { body: Some(refusal.to_owned()), ..failing(400) };
    let mute = Plan { fault: Some(Fault::Hang), ..good() };
    let mut tables = String::new();
    for target in 0..5 {
        write!(
            tables,
            "[routes.r{target}]\ntargets = [\"p{target}/m\"]\ntimeouts = {{ first_byte = \"500ms\" }}\nfallbacks = [\n\
             {{ model = \"p5/m\", on = [\"rate_limit\"] }}, {{ model = \"p6/m\", on = [\"content_policy\"] }}, \
             {{ model = \"p7/m\", on = [\"timeout\"] }}]\n"
        )
        .unwrap();
    }
    let plans = [failing(429), failing(500), refusing, mute, failing(400), good(), good(), good()];
    let (stand, _upstreams) = stand(plans, "", &tables).await;
    let client = stand.client();
    // Twice: what is known of a place after the first time changes nothing of what its fallbacks are for.
    for _ in 0..2 {
        for (route, status, answered) in [
            ("r0", 200, "p5/m"),
            ("r1", 500, "p1/m"),
            ("r2", 200, "p6/m"),
            ("r3", 200, "p7/m"),
            ("r4", 400, "p4/m"),
        ] {
            let reply = client.chat(route).await;
            assert_eq!((reply.status, model(&reply)), (status, answered), "{route}: {}", reply.text());
        }
    }
}

#[tokio::test]
async fn a_spent_budget_leads_to_the_cheaper_one() {
    let key = r#"budgets = [{ name = "total", amount = "1.00", window = "total" }]"#;
    let tables = "[models.\"p0/m\"]\nprice = { per_request = \"0.60\" }\n[models.\"p1/m\"]\nprice = { per_request = \"0.01\" }\n\
                  [routes.r]\ntargets = [\"p0/m\"]\nfallbacks = [{ model = \"p1/m\", on = [\"budget\"] }]\n";
    let (stand, upstreams) = stand([good(), good()], key, tables).await;
    let client = stand.client();
    assert_eq!(model(&ask(&client, "").await), "p0/m");
    assert_eq!(model(&ask(&client, "").await), "p1/m", "0.40 is left");
    upstreams[1].set_plan(failing(500));
    assert_eq!(ask(&client, "").await.status, 500, "the dear one is no fallback of the cheap one");
    assert_eq!(upstreams[0].journal().count(), 1);
}

#[tokio::test]
async fn what_a_route_sets_is_what_the_provider_reads() {
    let tables = "[routes.r]\ntargets = [{ model = \"p0/m\", set = { temperature = 0.25, max_tokens = 3, metadata = { a = [1, true] } } }]\n";
    let (stand, upstreams) = stand([good()], "", tables).await;
    let client = stand.client();
    let reply = ask(&client, r#","temperature":1.0,"odd":1e400"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = String::from_utf8(upstreams[0].journal().last().unwrap().raw.to_vec()).unwrap();
    assert_eq!(
        sent,
        r#"{"model":"m","messages":[{"role":"user","content":"hello there"}],"temperature":0.25,"odd":1e400,"max_tokens":3,"metadata":{"a":[1,true]}}"#
    );
    assert_eq!(reply.json()["usage"]["completion_tokens"], 3);
    // From another dialect too: it is said in the provider's words, to the provider.
    let messages = r#"{"model":"r","max_tokens":50,"messages":[{"role":"user","content":"hello"}]}"#;
    assert_eq!(client.post("/v1/messages", messages).await.status, 200);
    let sent: serde_json::Value =
        serde_json::from_slice(&upstreams[0].journal().last().unwrap().raw).unwrap();
    assert_eq!((&sent["temperature"], &sent["max_tokens"]), (&0.25.into(), &3.into()));
}

#[tokio::test]
async fn the_fastest_is_found_and_found_again() {
    let slow = Plan { first: 400, ..good() };
    let tables = "[routes.r]\nstrategy = \"fastest\"\ntargets = [\"p0/m\", \"p1/m\", \"p2/m\"]\n";
    let (stand, upstreams) = stand([slow.clone(), good(), slow], "", tables).await;
    let client = stand.client();
    for _ in 0..12 {
        assert_eq!(ask(&client, r#","stream":true"#).await.status, 200);
    }
    let counts: Vec<_> = upstreams.iter().map(|one| one.journal().count()).collect();
    assert_eq!((counts[0], counts[2]), (1, 1), "each is tried once: {counts:?}");
    let (code, out, err) = stand.command(&["routes", "explain", "r", "--stream", "--json"]);
    assert_eq!(code, 0, "{err}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["strategy"], &told["attempts"][0]["model"]), (&"fastest".into(), &"p1/m".into()));
    assert!(told["attempts"][1]["because"].as_str().unwrap().contains("a first token after"), "{told}");
}

#[tokio::test]
async fn the_least_busy_takes_the_next() {
    let tables = "[routes.r]\nstrategy = \"least_busy\"\ntargets = [\"p0/m\", \"p1/m\", \"p2/m\"]\n";
    let (stand, upstreams) = stand([good(), good(), good()], "", tables).await;
    let mut held = Vec::new();
    for number in 1..=9 {
        let client = stand.client();
        let plan = serde_json::to_string(&Plan { first: 60_000, ..good() }).unwrap();
        held.push(tokio::spawn(async move { ask(&client, &format!(r#","fake":{plan}"#)).await }));
        // One after the other: of two that are planned in the same moment neither is seen by the other.
        let all_came = async {
            while upstreams.iter().map(|one| one.journal().count()).sum::<u64>() < number {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all_came).await.expect("the request comes");
    }
    let counts: Vec<_> = upstreams.iter().map(|one| one.journal().count()).collect();
    assert_eq!(counts, [3, 3, 3]);
    for task in held {
        task.abort();
    }
}

#[tokio::test]
async fn an_end_user_stays_with_a_target() {
    let tables = "[routes.r]\nsticky = \"end_user\"\ntargets = [\"p0/m\", \"p1/m\", \"p2/m\"]\n";
    let (stand, _upstreams) = stand([good(), good(), good()], "", tables).await;
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..12 {
        let client = stand.client().header("x-tidegate-user", &format!("user {user}"));
        let first = model(&ask(&client, "").await).to_owned();
        for _ in 0..3 {
            assert_eq!(model(&ask(&client, "").await), first);
        }
        seen.insert(first);
    }
    assert!(seen.len() > 1, "{seen:?}");
}

#[tokio::test]
async fn a_route_is_explained() {
    let tables = "[models.\"p0/m\"]\ncontext = 100\n[models.\"p1/m\"]\ntakes = [\"text\"]\n\
                  [routes.r]\nstrategy = \"ordered\"\ntargets = [\"p0/m\", \"p1/m\", { model = \"p2/m\", when = \"tags.tier == 'gold'\" }]\n\
                  fallbacks = [{ model = \"p3/m\", on = [\"timeout\"] }]\n[keys.narrow]\nmodels = [\"p0/m\"]\n";
    let (stand, upstreams) = stand([good(), good(), good(), good()], "", tables).await;
    let explain = |arguments: &[&str]| {
        let all: Vec<_> = ["routes", "explain"].iter().chain(arguments).copied().collect();
        stand.command(&all)
    };
    let (code, out, err) = explain(&["r"]);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].starts_with("r (route, ordered; about "), "{out}");
    assert!(lines[1].contains("1. p0/m") && lines[2].contains("2. p1/m"), "{out}");
    assert!(lines[3].contains("3. p3/m") && lines[3].contains("fallback after timeout"), "{out}");
    assert!(lines[4].contains("p2/m") && lines[4].contains("does not hold"), "{out}");
    let (_, out, _) = explain(&["r", "--tokens", "5000", "--image", "--tag", "tier=gold", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    let names: Vec<_> = told["attempts"].as_array().unwrap().iter().map(|one| one["model"].clone()).collect();
    assert_eq!(names, ["p2/m", "p3/m", "p0/m"], "what the input does not fit comes last: {told}");
    assert_eq!(told["left_out"][0]["because"], "it does not take image");
    let (code, _, err) = explain(&["r", "--key", "narrow"]);
    assert_eq!(code, 1);
    assert!(err.contains("key `narrow` may not use model `r`"), "{err}");
    let (code, _, err) = explain(&["nosuch"]);
    assert!(code == 1 && err.contains("model_not_found"), "{err}");
    assert!(upstreams.iter().all(|one| one.journal().count() == 0), "nobody was called");
    let bad = "[routes.bad]\ntargets = [{ model = \"p0/m\", when = \"token > 5\" }]\n";
    std::fs::write(stand.dir.join("bad.toml"), stand.settings(bad)).unwrap();
    let path = stand.dir.join("bad.toml");
    let (code, out, err) = stand.command(&["check", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(format!("{out}{err}").contains("did you mean `tokens`?"), "{out}{err}");
}

#[tokio::test]
async fn an_answer_that_is_kept_is_for_those_whom_the_same_places_may_answer() {
    let tables = "[routes.r]\nstrategy = \"ordered\"\ncache = { ttl = \"1h\" }\ntargets = [{ model = \"p0/m\", when = \"tags.tier == 'gold'\" }, \"p1/m\"]\n";
    let (stand, upstreams) = stand([good(), good()], "", tables).await;
    let (client, gold) = (stand.client(), stand.client().header("x-tidegate-tags", "tier=gold"));
    for (client, word) in [(&client, "miss"), (&gold, "miss"), (&client, "hit"), (&gold, "hit")] {
        let reply = ask(client, "").await;
        assert_eq!(reply.header("x-tidegate-cache"), Some(word));
    }
    assert_eq!((upstreams[0].journal().count(), upstreams[1].journal().count()), (1, 1));
}
