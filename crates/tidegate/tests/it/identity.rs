//! People come in: from nothing to a streamed answer, what a stranger sees of it, and how it ends.

mod host;
mod letters;
mod totp;

use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::stand::{Setup, Stand};

pub(crate) const PASSWORD: &str = "a quiet harbour";

/// A browser: its cookie and the token that goes with it.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) client: Client,
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl Browser {
    /// As an answer that signs in left it.
    pub(crate) fn of(stand: &Stand, reply: &Reply) -> Self {
        let set = reply.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {}", reply.text()));
        let cookie = set.split(';').next().unwrap().to_owned();
        let csrf = reply.json()["csrf_token"].as_str().unwrap().to_owned();
        let client = stand.client().with_key("").header("cookie", &cookie);
        Self { client, cookie, csrf }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.client.get(path).await.unwrap()
    }

    pub(crate) async fn write(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.client.header("x-csrf-token", &self.csrf).send(method, path, body).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.write("POST", path, body).await
    }
}

pub(crate) async fn sign_up(stand: &Stand, email: &str) -> Reply {
    let body = json!({ "email": email, "password": PASSWORD, "organization": "Harbour" });
    stand.client().with_key("").post("/api/sign-up", body.to_string()).await
}

pub(crate) async fn sign_in(stand: &Stand, email: &str, password: &str) -> Reply {
    let body = json!({ "email": email, "password": password });
    stand.client().with_key("").post("/api/sign-in", body.to_string()).await
}

#[tokio::test]
async fn the_first_one_signs_up_and_calls_a_model_at_once() {
    let stand = Stand::start(Setup::default()).await;
    let reply = sign_up(&stand, " Ann@Example.com ").await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let made = reply.json();
    assert_eq!(made["organization"]["handle"], "local");
    assert_eq!(made["organization"]["name"], "Harbour");
    assert_eq!(
        (&made["workspace"]["handle"], &made["environment"]["handle"]),
        (&json!("default"), &json!("dev"))
    );
    assert_eq!(made["user"]["email"], "ann@example.com");
    for (what, prefix) in
        [("organization", "org_"), ("workspace", "ws_"), ("environment", "env_"), ("user", "usr_")]
    {
        assert!(made[what]["id"].as_str().unwrap().starts_with(prefix), "{what}: {made}");
    }
    let cookie = reply.header("set-cookie").unwrap();
    for part in ["tidegate_session=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "plain HTTP: {cookie}");
    let secret = made["key"]["secret"].as_str().unwrap();
    let mut coming = stand.client().with_key(secret).stream("demo/story").await;
    assert_eq!(coming.status, 200);
    assert!(coming.next().await.unwrap().is_ok(), "a first event");

    let browser = Browser::of(&stand, &reply);
    let me = browser.get("/api/me").await.json();
    assert_eq!((&me["via"], &me["csrf_token"]), (&json!("session"), &json!(browser.csrf)));
    assert_eq!(me["memberships"][0]["role"], "owner");
    assert_eq!(me["environments"][0]["handle"], "dev");
    let keys = browser.get("/api/keys").await.json();
    assert!(keys["keys"].as_array().unwrap().iter().any(|key| key["id"] == made["key"]["id"]));
    assert!(!keys.to_string().contains(secret));
    assert_eq!(browser.get("/api/status").await.status, 200, "the host's owner sees the process");
}

#[tokio::test]
async fn a_second_organization_has_its_own_environment_and_sees_nothing_of_the_first() {
    let stand = Stand::start(Setup::default()).await;
    let first = Browser::of(&stand, &sign_up(&stand, "ann@example.com").await);
    let again = sign_up(&stand, "ann@example.com").await;
    assert_eq!((again.status, again.code().as_str()), (409, "conflict"));
    let made = sign_up(&stand, "bob@example.com").await;
    assert_eq!(made.status, 201, "{}", made.text());
    let other = Browser::of(&stand, &made);
    let made = made.json();
    let client = stand.client().with_key(made["key"]["secret"].as_str().unwrap());
    assert_eq!(client.chat("demo/echo").await.status, 200, "its environment serves at once");
    assert_eq!(client.chat("fake/ok").await.status, 404, "with none of the first one's providers");
    let id = made["environment"]["id"].as_str().unwrap();
    // A server of this host's network is not reached, and its variables and files are not read.
    let private =
        format!("[providers.x]\ndialect = \"openai\"\nbase_url = \"{}\"\n", stand.upstream.base_url());
    let path = format!("/api/environments/{id}/releases");
    assert_eq!(other.post(&path, json!({ "document": private })).await.status, 201);
    let reply = client.chat("x/ok").await;
    assert!(reply.status >= 500, "{} {}", reply.status, reply.text());
    assert_eq!(stand.upstream.journal().count(), 0);
    let stolen = json!({ "document": "[providers.openai]\ncredential = \"env:STAND_KEY\"\n" });
    let refused = other.post(&path, stolen).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_document"), "{}", refused.text());
    // To each the other's is as if it did not exist.
    let theirs = first.get("/api/environments").await.json();
    let theirs: Vec<_> =
        theirs["environments"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert!(!theirs.contains(&json!(id)), "{theirs:?}");
    for path in [format!("/api/environments/{id}"), format!("/api/environments/{id}/export")] {
        assert_eq!(first.get(&path).await.status, 404, "{path}");
    }
    let dev = theirs[0].as_str().unwrap();
    for what in ["releases/1/publish", "releases/1/rollback", "releases/1/approve"] {
        let reply = other.post(&format!("/api/environments/{dev}/{what}"), Value::Null).await;
        assert_eq!(reply.status, 404, "{what}: {}", reply.text());
    }
    let mine = other.get("/api/keys").await.json();
    assert_eq!(mine["keys"].as_array().unwrap().len(), 1, "{mine}");
    // What the host calls by name is never another organization's.
    let body = json!({ "name": "staging", "layer": "development" });
    assert_eq!(other.post("/api/environments", body).await.status, 201);
    let file = stand.dir.join("staging.toml");
    std::fs::write(&file, "[providers.openai]\ncredential = \"env:STAND_KEY\"\n").unwrap();
    let (code, _, err) = stand.command(&["apply", file.to_str().unwrap(), "--environment", "staging"]);
    assert!(code == 1 && err.contains("no environment `staging`"), "{err}");
    let (code, _, err) = stand.command(&["apply", file.to_str().unwrap(), "--environment", id]);
    assert!(code == 1 && err.contains("only its owner"), "{err}");
}

#[tokio::test]
async fn a_proxy_on_this_machine_opens_no_sign_up_and_a_small_token_makes_no_owner() {
    let stand = Stand::start(Setup::default()).await;
    let body = json!({ "email": "eve@example.com", "password": PASSWORD }).to_string();
    let proxied = stand.client().with_key("").header("x-forwarded-for", "203.0.113.9");
    assert_eq!(proxied.post("/api/sign-up", body).await.status, 403);
    let owner = Browser::of(&stand, &sign_up(&stand, "ann@example.com").await);
    let scopes = ["members:read", "members:write", "keys:read", "keys:write", "usage:read"];
    let made = owner.post("/api/tokens", json!({ "name": "small", "scopes": scopes })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let token = stand.client().with_key(made.json()["secret"].as_str().unwrap());
    let reply = token.post("/api/invitations", json!({ "role": "owner" }).to_string()).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert_eq!(owner.post("/api/invitations", json!({ "role": "owner" })).await.status, 201);
}

#[tokio::test]
async fn who_may_sign_up_is_said_by_the_settings_and_by_the_address() {
    for (server, host, status) in [
        ("sign_up = \"closed\"\n", "", 403),
        ("sign_up = \"invite\"\n", "", 403),
        ("", "evil.example", 403),
        ("", "localhost:1", 201),
        ("sign_up = \"open\"\n", "gate.example", 201),
    ] {
        let stand = Stand::start(Setup { server: server.into(), ..Setup::default() }).await;
        let client = stand.client().with_key("");
        let client = if host.is_empty() { client } else { client.header("host", host) };
        let body = json!({ "email": "ann@example.com", "password": PASSWORD }).to_string();
        let reply = client.post("/api/sign-up", body).await;
        assert_eq!(reply.status, status, "{server} {host}: {}", reply.text());
    }
}

#[tokio::test]
async fn a_session_ends_at_once_and_takes_its_thief_with_it() {
    let stand = Stand::start(Setup::default()).await;
    let owner = Browser::of(&stand, &sign_up(&stand, "ann@example.com").await);
    let thief = Browser::of(&stand, &sign_in(&stand, "ann@example.com", PASSWORD).await);
    assert_ne!(owner.cookie, thief.cookie);
    assert_eq!(thief.get("/api/me").await.status, 200);
    let sessions = owner.get("/api/sessions").await.json();
    let stolen = sessions["sessions"].as_array().unwrap().iter().find(|one| one["current"] == false).unwrap();
    let path = format!("/api/sessions/{}", stolen["id"].as_str().unwrap());
    assert_eq!(owner.write("DELETE", &path, Value::Null).await.status, 200);
    assert_eq!(owner.write("DELETE", &path, Value::Null).await.status, 404, "once");
    assert_eq!(thief.get("/api/me").await.status, 401);

    // A new password ends whatever else is open, and the old one is good for nothing.
    let thief = Browser::of(&stand, &sign_in(&stand, "ann@example.com", PASSWORD).await);
    let body = json!({ "current": PASSWORD, "password": "another harbour" });
    let refused =
        thief.post("/api/password", json!({ "current": "no", "password": "another harbour" })).await;
    assert_eq!(refused.status, 401);
    assert_eq!(owner.post("/api/password", body).await.status, 200);
    assert_eq!((owner.get("/api/me").await.status, thief.get("/api/me").await.status), (200, 401));
    assert_eq!(sign_in(&stand, "ann@example.com", PASSWORD).await.status, 401);
    let fresh = sign_in(&stand, "ANN@example.com", "another harbour").await;
    assert_eq!(fresh.status, 200, "{}", fresh.text());
    let fresh = Browser::of(&stand, &fresh);
    let out = fresh.post("/api/sign-out", Value::Null).await;
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!((fresh.get("/api/me").await.status, owner.get("/api/me").await.status), (401, 200));
}

#[tokio::test]
async fn a_write_by_cookie_needs_the_sessions_token_and_our_own_page() {
    let stand = Stand::start(Setup::default()).await;
    let browser = Browser::of(&stand, &sign_up(&stand, "ann@example.com").await);
    let other = Browser::of(&stand, &sign_in(&stand, "ann@example.com", PASSWORD).await);
    let body = json!({ "name": "made" });
    let without = browser.client.post("/api/keys", body.to_string()).await;
    assert_eq!((without.status, without.code().as_str()), (403, "forbidden"));
    let crossed = Browser { csrf: other.csrf, ..browser.clone() };
    assert_eq!(crossed.post("/api/keys", body.clone()).await.status, 403, "another session's token");
    for (origin, status) in [
        ("https://evil.example".to_owned(), 403),
        ("null".to_owned(), 403),
        (format!("http://{}.evil.example", stand.address), 403),
        (format!("http://{}", stand.address), 201),
    ] {
        let from = Browser { client: browser.client.header("origin", &origin), ..browser.clone() };
        let reply = from.post("/api/keys", body.clone()).await;
        assert_eq!(reply.status, status, "{origin}: {}", reply.text());
    }
    let sign_in_elsewhere = stand.client().with_key("").header("origin", "https://evil.example");
    let credentials = json!({ "email": "ann@example.com", "password": PASSWORD }).to_string();
    assert_eq!(sign_in_elsewhere.post("/api/sign-in", credentials.clone()).await.status, 403);
    let as_form = stand.client().with_key("").header("content-type", "text/plain");
    assert_eq!(as_form.post("/api/sign-in", credentials).await.status, 400);
}

#[tokio::test]
async fn what_a_browser_brought_before_is_never_taken_up() {
    let stand = Stand::start(Setup::default()).await;
    sign_up(&stand, "ann@example.com").await;
    let planted = "a".repeat(64);
    let body = json!({ "email": "ann@example.com", "password": PASSWORD }).to_string();
    let client = stand.client().with_key("").header("cookie", &format!("tidegate_session={planted}"));
    let reply = client.post("/api/sign-in", body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!reply.header("set-cookie").unwrap().contains(&planted));
    assert_eq!(client.get("/api/me").await.unwrap().status, 401);
}

#[tokio::test]
async fn guessing_is_answered_alike_and_slowed_down() {
    let stand = Stand::start(Setup::default()).await;
    sign_up(&stand, "ann@example.com").await;
    let known = sign_in(&stand, "ann@example.com", "not the password").await;
    let unknown = sign_in(&stand, "nobody@example.com", "not the password").await;
    let odd = sign_in(&stand, "no e-mail\r\nX: y", "not the password").await;
    assert_eq!((known.status, unknown.status, odd.status), (401, 401, 401));
    assert!(known.text() == unknown.text() && unknown.text() == odd.text());
    let mut last = known;
    // On a slow machine the first waits may be over before the next attempt; they grow.
    for _ in 0..40 {
        if last.status == 429 {
            break;
        }
        last = sign_in(&stand, "ann@example.com", "not the password").await;
    }
    assert_eq!((last.status, last.code().as_str()), (429, "too_many_attempts"), "{}", last.text());
    assert!(last.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_taken() {
    let stand = Stand::start(Setup::default()).await;
    for (body, word) in [
        (json!({ "email": "ann@example.com", "password": PASSWORD, "role": "owner" }), "role"),
        (json!({ "email": "ann@example.com", "password": PASSWORD, "id": "usr_x" }), "id"),
        (json!({ "email": "ann", "password": PASSWORD }), "email"),
        (json!({ "email": "a@b.c\r\nBcc: d@e.f", "password": PASSWORD }), "email"),
        (json!({ "email": "ann@example.com", "password": "short" }), "password"),
        (json!({ "email": "ann@example.com", "password": "password123" }), "commonest"),
        (json!({ "email": "ann@example.com", "password": "Ann@example.com" }), "password"),
        (json!({ "email": "ann@example.com", "password": PASSWORD, "organization": "a\nb" }), "organization"),
    ] {
        let reply = stand.client().with_key("").post("/api/sign-up", body.to_string()).await;
        assert!(
            reply.status == 400 && reply.text().contains(word),
            "{body}: {} {}",
            reply.status,
            reply.text()
        );
    }
    assert_eq!(sign_up(&stand, "ann@example.com").await.status, 201, "nothing of it was kept");
}

/// Words that only their owner may see are looked for in everything that is kept or told.
#[tokio::test]
async fn passwords_and_sessions_are_nowhere_to_be_read() {
    let mut stand = Stand::start(Setup::default()).await;
    let reply = sign_up(&stand, "ann@example.com").await;
    let browser = Browser::of(&stand, &reply);
    sign_in(&stand, "ann@example.com", "canary-of-a-wrong-one").await;
    sign_in(&stand, PASSWORD, "canary-of-a-wrong-one").await;
    let told =
        [browser.get("/api/me").await, browser.get("/api/sessions").await, browser.get("/api/keys").await];
    let secret = browser.cookie.split('=').nth(1).unwrap().to_owned();
    let canaries = [
        PASSWORD.to_owned(),
        "canary-of-a-wrong-one".into(),
        secret,
        reply.json()["key"]["secret"].as_str().unwrap().into(),
    ];
    stand.stop().await;
    let mut places: Vec<(String, Vec<u8>)> =
        told.iter().enumerate().map(|(at, reply)| (format!("answer {at}"), reply.body.to_vec())).collect();
    places.push(("log".into(), stand.log().into_bytes()));
    let mut folders = vec![stand.data_dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = 0;
    for (place, bytes) in &places {
        for canary in &canaries {
            if bytes.windows(canary.len()).any(|piece| piece == canary.as_bytes()) {
                eprintln!("{canary} in {place}");
                found += 1;
            }
        }
    }
    eprintln!("{} canaries in {} places: {found} found", canaries.len(), places.len());
    assert_eq!(found, 0);
}
