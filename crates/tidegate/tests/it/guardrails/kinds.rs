//! Guardrails that look at an answer as a whole, and those of somebody else.

use fakes::plan::{Fault, Plan};
use fakes::upstream::{Script, Upstream};
use serde_json::{Value, json};

use super::answers::chat_events;
use super::*;

async fn start(rails: &str) -> Stand {
    Stand::start(Setup { more: rails.to_owned(), ..Setup::default() }).await
}

fn whole(text: &str) -> Plan {
    let answer = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}});
    Plan { body: Some(answer.to_string()), ..Plan::default() }
}

fn streamed(said: &[&str]) -> Plan {
    Plan { events: Some(chat_events(said, &[])), ..Plan::default() }
}

async fn stream(stand: &Stand, said: &[&str]) -> String {
    stand.upstream.set_plan(streamed(said));
    stand.client().post("/v1/chat/completions", chat("fake/m", r#","stream":true"#)).await.text()
}

#[tokio::test]
async fn an_answer_keeps_to_its_schema_or_is_refused() {
    let rail = "[guardrails.form]\nkind = \"json_schema\"\neverywhere = true\n\
                [guardrails.form.schema]\ntype = \"object\"\nrequired = [\"n\"]\nproperties = { n = { type = \"integer\" } }\n";
    let stand = start(rail).await;
    for (said, good) in [(r#"{"n": 3}"#, true), (r#"{"n": "3"}"#, false), ("three", false)] {
        stand.upstream.set_plan(whole(said));
        let reply = stand.client().chat("fake/m").await;
        assert_eq!(reply.status, if good { 200 } else { 400 }, "{}", reply.text());
        assert!(good || reply.code() == "guardrail_blocked", "{}", reply.text());
        let half = said.len() / 2;
        let text = stream(&stand, &[&said[..half], &said[half..]]).await;
        assert_eq!(text.contains("[DONE]"), good, "{text}");
        assert_eq!(text.contains("guardrail `form` refuses the answer"), !good, "{text}");
    }
    // A call of a tool says nothing.
    stand.upstream.set_plan(Plan { tools: 1, ..Plan::default() });
    assert_eq!(stand.client().chat("fake/m").await.status, 200);
}

#[tokio::test]
async fn languages_and_lengths_of_answers() {
    let rail = "[guardrails.tongue]\nkind = \"language\"\nlanguages = [\"en\"]\nstage = [\"request\", \"response\"]\neverywhere = true\n\
                [guardrails.short]\nkind = \"max_length\"\nmax = 400\nstage = \"response\"\neverywhere = true\n";
    let stand = start(rail).await;
    let german = "Die Lieferung wurde gestern von unserem Lager in Hamburg verschickt und sollte morgen bei Ihnen ankommen.";
    let english =
        "The delivery left our warehouse yesterday and should arrive at your place tomorrow before noon.";
    for (said, guard) in [(german, Some("tongue")), (english, None), (&*english.repeat(5), Some("short"))] {
        stand.upstream.set_plan(whole(said));
        let reply = stand.client().chat("fake/m").await;
        let told = guard.map(|guard| format!("{guard}=block"));
        assert_eq!(reply.header("x-tidegate-guardrails"), told.as_deref(), "{}", reply.text());
        let pieces: Vec<&str> = said.split_inclusive(' ').collect();
        let text = stream(&stand, &pieces).await;
        let refused = guard.map(|guard| format!("guardrail `{guard}` refuses the answer"));
        assert_eq!(text.contains("[DONE]"), guard.is_none(), "{text}");
        assert!(refused.is_none_or(|refused| text.contains(&refused)), "{text}");
    }
    let asked = chat("fake/m", "").replace("hello there", german);
    let reply = stand.client().post("/v1/chat/completions", asked).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "guardrail_blocked"), "{}", reply.text());
}

/// Somebody else, who answers with these words.
pub(super) async fn hook(answer: &Value) -> Upstream {
    let plan = Plan { body: Some(answer.to_string()), ..Plan::default() };
    Upstream::start(Script { plan, ..Script::default() }).await.unwrap()
}

pub(super) fn asks(hook: &Upstream, more: &str) -> String {
    format!(
        "[guardrails.ours]\nkind = \"hook\"\nurl = \"http://{}/v1/moderations\"\nstage = [\"request\", \"response\"]\neverywhere = true\n{more}\n",
        hook.addr()
    )
}

#[tokio::test]
async fn a_hook_is_asked_before_and_after() {
    let hook = hook(&json!({"action": "pass"})).await;
    let mut stand = Stand::prepare(Setup {
        more: asks(&hook, "credential = \"env:GUARD\""),
        environment: vec![("GUARD".to_owned(), "s3cret-of-the-hook".to_owned())],
        ..Setup::default()
    })
    .await;
    stand.run().await;
    stand.upstream.set_plan(whole("said by the model"));
    let reply = stand.client().chat("fake/m").await;
    assert_eq!((reply.status, reply.header("x-tidegate-guardrails")), (200, None), "{}", reply.text());
    let seen = hook.journal().all();
    assert_eq!(seen.len(), 2);
    let asked: Vec<Value> =
        seen.iter().map(|seen| serde_json::from_str(seen.body.as_deref().unwrap()).unwrap()).collect();
    assert_eq!((&asked[0]["stage"], &asked[1]["stage"]), (&json!("request"), &json!("response")));
    assert_eq!(asked[0]["texts"], json!(["hello there"]));
    assert_eq!(asked[1]["texts"], json!(["said by the model"]));
    assert_eq!(asked[0]["endpoint"], "chat");
    assert_eq!(seen[0].header("authorization"), Some("Bearer s3cret-of-the-hook"));
    // It masks, each text by its place.
    hook.set_plan(Plan {
        body: Some(json!({"action": "mask", "texts": ["[GONE]"]}).to_string()),
        ..Plan::default()
    });
    let reply = stand.client().chat("fake/m").await;
    assert!(reply.text().contains(r#""content":"[GONE]""#), "{}", reply.text());
    assert_eq!(reply.header("x-tidegate-guardrails"), Some("ours=mask"));
    assert!(stand.upstream.journal().last().unwrap().body.unwrap().contains(r#""content":"[GONE]""#));
    hook.set_plan(Plan { body: Some(json!({"action": "block"}).to_string()), ..Plan::default() });
    let reply = stand.client().chat("fake/m").await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "guardrail_blocked"), "{}", reply.text());
    assert!(!stand.log().contains("s3cret-of-the-hook"));
}

#[tokio::test]
async fn a_hook_looks_at_a_stream_when_it_is_complete() {
    let hook = hook(&json!({"action": "pass"})).await;
    let stand = start(&asks(&hook, "").replace("[\"request\", \"response\"]", "\"response\"")).await;
    let text = stream(&stand, &["said ", "in ", "pieces"]).await;
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let asked: Value = serde_json::from_str(hook.journal().last().unwrap().body.as_deref().unwrap()).unwrap();
    assert_eq!((&asked["texts"], &asked["streamed"]), (&json!(["said in pieces"]), &json!(true)));
    for (answer, says) in [("block", "guardrail `ours` refuses the answer"), ("mask", "cannot")] {
        let body = json!({"action": answer, "texts": ["x"]}).to_string();
        hook.set_plan(Plan { body: Some(body), ..Plan::default() });
        let text = stream(&stand, &["said ", "in ", "pieces"]).await;
        assert!(!text.contains("[DONE]") && text.contains(says), "{answer}: {text}");
    }
}

#[tokio::test]
async fn a_hook_that_cannot_answer_follows_what_was_declared() {
    for (declared, status) in [("closed", 400), ("open", 200)] {
        let hook = hook(&json!({"action": "pass"})).await;
        let rail = asks(&hook, &format!("on_failure = \"{declared}\"\ntimeout = \"400ms\""));
        let stand = start(&rail.replace("[\"request\", \"response\"]", "\"request\"")).await;
        let hung = Plan { fault: Some(Fault::Hang), ..Plan::default() };
        let odd = Plan { body: Some("yes".to_owned()), ..Plan::default() };
        let broken = Plan { status: 500, ..Plan::default() };
        for plan in [hung, odd, broken] {
            hook.set_plan(plan);
            let reply = stand.client().chat("fake/m").await;
            assert_eq!(reply.status, status, "{}", reply.text());
            assert_eq!(reply.header("x-tidegate-guardrails"), Some(&*format!("ours=failed_{declared}")));
            assert!(declared == "open" || reply.code() == "guardrail_failed", "{}", reply.text());
        }
        assert!(stand.log().contains("cannot look"));
    }
}

#[tokio::test]
async fn a_hook_that_only_watches_changes_nothing() {
    let hook = hook(&json!({"action": "block"})).await;
    let mut stand = start(&asks(&hook, "action = \"observe\"")).await;
    let reply = stand.client().chat("fake/m").await;
    assert_eq!((reply.status, reply.header("x-tidegate-guardrails")), (200, None), "{}", reply.text());
    stand.wait_drained().await;
    let (_, out, _) = stand.command(&["logs", "--json"]);
    assert!(out.contains("request observe hook=1; response observe hook=1"), "{out}");
}
