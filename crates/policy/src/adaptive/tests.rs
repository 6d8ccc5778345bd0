//! Limits against simulated places.

use super::*;
use proptest::prelude::*;

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(milliseconds * 1_000_000)
}

#[test]
fn a_wave_of_refusals_is_one() {
    let mut pace = Pace::refused_at(40, at(1_000));
    assert_eq!(pace.limit(), 20, "half of what was under way");
    for _ in 0..39 {
        pace.refused(at(500), 40, at(1_001));
    }
    assert_eq!(pace.limit(), 20, "all of them departed before");
    pace.refused(at(1_500), 20, at(1_600));
    assert_eq!(pace.limit(), 10);
    pace.refused(at(1_700), 4, at(1_800));
    assert_eq!(pace.limit(), 2, "of what was under way, where that was less");
    for n in 0..10 {
        pace.refused(at(2_000 + n), 1, at(2_000 + n));
        assert_eq!(pace.limit(), 1, "never none");
    }
    assert_eq!(Pace::refused_at(0, at(0)).limit(), 1);
}

#[test]
fn one_more_for_each_turn_that_is_used() {
    let mut pace = Pace::refused_at(20, at(0));
    for _ in 0..1_000 {
        pace.answered(None, 4, at(1));
    }
    assert_eq!(pace.limit(), 10, "whoever does not use it learns nothing");
    for _ in 0..11 {
        pace.answered(None, 10, at(1));
    }
    assert_eq!(pace.limit(), 11);
    assert!(!pace.is_forgotten(at(599_999)) && pace.is_forgotten(at(600_000)));
    assert!(
        !Pace::watched(at(0)).is_forgotten(at(599_999)) && Pace::watched(at(0)).is_forgotten(at(600_000))
    );
}

/// A window of calls to a server that bears `bears` at once and takes `base` seconds for a first token, with as many under
/// way as it is given and are wanted.
fn window(pace: &mut Pace, bears: f64, base: f64, wanted: u32, now: u64) {
    let under_way = pace.limit().min(wanted);
    let first = base * (f64::from(under_way) / bears).max(1.0);
    for _ in 0..ENOUGH {
        pace.answered(Some(Duration::from_secs_f64(first)), under_way, at(now));
    }
}

#[test]
fn a_server_that_grows_slower_is_found_out_anew() {
    let mut pace = Pace::watched(at(0));
    for n in 1..=200 {
        window(&mut pace, 20.0, 0.1, 1_000, n * 1_000);
    }
    let before = pace.limit();
    assert!((20..60).contains(&before), "{before}");
    // Prompts are four times as long from now on.
    let mut least = before;
    for n in 201..=400 {
        window(&mut pace, 20.0, 0.4, 1_000, n * 1_000);
        least = least.min(pace.limit());
    }
    let after = pace.limit();
    assert!(least <= 5 && (20..60).contains(&after), "{least} {after}");
}

#[test]
fn a_window_needs_time_and_tokens() {
    let mut pace = Pace::watched(at(0));
    for n in 0..100 {
        pace.answered(Some(Duration::from_millis(100)), 4, at(n));
    }
    assert_eq!(pace.limit(), 4, "within a second nothing follows");
    pace.answered(None, 4, at(5_000));
    assert_eq!(pace.limit(), 4, "what tells no first token says nothing");
    pace.answered(Some(Duration::from_millis(100)), 4, at(5_000));
    assert_eq!(pace.limit(), 6);
}

proptest! {
    /// Against a place that refuses whatever is beyond what it bears: what it is given is soon between half of that and a little
    /// more, and few of the calls are refused.
    #[test]
    fn a_vendors_limit_is_found(bears in 1u32..200, first in 1u32..2_000) {
        let mut now = 0u64;
        let mut pace = Pace::refused_at(first, at(now));
        let (mut sent, mut refused) = (0u64, 0u64);
        for round in 0..600u32 {
            let departed = at(now + 1);
            now += 100;
            let under_way = pace.limit();
            for call in 0..under_way {
                if round >= 100 { sent += 1 }
                if call < bears {
                    pace.answered(None, under_way, at(now));
                } else {
                    if round >= 100 { refused += 1 }
                    pace.refused(departed, under_way, at(now));
                }
            }
            prop_assert!(pace.limit() >= 1);
            if round >= 100 {
                prop_assert!(pace.limit() <= bears + 2, "{} of {bears}", pace.limit());
                prop_assert!(pace.limit() + 1 >= bears / 2, "{} of {bears}", pace.limit());
            }
        }
        // A refusal every half of `bears` rounds, of about as many calls each.
        prop_assert!(refused <= sent / 2, "{refused} of {sent} for {bears}");
    }

    /// Against a server whose first token is late by as much as it is given more than it bears.
    #[test]
    fn a_servers_limit_is_found(bears in 2u32..400, base in 0.01f64..5.0) {
        let mut pace = Pace::watched(at(0));
        for n in 1..=400u64 {
            window(&mut pace, f64::from(bears), base, 5_000, n * 1_000);
            prop_assert!(pace.limit() >= 1);
        }
        let limit = f64::from(pace.limit());
        let bears = f64::from(bears);
        prop_assert!(limit >= bears.min(4.0) && limit >= bears * 0.9, "{limit} of {bears}");
        prop_assert!(limit <= bears * 2.0 + 12.0, "{limit} of {bears}");
    }

    /// Whatever is said, there is a limit, and refusals of earlier departures never move it.
    #[test]
    fn there_is_always_a_limit(
        gradient in any::<bool>(),
        said in prop::collection::vec((any::<bool>(), 0u64..10_000, 0u32..3_000, 0u64..60_000), 0..200)
    ) {
        let mut pace = if gradient { Pace::watched(at(0)) } else { Pace::refused_at(7, at(0)) };
        let mut now = 0;
        for (answered, step, under_way, first) in said {
            now += step;
            let before = (pace.limit(), pace.cut);
            if answered {
                pace.answered(Some(Duration::from_millis(first)), under_way, at(now));
            } else {
                let departed = at(now.saturating_sub(first));
                pace.refused(departed, under_way, at(now));
                if departed < before.1 {
                    prop_assert_eq!(pace.limit(), before.0);
                } else {
                    prop_assert!(pace.limit() <= before.0.max(1));
                }
            }
            prop_assert!(pace.limit() >= 1 && f64::from(pace.limit()) <= MOST);
        }
    }
}
