//! Waits and tries, with times that are given.

use super::*;

const NAME: &str = "up/model";

fn state(fault: Fault) -> State {
    State {
        name: NAME.into(),
        credential: None,
        account: 0,
        failures: 0,
        recent: Recent::new(at(0)),
        ill: at(0),
        by_share: false,
        times: 0,
        until: None,
        trying: None,
        fault,
    }
}

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(milliseconds * 1_000_000)
}

#[test]
fn seven_failures_in_a_row_and_no_fewer() {
    let mut state = state(Fault::Failed);
    for n in 1..IN_A_ROW {
        assert!(!state.fault(Fault::Failed, at(0), 0.0), "{n}");
        assert_eq!(state.stand(at(0)), Stand::Ready);
    }
    assert!(state.fault(Fault::Failed, at(0), 0.0));
    assert_eq!((state.stand(at(999)), state.stand(at(1000))), (Stand::Away, Stand::Due));
}

#[test]
fn waits_double_up_to_a_minute_and_are_spread() {
    let mut state = state(Fault::Failed);
    let mut now = 0;
    for _ in 0..IN_A_ROW {
        state.fault(Fault::Failed, at(now), 0.0);
    }
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(state.stand(at(now + seconds * 1000 - 1)), Stand::Away);
        now += seconds * 1000;
        assert_eq!(state.stand(at(now)), Stand::Due);
        state.trying = Some(at(now));
        assert_eq!(state.stand(at(now)), Stand::Away, "one try at a time");
        assert!(!state.fault(Fault::Failed, at(now), 0.0), "it was away before");
    }
    let mut other = self::state(Fault::Failed);
    for _ in 0..IN_A_ROW {
        other.fault(Fault::Failed, at(0), 0.999);
    }
    assert_eq!((other.stand(at(499)), other.stand(at(502))), (Stand::Away, Stand::Due));
}

#[test]
fn what_was_under_way_does_not_lengthen_the_wait() {
    let mut state = state(Fault::Failed);
    for _ in 0..IN_A_ROW + 50 {
        state.fault(Fault::Failed, at(0), 0.0);
    }
    assert_eq!(state.stand(at(1000)), Stand::Due);
}

#[test]
fn a_limited_rate_is_left_alone_as_long_as_it_says() {
    let mut state = state(Fault::Limited(None));
    assert!(state.fault(Fault::Limited(Some(Duration::from_secs(20))), at(0), 0.0), "at the first");
    assert_eq!((state.stand(at(19_999)), state.stand(at(20_000))), (Stand::Away, Stand::Due));
    let mut other = self::state(Fault::Limited(None));
    other.fault(Fault::Limited(Some(Duration::from_secs(3600))), at(0), 0.0);
    assert_eq!(other.stand(at(60_000)), Stand::Due, "nobody is left alone for an hour");
}

#[test]
fn a_lost_try_is_made_again() {
    let mut state = state(Fault::Failed);
    for _ in 0..IN_A_ROW {
        state.fault(Fault::Failed, at(0), 0.0);
    }
    state.trying = Some(at(1000));
    let lost = 1000 + u64::try_from(LOST.as_millis()).unwrap_or(0);
    assert_eq!((state.stand(at(lost - 1)), state.stand(at(lost))), (Stand::Away, Stand::Due));
}

/// Two failures and a success in turn, never seven in a row; the attempt after which it is passed over.
fn mostly_fails(state: &mut State, from: u64) -> Option<u32> {
    (1..=60).find(|n| {
        let now = at(from + u64::from(*n));
        if n % 3 == 0 {
            state.succeeded(now);
            return false;
        }
        state.fault(Fault::Failed, now, 0.0)
    })
}

#[test]
fn who_mostly_fails_is_passed_over_though_others_succeed() {
    let mut state = state(Fault::Failed);
    assert_eq!(mostly_fails(&mut state, 0), Some(ENOUGH));
    assert_eq!((state.stand(at(1_019)), state.stand(at(1_020))), (Stand::Away, Stand::Due));
    // One success lets it in again, and does not wipe out the past: the next wait is longer.
    state.trying = Some(at(1_020));
    assert!(!state.succeeded(at(1_020)));
    assert!(state.is_well());
    assert_eq!(mostly_fails(&mut state, 1_020), Some(ENOUGH));
    assert_eq!((state.stand(at(3_039)), state.stand(at(3_040))), (Stand::Away, Stand::Due));
    assert!(!state.succeeded(at(3_040)));
    assert!(!state.succeeded(at(13_039)));
    assert!(state.succeeded(at(13_040)), "ten good seconds, and all is as before");
}

#[test]
fn a_half_or_less_says_nothing() {
    let mut state = state(Fault::Failed);
    for n in 0..1_000 {
        assert!(!state.fault(Fault::Failed, at(n * 2), 0.0), "{n}");
        state.succeeded(at(n * 2 + 1));
        state.succeeded(at(n * 2 + 1));
    }
    // What is older than ten seconds is forgotten.
    for n in 0..4 {
        assert!(!state.fault(Fault::Failed, at(20_000 + n), 0.0), "{n}");
    }
}

/// Passed over for its share, and asked all the same: what it does then is known.
#[test]
fn one_that_is_asked_all_the_same_is_still_watched() {
    let ejected = || {
        let mut state = state(Fault::Failed);
        assert_eq!(mostly_fails(&mut state, 0), Some(ENOUGH));
        assert!(state.mostly_fails() && state.recent.share() > 0.5);
        state
    };
    // An answer now and then keeps it what it is, and does not let it in.
    let mut state = ejected();
    for n in 0..100 {
        assert!(!state.fault(Fault::Failed, at(30 + n), 0.0));
        state.answers_now_and_then(at(30 + n));
        assert!(state.mostly_fails(), "{n}");
        assert_eq!(state.stand(at(30 + n)), Stand::Away);
    }
    assert_eq!(state.reason(), "mostly_failed");
    // One that fails always is no such place any more.
    for _ in 0..IN_A_ROW {
        state.fault(Fault::Failed, at(200), 0.0);
    }
    assert!(!state.mostly_fails());
    assert_eq!(state.reason(), "failed");
    // Nor one that limits the rate, which is left alone as long as it says.
    let mut state = ejected();
    state.fault(Fault::Limited(Some(Duration::from_secs(20))), at(100), 0.0);
    assert!(!state.mostly_fails());
    assert_eq!((state.stand(at(20_099)), state.reason()), (Stand::Away, "rate_limited"));
}
