//! A database server that is truly stopped, started again, frozen and restarted, while load L goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fakes::figures::told;
use fakes::load::{Load, Report};
use fakes::oracle::{self, Tables};
use fakes::postgres::Server;
use fakes::random::micros;
use fakes::upstream::Script;

use crate::books;
use crate::stand::{Setup, Stand, offline_key};

/// The server's tools block; the runtime of this test has a second thread for everybody else.
fn block<T>(call: impl FnOnce() -> anyhow::Result<T>) -> T {
    tokio::task::block_in_place(call).unwrap()
}

/// Load L in pieces, until told to end; one report of all.
pub(crate) async fn load_until(pieces: Load, end: Arc<AtomicBool>) -> Report {
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
pub(crate) async fn wait_for(stand: &mut Stand, name: &'static str, wanted: fn(f64) -> bool) {
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

/// When what happened, in microseconds since 1970; and how long the backlog of the stop took.
struct Spans {
    before: (i64, i64),
    stop: (i64, i64),
    freeze: (i64, i64),
    restarts: (i64, i64),
    count: u64,
    backlog: Duration,
}

/// Stopped for some seconds; frozen for some seconds; restarted a few times, in the middle of the backlog of that.
async fn stop_freeze_and_restart(stand: &mut Stand, server: &Server) -> Spans {
    let stopped = Duration::from_secs(books::length("TIDEGATE_SOAK_STOP_SECONDS", 4, 600));
    let frozen = Duration::from_secs(books::length("TIDEGATE_SOAK_FREEZE_SECONDS", 3, 60));
    let count = books::length("TIDEGATE_SOAK_RESTARTS", 2, 20);
    let begin = micros();
    tokio::time::sleep(Duration::from_secs(books::length("TIDEGATE_SOAK_BEFORE_SECONDS", 2, 30))).await;
    let (before, since) = ((begin, micros()), Instant::now());
    block(|| server.stop_hard());
    wait_for_backlog(stand).await;
    tokio::time::sleep(stopped.saturating_sub(since.elapsed())).await;
    let stop = (before.1, micros());
    block(|| server.start_again());
    let since = Instant::now();
    wait_for(stand, "tidegate_spool_records", |records| records < 500.0).await;
    let (backlog, begin, since) = (since.elapsed(), micros(), Instant::now());
    block(|| server.freeze());
    wait_for_backlog(stand).await;
    tokio::time::sleep(frozen.saturating_sub(since.elapsed())).await;
    let freeze = (begin, micros());
    block(|| server.thaw());
    for _ in 0..count {
        // Each time it is in use again, in the middle of the backlog.
        wait_for(stand, "tidegate_spool_draining", |draining| draining > 0.5).await;
        tokio::time::sleep(books::millis(300)).await;
        block(|| server.stop_hard().and_then(|()| server.start_again()));
    }
    Spans { before, stop, freeze, restarts: (freeze.1, micros()), count, backlog }
}

/// Of the requests that were due in a span: how many failed, of how many, and the time within which 99 % of the complete
/// answers came, in milliseconds.
fn within(report: &Report, span: (i64, i64)) -> (usize, usize, f64) {
    let due: Vec<_> = report.seen.iter().filter(|seen| (span.0..span.1).contains(&seen.at)).collect();
    let failed = due.iter().filter(|seen| !["ok", "stream_ok", "aborted"].contains(&&*seen.class)).count();
    let mut times: Vec<u64> = due.iter().filter(|seen| seen.complete).map(|seen| seen.latency).collect();
    times.sort_unstable();
    let micros = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    (failed, due.len(), micros as f64 / 1_000.0)
}

/// The figures of each part.
fn tell(spans: &Spans, report: &Report) {
    let (_, _, usual) = within(report, spans.before);
    let (failed, sent, p99) = within(report, spans.stop);
    let seconds = |span: (i64, i64)| (span.1 - span.0) as f64 / 1e6;
    told(
        "postgres-stopped",
        format!(
            "{:.0} s: {failed} of {sent} failed, p99 {p99:.0} ms ({usual:.0} before), backlog drained in {:.1} s",
            seconds(spans.stop),
            spans.backlog.as_secs_f64()
        ),
        "0, 60 s",
    );
    let (failed, sent, p99) = within(report, spans.freeze);
    told(
        "postgres-frozen",
        format!(
            "{:.0} s: {failed} of {sent} failed, p99 {p99:.0} ms ({usual:.0} before)",
            seconds(spans.freeze)
        ),
        "0, +5 %",
    );
    let (failed, sent, p99) = within(report, spans.restarts);
    let restarts = spans.count;
    told("postgres-restarted", format!("{restarts} times: {failed} of {sent} failed, p99 {p99:.0} ms"), "0");
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
    let spans = stop_freeze_and_restart(&mut stand, &server).await;
    end.store(true, Ordering::Relaxed);
    let report = load.await.unwrap();
    tell(&spans, &report);
    assert_eq!(report.failed(), 0, "{:?}", report.classes);
    stand.wait_drained().await;
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
    let verdict = oracle::judge(&journal, &tables, &report.seen, &books::rules(&limits));
    let (entries, wrong) = (verdict.entries, verdict.violations_total);
    told(
        "postgres-books",
        format!("{wrong} of {entries} entries missing, doubled or wrong after all of it"),
        "0",
    );
    assert!(verdict.holds(), "{verdict}");
}
