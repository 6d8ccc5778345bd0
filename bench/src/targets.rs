//! What is compared: each target is started the way its users start it, on loopback, in a folder of its own.
//!
//! Fairness, in one place: nginx gets keep-alive to the upstream, buffering off and its access log on, as a bare proxy in
//! front of a model would run; Tidegate gets everything on (keys, three limits, a budget with reservation, the spool and
//! the drain to SQLite); LiteLLM gets one worker, a master key and no database.

mod litellm;
mod nginx;
mod tidegate;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::{paced, process, work};

pub(crate) use tidegate::{add_keys, all_keys};

/// Who answers.
#[derive(Copy, Clone, Debug, Eq, Ord, PartialEq, PartialOrd, clap::ValueEnum)]
pub(crate) enum Kind {
    Direct,
    Nginx,
    Tidegate,
    Litellm,
}

impl Kind {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Nginx => "nginx",
            Kind::Tidegate => "Tidegate",
            Kind::Litellm => "LiteLLM",
        }
    }

    /// How much of the full work this target gets, so that a slow one does not take the day.
    pub(crate) fn share(self, requests: usize) -> usize {
        if self == Kind::Litellm { (requests / 50).max(64) } else { requests }
    }
}

/// What is needed to start any of them.
pub(crate) struct Setup {
    pub(crate) mock: SocketAddr,
    pub(crate) tidegate: PathBuf,
    pub(crate) litellm: Option<PathBuf>,
}

/// A target that answers.
pub(crate) struct Running {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// Keys that it accepts; requests take them in turn.
    pub(crate) keys: Vec<String>,
    model: String,
    /// From the start of the process to the last byte of its first answer.
    pub(crate) first_answer: Duration,
    pub(crate) dir: PathBuf,
    child: Option<Child>,
}

impl Running {
    /// Starts a target in `dir` and waits for its first complete answer.
    pub(crate) fn start(kind: Kind, setup: &Setup, dir: &Path) -> anyhow::Result<Running> {
        Self::start_with(kind, setup, dir, "")
    }

    /// The same with more settings, which only Tidegate has.
    pub(crate) fn start_with(
        kind: Kind,
        setup: &Setup,
        dir: &Path,
        settings: &str,
    ) -> anyhow::Result<Running> {
        std::fs::create_dir_all(dir)?;
        let address = if kind == Kind::Direct { setup.mock } else { free_address()? };
        let (command, keys, model) = match kind {
            Kind::Direct => (None, vec!["none".to_owned()], work::MODEL.to_owned()),
            Kind::Nginx => {
                (Some(nginx::command(setup, address, dir)?), vec!["none".to_owned()], work::MODEL.into())
            }
            Kind::Tidegate => {
                let (command, keys) = tidegate::command(setup, address, dir, settings)?;
                (Some(command), keys, format!("mock/{}", work::MODEL))
            }
            Kind::Litellm => {
                let (command, key) = litellm::command(setup, address, dir)?;
                (Some(command), vec![key], work::MODEL.to_owned())
            }
        };
        let log = dir.join("output.log");
        let start = Instant::now();
        let child = match command {
            Some(mut command) => {
                let file = std::fs::File::create(&log)?;
                command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
                Some(command.spawn().with_context(|| format!("cannot start {}", kind.title()))?)
            }
            None => None,
        };
        let mut running =
            Running { kind, address, keys, model, first_answer: Duration::ZERO, dir: dir.to_owned(), child };
        let request = running.request(false);
        let deadline = start + Duration::from_secs(90);
        loop {
            let tried = paced::Client::connect(address).and_then(|mut client| client.ask(&request));
            match tried {
                Ok(()) => break,
                Err(problem) if Instant::now() > deadline || running.has_ended() => {
                    let text = std::fs::read_to_string(&log).unwrap_or_default();
                    let tail: Vec<_> = text.lines().rev().take(15).collect();
                    let tail: Vec<_> = tail.into_iter().rev().collect();
                    bail!("{} gave no answer ({problem:#}); it said:\n{}", kind.title(), tail.join("\n"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        running.first_answer = start.elapsed();
        Ok(running)
    }

    fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// The process at the root of the target; none for `direct`.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(crate) fn request(&self, stream: bool) -> Vec<u8> {
        work::request(self.address, &self.keys[0], &self.model, stream)
    }

    /// As [`Running::requests`], for the mock upstream asked in Anthropic's dialect.
    pub(crate) fn translated(&self, stream: bool) -> Vec<Vec<u8>> {
        let model = format!("anthropic/{}", work::MODEL);
        self.keys.iter().map(|key| work::request(self.address, key, &model, stream)).collect()
    }

    /// One request for each key.
    pub(crate) fn requests(&self, stream: bool) -> Vec<Vec<u8>> {
        self.keys.iter().map(|key| work::request(self.address, key, &self.model, stream)).collect()
    }

    /// Waits until everything the work left behind is done: for Tidegate, until all is in the store.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        if self.kind == Kind::Tidegate {
            tidegate::wait_until_drained(self.address)?;
        }
        if let Some(pid) = self.pid() {
            process::wait_until_quiet(pid);
        }
        Ok(())
    }

    /// CPU time used so far; zero for `direct`.
    pub(crate) fn cpu(&self) -> Duration {
        self.pid().map(process::cpu_of_tree).unwrap_or_default()
    }

    /// Resident megabytes now and at most.
    pub(crate) fn memory(&self) -> (f64, f64) {
        let (now, peak) = self.pid().map(process::memory_of_tree).unwrap_or_default();
        (now as f64 / 1e6, peak as f64 / 1e6)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
    }
}

/// The mock upstream in a process of its own; ends with the value.
pub(crate) struct Mock {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Mock {
    pub(crate) fn start() -> anyhow::Result<Mock> {
        use std::io::BufRead as _;
        let mut child =
            Command::new(std::env::current_exe()?).arg("upstream").stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("the mock upstream has no output")?;
        let mut line = String::new();
        std::io::BufReader::new(output).read_line(&mut line)?;
        Ok(Mock { address: line.trim().parse().context("the mock upstream named no address")?, child })
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Asks a process that we started to stop, then insists.
fn end(child: &mut Child) {
    let _ = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    let deadline = Instant::now() + Duration::from_secs(8);
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// What `PROGRAM ARGUMENT` prints, on either output, as one line; "?" when it cannot be run.
pub(crate) fn version_of(program: &Path, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else {
        return "?".to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("?")
        .trim()
        .to_owned()
}
