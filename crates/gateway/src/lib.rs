//! The data plane: the way of one request.
//!
//! What it is not: it holds no settings (it reads an immutable [`policy::Snapshot`]), sees no database (records go to
//! [`ledger`]), and knows no console; whatever is not a call of a model is handed to an [`Aside`].
//!
//! Reading order is the way of a request: `listen` (connections, strict framing) → `urls` (the URL table), `endpoints` →
//! `authenticate` → `admit` (limits, reservation) → `receive` (the body) → `plan` (ordered attempts) → `recall` (earlier answers) → `queue` (a turn, where not all can have one) → `dispatch` → `lanes` →
//! `upstream` (connections to providers) → `flight` (one attempt) → `relay` (the answer) → `settle`; `raw` is what
//! differs where it is no conversation, `realtime` where it is a session, `stored` what is kept of Responses and goes on
//! from it (on a `shelf`). `refusal` has every
//! error a client can meet; `exchange` is what travels from room to room.

mod admit;
mod alarm;
mod authenticate;
mod body;
mod dispatch;
mod endpoints;
mod exchange;
mod figures;
mod flight;
mod headers;
mod health;
mod keepsakes;
mod lanes;
mod learned;
mod lifecycle;
mod limits;
mod listen;
mod metrics;
mod models;
mod pace;
mod plan;
mod probe;
mod queue;
mod raw;
mod realtime;
mod recall;
mod receive;
mod refusal;
mod relay;
mod retries;
mod rollout;
mod screen;
mod settle;
mod shelf;
mod standing;
mod stored;
mod upstream;
mod urls;
mod vectors;
mod vitals;
mod wakes;
mod wishes;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{Request, Response};
use hyper::body::Incoming;
use ledger::Ledger;
use policy::key::Pepper;
use policy::{Keyring, Layer, Name, Snapshot};
use providers::request::Operation;
use runtime::{Clock, Tasks};

pub use self::body::{Body, BoxBody, BoxError};
pub use self::limits::tally::{Tally, TallyFigures, Telling};
pub use self::listen::{bind, serve};
pub use self::pace::Bearing;
pub use self::plan::{ExplainError, Explained, Place, Question};
pub use self::probe::{ProbeError, list_models};
pub use self::recall::Larder;
pub use self::refusal::{ERRORS, errors_table};
pub use self::shelf::{Kept, Shelf, ShelfError, Shelving};
pub use self::standing::Standing;

/// How often idle connections to providers are looked at.
const SWEEP: Duration = Duration::from_secs(10);
/// Answers without a client that are read on at once; one more is cancelled and estimated.
const MAX_UNATTENDED: usize = 256;

/// Another room's answer.
pub type AsideAnswer = Pin<Box<dyn Future<Output = Response<BoxBody>> + Send>>;

/// Answers whatever is not of the data plane: the console and the admin API.
pub trait Aside: Send + Sync {
    /// Answers one request.
    fn call(&self, request: Request<Incoming>) -> AsideAnswer;
}

/// Bounds that hold for the whole process.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// The largest request body, bytes.
    pub max_body: u64,
    /// All request bodies held at once, bytes.
    pub max_memory: u64,
    /// How many calls may be under way, and what may wait.
    pub overload: policy::Overload,
    /// Proxies whose word on a client's address is believed.
    pub trusted_proxies: Box<[policy::Network]>,
}

/// What a gateway is made of.
pub struct Parts {
    /// Where every attempt is recorded.
    pub ledger: Ledger,
    /// The time.
    pub clock: Clock,
    /// Where tasks are started.
    pub tasks: Tasks,
    /// Hashes presented keys.
    pub pepper: Pepper,
    /// The keys that are known.
    pub keyring: Arc<Keyring>,
    /// Bounds of the process.
    pub limits: ServerLimits,
    /// The rest of the URL space.
    pub aside: Arc<dyn Aside>,
    /// Keeps stored responses.
    pub shelf: Arc<dyn Shelf>,
    /// Keeps answers beyond this process, if anything does.
    pub larder: Option<Arc<dyn Larder>>,
    /// Counts limits for several nodes, if anything does.
    pub tally: Option<Arc<dyn Tally>>,
    /// Whether this listener also serves the console, the admin API and `/metrics`.
    pub serves_admin: bool,
    /// Called on each thread of the data plane once it has become quiet: to give memory back.
    pub quiet: fn(),
}

/// The data plane of one process.
pub struct Gateway {
    pub(crate) ledger: Ledger,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) pepper: Pepper,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) max_body: u64,
    pub(crate) memory: Arc<receive::Memory>,
    pub(crate) aside: Arc<dyn Aside>,
    pub(crate) shelf: Arc<dyn Shelf>,
    pub(crate) running: Arc<stored::background::Running>,
    pub(crate) serves_admin: bool,
    pub(crate) published: ArcSwapOption<Snapshot>,
    pub(crate) quiet: fn(),
    pub(crate) upstreams: upstream::Upstreams,
    pub(crate) keepsakes: keepsakes::Keepsakes,
    pub(crate) recall: recall::Recall,
    pub(crate) learned: learned::Learned,
    pub(crate) standings: standing::Standings,
    pub(crate) paces: pace::Paces,
    pub(crate) retries: retries::Retries,
    pub(crate) gates: queue::Gates,
    pub(crate) limiter: limits::Limiter,
    pub(crate) tally: Option<Arc<dyn Tally>>,
    pub(crate) vitals: vitals::Vitals,
    pub(crate) trusted_proxies: Box<[policy::Network]>,
    pub(crate) metrics: metrics::Metrics,
    pub(crate) lifecycle: lifecycle::Lifecycle,
    /// Places for sessions over a WebSocket.
    pub(crate) sessions: Arc<tokio::sync::Semaphore>,
    /// How many of them each key has.
    pub(crate) places: Arc<realtime::Places>,
    /// Places to read answers to their end whose clients are gone.
    pub(crate) unattended: Arc<tokio::sync::Semaphore>,
    keys_current: AtomicBool,
    layers: [Name; 4],
    endpoints: [Name; 6],
}

impl Gateway {
    /// A gateway without a release: it answers 503 until [`Gateway::publish`].
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let gates = queue::Gates::new(&parts.limits.overload, parts.clock.clone());
        let gateway = Arc::new(Self {
            ledger: parts.ledger,
            clock: parts.clock,
            tasks: parts.tasks,
            pepper: parts.pepper,
            keyring: parts.keyring,
            max_body: parts.limits.max_body,
            memory: receive::Memory::new(parts.limits.max_memory),
            aside: parts.aside,
            shelf: parts.shelf,
            running: Arc::default(),
            serves_admin: parts.serves_admin,
            published: ArcSwapOption::empty(),
            quiet: parts.quiet,
            upstreams: upstream::Upstreams::default(),
            keepsakes: keepsakes::Keepsakes::default(),
            recall: recall::Recall::new(parts.larder),
            learned: learned::Learned::default(),
            standings: standing::Standings::default(),
            paces: pace::Paces::default(),
            retries: retries::Retries::default(),
            gates,
            limiter: limits::Limiter::default(),
            tally: parts.tally,
            vitals: vitals::Vitals::default(),
            trusted_proxies: parts.limits.trusted_proxies,
            metrics: metrics::Metrics::new(),
            lifecycle: lifecycle::Lifecycle::default(),
            sessions: Arc::new(tokio::sync::Semaphore::new(realtime::MAX_SESSIONS)),
            places: Arc::default(),
            unattended: Arc::new(tokio::sync::Semaphore::new(MAX_UNATTENDED)),
            keys_current: AtomicBool::new(true),
            layers: ["development", "production", "innovation", "domestic"].map(Name::from),
            endpoints: [
                Operation::Chat,
                Operation::Completions,
                Operation::Embeddings,
                Operation::Responses,
                Operation::Messages,
                Operation::Gemini,
            ]
            .map(|operation| Name::from(exchange::endpoint_name(operation))),
        });
        gateway.tasks.spawn("sweep-upstreams", sweep(Arc::downgrade(&gateway), gateway.tasks.clone()));
        gateway
    }

    /// Puts a release into force for every request that is authenticated from now on.
    pub fn publish(&self, snapshot: Snapshot) {
        self.gates.publish(&snapshot);
        self.published.store(Some(Arc::new(snapshot)));
        self.upstreams.forget_unused();
    }

    /// What is in force.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.published.load_full()
    }

    /// Says whether the keyring holds every key there is. While the database that would know is away, an unknown key
    /// is answered 503, never 401.
    pub fn set_keys_current(&self, current: bool) {
        self.keys_current.store(current, Ordering::Relaxed);
    }

    pub(crate) fn keys_are_current(&self) -> bool {
        self.keys_current.load(Ordering::Relaxed)
    }

    pub(crate) fn endpoint_name(&self, operation: Operation) -> Name {
        let [chat, completions, embeddings, responses, messages, gemini] = &self.endpoints;
        Arc::clone(match operation {
            Operation::Raw(raw) => return Name::from(raw.name()),
            Operation::Chat => chat,
            Operation::Completions => completions,
            Operation::Embeddings => embeddings,
            Operation::Responses => responses,
            Operation::Messages => messages,
            Operation::Gemini => gemini,
        })
    }

    pub(crate) fn layer_name(&self, layer: Layer) -> Name {
        let [development, production, innovation, domestic] = &self.layers;
        Arc::clone(match layer {
            Layer::Development => development,
            Layer::Production => production,
            Layer::Innovation => innovation,
            Layer::Domestic => domestic,
        })
    }

    /// First step of a stop: `/readyz` says so; everything is still served.
    pub fn begin_drain(&self) {
        self.lifecycle.begin_drain();
    }

    /// Second step: no new connections; open ones end after their present request.
    pub fn stop_accepting(&self) {
        self.lifecycle.stop_accepting();
    }

    /// Last step: what still runs gets an error and is settled.
    pub fn cut(&self) {
        self.lifecycle.begin_cut();
    }

    /// Whether requests can be served, and why not or how well, in a few words (the body of `/readyz`).
    #[must_use]
    pub fn readiness(&self) -> (bool, &'static str) {
        health::readiness(self)
    }

    /// Requests being answered.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        u64::try_from(self.metrics.in_flight()).unwrap_or(0)
    }

    /// What of a provider's is not well at present.
    #[must_use]
    pub fn standings(&self, provider: &Arc<policy::Provider>) -> Vec<Standing> {
        self.standings.of_provider(provider, self.clock.moment())
    }

    /// What is known of how much a provider's places bear.
    #[must_use]
    pub fn bearings(&self, provider: &Arc<policy::Provider>) -> Vec<Bearing> {
        self.paces.of_provider(provider)
    }

    /// Metrics in the OpenMetrics text format.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let depth = self.ledger.depth();
        let flag = u64::from;
        let [cached, promised] = self.recall.sizes();
        let sharing = self.ledger.sharing();
        let mut now = self.tally.as_ref().map_or_else(Vec::new, |tally| cluster_figures(tally.figures()));
        now.extend([
            ("cache_entries", "answers in the cache", cached.0 as u64),
            ("cache_bytes", "their bytes", cached.1 as u64),
            ("promised_entries", "answers kept for idempotency keys", promised.0 as u64),
            ("promised_bytes", "their bytes", promised.1 as u64),
            ("spool_bytes", "bytes of the spool not yet in the database", depth.bytes),
            ("spool_records", "records of the spool not yet in the database", depth.records),
            ("spool_segments", "spool files", u64::from(depth.segments)),
            ("spool_backlog", "records that wait in memory for the spool", depth.backlog),
            ("spool_writable", "1 when calls can be recorded", flag(depth.writable)),
            ("spool_draining", "1 when the database takes records", flag(depth.draining)),
            ("held_bytes", "bytes of request bodies in memory", self.memory.held()),
            ("keys", "virtual keys known", self.keyring.len() as u64),
            ("keys_current", "1 when every key is known here", flag(self.keys_are_current())),
            (
                "limit_counters",
                "Counters of limits that are in use",
                u64::try_from(self.limiter.len()).unwrap_or(u64::MAX),
            ),
            (
                "places_away",
                "deployments and accounts that are passed over at present",
                self.standings.away(self.clock.moment()) as u64,
            ),
            (
                "budgets_reached",
                "how often budgets have reached a part of theirs that is told",
                self.ledger.crossed().1,
            ),
            (
                "lease_asks",
                "how often the database was asked for a share of budgets",
                sharing.map_or(0, |sharing| sharing.asks),
            ),
            (
                "leases_available",
                "0 when the database that divides budgets among gateways does not answer",
                flag(sharing.is_none_or(|sharing| !sharing.away)),
            ),
            (
                "nodes",
                "gateways that live on the database, this one included",
                sharing.map_or(1, |sharing| sharing.nodes),
            ),
            (
                "retries_denied",
                "attempts at places that are not well which the retry budget did not allow",
                self.retries.denied(),
            ),
            (
                "asked_though_failing",
                "attempts at deployments that mostly fail, since half of their route was passed over already",
                self.standings.counts().1,
            ),
            ("tasks", "tasks running", self.tasks.running() as u64),
        ]);
        self.metrics.text(&now, &[self.passed_over(), self.ejections(), self.bears()])
    }
}

fn cluster_figures(figures: TallyFigures) -> Vec<(&'static str, &'static str, u64)> {
    vec![
        ("cluster_well", "1 when limits are counted for all nodes together", u64::from(figures.well)),
        ("cluster_nodes", "nodes that share limits", u64::from(figures.nodes)),
        ("cluster_asked", "how often the others were asked for a limit", figures.asked),
        ("cluster_drawn", "how often limits were taken from what was had in advance", figures.drawn),
        ("cluster_alone", "how often this node decided by its share alone", figures.alone),
        ("cluster_changes", "how often the others were lost and found", figures.changes),
    ]
}

async fn sweep(gateway: std::sync::Weak<Gateway>, tasks: Tasks) {
    let mut stopping = std::pin::pin!(tasks.stopping());
    loop {
        tokio::select! {
            () = &mut stopping => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.upstreams.sweep(gateway.clock.moment());
        gateway.upstreams.forget_unused();
        gateway.recall.sweep(gateway.clock.moment());
        gateway.paces.sweep(gateway.clock.moment());
    }
}
