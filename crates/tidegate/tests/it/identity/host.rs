//! What the host does for its users, and what a token does from afar.

use std::process::Command;

use serde_json::{Value, json};

use super::{Browser, PASSWORD, sign_in, sign_up};
use crate::stand::{Setup, Stand, binary};

/// A command with a token, from a place where there is no socket.
fn from_afar(stand: &Stand, token: &str, arguments: &[&str]) -> (i32, String, String) {
    let done = Command::new(binary())
        .args(arguments)
        .current_dir(std::env::temp_dir())
        .env("TIDEGATE_URL", format!("http://{}/v1", stand.address))
        .env("TIDEGATE_TOKEN", token)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr))
}

#[tokio::test]
async fn a_command_with_a_token_does_what_the_token_allows() {
    let stand = Stand::start(Setup::default()).await;
    let owner = Browser::of(&stand, &sign_up(&stand, "ann@example.com").await);
    let asked =
        json!({ "name": "deploy", "scopes": ["keys:read", "keys:write", "usage:read"], "expires_at": "30d" });
    let made = owner.post("/api/tokens", asked).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let token = made.json()["secret"].as_str().unwrap().to_owned();
    assert!(token.starts_with("tgt_"));
    let (code, out, err) = from_afar(&stand, &token, &["keys", "create", "afar", "--json"]);
    assert_eq!(code, 0, "{err}");
    let key: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(stand.client().with_key(key["secret"].as_str().unwrap()).chat("fake/ok").await.status, 200);
    assert_eq!(from_afar(&stand, &token, &["usage"]).0, 0);
    let (code, _, err) = from_afar(&stand, &token, &["logs"]);
    assert!(code == 1 && err.contains("logs:read"), "{code} {err}");
    let (code, _, err) = from_afar(&stand, &format!("{token}x"), &["keys", "list"]);
    assert!(code == 1 && err.contains("sign in first"), "{code} {err}");

    let listed = owner.get("/api/tokens").await.json();
    assert!(listed["tokens"][0]["used_at"].is_string() && !listed.to_string().contains(&token), "{listed}");
    let path = format!("/api/tokens/{}", listed["tokens"][0]["id"].as_str().unwrap());
    assert_eq!(owner.write("DELETE", &path, Value::Null).await.status, 200);
    assert_eq!(from_afar(&stand, &token, &["keys", "list"]).0, 1, "taken back at once");
    let stranger = stand.client().with_key(&stand.key).get("/api/keys").await.unwrap();
    assert_eq!(stranger.status, 401, "a virtual key is no API token");
}

#[tokio::test]
async fn the_host_invites_the_first_owner_and_resets_a_password() {
    let server = "sign_up = \"invite\"\n".to_owned();
    let stand = Stand::start(Setup { server, ..Setup::default() }).await;
    assert_eq!(sign_up(&stand, "ann@example.com").await.status, 403);
    let (code, out, err) =
        stand.command(&["users", "invite", "ann@example.com", "--role", "owner", "--json"]);
    assert_eq!(code, 0, "{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    let link = format!("http://{}/#/invitation?token={}", stand.address, made["token"].as_str().unwrap());
    assert_eq!(made["link"], json!(link));
    let accept = async |email: &str| {
        let body = json!({ "token": made["token"], "email": email, "password": PASSWORD }).to_string();
        stand.client().with_key("").post("/api/invitations/accept", body).await
    };
    assert_eq!(accept("eve@example.com").await.status, 403, "it is for somebody else");
    let accepted = accept("ann@example.com").await;
    assert_eq!(accepted.status, 201, "{}", accepted.text());
    let owner = Browser::of(&stand, &accepted);
    assert_eq!(accept("ann@example.com").await.status, 404, "once");
    let (code, out, err) = stand.command(&["users", "list"]);
    assert!(code == 0 && out.contains("ann@example.com") && out.contains("owner"), "{out}{err}");

    let (code, out, err) = stand.command(&["users", "reset-password", "ANN@example.com", "--json"]);
    assert_eq!(code, 0, "{err}");
    let reset: Value = serde_json::from_str(&out).unwrap();
    let use_it = async |password: &str| {
        let body = json!({ "token": reset["token"], "password": password }).to_string();
        stand.client().with_key("").post("/api/password-resets/accept", body).await
    };
    assert_eq!(use_it("short").await.status, 400);
    assert_eq!(use_it("another harbour").await.status, 200);
    assert_eq!(use_it("a third harbour").await.status, 404, "once");
    assert_eq!(owner.get("/api/me").await.status, 401, "every session is over");
    assert_eq!(sign_in(&stand, "ann@example.com", PASSWORD).await.status, 401);
    assert_eq!(sign_in(&stand, "ann@example.com", "another harbour").await.status, 200);
    assert_eq!(stand.command(&["users", "reset-password", "nobody@example.com"]).0, 1);
}
