//! Places are neither lost nor given twice, whoever comes, goes and gives back at the same time.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use policy::Layer;

use super::*;

const BOUNDS: Bounds = Bounds { count: 1_000, bytes: 1 << 30, wait: Duration::from_secs(600) };

fn asks(tenant: u64) -> Asks {
    Asks { layer: Layer::Production, tenant, tokens: 10, bytes: 1 }
}

fn gate(room: u32, bounds: Bounds) -> Arc<Gate> {
    Gate::new(room, bounds, Clock::system())
}

/// What it is told, where it is told already.
fn told(wait: &mut Wait) -> Option<Result<Pass, Shed>> {
    wait.told.try_recv().ok()
}

#[test]
fn who_gives_a_place_back_calls_the_next() {
    let gate = gate(1, BOUNDS);
    let pass = gate.pass().unwrap();
    assert!(gate.pass().is_none() && gate.is_full());
    let (mut first, mut second) = (gate.wait(asks(1)).unwrap(), gate.wait(asks(1)).unwrap());
    assert!(told(&mut first).is_none());
    drop(pass);
    let pass = told(&mut first).unwrap().unwrap();
    assert!(pass.is_of(&gate) && told(&mut second).is_none());
    // Nobody overtakes those who wait, not even where there is room.
    gate.set_room(3);
    let other = told(&mut second).unwrap().unwrap();
    assert!(!gate.is_full());
    drop((pass, other, first, second));
    assert_eq!(gate.passed.load(SeqCst), 0);
}

#[test]
fn who_goes_away_leaves_at_once_and_takes_no_turn() {
    let gate = gate(1, BOUNDS);
    let pass = gate.pass().unwrap();
    let (gone, mut stays) = (gate.wait(asks(1)).unwrap(), gate.wait(asks(1)).unwrap());
    drop(gone);
    assert_eq!(gate.waiting.load(SeqCst), 1);
    drop(pass);
    let pass = told(&mut stays).unwrap().unwrap();
    // One that goes while its turn is on its way gives the place back.
    let (gone, mut next) = (gate.wait(asks(1)).unwrap(), gate.wait(asks(1)).unwrap());
    drop(pass);
    drop(gone);
    assert!(told(&mut next).unwrap().is_ok());
    drop((stays, next));
    assert_eq!(gate.passed.load(SeqCst), 0);
}

#[test]
fn who_makes_room_hears_of_it() {
    let gate = gate(1, Bounds { count: 2, ..BOUNDS });
    let _pass = gate.pass().unwrap();
    let (mut first, mut second) = (gate.wait(asks(1)).unwrap(), gate.wait(asks(1)).unwrap());
    assert_eq!(gate.wait(asks(1)).err(), Some(Shed::Full));
    let mut other = gate.wait(asks(2)).unwrap();
    assert_eq!(told(&mut second).unwrap().err(), Some(Shed::Displaced));
    assert!(told(&mut first).is_none() && told(&mut other).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn places_are_never_lost_and_never_too_many() {
    const ROOM: u32 = 3;
    let gate = gate(ROOM, BOUNDS);
    let (under_way, served) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64u64 {
        let (gate, under_way, served) = (Arc::clone(&gate), Arc::clone(&under_way), Arc::clone(&served));
        tasks.spawn(async move {
            for round in 0..200u64 {
                let pass = match gate.pass() {
                    Some(pass) => pass,
                    None => {
                        let mut wait = gate.wait(asks(number % 5)).unwrap();
                        // Some lose patience, at any point.
                        if (number + round) % 7 == 0 {
                            tokio::task::yield_now().await;
                            drop(wait);
                            continue;
                        }
                        wait.turn().await.unwrap()
                    }
                };
                assert!(under_way.fetch_add(1, SeqCst) < ROOM);
                tokio::task::yield_now().await;
                under_way.fetch_sub(1, SeqCst);
                served.fetch_add(1, SeqCst);
                drop(pass);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert!(served.load(SeqCst) > 64 * 150);
    assert_eq!((gate.passed.load(SeqCst), gate.waiting.load(SeqCst)), (0, 0));
    let all: Vec<_> = (0..=ROOM).filter_map(|_| gate.pass()).collect();
    assert_eq!(all.len(), ROOM as usize);
}
