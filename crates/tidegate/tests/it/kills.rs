//! `kill -9` under load, in every mode that keeps its books differently: on SQLite and on PostgreSQL, with providers
//! whose bill stops when a call is given up and with those whose answer must be read to its end.

use std::path::Path;

use fakes::oracle::{self, Tables};
use fakes::random::Random;

use crate::books;
use crate::operate::Database;
use crate::stand::{Setup, Stand};

#[derive(Clone, Copy, Debug)]
struct Mode {
    name: &'static str,
    /// On PostgreSQL; otherwise SQLite.
    postgres: bool,
    /// The provider bills on when a call is given up.
    bills_on: bool,
    /// Which of the four it is.
    place: u64,
}

const MODES: u64 = 4;

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

async fn tables(stand: &Stand, database: Option<&Database>) -> Tables {
    match database {
        Some(database) => Tables::read_postgres(&database.url(None)).await.unwrap(),
        None => books::sqlite(&stand.data_dir).await,
    }
}

fn setup(mode: Mode, database: Option<&Database>) -> Setup {
    Setup {
        key: books::budget("50.00"),
        more: books::priced(&books::models(mode.bills_on)),
        provider: format!("abort_stops_billing = {}", !mode.bills_on),
        store: database.map(|database| format!("url = \"{}\"", database.url(None))).unwrap_or_default(),
        ..Setup::default()
    }
}

async fn kill_again_and_again(mode: Mode) {
    let all = books::length("TIDEGATE_SOAK_KILLS", 5, 50);
    let kills = all / MODES + u64::from(mode.place < all % MODES);
    if kills == 0 {
        return;
    }
    let database = if mode.postgres { Some(Database::create().await) } else { None };
    let mut stand = Stand::start(setup(mode, database.as_ref())).await;
    let mut random = Random::seeded(0x7E57 + mode.place);
    let mut seen = Vec::new();
    for round in 0..kills {
        // A kill comes at any moment of the first seconds; in a soak of the first twenty.
        let alive = books::millis(400 + random.below(books::length("TIDEGATE_SOAK_ALIVE_MS", 2_200, 19_600)));
        let mut load = books::load(&stand, alive.as_secs_f64() + 0.4, 1_000 * mode.place + round);
        load.models = books::models(mode.bills_on).map(|model| format!("fake/{model}")).to_vec();
        let run = books::run(load);
        tokio::time::sleep(alive).await;
        stand.kill();
        if round + 1 == kills {
            // Kept for the replay below: the spool as the crash left it.
            copy_dir(&stand.data_dir.join("spool"), &stand.dir.join("spool-copy"));
        }
        stand.run().await;
        let mut report = run.await.unwrap();
        for one in &mut report.seen {
            one.index += round * 1_000_000;
        }
        seen.append(&mut report.seen);
    }
    stand.wait_drained().await;
    let journal = books::journal(&stand).await;
    assert!(journal.len() as u64 > 40 * kills, "{} dispatches are no load", journal.len());
    assert_eq!(stand.stop().await, Some(0), "{}", stand.log());
    let kept = tables(&stand, database.as_ref()).await;
    let limits: Vec<_> = kept.balances.iter().map(|b| (b.scope.as_str(), 50_000_000_000)).collect();
    let rules = books::rules_of(&books::models(mode.bills_on), &limits);
    let verdict = oracle::judge(&journal, &kept, &seen, &rules);
    eprintln!("kill -9, {}: {kills} kills, {verdict}", mode.name);
    assert!(verdict.holds(), "{verdict}");
    // What was given up was cancelled and estimated, or else read to its end and known.
    let given_up =
        |estimated| kept.entries.iter().any(|e| e.outcome == "client_gone" && e.estimated == estimated);
    assert!(given_up(!mode.bills_on), "{}: nobody gave up", mode.name);
    // I7: the spool of the last crash once more, twice.
    for _ in 0..2 {
        std::fs::remove_dir_all(stand.data_dir.join("spool")).unwrap();
        copy_dir(&stand.dir.join("spool-copy"), &stand.data_dir.join("spool"));
        stand.run().await;
        stand.wait_drained().await;
        stand.stop().await;
        let again = tables(&stand, database.as_ref()).await;
        let changed = oracle::unchanged(&kept, &again);
        assert!(changed.is_empty(), "{changed:?}");
    }
    if let Some(database) = database {
        database.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_under_load_loses_and_doubles_nothing() {
    let name = "SQLite, the bill stops";
    kill_again_and_again(Mode { name, postgres: false, bills_on: false, place: 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_with_answers_read_on_loses_and_doubles_nothing() {
    let name = "SQLite, the bill runs on";
    kill_again_and_again(Mode { name, postgres: false, bills_on: true, place: 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_on_postgres_loses_and_doubles_nothing() {
    let name = "PostgreSQL, the bill stops";
    kill_again_and_again(Mode { name, postgres: true, bills_on: false, place: 2 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_on_postgres_with_answers_read_on_loses_and_doubles_nothing() {
    let name = "PostgreSQL, the bill runs on";
    kill_again_and_again(Mode { name, postgres: true, bills_on: true, place: 3 }).await;
}
