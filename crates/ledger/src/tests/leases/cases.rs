//! What leases do where a budget changes, a node is forgotten or replaced, the wall clock jumps, and many ask at once.

use std::time::Duration;

use policy::Window;

use super::super::{START, block_on, budget, usd};
use super::{LIMIT, Line, Node, World};
use crate::Waiting;
use crate::disk::memory::Faults;

#[test]
fn a_limit_that_is_lowered_is_divided_anew() {
    let mut world = World::new();
    let mut held = Vec::new();
    for node in 0..2 {
        assert!(world.take(node, 1).is_err());
        world.step(node);
        held.push(world.take(node, 1).unwrap());
    }
    // Each holds more than the whole budget is from now on.
    world.limit(10);
    let first = [world.take(0, 8).is_ok(), world.take(1, 8).is_ok()];
    assert_eq!(first, [false; 2], "nothing of what was divided by another limit");
    for _ in 0..4 {
        for node in 0..2 {
            world.beat(node);
            held.extend(world.take(node, 8));
        }
        world.later(300);
    }
    assert_eq!(world.used().1, 10, "one of them gets the eight that are left");
}

#[test]
fn a_lowered_limit_is_known_after_a_restart() {
    let mut world = World::new();
    let _ = world.take(0, 1);
    world.step(0);
    world.nodes[0].clerk.save_later();
    world.crash(0);
    let held = world.take(0, 10).unwrap();
    drop(held);
    world.limit(10);
    world.crash(0);
    assert!(world.take(0, 10).unwrap_err().waits, "it was divided by another limit");
}

#[test]
fn a_node_that_was_forgotten_holds_nothing_when_it_is_back() {
    // What an earlier process left is as old.
    for crash in [false, true] {
        let mut world = World::new();
        let _ = world.take(0, 1);
        world.step(0);
        world.nodes[0].clerk.save_later();
        world.reserve(0, 5).unwrap();
        world.office.lock().lines[0] = Line::Cut;
        world.later(600);
        world.office.lock().forget(0);
        world.office.lock().lines[0] = Line::Good;
        if crash {
            world.crash(0);
        }
        block_on(world.nodes[0].clerk.beat());
        assert!(world.take(0, 6).unwrap_err().waits, "crashed: {crash}");
        // What it has spent meanwhile is said, and the rest can be had anew.
        world.step(0);
        assert_eq!(world.office.lock().rows[&0].used, if crash { 0 } else { 5 });
        world.take(0, 6).unwrap();
    }
}

#[test]
fn an_ask_of_before_a_node_was_forgotten_does_not_count() {
    let mut world = World::new();
    let _ = world.take(0, 1);
    world.step(0);
    world.office.lock().lines[0] = Line::Late;
    let held = world.take(0, LIMIT / 6).unwrap();
    world.step(0);
    let mut office = world.office.lock();
    office.forget(0);
    let late = std::mem::take(&mut office.late);
    assert_eq!(late.len(), 1);
    for (node, asks, turn) in late {
        assert!(office.settle(node, &asks, turn).is_err());
    }
    drop(office);
    drop(held);
}

#[test]
fn a_process_that_another_has_replaced_asks_for_nothing_and_holds_nothing() {
    let mut world = World::new();
    let _ = world.take(0, 1);
    world.step(0);
    drop(world.take(0, 1).unwrap());
    world.office.lock().replaced[0] = true;
    world.later(600);
    world.step(0);
    let heard = world.office.lock().heard.len();
    assert!(world.take(0, 1).unwrap_err().waits);
    assert!(world.nodes[0].bench.ledger.sharing().unwrap().away, "nobody is to wait");
    world.step(0);
    assert_eq!(world.office.lock().heard.len(), heard);
}

#[test]
fn who_was_denied_asks_again_after_a_while_whatever_the_wall_clock_says() {
    let mut world = World::new();
    let _ = world.take(1, LIMIT);
    world.step(1);
    let held = world.take(1, LIMIT).unwrap();
    // A request keeps the moment at which it came.
    let ask =
        |world: &World| world.nodes[0].bench.ledger.reserve(&world.rules, usd(1), START).unwrap_err().waits;
    assert!(ask(&world));
    world.step(0);
    world.beat(1);
    world.later(300);
    assert!(ask(&world), "the other one may have given something back");
    world.step(0);
    assert!(!ask(&world), "it is spent");
    drop(held);
    world.nodes[0].bench.hand.set(START.minus(Duration::from_secs(3_600)));
    world.later(1_100);
    assert!(ask(&world), "it asks again");
}

#[test]
fn who_tries_again_is_asked_for_once() {
    let mut world = World::new();
    let Node { bench, clerk, .. } = &mut world.nodes[0];
    let mut waiting = [Waiting::default(), Waiting::default()];
    let mut tries = |times: usize| {
        for _ in 0..times {
            for waiting in &mut waiting {
                let again = bench.ledger.reserve_again(&world.rules, usd(7), START, waiting);
                assert!(again.unwrap_err().waits);
            }
        }
    };
    tries(5);
    world.office.lock().lines[0] = Line::Lost;
    block_on(clerk.settle_listed());
    tries(5);
    world.office.lock().lines[0] = Line::Good;
    block_on(clerk.settle_listed());
    let most: Vec<_> = world.office.lock().asked.iter().map(|ask| (ask.least, ask.most)).collect();
    assert_eq!(most, [(7, 14), (7, 14)]);
}

#[test]
fn what_lies_with_a_node_that_is_gone_is_not_waited_for() {
    let mut world = World::new();
    let _ = world.take(1, LIMIT);
    world.step(1);
    world.office.lock().gone[1] = true;
    assert!(world.take(0, 1).unwrap_err().waits);
    world.step(0);
    let spent = world.take(0, 1).unwrap_err();
    assert_eq!((spent.waits, spent.elsewhere, spent.away), (false, usd(LIMIT), usd(LIMIT)));
}

#[test]
fn who_was_denied_much_may_ask_for_what_is_left() {
    let mut world = World::new();
    let _ = world.take(1, 90);
    world.step(1);
    let _ninety = world.take(1, 90).unwrap();
    let _ = (world.take(0, 2), world.take(0, 3));
    world.step(0);
    let mut held = world.take(0, 2).unwrap();
    for _ in 0..2 {
        assert!(held.extend(usd(20)).unwrap_err().waits);
        world.step(0);
        world.beat(1);
        world.later(300);
    }
    assert!(!held.extend(usd(20)).unwrap_err().waits, "there is no such room");
    assert!(held.extend(usd(8)).unwrap_err().waits, "but this much");
    world.step(0);
    held.extend(usd(8)).unwrap();
    assert_eq!(world.used().1, 100);
}

#[test]
fn many_windows_are_spoken_of_together_and_a_node_shows_itself_in_between() {
    let mut world = World::new();
    let Node { bench, clerk, .. } = &mut world.nodes[0];
    let ask = |user: usize| {
        let rules = [budget(&format!("many {user}"), LIMIT, Window::Total)];
        bench.ledger.reserve(&rules, usd(1), START).is_ok()
    };
    for user in 0..1_100 {
        assert!(!ask(user));
    }
    world.office.lock().slow = Some((bench.hand.clone(), Duration::from_millis(300)));
    block_on(clerk.settle_listed());
    assert_eq!(world.office.lock().heard, [0, 512, 512, 0, 76]);
    assert!((0..1_100).all(ask));
    for user in 1_100..1_110 {
        assert!(!ask(user));
    }
    world.later(1_000);
    block_on(world.nodes[0].clerk.settle_listed());
    assert_eq!(world.office.lock().heard.last(), Some(&0), "nobody waits any more");
}

#[test]
fn what_was_given_back_and_could_not_be_remembered_is_said_later() {
    let mut world = World::new();
    let _ = world.take(0, 60);
    world.step(0);
    let disk = world.nodes[0].bench.disk.clone();
    disk.set(Faults { capacity: Some(0), ..Faults::default() });
    let _ = world.take(1, 60);
    world.step(1);
    world.beat(0);
    assert_eq!(world.office.lock().rows[&0].granted, 60, "nothing was said of it");
    disk.set(Faults::default());
    world.beat(0);
    assert_eq!(world.office.lock().rows[&0].granted, 0);
}
