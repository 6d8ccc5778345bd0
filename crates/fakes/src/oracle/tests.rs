//! Every invariant is broken once, and must be seen; and a story where all is well, read from a real file.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::journal::End;

const ID: &str = "01989d3a-5e2c-7000-8000-000000000001";

fn tokens(input: u64, output: u64) -> Tokens {
    Tokens { input, output, ..Tokens::default() }
}

fn dispatch() -> Dispatch {
    let end = End {
        status: 200,
        truth: tokens(10, 5),
        told: Some(tokens(10, 5)),
        complete: true,
        ..End::default()
    };
    Dispatch { number: 1, request_id: Some(ID.to_owned()), attempt: 1, end: Some(end), ..Dispatch::default() }
}

fn entry() -> Entry {
    Entry {
        request_id: ID.to_owned(),
        attempt: 1,
        kind: "settle".to_owned(),
        model: "fake/ok".to_owned(),
        outcome: "completed".to_owned(),
        usage: Counts { input: Some(10), output: Some(5), ..Counts::default() },
        basis: "reported".to_owned(),
        cost: Some((3_000, "USD".to_owned())),
        charge: Some((3_000, "USD".to_owned())),
        budgets: vec![("key_a/monthly".to_owned(), 7)],
        ..Entry::default()
    }
}

fn tables() -> Tables {
    let scope = "key_a/monthly".to_owned();
    let balance = Balance { scope, window_start: 7, currency: "USD".to_owned(), spent: 3_000 };
    Tables { entries: vec![entry()], balances: vec![balance], logged: Some([ID.to_owned()].into()) }
}

fn seen() -> Seen {
    let usage = Some(tokens(10, 5));
    Seen { request_id: Some(ID.to_owned()), status: 200, complete: true, usage, ..Seen::default() }
}

fn rules() -> Rules {
    Rules {
        prices: Prices::default().with("fake/ok", Rates::usd("0.10", "0.40").unwrap()),
        limits: [("key_a/monthly".to_owned(), 3_000)].into(),
        at_rest: true,
        ..Rules::default()
    }
}

/// The invariants that a story breaks.
fn broken(journal: &[Dispatch], tables: &Tables, seen: &[Seen], rules: &Rules) -> Vec<&'static str> {
    let verdict = judge(journal, tables, seen, rules);
    let mut found: Vec<_> = verdict.violations.iter().map(|violation| violation.invariant).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn all_is_well() {
    assert_eq!(broken(&[dispatch()], &tables(), &[seen()], &rules()), Vec::<&str>::new());
}

#[test]
fn lost_and_doubled_entries_are_i1() {
    let empty = Tables::default();
    assert_eq!(broken(&[dispatch()], &empty, &[], &rules()), ["I1"]);
    assert_eq!(broken(&[dispatch()], &empty, &[], &Rules { at_rest: false, ..rules() }), Vec::<&str>::new());
    let mut doubled = tables();
    doubled.entries.push(Entry { kind: "settle".to_owned(), charge: None, ..entry() });
    assert_eq!(broken(&[dispatch()], &doubled, &[], &rules()), ["I1"]);
    assert_eq!(broken(&[dispatch(), dispatch()], &tables(), &[], &rules()), ["I1"]);
    let mut void = tables();
    void.entries[0] = Entry { kind: "void".to_owned(), charge: None, ..entry() };
    void.balances.clear();
    assert_eq!(broken(&[dispatch()], &void, &[], &rules()), ["I1"]);
    let mut anonymous = dispatch();
    anonymous.request_id = None;
    assert!(broken(&[anonymous], &Tables::default(), &[], &rules()).contains(&"I1"));
}

#[test]
fn entries_without_a_dispatch_are_i2() {
    assert_eq!(broken(&[], &tables(), &[], &rules()), ["I2"]);
    let mut crashed = tables();
    crashed.entries[0].basis = "crashed".to_owned();
    crashed.entries[0].estimated = true;
    assert_eq!(broken(&[], &crashed, &[], &rules()), Vec::<&str>::new());
    assert_eq!(judge(&[], &crashed, &[], &rules()).indeterminate, 1);
}

#[test]
fn budgets_are_i3_i4_i5() {
    let over = Rules { limits: [("key_a/monthly".to_owned(), 2_999)].into(), ..rules() };
    assert_eq!(broken(&[dispatch()], &tables(), &[], &over), ["I3"]);
    let mut flagged = tables();
    flagged.entries[0].overrun = true;
    assert_eq!(broken(&[dispatch()], &flagged, &[], &over), Vec::<&str>::new());
    let held = Rules { reserved: vec![("key_a/monthly".to_owned(), 7, 1)], ..rules() };
    assert_eq!(broken(&[dispatch()], &tables(), &[], &held), ["I3", "I4"]);
    let mut drifted = tables();
    drifted.balances[0].spent = 2_999;
    assert_eq!(broken(&[dispatch()], &drifted, &[], &rules()), ["I5"]);
    drifted.balances.clear();
    assert_eq!(broken(&[dispatch()], &drifted, &[], &rules()), ["I5"]);
}

#[test]
fn wrong_charges_are_i6() {
    let change = |change: &dyn Fn(&mut Entry)| {
        let mut tables = tables();
        change(&mut tables.entries[0]);
        tables.balances[0].spent = tables.entries[0].charge.as_ref().map_or(0, |(nano, _)| *nano);
        broken(&[dispatch()], &tables, &[], &Rules { limits: BTreeMap::new(), ..rules() })
    };
    assert_eq!(change(&|entry| entry.charge = Some((3_001, "USD".to_owned()))), ["I6"]);
    assert_eq!(change(&|entry| entry.cost = Some((3_000, "EUR".to_owned()))), ["I6"]);
    assert_eq!(change(&|entry| entry.cost = None), ["I6"]);
    assert_eq!(change(&|entry| entry.usage.output = Some(6)), ["I6"]);
    assert_eq!(change(&|entry| entry.estimated = true), ["I6"]);
    assert_eq!(change(&|entry| entry.basis = "aborted".to_owned()), ["I6"]);
    let aborted = |entry: &mut Entry| {
        entry.basis = "aborted".to_owned();
        entry.outcome = "client_gone".to_owned();
        entry.estimated = true;
    };
    assert_eq!(change(&aborted), Vec::<&str>::new());
}

#[test]
fn acknowledged_answers_are_recorded() {
    let mut unlogged = tables();
    unlogged.logged = Some([].into());
    assert_eq!(broken(&[dispatch()], &unlogged, &[seen()], &rules()), ["A"]);
    let other = Seen { usage: Some(tokens(10, 6)), ..seen() };
    assert_eq!(broken(&[dispatch()], &tables(), &[other], &rules()), ["A"]);
    let lost = Seen { request_id: Some("else".to_owned()), ..seen() };
    assert_eq!(broken(&[dispatch()], &tables(), &[lost], &rules()), ["A"]);
    let given_up = Seen { request_id: Some("else".to_owned()), complete: false, ..seen() };
    assert_eq!(broken(&[dispatch()], &tables(), &[given_up], &rules()), Vec::<&str>::new());
}

#[test]
fn replays_that_change_something_are_i7() {
    assert_eq!(unchanged(&tables(), &tables()), []);
    let mut more = tables();
    more.entries.push(Entry { seq: 1, ..entry() });
    more.balances[0].spent += 1;
    assert_eq!(unchanged(&tables(), &more).len(), 3);
}

#[tokio::test]
async fn tables_are_read_from_a_file() {
    use sqlx::Connection;
    let folder =
        std::env::temp_dir().join(format!("fakes-oracle-{}-{}", std::process::id(), crate::random::micros()));
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let id = "X'01989D3A5E2C70008000000000000001'";
    let write = async |path: std::path::PathBuf, text: String| {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    let control = folder.join("control.sqlite");
    let text = format!(
        "CREATE TABLE entries (request_id BLOB, attempt_no INTEGER, kind TEXT, seq INTEGER, at INTEGER, key_id TEXT,
            model TEXT, outcome TEXT, input_tokens INTEGER, cached_input_tokens INTEGER, output_tokens INTEGER,
            reasoning_tokens INTEGER, basis TEXT, estimated SMALLINT, cost INTEGER, cost_currency TEXT, charge INTEGER,
            charge_currency TEXT, price_version TEXT, budgets TEXT, overrun SMALLINT);
         INSERT INTO entries VALUES ({id}, 1, 'settle', 0, 0, '', 'fake/ok', 'completed', 10, NULL, 5, NULL,
            'reported', 0, 3000, 'USD', 3000, 'USD', NULL, '[[\"key_a/monthly\",7]]', 0);
         CREATE TABLE balances (scope TEXT, window_start INTEGER, currency TEXT, spent INTEGER);
         INSERT INTO balances VALUES ('key_a/monthly', 7, 'USD', 3000);"
    );
    write(control.clone(), text).await;
    let text = format!("CREATE TABLE request_log (request_id BLOB); INSERT INTO request_log VALUES ({id});");
    write(logs.join("2026-11-22.sqlite"), text).await;
    assert_eq!(Tables::read_sqlite(&control, Some(&logs)).await.unwrap(), tables());
    std::fs::remove_dir_all(&folder).unwrap();
}
