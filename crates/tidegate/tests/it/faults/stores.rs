//! Databases that lose an answer and not the transaction, and databases that somebody else holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fakes::load::Load;
use fakes::oracle::{self, Tables};
use fakes::proxy::Proxy;
use fakes::upstream::Script;
use sqlx::{Connection, Executor};

use super::told;
use crate::books;
use crate::operate::Database;
use crate::outage::{load_until, wait_for};
use crate::stand::{PATIENCE, Setup, Stand};

/// The transaction is carried out and its answer never comes, so that it is made again, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_nobody_hears_of_is_not_made_twice() {
    let wanted = books::length("TIDEGATE_SOAK_COMMITS", 50, 1_000);
    let database = Database::create().await;
    let proxy = Proxy::start(database.address(), 10).await.unwrap();
    let store = format!("url = \"{}\"", database.url(Some(proxy.addr().port())));
    let script = Some(Script { keep: 1_000_000, ..Script::default() });
    let (key, more) = (books::budget("5000.00"), books::priced_models());
    let mut stand = Stand::start(Setup { store, key, more, script, ..Setup::default() }).await;
    assert_eq!(stand.client().chat("fake/ok-t3").await.status, 200);
    wait_for(&mut stand, "tidegate_spool_draining", |draining| draining > 0.5).await;
    wait_for(&mut stand, "tidegate_keys_current", |current| current > 0.5).await;
    let end = Arc::new(AtomicBool::new(false));
    let pieces = Load { rate: Some(100.0), ..books::load(&stand, 2.0, 10_000) };
    let load = tokio::spawn(load_until(pieces, Arc::clone(&end)));
    proxy.set(|setting| setting.down.lose_commits = 0.5);
    let (mut lost, mut since) = (0, Instant::now());
    while lost < wanted {
        tokio::time::sleep(books::millis(20)).await;
        let now = proxy.lost_commits();
        if now > lost {
            (lost, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "{lost} commits were lost, and no more\n{}", stand.log());
    }
    proxy.heal();
    end.store(true, Ordering::Relaxed);
    let report = load.await.unwrap();
    assert_eq!(report.failed(), 0, "{:?}", report.classes);
    stand.wait_drained().await;
    let journal = books::journal(&stand).await;
    assert_eq!(stand.stop().await, Some(0), "{}", stand.log());
    let tables = Tables::read_postgres(&database.url(None)).await.unwrap();
    let limits: Vec<_> = tables.balances.iter().map(|b| (b.scope.as_str(), 5_000_000_000_000)).collect();
    let verdict = oracle::judge(&journal, &tables, &report.seen, &books::rules(&limits));
    let (entries, wrong) = (verdict.entries, verdict.violations_total);
    told(
        "commits-unheard",
        format!(
            "{lost} commits lost their answer; {wrong} of {entries} entries missing, doubled or wrong, {} of {} requests failed",
            report.failed(),
            report.sent
        ),
        "0, 0",
    );
    assert!(verdict.holds(), "{verdict}");
    database.drop().await;
}

/// Another process holds the right to write, as a backup or a shell might.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_that_is_held_by_another_fails_no_request() {
    let held = Duration::from_secs(books::length("TIDEGATE_SOAK_LOCK_SECONDS", 7, 30));
    let key = books::budget("5000.00");
    let script = Some(Script { keep: 100_000, ..Script::default() });
    let mut stand =
        Stand::start(Setup { key, more: books::priced_models(), script, ..Setup::default() }).await;
    assert_eq!(stand.client().chat("fake/ok-t3").await.status, 200);
    stand.wait_drained().await;
    let load = books::run(books::load(&stand, held.as_secs_f64() + 2.0, 16));
    let path = stand.data_dir.join("control.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).busy_timeout(PATIENCE);
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    tokio::time::sleep(held).await;
    let waiting = stand.client().metric("tidegate_spool_records").await.unwrap();
    assert!(waiting > 100.0, "{waiting} records wait: the lock held nobody");
    let ready = stand.client().get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200, "{}", ready.text());
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    let report = load.await.unwrap();
    let since = Instant::now();
    stand.wait_drained().await;
    told(
        "sqlite-held",
        format!(
            "{} of {} requests failed in {held:?}, {waiting} records waited, drained {:.1} s after the load",
            report.failed(),
            report.sent,
            since.elapsed().as_secs_f64()
        ),
        "0",
    );
    assert_eq!(report.failed(), 0, "{:?}", report.classes);
    let journal = books::journal(&stand).await;
    assert_eq!(stand.stop().await, Some(0), "{}", stand.log());
    let tables = books::sqlite(&stand.data_dir).await;
    let limits: Vec<_> = tables.balances.iter().map(|b| (b.scope.as_str(), 5_000_000_000_000)).collect();
    books::assert_balanced(&journal, &tables, &report.seen, &books::rules(&limits));
}
