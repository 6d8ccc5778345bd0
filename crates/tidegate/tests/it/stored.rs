//! Stored responses: what the gateway keeps itself, what it leaves to a provider that keeps, and who may go on from it.

mod background;
mod native;

use fakes::postgres::Server;
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::stand::{Setup, Stand, offline_key};

const PATH: &str = "/v1/responses";

async fn create(client: &Client, body: Value) -> Reply {
    client.post(PATH, body.to_string()).await
}

/// The Response object of a call that is answered.
async fn made(client: &Client, body: Value) -> Value {
    let reply = create(client, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The same, streamed: the object of the last event.
async fn streamed(client: &Client, mut body: Value) -> Value {
    body["stream"] = json!(true);
    let reply = create(client, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["type"], "response.completed", "{text}");
    last["response"].clone()
}

fn id(response: &Value) -> String {
    response["id"].as_str().unwrap().to_owned()
}

fn ask(model: &str, input: &str) -> Value {
    json!({ "model": model, "input": input })
}

fn go_on(model: &str, previous: &Value, input: impl Into<Value>) -> Value {
    json!({ "model": model, "previous_response_id": previous["id"], "input": input.into() })
}

async fn get(client: &Client, response: &Value, more: &str) -> Reply {
    client.get(&format!("{PATH}/{}{more}", id(response))).await.unwrap()
}

async fn delete(client: &Client, response: &Value) -> Reply {
    client.send("DELETE", &format!("{PATH}/{}", id(response)), "").await.unwrap()
}

/// What the upstream was given last: role and text of each message.
fn heard(stand: &Stand) -> Vec<(String, String)> {
    let last = stand.upstream.journal().last().unwrap();
    let body: Value = serde_json::from_slice(&last.raw).unwrap();
    let text = |content: &Value| match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(|part| part["text"].as_str().unwrap_or_default()).collect(),
        _ => String::new(),
    };
    let messages = body["messages"].as_array().unwrap().iter();
    messages.map(|m| (m["role"].as_str().unwrap().to_owned(), text(&m["content"]))).collect()
}

fn assert_not_found(reply: &Reply, of: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (404, "response_not_found"), "{of}: {}", reply.text());
}

fn assert_no_previous(reply: &Reply) {
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (400, "previous_response_not_found"),
        "{}",
        reply.text()
    );
    assert_eq!(reply.json()["error"]["param"], "previous_response_id");
    assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn a_conversation_goes_on_from_a_stored_response_whose_provider_keeps_none() {
    let mut stand = Stand::start(Setup::default()).await;
    let client = stand.client();
    let first =
        made(&client, json!({ "model": "fake/ok-t3", "instructions": "Be brief.", "input": "one" })).await;
    assert_eq!((&first["store"], &first["previous_response_id"]), (&json!(true), &Value::Null));
    let second = streamed(&client, go_on("fake/ok-t3", &first, json!("two"))).await;
    assert_eq!(second["previous_response_id"], first["id"]);
    let said = |response: &Value| response["output"][0]["content"][0]["text"].as_str().unwrap().to_owned();
    let words = |role: &str, text: &str| (role.to_owned(), text.to_owned());
    // Instructions are of one request; the rest of the conversation is there.
    let expected = [words("user", "one"), words("assistant", &said(&first)), words("user", "two")];
    assert_eq!(heard(&stand), expected);
    let third =
        made(&client, go_on("fake/ok-t3", &second, json!([{ "role": "user", "content": "three" }]))).await;
    assert_eq!(heard(&stand).len(), 5);
    // Two go on from one.
    made(&client, go_on("fake/ok-t3", &first, json!("else"))).await;
    assert_eq!(heard(&stand).len(), 3);

    let kept = get(&client, &second, "").await;
    assert_eq!((kept.status, kept.json()), (200, second.clone()), "{}", kept.text());
    let items = get(&client, &third, "/input_items?order=asc&limit=3").await.json();
    let roles = |page: &Value| -> Vec<String> {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["role"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (roles(&items), &items["has_more"]),
        (vec!["user".into(), "assistant".into(), "user".into()], &json!(true))
    );
    let after = items["last_id"].as_str().unwrap();
    let rest = get(&client, &third, &format!("/input_items?order=asc&after={after}")).await.json();
    assert_eq!((roles(&rest), &rest["has_more"]), (vec!["assistant".into(), "user".into()], &json!(false)));
    assert_eq!(rest["data"][1]["content"][0]["text"], "three");
    let bad = get(&client, &third, "/input_items?after=msg_nowhere").await;
    assert_eq!((bad.status, bad.json()["error"]["param"].clone()), (400, json!("after")));
    let streamed_again = get(&client, &third, "?stream=true&starting_after=3").await;
    assert_eq!(
        (streamed_again.status, streamed_again.json()["error"]["param"].clone()),
        (400, json!("stream"))
    );

    assert_eq!(
        delete(&client, &first).await.json(),
        json!({ "id": first["id"], "object": "response", "deleted": true })
    );
    assert_not_found(&get(&client, &first, "").await, "deleted");
    assert_not_found(&delete(&client, &first).await, "deleted");
    assert_no_previous(&create(&client, go_on("fake/ok", &first, json!("x"))).await);
    // What went on from it is there, but its conversation is not whole any more.
    assert_eq!(get(&client, &second, "").await.status, 200);
    assert_no_previous(&create(&client, go_on("fake/ok", &second, json!("x"))).await);
    let cancelled = client.post(&format!("{PATH}/{}/cancel", id(&second)), "").await;
    assert_eq!(cancelled.status, 400, "it was not made in the background");
    stand.wait_drained().await;
    let log = stand.log();
    assert!(!log.contains("three") && !log.contains(&said(&first)), "contents are not logged");
}

#[tokio::test]
async fn what_shall_not_be_kept_is_not_and_what_cannot_be_is_refused() {
    let stand = Stand::start(Setup::default()).await;
    let client = stand.client();
    let loose = made(&client, json!({ "model": "fake/ok", "input": "x", "store": false })).await;
    assert_eq!(loose["store"], false);
    assert_not_found(&get(&client, &loose, "").await, "not kept");
    assert_no_previous(&create(&client, go_on("fake/ok", &loose, json!("x"))).await);
    for bad in ["resp_nobody", "", "../x", "a b", &"x".repeat(300)] {
        let body = json!({ "model": "fake/ok", "input": "x", "previous_response_id": bad });
        assert_no_previous(&create(&client, body).await);
    }
    for (body, param) in [
        (json!({ "model": "fake/ok", "input": "x", "conversation": "conv_1" }), "conversation"),
        (json!({ "model": "fake/ok", "input": "x", "background": true, "stream": true }), "stream"),
        (json!({ "model": "fake/ok", "input": "x", "background": true, "store": false }), "background"),
        (json!({ "model": "fake/ok", "input": "x", "store": "yes" }), "store"),
        (
            json!({ "model": "fake/ok", "input": "x", "conversation": "c", "previous_response_id": "r" }),
            "conversation",
        ),
    ] {
        let reply = create(&client, body.clone()).await;
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{body}");
    }
    assert_eq!(stand.upstream.journal().count(), 1, "what is refused is not asked");
    // Counting takes the conversation into account; compacting is of providers that can.
    let long = made(&client, json!({ "model": "fake/ok-t3", "input": "word ".repeat(400) })).await;
    let count = |body: Value| {
        let client = client.clone();
        async move { client.post(&format!("{PATH}/input_tokens"), body.to_string()).await }
    };
    let alone = count(ask("fake/ok", "x")).await;
    assert_eq!(
        (alone.status, alone.json()["object"].clone()),
        (200, json!("response.input_tokens")),
        "{}",
        alone.text()
    );
    assert_eq!(alone.header("x-tidegate-estimated"), Some("true"));
    let with = count(go_on("fake/ok", &long, json!("x"))).await.json()["input_tokens"].as_u64().unwrap();
    assert!(with > alone.json()["input_tokens"].as_u64().unwrap() + 300, "{with}");
    let compacted = client.post(&format!("/openai{PATH}/compact"), ask("fake/ok", "x").to_string()).await;
    assert_eq!((compacted.status, compacted.json()["error"]["param"].clone()), (400, json!("model")));
}

#[tokio::test]
async fn a_client_that_has_its_answer_goes_on_from_it_after_a_crash() {
    let mut stand = Stand::start(Setup::default()).await;
    let mut before = Vec::new();
    for _ in 0..3 {
        let client = stand.client();
        let whole = made(&client, ask("fake/ok-t3", "whole")).await;
        let streamed = streamed(&client, ask("fake/ok-t3", "streamed")).await;
        // Nothing in between: what the client has is kept.
        stand.kill();
        stand.run().await;
        before.extend([whole, streamed]);
    }
    for response in &before {
        assert_eq!(get(&stand.client(), response, "").await.json(), *response);
        made(&stand.client(), go_on("fake/ok-t3", response, json!("and now?"))).await;
        assert_eq!(heard(&stand).len(), 3);
    }
}

#[tokio::test]
async fn no_key_of_another_environment_sees_a_response() {
    let mine = offline_key();
    let more = "[keys.mate]\nsecret = \"env:MATE_KEY\"\n\
                [environments.other]\nlayer = \"production\"\nworkspace = \"default\"\n\
                [environments.other.providers.fake]\ndialect = \"openai\"\nbase_url = \"BASE\"\n\
                [environments.other.keys.stranger]\nsecret = \"env:STRANGER_KEY\"\n";
    let stranger = offline_key();
    let environment =
        vec![("MATE_KEY".to_owned(), mine.clone()), ("STRANGER_KEY".to_owned(), stranger.clone())];
    let mut stand = Stand::prepare(Setup { environment, ..Setup::default() }).await;
    let base = stand.upstream.base_url();
    stand.write_settings(&more.replace("BASE", &base));
    stand.run().await;
    let (owner, mate, stranger) =
        (stand.client(), stand.client().with_key(&mine), stand.client().with_key(&stranger));
    let kept = made(&owner, ask("fake/ok-t3", "secret")).await;
    let background =
        made(&owner, json!({ "model": "fake/ok-t3-f200", "input": "secret", "background": true })).await;
    for response in [&kept, &background] {
        let path = format!("{PATH}/{}", id(response));
        for (method, more) in [("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")] {
            let reply = stranger.send(method, &format!("{path}{more}"), "").await.unwrap();
            assert_not_found(&reply, &format!("{method} {more}"));
        }
        assert_no_previous(&create(&stranger, go_on("fake/ok", response, json!("x"))).await);
        let counted = stranger
            .post(&format!("{PATH}/input_tokens"), go_on("fake/ok", response, json!("x")).to_string())
            .await;
        assert_no_previous(&counted);
        assert_eq!(owner.with_key("").get(&path).await.unwrap().status, 401);
    }
    // It is all there still, for every key of the environment.
    assert_eq!(get(&mate, &kept, "").await.json(), kept);
    made(&mate, go_on("fake/ok", &kept, json!("x"))).await;
    assert_eq!(get(&owner, &background, "").await.status, 200);
    assert_eq!(delete(&mate, &kept).await.status, 200);
    assert_not_found(&get(&owner, &kept, "").await, "deleted by its mate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn without_its_database_only_what_needs_it_fails() {
    let server = tokio::task::block_in_place(Server::start).unwrap();
    let store = format!("url = \"{}\"", server.url());
    let master = "5f0c1d2e3a4b59687786a5b4c3d2e1f00918273645546372810f1e2d3c4b5a69";
    let setup = |key: Option<String>| {
        let mut environment = vec![("MASTER".to_owned(), master.to_owned())];
        environment.extend(key.map(|key| ("STAND_KEY".to_owned(), key)));
        Setup {
            store: store.clone(),
            server: "master_key = \"env:MASTER\"\n".into(),
            environment,
            ..Setup::default()
        }
    };
    let mut stand = Stand::start(setup(None)).await;
    wait_current(&mut stand).await;
    let client = stand.client();
    let kept = made(&client, ask("fake/ok-t3", "kept")).await;

    // Another node on the same database goes on at once.
    let mut other = Stand::start(setup(Some(stand.key.clone()))).await;
    wait_current(&mut other).await;
    let neighbour = other.client().with_key(&stand.key);
    let reply = neighbour.get(&format!("{PATH}/{}", id(&kept))).await.unwrap();
    assert_eq!(reply.json(), kept, "{}", reply.text());
    made(&neighbour, go_on("fake/ok-t3", &kept, json!("x"))).await;
    assert_eq!(heard(&other).len(), 3);
    drop(other);

    tokio::task::block_in_place(|| server.stop_hard()).unwrap();
    for stream in [false, true] {
        let body = json!({ "model": "fake/ok-t3", "input": "x", "stream": stream });
        let reply = create(&client, body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        if !stream {
            assert_eq!(reply.header("x-tidegate-dropped"), Some("store"));
        }
    }
    assert!(stand.log().contains("a streamed response was not kept"), "{}", stand.log());
    let loose = create(&client, json!({ "model": "fake/ok-t3", "input": "x", "store": false })).await;
    assert_eq!((loose.status, loose.header("x-tidegate-dropped")), (200, None));
    for reply in [
        get(&client, &kept, "").await,
        delete(&client, &kept).await,
        create(&client, go_on("fake/ok", &kept, json!("x"))).await,
        create(&client, json!({ "model": "fake/ok", "input": "x", "background": true })).await,
    ] {
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (503, "response_store_unavailable"),
            "{}",
            reply.text()
        );
    }
    assert_eq!(client.chat("fake/ok").await.status, 200);
    tokio::task::block_in_place(|| server.start_again()).unwrap();
    stand
        .wait_until("the database is back", |stand| {
            let (client, kept) = (stand.client(), kept.clone());
            async move { get(&client, &kept, "").await.status == 200 }
        })
        .await;
    let again = create(&client, go_on("fake/ok-t3", &kept, json!("x"))).await;
    assert_eq!((again.status, again.header("x-tidegate-dropped")), (200, None), "{}", again.text());
    assert_eq!(stand.stop().await, Some(0), "{}", stand.log());
}

async fn wait_current(stand: &mut Stand) {
    stand
        .wait_until("the database is there", |stand| {
            let client = stand.client();
            async move { client.metric("tidegate_keys_current").await.is_some_and(|current| current > 0.5) }
        })
        .await;
}
