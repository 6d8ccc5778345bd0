//! Figures and their age, with times that are given.

use http::HeaderValue;

use super::*;

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(milliseconds * 1_000_000)
}

fn ms(duration: Option<Duration>) -> u128 {
    duration.map_or(u128::MAX, |duration| duration.as_millis())
}

#[test]
fn what_is_new_counts_more_the_older_the_rest_is() {
    let vital = Arc::<Vital>::default();
    let busy = vital.begin();
    assert_eq!(vital.first_token(true, at(1_000)), None);
    busy.answered(Duration::from_millis(1_000), true, at(2_000));
    assert_eq!(ms(vital.first_token(true, at(2_000))), 1_000);
    busy.answered(Duration::ZERO, true, at(2_000));
    assert_eq!(ms(vital.first_token(true, at(2_000))), 802, "a fifth at once");
    busy.answered(Duration::ZERO, true, at(32_000));
    assert!(ms(vital.first_token(true, at(32_000))) < 50, "thirty seconds on");
    assert_eq!(vital.first_token(false, at(32_000)), None, "whole answers are another figure");
    assert_eq!(ms(vital.first_token(true, at(91_000))), ms(vital.first_token(true, at(32_000))));
    assert_eq!(vital.first_token(true, at(92_001)), None, "a minute on it says nothing");
}

#[test]
fn requests_under_way_are_counted_until_they_are_dropped() {
    let vital = Arc::<Vital>::default();
    let two = (vital.begin(), vital.begin());
    assert_eq!(vital.under_way(), 2);
    drop(two);
    assert_eq!(vital.under_way(), 0);
}

#[test]
fn the_smallest_share_that_a_head_tells() {
    let mut head = HeaderMap::new();
    assert_eq!(share(&head), None);
    let mut tell = |name: &'static str, value: &'static str| {
        head.insert(name, HeaderValue::from_static(value));
        share(&head)
    };
    assert_eq!(tell("x-ratelimit-limit-requests", "100"), None);
    assert_eq!(tell("x-ratelimit-remaining-requests", "50"), Some(0.5));
    assert_eq!(tell("anthropic-ratelimit-tokens-limit", "1000"), Some(0.5));
    assert_eq!(tell("anthropic-ratelimit-tokens-remaining", "100"), Some(0.1));
    assert_eq!(tell("x-ratelimit-remaining-requests", "-1"), Some(0.0));
}
