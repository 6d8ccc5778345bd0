//! Letters: to a mail server of the test, and into the mailbox where there is none.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::{Browser, PASSWORD, sign_in, sign_up};
use crate::stand::{Setup, Stand};

/// A mail server as small as RFC 5321 allows; what it was given, a letter each.
async fn mail_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let letters = Arc::new(Mutex::new(Vec::new()));
    let kept = letters.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                let (mut letter, mut in_data) = (String::new(), false);
                write.write_all(b"220 test\r\n").await.unwrap();
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer: &[u8] = match (in_data, line.as_str()) {
                        (true, ".") => {
                            in_data = false;
                            kept.lock().unwrap().push(std::mem::take(&mut letter));
                            b"250 taken\r\n"
                        }
                        (true, text) => {
                            letter.push_str(text);
                            letter.push('\n');
                            continue;
                        }
                        (false, "DATA") => {
                            in_data = true;
                            b"354 go on\r\n"
                        }
                        (false, "QUIT") => b"221 bye\r\n",
                        (false, _) => b"250 fine\r\n",
                    };
                    if write.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, letters)
}

/// The text of a letter, as it was before it was wrapped for the way (quoted-printable).
fn plain(letter: &str) -> String {
    letter.replace("=\n", "").replace("=3D", "=")
}

fn token_in(letter: &str) -> String {
    let plain = plain(letter);
    let link = plain.lines().find(|line| line.contains("?token=")).unwrap_or_else(|| panic!("{plain}"));
    link.trim().split("?token=").nth(1).unwrap().to_owned()
}

async fn ask(stand: &Stand, email: &str) -> u16 {
    let body = json!({ "email": email }).to_string();
    stand.client().with_key("").post("/api/password-resets/request", body).await.status
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_letter() {
    let (port, letters) = mail_server().await;
    let more = format!(
        "[smtp]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = \"tidegate@example.com\"\nconsole = \"https://gate.example/\"\n"
    );
    let mut stand = Stand::start(Setup { more, ..Setup::default() }).await;
    let owner = Browser::of(&stand, &sign_up(&stand, "ann@example.com").await);
    assert_eq!(owner.get("/api/mailbox").await.status, 404, "they are sent");
    assert_eq!(
        (ask(&stand, "nobody@example.com").await, ask(&stand, "Ann@example.com").await),
        (202, 202),
        "answered alike"
    );
    let arrived = letters.clone();
    stand.wait_until("a letter", |_| std::future::ready(!arrived.lock().unwrap().is_empty())).await;
    let letter = letters.lock().unwrap()[0].clone();
    assert!(
        letter.contains("To: ann@example.com") && letter.contains("From: tidegate@example.com"),
        "{letter}"
    );
    assert!(plain(&letter).contains("https://gate.example/#/reset?token=tgr_"), "{letter}");
    let token = token_in(&letter);
    let body = json!({ "token": token, "password": "another harbour" }).to_string();
    assert_eq!(stand.client().with_key("").post("/api/password-resets/accept", body).await.status, 200);
    assert_eq!(owner.get("/api/me").await.status, 401, "every session is over");
    assert_eq!(sign_in(&stand, "ann@example.com", "another harbour").await.status, 200);
    assert!(!stand.log().contains(&token), "a letter is not logged");
    assert_eq!(letters.lock().unwrap().len(), 1, "nobody else was written to");
}

#[tokio::test]
async fn letters_lie_in_a_mailbox_where_nothing_sends_them() {
    let mut stand = Stand::start(Setup::default()).await;
    let owner = Browser::of(&stand, &sign_up(&stand, "ann@example.com").await);
    let invited =
        owner.post("/api/invitations", json!({ "role": "viewer", "email": "bob@example.com" })).await.json();
    assert_eq!(invited["mailed"], true);
    assert_eq!(ask(&stand, "ann@example.com").await, 202);
    let read = owner.clone();
    stand
        .wait_until("two letters", |_| {
            let read = read.clone();
            async move { read.get("/api/mailbox").await.json()["letters"].as_array().unwrap().len() == 2 }
        })
        .await;
    let letters = owner.get("/api/mailbox").await.json();
    let to_bob =
        letters["letters"].as_array().unwrap().iter().find(|one| one["to"] == "bob@example.com").unwrap();
    assert!(to_bob["subject"].as_str().unwrap().contains("Harbour"));
    let token = token_in(to_bob["text"].as_str().unwrap());
    assert_eq!(json!(token), invited["token"]);
    let body = json!({ "token": token, "password": PASSWORD }).to_string();
    let bob = stand.client().with_key("").post("/api/invitations/accept", body).await;
    let bob = Browser::of(&stand, &bob);
    assert_eq!(bob.get("/api/mailbox").await.status, 403);
    assert_eq!(bob.post("/api/password-resets", json!({ "email": "ann@example.com" })).await.status, 403);
    assert_eq!(bob.get("/api/me").await.json()["memberships"][0]["role"], "viewer");
    assert!(Value::Null != letters);
    let mut last = 202;
    for _ in 0..40 {
        last = ask(&stand, "ann@example.com").await;
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429, "nobody is flooded with letters");
}
