//! Limits against models that count in exact fractions, and against threads.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

fn per_minute(limit: u64) -> Bucket {
    Bucket::new(limit, Duration::from_nanos(MINUTE))
}

fn at(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

#[test]
fn n_at_once_then_n_a_minute() {
    for limit in [1, 7, 60, 600, 1_000_003] {
        let gcra = per_minute(limit);
        let start = 5 * SECOND;
        let many = limit.min(2_000);
        for taken in 1..=many {
            assert_eq!(gcra.admit(at(start)).unwrap().remaining, limit - taken);
        }
        if many < limit {
            continue;
        }
        let refused = gcra.admit(at(start)).unwrap_err();
        assert_eq!(refused.standing.remaining, 0);
        let wait = u64::try_from(refused.retry_after.as_nanos()).unwrap();
        assert!(gcra.admit(at(start + wait - 1)).is_err());
        assert!(gcra.admit(at(start + wait)).is_ok());
        // A minute after the burst all of it is there again, but for the one just taken.
        let passed = (0..limit + 5).filter(|_| gcra.admit(at(start + 60 * SECOND)).is_ok()).count() as u64;
        assert_eq!(passed, limit - 1);
    }
}

#[test]
fn a_limit_of_nothing_admits_nothing() {
    assert!(per_minute(0).admit(at(0)).is_err());
    assert!(per_minute(0).admit(at(u64::MAX)).is_err());
    let bucket = per_minute(0);
    bucket.correct(5, 0);
    assert!(bucket.debit(at(1), 0).is_err());
}

#[test]
fn a_clone_shares_the_fill() {
    let (one, other) = (per_minute(1), per_minute(1));
    let shared = one.clone();
    assert!(one.admit(at(0)).is_ok());
    assert!(shared.admit(at(0)).is_err());
    assert!(other.admit(at(0)).is_ok());
}

#[test]
fn a_debit_larger_than_the_limit_passes_only_a_full_bucket() {
    let bucket = per_minute(1_000);
    assert_eq!(bucket.debit(at(0), 4_000).unwrap().remaining, 0);
    let refused = bucket.debit(at(0), 1).unwrap_err();
    // 3,000 in debt: three minutes to zero, and a token more.
    assert_eq!(refused.retry_after, Duration::from_millis(180_060));
    assert!(bucket.debit(at(180 * SECOND), 1).is_err());
    assert!(bucket.debit(at(180 * SECOND + 60_000_000), 1).is_ok());
    assert!(bucket.debit(at(200 * SECOND), 4_000).is_err(), "not full again yet");
    assert!(bucket.debit(at(400 * SECOND), 4_000).is_ok());
}

#[test]
fn corrections_give_back_and_go_negative() {
    let bucket = per_minute(1_000);
    bucket.debit(at(SECOND), 1_000).unwrap();
    bucket.correct(1_000, 100);
    assert_eq!(bucket.debit(at(SECOND), 900).unwrap().remaining, 0);
    bucket.correct(900, 2_900);
    let refused = bucket.debit(at(SECOND), 0).unwrap_err();
    assert_eq!(refused.standing.reset, Duration::from_secs(180));
}

#[test]
fn permits_come_back_and_the_limit_moves() {
    let permits = Arc::new(Permits::new(Some(2)));
    let one = permits.acquire().unwrap();
    let two = permits.acquire().unwrap();
    assert!(permits.acquire().is_none());
    drop(one);
    assert_eq!(permits.in_use(), 1);
    permits.set_limit(Some(1));
    assert!(permits.acquire().is_none());
    permits.set_limit(None);
    assert_eq!(permits.limit(), None);
    let many: Vec<_> = (0..100).map(|_| permits.acquire().unwrap()).collect();
    assert_eq!(permits.in_use(), 101);
    drop((two, many));
    assert_eq!(permits.in_use(), 0);
}

#[test]
fn threads_never_get_more_than_there_is() {
    let gcra = per_minute(5_000);
    let bucket = per_minute(70_000);
    let permits = Arc::new(Permits::new(Some(3)));
    let (mut requests, mut tokens) = (0, 0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut requests, mut tokens) = (0u64, 0u64);
                    for _ in 0..10_000 {
                        let permit = permits.acquire();
                        assert!(permits.in_use() <= 3);
                        requests += u64::from(gcra.admit(at(SECOND)).is_ok());
                        if bucket.debit(at(SECOND), 10).is_ok() {
                            bucket.correct(10, 7);
                            tokens += 7;
                        }
                        drop(permit);
                    }
                    (requests, tokens)
                })
            })
            .collect();
        for worker in workers {
            let (some_requests, some_tokens) = worker.join().unwrap();
            requests += some_requests;
            tokens += some_tokens;
        }
    });
    assert_eq!(requests, 5_000);
    // Every debit was corrected, so what is left is less than one debit of 10 (and rounding by the nano).
    assert!((69_989..=70_000).contains(&tokens), "{tokens}");
    assert_eq!(permits.in_use(), 0);
}

#[test]
fn buckets_are_even_and_stable() {
    // Known answer: printf 'chat\0user-1' | sha256sum, first 53 bits.
    assert_eq!(bucket("chat", "user-1"), KNOWN);
    let mut counts = [0u32; 10];
    for unit in 0..20_000 {
        counts[(bucket("salt", &unit.to_string()) * 10.0) as usize] += 1;
    }
    assert!(counts.iter().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
}
const KNOWN: f64 = 512877158362849_f64 / 9_007_199_254_740_992.0;

proptest! {
    /// Over any span of time no more passes than the burst and what the rate lets through, as a fraction.
    #[test]
    fn any_interval_admits_at_most_burst_and_rate(
        limit in 1u64..2_000,
        gaps in proptest::collection::vec((0u64..3 * SECOND, 1usize..40), 1..60),
    ) {
        let gcra = per_minute(limit);
        let mut now = SECOND;
        let mut admitted = Vec::new();
        for (gap, tries) in gaps {
            now += gap;
            for _ in 0..tries {
                if gcra.admit(at(now)).is_ok() {
                    admitted.push(now);
                }
            }
        }
        for (first, start) in admitted.iter().enumerate() {
            for (count, end) in admitted[first..].iter().enumerate() {
                let (number, span) = (count as u64 + 1, end - start);
                // Exact but for the interval, which is whole nanoseconds: one of them for each request.
                let above = u128::from(number.saturating_sub(limit));
                prop_assert!(above * u128::from(MINUTE) <= u128::from(span + number) * u128::from(limit));
            }
        }
    }

    /// The bucket against a model that keeps its fill as a fraction (tokens times nanoseconds).
    #[test]
    fn debits_agree_with_a_rational_model(
        limit in 1u64..1_000_000,
        steps in proptest::collection::vec((0u64..90 * SECOND, 0u64..2_000_000, any::<bool>()), 1..60),
    ) {
        let bucket = per_minute(limit);
        let whole = i128::from(limit) * i128::from(MINUTE);
        let (mut fill, mut now) = (whole, 0u64);
        for (gap, tokens, small) in steps {
            let tokens = if small { tokens % (limit + 1) } else { tokens };
            now += gap;
            fill = whole.min(fill + i128::from(limit) * i128::from(gap));
            let wanted = i128::from(tokens) * i128::from(MINUTE);
            // Real and model round differently by less than a nanosecond per step: near the line both may be.
            let near = i128::from(limit) * 100;
            match bucket.debit(at(now), tokens) {
                Ok(_) => {
                    prop_assert!(fill + near >= whole || (fill + near > 0 && wanted <= fill + near));
                    fill -= wanted;
                }
                Err(_) => prop_assert!(fill - near < whole && (fill - near <= 0 || wanted > fill - near)),
            }
        }
    }

    #[test]
    fn nothing_overflows(limit: u64, now: u64, tokens: u64, actual: u64) {
        let bucket = per_minute(limit);
        let _ = bucket.debit(at(now), tokens);
        bucket.correct(tokens, actual);
        let _ = bucket.debit(at(now), actual);
        let gcra = per_minute(limit);
        let _ = (gcra.admit(at(now)), gcra.admit(at(0)), gcra.admit(at(now)));
    }
}
