//! At most half of a route is passed over for failing mostly.
//!
//! A place that mostly fails still answers now and then, and what it does not take the others must. Where many fail at once
//! the cause is seldom the places (a bad release of a client, a network), and to press all of the load upon the last
//! one that looks well brings that one down too. So of the places that a request may go to, half, rounded down, stay passed over:
//! those that fail most. What fails always, limits the rate or refuses the credential does not count, since asking it helps nobody.

use super::{Causes, Ranked, Stand, View};
use smallvec::SmallVec;

/// Lets those in again that fail least, where more than half would be passed over. Fallbacks count as far as they are there for
/// failures.
pub(super) fn keep_half(open: &mut [Ranked<'_>], view: &impl View) {
    let counts =
        |one: &Ranked<'_>| one.on.is_none_or(|on| on.has(Causes::ERROR) || on.has(Causes::RATE_LIMIT));
    let counted: SmallVec<[usize; 8]> = (0..open.len()).filter(|at| counts(&open[*at])).collect();
    let share = |at: &usize| {
        let one = &open[*at];
        if one.stand == Stand::Away { view.failing(&one.choice.deployment) } else { None }
    };
    let shares: SmallVec<[Option<f64>; 8]> = counted.iter().map(share).collect();
    for kept in kept(&shares) {
        let one = &mut open[counted[kept]];
        (one.stand, one.kept) = (Stand::Ready, true);
    }
}

/// Which of these are let in: each tells the share that fails if it is passed over for that.
fn kept(shares: &[Option<f64>]) -> SmallVec<[usize; 4]> {
    let failing = shares.iter().enumerate().filter_map(|(at, share)| Some((at, (*share)?)));
    let mut failing: SmallVec<[(usize, f64); 8]> = failing.collect();
    // Stable: of equals the first as written stays passed over.
    failing.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    failing.into_iter().skip(shares.len() / 2).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_and_no_more() {
        let all = |share: f64, count: usize| vec![Some(share); count];
        assert_eq!(kept(&[Some(0.9)]).to_vec(), [0], "one alone stays");
        assert_eq!(kept(&[Some(0.9), None]).to_vec(), Vec::<usize>::new());
        assert_eq!(kept(&[Some(0.6), Some(0.9)]).to_vec(), [0], "the better one");
        assert_eq!(kept(&[Some(0.6), Some(0.9), Some(0.7)]).to_vec(), [2, 0], "one of three is passed over");
        assert_eq!(kept(&all(0.6, 5)).len(), 3);
        assert_eq!(kept(&[]).len(), 0);
    }

    proptest! {
        #[test]
        fn at_least_one_stays_and_the_worst_go(
            shares in prop::collection::vec(prop::option::of(0.5f64..1.0), 1..12)
        ) {
            let kept = kept(&shares);
            let out: Vec<_> = (0..shares.len()).filter(|at| shares[*at].is_some() && !kept.contains(at)).collect();
            prop_assert!(out.len() <= shares.len() / 2 && out.len() < shares.len());
            let failing = shares.iter().flatten().count();
            prop_assert_eq!(out.len(), failing.min(shares.len() / 2), "and no fewer than may be");
            for (one, other) in out.iter().flat_map(|out| kept.iter().map(move |kept| (*out, *kept))) {
                prop_assert!(shares[one] >= shares[other]);
            }
        }
    }
}
