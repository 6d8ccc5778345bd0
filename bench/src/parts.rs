//! What is measured: eight parts, each a function that adds lines to the table.
//!
//! Within a part, rounds go through the targets in turn and every second round backwards, so that no target always
//! runs after the same neighbour.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;

use crate::closed::{self, Load};
use crate::report::{self, Table, quantile};
use crate::targets::{self, Kind, Mock, Running, Setup};
use crate::{features, paced, scratch, work};

/// One thing to measure.
#[derive(Copy, Clone, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Part {
    /// CPU time per request, and throughput
    Cpu,
    /// CPU time per streamed event
    Stream,
    /// CPU time of a call that is translated from OpenAI's dialect to Anthropic's, beside one that is not
    Translate,
    /// Added latency on one connection and at a fixed rate
    Latency,
    /// Resident memory: idle, after ten thousand requests, after a million
    Memory,
    /// From the start of the process to the first answer
    Start,
    /// CPU time per request with ten keys and with a hundred thousand
    Keys,
    /// CPU time per request of a plain route, of one with each feature, and of one with all of them
    Features,
}

/// How to compare.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Parts to run; all when absent
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Targets to compare
    #[arg(long, value_delimiter = ',', default_value = "direct,nginx,tidegate,litellm")]
    targets: Vec<Kind>,
    /// Interleaved rounds
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// A smoke test: two rounds of little work, in minutes; its figures mean little
    #[arg(long)]
    quick: bool,
    /// The release binary of Tidegate
    #[arg(long, default_value = "tidegate")]
    tidegate: PathBuf,
    /// The program `litellm`
    #[arg(long)]
    litellm: Option<PathBuf>,
    /// Writes the page of benchmarks here
    #[arg(long)]
    write: Option<PathBuf>,
    /// The command to print on that page
    #[arg(long, default_value = "make bench")]
    command: String,
}

struct Bench<'a> {
    options: &'a Options,
    setup: Setup,
    dir: PathBuf,
    rounds: usize,
}

/// Runs the parts asked for and prints the table.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.targets.contains(&Kind::Litellm) && options.litellm.is_none() {
        bail!("for LiteLLM name its program with --litellm, or leave it out of --targets");
    }
    let mock = Mock::start()?;
    let setup =
        Setup { mock: mock.address, tidegate: options.tidegate.clone(), litellm: options.litellm.clone() };
    let rounds = if options.quick { options.rounds.min(2) } else { options.rounds.max(1) };
    let bench = Bench { options, setup, dir: scratch("run")?, rounds };
    let mut table = Table::default();
    let outcome = bench.parts(&mut table);
    println!("{}", table.markdown());
    // The folder stays when something failed: the logs in it say why.
    match outcome {
        Ok(()) => std::fs::remove_dir_all(&bench.dir)?,
        Err(problem) => bail!("{problem:#}\n(logs: {})", bench.dir.display()),
    }
    println!("{}", report::machine(&bench.setup));
    if let Some(path) = &options.write {
        report::write_page(path, &table, &bench.setup, &options.command)?;
    }
    Ok(())
}

impl Bench<'_> {
    fn wants(&self, part: Part) -> bool {
        self.options.only.is_empty() || self.options.only.contains(&part)
    }

    fn wants_target(&self, kind: Kind) -> bool {
        self.options.targets.contains(&kind)
    }

    /// The full amount, or a tenth of it in a smoke test.
    fn amount(&self, full: usize) -> usize {
        if self.options.quick { full / 10 } else { full }
    }

    fn start(&self, kind: Kind, name: &str) -> anyhow::Result<Running> {
        Running::start(kind, &self.setup, &self.dir.join(format!("{}-{name}", kind.title())))
    }

    fn start_all(&self, kinds: &[Kind], name: &str) -> anyhow::Result<Vec<Running>> {
        kinds.iter().filter(|kind| self.wants_target(**kind)).map(|kind| self.start(*kind, name)).collect()
    }

    fn parts(&self, table: &mut Table) -> anyhow::Result<()> {
        let everybody = [Kind::Direct, Kind::Nginx, Kind::Tidegate, Kind::Litellm];
        if self.wants(Part::Cpu) || self.wants(Part::Stream) || self.wants(Part::Latency) {
            let targets = self.start_all(&everybody, "load")?;
            if self.wants(Part::Cpu) {
                self.cpu(&targets, table)?;
            }
            if self.wants(Part::Stream) {
                self.stream(&targets, table)?;
            }
            if self.wants(Part::Latency) {
                self.latency(&targets, table)?;
            }
        }
        if self.wants(Part::Translate) && self.wants_target(Kind::Tidegate) {
            self.translate(table)?;
        }
        if self.wants(Part::Memory) {
            self.memory(table)?;
        }
        if self.wants(Part::Start) {
            self.first_answers(table)?;
        }
        if self.wants(Part::Keys) && self.wants_target(Kind::Tidegate) {
            self.keys(table)?;
        }
        if self.wants(Part::Features) && self.wants_target(Kind::Tidegate) {
            self.features(table)?;
        }
        Ok(())
    }

    /// Goes through the targets, round after round, every second one backwards.
    fn rounds(
        &self,
        what: &str,
        targets: &[Running],
        mut measure: impl FnMut(&Running) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for round in 0..self.rounds {
            eprintln!("{what}: round {} of {}", round + 1, self.rounds);
            let mut order: Vec<&Running> = targets.iter().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for target in order {
                measure(target)?;
            }
        }
        Ok(())
    }

    fn cpu(&self, targets: &[Running], table: &mut Table) -> anyhow::Result<()> {
        for target in targets {
            load(target, 32, target.kind.share(2_000), false)?;
            target.settle()?;
        }
        self.rounds("cpu", targets, |target| {
            let total = target.kind.share(self.amount(30_000));
            let (done, cpu) = load(target, 32, total, false)?;
            if target.kind != Kind::Direct {
                table.add("CPU per request, µs", 1, target.kind, cpu / total as f64);
            }
            table.add(
                "requests a second, 32 connections, everything on one machine",
                0,
                target.kind,
                done.per_second(),
            );
            Ok(())
        })
    }

    fn stream(&self, targets: &[Running], table: &mut Table) -> anyhow::Result<()> {
        for target in targets {
            load(target, 32, 32, true)?;
            target.settle()?;
        }
        self.rounds("stream", targets, |target| {
            let streams = if target.kind == Kind::Litellm { 64 } else { self.amount(320).max(64) };
            let (done, cpu) = load(target, 32, streams, true)?;
            if done.events < streams * work::EVENTS {
                bail!("{}: {} events of {}", target.kind.title(), done.events, streams * work::EVENTS);
            }
            if target.kind != Kind::Direct {
                let events = (streams * work::EVENTS) as f64;
                table.add(
                    "CPU per streamed event, µs (64 events 5 ms apart, 32 streams)",
                    1,
                    target.kind,
                    cpu / events,
                );
            }
            Ok(())
        })
    }

    fn latency(&self, targets: &[Running], table: &mut Table) -> anyhow::Result<()> {
        let Some(direct) = targets.iter().find(|target| target.kind == Kind::Direct) else {
            bail!("latency is what a target adds over `direct`: name it in --targets");
        };
        let length = Duration::from_secs(if self.options.quick { 1 } else { 4 });
        self.rounds("latency", targets, |target| {
            if target.kind == Kind::Direct {
                return Ok(());
            }
            let total = target.kind.share(self.amount(5_000));
            let base = paced::one_connection(direct.address, &direct.request(false), self.amount(5_000))?;
            let through = paced::one_connection(target.address, &target.request(false), total)?;
            for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
                let added = quantile(&through, share) - quantile(&base, share);
                table.add(&format!("one connection: added {label}, µs"), 0, target.kind, added);
            }
            let rates: &[f64] = if target.kind == Kind::Litellm { &[25.0] } else { &[2_000.0] };
            for rate in rates {
                let base = paced::open_loop(direct.address, &direct.request(false), *rate, length)?;
                let through = paced::open_loop(target.address, &target.request(false), *rate, length)?;
                for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
                    let added = quantile(&through, share) - quantile(&base, share);
                    table.add(
                        &format!("open loop, {rate} a second: added {label}, µs"),
                        0,
                        target.kind,
                        added,
                    );
                }
            }
            target.settle()
        })
    }

    fn translate(&self, table: &mut Table) -> anyhow::Result<()> {
        let target = self.start(Kind::Tidegate, "translate")?;
        for requests in [target.requests(false), target.translated(false)] {
            measured(&target, &Load { address: target.address, requests, connections: 32, total: 2_000 })?;
        }
        for round in 0..self.rounds {
            eprintln!("translate: round {} of {}", round + 1, self.rounds);
            for stream in [false, true] {
                let total = if stream { self.amount(320).max(64) } else { self.amount(20_000) };
                let units = if stream { total * work::EVENTS } else { total } as f64;
                let mut costs = Vec::new();
                let mut turns = [target.requests(stream), target.translated(stream)];
                if round % 2 == 1 {
                    turns.reverse();
                }
                for requests in turns {
                    let load = Load { address: target.address, requests, connections: 32, total };
                    costs.push(measured(&target, &load)?.1 / units);
                }
                if round % 2 == 1 {
                    costs.reverse();
                }
                let what = if stream { "streamed event" } else { "request" };
                for (label, cost) in ["as it came", "OpenAI to Anthropic"].into_iter().zip(&costs) {
                    table.add(&format!("CPU per {what}, µs: {label}"), 1, Kind::Tidegate, *cost);
                }
                let ratio = costs[1] / costs[0];
                table.add(&format!("CPU per {what}: translated ÷ as it came"), 2, Kind::Tidegate, ratio);
            }
        }
        Ok(())
    }

    fn memory(&self, table: &mut Table) -> anyhow::Result<()> {
        for kind in [Kind::Nginx, Kind::Tidegate, Kind::Litellm] {
            if !self.wants_target(kind) {
                continue;
            }
            eprintln!("memory: {}", kind.title());
            let target = self.start(kind, "memory")?;
            target.settle()?;
            table.add("memory idle, MB", 1, kind, target.memory().0);
            let some = kind.share(10_000);
            load(&target, 32, some, false)?;
            load(&target, 32, kind.share(320).max(32), true)?;
            std::thread::sleep(Duration::from_secs(2));
            let after_some = target.memory().0;
            table.add("memory after 10,000 requests, MB", 1, kind, after_some);
            if kind == Kind::Tidegate && !self.options.quick {
                load(&target, 32, 990_000, false)?;
                std::thread::sleep(Duration::from_secs(2));
                let after_many = target.memory().0;
                table.add("memory after 1,000,000 requests, MB", 1, kind, after_many);
            }
            table.add("memory at its peak, MB", 1, kind, target.memory().1);
        }
        Ok(())
    }

    fn first_answers(&self, table: &mut Table) -> anyhow::Result<()> {
        for round in 0..self.rounds {
            eprintln!("start: round {} of {}", round + 1, self.rounds);
            for kind in [Kind::Nginx, Kind::Tidegate, Kind::Litellm] {
                if !self.wants_target(kind) || (kind == Kind::Litellm && round > 2) {
                    continue;
                }
                let first = self.start(kind, &format!("start{round}"))?.first_answer;
                table.add(
                    "start to first answer, ms (empty data folder)",
                    0,
                    kind,
                    first.as_secs_f64() * 1e3,
                );
                if kind == Kind::Tidegate {
                    let again = self.start(kind, &format!("start{round}"))?.first_answer;
                    table.add("start to first answer, ms (restart)", 0, kind, again.as_secs_f64() * 1e3);
                }
            }
        }
        Ok(())
    }

    fn keys(&self, table: &mut Table) -> anyhow::Result<()> {
        let few = self.start(Kind::Tidegate, "few")?;
        let many = self.start(Kind::Tidegate, "many")?;
        let count = if self.options.quick { 2_000 } else { 100_000 };
        eprintln!("keys: making {count}");
        let keys = targets::add_keys(&many.dir, count)?;
        let spread = targets::all_keys(many.address, &keys);
        for target in [&few, &many] {
            load(target, 32, 2_000, false)?;
        }
        let total = self.amount(30_000);
        let used_few = format!("CPU per request, µs: {count} keys exist, 10 are used");
        let used_all = format!("CPU per request, µs: {count} keys exist, all are used in turn");
        let kinds = [
            ("CPU per request, µs: 10 keys exist, 10 are used", &few, None),
            (&*used_few, &many, None),
            (&*used_all, &many, Some(&spread)),
        ];
        for round in 0..self.rounds {
            eprintln!("keys: round {} of {}", round + 1, self.rounds);
            // Each kind twice, there and back: a machine that grows slower or faster meanwhile is the same to all.
            let mut costs = [0.0; 3];
            for turn in [0, 1, 2, 2, 1, 0] {
                let (_, target, spread) = &kinds[turn];
                let requests = spread.map_or_else(|| target.requests(false), Clone::clone);
                let (_, cpu) =
                    measured(target, &Load { address: target.address, requests, connections: 32, total })?;
                costs[turn] += cpu / total as f64 / 2.0;
            }
            for ((label, ..), cost) in kinds.iter().zip(costs) {
                table.add(label, 1, Kind::Tidegate, cost);
            }
            for (used, cost) in [("10 used", costs[1]), ("all used", costs[2])] {
                let label = format!("CPU per request: {count} keys, {used} ÷ 10 keys");
                table.add(&label, 2, Kind::Tidegate, cost / costs[0]);
            }
        }
        Ok(())
    }
}

impl Bench<'_> {
    fn features(&self, table: &mut Table) -> anyhow::Result<()> {
        let variants = features::variants();
        let mut targets = Vec::new();
        for (number, variant) in variants.iter().enumerate() {
            let dir = self.dir.join(format!("features-{number}"));
            let target = Running::start_with(Kind::Tidegate, &self.setup, &dir, variant.settings())?;
            measured(&target, &unlike(variant, &target, 2_000))?;
            targets.push(target);
        }
        let total = self.amount(20_000);
        for round in 0..self.rounds {
            eprintln!("features: round {} of {}", round + 1, self.rounds);
            let mut order: Vec<usize> = (0..variants.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            let mut costs = vec![0.0; variants.len()];
            for at in order {
                let (_, cpu) = measured(&targets[at], &unlike(&variants[at], &targets[at], total))?;
                costs[at] = cpu / total as f64;
            }
            for (variant, cost) in variants.iter().zip(&costs) {
                table.add(&format!("CPU per request, µs: {}", variant.name), 1, Kind::Tidegate, *cost);
            }
            for (variant, cost) in variants.iter().zip(&costs).skip(1) {
                let label = format!("CPU per request: {} ÷ plain route", variant.name);
                table.add(&label, 2, Kind::Tidegate, cost / costs[0]);
            }
        }
        Ok(())
    }
}

/// A load of requests that all differ.
fn unlike(variant: &features::Variant, target: &Running, total: usize) -> Load {
    let requests = variant.requests(target, total);
    Load { address: target.address, requests, connections: 32, total }
}

fn load(
    target: &Running,
    connections: usize,
    total: usize,
    stream: bool,
) -> anyhow::Result<(closed::Done, f64)> {
    measured(target, &Load { address: target.address, requests: target.requests(stream), connections, total })
}

/// Runs the load; the CPU microseconds it cost the target, including what it left to be done afterwards.
fn measured(target: &Running, load: &Load) -> anyhow::Result<(closed::Done, f64)> {
    let before = target.cpu();
    let done = closed::run(load).map_err(|problem| problem.context(target.kind.title()))?;
    target.settle()?;
    Ok((done, (target.cpu() - before).as_secs_f64() * 1e6))
}
