//! Budgets divided among nodes, on the real server: at once, over and over, and never more than there is.

use std::sync::Arc;

use ledger::{Answer, Ask, Beat, Grant, Leases, Seen, Turn};
use policy::{Currency, Money};
use store::{Node, Office};

use crate::stand::{Stand, noon};

const LIMIT: i64 = 1_000;

fn node(number: usize) -> Node {
    Node {
        id: format!("node-{number}").into(),
        name: format!("gateway {number}").into(),
        version: "0".into(),
        started_at: noon(),
        seen_at: noon(),
        revision: 0,
        lives: true,
    }
}

fn ask(used: i64, keep: i64, least: i64, most: i64) -> Ask {
    Ask {
        scope: "environment dev/all".into(),
        window_start: noon(),
        ends_at: None,
        limit: Money { currency: Currency::USD, nano: LIMIT },
        used,
        keep,
        least,
        most,
    }
}

async fn beat(office: &Office) -> Beat {
    match office.beat().await.unwrap() {
        Seen::Among(beat) => beat,
        replaced @ Seen::Replaced(_) => panic!("{replaced:?}"),
    }
}

async fn turn(office: &Office, number: i64, nodes: u32) -> Turn {
    Turn { number, nodes, epoch: beat(office).await.epoch }
}

async fn grant(office: &Office, ask: Ask, number: i64, nodes: u32) -> Grant {
    let turn = turn(office, number, nodes).await;
    match office.settle(&[ask], turn).await.unwrap()[0] {
        Answer::Grant(grant) => grant,
        passed @ Answer::Passed { .. } => panic!("{passed:?}"),
    }
}

/// A window goes from node to node; who lacks money is heard of by the others, and an ask that comes late is passed over.
pub(crate) async fn a_window_is_divided_and_given_back(stand: &Stand) {
    let offices: Vec<_> = (0..2).map(|number| stand.store.office(node(number))).collect();
    for office in &offices {
        beat(office).await;
    }
    assert_eq!(beat(&offices[0]).await.nodes, 2);
    let first = grant(&offices[0], ask(0, 0, 10, 10), 1, 1).await;
    assert_eq!(first, Grant { granted: LIMIT, elsewhere: 0, free_elsewhere: 0, away: 0 }, "alone it has all");
    let second = grant(&offices[1], ask(0, 0, 10, 10), 1, 2).await;
    assert_eq!(second, Grant { granted: 0, elsewhere: LIMIT, free_elsewhere: LIMIT, away: 0 });
    let wanted = beat(&offices[0]).await.wanted;
    assert_eq!(wanted, [("environment dev/all".into(), noon(), Currency::USD)]);
    // It has used 100 and gives the rest back; an ask of before that, which comes now, changes nothing.
    assert_eq!(grant(&offices[0], ask(100, 100, 0, 0), 5, 2).await.granted, 100);
    let late = offices[0].settle(&[ask(0, LIMIT, 0, 0)], turn(&offices[0], 4, 2).await).await.unwrap();
    assert_eq!(late, [Answer::Passed { turn: 5 }]);
    let second = grant(&offices[1], ask(0, 0, 10, 10), 2, 2).await;
    assert_eq!(
        second,
        Grant { granted: 10, elsewhere: 100, free_elsewhere: 0, away: 0 },
        "no more than is needed while it is tight"
    );
    // A provider billed more than was held: that is told, whatever the limit.
    assert_eq!(grant(&offices[1], ask(2_000, 2_000, 0, 0), 3, 2).await.granted, 2_000);
    assert_eq!(grant(&offices[0], ask(100, 100, 101, 101), 6, 2).await.granted, 100);
}

/// Many ask at the same moment.
#[expect(clippy::disallowed_methods, reason = "tests own their tasks")]
pub(crate) async fn asks_at_the_same_moment_never_get_more_than_there_is(stand: &Stand) {
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            let office = Arc::new(stand.store.office(node(number)));
            tokio::spawn(async move {
                let mut held = 0;
                for turn in 1..=20 {
                    held = grant(&office, ask(held, held, held + 7, held + 7), turn, 6).await.granted;
                }
                held
            })
        })
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    assert!(sum <= LIMIT && sum > LIMIT - 7, "{sum}");
}

/// All windows of a turn in the same few statements, in any order, and one that is asked for twice counts once; two nodes that
/// ask for the same windows in opposite orders do not wait for each other.
pub(crate) async fn many_windows_are_divided_in_one_turn(stand: &Stand) {
    let of = |user: usize| Ask { scope: format!("user {user}").into(), ..ask(0, 0, 10, 10) };
    let asks: Vec<Ask> = (0..400).chain([7]).map(of).collect();
    let backwards: Vec<Ask> = (0..400).rev().map(of).collect();
    let offices: Vec<_> = (0..2).map(|number| stand.store.office(node(number))).collect();
    let turns = (turn(&offices[0], 1, 4).await, turn(&offices[1], 1, 4).await);
    let (first, second) =
        tokio::join!(offices[0].settle(&asks, turns.0), offices[1].settle(&backwards, turns.1));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.len(), second.len()), (401, 400));
    assert_eq!(first[400], Answer::Passed { turn: 1 });
    for (user, answer) in first.iter().take(400).enumerate() {
        let (Answer::Grant(one), Answer::Grant(other)) = (*answer, second[399 - user]) else {
            panic!("{answer:?}")
        };
        let both = [one.granted, other.granted];
        // An eighth of what is there: of all, and then of the rest.
        assert!(both == [125, 109] || both == [109, 125], "{both:?}");
    }
}

/// What lies with a node that is not seen any more is told apart: nobody gives it back.
pub(crate) async fn what_lies_with_a_node_that_is_gone_is_told_apart(stand: &Stand) {
    let gone = stand.store.office(node(7));
    grant(&gone, ask(0, 0, 400, 400), 1, 4).await;
    stand.sql("UPDATE nodes SET seen_at = 0 WHERE id = 'node-7'").await;
    let here = grant(&stand.store.office(node(1)), ask(0, 0, 700, 700), 1, 4).await;
    assert_eq!(here, Grant { granted: 0, elsewhere: 400, free_elsewhere: 0, away: 400 });
}

/// A node that is gone can be forgotten, one that lives cannot.
pub(crate) async fn a_node_that_is_gone_can_be_forgotten(stand: &Stand) {
    let office = stand.store.office(node(0));
    grant(&office, ask(0, 0, 10, 10), 1, 1).await;
    assert!(stand.store.forget_node("node-0").await.is_err(), "it was seen just now");
    assert!(stand.store.forget_node("node-7").await.is_err(), "there is none");
    assert_eq!(stand.store.nodes().await.unwrap().iter().filter(|node| node.lives).count(), 1);
    // A process that started later has the same id: this one is told.
    let later = Node { started_at: noon().plus(std::time::Duration::from_secs(1)), ..node(0) };
    let before = turn(&office, 9, 1).await;
    let later = stand.store.office(later);
    grant(&later, ask(0, 0, 10, 10), 2, 1).await;
    let Seen::Replaced(why) = office.beat().await.unwrap() else { panic!("it goes on") };
    assert!(why.contains("data folder was copied"), "{why}");
    assert!(office.settle(&[ask(0, LIMIT, 0, 0)], before).await.is_err(), "it gets nothing");
    // Forgotten, and back: what it asks as if nothing had been is not heard, and it is told.
    let before = turn(&later, 3, 1).await;
    stand.sql("UPDATE nodes SET seen_at = 0 WHERE id = 'node-0'").await;
    stand.store.forget_node("node-0").await.unwrap();
    assert!(later.settle(&[ask(0, LIMIT, 0, 0)], before).await.is_err());
    let epoch = beat(&later).await.epoch;
    assert_ne!(epoch, before.epoch);
    assert!(later.settle(&[ask(0, LIMIT, 0, 0)], before).await.is_err());
    let after = Turn { number: 4, nodes: 1, epoch };
    let answers = later.settle(&[ask(0, LIMIT, 0, 0)], after).await.unwrap();
    assert_eq!(answers, [Answer::Grant(Grant { granted: 0, elsewhere: 0, free_elsewhere: 0, away: 0 })]);
}
