//! Several credentials of one provider: calls are spread, one that is not well is passed over, and nobody sees it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use fakes::plan::Plan;
use fakes::upstream::{Script, Upstream};

use crate::client::chat;
use crate::stand::{Setup, Stand, fresh_dir};

fn status(status: u16, retry_after: Option<&str>) -> Plan {
    Plan { status, retry_after: retry_after.map(Into::into), ..Plan::default() }
}

/// The secret of a credential; it must be seen nowhere.
fn secret(name: &str) -> String {
    format!("sk-hidden-{name}")
}

/// A stand whose provider has these credentials, with their weights; and where their secrets lie.
async fn stand(names: &[(&str, u32)], more: &str) -> (Stand, PathBuf) {
    let folder = fresh_dir();
    let mut provider = String::new();
    for (name, weight) in names {
        let file = folder.join(name);
        std::fs::write(&file, secret(name)).unwrap();
        let file = file.display();
        provider.push_str(&format!(
            "credentials.{name} = {{ credential = \"file:{file}\", weight = {weight} }}\n"
        ));
    }
    (Stand::start(Setup { provider, more: more.to_owned(), ..Setup::default() }).await, folder)
}

/// How often each secret was used.
fn used(stand: &Stand) -> BTreeMap<String, usize> {
    let mut used = BTreeMap::new();
    for dispatch in stand.upstream.journal().all() {
        let sent = dispatch.header("authorization").unwrap_or_default();
        *used.entry(sent.trim_start_matches("Bearer sk-hidden-").to_owned()).or_default() += 1;
    }
    used
}

/// Calls until `done` holds, each of which must succeed; how many.
async fn call_until(stand: &Stand, done: impl Fn(&Stand) -> bool) -> u64 {
    let mut calls = 0;
    while !done(stand) {
        let reply = stand.client().chat("fake/m").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        calls += 1;
        assert!(calls < 500, "it never happens");
    }
    calls
}

fn times(stand: &Stand, name: &str) -> usize {
    used(stand).get(name).copied().unwrap_or(0)
}

/// Reason and whether it is passed over, of what `tidegate providers` says of a credential.
fn standing(stand: &Stand, credential: &str) -> Option<(String, bool)> {
    let (code, out, err) = stand.command(&["providers", "--json"]);
    assert_eq!(code, 0, "{err}");
    let all = out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let one = all.into_iter().find(|one| one["name"] == "fake").unwrap();
    let standing = one["standings"].as_array()?.iter().find(|one| one["credential"] == credential)?.clone();
    Some((standing["reason"].as_str()?.to_owned(), standing["away"].as_bool()?))
}

#[tokio::test]
async fn a_limited_credential_is_left_alone_and_the_others_go_on() {
    let (stand, _) = stand(&[("a", 1), ("b", 1), ("c", 1)], "").await;
    call_until(&stand, |stand| used(stand).len() == 3).await;
    stand.upstream.set_plan_of(&secret("a"), status(429, Some("60")));
    let before = times(&stand, "a");
    call_until(&stand, |stand| times(stand, "a") > before).await;
    // The call that met it went on to another credential of the same deployment, and no further one meets it.
    let log = stand.upstream.journal().all();
    let met = log.iter().rev().find(|one| one.header("authorization") == Some("Bearer sk-hidden-a")).unwrap();
    let next = log.iter().find(|one| one.request_id == met.request_id && one.attempt == 2).unwrap();
    assert_ne!(next.header("authorization"), met.header("authorization"));
    for _ in 0..40 {
        let reply = stand.client().chat("fake/m").await;
        assert_eq!((reply.status, reply.header("x-tidegate-attempts")), (200, Some("1")), "{}", reply.text());
    }
    assert_eq!(times(&stand, "a"), before + 1);
    assert_eq!(standing(&stand, "a"), Some(("rate_limited".to_owned(), true)));
    assert_eq!((standing(&stand, "b"), standing(&stand, "c")), (None, None));

    let (_, shown, _) = stand.command(&["providers"]);
    assert!(shown.contains("fake/m (credential a): limits the rate; passed over for"), "{shown}");
    assert!(shown.contains("nothing bad is known of credential b, c"), "{shown}");
    let metrics = stand.client().get("/metrics").await.unwrap().text();
    let series =
        |labels: &str, value: u32| format!("tidegate_passed_over{{provider=\"fake\",{labels}}} {value}\n");
    assert!(metrics.contains(&series("credential=\"a\",reason=\"rate_limited\"", 1)), "{metrics}");
    assert!(metrics.contains(&series("credential=\"b\",reason=\"credential\"", 0)), "{metrics}");
    let (_, explained, _) = stand.command(&["routes", "explain", "fake/m"]);
    let last = explained.lines().find(|line| line.contains("3. ")).unwrap();
    assert!(last.contains("fake/m (credential a)") && last.contains("passed over"), "{explained}");
    assert!(explained.contains("(credential b)") && explained.contains("(credential c)"), "{explained}");
    let (_, looked, _) = stand.command(&["doctor"]);
    assert!(looked.contains("provider fake of dev, credential c"), "{looked}");
    for text in [shown, metrics, explained, looked, stand.log()] {
        assert!(!text.contains("sk-hidden"), "{text}");
    }
}

#[tokio::test]
async fn many_limited_credentials_leave_an_attempt_for_the_fallback() {
    let healthy = Upstream::start(Script::default()).await.unwrap();
    let more = format!(
        "[providers.spare]\ndialect = \"openai\"\nbase_url = \"{}\"\nmodels = [\"m\"]\n\
         [routes.r]\ntargets = [\"fake/m\"]\nfallbacks = [\"spare/m\"]\n",
        healthy.base_url()
    );
    let names = ["a", "b", "c", "d", "e"].map(|name| (name, 1));
    let (stand, _) = stand(&names, &more).await;
    stand.upstream.set_plan(status(429, Some("60")));
    let reply = stand.client().chat("r").await;
    assert_eq!((reply.status, reply.header("x-tidegate-attempts")), (200, Some("3")), "{}", reply.text());
    assert_eq!((used(&stand).len(), healthy.journal().count()), (2, 1));
}

#[tokio::test]
async fn a_refused_credential_is_closed_for_every_model() {
    let (stand, _) = stand(&[("a", 1), ("b", 1)], "").await;
    stand.upstream.set_plan_of(&secret("a"), status(401, None));
    call_until(&stand, |stand| times(stand, "a") > 0).await;
    assert_eq!(standing(&stand, "a"), Some(("credential".to_owned(), true)));
    for model in ["fake/m", "fake/other", "fake/third"].repeat(10) {
        let reply = stand.client().chat(model).await;
        assert_eq!((reply.status, reply.header("x-tidegate-attempts")), (200, Some("1")), "{}", reply.text());
    }
    assert_eq!(times(&stand, "a"), 1);
    assert!(
        stand.log().contains("credential=\"a\"") || stand.log().contains("credential=a"),
        "{}",
        stand.log()
    );
}

#[tokio::test]
async fn when_all_are_refused_they_are_tried_all_the_same() {
    let (stand, _) = stand(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)], "").await;
    stand.upstream.set_plan(status(401, None));
    for n in 1..=8 {
        let reply = stand.client().chat("fake/m").await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (502, "upstream_authentication"),
            "{}",
            reply.text()
        );
        let attempts: u64 = reply.header("x-tidegate-attempts").unwrap().parse().unwrap();
        assert!((1..=3).contains(&attempts), "one counter for all: {attempts}");
        assert!(stand.upstream.journal().count() >= n, "refused without a try");
    }
    // Well again: a minute is not waited for where there is nobody else.
    stand.upstream.set_plan(Plan::default());
    assert_eq!(stand.client().chat("fake/m").await.status, 200);
}

#[tokio::test]
async fn what_is_not_the_credentials_fault_is_not_tried_with_another() {
    let (stand, _) = stand(&[("a", 1), ("b", 1)], "").await;
    for code in [500, 503, 400] {
        stand.upstream.set_plan(status(code, None));
        let reply = stand.client().chat("fake/m").await;
        assert_eq!(
            (reply.status, reply.header("x-tidegate-attempts")),
            (code, Some("1")),
            "{}",
            reply.text()
        );
    }
    assert_eq!(stand.upstream.journal().count(), 3);
}

#[tokio::test]
async fn weights_hold_and_an_end_user_stays() {
    let (stand, _) = stand(&[("a", 1), ("b", 1), ("spare", 0)], "").await;
    for _ in 0..60 {
        assert_eq!(stand.client().chat("fake/m").await.status, 200);
    }
    assert_eq!(times(&stand, "spare"), 0, "{:?}", used(&stand));
    for user in 0..10 {
        let client = stand.client().header("x-tidegate-user", &format!("user-{user}"));
        let before = used(&stand);
        for _ in 0..5 {
            assert_eq!(client.post("/v1/chat/completions", chat("fake/m", "")).await.status, 200);
        }
        let after = used(&stand);
        let changed: Vec<_> = after.iter().filter(|(name, count)| before.get(*name) != Some(count)).collect();
        assert_eq!(changed.len(), 1, "{before:?} {after:?}");
    }
    // With nobody else left the spare one is asked.
    for name in ["a", "b"] {
        stand.upstream.set_plan_of(&secret(name), status(429, Some("60")));
    }
    assert_eq!(stand.client().chat("fake/m").await.status, 200);
    assert_eq!(times(&stand, "spare"), 1);
}

#[tokio::test]
async fn what_an_account_keeps_is_of_the_first_credential() {
    let (stand, _) = stand(&[("b", 1), ("a", 0), ("c", 1)], "").await;
    for _ in 0..20 {
        let reply = stand.client().get("/v1/files").await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(used(&stand), BTreeMap::from([("a".to_owned(), 20)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_changed_without_a_failed_request() {
    let (mut stand, folder) = stand(&[("a", 1), ("b", 1)], "").await;
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let lanes = (0..4).map(|lane| {
        let (client, stop) = (stand.client(), std::sync::Arc::clone(&stop));
        tokio::spawn(async move {
            let mut calls = 0;
            while !stop.load(Ordering::Relaxed) {
                let flag = if lane % 2 == 0 { "" } else { r#","stream":true"# };
                let reply = client.post("/v1/chat/completions", chat("fake/m", flag)).await;
                assert_eq!(reply.status, 200, "{}", reply.text());
                calls += 1;
            }
            calls
        })
    });
    let lanes: Vec<_> = lanes.collect();
    for round in 1..=5 {
        // The secret of `a` is replaced by a new one, and then the old one is refused.
        let (old, new) = (format!("a{}", round - 1), format!("a{round}"));
        let old = if round == 1 { "a".to_owned() } else { old };
        std::fs::write(folder.join("a"), secret(&new)).unwrap();
        stand.signal(libc::SIGHUP);
        stand
            .wait_until("the new credential is used", |stand| {
                let is_used = times(stand, &new) > 0;
                async move { is_used }
            })
            .await;
        stand.upstream.set_plan_of(&secret(&old), status(401, None));
    }
    stop.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for lane in lanes {
        calls += lane.await.unwrap();
    }
    assert!(calls > 0 && times(&stand, "a5") > 0 && times(&stand, "b") > 0, "{:?}", used(&stand));
}
