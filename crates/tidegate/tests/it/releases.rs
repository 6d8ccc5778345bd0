//! Releases of environments that the console owns: made, compared, published for all or some, taken back, promoted; on one
//! gateway and on three, with and without the database.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, Reply, chat};
use crate::sharing::Trio;
use crate::stand::{PATIENCE, Setup, Stand};

/// A document whose route `chat` leads to one model.
pub(crate) fn document(stand: &Stand, model: &str) -> String {
    format!(
        "# Ours.\n[providers.fake]\ndialect = \"openai\"\nbase_url = \"{}\"\n\n[routes.chat]\ntargets = [\"fake/{model}\"]\n\
         [models.\"fake/{model}\"]\nprice = {{ per_request = \"0.001\" }}\n",
        stand.upstream.base_url()
    )
}

/// Runs a command that must succeed, and reads what it prints.
fn run(stand: &Stand, arguments: &[&str]) -> String {
    let (code, out, err) = stand.command(arguments);
    assert_eq!(code, 0, "{arguments:?}: {out} {err}");
    out
}

fn json_of(stand: &Stand, arguments: &[&str]) -> Value {
    serde_json::from_str(&run(stand, arguments)).unwrap()
}

/// An environment of the console, with a client that has a key of it.
fn environment(stand: &Stand, name: &str, layer: &str) -> Client {
    run(stand, &["environments", "create", name, "--layer", layer]);
    let key = json_of(stand, &["keys", "create", "app", "--environment", name, "--json"]);
    stand.client().with_key(key["secret"].as_str().unwrap())
}

fn apply(stand: &Stand, environment: &str, document: &str) -> Value {
    let file = stand.dir.join("applied.toml");
    std::fs::write(&file, document).unwrap();
    json_of(stand, &["apply", file.to_str().unwrap(), "--environment", environment, "--json"])
}

/// The number of the release that served it.
fn release_of(reply: &Reply) -> u64 {
    let told = reply.header("x-tidegate-release").unwrap();
    told.rsplit('/').next().unwrap().parse().unwrap()
}

async fn as_user(client: &Client, user: &str) -> Reply {
    client.header("x-tidegate-user", user).chat("chat").await
}

#[tokio::test]
async fn a_document_is_a_release_at_once_where_one_builds_and_an_earlier_one_comes_back() {
    let stand = Stand::start(Setup::default()).await;
    let client = environment(&stand, "lab", "development");
    let refused = client.chat("chat").await;
    assert_eq!(refused.status, 404, "its first release is empty: {}", refused.text());
    let made = apply(&stand, "lab", &document(&stand, "one"));
    assert_eq!((&made["release"]["number"], &made["published"]["release"]), (&json!(2), &json!(2)), "{made}");
    let reply = client.chat("chat").await;
    assert_eq!((reply.status, release_of(&reply)), (200, 2), "{}", reply.text());
    assert_eq!(reply.header("x-tidegate-model"), Some("fake/one"));

    apply(&stand, "lab", &document(&stand, "two"));
    assert_eq!(client.chat("chat").await.header("x-tidegate-model"), Some("fake/two"));
    let diff = run(&stand, &["releases", "diff", "2", "--environment", "lab"]);
    assert!(diff.contains("routes.chat.targets[fake/one]: added"), "{diff}");
    let exported = run(&stand, &["export", "--environment", "lab"]);
    assert!(
        exported.contains("# Ours.") && exported.contains(stand.upstream.base_url().as_str()),
        "{exported}"
    );
    let file = stand.dir.join("exported.toml");
    std::fs::write(&file, &exported).unwrap();
    let same = run(&stand, &["diff", file.to_str().unwrap(), "--environment", "lab"]);
    assert!(same.contains("No difference"), "{same}");

    run(&stand, &["keys", "revoke", "app", "--environment", "lab"]);
    assert_eq!(client.chat("chat").await.status, 401);
    run(&stand, &["releases", "rollback", "2", "--environment", "lab"]);
    assert_eq!(client.chat("chat").await.status, 401, "going back revives no key");
    let key = json_of(&stand, &["keys", "create", "again", "--environment", "lab", "--json"]);
    let client = stand.client().with_key(key["secret"].as_str().unwrap());
    let reply = client.chat("chat").await;
    assert_eq!((release_of(&reply), reply.header("x-tidegate-model")), (2, Some("fake/one")));

    let file = stand.dir.join("bad.toml");
    std::fs::write(&file, "[routes.chat]\ntargets = [\"nowhere/x\"]\n").unwrap();
    let (code, _, err) = stand.command(&["apply", file.to_str().unwrap(), "--environment", "lab"]);
    assert!(code == 1 && err.contains("nowhere"), "{err}");
    std::fs::write(&file, "[route.chat]\n").unwrap();
    let (code, _, err) = stand.command(&["apply", file.to_str().unwrap(), "--environment", "lab"]);
    assert!(code == 1 && err.contains("bad.toml:1:") && err.contains("routes"), "{err}");
    assert_eq!(client.chat("chat").await.status, 200, "what is refused changes nothing");
    // What the settings file describes is the file's.
    let (code, _, err) = stand.command(&["apply", stand.dir.join("exported.toml").to_str().unwrap()]);
    assert!(code == 1 && err.contains("settings file"), "{err}");
}

#[tokio::test]
async fn a_tenth_of_the_users_gets_it_first_and_keeps_it_as_the_share_grows() {
    let mut stand = Stand::start(Setup::default()).await;
    let client = environment(&stand, "prod", "production");
    let made = apply(&stand, "prod", &document(&stand, "old"));
    assert!(made["published"].is_null(), "{made}");
    assert_eq!(client.chat("chat").await.status, 404, "nobody published it");
    run(&stand, &["releases", "publish", "2", "--environment", "prod"]);
    apply(&stand, "prod", &document(&stand, "new"));
    run(
        &stand,
        &["releases", "publish", "3", "--environment", "prod", "--percent", "10", "--user", "tester"],
    );
    let mut have: HashSet<String> = HashSet::new();
    for n in 0..300 {
        let user = format!("user-{n}");
        let reply = as_user(&client, &user).await;
        let release = release_of(&reply);
        let wanted = if release == 3 { "fake/new" } else { "fake/old" };
        assert_eq!((reply.status, reply.header("x-tidegate-model")), (200, Some(wanted)));
        if release == 3 {
            have.insert(user);
        }
    }
    assert!((10..=60).contains(&have.len()), "{}", have.len());
    assert_eq!(release_of(&as_user(&client, "tester").await), 3, "chosen by name");
    // The same user by its place in the body.
    let one = have.iter().next().unwrap();
    let named = client.post("/v1/chat/completions", chat("chat", &format!(",\"user\":\"{one}\""))).await;
    assert_eq!(release_of(&named), 3);
    run(&stand, &["releases", "publish", "3", "--environment", "prod", "--percent", "50"]);
    for user in &have {
        assert_eq!(release_of(&as_user(&client, user).await), 3, "{user} keeps it");
    }
    stand.wait_drained().await;
    let logs = run(&stand, &["logs", "--json", "--limit", "1000"]);
    let mut told = 0;
    for line in logs.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if let Some(model) = line["model"].as_str().filter(|_| line["release"] == 3) {
            assert_eq!(model, "fake/new", "{line}");
            told += 1;
        }
    }
    assert!(told > have.len(), "{told}");
    run(&stand, &["releases", "rollback", "2", "--environment", "prod"]);
    for user in have.iter().map(String::as_str).chain(["tester"]) {
        assert_eq!(release_of(&as_user(&client, user).await), 2);
    }
    let listed = json_of(&stand, &["releases", "show", "3", "--environment", "prod", "--json"]);
    assert_eq!(listed["current"], false);
}

#[tokio::test]
async fn what_is_bound_stays_where_it_is_when_a_release_goes_on() {
    let stand = Stand::start(Setup::default()).await;
    environment(&stand, "staging", "development");
    let client = environment(&stand, "prod", "production");
    let budget = "[[budgets]]\nname = \"all\"\nper = \"environment\"\namount = \"5\"\nwindow = \"month\"\n";
    let own = format!("{}[routes.other]\ntargets = [\"fake/x\"]\n{budget}", document(&stand, "here"));
    apply(&stand, "prod", &own);
    run(&stand, &["releases", "publish", "2", "--environment", "prod"]);
    apply(
        &stand,
        "staging",
        &document(&stand, "there").replace(&stand.upstream.base_url(), "http://127.0.0.1:9/v1"),
    );
    let made =
        json_of(&stand, &["releases", "promote", "2", "--environment", "staging", "--to", "prod", "--json"]);
    assert_eq!(made["release"]["number"], 3, "{made}");
    run(&stand, &["releases", "publish", "3", "--environment", "prod"]);
    let reply = client.chat("chat").await;
    assert_eq!(
        (reply.status, reply.header("x-tidegate-model")),
        (200, Some("fake/there")),
        "{}",
        reply.text()
    );
    let exported = run(&stand, &["export", "--environment", "prod"]);
    assert!(exported.contains("amount = \"5\"") && !exported.contains(":9/v1"), "{exported}");
    assert_eq!(client.chat("other").await.status, 404, "a route is part of the release");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_and_its_keys_serve_on_without_the_database_and_after_a_start_without_it() {
    let database = crate::operate::Database::create().await;
    let proxy = fakes::proxy::Proxy::start(database.address(), 5).await.unwrap();
    let setup =
        Setup { store: format!("url = \"{}\"", database.url(Some(proxy.addr().port()))), ..Setup::default() };
    let mut stand = Stand::start(setup).await;
    let client = environment(&stand, "prod", "production");
    apply(&stand, "prod", &document(&stand, "kept"));
    run(&stand, &["releases", "publish", "2", "--environment", "prod"]);
    assert_eq!(release_of(&client.chat("chat").await), 2);
    stand.wait_drained().await;
    stand.stop().await;
    proxy.set(|setting| setting.refuse = true);
    proxy.cut_all();
    stand.run().await;
    let reply = client.chat("chat").await;
    assert_eq!(
        (reply.status, reply.header("x-tidegate-model")),
        (200, Some("fake/kept")),
        "{}",
        reply.text()
    );
    let (code, _, err) = stand.command(&["releases", "rollback", "1", "--environment", "prod"]);
    assert!(code == 1 && err.contains("database"), "{err}");
    proxy.heal();
    drop(stand);
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_gateways_publish_and_go_back_under_load_without_a_failed_request() {
    let trio = Trio::start("", None).await;
    let stand = &trio.stands[0];
    let client = environment(stand, "prod", "production");
    for model in ["m2", "m3"] {
        apply(stand, "prod", &document(stand, model));
    }
    run(stand, &["releases", "publish", "2", "--environment", "prod"]);
    for stand in &trio.stands {
        // A key that was made on one gateway is known to the others within a second.
        let caller = Client::new(stand.address, client.key());
        let known = async {
            while caller.chat("chat").await.status != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, known).await.unwrap();
    }
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = trio
        .stands
        .iter()
        .flat_map(|stand| [stand, stand])
        .map(|stand| {
            let (over, client) = (over.clone(), Client::new(stand.address, client.key()));
            tokio::spawn(async move {
                let mut calls = 0u32;
                while !over.load(Ordering::Relaxed) {
                    let reply = client.chat("chat").await;
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    let served = format!("fake/m{}", release_of(&reply));
                    assert_eq!(
                        reply.header("x-tidegate-model"),
                        Some(served.as_str()),
                        "it names what served it"
                    );
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut took = Vec::new();
    for turn in 0..20 {
        let (what, number) = if turn % 2 == 0 { ("publish", "3") } else { ("rollback", "2") };
        let published =
            json_of(&trio.stands[turn % 3], &["releases", what, number, "--environment", "prod", "--json"]);
        assert_eq!(published["waiting_for"], json!([]), "{published}");
        took.push(published["propagated_ms"].as_u64().unwrap());
        // Whoever has heard that it is in force everywhere finds it everywhere.
        for stand in &trio.stands {
            let reply = Client::new(stand.address, client.key()).chat("chat").await;
            assert_eq!(release_of(&reply).to_string(), number);
        }
    }
    over.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    took.sort_unstable();
    eprintln!(
        "publish and rollback on three gateways, 20 times: 0 of {calls} requests failed; in force everywhere after {} ms (median), {} ms (slowest)",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    trio.end().await;
}
