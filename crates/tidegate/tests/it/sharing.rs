//! Three gateways on one PostgreSQL share budgets: never more than the budget together, also when calls are broken off and when
//! one of them is cut off from the database; and what is left can be spent through any of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fakes::proxy::Proxy;
use fakes::upstream::Script;

use crate::books;
use crate::client::chat;
use crate::operate::Database;
use crate::stand::{PATIENCE, Setup, Stand, offline_key};

const MASTER: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00112233445566778899aabbccddeeff0";

/// Three gateways with the same settings and key; the last one reaches the database by way of the proxy.
pub(crate) struct Trio {
    pub(crate) stands: Vec<Stand>,
    proxy: Proxy,
    database: Database,
}

impl Trio {
    pub(crate) async fn start(more: &str, script: Option<Script>) -> Self {
        let database = Database::create().await;
        let proxy = Proxy::start(database.address(), 11).await.unwrap();
        let key = offline_key();
        let mut stands: Vec<Stand> = Vec::new();
        for number in 0..3 {
            let port = (number == 2).then(|| proxy.addr().port());
            let setup = Setup {
                server: "master_key = \"env:STAND_MASTER\"".to_owned(),
                store: format!("url = \"{}\"", database.url(port)),
                environment: vec![("STAND_MASTER".to_owned(), MASTER.to_owned())],
                more: more.to_owned(),
                script: script.clone(),
                ..Setup::default()
            };
            let mut stand = Stand::prepare(setup).await;
            stand.key.clone_from(&key);
            stand.run().await;
            stands.push(stand);
        }
        let mut trio = Self { stands, proxy, database };
        for number in 0..3 {
            trio.wait_metric(number, "tidegate_nodes", |nodes| nodes > 2.5).await;
        }
        trio
    }

    async fn wait_metric(&mut self, node: usize, name: &'static str, wanted: fn(f64) -> bool) {
        self.stands[node]
            .wait_until(name, |stand| {
                let client = stand.client();
                async move { client.metric(name).await.is_some_and(wanted) }
            })
            .await;
    }

    fn calls(&self) -> u64 {
        self.stands.iter().map(|stand| stand.upstream.journal().count()).sum()
    }

    /// One call through the gateway whose turn it is; whether it was admitted.
    async fn ask(&self, turn: usize, user: &str, model: &str, more: &str) -> u16 {
        let client = self.stands[turn % 3].client().header("x-tidegate-user", user);
        client.post("/v1/chat/completions", chat(model, more)).await.status
    }

    pub(crate) async fn end(self) {
        drop(self.stands);
        self.database.drop().await;
    }
}

/// What each gateway has spent and holds of the budget `all`, in nano units, by its own books.
fn used(stand: &Stand) -> (i64, i64) {
    let (code, out, err) = stand.command(&["budgets", "--json"]);
    assert_eq!(code, 0, "{err}");
    let nano =
        |text: &serde_json::Value| (text.as_str().unwrap().parse::<f64>().unwrap() * 1e9).round() as i64;
    let states = out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    states.fold((0, 0), |sum, one| (sum.0 + nano(&one["spent_here"]), sum.1 + nano(&one["reserved"])))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fourteen_of_two_hundred_on_three_gateways() {
    let more = "[[budgets]]\nname = \"user\"\nper = \"end_user\"\namount = \"1.00\"\nwindow = \"total\"\n\
                [models.\"fake/seven\"]\nprice = { per_request = \"0.07\" }\n";
    let trio = Arc::new(Trio::start(more, None).await);
    let repeats = books::length("TIDEGATE_SOAK_REPEATS", 3, 100);
    let mut slowest = Duration::ZERO;
    for repeat in 0..repeats {
        let user = format!("u{repeat}");
        let before = trio.calls();
        let began = Instant::now();
        let calls: Vec<_> = (0..200)
            .map(|number| {
                let (trio, user) = (trio.clone(), user.clone());
                let stream = if number % 2 == 0 { "" } else { r#","stream":true"# };
                tokio::spawn(async move { trio.ask(number, &user, "fake/seven", stream).await })
            })
            .collect();
        let mut admitted = 0;
        for call in calls {
            let status = call.await.unwrap();
            assert!([200, 429, 503].contains(&status), "{status}");
            admitted += usize::from(status == 200);
        }
        assert!(admitted <= 14, "{admitted} of 200 in repeat {repeat}");
        let mut turn = 0;
        while admitted < 14 {
            assert!(began.elapsed() < PATIENCE, "only {admitted} in repeat {repeat}");
            turn += 1;
            admitted += usize::from(trio.ask(turn, &user, "fake/seven", "").await == 200);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        slowest = slowest.max(began.elapsed());
        for turn in 0..9 {
            assert_ne!(trio.ask(turn, &user, "fake/seven", "").await, 200, "the fifteenth");
        }
        assert_eq!(trio.calls() - before, 14, "repeat {repeat}");
    }
    eprintln!(
        "three gateways, 200 calls of 0.07 on 1.00 USD, {repeats} times: 14 admitted each time, never more; \
         the slowest took {:.1} s (bar: 14, 10 s)",
        slowest.as_secs_f64()
    );
    Arc::into_inner(trio).unwrap().end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_cut_off_spends_what_it_holds() {
    const LIMIT: i64 = 1_000_000_000;
    let more = "[[budgets]]\nname = \"all\"\nper = \"organization\"\namount = \"1.00\"\nwindow = \"total\"\n\
                [models.\"fake/ok-t20\"]\nprice = { output = \"10\" }\nmax_output = 2000\n";
    let mut trio = Trio::start(more, None).await;
    let end = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..24)
        .map(|number| {
            let client = trio.stands[number % 3].client();
            let end = end.clone();
            tokio::spawn(async move {
                let mut counts = [0u32; 2];
                while !end.load(Ordering::Relaxed) {
                    // A third of the streams is broken off.
                    let admitted = if number % 3 == 0 || number > 11 {
                        let mut coming = client.stream("fake/ok-t20").await;
                        let status = coming.status;
                        if number % 2 == 0 {
                            let _ = coming.next().await;
                            coming.abort();
                        } else {
                            let _ = coming.rest().await;
                        }
                        status == 200
                    } else {
                        client.chat("fake/ok-t20").await.status == 200
                    };
                    counts[usize::from(admitted)] += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                counts
            })
        })
        .collect();
    let cut_for = Duration::from_secs(books::length("TIDEGATE_SOAK_CUT_SECONDS", 4, 60));
    let began = Instant::now();
    let mut looks = 0;
    let mut most = 0;
    let mut cut = false;
    while began.elapsed() < cut_for * 2 {
        let now_cut = began.elapsed() > cut_for / 2 && began.elapsed() < cut_for + cut_for / 2;
        if now_cut != cut {
            cut = now_cut;
            trio.proxy.set(|setting| setting.refuse = cut);
            trio.proxy.cut_all();
        }
        let each: Vec<_> = trio.stands.iter().map(used).collect();
        let sum: i64 = each.iter().map(|(spent, reserved)| spent + reserved).sum();
        assert!(sum <= LIMIT, "{each:?}");
        (looks, most) = (looks + 1, most.max(sum));
    }
    end.store(true, Ordering::Relaxed);
    let mut counts = [0, 0];
    for one in load {
        let one = one.await.unwrap();
        counts = [counts[0] + one[0], counts[1] + one[1]];
    }
    for stand in &mut trio.stands {
        stand.wait_drained().await;
    }
    let each: Vec<_> = trio.stands.iter().map(used).collect();
    assert!(each.iter().all(|(_, reserved)| *reserved == 0), "{each:?}");
    let spent: i64 = each.iter().map(|(spent, _)| spent).sum();
    assert!(counts[1] > 0 && spent > 0 && spent <= LIMIT, "{counts:?} {each:?}");
    // What is left can be spent through each of them.
    for turn in 0..3 {
        let until = Instant::now() + PATIENCE;
        while LIMIT - spent > 100_000_000 && trio.ask(turn, "", "fake/ok-t20", "").await != 200 {
            assert!(Instant::now() < until, "gateway {turn} gets nothing of {} nano", LIMIT - spent);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    eprintln!(
        "three gateways, one cut off for {} s of {}: {} calls admitted, {} refused; settled and reserved at most {most} of \
         {LIMIT} nano USD in {looks} looks, nothing reserved at the end (bar: never more, 0)",
        cut_for.as_secs(),
        (cut_for * 2).as_secs(),
        counts[1],
        counts[0],
    );
    trio.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_lasts_for_hundreds_of_requests() {
    let more = "[[budgets]]\nname = \"all\"\nper = \"organization\"\namount = \"1000.00\"\nwindow = \"total\"\n\
                [models.\"fake/cent\"]\nprice = { per_request = \"0.01\" }\n";
    let trio = Arc::new(Trio::start(more, None).await);
    let requests = 1_800;
    let calls: Vec<_> = (0..36)
        .map(|number| {
            let trio = trio.clone();
            tokio::spawn(async move {
                for _ in 0..requests / 36 {
                    assert_eq!(trio.ask(number, "", "fake/cent", "").await, 200);
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let mut asks = 0.0;
    for stand in &trio.stands {
        asks += stand.client().metric("tidegate_lease_asks").await.unwrap();
    }
    // A turn is a transaction of five statements.
    let statements = asks * 5.0;
    eprintln!("leases: {statements} statements for {requests} requests on three gateways (bar: 1 for 100)");
    assert!(statements <= f64::from(requests) / 100.0, "{asks} turns for {requests} requests");
    Arc::into_inner(trio).unwrap().end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_one_gateway_makes_and_revokes_is_known_to_the_others() {
    let mut trio = Trio::start("", None).await;
    let (code, out, err) = trio.stands[0].command(&["keys", "create", "other", "--json"]);
    assert_eq!(code, 0, "{err}");
    let secret =
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["secret"].as_str().unwrap().to_owned();
    for (number, stand) in trio.stands.iter_mut().enumerate() {
        let secret = secret.clone();
        stand
            .wait_until("the key is known", |stand| {
                let client = stand.client().with_key(&secret);
                async move { client.chat("fake/ok").await.status == 200 }
            })
            .await;
        assert!(number < 3);
    }
    let (code, _, err) = trio.stands[1].command(&["keys", "revoke", "other"]);
    assert_eq!(code, 0, "{err}");
    for stand in &mut trio.stands {
        let secret = secret.clone();
        stand
            .wait_until("the key is revoked", |stand| {
                let client = stand.client().with_key(&secret);
                async move { client.chat("fake/ok").await.code() == "key_revoked" }
            })
            .await;
    }
    trio.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_lowered_is_shared_anew() {
    let more = "[[budgets]]\nname = \"all\"\nper = \"organization\"\namount = \"10.00\"\nwindow = \"total\"\n\
                [models.\"fake/cent\"]\nprice = { per_request = \"0.01\" }\n\
                [models.\"fake/much\"]\nprice = { per_request = \"0.97\" }\n";
    let mut trio = Trio::start(more, None).await;
    for turn in 0..3 {
        assert_eq!(trio.ask(turn, "", "fake/cent", "").await, 200);
    }
    // Each holds a share by now that is more than the whole is to be.
    for stand in &mut trio.stands {
        stand.write_file(&stand.settings("").replace("10.00", "1.00"));
        stand.signal(libc::SIGHUP);
        stand
            .wait_until("the new amount is known", |stand| {
                let known = stand.log().contains("the settings are accepted");
                async move { known }
            })
            .await;
    }
    let until = Instant::now() + PATIENCE;
    let mut admitted = 0;
    for turn in 0.. {
        admitted += usize::from(trio.ask(turn, "", "fake/much", "").await == 200);
        if admitted > 0 && turn > 8 {
            break;
        }
        assert!(Instant::now() < until, "nobody gets what is left");
    }
    assert_eq!(admitted, 1, "0.03 and 0.97 of 1.00");
    trio.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fallback_waits_for_its_gateways_share() {
    let more = "[[budgets]]\nname = \"each\"\nper = \"model\"\namount = \"10.00\"\nwindow = \"total\"\n\
                [providers.other]\ndialect = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\nmodels = [\"m\"]\n\
                [models.\"other/m\"]\nprice = { per_request = \"0.01\" }\n\
                [models.\"fake/ok\"]\nprice = { per_request = \"0.01\" }\n";
    let trio = Trio::start(more, None).await;
    for turn in 0..3 {
        assert_eq!(trio.ask(turn, "", "other/m", r#","models":["fake/ok"]"#).await, 200, "gateway {turn}");
    }
    trio.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_while_a_shared_budget_has_money_for_it() {
    // At first 4,096 tokens of output are held, 0.041; twice as much is more than there is, and what the answer has is not.
    let more = "[[budgets]]\nname = \"all\"\nper = \"organization\"\namount = \"0.08\"\nwindow = \"total\"\n\
                [models.\"fake/ok-t5000-d1\"]\nprice = { output = \"10\" }\n";
    let trio = Trio::start(more, None).await;
    let coming = trio.stands[1].client().stream("fake/ok-t5000-d1").await;
    assert_eq!(coming.status, 200);
    let text = coming.rest().await.unwrap();
    assert!(
        text.trim_end().ends_with("[DONE]") && !text.contains("\"error\""),
        "{}",
        &text[text.len() - 600..]
    );
    trio.end().await;
}
