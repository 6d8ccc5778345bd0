//! Several gateways and a Redis of their own: limits that are counted together, answers that are shared, and a Redis that is killed,
//! frozen, emptied, or comes back with what it knew long ago.

use std::time::{Duration, Instant};

use fakes::plan::Plan;
use fakes::redis::Server;
use fakes::upstream::Upstream;

use crate::books;
use crate::client::{Client, chat};
use crate::stand::{PATIENCE, Setup, Stand};

const NODES: u64 = 3;
const LIMIT: u64 = 30;

/// Generous, so that a slow machine is not a lost Redis.
fn together(server: &Server, more: &str) -> String {
    format!("[cluster]\nredis = \"{}\"\ndeadline = \"1s\"\nnodes = {NODES}\n{more}\n", server.url())
}

/// So many a day for each end user, and a limit that everybody meets and nobody fills.
fn limited() -> String {
    format!(
        "[[limits]]\nname = \"wide\"\nper = \"key\"\nrequests_per_minute = 1_000_000\n\
         [[limits]]\nname = \"users\"\nper = \"end_user\"\nrequests_per_day = {LIMIT}\n"
    )
}

const USER: (&str, &str) = ("x-tidegate-user", "u");

struct Nodes {
    stands: Vec<Stand>,
    server: Server,
}

impl Nodes {
    async fn start(more: impl Fn(&Server) -> String) -> Self {
        let server = tokio::task::block_in_place(|| Server::start(&[])).unwrap();
        let mut stands = Vec::new();
        for _ in 0..NODES {
            stands.push(Stand::start(Setup { more: more(&server), ..Setup::default() }).await);
        }
        let mut nodes = Self { stands, server };
        nodes.wait_for("tidegate_cluster_well", 1.0).await;
        nodes
    }

    fn clients(&self) -> Vec<Client> {
        self.stands.iter().map(Stand::client).collect()
    }

    /// Every node's metric has this value.
    async fn wait_for(&mut self, name: &'static str, value: f64) {
        for stand in &mut self.stands {
            stand
                .wait_until(name, |stand| {
                    let client = stand.client();
                    async move { client.metric(name).await == Some(value) }
                })
                .await;
        }
    }

    /// So many requests to each node at once; how many were admitted. None fails otherwise than by the limit.
    async fn ask(&self, each: u64) -> u64 {
        let asking = self.clients().into_iter().map(|client| {
            tokio::spawn(async move {
                let (mut admitted, client) = (0, client.header(USER.0, USER.1));
                for _ in 0..each {
                    let reply = client.chat("fake/ok").await;
                    assert!(matches!(reply.status, 200 | 429), "{}: {}", reply.status, reply.text());
                    admitted += u64::from(reply.status == 200);
                }
                admitted
            })
        });
        let mut all = 0;
        for one in asking.collect::<Vec<_>>() {
            all += one.await.unwrap();
        }
        all
    }

    /// How often a word stands in the logs of each node.
    fn told(&self, word: &str) -> Vec<usize> {
        self.stands.iter().map(|stand| stand.log().matches(word).count()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_admit_a_limit_once() {
    let nodes = Nodes::start(|server| together(server, &limited())).await;
    let admitted = nodes.ask(LIMIT).await;
    let alone = nodes.clients()[0].metric("tidegate_cluster_alone").await;
    eprintln!("three gateways, {} requests against {LIMIT} a day: {admitted} admitted", NODES * LIMIT);
    assert_eq!(admitted, LIMIT, "alone: {alone:?}");
    let refused = nodes.clients()[1].header(USER.0, USER.1).chat("fake/ok").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("x-ratelimit-limit-requests"), Some(LIMIT.to_string().as_str()));
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
    assert!(
        refused.text().contains("limit `users`: end user `u` may make 30 requests a day"),
        "{}",
        refused.text()
    );
    let (code, out, err) = nodes.stands[0].command(&["doctor"]);
    assert!(out.contains("redis: it answers, version"), "{code} {out} {err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leased_needs_no_call_and_keeps_its_error() {
    let nodes = Nodes::start(|server| together(server, &format!("limits = \"leased\"\n{}", limited()))).await;
    let admitted = nodes.ask(LIMIT).await;
    let error = LIMIT / 10;
    eprintln!(
        "leased, {} requests against {LIMIT} a day: {admitted} admitted, error at most {error}",
        NODES * LIMIT
    );
    assert!((LIMIT - error..=LIMIT + error).contains(&admitted), "{admitted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_places_are_put_right_for_all() {
    let limits =
        "[[limits]]\nname = \"one\"\nper = \"environment\"\nconcurrency = 1\ntokens_per_day = 5000\n";
    let nodes = Nodes::start(|server| together(server, limits)).await;
    let clients = nodes.clients();
    let slow = Plan { first: 60_000, ..Plan::default() };
    let body = chat("fake/ok", &format!(r#","fake":{}"#, serde_json::to_string(&slow).unwrap()));
    let one = clients[0].clone();
    let held = tokio::spawn(async move { one.open("POST", "/v1/chat/completions", body).await });
    let deadline = Instant::now() + PATIENCE;
    while nodes.stands[0].upstream.journal().count() == 0 {
        assert!(Instant::now() < deadline, "the place was never taken");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = clients[1].chat("fake/ok").await;
    assert_eq!(refused.code(), "concurrency_limit_exceeded", "{}", refused.text());
    held.abort();
    // Each expects thousands of tokens and uses few: had they not been put right, the second would be refused.
    for client in clients.iter().cycle().take(12) {
        let deadline = Instant::now() + PATIENCE;
        while client.chat("fake/ok").await.status != 200 {
            assert!(Instant::now() < deadline, "the place or the tokens never came back");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The longest but for one in a hundred.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Requests that meet only the wide limit: none fails. How long each took.
async fn timed(nodes: &Nodes) -> Vec<Duration> {
    let mut times = Vec::new();
    for client in nodes.clients() {
        for _ in 0..10 {
            let began = Instant::now();
            let reply = client.chat("fake/ok").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            times.push(began.elapsed());
        }
    }
    times
}

/// No request fails, one line tells each change, and nobody admits the whole.
async fn lost(name: &str, lose: impl Fn(&mut Server), find: impl Fn(&mut Server)) {
    let length = Duration::from_secs(books::length("TIDEGATE_SOAK_REDIS_SECONDS", 3, 60));
    let mut nodes = Nodes::start(|server| together(server, &limited()).replace("\"1s\"", "\"200ms\"")).await;
    let usual = p99(timed(&nodes).await);
    nodes.wait_for("tidegate_cluster_well", 1.0).await;
    let (lost_before, found_before) = (nodes.told(LOST), nodes.told(FOUND));
    tokio::task::block_in_place(|| lose(&mut nodes.server));
    let since = Instant::now();
    let (mut during, mut admitted) = (Vec::new(), 0);
    while since.elapsed() < length {
        admitted += nodes.ask(4).await;
        during.extend(timed(&nodes).await);
    }
    nodes.wait_for("tidegate_cluster_well", 0.0).await;
    admitted += nodes.ask(LIMIT).await;
    let lines: Vec<_> = nodes.told(LOST).iter().zip(&lost_before).map(|(now, before)| now - before).collect();
    tokio::task::block_in_place(|| find(&mut nodes.server));
    nodes.wait_for("tidegate_cluster_well", 1.0).await;
    let (count, worst) = (during.len(), p99(during));
    eprintln!(
        "{name} for {:?}: {count} requests, 0 failed; {admitted} of {LIMIT} a day admitted by shares; p99 {usual:?} before, {worst:?} \
         during; lines of each log {lines:?}",
        since.elapsed(),
    );
    assert!((NODES..=LIMIT).contains(&admitted), "{admitted}: the shares of all nodes are one limit");
    assert_eq!(lines, [1; NODES as usize], "one line for a change");
    assert!(nodes.told(FOUND).iter().zip(&found_before).all(|(now, before)| now > before));
    timed(&nodes).await;
}

const LOST: &str = "Redis is lost";
const FOUND: &str = "limits are counted for all nodes together";

/// Fault test 12.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_fails_no_request() {
    lost("Redis killed", |server| server.kill().unwrap(), |server| server.start_again().unwrap()).await;
}

/// Fault test 13.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_frozen_fails_no_request() {
    lost("Redis frozen", |server| server.freeze().unwrap(), |server| server.thaw().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_one_node_is_given_again_by_another_and_is_sealed() {
    let server = tokio::task::block_in_place(|| Server::start(&[])).unwrap();
    let upstream = Upstream::start(fakes::upstream::Script::default()).await.unwrap();
    let more = format!(
        "{}[providers.common]\ndialect = \"openai\"\nbase_url = \"{}\"\nmodels = [\"m\"]\n\
         [routes.r]\ntargets = [\"common/m\"]\ncache = {{ enabled = true, ttl = \"1h\" }}\n",
        together(&server, ""),
        upstream.base_url(),
    );
    let master = "0123456789abcdef".repeat(4);
    let setup = Setup {
        more,
        server: "master_key = \"env:STAND_MASTER\"".to_owned(),
        environment: vec![("STAND_MASTER".to_owned(), master)],
        ..Setup::default()
    };
    let mut server = server;
    let (mut one, mut two) = (Stand::start(setup.clone()).await, Stand::start(setup).await);
    for stand in [&mut one, &mut two] {
        stand
            .wait_until("Redis", |stand| {
                let client = stand.client();
                async move { client.metric("tidegate_cluster_well").await == Some(1.0) }
            })
            .await;
    }
    let path = "/v1/chat/completions";
    let (mut hits, mut said) = (0, String::new());
    for seed in 0..5 {
        let body = chat("r", &format!(r#","seed":{seed}"#));
        let known: u64 = server.say(&["DBSIZE"]).unwrap().parse().unwrap();
        let first = one.client().post(path, body.clone()).await;
        assert_eq!((first.status, first.header("x-tidegate-cache")), (200, Some("miss")), "{}", first.text());
        said = first.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        let deadline = Instant::now() + PATIENCE;
        while server.say(&["DBSIZE"]).unwrap().parse::<u64>().unwrap() <= known {
            assert!(Instant::now() < deadline, "it was never kept");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // A look takes 50 ms at most, which a slow machine may need for itself.
        let again = two.client().post(path, body).await;
        assert_eq!(again.status, 200, "{}", again.text());
        hits += u64::from(again.header("x-tidegate-cache") == Some("hit"));
    }
    eprintln!("5 answers of one node: {hits} were given again by another");
    assert!(hits > 0);
    assert_eq!(upstream.journal().count(), 10 - hits);
    // Nothing of what was said can be read in it.
    server.say(&["SAVE"]).unwrap();
    let dump = server.dump().unwrap();
    assert!(said.len() > 8, "{said}");
    assert!(!dump.windows(8).any(|piece| piece == &said.as_bytes()[..8]));
    // Without Redis it is as with an empty one: each has its own, and nothing fails.
    tokio::task::block_in_place(|| server.kill()).unwrap();
    for stand in [&one, &two] {
        let hit = stand.client().post(path, chat("r", r#","seed":4"#)).await;
        assert_eq!((hit.status, hit.header("x-tidegate-cache")), (200, Some("hit")));
        let body = chat("r", r#","seed":7"#);
        let miss = stand.client().post(path, body).await;
        assert_eq!((miss.status, miss.header("x-tidegate-cache")), (200, Some("miss")), "{}", miss.text());
    }
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_told_and_nothing_waits_for_it() {
    let nowhere = fakes::ports::free().unwrap();
    let more = format!("[cluster]\nredis = \"redis://{nowhere}\"\nnodes = 2\n{}", limited());
    let stand = Stand::start(Setup { more, ..Setup::default() }).await;
    let client = stand.client().header(USER.0, USER.1);
    let mut admitted = 0;
    for _ in 0..LIMIT {
        admitted += u64::from(client.chat("fake/ok").await.status == 200);
    }
    assert_eq!(admitted, LIMIT / 2, "the share of one of two");
    let (code, out, _) = stand.command(&["check"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("warning") && out.contains("`cluster.redis`: Redis cannot be reached"), "{out}");
    let (code, out, _) = stand.command(&["doctor"]);
    assert_eq!(code, 1);
    assert!(out.contains("redis: Redis cannot be reached"), "{out}");
    let refused = stand.settings("").replace("redis://", "http://");
    stand.write_file(&refused);
    let (code, out, _) = stand.command(&["check"]);
    assert_eq!(code, 1);
    assert!(out.contains("not the URL of a Redis"), "{out}");
}
