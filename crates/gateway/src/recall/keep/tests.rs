//! What is kept, for how long, how much of it, and who waits for whom.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { entries: 4, bytes: 64 * 1024, body: 16 * 1024 };
const TTL: Duration = Duration::from_secs(60);
const NONE: Digest = [0; 32];

fn at(seconds: u64) -> Moment {
    Moment::from_nanos(1).plus(Duration::from_secs(seconds))
}

fn digest(number: u8) -> Digest {
    [number; 32]
}

fn asks(number: u8, print: Digest) -> Asks {
    Asks { digest: digest(number), print, owner: "dev".into(), ttl: TTL }
}

fn kept(body: &'static str) -> Arc<Kept> {
    sized(Bytes::from_static(body.as_bytes()))
}

fn sized(body: Bytes) -> Arc<Kept> {
    Arc::new(Kept {
        status: 200,
        stream: false,
        headers: Lasting::new(),
        body,
        model: None,
        usage: Usage::default(),
        cost: None,
        finish_reason: None,
        error: None,
    })
}

fn ticket(keep: &Arc<Keep>, number: u8, now: Moment) -> Ticket {
    match keep.enter(asks(number, NONE), now) {
        Found::Nothing(ticket) => ticket,
        _ => panic!("{number} is there"),
    }
}

fn find(keep: &Arc<Keep>, number: u8, now: Moment) -> Option<Bytes> {
    match keep.enter(asks(number, NONE), now) {
        Found::Answer(kept) => Some(kept.body.clone()),
        _ => None,
    }
}

#[test]
fn an_answer_is_given_until_its_time_is_over() {
    let keep = Keep::new(BOUNDS);
    ticket(&keep, 1, at(0)).answer(&kept("one"), at(5));
    assert_eq!(find(&keep, 1, at(64)).unwrap(), "one");
    assert_eq!(keep.size().0, 1);
    assert!(find(&keep, 1, at(65)).is_none());
    assert_eq!(keep.size(), (0, 0));
    ticket(&keep, 1, at(65)).answer(&kept("two"), at(66));
    keep.sweep(at(100));
    assert_eq!(keep.size().0, 1);
    keep.sweep(at(200));
    assert_eq!(keep.size(), (0, 0));
}

#[test]
fn what_was_given_again_stays_and_the_oldest_of_the_rest_goes() {
    let keep = Keep::new(BOUNDS);
    for number in 1..=4 {
        ticket(&keep, number, at(0)).answer(&kept("x"), at(0));
    }
    assert!(find(&keep, 1, at(1)).is_some());
    ticket(&keep, 5, at(1)).answer(&kept("x"), at(1));
    let there: Vec<_> = (1..=5).filter(|number| find(&keep, *number, at(2)).is_some()).collect();
    assert_eq!(there, [1, 3, 4, 5]);
}

#[test]
fn bytes_are_bounded_together_and_one_by_one() {
    let keep = Keep::new(Bounds { entries: 1000, ..BOUNDS });
    for number in 0..100 {
        ticket(&keep, number, at(0)).answer(&sized(vec![b'x'; 10_000].into()), at(0));
        assert!(keep.size().1 <= BOUNDS.bytes, "{:?}", keep.size());
    }
    assert_eq!(keep.size().0, 6);
    ticket(&keep, 200, at(0)).answer(&sized(vec![b'x'; 16 * 1024 + 1].into()), at(0));
    assert!(find(&keep, 200, at(0)).is_none());
}

#[test]
fn who_has_the_most_makes_room() {
    let keep = Keep::new(Bounds { entries: 10, ..BOUNDS });
    for number in 0..3 {
        let small = Asks { owner: "small".into(), ..asks(100 + number, NONE) };
        keep.anew(small).answer(&kept("x"), at(0));
    }
    for number in 0..90 {
        ticket(&keep, number, at(1)).answer(&kept("x"), at(1));
    }
    assert_eq!(keep.size().0, 10);
    let there: Vec<_> = (0..=102).filter(|number| find(&keep, *number, at(2)).is_some()).collect();
    assert_eq!(there, [83, 84, 85, 86, 87, 88, 89, 100, 101, 102]);
    let mut shelves = keep.shelves.lock();
    for number in 0..=102 {
        shelves.remove(&digest(number));
    }
    assert!(shelves.lines.is_empty() && shelves.bytes == 0);
}

#[test]
fn the_order_does_not_grow_with_what_is_replaced() {
    let keep = Keep::new(BOUNDS);
    for _ in 0..10_000 {
        keep.anew(asks(1, NONE)).answer(&kept("x"), at(0));
    }
    assert_eq!(keep.size().0, 1);
    assert!(keep.shelves.lock().lines["dev"].order.len() < 100);
}

#[tokio::test]
async fn one_asks_and_the_others_have_its_answer() {
    let keep = Keep::new(BOUNDS);
    let first = ticket(&keep, 1, at(0));
    assert!(!first.is_awaited());
    let Found::Coming(mut end) = keep.enter(asks(1, NONE), at(1)) else { panic!("nobody asks") };
    assert!(first.is_awaited());
    first.answer(&kept("one"), at(2));
    let end = end.wait_for(Option::is_some).await.unwrap().clone();
    assert!(matches!(end, Some(End::Answer(kept)) if kept.body == "one"));
    assert_eq!(find(&keep, 1, at(3)).unwrap(), "one");
}

#[tokio::test]
async fn who_gives_up_leaves_the_place_to_another() {
    let keep = Keep::new(BOUNDS);
    let first = ticket(&keep, 1, at(0));
    let Found::Coming(mut end) = keep.enter(asks(1, NONE), at(1)) else { panic!("nobody asks") };
    drop(first);
    assert!(end.wait_for(Option::is_some).await.is_err());
    let second = ticket(&keep, 1, at(1));
    let Found::Coming(mut end) = keep.enter(asks(1, NONE), at(1)) else { panic!("nobody asks") };
    second.unfit();
    assert!(matches!(*end.wait_for(Option::is_some).await.unwrap(), Some(End::Unfit)));
    drop(ticket(&keep, 1, at(1)));
    assert_eq!(keep.size(), (0, 0));
    assert!(keep.shelves.lock().slots.is_empty());
}

#[test]
fn another_request_under_the_same_digest_is_told() {
    let keep = Keep::new(BOUNDS);
    let first = ticket(&keep, 1, at(0));
    assert!(matches!(keep.enter(asks(1, digest(9)), at(0)), Found::Other));
    first.answer(&kept("one"), at(0));
    assert!(matches!(keep.enter(asks(1, digest(9)), at(0)), Found::Other));
    // What is past is no promise any more.
    assert!(matches!(keep.enter(asks(1, digest(9)), at(61)), Found::Nothing(_)));
}

#[test]
fn asking_anew_replaces_and_disturbs_nobody() {
    let keep = Keep::new(BOUNDS);
    let first = ticket(&keep, 1, at(0));
    keep.anew(asks(1, NONE)).answer(&kept("new"), at(0));
    assert_eq!(find(&keep, 1, at(0)).unwrap(), "new");
    drop(first);
    assert_eq!(find(&keep, 1, at(0)).unwrap(), "new");
    drop(keep.anew(asks(1, NONE)));
    assert_eq!(find(&keep, 1, at(0)).unwrap(), "new");
}

/// What may happen to one of a few digests, of one of three environments.
#[derive(Clone, Debug)]
enum Step {
    Ask { number: u8, owner: u8, body: usize },
    GiveUp { number: u8, owner: u8 },
    Unfit { number: u8, owner: u8 },
    Anew { number: u8, owner: u8, body: usize },
    Find { number: u8, owner: u8 },
    Wait { seconds: u64 },
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || (0..12u8, 0..3u8);
    let body = || 0..20_000usize;
    let step = prop_oneof![
        6 => (place(), body()).prop_map(|((number, owner), body)| Step::Ask { number, owner, body }),
        1 => place().prop_map(|(number, owner)| Step::GiveUp { number, owner }),
        1 => place().prop_map(|(number, owner)| Step::Unfit { number, owner }),
        2 => (place(), body()).prop_map(|((number, owner), body)| Step::Anew { number, owner, body }),
        4 => place().prop_map(|(number, owner)| Step::Find { number, owner }),
        1 => (0..40u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Sweep),
    ];
    proptest::collection::vec(step, 0..120)
}

/// A digest is one environment's alone, as it is made of its name.
fn of(number: u8, owner: u8) -> Asks {
    Asks { owner: format!("e{owner}").into(), ..asks(number * 3 + owner, NONE) }
}

fn check(keep: &Keep) {
    let shelves = keep.shelves.lock();
    let mut lines: HashMap<Name, (usize, usize)> = HashMap::new();
    for slot in shelves.slots.values() {
        let Content::Kept { kept, .. } = &slot.content else { panic!("nobody asks any more") };
        let line = lines.entry(slot.owner.clone()).or_default();
        *line = (line.0 + 1, line.1 + kept.weight());
    }
    let told: HashMap<Name, (usize, usize)> =
        shelves.lines.iter().map(|(owner, line)| (owner.clone(), (line.entries, line.bytes))).collect();
    assert_eq!(lines, told);
    assert_eq!(shelves.entries, lines.values().map(|line| line.0).sum::<usize>());
    assert_eq!(shelves.bytes, lines.values().map(|line| line.1).sum::<usize>());
    assert!(shelves.entries <= BOUNDS.entries && shelves.bytes <= BOUNDS.bytes);
    for (digest, slot) in &shelves.slots {
        let order = &shelves.lines[&slot.owner].order;
        assert_eq!(order.iter().filter(|place| **place == (*digest, slot.number)).count(), 1);
    }
}

proptest! {
    #[test]
    fn sums_and_bounds_hold_whatever_happens(steps in steps()) {
        let keep = Keep::new(BOUNDS);
        let mut seconds = 0;
        for step in steps {
            let now = at(seconds);
            let sized = |body: usize| sized(vec![b'x'; body].into());
            match step {
                Step::Ask { number, owner, body } => {
                    if let Found::Nothing(ticket) = keep.enter(of(number, owner), now) {
                        ticket.answer(&sized(body), now);
                    }
                }
                Step::GiveUp { number, owner } => drop(keep.enter(of(number, owner), now)),
                Step::Unfit { number, owner } => {
                    if let Found::Nothing(ticket) = keep.enter(of(number, owner), now) {
                        ticket.unfit();
                    }
                }
                Step::Anew { number, owner, body } => keep.anew(of(number, owner)).answer(&sized(body), now),
                Step::Find { number, owner } => {
                    let found = keep.enter(of(number, owner), now);
                    prop_assert!(matches!(found, Found::Answer(_) | Found::Nothing(_)));
                }
                Step::Wait { seconds: more } => seconds += more,
                Step::Sweep => keep.sweep(now),
            }
            check(&keep);
        }
    }
}
