//! How answers end that guardrails refuse, that a client leaves, and that are given again: what is told, and what is paid.

use fakes::plan::{Fault, Plan};
use serde_json::{Value, json};

use super::answers::{ask, body, chat_events, datas, has_ended, pairs, plan, rail, stand};
use super::kinds::{asks, hook};
use super::*;
use crate::stand::PATIENCE;

const PRICE: &str = "[models.\"fake/m\"]\nprice = { input = \"1000000\", output = \"1000000\" }\n";

/// Blocks a word of answers.
pub(super) fn word(action: &str) -> String {
    rail(action, "").replace("\"pii\"\nentities = [\"card\"]", "\"words\"\nwords = [\"foobar\"]")
}

fn only_answers(rail: &str) -> String {
    rail.replace("[\"request\", \"response\"]", "\"response\"")
}

/// The records of the last calls, the newest first.
pub(super) async fn records(stand: &mut Stand) -> Vec<Value> {
    stand.wait_drained().await;
    let (code, out, err) = stand.command(&["logs", "--json"]);
    assert_eq!(code, 0, "{err}");
    out.lines().rev().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_block_at_the_end_is_told_in_every_dialect() {
    let blocks = hook(&json!({"action": "block"})).await;
    let form =
        rail("block", "").replace("\"pii\"\nentities = [\"card\"]", "\"json_schema\"\nschema = \"{}\"");
    for (name, rail) in
        [("personal", word("block")), ("personal", form), ("ours", only_answers(&asks(&blocks, "")))]
    {
        let stand = stand(&rail).await;
        for (provider, client) in pairs() {
            stand
                .upstream
                .set_plan(Plan { delay: 5, ..plan(provider, client, &["this is ", "foo", "bar"], &[]) });
            let (path, ask) = ask(client, &format!("{provider}/m"), true);
            let text = stand.client().post(&path, ask).await.text();
            let what = format!("{client} of {provider}: {text}\n{rail}");
            let all = datas(&text);
            let told = format!("guardrail `{name}` refuses the answer");
            assert!(all.last().is_some_and(|last| last.to_string().contains(&told)), "{what}");
            assert_eq!(text.matches(&told).count(), 1, "{what}");
            // Google has no end but the last piece, which may be with the client already.
            assert!((provider, client) == ("gem", "gemini") || !has_ended(client, &text), "{what}");
            assert!(rail.contains("schema") || name == "ours" || !text.contains("foobar"), "{what}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_a_hook_looks_pays_for_its_answer() {
    let hangs = hook(&json!({"action": "pass"})).await;
    hangs.set_plan(Plan { fault: Some(Fault::Hang), ..Plan::default() });
    let rail = only_answers(&asks(&hangs, "timeout = \"60s\""));
    for stream in [false, true] {
        let mut stand = stand(&format!("{PRICE}{rail}")).await;
        stand.upstream.set_plan(match stream {
            false => Plan { body: Some(body("fake", "hello", "{}")), ..Plan::default() },
            true => plan("fake", "chat", &["hello"], &[]),
        });
        let before = hangs.journal().count();
        let (path, ask) = ask("chat", "fake/m", stream);
        let client = stand.client();
        let call = tokio::spawn(async move { client.post(&path, ask).await });
        let seen = hangs.journal().wait(PATIENCE, |seen| seen.len() as u64 == before + 1).await;
        seen.expect("the hook is asked");
        call.abort();
        let line = &records(&mut stand).await[0];
        assert_eq!((&line["status"], &line["output_tokens"]), (&499.into(), &9.into()), "{line}");
        assert!(line["cost"].as_str().unwrap().starts_with("12"), "{line}");
    }
}

#[tokio::test]
async fn a_block_pays_what_the_provider_bills_on() {
    let setup = Setup {
        provider: "abort_stops_billing = false".to_owned(),
        more: format!("{PRICE}{}", word("block")),
        ..Setup::default()
    };
    let mut stand = Stand::start(setup).await;
    let long = ["foobar "].into_iter().chain([" and so on"; 40]).collect::<Vec<_>>();
    let all = chat_events(&long, &[]);
    for (events, status) in [(all.clone(), 200), (all[1..].to_vec(), 400)] {
        let mid = Plan { events: Some(events), delay: 10, abort_stops_billing: false, ..Plan::default() };
        stand.upstream.set_plan(mid);
        let (path, ask) = ask("chat", "fake/m", true);
        let reply = stand.client().post(&path, ask).await;
        let text = reply.text();
        assert_eq!(reply.status, status, "{text}");
        assert!(
            text.contains("guardrail `personal` refuses the answer") && !text.contains("so on"),
            "{text}"
        );
        let seen = stand.upstream.journal().quiet(PATIENCE).await.expect("the answer ends");
        assert!(seen.last().unwrap().end.as_ref().unwrap().complete, "{:?}", seen.last());
        let line = &records(&mut stand).await[0];
        assert_eq!((&line["status"], &line["output_tokens"]), (&status.into(), &9.into()), "{line}");
        assert_eq!(
            (&line["estimated"], &line["error_code"]),
            (&false.into(), &"guardrail_blocked".into()),
            "{line}"
        );
        assert!(line["cost"].as_str().unwrap().starts_with("12"), "{line}");
        assert_eq!(line["guardrails"]["personal"], "response block word=1", "{line}");
    }
}

#[tokio::test]
async fn what_a_text_holds_that_came_whole_is_in_the_record() {
    let mut stand = stand(&rail("block", "")).await;
    stand.upstream.set_plan(plan("gem", "gemini", &["hi"], &["{\"card\":4111111111111111}"]));
    let (path, ask) = ask("gemini", "gem/m", true);
    let text = stand.client().post(&path, ask).await.text();
    assert!(text.contains("guardrail `personal` refuses"), "{text}");
    let line = &records(&mut stand).await[0];
    assert_eq!(line["guardrails"]["personal"], "response block card=1", "{line}");
}

#[tokio::test]
async fn what_a_guardrail_did_not_see_is_kept_for_nobody() {
    let cache = "[routes.r]\ntargets = [\"fake/m\"]\ncache = { enabled = true }\n";
    for stage in ["\"response\"", "\"request\""] {
        let other = hook(&json!({"action": "pass"})).await;
        let rail = asks(&other, "on_failure = \"open\"").replace("[\"request\", \"response\"]", stage);
        let stand = stand(&format!("{rail}{cache}")).await;
        for stream in [false, true] {
            stand.upstream.set_plan(match stream {
                false => Plan { body: Some(body("fake", "hello", "{}")), ..Plan::default() },
                true => plan("fake", "chat", &["hello"], &[]),
            });
            let (path, ask) = ask("chat", "r", stream);
            other.set_plan(Plan { status: 500, ..Plan::default() });
            let reply = stand.client().post(&path, ask.clone()).await;
            assert!(reply.status == 200 && reply.text().contains("hello"), "{}", reply.text());
            other.set_plan(Plan { body: Some(json!({"action": "block"}).to_string()), ..Plan::default() });
            let reply = stand.client().post(&path, ask.clone()).await;
            assert!(reply.text().contains("guardrail `ours` refuses"), "{stage}: {}", reply.text());
            assert_ne!(reply.header("x-tidegate-cache"), Some("hit"));
            // What it has seen and let pass is kept.
            other.set_plan(Plan { body: Some(json!({"action": "pass"}).to_string()), ..Plan::default() });
            let _ = stand.client().post(&path, ask.clone()).await;
            let reply = stand.client().post(&path, ask).await;
            assert_eq!(reply.header("x-tidegate-cache"), Some("hit"), "{stage}: {}", reply.text());
        }
    }
}

#[tokio::test]
async fn what_is_given_again_says_what_guardrails_did() {
    let cache = "[routes.r]\ntargets = [\"fake/m\"]\ncache = { enabled = true }\n";
    for action in ["annotate", "block"] {
        let mut stand = stand(&format!("{}{cache}", word(action))).await;
        stand.upstream.set_plan(Plan { body: Some(body("fake", "a foobar", "{}")), ..Plan::default() });
        let told = format!("personal={action}");
        if action == "annotate" {
            for word in ["miss", "hit"] {
                let reply = stand.client().chat("r").await;
                assert_eq!(reply.header("x-tidegate-cache"), Some(word), "{}", reply.text());
                assert_eq!(reply.header("x-tidegate-guardrails"), Some(&*told), "{word}");
            }
        }
        let with_key = stand.client().header("idempotency-key", "one");
        for again in [None, Some("true")] {
            let reply = with_key.chat("fake/m").await;
            assert_eq!(reply.header("idempotent-replayed"), again, "{:?}", reply.headers);
            assert_eq!(reply.header("x-tidegate-guardrails"), Some(&*told), "{action} {again:?}");
        }
        // What was found was told where it was found.
        for line in records(&mut stand).await {
            let noted = line["guardrails"]["personal"].as_str().unwrap();
            assert!(noted.starts_with(&format!("response {action}")), "{line}");
        }
    }
}

#[tokio::test]
async fn a_hook_has_no_more_time_than_its_client() {
    let hangs = hook(&json!({"action": "pass"})).await;
    hangs.set_plan(Plan { fault: Some(Fault::Hang), ..Plan::default() });
    for stage in ["\"response\"", "\"request\""] {
        let rail = asks(&hangs, "timeout = \"600s\"").replace("[\"request\", \"response\"]", stage);
        let stand = stand(&rail).await;
        let client = stand.client().header("x-tidegate-timeout", "700ms");
        for stream in [false, true] {
            stand.upstream.set_plan(match stream {
                false => Plan { body: Some(body("fake", "hello", "{}")), ..Plan::default() },
                true => plan("fake", "chat", &["hello"], &[]),
            });
            let (path, ask) = ask("chat", "fake/m", stream);
            let reply = client.post(&path, ask).await;
            let status = if stream && stage.contains("response") { 200 } else { 504 };
            assert_eq!(reply.status, status, "{stage}: {}", reply.text());
            assert!(reply.text().contains("was not complete within 700ms"), "{}", reply.text());
        }
    }
}
