//! What is kept beside the entries is what the database adds up from them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use ledger::{Basis, Drain, Drained};
use policy::{KeyId, Money, RequestId, StoreUrl, Usage};
use runtime::Clock;

use super::*;
use crate::{Store, UsageBy, UsageFilter, UsageRow};

const BY: [UsageBy; 8] = [
    UsageBy::Hour,
    UsageBy::Key,
    UsageBy::Provider,
    UsageBy::Model,
    UsageBy::EndUser,
    UsageBy::Environment,
    UsageBy::Release,
    UsageBy::Endpoint,
];

/// Draws that are the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }

    fn count(&mut self) -> Option<u64> {
        let some = self.below(1000);
        self.one(&[None, Some(0), Some(some), Some(u64::MAX), Some(1 << 41)])
    }

    fn money(&mut self) -> Option<Money> {
        let nano = i64::try_from(self.below(1 << 30)).unwrap();
        let currency = self.one(&[Currency::USD, Currency::CNY]);
        self.one(&[None, Some(Money { currency, nano: 0 }), Some(Money { currency, nano })])
    }

    fn labels(&mut self) -> Arc<Labels> {
        let key = self.below(3);
        Arc::new(Labels {
            organization: "local".into(),
            workspace: "default".into(),
            // A key belongs to one environment.
            environment: if key == 0 { "dev" } else { "prod" }.into(),
            layer: "development".into(),
            region: "local".into(),
            release: self.below(2),
            variant: self.one(&[None, Some("b".into())]),
            prompt_version: self.one(&[None, Some("3".into())]),
            key_id: KeyId(format!("key_{key}").into()),
            key_name: format!("app-{key}").into(),
        })
    }

    fn entry(&mut self, n: u64, labels: Arc<Labels>) -> Entry {
        let at =
            Timestamp::from_micros(1_795_000_000_000_000 + i64::try_from(self.below(3)).unwrap() * HOUR_US);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&n.to_be_bytes());
        let window = Timestamp::from_micros(1_793_491_200_000_000);
        let scope: Name = format!("{}/monthly", labels.key_id).into();
        let outcome = self.one(&[
            Outcome::Completed,
            Outcome::ClientGone,
            Outcome::UpstreamFailed,
            Outcome::Refused,
            Outcome::NeverDispatched,
        ]);
        Entry {
            request_id: RequestId::v7(at, random),
            attempt_no: 1,
            kind: self.one(&[EntryKind::Settle, EntryKind::Settle, EntryKind::Void]),
            seq: self.one(&[0, 0, 0, 1]),
            at,
            settled_at: at,
            labels,
            provider: "openai".into(),
            model: self.one(&["openai/gpt-5-mini".into(), "openai/gpt-5".into()]),
            endpoint: self.one(&["chat".into(), "embeddings".into()]),
            end_user: self.one(&[None, Some("".into()), Some("ann".into()), Some("a\0b".into())]),
            session: None,
            tags: Vec::new(),
            outcome,
            usage: Usage {
                input: self.count(),
                cached_input: self.count(),
                cache_write: self.count(),
                output: self.count(),
                reasoning: self.count(),
                ..Usage::default()
            },
            basis: Basis::Reported,
            estimated: self.below(2) == 1,
            cost: self.money(),
            charge: self.money(),
            price_version: None,
            budgets: self.one(&[
                Vec::new(),
                vec![(scope.clone(), window)],
                vec![(scope, window), ("team".into(), Timestamp::from_micros(0))],
            ]),
            overrun: false,
        }
    }
}

struct Stand {
    store: Store,
    folder: PathBuf,
}

impl Stand {
    async fn open(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tidegate-sums-{}-{name}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        Self { store: open(&folder).await, folder }
    }

    async fn drain(&self, entries: &[Entry]) {
        let batch: Vec<Drained> = entries.iter().cloned().map(Drained::Entry).collect();
        self.store.drain(&batch).await.unwrap();
    }

    async fn shown(&self) -> (Vec<(Name, Timestamp, Money)>, Vec<UsageRow>) {
        let usage = UsageFilter { by: BY.to_vec(), ..UsageFilter::default() };
        (self.store.balances().await.unwrap(), self.store.usage(&usage).await.unwrap())
    }

    /// Whether a fold would write what was kept.
    async fn keeps(&self) -> bool {
        self.store.sums.lock().await.is_known()
    }

    async fn end(self) {
        self.store.close().await;
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

async fn open(folder: &Path) -> Store {
    let now = Timestamp::from_micros(1_795_000_000_000_000);
    Store::open(&StoreUrl::Sqlite, folder, Clock::manual(now).0).await.unwrap()
}

fn entries(draws: &mut Draws, range: std::ops::Range<u64>) -> Vec<Entry> {
    let labels: Vec<_> = (0..6).map(|_| draws.labels()).collect();
    range
        .map(|n| {
            // Who reads the spool shares labels, but not for ever.
            let labels = draws.one(&labels);
            let labels = if n % 5 == 0 { Arc::new((*labels).clone()) } else { labels };
            draws.entry(n, labels)
        })
        .collect()
}

#[tokio::test]
async fn folding_what_was_kept_changes_no_sum() {
    let stand = Stand::open("kept").await;
    let mut draws = Draws(7);
    for round in 0..6 {
        for batch in entries(&mut draws, round * 300..round * 300 + 300).chunks(70) {
            stand.drain(batch).await;
        }
        assert!(stand.keeps().await, "round {round}");
        let before = stand.shown().await;
        stand.store.fold().await.unwrap();
        assert!(stand.shown().await == before, "round {round}");
    }
    stand.end().await;
}

#[tokio::test]
async fn both_ways_of_folding_give_the_same_sums() {
    let (kept, read) = (Stand::open("this").await, Stand::open("that").await);
    let mut draws = Draws(8);
    for round in 0..4 {
        let batch = entries(&mut draws, round * 200..round * 200 + 200);
        kept.drain(&batch).await;
        read.drain(&batch).await;
        read.store.sums.lock().await.forget();
        assert!(kept.keeps().await && !read.keeps().await);
        kept.store.fold().await.unwrap();
        read.store.fold().await.unwrap();
        assert!(kept.shown().await == read.shown().await, "round {round}");
    }
    kept.end().await;
    read.end().await;
}

#[tokio::test]
async fn a_batch_that_comes_again_is_not_kept() {
    let stand = Stand::open("again").await;
    let batch = entries(&mut Draws(9), 0..100);
    stand.drain(&batch[..60]).await;
    assert!(stand.keeps().await);
    // Twenty of these are known.
    stand.drain(&batch[40..]).await;
    assert!(!stand.keeps().await);
    let before = stand.shown().await;
    stand.store.fold().await.unwrap();
    assert!(stand.shown().await == before);
    // From here on everything is known again.
    stand.drain(&entries(&mut Draws(10), 100..150)).await;
    assert!(stand.keeps().await);
    let before = stand.shown().await;
    stand.store.fold().await.unwrap();
    assert!(stand.shown().await == before);
    stand.end().await;
}

#[tokio::test]
async fn entries_of_an_earlier_process_are_read_back() {
    let mut stand = Stand::open("earlier").await;
    stand.drain(&entries(&mut Draws(11), 0..100)).await;
    stand.store.close().await;
    stand.store = open(&stand.folder).await;
    stand.drain(&entries(&mut Draws(12), 100..130)).await;
    assert!(!stand.keeps().await, "a hundred entries that were not seen here are not folded yet");
    let before = stand.shown().await;
    stand.store.fold().await.unwrap();
    assert!(stand.shown().await == before);
    stand.end().await;
}

#[tokio::test]
async fn what_is_much_is_folded_before_the_end() {
    let mut stand = Stand::open("end").await;
    let labels = Draws(14).labels();
    let mut draws = Draws(15);
    for start in (0..20_500).step_by(500) {
        // Handed over as when there is much to do, so that nothing is folded in between.
        let batch: Vec<_> = (start..start + 500).map(|n| draws.entry(n, labels.clone())).collect();
        stand.drain(&batch).await;
    }
    let before = stand.shown().await;
    stand.store.close().await;
    stand.store = open(&stand.folder).await;
    let mut session = stand.store.database.read(crate::database::Place::Control).await.unwrap();
    let mut row = session.fetch(&crate::statements::text::UNFOLDED, Vec::new()).await.unwrap().remove(0);
    assert_eq!((row.int().unwrap(), row.int().unwrap()), (20_500, 20_500));
    drop(session);
    assert!(stand.shown().await == before);
    stand.end().await;
}

#[tokio::test]
async fn a_batch_that_was_broken_off_is_not_believed() {
    let stand = Stand::open("broken").await;
    let batch = entries(&mut Draws(13), 0..40);
    stand.drain(&batch[..20]).await;
    let drained: Vec<Drained> = batch[20..].iter().cloned().map(Drained::Entry).collect();
    // Let go of after each of its first steps.
    for steps in 0..6 {
        let mut left = steps;
        let mut drain = stand.store.drain(&drained);
        let polled = std::future::poll_fn(|context| {
            left -= 1;
            if left < 0 { std::task::Poll::Ready(false) } else { drain.as_mut().poll(context).map(|_| true) }
        });
        let _ = tokio::time::timeout(Duration::from_millis(50), polled).await;
    }
    stand.drain(&batch).await;
    let before = stand.shown().await;
    stand.store.fold().await.unwrap();
    assert!(stand.shown().await == before);
    stand.end().await;
}
