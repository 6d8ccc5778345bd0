//! The move from SQLite to PostgreSQL: equal sums, equal rows, from one empty database to no other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger::Drain;
use policy::StoreUrl;
use store::{Store, StoreError, UsageBy, UsageFilter};

/// No day of the log is dropped: only what was taken is folded.
const LONG: Duration = Duration::from_secs(9_000 * 86_400);

use crate::samples::{entries, requests};
use crate::stand::{Stand, drop_database, make_database};

async fn target(stand: &Stand) -> (Store, String) {
    let (url, name) = make_database().await;
    let store = Store::open(&StoreUrl::Postgres(url), stand.folder(), stand.clock.clone()).await.unwrap();
    (store, name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_moved_is_equal_and_goes_on() {
    let stand = Stand::sqlite().await;
    // Folded in part, so that sums of both kinds are moved.
    stand.store.drain(&requests(0..700)).await.unwrap();
    stand.store.retain(LONG).await.unwrap();
    stand.store.drain(&requests(700..1300)).await.unwrap();
    let (target, name) = target(&stand).await;
    let told = AtomicU64::new(0);
    let mut tell = |_: &str, _: u64| {
        told.fetch_add(1, Ordering::Relaxed);
    };
    let moved = stand.store.move_to(&target, "node-1", &mut tell).await.unwrap();
    assert!(!moved.before && told.load(Ordering::Relaxed) > 3);
    assert_eq!((moved.rows["entries"], moved.rows["request_log"]), (1300, 1300));
    let (balances, usage) = (stand.store.balances().await.unwrap(), usage(&stand.store).await);
    assert!(!balances.is_empty() && !usage.is_empty());
    assert_eq!(target.balances().await.unwrap(), balances);
    assert_eq!(self::usage(&target).await, usage);
    // Again: nothing is moved twice, and nobody else moves here.
    assert!(stand.store.move_to(&target, "node-1", &mut tell).await.unwrap().before);
    let other = stand.store.move_to(&target, "node-2", &mut tell).await.unwrap_err();
    assert!(matches!(other, StoreError::Exists(_)), "{other}");
    // What was moved is known, and what comes next is numbered after it.
    target.drain(&entries(1290..1310)).await.unwrap();
    stand.store.drain(&entries(1290..1310)).await.unwrap();
    assert_eq!(target.balances().await.unwrap(), stand.store.balances().await.unwrap());
    target.retain(LONG).await.unwrap();
    assert_eq!(target.balances().await.unwrap(), stand.store.balances().await.unwrap());
    target.close().await;
    drop_database(&name).await;
    stand.close().await;
}

async fn usage(store: &Store) -> Vec<String> {
    let rows = store
        .usage(&UsageFilter { by: vec![UsageBy::Key, UsageBy::Model], ..UsageFilter::default() })
        .await
        .unwrap();
    rows.iter().map(|row| format!("{row:?}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_data_of_its_own_is_left_alone() {
    let stand = Stand::sqlite().await;
    stand.store.drain(&entries(0..3)).await.unwrap();
    let (target, name) = target(&stand).await;
    target.drain(&entries(5..6)).await.unwrap();
    let before = target.balances().await.unwrap();
    let refused = stand.store.move_to(&target, "node-1", &mut |_, _| {}).await.unwrap_err();
    assert!(refused.to_string().contains("entries"), "{refused}");
    assert_eq!(target.balances().await.unwrap(), before);
    target.close().await;
    drop_database(&name).await;
    stand.close().await;
}
