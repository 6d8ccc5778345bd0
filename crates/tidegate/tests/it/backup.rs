//! Backups: taken under load, brought back equal, and refused where they are not what they were.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use fakes::oracle::{self, Tables};
use serde_json::Value;

use crate::books;
use crate::stand::{Setup, Stand, binary, fresh_dir};

const CANARY: &str = "a heron stands in the reeds";

fn setup() -> Setup {
    Setup {
        key: books::budget("50.00"),
        more: format!("{}[logs]\nbodies = true\n", books::priced_models()),
        ..Setup::default()
    }
}

/// Code, output and errors of a command on a data folder that no settings name.
fn run_in(data_dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let done = Command::new(binary())
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .current_dir("/")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr))
}

/// A data folder that holds the master key of `stand` and nothing else.
fn bare(stand: &Stand, name: &str) -> PathBuf {
    let dir = stand.dir.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::copy(stand.data_dir.join("master.key"), dir.join("master.key")).unwrap();
    dir
}

fn back_up(stand: &Stand, name: &str) -> (PathBuf, Value) {
    let file = stand.dir.join(name);
    let (code, out, err) = stand.command(&["backup", file.to_str().unwrap(), "--json"]);
    assert_eq!(code, 0, "{err}");
    (file, serde_json::from_str(&out).unwrap())
}

/// What the commands show of the money.
fn shown(stand: &Stand) -> (String, Value) {
    let (code, usage, err) = stand.command(&["usage", "--by", "key,model,environment", "--json"]);
    assert_eq!(code, 0, "{err}");
    let (code, budgets, err) = stand.command(&["budgets", "--json"]);
    assert_eq!(code, 0, "{err}");
    let spent: Vec<Value> = budgets
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|row| serde_json::json!([row["scope"], row["spent"]]))
        .collect();
    (usage, Value::from(spent))
}

async fn make_key(stand: &Stand, name: &str) -> String {
    let (code, out, err) = stand.command(&["keys", "create", name, "--json"]);
    assert_eq!(code, 0, "{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    made["secret"].as_str().unwrap().to_owned()
}

async fn status(stand: &Stand, key: &str) -> u16 {
    stand.client().with_key(key).chat("fake/ok-t3").await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_backed_up_at_rest_comes_back_equal() {
    let mut stand = Stand::start(setup()).await;
    let (kept, gone) = (make_key(&stand, "kept").await, make_key(&stand, "gone").await);
    let body = format!(r#"{{"model":"fake/ok-t3","messages":[{{"role":"user","content":"{CANARY}"}}]}}"#);
    assert_eq!(stand.client().post("/v1/chat/completions", body).await.status, 200);
    assert_eq!((status(&stand, &kept).await, status(&stand, &gone).await), (200, 200));
    let (code, _, err) = stand.command(&["keys", "revoke", "gone"]);
    assert_eq!(code, 0, "{err}");
    books::run(books::load(&stand, 1.0, 3)).await.unwrap();
    books::journal(&stand).await;
    stand.wait_drained().await;
    let (file, noted) = back_up(&stand, "rest.backup");
    let before = (shown(&stand), books::sqlite(&stand.data_dir).await);
    // Not one byte of what is secret: neither the keys nor the master key nor what was asked.
    let bytes = std::fs::read(&file).unwrap();
    let master = std::fs::read_to_string(stand.data_dir.join("master.key")).unwrap();
    let logs = std::fs::read_dir(stand.data_dir.join("logs")).unwrap();
    let logged: Vec<u8> = logs.flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(finds(&logged, CANARY.as_bytes()), "the canary is where it can be found at all");
    for secret in [CANARY, kept.as_str(), gone.as_str(), stand.key.as_str(), master.trim(), "SQLite format"] {
        assert!(!finds(&bytes, secret.as_bytes()), "`{secret}` stands in the backup");
    }
    let raw: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&master[at * 2..at * 2 + 2], 16).unwrap()).collect();
    assert!(!finds(&bytes, &raw), "the master key stands in the backup");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // Beside the gateway that serves.
    let (code, out, err) = stand.command(&["restore", "--verify", file.to_str().unwrap(), "--json"]);
    assert_eq!(code, 0, "{err}");
    let verified: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&verified["rows"], &verified["cost"]), (&noted["rows"], &noted["cost"]));
    assert_eq!(noted["rows"]["entries"], before.1.entries.len());
    assert_eq!(noted["rows"]["keys"], 3);

    stand.stop().await;
    std::fs::rename(&stand.data_dir, stand.dir.join("lost")).unwrap();
    std::fs::create_dir(&stand.data_dir).unwrap();
    std::fs::copy(stand.dir.join("lost/master.key"), stand.data_dir.join("master.key")).unwrap();
    let (code, _, err) = stand.command(&["restore", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    let tables = books::sqlite(&stand.data_dir).await;
    assert_eq!(oracle::unchanged(&before.1, &tables), []);
    assert_eq!(before.1.logged, tables.logged);
    stand.run().await;
    assert_eq!(shown(&stand), before.0);
    assert_eq!((status(&stand, &kept).await, status(&stand, &gone).await), (200, 401));
    assert_eq!(status(&stand, &stand.key.clone()).await, 200);
}

fn finds(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// Whatever was recorded before the backup was begun is in it, and nothing that never was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_holds_all_that_was_acknowledged_before_it() {
    let mut stand = Stand::start(setup()).await;
    let load = books::run(books::load(&stand, 6.0, 7));
    let mut backups = Vec::new();
    for name in ["one", "two", "three"] {
        let seen = entries_of(&books::sqlite(&stand.data_dir).await);
        backups.push((back_up(&stand, name), seen));
        tokio::time::sleep(books::millis(700)).await;
    }
    let report = load.await.unwrap();
    assert_eq!(report.failed(), 0, "{:?}", report.classes);
    books::journal(&stand).await;
    stand.wait_drained().await;
    let all = entries_of(&books::sqlite(&stand.data_dir).await);
    for (number, ((file, noted), seen)) in backups.into_iter().enumerate() {
        let dir = bare(&stand, &format!("restored-{number}"));
        let (code, out, err) = run_in(&dir, &["restore", file.to_str().unwrap(), "--json"]);
        assert_eq!(code, 0, "{err}");
        let restored: Value = serde_json::from_str(&out).unwrap();
        let tables = books::sqlite(&dir).await;
        assert_eq!(restored["rows"]["entries"], tables.entries.len(), "{noted}");
        let began = noted["at"].as_str().unwrap();
        let there = entries_of(&tables);
        for key in seen.keys() {
            assert!(there.contains_key(key), "{key:?} was in the database when the backup began at {began}");
        }
        let mut crashed = 0;
        for (key, entry) in &there {
            if entry.1 == "crashed" {
                crashed += 1;
            } else {
                assert_eq!(all.get(key), Some(entry), "{key:?}");
            }
        }
        eprintln!("{} entries, {crashed} settled from their mark", there.len());
        // The sums are those of the entries, and a gateway that starts there takes the same from them.
        let spent: i64 = tables.balances.iter().map(|balance| balance.spent).sum();
        let charged: i64 =
            tables.entries.iter().filter_map(|entry| entry.charge.as_ref().map(|charge| charge.0)).sum();
        assert_eq!(spent, charged);
        let names: HashSet<String> = std::fs::read_dir(dir.join("spool"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names, HashSet::from(["node".to_owned()]), "the spool is taken in");
    }
}

type Key = (String, u16, String, i64);

fn entries_of(tables: &Tables) -> HashMap<Key, (Option<(i64, String)>, String)> {
    let key = |e: &oracle::Entry| (e.request_id.clone(), e.attempt, e.kind.clone(), e.seq);
    tables.entries.iter().map(|entry| (key(entry), (entry.charge.clone(), entry.basis.clone()))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_whole_or_not_ours_is_refused_and_leaves_nothing() {
    let stand = Stand::start(setup()).await;
    assert_eq!(stand.client().chat("fake/ok-t3").await.status, 200);
    let (file, _) = back_up(&stand, "good");
    let (code, _, err) = stand.command(&["backup", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("exists already"), "{err}");
    // A folder with data, here that of a gateway that serves.
    let (code, _, err) = stand.command(&["restore", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("has data") && err.contains("control.sqlite"), "{err}");
    assert_eq!(stand.client().chat("fake/ok-t3").await.status, 200);

    let bytes = std::fs::read(&file).unwrap();
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (name, bytes, why) in [
        ("cut", &bytes[..bytes.len() - 1], "cut short"),
        ("half", &bytes[..bytes.len() / 2], "cut short"),
        ("flipped", &flipped[..], "does not open"),
        ("longer", &[&bytes[..], b"x"].concat()[..], "follows its end"),
        ("nothing", b"", "no backup"),
    ] {
        let broken = stand.dir.join(name);
        std::fs::write(&broken, bytes).unwrap();
        let dir = bare(&stand, "empty");
        for arguments in [&["restore"][..], &["restore", "--verify"]] {
            let arguments = [arguments, &[broken.to_str().unwrap()]].concat();
            let (code, _, err) = run_in(&dir, &arguments);
            assert_eq!(code, 1, "{name}: {err}");
            assert!(err.contains(why), "{name}: {err}");
            assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "{name}: something was left");
        }
    }
    let other = fresh_dir();
    let (code, _, err) = run_in(&other, &["restore", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("no `master.key`"), "{err}");
    let key: String = (100..132).map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(other.join("master.key"), key).unwrap();
    let (code, _, err) = run_in(&other, &["restore", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("another master key"), "{err}");
    // Where a restore was cut off nothing serves: it would begin with a part.
    std::fs::create_dir(other.join("restore.tmp")).unwrap();
    let (code, _, err) = run_in(&other, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("did not end"), "{err}");
    std::fs::remove_dir_all(&other).unwrap();
}
