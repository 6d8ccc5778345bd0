//! Budgets divided among nodes, on the real server: at once, over and over, and never more than there is.

use std::sync::Arc;

use ledger::{Answer, Ask, Grant, Leases};
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

async fn grant(office: &Office, ask: Ask, turn: i64, nodes: u32) -> Grant {
    match office.settle(&[ask], turn, nodes).await.unwrap()[0] {
        Answer::Grant(grant) => grant,
        passed @ Answer::Passed { .. } => panic!("{passed:?}"),
    }
}

/// A window goes from node to node; who lacks money is heard of by the others, and an ask that comes late is passed over.
pub(crate) async fn a_window_is_divided_and_given_back(stand: &Stand) {
    let offices: Vec<_> = (0..2).map(|number| stand.store.office(node(number))).collect();
    for office in &offices {
        office.beat().await.unwrap();
    }
    assert_eq!(offices[0].beat().await.unwrap().nodes, 2);
    let first = grant(&offices[0], ask(0, 0, 10, 10), 1, 1).await;
    assert_eq!(first, Grant { granted: LIMIT, elsewhere: 0, free_elsewhere: 0 }, "alone it has all");
    let second = grant(&offices[1], ask(0, 0, 10, 10), 1, 2).await;
    assert_eq!(second, Grant { granted: 0, elsewhere: LIMIT, free_elsewhere: LIMIT });
    let wanted = offices[0].beat().await.unwrap().wanted;
    assert_eq!(wanted, [("environment dev/all".into(), noon(), Currency::USD)]);
    // It has used 100 and gives the rest back; an ask of before that, which comes now, changes nothing.
    assert_eq!(grant(&offices[0], ask(100, 100, 0, 0), 5, 2).await.granted, 100);
    let late = offices[0].settle(&[ask(0, LIMIT, 0, 0)], 4, 2).await.unwrap();
    assert_eq!(late, [Answer::Passed { turn: 5 }]);
    let second = grant(&offices[1], ask(0, 0, 10, 10), 2, 2).await;
    assert_eq!(
        second,
        Grant { granted: 10, elsewhere: 100, free_elsewhere: 0 },
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

/// A node that is gone can be forgotten, one that lives cannot.
pub(crate) async fn a_node_that_is_gone_can_be_forgotten(stand: &Stand) {
    let office = stand.store.office(node(0));
    office.beat().await.unwrap();
    grant(&office, ask(0, 0, 10, 10), 1, 1).await;
    assert!(stand.store.forget_node("node-0").await.is_err(), "it was seen just now");
    assert!(stand.store.forget_node("node-7").await.is_err(), "there is none");
    assert_eq!(stand.store.nodes().await.unwrap().iter().filter(|node| node.lives).count(), 1);
    // A process that started later has the same id: this one is told.
    let later = Node { started_at: noon().plus(std::time::Duration::from_secs(1)), ..node(0) };
    stand.store.office(later).beat().await.unwrap();
    assert!(office.beat().await.unwrap_err().contains("data folder was copied"));
}
