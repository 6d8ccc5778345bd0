//! Responses that are made without their client.

use serde_json::{Value, json};

use super::{PATH, assert_no_previous, create, delete, get, go_on, heard, id, made};
use crate::books;
use crate::client::Client;
use crate::stand::{PATIENCE, Setup, Stand};

fn in_background(model: &str) -> Value {
    json!({ "model": model, "input": "take your time", "background": true })
}

/// Asks until it has ended, as a client does.
async fn ended(stand: &mut Stand, response: &Value) -> Value {
    let told = std::sync::Mutex::new(Value::Null);
    stand
        .wait_until("the response has ended", |stand| {
            let client = stand.client();
            let told = &told;
            async move {
                let reply = get(&client, response, "").await;
                assert_eq!(reply.status, 200, "{}", reply.text());
                let now = reply.json();
                let ended = !["queued", "in_progress"].contains(&now["status"].as_str().unwrap());
                *told.lock().unwrap() = now;
                ended
            }
        })
        .await;
    told.into_inner().unwrap()
}

async fn cancel(client: &Client, response: &Value) -> Value {
    let reply = client.post(&format!("{PATH}/{}/cancel", id(response)), "").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn logged(stand: &mut Stand) -> Vec<Value> {
    stand.wait_drained().await;
    let (code, out, err) = stand.command(&["logs", "--json", "--limit", "100"]);
    assert_eq!(code, 0, "{err}");
    let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["endpoint"] == "responses").collect()
}

#[tokio::test]
async fn a_response_is_made_without_its_client_and_counts_like_any_call() {
    // One place: whoever polls must not be locked out by what it polls for.
    let key = format!("limits = {{ concurrency = 1 }}\n{}", books::budget("5.00"));
    let more = books::priced(&["ok-t3-f50", "ok-s503", "ok-t3"]);
    let mut stand = Stand::start(Setup { key, more, ..Setup::default() }).await;
    let client = stand.client();
    let queued = made(&client, in_background("fake/ok-t3-f50")).await;
    assert_eq!(
        (&queued["status"], &queued["background"], &queued["output"]),
        (&json!("queued"), &json!(true), &json!([]))
    );
    let done = ended(&mut stand, &queued).await;
    assert_eq!((&done["id"], &done["status"]), (&queued["id"], &json!("completed")), "{done}");
    assert_eq!(done["background"], true);
    assert_eq!(done["usage"]["output_tokens"], 3);
    assert_eq!(cancel(&client, &queued).await, done, "what has ended stays as it ended");
    let next = made(&client, go_on("fake/ok-t3", &done, json!("and?"))).await;
    assert_eq!((heard(&stand).len(), &next["previous_response_id"]), (3, &done["id"]));

    let failing = made(&client, in_background("fake/ok-s503")).await;
    let failed = ended(&mut stand, &failing).await;
    assert_eq!(failed["status"], "failed");
    assert!(failed["error"]["code"].is_string() && failed["error"]["message"].is_string(), "{failed}");
    let refused = create(&client, json!({ "model": "fake/ok-t3", "input": 7, "background": true })).await;
    assert_eq!((refused.status, refused.json()["error"]["param"].clone()), (400, json!("input")));

    let lines = logged(&mut stand).await;
    let of = |model: &str| lines.iter().find(|line| line["model"] == model).cloned().unwrap_or_default();
    assert_eq!(
        (&of("fake/ok-t3-f50")["status"], &of("fake/ok-t3-f50")["output_tokens"]),
        (&json!(200), &json!(3))
    );
    assert_eq!(of("fake/ok-s503")["status"], 503);
}

#[tokio::test]
async fn a_cancelled_or_deleted_response_is_given_up_at_the_provider_too() {
    let mut stand = Stand::start(Setup::default()).await;
    let client = stand.client();
    for deletes in [false, true] {
        let queued = made(&client, in_background("fake/ok-hang")).await;
        let asked =
            stand.upstream.journal().wait(PATIENCE, |all| all.iter().any(|one| one.end.is_none())).await;
        assert!(asked.is_some(), "the provider is asked");
        assert_no_previous_yet(&client, &queued).await;
        if deletes {
            assert_eq!(delete(&client, &queued).await.status, 200);
            assert_eq!(get(&client, &queued, "").await.status, 404);
            assert_no_previous(&create(&client, go_on("fake/ok", &queued, json!("x"))).await);
        } else {
            let cancelled = cancel(&client, &queued).await;
            assert_eq!(cancelled["status"], "cancelled");
            assert_eq!(get(&client, &queued, "").await.json(), cancelled);
            assert_eq!(cancel(&client, &queued).await, cancelled, "twice is once");
        }
        let all = stand.upstream.journal().quiet(PATIENCE).await.unwrap();
        assert!(
            all.last().unwrap().end.as_ref().unwrap().aborted.is_some(),
            "the provider's call is cancelled"
        );
    }
    let lines = logged(&mut stand).await;
    let gone: Vec<_> = lines.iter().filter(|line| line["status"] == 499).collect();
    assert_eq!(gone.len(), 2, "booked by the rules of an abort: {lines:?}");
    assert!(gone.iter().all(|line| line["estimated"] == true), "{gone:?}");
}

async fn assert_no_previous_yet(client: &Client, queued: &Value) {
    let early = create(client, go_on("fake/ok", queued, json!("x"))).await;
    assert_eq!((early.status, early.json()["error"]["param"].clone()), (400, json!("previous_response_id")));
    assert!(early.text().contains("still being made"), "{}", early.text());
}

#[tokio::test]
async fn a_stop_cuts_what_is_made_in_the_background_and_says_so() {
    let server = "drain = { accept = \"0s\", deadline = \"100ms\" }\n".to_owned();
    let mut stand = Stand::start(Setup { server, ..Setup::default() }).await;
    let queued = made(&stand.client(), in_background("fake/ok-hang")).await;
    let asked = stand.upstream.journal().wait(PATIENCE, |all| !all.is_empty()).await;
    assert!(asked.is_some());
    assert_eq!(stand.stop().await, Some(0), "{}", stand.log());
    assert!(!stand.log().contains("did not end in time"), "{}", stand.log());
    stand.run().await;
    let failed = get(&stand.client(), &queued, "").await.json();
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("shutting_down")),
        "{failed}"
    );
}
