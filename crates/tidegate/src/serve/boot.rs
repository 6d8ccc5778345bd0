//! The story of a start, in the order in which it must happen.
//!
//! The simulated provider → settings and what they declare → the port → data folder and master key → the ledger
//! (replayed) → the database, or what was remembered of it → the first release → doors open. A database that is away delays
//! nothing that can be served without it.

use super::banner::{self, Banner};
use super::doors::{self, Console};
use super::engine::{Engine, Made};
use super::last::Last;
use super::source::{Overrides, Read, Refused, Source, Stamp};
use super::stop::{self, Signals};
use super::{cluster, discovery, folder, keeper, logging, mail, memory, shelf, watch};
use crate::located::Place;
use crate::outcome::Outcome;
use crate::secrets::ProcessSecrets;
use crate::terminal::complain;
use admin::{Access, Admin, ApiAddress, Identity, StoreHandle};
use anyhow::Context;
use gateway::{Gateway, Parts, ServerLimits};
use ledger::{Ledger, Options};
use policy::{Keyring, Pepper, Secret, Server, StoreUrl};
use runtime::{Clock, Tasks};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// How long the banner of a first start waits for a database server.
const BANNER_WAITS: Duration = Duration::from_millis(1500);

/// Serves until a signal asks for the end.
pub(crate) async fn run(place: Place, listen: Option<SocketAddr>) -> anyhow::Result<Outcome> {
    let (clock, tasks, demo_tasks) = (Clock::system(), Tasks::new(), Tasks::new());
    let simulated =
        demo::start(clock.clone(), &demo_tasks).await.context("cannot start the simulated provider")?;
    let demo_base = format!("http://{}/v1", simulated.addr);
    let source = place.find_settings().map_or(Source::Environment, Source::File);
    let overrides = Overrides { listen, data_dir: place.data_dir.clone() };
    let seen = source.stamp();
    let read = match source.read(&overrides, &demo_base) {
        Ok(read) => read,
        Err(refused) => return Ok(refuse(&refused)),
    };
    let server = read.document.server.clone();
    let serves_admin = doors::carries_console(&server)?;
    logging::begin(server.log);
    let declared = server
        .master_key
        .as_ref()
        .map(|declared| folder::read_declared_master_key(declared, &read.document.file, &ProcessSecrets));
    let declared = match declared.transpose() {
        Ok(declared) => declared,
        Err(finding) => return Ok(refuse(&Refused::from(vec![finding]))),
    };
    let ports = Ports::open(&server)?;
    folder::prepare(&server.data_dir)?;
    let node = folder::load_node_id(&server.data_dir)?;
    let master = declared.map_or_else(|| folder::load_master_key(&server.data_dir), Ok)?;
    let shared = matches!(read.document.store.url, StoreUrl::Postgres(_));
    let ledger = open_ledger(&server, shared, &clock, &tasks)?;
    let (console, keyring) = (Arc::new(Console::default()), Arc::new(Keyring::new()));
    let pepper = Arc::new(Pepper::derive(&master));
    let store = StoreHandle::away("it is being connected");
    let shelf = shelf::open(store.clone(), &master, &clock, &tasks)?;
    let shared = match cluster::open(&read.document, &master, &clock, &tasks).await? {
        Ok(shared) => shared,
        Err(finding) => return Ok(refuse(&Refused::from(vec![finding]))),
    };
    let gateway = Gateway::new(Parts {
        shelf,
        larder: shared.larder,
        tally: shared.tally,
        quiet: memory::give_back,
        ledger: ledger.clone(),
        clock: clock.clone(),
        tasks: tasks.clone(),
        pepper: Pepper::derive(&master),
        keyring: keyring.clone(),
        limits: limits_of(&server),
        aside: console.clone(),
        serves_admin,
    });
    let (store_settings, smtp) = (read.document.store.clone(), read.document.smtp.clone());
    let cluster = read.document.cluster.clone();
    let declares_keys = read.document.environments.iter().any(|environment| !environment.keys.is_empty());
    let engine = Engine::new(Made {
        source,
        overrides,
        demo_base,
        server,
        store_settings,
        cluster,
        smtp,
        declares_keys,
        clock,
        tasks,
        pepper,
        keyring,
        ledger,
        gateway,
        store,
        node,
    });
    let first_key = match begin_serving(&engine, read).await? {
        Ok(first_key) => first_key,
        Err(refused) => return Ok(refuse(&refused)),
    };
    let outcome = open_doors(&engine, ports, &console, seen, first_key).await;
    demo_tasks.stop();
    outcome
}

fn refuse(refused: &Refused) -> Outcome {
    for finding in &refused.0 {
        complain(finding);
    }
    Outcome::Failed
}

fn limits_of(server: &Server) -> ServerLimits {
    let max_memory = server.max_memory.map_or_else(super::room::usual_memory, |size| size.0);
    ServerLimits {
        max_body: server.max_body.0,
        max_memory: max_memory.max(server.max_body.0.saturating_mul(2)),
        overload: server.overload.clone(),
        trusted_proxies: server.trusted_proxies.clone().into(),
    }
}

/// `shared`: several gateways may be on the database, and divide its budgets.
fn open_ledger(server: &Server, shared: bool, clock: &Clock, tasks: &Tasks) -> anyhow::Result<Ledger> {
    let mut options = Options::new(server.data_dir.join("spool"));
    options.segment_bytes = server.segment_bytes.0;
    options.leased = shared;
    let (ledger, recovery) = Ledger::open(options, clock.clone(), tasks)?;
    let (settled, damaged) = (recovery.open_intents_settled, recovery.damaged_bytes);
    if settled > 0 {
        tracing::warn!(
            settled,
            "{settled} attempts of the last run had no end; they are settled from their last mark"
        );
    }
    if damaged > 0 {
        tracing::warn!(damaged, "{damaged} bytes of the spool were damaged and are left out");
    }
    Ok(ledger)
}

/// Brings up the database or what was remembered, and publishes the first release. Without both, the doors open
/// all the same and every call is told to wait.
async fn begin_serving(engine: &Arc<Engine>, read: Read) -> anyhow::Result<Result<Option<Secret>, Refused>> {
    let remembered = match Last::load(&engine.data_dir) {
        Ok(last) => last,
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "what was remembered of the last run is left aside");
            None
        }
    };
    let knows_something = remembered.is_some();
    if let Some(last) = remembered {
        engine.remember(last);
    }
    engine.gateway.set_keys_current(false);
    let first_key = match &engine.store_settings.url {
        StoreUrl::Sqlite => match keeper::connect(engine).await {
            Ok(first_key) => first_key,
            Err(error) if knows_something => {
                tracing::error!(%error, "the database cannot be opened; serving what is remembered");
                None
            }
            Err(error) => return Err(error).context("cannot open the database in the data folder"),
        },
        // A server may take seconds to say anything: the keeper waits for it, not the start.
        StoreUrl::Postgres(_) => None,
    };
    if engine.store.find().is_none() && !knows_something {
        return Ok(Ok(first_key));
    }
    match engine.accept(read) {
        Ok(_) => Ok(Ok(first_key)),
        Err(refused) => Ok(Err(refused)),
    }
}

/// The ports, taken before anything is written to disk, so that a second start on the same address fails before it
/// changes anything. (One on another address fails at the ledger, which locks its folder.)
struct Ports {
    public: TcpListener,
    admin: Option<TcpListener>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Ports {
    fn open(server: &Server) -> anyhow::Result<Self> {
        Ok(Self {
            public: doors::bind(server.listen, "--listen")?,
            admin: server
                .admin_listen
                .map(|address| doors::bind(address, "server.admin_listen"))
                .transpose()?,
            tls: server.tls.as_ref().map(doors::tls).transpose()?,
        })
    }
}

async fn open_doors(
    engine: &Arc<Engine>,
    ports: Ports,
    console: &Console,
    seen: Option<Stamp>,
    first_key: Option<Secret>,
) -> anyhow::Result<Outcome> {
    let origin = doors::origin(ports.public.local_addr()?, ports.tls.is_some());
    let admin_origin = match &ports.admin {
        Some(listener) => Some(doors::origin(listener.local_addr()?, false)),
        None => None,
    };
    let letters = mail::open(engine.smtp.as_ref(), &engine.server, &engine.tasks)?;
    let links = engine.smtp.as_ref().and_then(|smtp| smtp.console.clone());
    let admin = Admin {
        store: engine.store.clone(),
        live: engine.clone(),
        clock: engine.clock.clone(),
        tasks: engine.tasks.clone(),
        pepper: engine.pepper.clone(),
        api: ApiAddress {
            console: admin_origin.clone().unwrap_or_else(|| origin.clone()),
            origin: origin.clone(),
            same_port: ports.admin.is_none(),
        },
        identity: Arc::new(Identity::new(&engine.server, letters, links)),
        turn: Arc::default(),
    };
    console.open(admin::router(admin.clone(), Access::Network));
    if let Some(listener) = ports.admin {
        let router = admin::router(admin.clone(), Access::Network);
        doors::serve_admin_port(listener, router, &engine.gateway, &engine.tasks)?;
    }
    let mut signals = Signals::listen()?;
    watch::start(engine, seen)?;
    doors::serve_socket(&engine.data_dir, admin::router(admin, Access::Socket), &engine.tasks)?;
    let (serving, gateway) = (engine.gateway.clone(), engine.gateway.clone());
    engine.tasks.spawn("listener", async move {
        if let Err(error) = gateway::serve(serving, ports.public, ports.tls).await {
            tracing::error!(%error, "the listener stopped");
            gateway.stop_accepting();
        }
    });
    keeper::start(engine);
    memory::start(engine);
    discovery::start(engine);
    engine.news.lock().first_key = first_key;
    if !engine.is_serving() {
        // Doors are open already; only the banner waits, so that it can hold the first key of a first start.
        let _ = tokio::time::timeout(BANNER_WAITS, engine.came_up.notified()).await;
    }
    say(engine, &origin, admin_origin.as_deref());
    let asked = signals.next().await;
    stop::stop(engine, asked, signals).await;
    Ok(Outcome::Done)
}

fn say(engine: &Engine, origin: &str, admin_origin: Option<&str>) {
    let mut news = engine.news.lock();
    news.said = true;
    let snapshot = engine.gateway.snapshot();
    let environments = snapshot.iter().flat_map(|snapshot| snapshot.environments.values());
    let named = environments
        .flat_map(|environment| environment.providers())
        .map(|provider| (provider.name.to_string(), provider.simulated))
        .collect();
    let settings = match &engine.source {
        Source::File(path) => path.display().to_string(),
        Source::Environment => "none; found in the environment".to_owned(),
    };
    let waiting = "Waiting for the database: until it answers, every call is told to try again.";
    Banner {
        console: Some(admin_origin.unwrap_or(origin)),
        origin,
        first_key: news.first_key.take().as_ref(),
        providers: &banner::provider_words(named),
        settings,
        data_dir: engine.data_dir.display().to_string(),
        waiting: (!engine.is_serving()).then_some(waiting),
    }
    .print();
}
