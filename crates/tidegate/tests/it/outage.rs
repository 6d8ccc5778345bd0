//! A database server that is truly stopped, started again, frozen and restarted, while load L goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fakes::load::{Load, Report};
use fakes::oracle::Tables;
use fakes::postgres::Server;
use fakes::upstream::Script;

use crate::books;
use crate::stand::{Setup, Stand, offline_key};

/// The server's tools block; the runtime of this test has a second thread for everybody else.
fn block<T>(call: impl FnOnce() -> anyhow::Result<T>) -> T {
    tokio::task::block_in_place(call).unwrap()
}

/// Load L in pieces, until told to end; one report of all.
async fn load_until(pieces: Load, end: Arc<AtomicBool>) -> Report {
    let mut all = Report::default();
    for piece in 0.. {
        let load = Load { seed: pieces.seed + piece, ..pieces.clone() };
        let report = fakes::load::run(load).await.unwrap();
        all.sent += report.sent;
        for (class, count) in report.classes {
            *all.classes.entry(class).or_default() += count;
        }
        all.seen.extend(report.seen.into_iter().map(|mut one| {
            one.index += piece * 1_000_000;
            one
        }));
        if end.load(Ordering::Relaxed) {
            break;
        }
    }
    all
}

/// Polls a metric until it is as wanted.
async fn wait_for(stand: &mut Stand, name: &'static str, wanted: fn(f64) -> bool) {
    stand
        .wait_until(name, |stand| {
            let client = stand.client();
            async move { client.metric(name).await.is_some_and(wanted) }
        })
        .await;
}

/// The database has taken nothing for a while: load L makes 600 records a second and more.
async fn wait_for_backlog(stand: &mut Stand) {
    wait_for(stand, "tidegate_spool_records", |records| records > 500.0).await;
    let ready = stand.client().get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200, "a gateway without its database serves on: {}", ready.text());
}

/// Stopped for some seconds; frozen for some seconds right after it is back; restarted a few times.
async fn stop_freeze_and_restart(stand: &mut Stand, server: &Server) {
    let stopped = Duration::from_secs(books::length("TIDEGATE_SOAK_STOP_SECONDS", 4, 600));
    let frozen = Duration::from_secs(books::length("TIDEGATE_SOAK_FREEZE_SECONDS", 3, 60));
    let restarts = books::length("TIDEGATE_SOAK_RESTARTS", 2, 20);
    tokio::time::sleep(books::millis(1_000)).await;
    let since = Instant::now();
    block(|| server.stop_hard());
    wait_for_backlog(stand).await;
    tokio::time::sleep(stopped.saturating_sub(since.elapsed())).await;
    block(|| server.start_again());
    let since = Instant::now();
    block(|| server.freeze());
    wait_for_backlog(stand).await;
    tokio::time::sleep(frozen.saturating_sub(since.elapsed())).await;
    block(|| server.thaw());
    for _ in 0..restarts {
        // Each time it is in use again, in the middle of the backlog.
        wait_for(stand, "tidegate_spool_draining", |draining| draining > 0.5).await;
        tokio::time::sleep(books::millis(300)).await;
        block(|| server.stop_hard().and_then(|()| server.start_again()));
    }
    eprintln!("PostgreSQL was stopped {stopped:?}, frozen {frozen:?}, restarted {restarts} times");
}

/// The time within which 99 % of the complete answers came, in milliseconds; for people, not for asserting.
fn p99(report: &Report) -> u64 {
    let mut times: Vec<u64> = report.seen.iter().filter(|s| s.complete).map(|s| s.latency).collect();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).map_or(0, |micros| micros / 1_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_postgres_that_is_stopped_and_frozen_under_load_fails_no_request_and_loses_nothing() {
    let server = block(Server::start);
    // The journal keeps every dispatch of the longest soak.
    let script = Some(Script { keep: 4_000_000, ..Script::default() });
    let (store, more) = (format!("url = \"{}\"", server.url()), books::priced(&books::MODELS));
    let key = books::budget("5000.00");
    let mut stand = Stand::start(Setup { store, more, key, script, ..Setup::default() }).await;
    assert_eq!(stand.client().chat("fake/ok-t3").await.status, 200);
    wait_for(&mut stand, "tidegate_spool_draining", |draining| draining > 0.5).await;
    wait_for(&mut stand, "tidegate_keys_current", |current| current > 0.5).await;
    let end = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(load_until(books::load(&stand, 3.0, 4_100), Arc::clone(&end)));
    stop_freeze_and_restart(&mut stand, &server).await;
    end.store(true, Ordering::Relaxed);
    let report = load.await.unwrap();
    assert_eq!(report.failed(), 0, "{:?}", report.classes);
    let drained = Instant::now();
    stand.wait_drained().await;
    eprintln!(
        "{} requests, p99 {} ms, {:?}; drained {:?} after the load",
        report.sent,
        p99(&report),
        report.classes,
        drained.elapsed()
    );
    // A stop and a start while it is stopped: known keys are served, with the share of their budget that this gateway holds;
    // unknown ones are not told that they are wrong.
    block(|| server.stop_hard());
    assert_eq!(stand.stop().await, Some(0), "{}", stand.log());
    stand.run().await;
    assert_eq!(stand.client().chat("fake/ok-t3").await.status, 200);
    let unknown = stand.client().with_key(&offline_key()).chat("fake/ok-t3").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (503, "key_store_unavailable"));
    block(|| server.start_again());
    stand.wait_drained().await;
    let journal = books::journal(&stand).await;
    assert_eq!(stand.stop().await, Some(0), "{}", stand.log());
    let tables = Tables::read_postgres(&server.url()).await.unwrap();
    let limits: Vec<_> = tables.balances.iter().map(|b| (b.scope.as_str(), 5_000_000_000_000)).collect();
    books::assert_balanced(&journal, &tables, &report.seen, &books::rules(&limits));
}
