//! More than can be served: who waits, who is told so at once, and who does not notice.

mod load;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, Reply};
use crate::stand::{PATIENCE, Setup, Stand};

const DEPTH: &str = "tidegate_queue_depth{layer=\"development\"}";

/// A stand whose provider takes one call at once, with `overload` of the server.
async fn stand(overload: &str, more: &str) -> Stand {
    let server = format!("overload = {{ {overload} }}");
    let setup = Setup {
        server,
        provider: "max_concurrency = 1".to_owned(),
        more: more.to_owned(),
        ..Setup::default()
    };
    Stand::start(setup).await
}

/// A call that never ends by itself; dropping it is its client going away.
struct Hanging(tokio::task::JoinHandle<Reply>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn begin(client: &Client, model: &'static str) -> Hanging {
    let client = client.clone();
    Hanging(tokio::spawn(async move { client.chat(model).await }))
}

async fn wait_for_depth(stand: &mut Stand, depth: f64) {
    stand
        .wait_until("as many wait as should", |stand| {
            let client = stand.client();
            async move { client.metric(DEPTH).await.unwrap_or(0.0) == depth }
        })
        .await;
}

/// Begins a call that holds the only turn, and waits until it has it.
async fn occupy(stand: &mut Stand) -> Hanging {
    let (client, before) = (stand.client(), stand.upstream.journal().count());
    let call = begin(&client, "fake/ok-hang");
    stand
        .wait_until("the provider is asked", |stand| {
            let asked = stand.upstream.journal().count() > before;
            async move { asked }
        })
        .await;
    call
}

fn assert_shed(reply: &Reply, status: u16, words: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert!(reply.text().contains(words), "{}", reply.text());
    assert_eq!(reply.header("x-should-retry"), Some("true"));
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=90).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_call_waits_for_its_turn_and_leaves_with_its_client() {
    let mut stand = stand("queue = 1, queue_wait = \"10m\"", "").await;
    let client = stand.client();
    let first = occupy(&mut stand).await;
    let second = begin(&client, "fake/ok");
    wait_for_depth(&mut stand, 1.0).await;
    // There is no room for a third, in whatever dialect it asks.
    let full = client.chat("fake/ok").await;
    assert_shed(&full, 503, "provider `fake` has 1 calls under way, as many as it takes (`max_concurrency`)");
    assert_eq!(full.code(), "overloaded");
    let body = r#"{"model":"fake/ok","max_tokens":5,"messages":[{"role":"user","content":"x"}]}"#;
    let full = client.post("/v1/messages", body).await;
    assert_shed(&full, 529, "overloaded_error");
    // A client that goes away leaves the queue at once, and the turn goes to the next when the first goes.
    drop(second);
    wait_for_depth(&mut stand, 0.0).await;
    let next = begin(&client, "fake/ok");
    wait_for_depth(&mut stand, 1.0).await;
    let asked = stand.upstream.journal().count();
    drop(first);
    let mut next = next;
    let reply = tokio::time::timeout(PATIENCE, &mut next.0).await.unwrap().unwrap();
    assert_eq!((reply.status, stand.upstream.journal().count()), (200, asked + 1), "{}", reply.text());
    assert_eq!(client.chat("fake/ok").await.status, 200);
    let shed = "tidegate_shed_requests_total{layer=\"development\",reason=\"full\"}";
    assert_eq!(client.metric(shed).await, Some(2.0));
    stand.wait_drained().await;
    assert_eq!(client.metric("tidegate_queue_bytes").await, Some(0.0));
}

#[tokio::test]
async fn who_has_waited_for_long_enough_is_told() {
    let mut stand = stand("queue_wait = \"300ms\"", "").await;
    let client = stand.client();
    let _first = occupy(&mut stand).await;
    let late = client.chat("fake/ok").await;
    assert_shed(&late, 503, "the turn of this one did not come within 300ms (`queue_wait`)");
    // A client's own limit ends it as it ends everything.
    let hasty = client.header("x-tidegate-timeout", "50ms").chat("fake/ok").await;
    assert_eq!((hasty.status, hasty.code().as_str()), (504, "upstream_timeout"), "{}", hasty.text());
    assert_eq!(stand.upstream.journal().count(), 1);
}

#[tokio::test]
async fn what_waits_has_taken_nothing_of_a_budget() {
    // What one call could cost fits into the ceiling once.
    let more = "[models.\"fake/ok\"]\nprice = { per_request = \"0.60\" }\n\
                [[budgets]]\nname = \"all\"\nper = \"environment\"\namount = \"1.00\"\nwindow = \"total\"\nmodels = [\"fake/ok\", \"other/ok\"]\n\
                [models.\"other/ok\"]\nprice = { per_request = \"0.60\" }\n";
    let mut stand = Stand::prepare(Setup {
        server: "overload = { queue_wait = \"10m\" }".to_owned(),
        provider: "max_concurrency = 1".to_owned(),
        ..Setup::default()
    })
    .await;
    let base = stand.upstream.base_url().replace("127.0.0.1", "localhost");
    stand.write_settings(&format!("{more}[providers.other]\nbase_url = \"{base}\"\nmodels = [\"ok\"]\n"));
    stand.run().await;
    let client = stand.client();
    let _first = occupy(&mut stand).await;
    let _second = begin(&client, "fake/ok");
    wait_for_depth(&mut stand, 1.0).await;
    let reply = client.chat("other/ok").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn a_route_goes_where_there_is_room_before_anybody_waits() {
    let mut stand = Stand::prepare(Setup {
        server: "overload = { queue_wait = \"300ms\" }".to_owned(),
        provider: "max_concurrency = 1".to_owned(),
        ..Setup::default()
    })
    .await;
    // Another place of the same server: its name is another, so it counts for itself.
    let base = stand.upstream.base_url().replace("127.0.0.1", "localhost");
    stand.write_settings(&format!(
        "[providers.other]\nbase_url = \"{base}\"\nmax_concurrency = 1\n\
         [routes.r]\nstrategy = \"ordered\"\ntargets = [\"fake/ok\", \"other/ok\"]\n"
    ));
    stand.run().await;
    let client = stand.client();
    let reply = client.chat("r").await;
    assert_eq!(reply.header("x-tidegate-model"), Some("fake/ok"), "{}", reply.text());
    let _first = occupy(&mut stand).await;
    let reply = client.chat("r").await;
    assert_eq!((reply.status, reply.header("x-tidegate-model")), (200, Some("other/ok")), "{}", reply.text());
    assert_eq!(reply.header("x-tidegate-attempts"), Some("1"));
    let _second = begin(&client, "other/ok-hang");
    let asked = stand.upstream.journal().count();
    stand
        .wait_until("the other is asked", |stand| {
            let now = stand.upstream.journal().count();
            async move { now > asked }
        })
        .await;
    assert_shed(&client.chat("r").await, 503, "did not come within 300ms");
}

#[tokio::test]
async fn the_process_has_a_cap_of_its_own() {
    let server = "overload = { max_in_flight = 1, queue = 0 }".to_owned();
    let mut stand = Stand::start(Setup { server, ..Setup::default() }).await;
    let client = stand.client();
    let first = occupy(&mut stand).await;
    let full = client.chat("fake/ok").await;
    assert_shed(
        &full,
        503,
        "as many as it may (`server.overload.max_in_flight`), and there is no room to wait",
    );
    // What asks nobody needs no turn.
    assert_eq!(client.get("/v1/models").await.unwrap().status, 200);
    drop(first);
    stand.wait_drained().await;
    assert_eq!(client.chat("fake/ok").await.status, 200);
    let (_, stream) = (client.chat("fake/ok").await, client.stream("fake/ok-t3").await);
    assert!(stream.rest().await.unwrap().contains("[DONE]"));
    assert_eq!(client.chat("fake/ok").await.status, 200);
}

/// The status line of what is answered to a head and the beginning of a body that never goes on.
async fn answered(stand: &Stand, key: &str, more: &str) -> String {
    let mut socket = TcpStream::connect(stand.address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\n{more}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    match tokio::time::timeout(PATIENCE, socket.read(&mut answer)).await.unwrap() {
        Ok(length) => {
            String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
        }
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn nobody_waits_for_a_body_without_a_good_key() {
    let stand = Stand::start(Setup::default()).await;
    let unknown = crate::stand::offline_key();
    for more in ["content-length: 5000", "content-length: 5000000", "transfer-encoding: chunked"] {
        for key in [unknown.as_str(), "tg-nonsense"] {
            assert_eq!(answered(&stand, key, more).await, "HTTP/1.1 401 Unauthorized", "{more}");
        }
    }
    // With a good key the body is waited for, and its room is taken as soon as it is announced.
    let client = stand.client();
    let waiting = answered(&stand, &stand.key, "content-length: 5000");
    let held = async {
        while client.metric("tidegate_held_bytes").await != Some(10_000.0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        answer = waiting => panic!("{answer}"),
        () = held => {}
    }
}
