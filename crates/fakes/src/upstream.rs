//! The scripted upstream: a provider that answers as a test wants it to, and writes down what it truly did.
//!
//! In a test: [`Upstream::start`], then [`Upstream::base_url`] into the gateway's settings, and afterwards
//! [`Upstream::journal`]. As a process: `fakes upstream`. What is answered: [`crate::plan`].

mod answer;
mod bombs;
mod gzip;
mod openai;
mod tls;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use openai::base64;
pub use openai::binary;
pub use tls::Certificate;

use crate::journal::{Dispatch, End, Journal, Tokens, lock, split_id};
use crate::plan::Plan;
use crate::random::{hash, micros};
use answer::{Answer, Then};
use openai::{Asked, Endpoint, Made};
use wire::{Read, Received, Stream, Wire};

/// Connections at once; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 32_768;
/// How long a connection that is accepted and never read is held.
const HELD: Duration = Duration::from_secs(600);

/// How an upstream is set up.
#[derive(Debug, Clone)]
pub struct Script {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The answer to requests that do not choose their own plan.
    pub plan: Plan,
    /// Plans for the next such requests, in order, before `plan`.
    pub queue: Vec<Plan>,
    /// What `GET /v1/models` lists.
    pub models: Vec<String>,
    /// The bearer token that is asked for; others get 401.
    pub credential: Option<String>,
    /// The journal's file.
    pub journal: Option<PathBuf>,
    /// How many calls of models it works on at once; more wait, in their order. `None`: all.
    pub holds: Option<usize>,
    /// How many dispatches stay in memory.
    pub keep: usize,
    /// Bodies are kept, in memory and in the file.
    pub bodies: bool,
    /// TLS with this certificate, signed by [`Upstream::authority`].
    pub tls: Option<Certificate>,
    /// What happens to new connections.
    pub accept: Accept,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            plan: Plan::default(),
            queue: Vec::new(),
            models: vec!["ok".to_owned(), "tiny".to_owned()],
            credential: None,
            journal: None,
            holds: None,
            keep: 100_000,
            bodies: true,
            tls: None,
            accept: Accept::Serve,
        }
    }
}

/// What happens to new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// They are served.
    Serve,
    /// They are accepted, and never read or answered (nor is TLS begun).
    Hang,
    /// They are reset.
    Reset,
}

/// A running upstream; dropping it closes all its connections.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    authority: Option<String>,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    journal: Journal,
    live: Mutex<Live>,
    models: Vec<String>,
    credential: Option<String>,
    bodies: bool,
    slots: Option<Semaphore>,
    connections: AtomicU64,
    open: AtomicU64,
    cut: Notify,
}

#[derive(Debug)]
struct Live {
    plan: Plan,
    /// In place of `plan`, by bearer token.
    by_credential: HashMap<String, Plan>,
    queue: VecDeque<Plan>,
    accept: Accept,
}

impl Upstream {
    /// Starts listening and serving on the current runtime.
    ///
    /// # Errors
    /// When the address cannot be bound, the journal not opened, or the certificate not made.
    pub async fn start(script: Script) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(script.listen).await?;
        let addr = listener.local_addr()?;
        let identity = script.tls.map(tls::identity).transpose()?;
        let shared = Arc::new(Shared {
            journal: Journal::open(script.journal.as_deref(), script.keep)?,
            live: Mutex::new(Live {
                plan: script.plan,
                by_credential: HashMap::new(),
                queue: script.queue.into(),
                accept: script.accept,
            }),
            models: script.models,
            credential: script.credential,
            bodies: script.bodies,
            slots: script.holds.map(Semaphore::new),
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
            cut: Notify::new(),
        });
        let acceptor =
            identity.as_ref().map(|identity| tokio_rustls::TlsAcceptor::from(Arc::clone(&identity.config)));
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Ok(Self { addr, authority: identity.map(|identity| identity.authority), shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What goes into `base_url`: `http://127.0.0.1:PORT/v1`, or `https://localhost:PORT/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        match self.authority {
            Some(_) => format!("https://localhost:{}/v1", self.addr.port()),
            None => format!("http://{}/v1", self.addr),
        }
    }

    /// The authority of its certificate, in PEM, if it speaks TLS.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// What it was asked and what it answered.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// Changes the plan of requests that do not choose their own.
    pub fn set_plan(&self, plan: Plan) {
        lock(&self.shared.live).plan = plan;
    }

    /// Changes the plan of requests with this bearer token that do not choose their own.
    pub fn set_plan_of(&self, credential: &str, plan: Plan) {
        lock(&self.shared.live).by_credential.insert(credential.to_owned(), plan);
    }

    /// Adds plans for the next requests that do not choose their own.
    pub fn enqueue(&self, plans: impl IntoIterator<Item = Plan>) {
        lock(&self.shared.live).queue.extend(plans);
    }

    /// Changes what happens to new connections.
    pub fn set_accept(&self, accept: Accept) {
        lock(&self.shared.live).accept = accept;
    }

    /// Cuts every open connection.
    pub fn cut_all(&self) {
        self.shared.cut.notify_one();
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Connections open now.
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>, shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.cut.notified() => { open.abort_all(); continue; }
            Some(_) = open.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let connection = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        // Only latency is at stake.
        let _ = stream.set_nodelay(true);
        let behaviour = lock(&shared.live).accept;
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        open.spawn(async move {
            let _open = Open::new(Arc::clone(&shared));
            match (behaviour, tls) {
                (Accept::Hang, _) => tokio::time::sleep(HELD).await,
                (Accept::Reset, _) => stream.close_resets(),
                (Accept::Serve, None) => connection_of(stream, connection, &shared).await,
                (Accept::Serve, Some(tls)) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection_of(stream, connection, &shared).await;
                    }
                }
            }
            drop(place);
        });
    }
}

struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection_of<S: Stream>(stream: S, connection: u64, shared: &Shared) {
    let mut wire = Wire::new(stream);
    loop {
        let received = match wire.read().await {
            Ok(Read::Request(received)) => received,
            Ok(Read::Broken) => {
                let _ = wire
                    .write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .await;
                return;
            }
            Ok(Read::End) | Err(_) => return,
        };
        let keep_alive = received.keep_alive;
        match request(&mut wire, received, connection, shared).await {
            Then::Next if keep_alive => {}
            Then::Reset => return wire.reset(),
            _ => return,
        }
    }
}

/// Writes the end of a dispatch down whatever happens, also when the connection's task is cut.
struct Ending<'a> {
    journal: &'a Journal,
    number: u64,
    end: End,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.number > 0 {
            self.end.at = micros();
            self.journal.end(self.number, &self.end);
        }
    }
}

async fn request<S: Stream>(
    wire: &mut Wire<S>,
    received: Received,
    connection: u64,
    shared: &Shared,
) -> Then {
    let Some(endpoint) = route(&received.method, &received.path) else {
        return other(wire, &received, shared).await;
    };
    let since = micros();
    let body = received.body.clone();
    let parsed = serde_json::from_slice::<Asked<'_>>(&body);
    let mut problems = received.problems.clone();
    let is_json = !matches!(endpoint, Endpoint::Generic | Endpoint::Binary);
    let mut asked = parsed.unwrap_or_else(|error| {
        if is_json {
            problems.push(format!("body: {error}"));
        }
        Asked::default()
    });
    let sent = received.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let sent = sent.and_then(|(_, value)| value.strip_prefix("Bearer "));
    let refused = shared.credential.as_deref().is_some_and(|credential| sent != Some(credential));
    let plan = if refused { Plan { status: 401, ..Plan::default() } } else { shared.plan(&mut asked, sent) };
    let number = if shared.journal.records() {
        shared.journal.begin(dispatch(received, &asked, connection, since, problems, shared.bodies))
    } else {
        0
    };
    let mut ending = Ending { journal: &shared.journal, number, end: End::default() };
    let (made, truth): (Made, Tokens) = openai::make(endpoint, &asked, &plan, number);
    // Dropped with the call.
    let _slot = match &shared.slots {
        Some(slots) => slots.acquire().await.ok(),
        None => None,
    };
    // A task that is cut (or a process that is stopped) has still read this much.
    ending.end.truth.input = truth.input;
    Answer::new(wire, &plan, &mut ending.end, since, number).send(made, truth).await
}

/// Paths below these are answered without a dialect of their own.
const GENERIC: [&str; 16] = [
    "/v1/moderations",
    "/v1/rerank",
    "/v1/images/",
    "/v1/audio/",
    "/v1/files",
    "/v1/batches",
    "/v1/messages",
    "/v1/models/m:",
    "/v1/responses",
    "/v1/messages/batches",
    "/v1/videos",
    "/v1/messages/count_tokens",
    "/v1beta/models/",
    "/v1/models/g:",
    "/v1/models/gemini",
    "/v1/anything",
];

fn route(method: &str, path: &str) -> Option<Endpoint> {
    match (method, path.split('?').next().unwrap_or("")) {
        ("POST", "/v1/chat/completions") => Some(Endpoint::Chat),
        ("POST", "/v1/completions") => Some(Endpoint::Completions),
        ("POST", "/v1/embeddings") => Some(Endpoint::Embeddings),
        ("HEAD", _) => None,
        (_, "/v1/audio/speech") => Some(Endpoint::Binary),
        (_, path) if path.ends_with("/content") => Some(Endpoint::Binary),
        (_, path) => GENERIC.iter().any(|known| path.starts_with(known)).then_some(Endpoint::Generic),
    }
}

/// `/v1/models`, a length for `HEAD`, and 404 for the rest; neither is a dispatch.
async fn other<S: Stream>(wire: &mut Wire<S>, received: &Received, shared: &Shared) -> Then {
    if received.method == "HEAD" {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 12345\r\n\r\n";
        return if wire.write(head).await.is_ok() { Then::Next } else { Then::Close };
    }
    let (status, body) = match (received.method.as_str(), received.path.as_str()) {
        ("GET", "/v1/models") => {
            let data: Vec<serde_json::Value> = shared
                .models
                .iter()
                .map(|id| serde_json::json!({"id": id, "object": "model", "created": 1_767_225_600, "owned_by": "fakes"}))
                .collect();
            ("200 OK", serde_json::json!({"object": "list", "data": data}).to_string())
        }
        _ => ("404 Not Found", openai::error(404)),
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    if wire.write(answer.as_bytes()).await.is_ok() { Then::Next } else { Then::Close }
}

impl Shared {
    /// The plan of a request: its own, else that of its credential, else the next of the queue, else the script's.
    fn plan(&self, asked: &mut Asked<'_>, credential: Option<&str>) -> Plan {
        if let Some(plan) = asked.fake.take() {
            return plan;
        }
        match asked.model.as_deref().and_then(Plan::from_name) {
            Some(Ok(plan)) => plan,
            Some(Err(reason)) => {
                let body = serde_json::json!({"error": {"message": reason, "type": "invalid_request_error"}});
                Plan { status: 400, body: Some(body.to_string()), ..Plan::default() }
            }
            None => {
                let mut live = lock(&self.live);
                if let Some(plan) = credential.and_then(|credential| live.by_credential.get(credential)) {
                    return plan.clone();
                }
                live.queue.pop_front().unwrap_or_else(|| live.plan.clone())
            }
        }
    }
}

fn dispatch(
    received: Received,
    asked: &Asked<'_>,
    connection: u64,
    at: i64,
    problems: Vec<String>,
    bodies: bool,
) -> Dispatch {
    let mut dispatch = Dispatch {
        at,
        connection,
        method: received.method,
        path: received.path,
        headers: received.headers,
        body_length: received.body.len() as u64,
        body_hash: format!("{:016x}", hash(&received.body)),
        model: asked.model.as_deref().map(str::to_owned),
        stream: asked.stream == Some(true),
        problems,
        ..Dispatch::default()
    };
    if let Some((id, attempt)) = dispatch.header("x-request-id").map(split_id) {
        dispatch.request_id = Some(id);
        dispatch.attempt = attempt;
    }
    if bodies {
        dispatch.body = Some(String::from_utf8_lossy(&received.body).into_owned());
        dispatch.raw = received.body;
    }
    dispatch
}
