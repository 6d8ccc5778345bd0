//! Several places that serve the same, of which some are not well; and places that cannot even be connected to.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fakes::plan::{Fault, Plan};
use fakes::upstream::{Accept, Certificate, Script, Upstream};

use super::{told, worst};
use crate::books;
use crate::client::chat;
use crate::stand::{PATIENCE, Setup, Stand};
use crate::steering::{self, standing, status};

/// What a load came to.
struct Came {
    requests: u64,
    attempts: u64,
    refused: u64,
}

impl Came {
    fn ratio(&self) -> f64 {
        self.attempts as f64 / self.requests as f64
    }
}

/// Sixteen clients, one call after another each, half of them streams, for so long; a refusal is counted.
async fn load(stand: &Stand, length: Duration, pause: Duration) -> Came {
    let lanes = (0..16).map(|lane| {
        let client = stand.client();
        tokio::spawn(async move {
            let since = Instant::now();
            let mut came = Came { requests: 0, attempts: 0, refused: 0 };
            while since.elapsed() < length {
                let flag = if (lane + came.requests).is_multiple_of(2) { "" } else { r#","stream":true"# };
                let reply = client.post("/v1/chat/completions", chat("r", flag)).await;
                came.requests += 1;
                came.attempts += reply.header("x-tidegate-attempts").map_or(0, |n| n.parse::<u64>().unwrap());
                if reply.status != 200 {
                    came.refused += 1;
                    eprintln!("refused: {} {}", reply.status, reply.text());
                }
                tokio::time::sleep(pause).await;
            }
            came
        })
    });
    let mut all = Came { requests: 0, attempts: 0, refused: 0 };
    for lane in lanes.collect::<Vec<_>>() {
        let came = lane.await.unwrap();
        all.requests += came.requests;
        all.attempts += came.attempts;
        all.refused += came.refused;
    }
    all
}

/// Calls until nothing speaks against anybody, and says how long it took.
async fn recovery(stand: &Stand, names: &[&str]) -> Duration {
    let since = Instant::now();
    while names.iter().any(|name| standing(stand, name).is_some_and(|(_, away)| away)) {
        assert!(since.elapsed() < 4 * PATIENCE, "never asked again\n{}", stand.log());
        assert_eq!(stand.client().chat("r").await.status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    since.elapsed()
}

/// Whoever limits the rate is not asked on, whether it says for how long or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_rate_limits_does_not_multiply_the_load() {
    let length = Duration::from_secs(books::length("TIDEGATE_SOAK_STORM_SECONDS", 5, 60));
    let plans = [status(429, None), status(529, Some("2")), Plan::default()];
    let (stand, upstreams) = steering::stand(plans, "").await;
    let some = load(&stand, length, Duration::from_millis(20)).await;
    assert_eq!(some.refused, 0, "one of three is well");
    // Then all of them: there is nobody to turn to, and nobody is asked more often for that.
    upstreams[2].set_plan(status(429, None));
    let before: u64 = upstreams.iter().map(|upstream| upstream.journal().count()).sum();
    let all = load(&stand, length, Duration::from_millis(20)).await;
    let sent = upstreams.iter().map(|upstream| upstream.journal().count()).sum::<u64>() - before;
    // What is passed over at the start counts once each; the budget of retries is three a second at least.
    let most = all.requests + (all.requests / 5).max(3 * (length.as_secs() + 11)) + 21;
    told(
        "rate-limit-storm",
        format!(
            "{} of {} refused with one well, {:.3} attempts a request; with none well {:.3}",
            some.refused,
            some.requests,
            some.ratio(),
            sent as f64 / all.requests as f64
        ),
        "0, 1.2",
    );
    assert!(sent <= most, "{sent} attempts for {} requests", all.requests);
    assert!(
        some.attempts <= some.requests + some.requests / 5 + 21,
        "{} for {}",
        some.attempts,
        some.requests
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_that_comes_and_goes_is_seen_by_nobody() {
    let length = Duration::from_secs(books::length("TIDEGATE_SOAK_FLAP_SECONDS", 6, 120));
    let (stand, upstreams) = steering::stand([Plan::default(), Plan::default(), Plan::default()], "").await;
    let turns = AtomicU64::new(0);
    let came = tokio::select! {
        came = load(&stand, length, Duration::from_millis(20)) => came,
        () = flap(&upstreams[0], Duration::from_millis(500), &turns) => unreachable!(),
    };
    upstreams[0].set_plan(Plan::default());
    let back = recovery(&stand, &["p0"]).await;
    told(
        "upstream-flaps",
        format!(
            "{} of {} refused, {:.3} attempts a request, asked again after {back:.1?}",
            came.refused,
            came.requests,
            came.ratio()
        ),
        "0, 1.2, 60 s",
    );
    assert_eq!(came.refused, 0);
}

/// Well for a while, then not for a while, for ever.
async fn flap(upstream: &Upstream, half: Duration, turns: &AtomicU64) {
    loop {
        tokio::time::sleep(half).await;
        turns.fetch_add(1, Ordering::Relaxed);
        upstream.set_plan(status(503, None));
        tokio::time::sleep(half).await;
        upstream.set_plan(Plan::default());
    }
}

/// Storms of rate limits, of three seconds each.
async fn storm(upstream: &Upstream) {
    for turn in 0_u64.. {
        let code = if turn.is_multiple_of(2) { 429 } else { 529 };
        upstream.set_plan(status(code, turn.is_multiple_of(3).then_some("1")));
        tokio::time::sleep(Duration::from_secs(3)).await;
        upstream.set_plan(Plan::default());
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Five of one weight: one flaps, one storms, one swallows everything, two are well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_five_that_are_well_hide_the_other_three() {
    let length = Duration::from_secs(books::length("TIDEGATE_SOAK_FIVE_SECONDS", 20, 300));
    let (stand, upstreams) = steering::stand(std::iter::repeat_n(Plan::default(), 5), "").await;
    upstreams[2].set_plan(Plan { fault: Some(Fault::Hang), ..Plan::default() });
    let turns = AtomicU64::new(0);
    let came = tokio::select! {
        came = load(&stand, length, Duration::from_millis(20)) => came,
        () = flap(&upstreams[0], Duration::from_millis(500), &turns) => unreachable!(),
        () = storm(&upstreams[1]) => unreachable!(),
    };
    upstreams[..3].iter().for_each(|upstream| upstream.set_plan(Plan::default()));
    let back = recovery(&stand, &["p0", "p1", "p2"]).await;
    told(
        "five-places",
        format!(
            "{} of {} refused in {length:?} and {} flaps, {:.3} attempts a request, all asked again after {back:.1?}",
            came.refused,
            came.requests,
            turns.into_inner(),
            came.ratio()
        ),
        "0, 1.2, 60 s",
    );
    assert_eq!(came.refused, 0);
    assert!(
        came.attempts <= came.requests + came.requests / 5 + 40,
        "{} for {}",
        came.attempts,
        came.requests
    );
}

/// A listener that begins no TLS, certificates that are expired or somebody else's: none holds up the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_without_good_tls_is_left_at_the_deadline_and_holds_nobody_up() {
    let limit = Duration::from_millis(books::length("TIDEGATE_SOAK_CONNECT_MS", 700, 5_000));
    let kinds = [
        ("stalls", Certificate::Good, Accept::Hang),
        ("resets", Certificate::Good, Accept::Reset),
        ("expired", Certificate::Expired, Accept::Serve),
        ("other", Certificate::OtherName, Accept::Serve),
        ("good", Certificate::Good, Accept::Serve),
    ];
    let dir = crate::stand::fresh_dir();
    let (mut upstreams, mut more) = (Vec::new(), books::priced_models());
    for (name, certificate, accept) in kinds {
        let script = Script { tls: Some(certificate), accept, ..Script::default() };
        let upstream = Upstream::start(script).await.unwrap();
        let ca = dir.join(format!("{name}.pem"));
        std::fs::write(&ca, upstream.authority().unwrap()).unwrap();
        write!(
            more,
            "[providers.{name}]\ndialect = \"openai\"\nbase_url = \"{}\"\nca = \"file:{}\"\nmodels = [\"m\"]\n\
             timeouts = {{ connect = \"{}ms\" }}\n",
            upstream.base_url(),
            ca.display(),
            limit.as_millis()
        )
        .unwrap();
        upstreams.push(upstream);
    }
    let stand = Stand::start(Setup { more, ..Setup::default() }).await;
    assert_eq!(stand.client().chat("good/m").await.status, 200);
    let mut bad = tokio::task::JoinSet::new();
    for (name, ..) in &kinds[..4] {
        for _ in 0..8 {
            let (client, name) = (stand.client(), *name);
            bad.spawn(async move {
                let since = Instant::now();
                let reply = client.chat(&format!("{name}/m")).await;
                assert_eq!(
                    (reply.status, reply.code().as_str()),
                    (502, "upstream_unreachable"),
                    "{}",
                    reply.text()
                );
                assert!(name != "stalls" || since.elapsed() >= limit, "given up early");
                since.elapsed()
            });
        }
    }
    let (mut others, mut count) = (Vec::new(), 0);
    while others.len() < 100 {
        let since = Instant::now();
        let model = if count % 2 == 0 { "fake/ok-t3" } else { "good/m" };
        assert_eq!(stand.client().chat(model).await.status, 200);
        count += 1;
        others.push(since.elapsed());
    }
    let times = bad.join_all().await;
    let asked: u64 = upstreams[..4].iter().map(|upstream| upstream.journal().count()).sum();
    told(
        "tls-bad",
        format!(
            "{} calls refused, at most {:.2?} after the deadline of {limit:?}, {asked} requests sent; {count} of {count} others answered, \
             the slowest in {:.0?}",
            times.len(),
            worst(&times).saturating_sub(limit),
            worst(&others)
        ),
        "all, 1 s, 0; all",
    );
    assert_eq!(asked, 0);
    drop(stand);
    std::fs::remove_dir_all(&dir).ok();
}
