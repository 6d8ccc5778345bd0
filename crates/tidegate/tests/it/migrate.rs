//! The move to PostgreSQL with the real binary: killed on the way, gone on with, and equal at the end.

use std::process::Command;

use sqlx::{Connection, Executor};

use crate::books;
use crate::operate::Database;
use crate::stand::{Setup, Stand, binary};

/// Rows as they come from years of serving: many, in the tables that grow.
const ENTRIES: &str = "INSERT INTO entries (request_id, attempt_no, kind, seq, at, settled_at, organization, workspace, environment, \
     layer, region, release, key_id, key_name, provider, model, endpoint, outcome, input_tokens, output_tokens, basis, estimated, \
     cost, cost_currency, charge, charge_currency, price_version, budgets, overrun) \
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
     SELECT randomblob(16), attempt_no, kind, seq, at - i * 1000, settled_at, organization, workspace, environment, layer, region, \
     release, key_id, key_name, provider, model, endpoint, outcome, i % 900, i % 70, basis, estimated, i % 900 * 17, cost_currency, i % 900 * 17, \
     charge_currency, price_version, budgets, overrun \
     FROM n, (SELECT * FROM entries WHERE cost IS NOT NULL ORDER BY id LIMIT 1)";
const KEYS: &str = "INSERT INTO keys (id, environment, name, hash, created_at, updated_at, revoked_at, document) \
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
     SELECT id || i, environment, name || i, NULL, created_at, updated_at, NULL, \
     json_set(document, '$.id', id || i, '$.name', name || i, '$.hash', NULL) FROM n, (SELECT * FROM keys WHERE name = 'live')";

async fn fill(stand: &Stand, entries: u64, keys: u64) {
    let file = stand.data_dir.join("control.sqlite");
    let mut connection = sqlx::SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
    for (sql, count) in [(ENTRIES, entries), (KEYS, keys)] {
        connection.execute(sqlx::query(sql).bind(i64::try_from(count).unwrap())).await.unwrap();
    }
    connection.close().await.unwrap();
}

fn migrate(stand: &Stand, url: &str, failpoints: &str) -> (Option<i32>, String, String) {
    let done = Command::new(binary())
        .args(["migrate", "--to", "env:TARGET", "--json", "--config"])
        .arg(stand.settings_path())
        .env("TARGET", url)
        .env("FAILPOINTS", failpoints)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

async fn shown(stand: &mut Stand) -> (String, String) {
    stand
        .wait_until("the database is in use", |stand| {
            let client = stand.client();
            async move { client.metric("tidegate_keys_current").await.is_some_and(|value| value > 0.5) }
        })
        .await;
    let (code, usage, err) = stand.command(&["usage", "--since", "400d", "--by", "key,model", "--json"]);
    assert_eq!(code, 0, "{err}");
    let (code, keys, err) = stand.command(&["keys", "list", "--json"]);
    assert_eq!(code, 0, "{err}");
    (usage, keys)
}

/// A million entries and ten thousand keys in `make soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_killed_goes_on_and_loses_no_record() {
    let entries = books::length("MOVE_ENTRIES", 6_000, 1_000_000);
    let keys = books::length("MOVE_KEYS", 300, 10_000);
    let database = Database::create().await;
    let setup = Setup { key: books::budget("50.00"), more: books::priced_models(), ..Setup::default() };
    let mut stand = Stand::start(setup).await;
    let (code, _, err) = stand.command(&["keys", "create", "live"]);
    assert_eq!(code, 0, "{err}");
    books::run(books::load(&stand, 1.0, 5)).await.unwrap();
    let url = database.url(None);
    let (code, _, err) = migrate(&stand, &url, "");
    assert_eq!(code, Some(1), "a gateway serves: {err}");
    books::journal(&stand).await;
    stand.wait_drained().await;
    stand.stop().await;
    fill(&stand, entries, keys).await;
    stand.run().await;
    let before = shown(&mut stand).await;
    // Whoever dies leaves records in the spool; the move takes them in.
    stand.kill();
    let tables = books::sqlite(&stand.data_dir).await;
    // Each time a little further, as by `kill -9`: between a batch and its end.
    let mut kills = 0;
    let moved = loop {
        let (code, out, err) =
            migrate(&stand, &url, if kills < 8 { "store.move.before_commit=abort+2" } else { "" });
        if code == Some(0) {
            break out;
        }
        assert_eq!(code, None, "{err}");
        kills += 1;
    };
    assert_eq!(kills, 8);
    let moved: serde_json::Value = serde_json::from_str(&moved).unwrap();
    assert!(moved["rows"]["entries"].as_u64().unwrap() >= entries, "{moved}");
    assert!(moved["rows"]["keys"].as_u64().unwrap() > keys, "{moved}");
    eprintln!("moved after {kills} kills: {moved}");
    let there = fakes::oracle::Tables::read_postgres(&url).await.unwrap();
    assert!(fakes::oracle::unchanged(&tables, &there).is_empty());
    // The same gateway, on the other database.
    let text = std::fs::read_to_string(stand.settings_path()).unwrap();
    stand.write_file(&text.replacen(
        "[providers.fake]",
        &format!("[store]\nurl = \"{url}\"\n[providers.fake]"),
        1,
    ));
    stand.run().await;
    assert_eq!(shown(&mut stand).await, before);
    assert_eq!(stand.client().chat("fake/ok-t3").await.status, 200);
    stand.stop().await;
    database.drop().await;
}
