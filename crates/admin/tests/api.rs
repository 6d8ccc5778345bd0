//! The admin API over a real SQLite store: every route through the router, as a client would call it.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use admin::live::{LiveState, Owner, SettingsState, SpoolState, StoreState};
use admin::{Access, Admin, ApiAddress, Identity, Live, StoreHandle};
use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use policy::{KeyRecord, Keyring, Name, Pepper, Server, StoreUrl, Timestamp};
use runtime::{Clock, ManualClock, Tasks};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use store::Store;
use tower_service::Service;

#[path = "api/matrix.rs"]
mod matrix;

struct Process {
    keyring: Keyring,
    declared: Vec<Name>,
    /// The environments of the console that it serves.
    hosted: Mutex<Vec<Name>>,
}

/// One call, as a client makes it.
struct Call<'a> {
    access: Access,
    method: &'a str,
    path: &'a str,
    body: Option<Value>,
    headers: Vec<(&'a str, String)>,
}

impl Live for Process {
    fn upsert_key(&self, record: KeyRecord) {
        self.keyring.upsert(record);
    }
    fn keys(&self) -> Vec<KeyRecord> {
        self.keyring.all().iter().map(|key| key.record.clone()).collect()
    }
    fn declares_secret(&self, record: &KeyRecord) -> bool {
        self.declared.contains(&record.name)
    }
    fn environments(&self) -> Vec<Name> {
        let hosted = self.hosted.lock().unwrap();
        ["dev".into(), "prod".into()].into_iter().chain(hosted.iter().cloned()).collect()
    }
    fn places(&self) -> Vec<store::Declared> {
        let place = |environment: &str| store::Declared {
            organization: "local".into(),
            workspace: "default".into(),
            environment: environment.into(),
            layer: "development".into(),
        };
        vec![place("dev"), place("prod")]
    }
    fn owner(&self, environment: &Name) -> Owner {
        if &**environment == "prod" { Owner::File } else { Owner::Console }
    }
    fn trouble(&self, _: &Name) -> Vec<String> {
        Vec::new()
    }
    fn export(&self, _: &Name) -> Option<String> {
        Some("[routes.chat]\ntargets = [\"demo/echo\"]\n".into())
    }
    fn check_hosted(&self, hosted: &store::HostedEnvironment) -> Result<Vec<String>, Vec<String>> {
        if hosted.document.contains("nowhere") {
            Err(vec!["there is no model `nowhere`".into()])
        } else {
            Ok(Vec::new())
        }
    }
    fn take_hosted(&self, _: u64, environments: Vec<store::HostedEnvironment>) {
        *self.hosted.lock().unwrap() = environments.into_iter().map(|hosted| hosted.handle).collect();
    }
    fn node(&self) -> Name {
        "node".into()
    }
    fn doubt_model(&self, _: &Name, allowed: &str) -> Option<String> {
        allowed.starts_with("nope").then(|| format!("`{allowed}` matches no model"))
    }
    fn budgets(&self) -> Vec<admin::KnownBudget> {
        Vec::new()
    }
    fn crossed(&self) -> Vec<(Timestamp, ledger::Crossed)> {
        Vec::new()
    }
    fn shares_budgets(&self) -> bool {
        false
    }

    fn balances(&self) -> Vec<ledger::Balance> {
        Vec::new()
    }
    fn explain(&self, asked: admin::Explain) -> Result<Value, String> {
        match asked.model.as_deref() {
            Some("nope") => Err("there is no model `nope` (model_not_found)".to_owned()),
            _ => Ok(
                json!({ "asked": asked.model, "environment": asked.environment, "attempts": [], "left_out": [] }),
            ),
        }
    }
    fn ready(&self) -> bool {
        true
    }
    fn state(&self) -> LiveState {
        LiveState {
            version: "0".into(),
            started_at: Timestamp::from_micros(0),
            listen: "127.0.0.1:1".into(),
            ready: true,
            draining: false,
            settings: SettingsState::default(),
            environments: Vec::new(),
            store: StoreState { kind: "sqlite".into(), connected: true, error: None },
            spool: SpoolState {
                bytes: 0,
                records: 0,
                segments: 1,
                writable: true,
                backlog: 0,
                last_error: None,
            },
            keys: self.keyring.len(),
            providers: Vec::new(),
        }
    }
}

struct Bench {
    process: Arc<Process>,
    store: StoreHandle,
    admin: Admin,
    hand: ManualClock,
    pepper: Arc<Pepper>,
    dir: PathBuf,
}

impl Bench {
    async fn new() -> Self {
        let (clock, hand) = Clock::manual("2026-11-22T12:00:00Z".parse().unwrap());
        let unique: String = runtime::random_bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
        let dir = std::env::temp_dir().join(format!("tidegate-admin-{unique}"));
        std::fs::create_dir_all(&dir).unwrap();
        let store = StoreHandle::away("not yet");
        store.set(Store::open(&StoreUrl::Sqlite, &dir, clock.clone()).await.unwrap());
        let process = Arc::new(Process {
            keyring: Keyring::new(),
            declared: vec!["declared".into()],
            hosted: Mutex::default(),
        });
        let pepper = Arc::new(Pepper::derive(&[7; 32]));
        let admin = Admin {
            store: store.clone(),
            live: process.clone(),
            clock,
            tasks: Tasks::new(),
            pepper: pepper.clone(),
            api: ApiAddress {
                origin: "http://127.0.0.1:8080".into(),
                console: "http://127.0.0.1:8080".into(),
                same_port: true,
            },
            identity: Arc::new(Identity::new(&Server::default(), None, None)),
            turn: Arc::default(),
        };
        Self { process, store, admin, hand, pepper, dir }
    }

    async fn call(
        &self,
        access: Access,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let (status, _, body) = self.ask(Call { access, method, path, body, headers: Vec::new() }).await;
        (status, body)
    }

    /// Status, cookie that was set, body.
    async fn ask(&self, call: Call<'_>) -> (StatusCode, Option<String>, Value) {
        let mut router: Router = admin::router(self.admin.clone(), call.access);
        let mut request = Request::builder().method(call.method).uri(call.path);
        if call.body.is_some() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let body = call.body.map_or_else(Body::empty, |value| Body::from(value.to_string()));
        let answer = router.call(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let cookie = answer.headers().get("set-cookie").map(|value| value.to_str().unwrap().to_owned());
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, cookie, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Access::Socket, "GET", path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Access::Socket, "POST", path, Some(body)).await
    }

    /// What the data plane says of a secret now.
    fn accepts(&self, secret: &str) -> bool {
        let now = self.admin.clock.now();
        let hash = self.pepper.hash(&policy::key::parse(secret.as_bytes()).unwrap());
        let Some(key) = self.process.keyring.find(&hash) else { return false };
        let old = key.record.previous.filter(|previous| previous.hash == hash);
        key.active(now).is_ok() && old.is_none_or(|previous| previous.until > now)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[tokio::test]
async fn a_key_is_made_listed_rotated_with_grace_and_revoked_at_once() {
    let bench = Bench::new().await;
    let asked = json!({
        "name": "app", "models": ["demo/*"], "limits": { "requests_per_minute": 60 },
        "budgets": [{ "amount": "25.00", "window": "month" }],
    });
    let (status, made) = bench.post("/api/keys", asked).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let first = made["secret"].as_str().unwrap().to_owned();
    let id = made["key"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made["key"]["budgets"][0]["name"], "monthly");
    assert_eq!(made["key"]["budgets"][0]["currency"], "USD");
    assert!(bench.accepts(&first));
    assert_eq!(made["warnings"], json!([]));
    let (status, odd) =
        bench.post("/api/keys", json!({ "name": "odd", "models": ["demo/*", "nope/x"] })).await;
    assert_eq!((status, &odd["warnings"]), (StatusCode::CREATED, &json!(["`nope/x` matches no model"])));
    let odd = odd["key"]["id"].as_str().unwrap();
    bench.call(Access::Socket, "POST", &format!("/api/keys/{odd}/revoke"), None).await;

    let (_, listed) = bench.get("/api/keys").await;
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains(&first), "a list never holds a secret");

    let (status, rotated) = bench.post(&format!("/api/keys/{id}/rotate"), json!({ "grace": "48h" })).await;
    assert_eq!(status, StatusCode::OK, "{rotated}");
    let second = rotated["secret"].as_str().unwrap().to_owned();
    assert!(bench.accepts(&first) && bench.accepts(&second));
    bench.hand.advance(Duration::from_secs(49 * 3600));
    assert!(!bench.accepts(&first) && bench.accepts(&second));

    let (status, revoked) = bench.call(Access::Socket, "POST", &format!("/api/keys/{id}/revoke"), None).await;
    assert_eq!((status, &revoked["key"]["status"]), (StatusCode::OK, &json!("revoked")));
    assert!(!bench.accepts(&second));
    let (_, listed) = bench.get("/api/keys").await;
    assert!(listed["keys"].as_array().unwrap().is_empty());
    let (_, all) = bench.get("/api/keys?revoked=true").await;
    assert_eq!(all["keys"][0]["id"], json!(id));
    let (status, refused) = bench.post(&format!("/api/keys/{id}/rotate"), json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
}

#[tokio::test]
async fn a_rotation_without_grace_ends_the_old_secret() {
    let bench = Bench::new().await;
    let (_, made) = bench.post("/api/keys", json!({ "name": "app" })).await;
    let path = format!("/api/keys/{}/rotate", made["key"]["id"].as_str().unwrap());
    let (_, rotated) = bench.post(&path, json!({})).await;
    assert!(!bench.accepts(made["secret"].as_str().unwrap()));
    assert!(bench.accepts(rotated["secret"].as_str().unwrap()));
    assert_eq!(rotated["key"]["previous_until"], Value::Null);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_field() {
    let bench = Bench::new().await;
    let cases = [
        (json!({}), "name"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": "a b" }), "name"),
        (json!({ "name": "a", "colour": 1 }), "colour"),
        (json!({ "name": "a", "environment": "moon" }), "moon"),
        (json!({ "name": "a", "limits": { "concurrency": 0 } }), "limits.concurrency"),
        (json!({ "name": "a", "budgets": [{ "amount": "0", "window": "month" }] }), "budgets.amount"),
        (json!({ "name": "a", "budgets": [{ "amount": "1", "window": "year" }] }), "budgets.window"),
        (
            json!({ "name": "a", "budgets": [{ "amount": "1.0000000001", "window": "day" }] }),
            "budgets.amount",
        ),
        (json!({ "name": "a", "expires_at": "2020-01-01T00:00:00Z" }), "expires_at"),
        (json!({ "name": "a", "models": ["x y"] }), "models"),
    ];
    for (body, word) in cases {
        let (status, answer) = bench.post("/api/keys", body.clone()).await;
        let message = answer["error"]["message"].as_str().unwrap().to_owned();
        assert!(status == StatusCode::BAD_REQUEST && message.contains(word), "{body}: {answer}");
    }
    assert!(bench.process.keyring.is_empty());
}

#[tokio::test]
async fn one_name_is_one_key_and_the_files_secrets_are_the_files() {
    let bench = Bench::new().await;
    let (_, made) = bench.post("/api/keys", json!({ "name": "declared" })).await;
    let (status, answer) = bench.post("/api/keys", json!({ "name": "declared" })).await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::CONFLICT, &json!("conflict")));
    let (status, _) = bench.post("/api/keys", json!({ "name": "declared", "environment": "prod" })).await;
    assert_eq!(status, StatusCode::CREATED);
    let path = format!("/api/keys/{}/rotate", made["key"]["id"].as_str().unwrap());
    let (status, answer) = bench.post(&path, json!({})).await;
    assert!(status == StatusCode::CONFLICT && answer.to_string().contains("settings file"), "{answer}");
    let (status, _) = bench.post("/api/keys/key_absent/revoke", json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn writes_are_refused_while_the_database_is_away_and_lists_go_on() {
    let bench = Bench::new().await;
    bench.post("/api/keys", json!({ "name": "app" })).await;
    bench.store.set_away("connection refused");
    let (status, answer) = bench.post("/api/keys", json!({ "name": "other" })).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("store_unavailable"))
    );
    assert!(answer["error"]["message"].as_str().unwrap().contains("connection refused"));
    assert_eq!(bench.process.keyring.len(), 1);
    let (status, listed) = bench.get("/api/keys").await;
    assert_eq!((status, &listed["keys"][0]["name"]), (StatusCode::OK, &json!("app")));
    let (status, _) = bench.get("/api/logs").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_network_sees_nothing_but_what_is_public() {
    let bench = Bench::new().await;
    for route in admin::routes::table() {
        let path = route.path.replace("{id}", "key_x").replace("{number}", "1");
        let (status, answer) = bench.call(Access::Network, route.method.as_str(), &path, None).await;
        let public = route.permission == admin::permissions::Permission::Public;
        // Without a body, a write that is for all is a bad request.
        let let_through = if route.takes.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        assert_eq!(status == let_through, public, "{path}: {answer}");
        if !public {
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            assert!(answer["error"]["message"].as_str().unwrap().contains("control.sock"));
        }
    }
    let (status, _) = bench.call(Access::Network, "GET", "/", None).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn reading_routes_answer_on_an_empty_database_and_refuse_nonsense() {
    let bench = Bench::new().await;
    for path in [
        "/api/usage",
        "/api/usage?by=day&since=30d",
        "/api/logs?limit=5&status=429",
        "/api/releases",
        "/api/status",
    ] {
        let (status, answer) = bench.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    }
    for path in [
        "/api/usage?by=colour",
        "/api/usage?since=yesterday",
        "/api/logs?limit=0",
        "/api/logs?limit=1001",
        "/api/logs?before=x",
        "/api/logs?colour=1",
        "/api/releases?limit=0",
    ] {
        let (status, answer) = bench.get(path).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request")),
            "{path}"
        );
    }
    let (status, _) = bench.get("/api/releases/7").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, answer) = bench.call(Access::Socket, "DELETE", "/api/keys", None).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::METHOD_NOT_ALLOWED, &json!("method_not_allowed"))
    );
}
