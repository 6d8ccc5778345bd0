//! The tools of the crate as processes. Each prints where it listens as one JSON line, then runs until it is ended;
//! `load`, `oracle`, `smuggle` and `h2` run once, and exit with 1 when they found something wrong.
#![expect(clippy::print_stdout, reason = "its output is its interface")]

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use fakes::journal::{self, Dispatch};
use fakes::load::{Load, Seen};
use fakes::oracle::{Prices, Rules, Tables, judge};
use fakes::plan::Plan;
use fakes::proxy::{Proxy, Setting};
use fakes::upstream::{Accept, Certificate, Script, Upstream};
use fakes::vendor::{Manner, Vendor};
use fakes::{h2, load, smuggle};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

/// What stands in for the world in tests.
#[derive(Parser)]
#[command(name = "fakes", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A scripted upstream. Example: fakes upstream --journal j.jsonl --model ok-t40-d5
    Upstream(UpstreamArgs),
    /// A vendor that refuses what the real one refuses. Example: fakes vendor --manner cohere
    Vendor(VendorArgs),
    /// A fault proxy; settings come as JSON lines on its input. Example: fakes proxy --to 127.0.0.1:5432
    Proxy(ProxyArgs),
    /// A load generator. Example: fakes load --url http://127.0.0.1:8080/v1 --key tg-… --rate 300 --streams 0.6
    Load(LoadArgs),
    /// Joins journals and tables. Example: fakes oracle --journal j.jsonl --sqlite control.sqlite --prices p.json
    Oracle(OracleArgs),
    /// Sends the smuggling corpus. Example: fakes smuggle --to 127.0.0.1:8080 --key tg-… --model fake/ok
    Smuggle(AttackArgs),
    /// Makes the HTTP/2 attacks. Example: fakes h2 --to 127.0.0.1:8080 --key tg-… --model fake/ok
    H2(AttackArgs),
}

#[derive(Args)]
struct VendorArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Whose: openai, anthropic, gemini, cohere or jina
    #[arg(long)]
    manner: String,
}

#[derive(Args)]
struct UpstreamArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The journal's file; it is appended to
    #[arg(long)]
    journal: Option<PathBuf>,
    /// The answer to models that are not named in the syntax `ok-…`, in that syntax
    #[arg(long, default_value = "ok")]
    plan: String,
    /// What /v1/models lists, repeated
    #[arg(long = "model")]
    models: Vec<String>,
    /// The bearer token that is asked for
    #[arg(long)]
    credential: Option<String>,
    /// Whole bodies go into the journal
    #[arg(long)]
    bodies: bool,
    /// Speak TLS with a certificate: good, expired or other_name; the authority is printed
    #[arg(long)]
    tls: Option<String>,
    /// Accept connections and never read them
    #[arg(long)]
    hang: bool,
    /// Worker threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Args)]
struct ProxyArgs {
    /// The target
    #[arg(long)]
    to: SocketAddr,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Behind jitter and corruption
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The first setting, as JSON: {"down": {"latency": 20}}
    #[arg(long)]
    set: Option<String>,
}

#[derive(Args)]
struct LoadArgs {
    /// The gateway's base URL, loopback only
    #[arg(long)]
    url: String,
    /// The virtual key
    #[arg(long, default_value = "")]
    key: String,
    /// Arrivals a second; without it, --workers send one after another
    #[arg(long)]
    rate: Option<f64>,
    /// Requests at once without a rate
    #[arg(long, default_value_t = 8)]
    workers: usize,
    /// For so long
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// At most so many requests
    #[arg(long)]
    count: Option<u64>,
    /// Behind every choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The share of streams
    #[arg(long, default_value_t = 0.0)]
    streams: f64,
    /// The share of embeddings
    #[arg(long, default_value_t = 0.0)]
    embeddings: f64,
    /// The share that is given up on the way
    #[arg(long, default_value_t = 0.0)]
    aborts: f64,
    /// The share that opens a connection of its own
    #[arg(long, default_value_t = 0.0)]
    new_connections: f64,
    /// The models, repeated
    #[arg(long = "model", default_value = "ok")]
    models: Vec<String>,
    /// The models of embeddings, repeated
    #[arg(long = "embedding-model")]
    embedding_models: Vec<String>,
    /// max_tokens of every request
    #[arg(long)]
    max_tokens: Option<u64>,
    /// The length of the message in bytes
    #[arg(long, default_value_t = 64)]
    prompt_bytes: usize,
    /// The models are echoes: crossed answers are found
    #[arg(long)]
    expect_echo: bool,
    /// Seconds that one request may take
    #[arg(long, default_value_t = 60.0)]
    timeout: f64,
    /// What each request saw, as JSON lines, for the oracle
    #[arg(long)]
    seen: Option<PathBuf>,
    /// One JSON object instead of lines for people
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct OracleArgs {
    /// Journals of upstreams, repeated
    #[arg(long = "journal", required = true)]
    journals: Vec<PathBuf>,
    /// control.sqlite
    #[arg(long)]
    sqlite: Option<PathBuf>,
    /// The folder of request logs beside it
    #[arg(long)]
    logs: Option<PathBuf>,
    /// A PostgreSQL store instead
    #[arg(long, conflicts_with = "sqlite")]
    postgres: Option<String>,
    /// What clients saw: files written by `load --seen`, repeated
    #[arg(long = "seen")]
    seen: Vec<PathBuf>,
    /// Prices: {"provider/model": {"currency": "USD", "input": NANO, "output": NANO}} for a million tokens
    #[arg(long)]
    prices: Option<PathBuf>,
    /// A limit: SCOPE=NANO, repeated
    #[arg(long = "limit")]
    limits: Vec<String>,
    /// Something is still in flight
    #[arg(long)]
    running: bool,
    /// Dispatches may never have been read by the upstream
    #[arg(long)]
    unread: bool,
    /// The whole verdict as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct AttackArgs {
    /// The server, loopback only
    #[arg(long)]
    to: SocketAddr,
    /// A good virtual key
    #[arg(long)]
    key: String,
    /// A model that answers at once
    #[arg(long)]
    model: String,
    /// Seconds for each case
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Frames of each HTTP/2 attack
    #[arg(long, default_value_t = 20_000)]
    frames: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads = if let Command::Upstream(args) = &cli.command { args.threads } else { 1 };
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let ran = builder
        .worker_threads(threads.max(1))
        .enable_all()
        .build()
        .context("the runtime cannot be started")
        .and_then(|runtime| runtime.block_on(run(cli.command)));
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "fakes: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// `false` when something wrong was found.
async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Upstream(args) => upstream(args).await,
        Command::Vendor(args) => vendor(args).await,
        Command::Proxy(args) => proxy(args).await,
        Command::Load(args) => generate(args).await,
        Command::Oracle(args) => oracle(args).await,
        Command::Smuggle(args) => smuggling(args).await,
        Command::H2(args) => attacks(args).await,
    }
}

async fn vendor(args: VendorArgs) -> anyhow::Result<bool> {
    let manner = Manner::of(&args.manner).with_context(|| format!("no vendor `{}`", args.manner))?;
    let vendor = Vendor::start_at(manner, args.listen).await?;
    say(&json!({ "root": vendor.root() }))?;
    std::future::pending::<()>().await;
    Ok(true)
}

fn say(line: &serde_json::Value) -> anyhow::Result<()> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}

async fn upstream(args: UpstreamArgs) -> anyhow::Result<bool> {
    let tls: Option<Certificate> = args.tls.map(|tls| serde_json::from_value(json!(tls))).transpose()?;
    let plan: Plan = args.plan.parse().map_err(anyhow::Error::msg)?;
    let mut script =
        Script { listen: args.listen, plan, journal: args.journal, keep: 0, tls, ..Script::default() };
    script.bodies = args.bodies;
    script.credential = args.credential;
    script.accept = if args.hang { Accept::Hang } else { Accept::Serve };
    if !args.models.is_empty() {
        script.models = args.models;
    }
    let upstream = Upstream::start(script).await?;
    say(
        &json!({"listening": upstream.addr(), "base_url": upstream.base_url(), "authority": upstream.authority()}),
    )?;
    tokio::signal::ctrl_c().await?;
    Ok(true)
}

async fn proxy(args: ProxyArgs) -> anyhow::Result<bool> {
    let proxy = Proxy::listen(args.listen, args.to, args.seed).await?;
    if let Some(setting) = &args.set {
        set(&proxy, setting)?;
    }
    say(&json!({"listening": proxy.addr(), "to": args.to}))?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match line.trim() {
            "" => {}
            "cut" => proxy.cut_all(),
            "heal" => proxy.heal(),
            "counts" => {}
            setting => {
                if let Err(error) = set(&proxy, setting) {
                    say(&json!({"error": format!("{error:#}")}))?;
                    continue;
                }
            }
        }
        let (connections, up, down) = proxy.counts();
        say(&json!({"connections": connections, "up": up, "down": down, "setting": proxy.setting()}))?;
    }
    // Its input has ended: it is a tool in the background, which runs until it is ended.
    tokio::signal::ctrl_c().await?;
    Ok(true)
}

fn set(proxy: &Proxy, text: &str) -> anyhow::Result<()> {
    let wanted: Setting =
        serde_json::from_str(text).context("a setting is `cut`, `heal`, `counts` or JSON")?;
    proxy.set(|setting| *setting = Setting { cuts: setting.cuts, ..wanted });
    Ok(())
}

async fn generate(args: LoadArgs) -> anyhow::Result<bool> {
    let load = Load {
        url: args.url,
        key: args.key,
        rate: args.rate,
        workers: args.workers,
        seconds: args.seconds,
        count: args.count,
        seed: args.seed,
        streams: args.streams,
        embeddings: args.embeddings,
        aborts: args.aborts,
        new_connections: args.new_connections,
        models: args.models,
        embedding_models: args.embedding_models,
        max_tokens: args.max_tokens,
        prompt_bytes: args.prompt_bytes,
        expect_echo: args.expect_echo,
        timeout: args.timeout,
        keep: args.seen.is_some(),
        ..Load::default()
    };
    let mut report = load::run(load).await?;
    let seen = std::mem::take(&mut report.seen);
    if let Some(path) = args.seen {
        let lines = seen.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        std::fs::write(&path, lines.join("\n"))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    if args.json {
        say(&serde_json::to_value(&report)?)?;
    } else {
        println!(
            "seed {}: {} sent, {} skipped, {:.1} s",
            report.seed, report.sent, report.skipped, report.seconds
        );
        for (class, count) in &report.classes {
            println!("  {class}: {count}");
        }
        println!("  latency µs: {:?}\n  first byte µs: {:?}", report.latency, report.first_byte);
    }
    Ok(report.failed() == 0)
}

async fn oracle(args: OracleArgs) -> anyhow::Result<bool> {
    let mut dispatches: Vec<Dispatch> = Vec::new();
    for path in &args.journals {
        dispatches.extend(journal::load(path).with_context(|| format!("{} cannot be read", path.display()))?);
    }
    let tables = match (&args.sqlite, &args.postgres) {
        (Some(path), _) => Tables::read_sqlite(path, args.logs.as_deref()).await?,
        (None, Some(url)) => Tables::read_postgres(url).await?,
        (None, None) => anyhow::bail!("--sqlite or --postgres is needed"),
    };
    let mut seen: Vec<Seen> = Vec::new();
    for path in &args.seen {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        for line in text.lines() {
            seen.push(serde_json::from_str(line)?);
        }
    }
    let prices: Prices = match &args.prices {
        Some(path) => serde_json::from_str(&std::fs::read_to_string(path)?)?,
        None => Prices::default(),
    };
    let mut rules = Rules { prices, at_rest: !args.running, unread: args.unread, ..Rules::default() };
    for limit in &args.limits {
        let (scope, nano) = limit.split_once('=').context("a limit is SCOPE=NANO")?;
        rules.limits.insert(scope.to_owned(), nano.parse()?);
    }
    let verdict = judge(&dispatches, &tables, &seen, &rules);
    if args.json {
        say(&serde_json::to_value(&verdict)?)?;
    } else {
        print!("{verdict}");
    }
    Ok(verdict.holds())
}

async fn smuggling(args: AttackArgs) -> anyhow::Result<bool> {
    let patience = Duration::from_secs_f64(args.seconds);
    let target = smuggle::Target { addr: args.to, key: args.key, model: args.model, patience };
    let outcomes = smuggle::outcomes(&target).await?;
    for outcome in &outcomes {
        say(&serde_json::to_value(outcome)?)?;
    }
    Ok(outcomes.iter().all(|outcome| outcome.as_expected))
}

async fn attacks(args: AttackArgs) -> anyhow::Result<bool> {
    let time = Duration::from_secs_f64(args.seconds);
    let target = h2::Target {
        addr: args.to,
        key: args.key,
        model: args.model,
        frames: args.frames,
        bytes: 64 << 20,
        time,
    };
    for attack in h2::Attack::ALL {
        say(&serde_json::to_value(h2::attack(&target, attack).await?)?)?;
    }
    Ok(true)
}
