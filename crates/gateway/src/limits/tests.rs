//! The table of counters: bounded, and nobody's limit is lost by that.

#![expect(clippy::unwrap_used, reason = "tests")]

use policy::Limits;

use super::*;

fn rule(per: Per, limits: Limits) -> LimitRule {
    LimitRule { name: "l".into(), per, only: Vec::new(), models: Vec::new(), limits, shadow: false }
}

fn at(seconds: u64) -> Moment {
    Moment::from_nanos(seconds * 1_000_000_000)
}

fn admits(limiter: &Limiter, scope: &str, rule: &LimitRule, subject: &str, now: Moment) -> bool {
    let meters = limiter.meters(scope, rule, subject, now);
    Taken::default().take(&meters, Part::Turn, now).is_ok()
}

fn daily(limit: u64) -> Limits {
    Limits::default().with("requests_per_day", limit)
}

#[test]
fn each_subject_and_each_scope_counts_by_itself() {
    let (limiter, rule) = (Limiter::default(), rule(Per::EndUser, daily(1)));
    for (scope, subject) in [("a", "one"), ("a", "two"), ("b", "one")] {
        assert!(admits(&limiter, scope, &rule, subject, at(1)));
        assert!(!admits(&limiter, scope, &rule, subject, at(1)));
    }
    assert_eq!(limiter.len(), 3);
}

#[test]
fn a_changed_limit_begins_anew_and_an_unchanged_one_does_not() {
    let limiter = Limiter::default();
    let (one, two) = (rule(Per::EndUser, daily(1)), rule(Per::EndUser, daily(2).with("concurrency", 5)));
    assert!(admits(&limiter, "a", &one, "u", at(1)));
    assert!(!admits(&limiter, "a", &one, "u", at(1)));
    assert!(admits(&limiter, "a", &two, "u", at(1)));
    assert!(admits(&limiter, "a", &two, "u", at(1)));
    assert!(!admits(&limiter, "a", &two, "u", at(1)));
}

#[test]
fn environments_that_say_it_differently_do_not_renew_each_other() {
    let limiter = Limiter::default();
    let (one, two) = (rule(Per::Workspace, daily(1)), rule(Per::Workspace, daily(2)));
    let admitted =
        (0..20).filter(|n| admits(&limiter, "o", if n % 2 == 0 { &one } else { &two }, "w", at(1)));
    assert_eq!(admitted.count(), 3);
}

#[test]
fn what_is_full_again_is_forgotten_and_what_is_not_is_kept() {
    let limiter = Limiter::default();
    let rule = rule(Per::EndUser, Limits::default().with("requests_per_second", 1));
    for user in 0..200_000 {
        admits(&limiter, "a", &rule, &user.to_string(), at(user / 10_000 * 2));
    }
    assert!(limiter.len() <= SHARDS * (MOST + 1));
    // Those of the last second are still counted; there was room for them.
    assert!((190_000..200_000u64).all(|user| !admits(&limiter, "a", &rule, &user.to_string(), at(38))));
}

#[test]
fn whoever_finds_no_place_shares_one_limit() {
    let (limiter, rule) = (Limiter::default(), rule(Per::EndUser, daily(1)));
    let admitted = (0..300_000).filter(|user: &u32| admits(&limiter, "a", &rule, &user.to_string(), at(1)));
    let admitted = admitted.count();
    assert!(admitted <= SHARDS * (MOST + 1), "{admitted}");
    assert!(admitted >= SHARDS * MOST / 2, "{admitted}");
    assert!(limiter.len() <= SHARDS * (MOST + 1));
}

#[test]
fn a_place_in_use_is_never_forgotten() {
    let (limiter, rule) = (Limiter::default(), rule(Per::EndUser, Limits::default().with("concurrency", 1)));
    let mut held = Taken::default();
    held.take(&limiter.meters("a", &rule, "busy", at(0)), Part::Turn, at(0)).unwrap();
    for user in 0..200_000 {
        admits(&limiter, "a", &rule, &user.to_string(), at(user / 1_000));
    }
    assert!(!admits(&limiter, "a", &rule, "busy", at(1_000)));
    drop(held);
    assert!(admits(&limiter, "a", &rule, "busy", at(1_000)));
}

#[test]
fn a_part_that_fails_takes_nothing_of_its_limit() {
    let meters = Meters::new(&daily(5).with("requests_per_hour", 1).with("concurrency", 9), None);
    let mut taken = Taken::default();
    taken.take(&meters, Part::Turn, at(0)).unwrap();
    assert!(matches!(taken.take(&meters, Part::Turn, at(0)), Err(Full::Rate(..))));
    assert_eq!(meters.permits.in_use(), 1);
    let day = meters.standings(true, at(0)).find(|(rate, _)| rate.span == policy::Span::Day).unwrap();
    assert_eq!(day.1.remaining, 4);
    taken.undo();
    assert!(meters.are_idle(at(0)));
}
