//! Who is asked while some of several equal deployments are not well.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fakes::plan::{Fault, Plan};
use fakes::upstream::{Script, Upstream};

use crate::client::chat;
use crate::stand::{Setup, Stand};

pub(crate) fn status(status: u16, retry_after: Option<&str>) -> Plan {
    Plan { status, retry_after: retry_after.map(Into::into), ..Plan::default() }
}

/// A route over as many upstreams as there are plans, all of one weight.
pub(crate) async fn stand(plans: impl IntoIterator<Item = Plan>, more: &str) -> (Stand, Vec<Upstream>) {
    let mut upstreams = Vec::new();
    let mut tables = String::new();
    for plan in plans {
        let upstream = Upstream::start(Script { plan, ..Script::default() }).await.unwrap();
        let (number, base) = (upstreams.len(), upstream.base_url());
        write!(
            tables,
            "[providers.p{number}]\ndialect = \"openai\"\nbase_url = \"{base}\"\nmodels = [\"m\"]\n"
        )
        .unwrap();
        upstreams.push(upstream);
    }
    let targets: Vec<_> = (0..upstreams.len()).map(|number| format!("\"p{number}/m\"")).collect();
    write!(
        tables,
        "[routes.r]\ntargets = [{}]\ntimeouts = {{ first_byte = \"2s\" }}\n{more}",
        targets.join(", ")
    )
    .unwrap();
    (Stand::start(Setup { more: tables, ..Setup::default() }).await, upstreams)
}

/// `count` calls, eight at a time, each of which must succeed; the attempts they took.
async fn calls(stand: &Stand, count: usize, pause: Duration) -> u64 {
    let lanes = (0..8).map(|_| {
        let client = stand.client();
        tokio::spawn(async move {
            let mut attempts = 0;
            for number in 0..count / 8 {
                let flag = if number % 2 == 0 { "" } else { r#","stream":true"# };
                let reply = client.post("/v1/chat/completions", chat("r", flag)).await;
                assert_eq!(reply.status, 200, "{}", reply.text());
                attempts += reply.header("x-tidegate-attempts").unwrap().parse::<u64>().unwrap();
                tokio::time::sleep(pause).await;
            }
            attempts
        })
    });
    let mut attempts = 0;
    for lane in lanes.collect::<Vec<_>>() {
        attempts += lane.await.unwrap();
    }
    attempts
}

fn providers(stand: &Stand) -> Vec<serde_json::Value> {
    let (code, out, err) = stand.command(&["providers", "--json"]);
    assert_eq!(code, 0, "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `tidegate providers` says of one: reason and whether it is passed over.
pub(crate) fn standing(stand: &Stand, name: &str) -> Option<(String, bool)> {
    let all = providers(stand);
    let one = all.iter().find(|one| one["name"] == name).unwrap();
    let standing = one["standings"].get(0)?;
    Some((standing["reason"].as_str().unwrap().to_owned(), standing["away"].as_bool().unwrap()))
}

#[tokio::test]
async fn two_healthy_deployments_of_five_carry_everything() {
    let mute = Plan { fault: Some(Fault::Hang), ..Plan::default() };
    let plans = [status(503, None), status(429, Some("60")), mute, Plan::default(), Plan::default()];
    let (stand, upstreams) = stand(plans, "").await;
    // One at a time first, so that each has been asked: three in a row of those that fail would be a refusal.
    let mut warm = 0;
    while upstreams[..3].iter().any(|one| one.journal().count() == 0) && warm < 200 {
        warm += 1;
        let reply = stand.client().chat("r").await;
        assert!(matches!(reply.status, 200 | 429 | 503 | 504), "{}", reply.text());
    }
    let attempts = calls(&stand, 400, Duration::from_millis(5)).await;
    assert!(attempts <= 480, "{attempts} attempts for 400 requests");
    assert!(upstreams[1].journal().count() <= 2, "whoever says a minute is left alone for a minute");
    // Its first waits are short, and may be over by now.
    assert_eq!(standing(&stand, "p0").map(|(reason, _)| reason).as_deref(), Some("failed"));
    assert_eq!(standing(&stand, "p1"), Some(("rate_limited".to_owned(), true)));
    assert_eq!(standing(&stand, "p3"), None);
    let metrics = stand.client().get("/metrics").await.unwrap().text();
    let away = metrics.lines().find_map(|line| line.strip_prefix("tidegate_places_away ")).unwrap();
    assert!((1..=3).contains(&away.parse::<u32>().unwrap()), "{away}");
    let (_, shown, _) = stand.command(&["providers"]);
    assert!(shown.contains("p1/m: limits the rate; passed over for"), "{shown}");
}

/// Half a second well, half a second not: each time it is found out anew, and no client sees it.
#[tokio::test]
async fn a_deployment_that_comes_and_goes_is_seen_by_nobody() {
    let (stand, upstreams) = stand([Plan::default(), Plan::default(), Plan::default()], "").await;
    let load = async { calls(&stand, 1600, Duration::from_millis(15)).await };
    let downs = AtomicU64::new(0);
    let turns = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            downs.fetch_add(1, Ordering::Relaxed);
            upstreams[0].set_plan(status(503, None));
            tokio::time::sleep(Duration::from_millis(500)).await;
            upstreams[0].set_plan(Plan::default());
        }
    };
    let attempts = tokio::select! {
        attempts = load => attempts,
        () = turns => 0,
    };
    // Each time seven in a row, as many as were under way then, and a try.
    let (failed, downs) = (attempts - 1600, downs.into_inner());
    assert!(downs > 0 && failed <= 20 * downs, "{failed} attempts failed, in {downs} times");
}

#[tokio::test]
async fn a_deployment_that_is_well_again_is_found_by_one_try() {
    let (stand, upstreams) = stand([status(503, None), Plan::default()], "").await;
    let attempts = calls(&stand, 80, Duration::ZERO).await;
    assert!(upstreams[0].journal().count() < 80 && attempts > 80, "{attempts}");
    let before = upstreams[0].journal().count();
    upstreams[0].set_plan(Plan::default());
    // Nobody is told; the wait is a second at the first.
    let mut calls = 0;
    while standing(&stand, "p0").is_some() {
        assert_eq!(stand.client().chat("r").await.status, 200);
        calls += 1;
        assert!(calls < 3000, "never tried again");
    }
    assert!(upstreams[0].journal().count() > before);
    assert!(stand.log().contains("is asked again"), "{}", stand.log());
}

#[tokio::test]
async fn a_refused_credential_closes_the_account_and_not_the_route() {
    let (stand, upstreams) = stand([status(401, None), Plan::default()], "").await;
    assert_eq!(calls(&stand, 80, Duration::ZERO).await, 81.max(80 + upstreams[0].journal().count()));
    assert_eq!(standing(&stand, "p0"), Some(("credential".to_owned(), true)));
    // Another model of the same account is the same account.
    let reply = stand.client().post("/v1/chat/completions", chat("p0/m", r#","models":["p1/m"]"#)).await;
    assert_eq!((reply.status, reply.header("x-tidegate-model")), (200, Some("p1/m")), "{}", reply.text());
    assert_eq!(reply.header("x-tidegate-attempts"), Some("1"));
}

#[tokio::test]
async fn who_has_no_neighbour_is_always_asked() {
    let (stand, upstreams) = stand([status(503, None)], "").await;
    for n in 1..=20 {
        let reply = stand.client().chat("r").await;
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert_eq!(upstreams[0].journal().count(), n);
    }
    // What the client did wrong speaks against nobody.
    let (other, _upstreams) = self::stand([status(400, None), status(400, None)], "").await;
    for _ in 0..10 {
        assert_eq!(other.client().chat("r").await.status, 400);
    }
    assert_eq!((standing(&other, "p0"), standing(&other, "p1")), (None, None));
}

#[tokio::test]
async fn what_is_too_long_for_one_goes_to_one_of_a_longer_context() {
    let sizes =
        |short: &str| format!("[models.\"p0/m\"]\ncontext = {short}\n[models.\"p1/m\"]\ncontext = 100000\n");
    let long = "the tide comes in and the tide goes out. ".repeat(100);
    let body = format!(r#"{{"model":"r","messages":[{{"role":"user","content":"{long}"}}]}}"#);
    // Known beforehand: nobody is asked in vain.
    let (stand, upstreams) = stand([Plan::default(), Plan::default()], &sizes("200")).await;
    for _ in 0..10 {
        let reply = stand.client().post("/v1/chat/completions", body.clone()).await;
        assert_eq!((reply.status, reply.header("x-tidegate-model")), (200, Some("p1/m")), "{}", reply.text());
        assert_eq!(reply.header("x-tidegate-attempts"), Some("1"));
    }
    assert_eq!(upstreams[0].journal().count(), 0);
    // Told by the provider: only who takes more is asked, and it speaks against nobody.
    let refusal =
        r#"{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}"#;
    let refuses = Plan { body: Some(refusal.to_owned()), ..status(400, None) };
    let (stand, upstreams) = self::stand([refuses, Plan::default()], &sizes("50000")).await;
    let mut calls = 0;
    while upstreams[0].journal().count() == 0 {
        assert_eq!(stand.client().post("/v1/chat/completions", body.clone()).await.status, 200);
        calls += 1;
        assert!(calls < 200, "never asked");
    }
    assert!(standing(&stand, "p0").is_none());
    let refuses = Plan { body: Some(refusal.to_owned()), ..status(400, None) };
    upstreams[1].set_plan(refuses);
    let reply = stand.client().post("/v1/chat/completions", body).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "context_length_exceeded"), "{}", reply.text());
}

#[tokio::test]
async fn when_all_fail_retries_do_not_multiply_the_load() {
    let (stand, upstreams) = stand([500, 502, 503].map(|code| status(code, None)), "").await;
    let client = stand.client();
    let began = std::time::Instant::now();
    let requests = 400;
    for _ in 0..requests {
        assert!(client.chat("r").await.status >= 500);
    }
    let attempts: u64 = upstreams.iter().map(|upstream| upstream.journal().count()).sum();
    // Three a second, or a fifth of what was asked, whichever is more; at the start nothing was known to be ill.
    let seconds = began.elapsed().as_secs() + 11;
    let most = requests + (requests / 5).max(3 * seconds) + 2 * 7 * 3;
    eprintln!("{attempts} attempts for {requests} requests, at most {most}");
    assert!(attempts >= requests && attempts <= most, "{attempts} attempts, at most {most}");
    assert!(client.metric("tidegate_retries_denied").await.is_some());
}

/// Where many mostly fail, half of the route is asked all the same.
#[tokio::test]
async fn no_more_than_half_of_a_route_is_passed_over_for_failing() {
    let (stand, upstreams) = stand([(); 3].map(|()| status(503, None)), "").await;
    for upstream in &upstreams {
        let turn = || [status(503, None), status(503, None), Plan::default()];
        upstream.enqueue((0..3_000).flat_map(|_| turn()));
    }
    let client = stand.client();
    let mut calls = 0;
    while client.metric("tidegate_asked_though_failing").await.unwrap_or(0.0) < 20.0 {
        for _ in 0..20 {
            assert!(matches!(client.chat("r").await.status, 200 | 503));
        }
        let (_, explained, _) = stand.command(&["routes", "explain", "r", "--json"]);
        let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
        let attempts = explained["attempts"].as_array().unwrap();
        let away = attempts.iter().filter(|one| one["away"] == true).count();
        assert!(attempts.len() == 3 && away <= 1, "{explained}");
        calls += 1;
        assert!(calls < 150, "nobody is kept: {:?}", providers(&stand));
    }
    let metrics = client.get("/metrics").await.unwrap().text();
    assert!(metrics.contains("tidegate_ejections_total{reason=\"mostly_failed\"}"), "{metrics}");
}

/// How many calls at once `p0/m` is found to bear, and how many are under way.
fn bearing(stand: &Stand) -> Option<(u64, u64)> {
    let all = providers(stand);
    let bearing = all.iter().find(|one| one["name"] == "p0").unwrap()["bearings"].get(0)?.clone();
    Some((bearing["limit"].as_u64()?, bearing["under_way"].as_u64()?))
}

/// A vendor that has said that it was too much is given as much as it bears; what is beyond goes elsewhere first.
#[tokio::test]
async fn a_place_is_given_no_more_than_it_bears_while_there_is_another() {
    let (mut stand, upstreams) = adaptive_stand().await;
    assert_eq!(bearing(&stand), None, "nothing is known while nobody refuses");
    upstreams[0].enqueue([status(429, None)]);
    let reply = stand.client().chat("r").await;
    assert_eq!((reply.status, reply.header("x-tidegate-model")), (200, Some("p1/m")), "{}", reply.text());
    assert_eq!(bearing(&stand), Some((1, 0)));
    // Its wait ends, and a try lets it in.
    let mut calls = 0;
    while stand.client().chat("r").await.header("x-tidegate-model") != Some("p0/m") {
        calls += 1;
        assert!(calls < 5_000, "never tried again");
    }
    let endless = || Plan { tokens: 900, delay: 100, ..Plan::default() };
    upstreams.iter().for_each(|upstream| upstream.set_plan(endless()));
    let mut held = Vec::new();
    loop {
        let coming = stand.client().stream("r").await;
        assert_eq!(coming.status, 200);
        let by = coming.headers.get("x-tidegate-model").unwrap().to_str().unwrap().to_owned();
        held.push(coming);
        if by == "p1/m" {
            break;
        }
        assert!(held.len() < 20, "it is never full: {:?}", bearing(&stand));
    }
    let (limit, under_way) = bearing(&stand).unwrap();
    assert_eq!((under_way, limit), (held.len() as u64 - 1, held.len() as u64 - 1));
    let (_, shown, _) = stand.command(&["providers"]);
    assert!(shown.contains(&format!("p0/m: bears {limit} calls at once; {under_way} under way")), "{shown}");
    let (_, explained, _) = stand.command(&["routes", "explain", "r"]);
    assert!(
        explained.contains("2. p0/m") && explained.contains("as many under way as it bears"),
        "{explained}"
    );
    let limit = stand.client().get("/metrics").await.unwrap().text();
    assert!(limit.contains("tidegate_adaptive_limit{provider=\"p0\",credential=\"\"}"), "{limit}");
    // Where there is nobody else it is asked all the same.
    let alone = stand.client().stream("p0/m").await;
    assert_eq!((alone.status, bearing(&stand).unwrap().1), (200, under_way + 1));
    held.push(alone);
    // What has ended is under way no longer.
    held.drain(..).for_each(crate::client::Coming::abort);
    stand
        .wait_until("all has ended", |stand| {
            let ended = bearing(stand).is_some_and(|(_, under_way)| under_way == 0);
            async move { ended }
        })
        .await;
    upstreams.iter().for_each(|upstream| upstream.set_plan(Plan::default()));
    assert_eq!(stand.client().chat("r").await.header("x-tidegate-model"), Some("p0/m"));
}

/// A route that asks `p0` first, of which it is found out what it bears, and then `p1`.
async fn adaptive_stand() -> (Stand, Vec<Upstream>) {
    let mut upstreams = Vec::new();
    let mut more = String::new();
    for number in 0..2 {
        let upstream = Upstream::start(Script::default()).await.unwrap();
        let base = upstream.base_url();
        let adaptive = if number == 0 { "adaptive = \"aimd\"\n" } else { "" };
        write!(more, "[providers.p{number}]\nbase_url = \"{base}\"\nmodels = [\"m\"]\n{adaptive}").unwrap();
        upstreams.push(upstream);
    }
    more.push_str("[routes.r]\nstrategy = \"ordered\"\ntargets = [\"p0/m\", \"p1/m\"]\n");
    (Stand::start(Setup { more, ..Setup::default() }).await, upstreams)
}
