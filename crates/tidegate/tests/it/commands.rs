//! Commands beside a gateway: they say the same as it does, and warn of what is probably not meant.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use fakes::plan::Plan;

use crate::client::chat;
use crate::stand::{PATIENCE, Setup, Stand, binary, fresh_dir};

/// Code, output and errors of a command in a folder of its own.
fn run(dir: &std::path::Path, arguments: &[&str]) -> (i32, String, String) {
    let done = Command::new(binary()).args(arguments).current_dir(dir).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr))
}

#[test]
fn check_and_serve_say_the_same_of_an_absent_secret() {
    let dir = fresh_dir();
    let secret = "env:TIDEGATE_IT_ABSENT";
    for (lines, at) in [
        (
            format!(
                "[providers.openai]\ncredential = \"{secret}\"\n[routes.r]\ntargets = [\"openai/gpt-5-mini\"]\n"
            ),
            "5:14",
        ),
        (format!("[keys.app]\nsecret = \"{secret}\"\n"), "5:10"),
        (format!("master_key = \"{secret}\"\n"), "4:14"),
    ] {
        let text = format!("[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n{lines}");
        std::fs::write(dir.join("x.toml"), text).unwrap();
        let (code, checked, _) = run(&dir, &["check", "x.toml"]);
        assert_eq!(code, 1, "{checked}");
        let (code, _, served) = run(&dir, &["serve", "--config", "x.toml"]);
        assert_eq!(code, 1, "{served}");
        let findings = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.contains(": error: ")).map(str::to_owned).collect()
        };
        assert_eq!(findings(&checked), findings(&served), "{served}");
        let [only] = &findings(&checked)[..] else { panic!("not one finding: {checked}") };
        assert!(
            only.starts_with(&format!("x.toml:{at}: error: ")) && only.contains("TIDEGATE_IT_ABSENT"),
            "{only}"
        );
        let (code, elsewhere, _) = run(&dir, &["check", "x.toml", "--without-secrets"]);
        assert_eq!(code, 0, "{elsewhere}");
        assert!(elsewhere.contains(&format!("x.toml:{at}: warning: ")), "{elsewhere}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A second start on a taken port leaves no trace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_taken_port_changes_nothing() {
    let stand = Stand::start(Setup::default()).await;
    let dir = fresh_dir();
    let listen = stand.address.to_string();
    let (code, _, err) = run(&dir, &["serve", "--listen", &listen, "--data-dir", "data"]);
    assert_eq!(code, 1, "{err}");
    assert!(!dir.join("data").exists(), "a data folder was made");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_for_a_model_that_is_not_there_is_made_with_a_warning() {
    let stand =
        Stand::start(Setup { key: "models = [\"fake/*\", \"demo/ehco\"]".to_owned(), ..Setup::default() })
            .await;
    let (code, out, err) =
        stand.command(&["keys", "create", "odd", "--model", "nope/x", "--model", "demo/ehco", "--json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(err.contains("`nope/x` matches no model") && err.contains("did you mean `demo/echo`?"), "{err}");
    let (code, _, err) =
        stand.command(&["keys", "create", "good", "--model", "fake/*", "--model", "demo/echo"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (code, out, _) = stand.command(&["check"]);
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains("warning: key `app`: `demo/ehco` matches no model") && out.contains("`demo/echo`"),
        "{out}"
    );
}

/// Also a request that began before others and ends after them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_followed_in_full_and_without_repetition() {
    let stand = Stand::start(Setup::default()).await;
    assert_eq!(stand.client().chat("fake/before").await.status, 200);
    let slow = Plan { tokens: 40, delay: 100, ..Plan::default() };
    let slow =
        chat("fake/late", &format!(r#","stream":true,"fake":{}"#, serde_json::to_string(&slow).unwrap()));
    let mut coming = stand.client().open("POST", "/v1/chat/completions", slow).await.unwrap();
    coming.next().await.unwrap().unwrap();
    let mut follower = Command::new(binary())
        .args(["logs", "--follow", "--json", "--config"])
        .arg(stand.settings_path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if tell.send(line["model"].as_str().unwrap().to_owned()).is_err() {
                return;
            }
        }
    });
    let mut seen = Vec::new();
    let mut number = 0;
    let all = async {
        // Newer ones until the follower has shown one of them, then the late one.
        loop {
            assert_eq!(stand.client().chat(&format!("fake/n{number}")).await.status, 200);
            number += 1;
            if let Ok(Some(model)) =
                tokio::time::timeout(std::time::Duration::from_millis(100), told.recv()).await
            {
                seen.push(model);
                if seen.last().is_some_and(|model| model.starts_with("fake/n")) {
                    break;
                }
            }
        }
        coming.rest().await.unwrap();
        let wanted = usize::try_from(number).unwrap() + 2;
        while seen.len() < wanted {
            seen.push(told.recv().await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("every request is shown");
    follower.kill().unwrap();
    follower.wait().unwrap();
    let mut distinct = seen.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), seen.len(), "{seen:?}");
    assert!(seen.contains(&"fake/late".to_owned()) && seen.contains(&"fake/before".to_owned()), "{seen:?}");
}
