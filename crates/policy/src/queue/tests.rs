//! The queue against a plain model that spends one quantum after another, and the promises that it makes.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const WAIT: Duration = Duration::from_secs(1);
const ROOMY: Bounds = Bounds { count: 100_000, bytes: 1 << 40, wait: WAIT };

fn at(ms: u64) -> Moment {
    Moment::from_nanos(ms * MS)
}

fn asks(layer: Layer, tenant: u64, tokens: u64) -> Asks {
    Asks { layer, tenant, tokens, bytes: 10 }
}

/// Whose turn it is at a moment, with nobody late.
fn turn<T>(queue: &mut Queue<T>, now: Moment) -> Option<(u64, T)> {
    let mut late = Vec::new();
    let turn = queue.next(now, &mut late);
    assert!(late.is_empty(), "somebody was late");
    turn.map(|turn| (turn.asks.tenant, turn.value))
}

fn offer<T>(queue: &mut Queue<T>, asks: Asks, value: T, now: Moment) -> Result<Ticket, Shed> {
    let mut displaced = Vec::new();
    let offered = queue.offer(asks, value, now, &mut displaced);
    assert!(displaced.is_empty(), "somebody had to make room");
    offered
}

#[test]
fn layers_go_in_their_order_and_a_tenant_in_its_own() {
    let mut queue = Queue::new(ROOMY);
    let layers = [Layer::Innovation, Layer::Development, Layer::Production, Layer::Domestic];
    for (number, layer) in layers.into_iter().cycle().take(8).enumerate() {
        offer(&mut queue, asks(layer, 1, 9), number, at(0)).unwrap();
    }
    assert_eq!((queue.len(), queue.bytes()), (8, 80));
    let order: Vec<_> = std::iter::from_fn(|| turn(&mut queue, at(1))).map(|(_, value)| value).collect();
    assert_eq!(order, [2, 3, 6, 7, 1, 5, 0, 4]);
    assert!(queue.is_empty() && queue.bytes() == 0);
}

#[test]
fn whoever_sends_more_waits_behind_himself() {
    let mut queue = Queue::new(ROOMY);
    for number in 0..100 {
        offer(&mut queue, asks(Layer::Production, 1, 300), number, at(0)).unwrap();
    }
    offer(&mut queue, asks(Layer::Production, 2, 300), 100, at(0)).unwrap();
    let first: Vec<_> = (0..4).map(|_| turn(&mut queue, at(0)).unwrap().0).collect();
    assert!(first.contains(&2), "{first:?}");
}

#[test]
fn what_costs_more_comes_less_often() {
    let mut queue = Queue::new(ROOMY);
    for _ in 0..400 {
        offer(&mut queue, asks(Layer::Production, 1, 1000), (), at(0)).unwrap();
        offer(&mut queue, asks(Layer::Production, 2, 250), (), at(0)).unwrap();
    }
    let turns: Vec<_> = (0..250).map(|_| turn(&mut queue, at(0)).unwrap().0).collect();
    let small = turns.iter().filter(|tenant| **tenant == 2).count();
    assert!((196..=204).contains(&small), "{small} of 250");
}

#[test]
fn a_giant_is_not_waited_for_in_vain() {
    let mut queue = Queue::new(ROOMY);
    offer(&mut queue, asks(Layer::Production, 1, u64::MAX), 1, at(0)).unwrap();
    assert_eq!(turn(&mut queue, at(0)), Some((1, 1)));
    offer(&mut queue, asks(Layer::Production, 1, u64::MAX), 1, at(0)).unwrap();
    for _ in 0..10_000 {
        offer(&mut queue, asks(Layer::Production, 2, 256), 2, at(0)).unwrap();
    }
    let before = (0..).take_while(|_| turn(&mut queue, at(0)).unwrap().0 == 2).count();
    assert_eq!(before as u64, MOST_TOKENS / QUANTUM - 1);
}

#[test]
fn a_lower_layer_that_has_waited_for_long_gets_one_turn_in_sixteen() {
    let mut queue = Queue::new(ROOMY);
    for number in 0..4 {
        offer(&mut queue, asks(Layer::Innovation, 7, 9), number, at(0)).unwrap();
    }
    let mut turns = |now: u64, count: u32| {
        (0..count)
            .filter(|_| {
                offer(&mut queue, asks(Layer::Production, 1, 9), 0, at(now)).unwrap();
                turn(&mut queue, at(now)).unwrap().0 == 7
            })
            .count()
    };
    // Before half of the time has gone there is no hurry.
    assert_eq!(turns(400, 100), 0);
    assert_eq!(turns(600, 33), 3);
}

#[test]
fn a_flood_fills_the_queue_with_itself_alone() {
    let bounds = Bounds { count: 10, ..ROOMY };
    let (mut queue, mut displaced) = (Queue::new(bounds), Vec::new());
    for number in 0..10 {
        offer(&mut queue, asks(Layer::Production, 1, 100), number, at(0)).unwrap();
    }
    let full = queue.offer(asks(Layer::Production, 1, 100), 10, at(0), &mut displaced);
    assert_eq!(full.unwrap_err(), Shed::Full);
    // Another tenant takes the place of the newest, up to an equal share.
    for number in 20..30 {
        let _ = queue.offer(asks(Layer::Production, 2, 100), number, at(0), &mut displaced);
    }
    let gone: Vec<_> = displaced.iter().map(|gone| (gone.asks.tenant, gone.value)).collect();
    assert_eq!(gone, [(1, 9), (1, 8), (1, 7), (1, 6), (1, 5)]);
    // A lower layer has nothing to take here, and gives way to a higher one.
    assert_eq!(
        queue.offer(asks(Layer::Innovation, 3, 1), 40, at(0), &mut displaced).unwrap_err(),
        Shed::Full
    );
    let mut queue = Queue::new(bounds);
    for number in 0..10 {
        offer(&mut queue, asks(Layer::Innovation, 1, 1), number, at(0)).unwrap();
    }
    displaced.clear();
    queue.offer(asks(Layer::Development, 1, 1000), 10, at(0), &mut displaced).unwrap();
    assert_eq!((displaced.len(), displaced[0].value, queue.len()), (1, 9, 10));
}

#[test]
fn bytes_are_bounded_as_well() {
    let bounds = Bounds { bytes: 25, ..ROOMY };
    let (mut queue, mut displaced) = (Queue::new(bounds), Vec::new());
    let of = |tenant, bytes| Asks { bytes, ..asks(Layer::Production, tenant, 5) };
    assert_eq!(queue.offer(of(1, 26), 0, at(0), &mut displaced).unwrap_err(), Shed::Full);
    queue.offer(of(1, 20), 1, at(0), &mut displaced).unwrap();
    assert_eq!(queue.offer(of(2, 20), 2, at(0), &mut displaced).unwrap_err(), Shed::Full);
    queue.offer(of(2, 5), 3, at(0), &mut displaced).unwrap();
    assert_eq!((queue.bytes(), displaced.len()), (25, 0));
}

#[test]
fn nobody_is_asked_after_its_time() {
    let (mut queue, mut late) = (Queue::new(ROOMY), Vec::new());
    for number in 0..3u64 {
        offer(&mut queue, asks(Layer::Production, number, 5), number, at(number * 400)).unwrap();
    }
    let turn = queue.next(at(1_400), &mut late).unwrap();
    assert_eq!(turn.value, 2);
    assert_eq!(late.iter().map(|gone| gone.value).collect::<Vec<_>>(), [0, 1]);
    assert!(queue.is_empty() && queue.bytes() == 0);
}

#[test]
fn who_would_wait_for_too_long_hears_so_at_once() {
    let mut queue = Queue::new(ROOMY);
    let one = asks(Layer::Production, 1, 5);
    assert_eq!(queue.outlook(&one, at(0)), None);
    for number in 0..5 {
        offer(&mut queue, one, number, at(0)).unwrap();
    }
    // A turn in 100 ms: ten fit into a second.
    let mut now = 0;
    for _ in 0..50 {
        now += 100;
        turn(&mut queue, at(now)).unwrap();
        offer(&mut queue, one, 0, at(now)).unwrap();
    }
    let room = (0..).take_while(|_| offer(&mut queue, one, 0, at(now)).is_ok()).count();
    assert_eq!(queue.len(), 10, "{room} more");
    assert_eq!(offer(&mut queue, one, 0, at(now)).unwrap_err(), Shed::Hopeless);
    // Another tenant has its own line, and a lower layer waits behind all.
    assert!(offer(&mut queue, asks(Layer::Production, 2, 5), 0, at(now)).is_ok());
    let low = asks(Layer::Innovation, 2, 5);
    assert_eq!(offer(&mut queue, low, 0, at(now)).unwrap_err(), Shed::Hopeless);
    assert!(queue.outlook(&low, at(now)).unwrap() > WAIT);
    // Turns that do not come are slow ones.
    assert!(queue.outlook(&low, at(now + 900)).unwrap() > queue.outlook(&low, at(now)).unwrap());
}

#[test]
fn what_was_slow_once_is_tried_again() {
    let mut queue = Queue::new(ROOMY);
    let one = asks(Layer::Production, 1, 5);
    // Two that took three quarters of a second each.
    for number in 0..2u64 {
        offer(&mut queue, one, 0, at(number * 750)).unwrap();
        turn(&mut queue, at(number * 750 + 750)).unwrap();
    }
    offer(&mut queue, one, 0, at(1_500)).unwrap();
    assert_eq!(offer(&mut queue, one, 0, at(1_500)).unwrap_err(), Shed::Hopeless);
    turn(&mut queue, at(1_500)).unwrap();
    // Nobody has waited for longer than anybody may: nothing is known.
    offer(&mut queue, one, 0, at(3_000)).unwrap();
    assert!(offer(&mut queue, one, 0, at(3_000)).is_ok());
}

/// The same in plain words: a list, quanta given one by one.
#[derive(Default)]
struct Model {
    waiting: Vec<(u64, Asks, u64)>,
    /// Of each rank: tenants in the order of their turns, what each has saved, and whether it is in its turn.
    rings: [Vec<(u64, u64, bool)>; Layer::RANKS],
    passed_over: u32,
}

impl Model {
    fn of(&self, rank: usize, tenant: u64) -> Vec<(u64, Asks, u64)> {
        let mine = |one: &&(u64, Asks, u64)| one.1.layer.rank() == rank && one.1.tenant == tenant;
        self.waiting.iter().filter(mine).copied().collect()
    }

    fn has(&self, rank: usize) -> bool {
        self.waiting.iter().any(|one| one.1.layer.rank() == rank)
    }

    fn push(&mut self, number: u64, asks: Asks, now: u64) {
        let ring = &mut self.rings[asks.layer.rank()];
        if !ring.iter().any(|(tenant, ..)| *tenant == asks.tenant) {
            ring.push((asks.tenant, 0, false));
        }
        self.waiting.push((number, asks, now));
    }

    fn drop(&mut self, number: u64) {
        let at = self.waiting.iter().position(|one| one.0 == number).unwrap();
        let (_, asks, _) = self.waiting.remove(at);
        let rank = asks.layer.rank();
        if self.of(rank, asks.tenant).is_empty() {
            self.rings[rank].retain(|(tenant, ..)| *tenant != asks.tenant);
        }
    }

    /// Who has to make room for a newcomer.
    fn yields(&self, asks: &Asks) -> Option<u64> {
        let rank = asks.layer.rank();
        let lowest = (rank..Layer::RANKS).rev().find(|rank| self.has(*rank))?;
        let cost = |tenant| self.of(lowest, tenant).iter().map(|one| one.1.cost()).sum::<u64>();
        let (longest, most) =
            self.rings[lowest].iter().map(|(tenant, ..)| (*tenant, cost(*tenant))).max_by_key(|one| one.1)?;
        let mine: u64 = self.of(rank, asks.tenant).iter().map(|one| one.1.cost()).sum();
        (lowest > rank || most > mine + asks.cost()).then(|| self.of(lowest, longest).last().unwrap().0)
    }

    fn rank(&mut self, now: u64) -> usize {
        let ranks: Vec<_> = (0..Layer::RANKS).filter(|rank| self.has(*rank)).collect();
        if ranks.len() > 1 {
            if self.passed_over < ONE_IN - 1 {
                self.passed_over += 1;
                return ranks[0];
            }
            let lower = self.waiting.iter().filter(|one| one.1.layer.rank() > ranks[0]);
            let oldest = lower.min_by_key(|one| (one.2, one.1.layer.rank())).unwrap();
            if now - oldest.2 >= 500 {
                self.passed_over = 0;
                return oldest.1.layer.rank();
            }
        }
        ranks[0]
    }

    /// The number of who is next, and of those that were late.
    fn next(&mut self, now: u64) -> (Option<u64>, Vec<u64>) {
        let mut late = Vec::new();
        while !self.waiting.is_empty() {
            let rank = self.rank(now);
            while let Some((tenant, mut saved, in_turn)) = self.rings[rank].first().copied() {
                let line = self.of(rank, tenant);
                let old: Vec<_> =
                    line.iter().take_while(|one| now - one.2 >= 1_000).map(|one| one.0).collect();
                if let Some(first) = old.first() {
                    self.drop(*first);
                    late.push(*first);
                    continue;
                }
                saved += if in_turn { 0 } else { QUANTUM };
                let (number, asks, _) = line[0];
                if asks.cost() <= saved {
                    self.rings[rank][0] = (tenant, saved - asks.cost(), true);
                    self.drop(number);
                    return (Some(number), late);
                }
                self.rings[rank][0] = (tenant, saved, false);
                self.rings[rank].rotate_left(1);
            }
        }
        (None, late)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Offer(Asks),
    Next,
    Leave(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let layer =
        prop::sample::select(vec![Layer::Production, Layer::Domestic, Layer::Development, Layer::Innovation]);
    let tokens = prop_oneof![0u64..600, 0u64..40_000];
    let asks = (layer, 0u64..5, tokens, 0u64..200)
        .prop_map(|(layer, tenant, tokens, bytes)| Step::Offer(Asks { layer, tenant, tokens, bytes }));
    let step = prop_oneof![
        5 => asks,
        4 => Just(Step::Next),
        1 => (0usize..20).prop_map(Step::Leave),
        1 => (0u64..400).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn the_queue_does_what_the_model_does(steps in steps(), count in 1usize..20, bytes in 100u64..2_000) {
        let mut queue = Queue::new(Bounds { count, bytes, wait: WAIT });
        let (mut model, mut now, mut number) = (Model::default(), 0, 0);
        let mut tickets: Vec<(u64, Ticket)> = Vec::new();
        let (mut offered, mut ended) = (0, 0);
        for step in steps {
            match step {
                Step::Offer(asks) => {
                    let mut displaced = Vec::new();
                    let outcome = queue.offer(asks, number, at(now), &mut displaced);
                    for gone in &displaced {
                        prop_assert_eq!(model.yields(&asks), Some(gone.value));
                        model.drop(gone.value);
                    }
                    ended += displaced.len();
                    let held: u64 = model.waiting.iter().map(|one| one.1.bytes).sum();
                    let fits = model.waiting.len() < count && held + asks.bytes <= bytes;
                    match outcome {
                        Ok(ticket) => {
                            prop_assert!(fits);
                            model.push(number, asks, now);
                            tickets.push((number, ticket));
                            offered += 1;
                        }
                        Err(Shed::Full) => {
                            prop_assert!(!fits && (asks.bytes > bytes || model.yields(&asks).is_none()));
                        }
                        Err(shed) => prop_assert_eq!(shed, Shed::Hopeless),
                    }
                    number += 1;
                }
                Step::Next => {
                    let mut late = Vec::new();
                    let turn = queue.next(at(now), &mut late);
                    ended += late.len() + usize::from(turn.is_some());
                    let late: Vec<_> = late.iter().map(|gone| gone.value).collect();
                    prop_assert_eq!((turn.map(|turn| turn.value), late), model.next(now));
                }
                Step::Leave(which) if !tickets.is_empty() => {
                    let (number, ticket) = tickets.swap_remove(which % tickets.len());
                    let gone = queue.remove(ticket).map(|gone| gone.value);
                    let waits = model.waiting.iter().any(|one| one.0 == number);
                    prop_assert_eq!(gone, waits.then_some(number));
                    if waits {
                        model.drop(number);
                        ended += 1;
                    }
                }
                Step::Leave(_) => {}
                Step::Pass(ms) => now += ms,
            }
            let held: u64 = model.waiting.iter().map(|one| one.1.bytes).sum();
            prop_assert_eq!((queue.len(), queue.bytes()), (model.waiting.len(), held));
            prop_assert!(queue.len() <= count && queue.bytes() <= bytes);
            prop_assert_eq!(queue.len() + ended, offered);
        }
    }

    /// Tenants that always wait get the same, but for a quantum and what two calls cost at most.
    #[test]
    fn shares_are_equal_within_a_quantum(
        costs in prop::collection::vec(1u64..5_000, 2..6), turns in 1usize..400
    ) {
        let mut queue = Queue::new(ROOMY);
        let mut served = vec![0; costs.len()];
        for _ in 0..2 {
            for (tenant, cost) in costs.iter().enumerate() {
                offer(&mut queue, asks(Layer::Production, tenant as u64, *cost), (), at(0)).unwrap();
            }
        }
        for _ in 0..turns {
            let (tenant, ()) = turn(&mut queue, at(0)).unwrap();
            let cost = costs[usize::try_from(tenant).unwrap()];
            served[usize::try_from(tenant).unwrap()] += cost;
            offer(&mut queue, asks(Layer::Production, tenant, cost), (), at(0)).unwrap();
        }
        let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
        let largest = costs.iter().max().unwrap();
        prop_assert!(most - least <= QUANTUM + 2 * largest, "{served:?} of {costs:?}");
    }

    /// Whatever others send, and of whatever layer, a call that waits has its turn before it is late, as long as turns come
    /// fast enough for its share.
    #[test]
    fn nobody_starves(
        layer in prop::sample::select(vec![Layer::Production, Layer::Development, Layer::Innovation]),
        others in prop::collection::vec((0u64..4, 1u64..1_000), 1..30)
    ) {
        let mut queue = Queue::new(Bounds { wait: Duration::from_secs(10), ..ROOMY });
        offer(&mut queue, asks(layer, 99, 1_000), (), at(0)).unwrap();
        let mut found = false;
        for now in 0..10_000 {
            let (tenant, tokens) = others[now as usize % others.len()];
            let _ = queue.offer(asks(Layer::Production, tenant, tokens), (), at(now), &mut Vec::new());
            let mut late = Vec::new();
            found |= queue.next(at(now), &mut late).is_some_and(|turn| turn.asks.tenant == 99);
            prop_assert!(late.iter().all(|gone| gone.asks.tenant != 99));
        }
        prop_assert!(found);
    }
}
