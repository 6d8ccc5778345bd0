//! The comparison behind `docs/benchmarks.md`: the same work, direct, through nginx, through Tidegate and through LiteLLM.
//!
//! What it is: a mock upstream (`upstream.rs`) in a process of its own, a load generator (`closed.rs`, `paced.rs`), the
//! four targets (`targets.rs`), the parts that measure one thing each (`parts.rs`) and the table (`report.rs`).
//! What it is not: a test. It imports none of our crates: it sees Tidegate as a stranger does, by HTTP and `/proc`.
//!
//! Why CPU time of the proxy process and not throughput: on a small machine the load generator, the mock upstream and
//! the proxy share the cores, so throughput says as much of them as of the proxy. CPU time per request hardly depends
//! on who else runs. Rounds interleave the targets, so that a slow minute of the machine hits all of them.
//!
//! Reading order: `parts.rs`, `targets.rs`, `process.rs`, `closed.rs`, `paced.rs`, `wire.rs`, `upstream.rs`, `report.rs`.
#![expect(
    clippy::disallowed_methods,
    reason = "a measuring program reads the clock and the environment itself"
)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program speaks to its user")]

mod closed;
mod features;
mod paced;
mod parts;
mod process;
mod report;
mod targets;
mod upstream;
mod wire;
mod work;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures Tidegate against a bare proxy and against what a user would pick instead.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers like an OpenAI-speaking upstream, as cheaply as possible
    Upstream {
        /// Address to listen at; port 0 picks a free one, and the first line printed names it
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Runs the comparison, for example `bench compare --only cpu --targets nginx,tidegate --rounds 3`
    Compare(parts::Options),
    /// One closed-loop run against something that already listens, for profiling it by hand
    Load(LoadOptions),
}

/// A run by hand.
#[derive(clap::Args)]
struct LoadOptions {
    /// Where it listens
    #[arg(long)]
    address: SocketAddr,
    /// The virtual key to present
    #[arg(long, default_value = "none")]
    key: String,
    /// The model to ask for
    #[arg(long, default_value = work::MODEL)]
    model: String,
    /// Streamed answers
    #[arg(long)]
    stream: bool,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Process whose CPU time is read before and after
    #[arg(long)]
    pid: Option<u32>,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Upstream { listen } => upstream::serve(listen),
        Command::Compare(options) => parts::run(&options),
        Command::Load(options) => load(&options),
    }
}

fn load(options: &LoadOptions) -> anyhow::Result<()> {
    let request = work::request(options.address, &options.key, &options.model, options.stream);
    let before = options.pid.map(process::cpu_of_tree);
    let done = closed::run(&closed::Load {
        address: options.address,
        requests: vec![request],
        connections: options.connections,
        total: options.requests,
    })?;
    println!(
        "{:.0} requests/s, p50 {:.0} µs, p99 {:.0} µs, {} events",
        done.per_second(),
        report::quantile(&done.latencies, 0.5),
        report::quantile(&done.latencies, 0.99),
        done.events
    );
    if let (Some(pid), Some(before)) = (options.pid, before) {
        process::wait_until_quiet(pid);
        let cpu = process::cpu_of_tree(pid) - before;
        println!("{:.2} µs of CPU per request", cpu.as_secs_f64() * 1e6 / options.requests as f64);
    }
    Ok(())
}

/// A folder of this run's own below the system's temporary one; the caller removes it.
fn scratch(name: &str) -> std::io::Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("tidegate-bench-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
