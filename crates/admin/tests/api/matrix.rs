//! Every role at every route, with what is their own and with what is another tenant's: made from the route table, so a new
//! route is in it by being one.

use crate::{Bench, Call};
use admin::permissions::{Permission, Reach, Role, page};
use admin::{Access, routes};
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) const PASSWORD: &str = "a quiet harbour";

/// Somebody with a session.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) cookie: String,
    pub(crate) csrf: String,
    pub(crate) body: Value,
}

impl Bench {
    /// A call over the network, as this person's browser makes it.
    pub(crate) async fn as_user(
        &self,
        who: &Signed,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let headers = vec![("cookie", who.cookie.clone()), ("x-csrf-token", who.csrf.clone())];
        let (status, _, body) = self.ask(Call { access: Access::Network, method, path, body, headers }).await;
        (status, body)
    }

    /// Signs in by one of the routes that do.
    pub(crate) async fn enter(&self, path: &str, body: Value) -> Signed {
        let headers = vec![("host", "localhost".to_owned())];
        let call = Call { access: Access::Network, method: "POST", path, body: Some(body), headers };
        let (status, cookie, body) = self.ask(call).await;
        assert!(status.is_success(), "{path}: {body}");
        let cookie = cookie.unwrap().split(';').next().unwrap().to_owned();
        Signed { cookie, csrf: body["csrf_token"].as_str().unwrap().to_owned(), body }
    }

    pub(crate) async fn sign_up(&self, email: &str, organization: &str) -> Signed {
        let body = json!({ "email": email, "password": PASSWORD, "organization": organization });
        self.enter("/api/sign-up", body).await
    }

    /// Somebody new with this role, invited by `by`.
    pub(crate) async fn invited(&self, by: &Signed, role: &str, workspace: Option<&str>) -> Signed {
        let asked = json!({ "role": role, "workspace": workspace });
        let (status, made) = self.as_user(by, "POST", "/api/invitations", Some(asked)).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let email = format!("{role}-{}@example.com", made["id"].as_str().unwrap());
        let body = json!({ "token": made["token"], "email": email, "password": PASSWORD });
        self.enter("/api/invitations/accept", body).await
    }
}

/// What there is of a tenant, by the noun of the route.
struct Things {
    ids: Vec<(&'static str, String)>,
    /// Words that nobody else may see.
    words: Vec<String>,
    environment: String,
    organization: String,
}

async fn things(bench: &Bench, owner: &Signed) -> Things {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let made = &owner.body;
    let environment = text(&made["environment"]["handle"]);
    let post = async |path: &str, body: Value| bench.as_user(owner, "POST", path, Some(body)).await.1;
    let key = post("/api/keys", json!({ "name": "theirs", "environment": environment })).await;
    let invitation =
        post("/api/invitations", json!({ "role": "viewer", "email": "guest@theirs.example" })).await;
    let service = post("/api/service-tokens", json!({ "name": "robot", "scopes": ["keys:read"] })).await;
    let own = post("/api/tokens", json!({ "name": "mine", "scopes": ["keys:read"] })).await;
    let members = bench.as_user(owner, "GET", "/api/members", None).await.1;
    let sessions = bench.as_user(owner, "GET", "/api/sessions", None).await.1;
    let ids = vec![
        ("keys", text(&key["key"]["id"])),
        ("invitations", text(&invitation["id"])),
        ("service-tokens", text(&service["id"])),
        ("tokens", text(&own["id"])),
        ("members", text(&members["members"][0]["id"])),
        ("organizations", text(&made["organization"]["id"])),
        ("sessions", text(&sessions["sessions"][0]["id"])),
    ];
    let mut words: Vec<String> = ids.iter().map(|(_, id)| id.clone()).collect();
    words.extend([environment.clone(), text(&made["organization"]["id"]), text(&made["user"]["email"])]);
    Things { ids, words, environment, organization: text(&made["organization"]["id"]) }
}

impl Things {
    fn path(&self, path: &str) -> String {
        let noun = path.split('/').nth(2).unwrap();
        let id = self.ids.iter().find(|(known, _)| *known == noun).map_or("x", |(_, id)| id);
        path.replace("{id}", id).replace("{number}", "1")
    }
}

fn absent(path: &str) -> String {
    path.replace("{id}", "absent").replace("{number}", "999")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_role_does_more_than_its_column_and_nobody_reaches_another_tenant() {
    let bench = Bench::new().await;
    let owner = bench.sign_up("ann@example.com", "Ours").await;
    let stranger = bench.sign_up("bob@theirs.example", "Theirs").await;
    let theirs = things(&bench, &stranger).await;
    let mut callers = vec![(
        "nobody".to_owned(),
        None,
        Signed { cookie: String::new(), csrf: String::new(), body: Value::Null },
    )];
    for role in Role::ALL {
        callers.push((
            role.as_str().to_owned(),
            Some(role),
            bench.invited(&owner, role.as_str(), None).await,
        ));
    }
    let (mut asked, mut allowed, mut refused, mut unexpected) = (0, 0, 0, Vec::new());
    // Their own session ends last.
    let rows = || routes::table().into_iter().filter(|route| route.operation != "signOut");
    for (name, role, caller) in &callers {
        for route in rows() {
            let expected = match route.permission {
                Permission::Public => true,
                Permission::Known | Permission::Session => role.is_some(),
                // All of these are members of the organization `local`.
                permission => role.is_some_and(|role| role.gives(permission)),
            };
            let body = (route.method != http::Method::GET).then(|| json!({}));
            let own = bench.as_user(caller, route.method.as_str(), &absent(route.path), body.clone()).await;
            let other = bench.as_user(caller, route.method.as_str(), &theirs.path(route.path), body).await;
            for (whose, (status, answer)) in [("own", &own), ("other", &other)] {
                asked += 1;
                let denied = matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                let fits = denied != expected && !status.is_server_error();
                if denied {
                    refused += 1;
                } else {
                    allowed += 1;
                }
                let told = answer.to_string();
                let leaks = whose == "own" && theirs.words.iter().any(|word| told.contains(word.as_str()));
                let reached = whose == "other" && route.path.contains("{id}") && status.is_success();
                if !fits || leaks || reached {
                    unexpected
                        .push(format!("{name} {} {} {whose}: {status} {told}", route.method, route.path));
                }
            }
            if expected && route.path.contains("{id}") && route.takes.is_none() {
                let id = &theirs.path(route.path);
                let id = id.split('/').nth(3).unwrap();
                let same = own.1.to_string().replace("absent", "") == other.1.to_string().replace(id, "");
                if own.0 != other.0 || !same {
                    unexpected
                        .push(format!("{name} {}: a foreign id is told from an absent one", route.path));
                }
            }
        }
    }
    // An owner of another organization owns nothing of the process.
    for route in rows().filter(|route| route.permission.reach() == Reach::Process) {
        asked += 1;
        refused += 1;
        let (status, answer) =
            bench.as_user(&stranger, route.method.as_str(), &absent(route.path), Some(json!({}))).await;
        if status != StatusCode::FORBIDDEN {
            unexpected.push(format!("an owner elsewhere {}: {status} {answer}", route.path));
        }
    }
    println!(
        "permission matrix: {} callers x {} routes x own/other tenant, and an owner elsewhere: {asked} calls, {allowed} allowed, {refused} refused, {} unexpected",
        callers.len(),
        rows().count(),
        unexpected.len()
    );
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_places_cannot_be_named_in_a_body_or_a_query() {
    let bench = Bench::new().await;
    let owner = bench.sign_up("ann@example.com", "Ours").await;
    let stranger = bench.sign_up("bob@theirs.example", "Theirs").await;
    let theirs = things(&bench, &stranger).await;
    let workspace = stranger.body["workspace"]["id"].clone();
    let (environment, organization) = (&theirs.environment, &theirs.organization);
    for (path, body) in [
        ("/api/keys", json!({ "name": "x", "environment": environment })),
        ("/api/routes/explain", json!({ "model": "m", "environment": environment })),
        ("/api/invitations", json!({ "role": "viewer", "organization": organization })),
        ("/api/invitations", json!({ "role": "viewer", "workspace": workspace })),
        (
            "/api/service-tokens",
            json!({ "name": "x", "scopes": ["keys:read"], "organization": organization }),
        ),
        ("/api/service-tokens", json!({ "name": "x", "scopes": ["keys:read"], "workspace": workspace })),
    ] {
        let (status, answer) = bench.as_user(&owner, "POST", path, Some(body.clone())).await;
        assert!(matches!(status.as_u16(), 400 | 404), "{path} {body}: {status} {answer}");
    }
    for path in ["members", "invitations", "service-tokens"] {
        let (status, answer) =
            bench.as_user(&owner, "GET", &format!("/api/{path}?organization={organization}"), None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {answer}");
    }
    for path in ["keys", "usage", "logs", "releases"] {
        let (status, answer) =
            bench.as_user(&owner, "GET", &format!("/api/{path}?environment={environment}"), None).await;
        let list = answer.as_object().unwrap().values().find_map(Value::as_array);
        assert!(
            status == StatusCode::OK && list.is_none_or(|list| list.is_empty() || path == "usage"),
            "{path}: {answer}"
        );
        assert!(
            path == "usage" || !theirs.words.iter().any(|word| answer.to_string().contains(word.as_str())),
            "{answer}"
        );
    }
    // The host sees both.
    let (_, all) = bench.get("/api/keys").await;
    assert!(all["keys"].as_array().unwrap().len() >= 3, "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gives_more_than_they_have_and_an_owner_stays() {
    let bench = Bench::new().await;
    let owner = bench.sign_up("ann@example.com", "Ours").await;
    let admin = bench.invited(&owner, "admin", None).await;
    let (status, answer) =
        bench.as_user(&admin, "POST", "/api/invitations", Some(json!({ "role": "owner" }))).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    let (_, listed) = bench.as_user(&owner, "GET", "/api/members", None).await;
    let member = |role: &str| {
        let found = listed["members"].as_array().unwrap().iter().find(|one| one["role"] == role).unwrap();
        format!("/api/members/{}", found["id"].as_str().unwrap())
    };
    for (who, method, path, body, wanted) in [
        (&admin, "PATCH", member("owner"), Some(json!({ "role": "viewer" })), 403),
        (&admin, "DELETE", member("owner"), None, 403),
        (&admin, "PATCH", member("admin"), Some(json!({ "role": "owner" })), 403),
        (&owner, "PATCH", member("owner"), Some(json!({ "role": "admin" })), 409),
        (&owner, "DELETE", member("owner"), None, 409),
        (&owner, "PATCH", member("admin"), Some(json!({ "role": "king" })), 400),
        (&owner, "PATCH", member("admin"), Some(json!({ "role": "owner", "user": "x" })), 400),
        (&owner, "PATCH", member("admin"), Some(json!({ "role": "owner" })), 200),
        (&owner, "PATCH", member("owner"), Some(json!({ "role": "viewer" })), 200),
    ] {
        let (status, answer) = bench.as_user(who, method, &path, body).await;
        assert_eq!(status.as_u16(), wanted, "{method} {path}: {answer}");
    }
    // What was given counts at once, on the sessions that are open.
    assert_eq!(bench.as_user(&owner, "GET", "/api/status", None).await.0, StatusCode::FORBIDDEN);
    assert_eq!(bench.as_user(&admin, "GET", "/api/status", None).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_and_a_token_lose_what_their_maker_loses() {
    let bench = Bench::new().await;
    let owner = bench.sign_up("ann@example.com", "Ours").await;
    let admin = bench.invited(&owner, "admin", None).await;
    let (_, invitation) =
        bench.as_user(&admin, "POST", "/api/invitations", Some(json!({ "role": "developer" }))).await;
    let asked = json!({ "name": "robot", "scopes": ["keys:read", "keys:write"] });
    let (status, token) = bench.as_user(&admin, "POST", "/api/service-tokens", Some(asked)).await;
    assert_eq!(status, StatusCode::CREATED, "{token}");
    let beyond = json!({ "name": "robot", "scopes": ["organization:write"] });
    for path in ["/api/service-tokens", "/api/tokens"] {
        assert_eq!(bench.as_user(&admin, "POST", path, Some(beyond.clone())).await.0, StatusCode::FORBIDDEN);
    }
    let secret = token["secret"].as_str().unwrap().to_owned();
    let by_token = async |method: &str, path: &str, body: Option<Value>| {
        let headers = vec![("authorization", format!("Bearer {secret}"))];
        bench.ask(Call { access: Access::Network, method, path, body, headers }).await.0.as_u16()
    };
    let body = || Some(json!({ "name": format!("by-robot-{}", runtime::random_bytes::<4>()[0]) }));
    assert_eq!(by_token("GET", "/api/keys", None).await, 200);
    assert_eq!(by_token("POST", "/api/keys", body()).await, 201, "no CSRF token is asked of it");
    assert_eq!(by_token("GET", "/api/logs", None).await, 403, "not in its scopes");
    assert_eq!(by_token("GET", "/api/tokens", None).await, 403, "a token is no person");

    let (_, listed) = bench.as_user(&owner, "GET", "/api/members", None).await;
    let member = listed["members"].as_array().unwrap().iter().find(|one| one["role"] == "admin").unwrap();
    let path = format!("/api/members/{}", member["id"].as_str().unwrap());
    let (status, _) = bench.as_user(&owner, "PATCH", &path, Some(json!({ "role": "viewer" }))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (by_token("GET", "/api/keys", None).await, by_token("POST", "/api/keys", body()).await),
        (200, 403)
    );
    let body = json!({ "token": invitation["token"], "email": "eve@example.com", "password": PASSWORD });
    let call = |body: Value| Call {
        access: Access::Network,
        method: "POST",
        path: "/api/invitations/accept",
        body: Some(body),
        headers: vec![],
    };
    assert_eq!(
        bench.ask(call(body.clone())).await.0,
        StatusCode::NOT_FOUND,
        "who invited may invite no more"
    );

    // Back again, it works; once.
    bench.as_user(&owner, "PATCH", &path, Some(json!({ "role": "admin" }))).await;
    assert_eq!(bench.ask(call(body.clone())).await.0, StatusCode::CREATED);
    assert_eq!(bench.ask(call(body)).await.0, StatusCode::NOT_FOUND);
    let path = format!("/api/service-tokens/{}", token["id"].as_str().unwrap());
    assert_eq!(bench.as_user(&owner, "DELETE", &path, None).await.0, StatusCode::OK);
    assert_eq!(by_token("GET", "/api/keys", None).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_guesses_waits_even_with_the_right_password() {
    let bench = Bench::new().await;
    bench.sign_up("ann@example.com", "Ours").await;
    let sign_in = async |password: &str| {
        let body = json!({ "email": "ann@example.com", "password": password });
        bench.call(Access::Network, "POST", "/api/sign-in", Some(body)).await.0.as_u16()
    };
    for _ in 0..5 {
        assert_eq!(sign_in("not the password").await, 401);
    }
    assert_eq!(sign_in(PASSWORD).await, 429);
    bench.hand.advance(Duration::from_secs(2));
    assert_eq!(sign_in(PASSWORD).await, 200);
    assert_eq!(sign_in("not the password").await, 401, "success begins the count anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_over_when_it_is_idle_or_old_or_too_long_for_the_policy() {
    let bench = Bench::new().await;
    let owner = bench.sign_up("ann@example.com", "Ours").await;
    let is_in = async |who: &Signed| bench.as_user(who, "GET", "/api/me", None).await.0 == StatusCode::OK;
    let enter = async || {
        bench.enter("/api/sign-in", json!({ "email": "ann@example.com", "password": PASSWORD })).await
    };
    bench.hand.advance(Duration::from_secs(23 * 3600));
    assert!(is_in(&owner).await);
    bench.hand.advance(Duration::from_secs(23 * 3600));
    assert!(is_in(&owner).await, "it was used since");
    bench.hand.advance(Duration::from_secs(24 * 3600));
    assert!(!is_in(&owner).await, "a day without use");
    let used = enter().await;
    for _ in 0..27 {
        bench.hand.advance(Duration::from_secs(12 * 3600));
        assert!(is_in(&used).await);
    }
    bench.hand.advance(Duration::from_secs(12 * 3600));
    assert!(!is_in(&used).await, "fourteen days");
    let short = enter().await;
    let path = format!("/api/organizations/{}", owner.body["organization"]["id"].as_str().unwrap());
    let policy = json!({ "policy": { "session_hours": 1 } });
    assert_eq!(bench.as_user(&short, "PATCH", &path, Some(policy)).await.0, StatusCode::OK);
    bench.hand.advance(Duration::from_secs(3599));
    assert!(is_in(&short).await);
    bench.hand.advance(Duration::from_secs(1));
    assert!(!is_in(&short).await, "the policy counts for those that are open");
}

#[test]
fn the_page_of_roles_is_the_table() {
    let kept = include_str!("../../../../docs/roles.md");
    assert_eq!(kept, page(), "docs/roles.md is made by `cargo run -p admin --example roles > docs/roles.md`");
}
