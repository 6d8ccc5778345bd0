//! Providers that keep responses themselves. The provider here is a second gateway, which does.

use serde_json::{Value, json};

use super::{
    PATH, assert_no_previous, assert_not_found, create, delete, get, go_on, heard, id, made, streamed,
};
use crate::client::Client;
use crate::stand::{Setup, Stand, offline_key};

/// The provider, and a gateway before it, which also has a provider that keeps nothing.
async fn pair() -> (Stand, Stand, Client) {
    let provider = Stand::start(Setup::default()).await;
    let stranger = offline_key();
    let environment = vec![
        ("PROVIDER_KEY".to_owned(), provider.key.clone()),
        ("STRANGER_KEY".to_owned(), stranger.clone()),
    ];
    let native = format!(
        "dialect = \"openai\"\nbase_url = \"http://{}/v1\"\ncredential = \"env:PROVIDER_KEY\"\nresponses = true\n",
        provider.address
    );
    let more = format!(
        "[providers.native]\n{native}\
         [environments.other]\nlayer = \"production\"\nworkspace = \"default\"\n\
         [environments.other.providers.native]\n{native}\
         [environments.other.keys.stranger]\nsecret = \"env:STRANGER_KEY\"\n"
    );
    let stand = Stand::start(Setup { more, environment, ..Setup::default() }).await;
    let stranger = stand.client().with_key(&stranger);
    (provider, stand, stranger)
}

const MODEL: &str = "native/fake/ok-t3";

#[tokio::test]
async fn the_provider_that_keeps_a_response_is_asked_for_it() {
    let (provider, mut stand, stranger) = pair().await;
    let client = stand.client();
    let first = made(&client, json!({ "model": MODEL, "input": "one", "metadata": { "odd": "1.0" } })).await;
    let own = provider.client();
    assert_eq!(get(&own, &first, "").await.json(), first, "the bytes passed, and the provider keeps it");
    let second = streamed(&client, go_on(MODEL, &first, json!("two"))).await;
    assert_eq!(heard(&provider).len(), 3, "the provider knows the conversation");
    assert_eq!(second["previous_response_id"], first["id"]);
    for response in [&first, &second] {
        assert_eq!(get(&client, response, "").await.json(), *response);
    }
    let items = get(&client, &second, "/input_items?order=asc&limit=1").await.json();
    assert_eq!((&items["data"][0]["content"][0]["text"], &items["has_more"]), (&json!("one"), &json!(true)));

    // Another provider does not have it, and the gateway neither.
    let elsewhere = create(&client, go_on("fake/ok", &second, json!("x"))).await;
    assert_eq!(
        (elsewhere.status, elsewhere.json()["error"]["param"].clone()),
        (400, json!("previous_response_id"))
    );
    assert!(elsewhere.text().contains("kept by provider `native`"), "{}", elsewhere.text());
    // Another environment shares the provider and its account, and still sees nothing.
    let path = format!("{PATH}/{}", id(&second));
    for (method, more) in [("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")] {
        let reply = stranger.send(method, &format!("{path}{more}"), "").await.unwrap();
        assert_not_found(&reply, &format!("{method} {more}"));
    }
    assert_no_previous(&create(&stranger, go_on(MODEL, &second, json!("x"))).await);

    // A conversation that the gateway keeps goes on at the provider too: with all of it, and kept here.
    let here = made(&client, json!({ "model": "fake/ok-t3", "input": "here" })).await;
    let on = made(&client, go_on(MODEL, &here, json!("there"))).await;
    assert_eq!(heard(&provider).len(), 3);
    assert_eq!(on["previous_response_id"], here["id"]);
    assert_eq!(get(&own, &on, "").await.status, 404, "the provider was not asked to keep it");
    assert_eq!(get(&client, &on, "").await.json(), on);
    made(&client, go_on("fake/ok-t3", &on, json!("and back"))).await;
    assert_eq!(heard(&stand).len(), 5);

    let count =
        client.post(&format!("{PATH}/input_tokens"), go_on(MODEL, &first, json!("x")).to_string()).await;
    assert_eq!(count.status, 200, "{}", count.text());
    let loose = made(&client, json!({ "model": MODEL, "input": "x", "store": false })).await;
    assert_not_found(&get(&client, &loose, "").await, "not kept");

    assert_eq!(delete(&client, &first).await.status, 200);
    assert_eq!(get(&own, &first, "").await.status, 404);
    assert_not_found(&get(&client, &first, "").await, "deleted");
    stand.kill();
    stand.run().await;
    assert_eq!(get(&stand.client(), &second, "").await.json(), second, "noted before the client had it");
}

#[tokio::test]
async fn a_response_in_the_providers_background_is_booked_when_it_is_done() {
    let (_provider, mut stand, _) = pair().await;
    let client = stand.client();
    let body = json!({ "model": "native/fake/ok-t5-d40", "input": "slow", "background": true });
    let queued = made(&client, body).await;
    assert_eq!(queued["status"], "queued");
    let last = std::sync::Mutex::new(Value::Null);
    stand
        .wait_until("it has ended", |stand| {
            let (client, queued, last) = (stand.client(), &queued, &last);
            async move {
                let now = get(&client, queued, "").await.json();
                let ended = now["status"] == "completed";
                *last.lock().unwrap() = now;
                ended
            }
        })
        .await;
    assert_eq!(last.lock().unwrap()["usage"]["output_tokens"], 5);
    stand
        .wait_until("it is booked", |stand| {
            let (code, out, _) = stand.command(&["logs", "--json", "--limit", "100"]);
            async move {
                let booked =
                    out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).any(|line| {
                        line["endpoint"] == "responses"
                            && line["output_tokens"] == 5
                            && line["estimated"] == false
                    });
                code == 0 && booked
            }
        })
        .await;
    let cancelled = client.post(&format!("{PATH}/{}/cancel", id(&queued)), "").await;
    assert_eq!((cancelled.status, cancelled.json()["status"].clone()), (200, json!("completed")));
}
