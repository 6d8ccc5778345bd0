//! Reloads, stops, databases that go away: the operator's day.

use fakes::plan::{Fault, Plan};
use fakes::proxy::Proxy;

use crate::books;
use crate::client::chat;
use crate::stand::{Setup, Stand};

/// The test server's address and a new database on it, dropped at the end.
pub(crate) struct Database {
    admin: String,
    name: String,
}

impl Database {
    pub(crate) async fn create() -> Self {
        let admin = std::env::var("TIDEGATE_TEST_POSTGRES")
            .expect("TIDEGATE_TEST_POSTGRES is not set: eval \"$(scripts/services start)\"");
        let name = format!("tg_it_{}_{}", std::process::id(), rand_suffix());
        execute(&admin, format!("CREATE DATABASE {name}")).await;
        Self { admin, name }
    }

    /// The URL with this database, by way of another port where one is given.
    pub(crate) fn url(&self, port: Option<u16>) -> String {
        let (server, _) = self.admin.rsplit_once('/').unwrap();
        let server = match port {
            None => server.to_owned(),
            Some(port) => format!("{}:{port}", server.rsplit_once(':').unwrap().0),
        };
        format!("{server}/{}", self.name)
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        let (server, _) = self.admin.rsplit_once('/').unwrap();
        server
            .rsplit_once('@')
            .map_or_else(|| server.trim_start_matches("postgres://"), |(_, host)| host)
            .parse()
            .unwrap()
    }

    pub(crate) async fn drop(self) {
        execute(&self.admin, format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

fn rand_suffix() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

async fn execute(url: &str, statement: String) {
    use sqlx::{AssertSqlSafe, Connection, Executor};
    let mut connection = sqlx::PgConnection::connect(url).await.expect("the test database server answers");
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stops_under_load_fails_no_request_and_loses_nothing() {
    let database = Database::create().await;
    let proxy = Proxy::start(database.address(), 3).await.unwrap();
    let store = format!("url = \"{}\"", database.url(Some(proxy.addr().port())));
    let mut stand = Stand::start(Setup { store, more: books::priced_models(), ..Setup::default() }).await;
    let first = stand.client().chat("fake/ok-t3").await;
    assert_eq!(first.status, 200, "{}", first.text());
    stand
        .wait_until("the database is in use", |stand| {
            let client = stand.client();
            async move {
                let one = async |name: &str| client.metric(name).await.is_some_and(|value| value > 0.5);
                one("tidegate_spool_draining").await && one("tidegate_keys_current").await
            }
        })
        .await;
    let run = books::run(fakes::load::Load { aborts: 0.0, ..books::load(&stand, 6.0, 21) });
    tokio::time::sleep(books::millis(1000)).await;
    // Refused connections, as of a server that is stopped; then answers that never come, as of one that hangs.
    proxy.set(|setting| setting.refuse = true);
    proxy.cut_all();
    tokio::time::sleep(books::millis(2000)).await;
    proxy.set(|setting| {
        setting.refuse = false;
        setting.up.blackhole = true;
    });
    tokio::time::sleep(books::millis(1500)).await;
    proxy.heal();
    proxy.cut_all();
    let report = run.await.unwrap();
    assert_eq!(report.failed(), 0, "{:?}", report.classes);
    stand.wait_drained().await;
    let journal = books::journal(&stand).await;
    assert_eq!(stand.stop().await, Some(0));
    let tables = fakes::oracle::Tables::read_postgres(&database.url(None)).await.unwrap();
    books::assert_balanced(&journal, &tables, &report.seen, &books::rules(&[]));
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_the_database_serves_from_the_last_snapshot_or_says_503() {
    let database = Database::create().await;
    let proxy = Proxy::start(database.address(), 3).await.unwrap();
    let store = format!("url = \"{}\"", database.url(Some(proxy.addr().port())));
    let mut stand = Stand::start(Setup { store, ..Setup::default() }).await;
    let (code, out, err) = stand.command(&["keys", "create", "live", "--json"]);
    assert_eq!(code, 0, "{err}");
    let live: serde_json::Value = serde_json::from_str(&out).unwrap();
    let live = live["secret"].as_str().unwrap().to_owned();
    assert_eq!(stand.client().with_key(&live).chat("fake/ok").await.status, 200);
    stand.wait_drained().await;
    stand.stop().await;
    proxy.set(|setting| setting.refuse = true);
    stand.run().await;
    assert_eq!(stand.client().chat("fake/ok").await.status, 200);
    assert_eq!(
        stand.client().with_key(&live).chat("fake/ok").await.status,
        200,
        "a key of the last snapshot"
    );
    let unknown = stand.client().with_key(&crate::stand::offline_key()).chat("fake/ok").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (503, "key_store_unavailable"));
    let (code, _, err) = stand.command(&["keys", "create", "other"]);
    assert_eq!(code, 1, "a write without a database");
    assert!(err.contains("database"), "{err}");
    proxy.heal();
    stand
        .wait_until("the database is back", |stand| {
            let client = stand.client().with_key("tg-wrong");
            let client = client.with_key(&crate::stand::offline_key());
            async move { client.chat("fake/ok").await.status == 401 }
        })
        .await;
    stand.wait_drained().await;
    // Neither database nor snapshot: nobody is told that their key is wrong.
    stand.kill();
    proxy.set(|setting| setting.refuse = true);
    std::fs::remove_dir_all(&stand.data_dir).unwrap();
    stand.spawn();
    stand
        .wait_until("the listener", |stand| {
            let client = stand.client();
            async move { client.get("/healthz").await.is_ok() }
        })
        .await;
    let reply = stand.client().with_key(&live).chat("fake/ok").await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    stand.kill();
    database.drop().await;
}

/// How many reloads the log says were accepted as a release, and how many refused.
fn reloads_answered(log: &str) -> (usize, usize) {
    let refused = log.matches("did you mean `targets`").count();
    (log.matches(" serves source=").count(), refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_fail_no_request() {
    let mut stand = Stand::start(Setup { more: books::priced_models(), ..Setup::default() }).await;
    let reloads = 1000_u64;
    let run =
        books::run(fakes::load::Load { rate: Some(100.0), aborts: 0.0, ..books::load(&stand, 20.0, 5) });
    for number in 0..reloads {
        if number % 10 == 9 {
            stand.write_settings("[routes.chat]\ntargts = []");
        } else {
            stand.write_settings(&format!(
                "[routes.r{number}]\ntargets = [{{ model = \"fake/ok\", weight = 1 }}]"
            ));
        }
        stand.signal(libc::SIGHUP);
        // Each is answered before the next: accepted as a release of its own, or refused.
        let answered = usize::try_from(number).unwrap() + 1;
        stand
            .wait_until("the reload is answered", |stand| {
                let (accepted, refused) = reloads_answered(&stand.log());
                async move { accepted + refused >= answered }
            })
            .await;
    }
    let (accepted, refused) = reloads_answered(&stand.log());
    let tenth = usize::try_from(reloads / 10).unwrap();
    assert_eq!((accepted, refused), (9 * tenth, tenth));
    let report = run.await.unwrap();
    assert_eq!(report.failed(), 0, "{:?}", report.classes);
    assert!(report.sent > 1000, "{}", report.sent);
    // A last good file and a last bad one: the bad one leaves the good one serving, and says so.
    stand.write_settings("[routes.last]\ntargets = [{ model = \"fake/ok\", weight = 1 }]");
    stand.signal(libc::SIGHUP);
    stand
        .wait_until("the last release", |stand| {
            let client = stand.client();
            async move { client.chat("last").await.status == 200 }
        })
        .await;
    let release = |reply: &crate::client::Reply| {
        let text = reply.header("x-tidegate-release").unwrap().to_owned();
        text.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<u64>().unwrap()
    };
    let before = release(&stand.client().chat("last").await);
    assert!(before > 20, "release {before}");
    stand.write_settings("[routes.chat]\ntargts = []");
    stand.signal(libc::SIGHUP);
    stand
        .wait_until("the bad file is reported", |stand| {
            let said = stand.log().contains("did you mean `targets`");
            async move { said }
        })
        .await;
    let reply = stand.client().chat("last").await;
    assert_eq!((reply.status, release(&reply)), (200, before));
    let (code, out, _) = stand.command(&["releases", "list", "--json"]);
    assert_eq!(code, 0);
    assert!(out.lines().count() > 20, "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_streams_end_and_cuts_the_rest_with_an_error_event() {
    let server = r#"drain = { accept = "100ms", deadline = "4s" }"#.to_owned();
    let streams = books::length("TIDEGATE_SOAK_STREAMS", 200, 500);
    let mut stand = Stand::start(Setup { server, more: books::priced_models(), ..Setup::default() }).await;
    let plan = |tokens, delay| {
        let plan = Plan { tokens, delay, ..Plan::default() };
        chat("fake/ok-t3", &format!(r#","stream":true,"fake":{}"#, serde_json::to_string(&plan).unwrap()))
    };
    let mut short = Vec::new();
    let mut long = Vec::new();
    // One that says nothing at all, and one that has fallen silent: nothing but the stop itself wakes them.
    let mute = Plan { fault: Some(Fault::Hang), ..Plan::default() };
    let mute = chat("fake/ok-t3", &format!(r#","fake":{}"#, serde_json::to_string(&mute).unwrap()));
    let client = stand.client();
    let unheard = tokio::spawn(async move { client.send("POST", "/v1/chat/completions", mute).await });
    let silent = Plan { fault: Some(Fault::Silence(2)), ..Plan::default() };
    let silent = format!(r#","stream":true,"fake":{}"#, serde_json::to_string(&silent).unwrap());
    let mut coming =
        stand.client().open("POST", "/v1/chat/completions", chat("fake/ok-t3", &silent)).await.unwrap();
    coming.next().await.unwrap().unwrap();
    long.push(coming);
    let mut opening = tokio::task::JoinSet::new();
    for number in 0..streams {
        let is_short = number % 2 == 0;
        let (client, body) = (stand.client(), if is_short { plan(20, 30) } else { plan(64, 1000) });
        opening.spawn(async move {
            let mut coming = client.open("POST", "/v1/chat/completions", body).await.unwrap();
            coming.next().await.unwrap().unwrap();
            (is_short, coming)
        });
    }
    while let Some(opened) = opening.join_next().await {
        let (is_short, coming) = opened.unwrap();
        if is_short { short.push(coming) } else { long.push(coming) }
    }
    let (ending, cut) = (short.len(), long.len());
    let since = std::time::Instant::now();
    stand.signal(libc::SIGTERM);
    stand
        .wait_until("not ready any more", |stand| {
            let client = stand.client();
            async move { client.get("/readyz").await.map_or(true, |reply| reply.status == 503) }
        })
        .await;
    for coming in short {
        let text = coming.rest().await.expect("a whole answer");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }
    for coming in long {
        let text = coming.rest().await.expect("an orderly end");
        assert!(text.contains("shutting_down") && !text.contains("[DONE]"), "{text}");
    }
    let unheard = unheard.await.unwrap().unwrap();
    assert_eq!((unheard.status, unheard.code().as_str()), (503, "shutting_down"), "{}", unheard.text());
    assert_eq!(stand.ended().await, Some(0), "{}", stand.log());
    let took = since.elapsed();
    let journal = books::journal(&stand).await;
    let tables = books::sqlite(&stand.data_dir).await;
    fakes::figures::told(
        "stop-under-streams",
        format!(
            "{ending} streams ended by themselves, {cut} with one error event, 1 call refused; {} of {} settled before the end, {took:.1?} \
             after the signal",
            tables.entries.len(),
            streams + 2
        ),
        "all, all settled, 4.1 s",
    );
    assert_eq!(tables.entries.len() as u64, streams + 2, "all settled before the end");
    books::assert_balanced(&journal, &tables, &[], &books::rules(&[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_rotated_and_revoked_while_traffic_runs() {
    let stand = Stand::start(Setup::default()).await;
    let made = |args: &[&str]| {
        let (code, out, err) = stand.command(args);
        assert_eq!(code, 0, "{args:?}: {err}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap()
    };
    let first = made(&["keys", "create", "web", "--json"])["secret"].as_str().unwrap().to_owned();
    let old = stand.client().with_key(&first);
    assert_eq!(old.chat("fake/ok").await.status, 200);
    let (code, _, err) = stand.command(&["keys", "create", "web"]);
    assert_eq!(code, 1, "a second key of the name: {err}");
    let second =
        made(&["keys", "rotate", "web", "--grace", "1h", "--json"])["secret"].as_str().unwrap().to_owned();
    let new = stand.client().with_key(&second);
    assert_eq!((old.chat("fake/ok").await.status, new.chat("fake/ok").await.status), (200, 200));
    let third = made(&["keys", "rotate", "web", "--json"])["secret"].as_str().unwrap().to_owned();
    assert_eq!(new.chat("fake/ok").await.status, 401, "without grace the old secret ends at once");
    let last = stand.client().with_key(&third);
    assert_eq!(last.chat("fake/ok").await.status, 200);
    let (code, _, err) = stand.command(&["keys", "revoke", "web"]);
    assert_eq!(code, 0, "{err}");
    let gone = last.chat("fake/ok").await;
    assert_eq!(gone.status, 401, "{}", gone.text());
    let (_, list, _) = stand.command(&["keys", "list", "--all", "--json"]);
    assert!(list.contains("\"web\"") && !list.contains(&third), "{list}");
}
