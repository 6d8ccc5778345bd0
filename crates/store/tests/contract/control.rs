//! Schema, keys and releases.

use std::sync::Arc;

use policy::{
    BudgetRule, Currency, KeyHash, KeyId, KeyOrigin, KeyRecord, Limits, Money, PreviousHash, Window,
};
use runtime::Clock;
use store::{ReleaseRow, Store, StoreError};

use crate::samples::{at, requests};
use crate::stand::{Stand, noon};
use ledger::Drain;

pub(crate) async fn every_statement_fits_the_schema(stand: &Stand) {
    // Makes today's file of the log on SQLite, without which its statements have no table.
    stand.store.drain(&requests([1])).await.unwrap();
    // What both know, what one knows, and six of many rows.
    let wanted = if stand.is_postgres() { 102 + 21 + 6 } else { 102 + 6 + 6 };
    assert_eq!(stand.store.verify().await.unwrap(), wanted);
}

pub(crate) async fn a_second_start_changes_nothing(stand: &Stand) {
    stand.store.insert_key(&key(1)).await.unwrap();
    stand.store.drain(&requests(0..3)).await.unwrap();
    let again = stand.again().await.unwrap();
    assert_eq!(again.keys().await.unwrap(), [key(1)]);
    assert_eq!(again.logs(&store::LogFilter::default()).await.unwrap().len(), 3);
    assert_eq!(again.balances().await.unwrap(), stand.store.balances().await.unwrap());
    again.close().await;
}

pub(crate) async fn nodes_that_start_together_make_one_schema(stand: &Stand) {
    let fresh = Arc::new(stand.fresh().await);
    let open = || {
        let fresh = fresh.clone();
        async move { Store::open(&fresh.url, &fresh.folder, Clock::manual(noon()).0).await }
    };
    let (a, b, c, d, e) = tokio::join!(open(), open(), open(), open(), open());
    for store in [a, b, c, d, e] {
        let store = store.unwrap();
        store.ping().await.unwrap();
        store.close().await;
    }
    Arc::into_inner(fresh).unwrap().remove().await;
}

pub(crate) fn key(n: u8) -> KeyRecord {
    KeyRecord {
        id: KeyId(format!("key_{n:020}").into()),
        name: format!("app{n}").into(),
        environment: "dev".into(),
        hash: Some(KeyHash([n; 32])),
        previous: None,
        hint: "tg-Ab…xY9z".into(),
        models: vec!["chat".into(), "openai/*".into()],
        limits: Limits::default().with("requests_per_minute", 600).with("concurrency", 50),
        budgets: vec![BudgetRule::new(
            "monthly".into(),
            Money { currency: Currency::USD, nano: 25_000_000_000 },
            Window::Month,
        )],
        durable: false,
        created_at: at(0),
        expires_at: None,
        revoked_at: None,
        origin: KeyOrigin::Live,
    }
}

pub(crate) async fn a_key_lives_from_its_making_to_its_revocation(stand: &Stand) {
    let store = &stand.store;
    let mut record = key(1);
    store.insert_key(&record).await.unwrap();
    store.insert_key(&key(2)).await.unwrap();
    assert_eq!(store.find_key("dev", "app1").await.unwrap(), Some(record.clone()));
    assert_eq!(store.find_key("prod", "app1").await.unwrap(), None);
    assert_eq!(store.find_key_by_id(&record.id).await.unwrap(), Some(record.clone()));

    // Rotated, with grace.
    record.previous = record.hash.map(|hash| PreviousHash { hash, until: at(60) });
    record.hash = Some(KeyHash([9; 32]));
    store.update_key(&record).await.unwrap();
    assert_eq!(store.find_key("dev", "app1").await.unwrap(), Some(record.clone()));

    record.revoked_at = Some(at(100));
    store.update_key(&record).await.unwrap();
    assert_eq!(store.find_key("dev", "app1").await.unwrap(), None);
    assert_eq!(store.find_key_by_id(&record.id).await.unwrap(), Some(record.clone()));
    assert_eq!(store.keys().await.unwrap(), [record, key(2)]);

    assert_eq!(
        store.update_key(&key(7)).await,
        Err(StoreError::Missing("key `key_00000000000000000007`".into()))
    );
}

pub(crate) async fn a_name_is_free_again_after_revocation(stand: &Stand) {
    let store = &stand.store;
    let mut first = key(1);
    store.insert_key(&first).await.unwrap();
    let second = KeyRecord { name: "app1".into(), ..key(2) };
    let taken = Err(StoreError::Exists("a key `app1` in environment `dev`".into()));
    assert_eq!(store.insert_key(&second).await, taken);
    // The same name in another environment is another key; the same secret is not.
    store.insert_key(&KeyRecord { name: "app1".into(), environment: "prod".into(), ..key(3) }).await.unwrap();
    let copied = KeyRecord { hash: first.hash, ..key(4) };
    assert!(matches!(store.insert_key(&copied).await, Err(StoreError::Exists(_))));

    first.revoked_at = Some(at(1));
    store.update_key(&first).await.unwrap();
    store.insert_key(&second).await.unwrap();
    // A revoked key cannot come back under a name that is taken.
    first.revoked_at = None;
    assert_eq!(store.update_key(&first).await, taken);
    // Keys without a secret do not exclude one another.
    for n in [5, 6] {
        store.insert_key(&KeyRecord { hash: None, ..key(n) }).await.unwrap();
    }
}

pub(crate) async fn releases_are_numbered_once(stand: &Stand) {
    let store = &stand.store;
    let release = |environment: &str, number: u64| ReleaseRow {
        environment: environment.into(),
        number,
        at: at(i64::try_from(number).unwrap()),
        source: "tidegate.toml".into(),
        checksum: format!("{number:064}"),
        message: String::new(),
        document: "[server]\nlisten = \"127.0.0.1:8080\"\n".into(),
        author: "ann@example.com".into(),
        bound: (number == 10).then(|| "[providers.x]\nbase_url = \"http://h/v1\"\n".into()),
    };
    assert_eq!(store.latest_release("dev").await.unwrap(), None);
    for (environment, number) in [("dev", 1), ("dev", 2), ("prod", 1), ("dev", 10)] {
        store.insert_release(&release(environment, number)).await.unwrap();
    }
    assert_eq!(
        store.insert_release(&release("dev", 2)).await,
        Err(StoreError::Exists("release 2 of environment `dev`".into()))
    );
    assert_eq!(store.latest_release("dev").await.unwrap(), Some(release("dev", 10)));
    assert_eq!(store.latest_release("prod").await.unwrap(), Some(release("prod", 1)));
    for (environment, number) in [("dev", 2), ("prod", 1)] {
        let found = store.find_release(environment, number).await.unwrap();
        assert_eq!(found, Some(release(environment, number)));
    }
    assert_eq!(store.find_release("prod", 2).await.unwrap(), None);
    let numbers: Vec<u64> = store.releases(2).await.unwrap().iter().map(|release| release.number).collect();
    assert_eq!(numbers, [10, 2]);
    assert_eq!(store.releases(100).await.unwrap().len(), 4);
}
