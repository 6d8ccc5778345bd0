//! A stand for one test: a scripted upstream in this process, the real binary as a child, a data folder of its own.
//!
//! Every stand takes free ports and a fresh folder; the child is ended by its own id when the stand is dropped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fakes::upstream::{Script, Upstream};

use crate::client::Client;

/// Generous: no test fails because a machine is slow, only because something never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a stand's settings say beside the provider `fake`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Lines of `[server]`.
    pub(crate) server: String,
    /// Lines of `[store]`.
    pub(crate) store: String,
    /// Lines of `[providers.fake]`.
    pub(crate) provider: String,
    /// Lines of `[keys.app]` besides its secret.
    pub(crate) key: String,
    /// Whole tables.
    pub(crate) more: String,
    /// The process environment, besides ours.
    pub(crate) environment: Vec<(String, String)>,
    /// How the upstream behaves.
    pub(crate) script: Option<Script>,
    /// The spool and databases lie here instead of in a fresh folder.
    pub(crate) data_dir: Option<PathBuf>,
    /// The command that runs the binary (for limits), before its path.
    pub(crate) wrapper: Vec<String>,
}

/// A running gateway with its upstream.
pub(crate) struct Stand {
    pub(crate) upstream: Upstream,
    pub(crate) dir: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    setup: Setup,
    child: Option<Child>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A folder that is this test's alone.
pub(crate) fn fresh_dir() -> PathBuf {
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("tidegate-it-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_tidegate")
}

/// A virtual key in our format, made without a server.
pub(crate) fn offline_key() -> String {
    let made = Command::new(binary()).args(["keys", "create", "--offline", "--json"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    made["secret"].as_str().unwrap().to_owned()
}

impl Stand {
    pub(crate) async fn start(setup: Setup) -> Self {
        let mut stand = Self::prepare(setup).await;
        stand.run().await;
        stand
    }

    /// All but the gateway itself, which does not run yet.
    pub(crate) async fn prepare(setup: Setup) -> Self {
        let upstream = Upstream::start(setup.script.clone().unwrap_or_default()).await.unwrap();
        let dir = fresh_dir();
        let data_dir = setup.data_dir.clone().unwrap_or_else(|| dir.join("data"));
        let stand = Self {
            upstream,
            dir,
            data_dir,
            address: fakes::ports::free().unwrap(),
            key: offline_key(),
            setup,
            child: None,
        };
        stand.write_settings("");
        stand
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address, &self.key)
    }

    pub(crate) fn settings_path(&self) -> PathBuf {
        self.dir.join("tidegate.toml")
    }

    /// The settings of this stand, with `more` at the end.
    pub(crate) fn settings(&self, more: &str) -> String {
        let Setup { server, store, provider, key, more: tables, .. } = &self.setup;
        let base = self.upstream.base_url();
        let store = if store.is_empty() { String::new() } else { format!("[store]\n{store}\n") };
        let (address, data_dir) = (self.address, self.data_dir.display());
        // Nobody here has to learn of a stop by polling first, as a load balancer does.
        let drain = if server.contains("drain") { "" } else { "drain = { accept = \"50ms\" }\n" };
        format!(
            "[server]\nlisten = \"{address}\"\ndata_dir = \"{data_dir}\"\n{drain}{server}\n{store}\
             [providers.fake]\ndialect = \"openai\"\nbase_url = \"{base}\"\n{provider}\n\
             [keys.app]\nsecret = \"env:STAND_KEY\"\n{key}\n{tables}\n{more}\n"
        )
    }

    pub(crate) fn write_settings(&self, more: &str) {
        self.write_file(&self.settings(more));
    }

    /// Replaces the file at once, as editors and config maps do.
    pub(crate) fn write_file(&self, text: &str) {
        let next = self.dir.join("next.toml");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, self.settings_path()).unwrap();
    }

    /// Starts the binary and waits until it is ready.
    pub(crate) async fn run(&mut self) {
        self.spawn();
        self.wait_ready().await;
    }

    pub(crate) fn spawn(&mut self) {
        let mut command = match self.setup.wrapper.split_first() {
            None => Command::new(binary()),
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(binary());
                command
            }
        };
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        command
            .args(["serve", "--config"])
            .arg(self.settings_path())
            .current_dir(&self.dir)
            .env("STAND_KEY", &self.key)
            .envs(self.setup.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log));
        self.child = Some(command.spawn().unwrap());
    }

    /// From the next start on.
    pub(crate) fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.setup.environment = environment;
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.dir.join("log.txt")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) async fn wait_ready(&mut self) {
        self.wait_until("ready", |stand| {
            let client = stand.client();
            async move { client.get("/readyz").await.is_ok_and(|reply| reply.status == 200) }
        })
        .await;
    }

    /// Waits until it is ready or has ended by itself.
    pub(crate) async fn wait_ready_or_ended(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() && !self.client().get("/readyz").await.is_ok_and(|reply| reply.status == 200)
        {
            assert!(Instant::now() < deadline, "neither ready nor ended\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Polls until `check` holds; panics with the gateway's log when it never does or the gateway ends.
    pub(crate) async fn wait_until<F, C>(&mut self, what: &str, mut check: C)
    where
        F: Future<Output = bool>,
        C: FnMut(&Self) -> F,
    {
        let deadline = Instant::now() + PATIENCE;
        while !check(self).await {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "gateway ended ({ended:?}) before `{what}`:\n{}", self.log());
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until nothing is in flight and all is in the store. Asked twice: the gauges of one answer are read one after
    /// another, and a call may be booked between them.
    pub(crate) async fn wait_drained(&mut self) {
        self.seems_drained().await;
        self.seems_drained().await;
    }

    async fn seems_drained(&mut self) {
        self.wait_until("spool drained", |stand| {
            let client = stand.client();
            async move {
                let Ok(reply) = client.get("/metrics").await else { return false };
                let text = reply.text();
                let zero = |name: &str| text.lines().any(|line| line == format!("tidegate_{name} 0"));
                zero("spool_records") && zero("in_flight") && zero("spool_backlog")
            }
        })
        .await;
    }

    /// Whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).unwrap();
        #[expect(unsafe_code, reason = "the only way to signal a child that this test started")]
        // SAFETY: the process is our own child and has not been waited for.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0);
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and waits for the end; the exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        self.ended().await
    }

    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "gateway did not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs another command of the binary on this stand's settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> (i32, String, String) {
        let done = Command::new(binary())
            .args(arguments)
            .arg("--config")
            .arg(self.settings_path())
            .env("STAND_KEY", &self.key)
            .env("TIDEGATE_URL", format!("http://{}", self.address))
            .env("TIDEGATE_API_KEY", &self.key)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr))
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(60).collect();
            eprintln!("--- the gateway's log, last lines ---");
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
