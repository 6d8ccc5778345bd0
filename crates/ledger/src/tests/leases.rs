//! Three nodes share a budget: whatever is lost, comes late, or is killed, they never spend more than it together, and what is
//! left can always be spent by whoever wants it.

mod cases;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use policy::{BudgetRule, Currency, Name, Timestamp, Window};
use proptest::prelude::*;
use runtime::ManualClock;

use super::{Bench, START, block_on, budget, completed, intent, options, usd};
use crate::disk::memory::MemoryDisk;
use crate::leases::{Answer, Ask, Beat, Clerk, Grant, Leases, Seen, Turn, divide};
use crate::{Attempt, Intent, Options, Reservation, Spent};

const LIMIT: i64 = 100;
const NODES: usize = 3;

/// How the way to the store misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Line {
    #[default]
    Good,
    /// The store hears it and its answer is lost.
    Lost,
    /// The node gives up, and the store hears it later.
    Late,
    /// The store does not hear it.
    Cut,
}

#[derive(Clone, Copy, Default)]
struct Row {
    granted: i64,
    used: i64,
    turn: i64,
}

/// A store that divides one window, by the same rules as the tables do.
#[derive(Default)]
struct Office {
    rows: HashMap<usize, Row>,
    place: Option<(Name, Timestamp, Currency)>,
    tight: bool,
    late: Vec<(usize, Vec<Ask>, Turn)>,
    lines: [Line; NODES],
    /// Another one after the node was forgotten.
    epochs: [i64; NODES],
    /// Another process has its id.
    replaced: [bool; NODES],
    /// Not seen lately.
    gone: [bool; NODES],
    /// What was heard: how many windows at once, and the beats as zeros.
    heard: Vec<usize>,
    asked: Vec<Ask>,
    /// Time goes on while it answers.
    slow: Option<(ManualClock, Duration)>,
}

impl Office {
    fn settle(&mut self, node: usize, asks: &[Ask], turn: Turn) -> Result<Vec<Answer>, String> {
        if self.replaced[node] || turn.epoch != self.epochs[node] {
            return Err("not known".into());
        }
        self.heard.push(asks.len());
        self.asked.extend_from_slice(asks);
        if let Some((hand, by)) = &self.slow {
            hand.advance(*by);
        }
        Ok(asks.iter().map(|ask| self.settle_one(node, ask, turn)).collect())
    }

    fn settle_one(&mut self, node: usize, ask: &Ask, turn: Turn) -> Answer {
        if ask.scope.starts_with("many") {
            return Answer::Grant(Grant { granted: ask.most, elsewhere: 0, free_elsewhere: 0, away: 0 });
        }
        self.place = Some((ask.scope.clone(), ask.window_start, ask.limit.currency));
        let (mut elsewhere, mut free_elsewhere, mut away) = (0, 0, 0);
        for (other, row) in self.rows.iter().filter(|(other, _)| **other != node) {
            elsewhere += row.granted;
            *if self.gone[*other] { &mut away } else { &mut free_elsewhere } +=
                (row.granted - row.used).max(0);
        }
        let mine = self.rows.entry(node).or_default();
        if mine.turn >= turn.number {
            return Answer::Passed { turn: mine.turn };
        }
        let granted = divide(ask, mine.granted, elsewhere, turn.nodes, self.tight);
        *mine = Row { granted, used: ask.used, turn: turn.number };
        self.tight |= granted < ask.least;
        Answer::Grant(Grant { granted, elsewhere, free_elsewhere, away })
    }

    /// What the store does when somebody says that a node will not come back.
    fn forget(&mut self, node: usize) {
        self.epochs[node] += 1;
        let row = self.rows.entry(node).or_default();
        row.granted = row.used;
    }
}

struct Desk(Arc<Mutex<Office>>, usize);

impl Leases for Desk {
    fn settle<'a>(
        &'a self,
        asks: &'a [Ask],
        turn: Turn,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Vec<Answer>, String>> + Send + 'a>> {
        Box::pin(async move {
            let mut office = self.0.lock();
            match office.lines[self.1] {
                Line::Good => office.settle(self.1, asks, turn),
                Line::Lost => {
                    let _ = office.settle(self.1, asks, turn);
                    Err("lost".into())
                }
                Line::Late => {
                    office.late.push((self.1, asks.to_vec(), turn));
                    Err("late".into())
                }
                Line::Cut => Err("cut".into()),
            }
        })
    }

    fn beat(&self) -> std::pin::Pin<Box<dyn Future<Output = Result<Seen, String>> + Send + '_>> {
        Box::pin(async move {
            let mut office = self.0.lock();
            if office.lines[self.1] == Line::Cut {
                return Err("away".into());
            }
            if office.replaced[self.1] {
                return Ok(Seen::Replaced("a copied folder".into()));
            }
            office.heard.push(0);
            let wanted = office.place.iter().filter(|_| office.tight).cloned().collect();
            Ok(Seen::Among(Beat { nodes: NODES as u32, epoch: office.epochs[self.1], wanted }))
        })
    }
}

struct Node {
    bench: Bench,
    clerk: Clerk,
    running: Vec<(Attempt, i64)>,
}

struct World {
    office: Arc<Mutex<Office>>,
    nodes: Vec<Node>,
    rules: Vec<(Name, BudgetRule)>,
    next: u64,
}

fn leased() -> Options {
    Options { leased: true, ..options() }
}

impl World {
    fn new() -> Self {
        let office = Arc::<Mutex<Office>>::default();
        let node = |number| Self::node(&office, number, Bench::with(&leased(), MemoryDisk::default(), START));
        let nodes = (0..NODES).map(node).collect();
        Self { office, nodes, rules: vec![budget("shared", LIMIT, Window::Total)], next: 1 }
    }

    fn node(office: &Arc<Mutex<Office>>, number: usize, bench: Bench) -> Node {
        let clerk = bench.ledger.clerk(Arc::new(Desk(office.clone(), number))).unwrap();
        Node { bench, clerk, running: Vec::new() }
    }

    fn reserve(&mut self, node: usize, amount: i64) -> Result<(), Box<Spent>> {
        let Node { bench, running, .. } = &mut self.nodes[node];
        let now = bench.now();
        let held = bench.ledger.reserve(&self.rules, usd(amount), now)?;
        // Of what a crash leaves open nothing is charged here: an estimate may be more than was held.
        let intent = Intent { input_estimate: 0, ..intent(self.next, 1, now) };
        running.push((bench.ledger.begin(intent, held, true).unwrap(), amount));
        self.next += 1;
        Ok(())
    }

    fn settle(&mut self, node: usize, which: usize, charge: i64) {
        let Node { bench, running, .. } = &mut self.nodes[node];
        if running.is_empty() {
            return;
        }
        let (attempt, amount) = running.swap_remove(which % running.len());
        let number = self.next;
        self.next += 1;
        attempt.settle(completed(number, bench.now(), charge.min(amount))).unwrap();
    }

    fn crash(&mut self, number: usize) {
        let bench = {
            let disk = self.nodes[number].bench.disk.after_kill();
            Bench::with(&leased(), disk, self.nodes[number].bench.now())
        };
        let old = std::mem::replace(&mut self.nodes[number], Self::node(&self.office, number, bench));
        // What the old process still does reaches nobody.
        drop(old);
    }

    fn step(&mut self, node: usize) {
        block_on(self.nodes[node].clerk.settle_listed());
    }

    fn beat(&mut self, node: usize) {
        block_on(self.nodes[node].clerk.beat());
        self.step(node);
    }

    fn later(&mut self, millis: u64) {
        for node in &self.nodes {
            node.bench.hand.advance(Duration::from_millis(millis));
        }
    }

    /// From now on the budget is another, on every node.
    fn limit(&mut self, limit: i64) {
        self.rules = vec![budget("shared", limit, Window::Total)];
    }

    /// One that holds its money for the rest of the test.
    fn take(&self, node: usize, amount: i64) -> Result<Reservation, Box<Spent>> {
        let bench = &self.nodes[node].bench;
        bench.ledger.reserve(&self.rules, usd(amount), bench.now())
    }

    /// Spent, and spent and held together, over all nodes.
    fn used(&self) -> (i64, i64) {
        let each = self.nodes.iter().map(|node| node.bench.balance(&self.rules[0].0));
        each.fold((0, 0), |sum, (spent, reserved)| (sum.0 + spent, sum.1 + spent + reserved))
    }
}

#[derive(Clone, Debug)]
enum Move {
    Reserve(usize, i64),
    Settle(usize, usize, i64),
    Step(usize),
    Beat(usize),
    Fault(usize, Line),
    Arrive,
    Crash(usize),
    Later(u64),
    Lower(i64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let node = 0..NODES;
    let line = prop_oneof![
        3 => Just(Line::Good),
        1 => Just(Line::Lost),
        1 => Just(Line::Late),
        1 => Just(Line::Cut),
    ];
    let one = prop_oneof![
        6 => (node.clone(), 1..30i64).prop_map(|(node, amount)| Move::Reserve(node, amount)),
        4 => (node.clone(), 0..8usize, 0..30i64).prop_map(|(node, which, charge)| Move::Settle(node, which, charge)),
        6 => node.clone().prop_map(Move::Step),
        4 => node.clone().prop_map(Move::Beat),
        2 => (node.clone(), line).prop_map(|(node, line)| Move::Fault(node, line)),
        1 => Just(Move::Arrive),
        1 => node.prop_map(Move::Crash),
        2 => (1..600u64).prop_map(Move::Later),
        1 => (LIMIT / 10..=LIMIT).prop_map(Move::Lower),
    ];
    prop::collection::vec(one, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nodes_never_spend_more_than_the_budget_together(moves in moves()) {
        let mut world = World::new();
        for one in &moves {
            match one {
                Move::Reserve(node, amount) => {
                    let limit = world.rules[0].1.amount.nano;
                    if world.reserve(*node, *amount).is_ok() {
                        let (_, used) = world.used();
                        prop_assert!(used <= limit, "{used} of {limit} after {one:?}");
                    }
                }
                Move::Settle(node, which, charge) => world.settle(*node, *which, *charge),
                Move::Step(node) => world.step(*node),
                Move::Beat(node) => world.beat(*node),
                Move::Fault(node, line) => world.office.lock().lines[*node] = *line,
                Move::Arrive => {
                    let mut office = world.office.lock();
                    for (node, asks, turn) in std::mem::take(&mut office.late) {
                        let _ = office.settle(node, &asks, turn);
                    }
                }
                Move::Crash(node) => world.crash(*node),
                Move::Later(millis) => world.later(*millis),
                Move::Lower(limit) => world.limit(world.rules[0].1.amount.nano.min(*limit)),
            }
            let (_, used) = world.used();
            prop_assert!(used <= LIMIT, "{used} of {LIMIT} after {one:?}");
        }
        // Everything is well again: what is left is there for whoever wants it.
        world.limit(LIMIT);
        world.office.lock().lines = [Line::Good; NODES];
        for node in 0..NODES {
            while !world.nodes[node].running.is_empty() {
                world.settle(node, 0, 0);
            }
        }
        let left = LIMIT - world.used().0;
        let mut got = left == 0;
        for _ in 0..6 {
            if got {
                break;
            }
            got = world.reserve(0, left).is_ok();
            (0..NODES).for_each(|node| world.beat(node));
            world.later(1_100);
        }
        prop_assert!(got, "{left} are left and nobody gets them");
        prop_assert_eq!(world.used().1, if left == 0 { world.used().0 } else { LIMIT });
    }

    #[test]
    fn a_division_gives_no_more_than_there_is(
        used in 0..200i64, keep in 0..200i64, mine in 0..200i64, least in 0..200i64, more in 0..200i64, others in 0..200i64,
        nodes in 0..5u32, tight: bool,
    ) {
        let ask = Ask {
            scope: "a".into(), window_start: START, ends_at: None, limit: usd(LIMIT),
            used, keep, least, most: least + more,
        };
        let (granted, kept) = (divide(&ask, mine, others, nodes, tight), used.max(keep.min(mine)));
        prop_assert!(granted >= kept);
        prop_assert!(granted <= kept || granted + others <= LIMIT);
        if least > 0 && least <= LIMIT - others {
            prop_assert!(granted >= least, "what fits is given");
        }
    }
}

#[test]
fn one_node_alone_is_asked_for_once() {
    let mut world = World::new();
    let Node { bench, clerk, .. } = &mut world.nodes[0];
    assert!(bench.ledger.reserve(&world.rules, usd(1), START).is_err_and(|spent| spent.waits));
    block_on(clerk.beat());
    clerk.alone();
    block_on(clerk.settle_listed());
    for _ in 0..LIMIT {
        std::mem::forget(bench.ledger.reserve(&world.rules, usd(1), START).unwrap());
    }
    let spent = bench.ledger.reserve(&world.rules, usd(1), START).unwrap_err();
    assert!(!spent.waits, "it is spent, whoever is asked: {spent:?}");
    assert_eq!(bench.ledger.sharing().unwrap().asks, 1);
}

#[test]
fn what_was_held_is_remembered_and_what_was_given_back_is_not() {
    let mut world = World::new();
    let _ = world.reserve(0, 10);
    world.step(0);
    block_on(world.nodes[0].clerk.beat());
    world.reserve(0, 10).unwrap();
    world.nodes[0].clerk.save_later();
    world.office.lock().lines = [Line::Cut; NODES];
    world.crash(0);
    // The store is away, and this node goes on with what it holds.
    world.reserve(0, 15).unwrap();
    world.office.lock().lines = [Line::Good; NODES];
    let _ = world.reserve(1, 90);
    world.step(1);
    world.beat(0);
    world.office.lock().lines = [Line::Cut; NODES];
    world.crash(0);
    let spent = world.reserve(0, 1).unwrap_err();
    assert!(spent.waits, "{spent:?}");
}
