//! A PostgreSQL server of a test's own: made, stopped hard, frozen, started again and thrown away.
//!
//! Why: a proxy in front of a server can refuse and swallow, but only a server that is truly stopped shows what
//! becomes of the transaction that it was in, and only one that is frozen keeps its connections open and silent.
//! It uses the binaries of the system's package, a folder of its own below the temporary folder, a port below the
//! range that connections are given (a stopped server must find its port free again), and a password. Commits reach
//! the kernel before they are told (`synchronous_commit`), so that a server stopped with no word loses none of them;
//! they are not forced to the device, since no test takes the power away.
//!
//! Every call blocks for as long as the server's own tools take; in asynchronous tests call them where that is
//! allowed.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, ensure};

/// The user that the server and its data have.
const NAME: &str = "tidegate";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    binaries: PathBuf,
    dir: PathBuf,
    port: u16,
    password: String,
    /// User and group of the server: it refuses to run as root.
    runs_as: Option<(u32, u32)>,
}

impl Server {
    /// Makes a new data folder and starts a server on it; returns when it accepts connections.
    ///
    /// # Errors
    /// When the server's binaries are missing, or it cannot be made or started.
    pub fn start() -> anyhow::Result<Self> {
        let binaries = binaries()?;
        let runs_as = runs_as()?;
        let dir = folder(runs_as)?;
        let mut server = Self { binaries, dir, port: 0, password: password()?, runs_as };
        server.initialise()?;
        // Somebody else may take a port between the look and the start.
        for attempt in 0.. {
            server.port = crate::ports::free()?.port();
            match server.start_again() {
                Ok(()) => break,
                Err(error) if attempt == 4 => return Err(error),
                Err(_) => {}
            }
        }
        Ok(server)
    }

    /// `postgres://…` of its one database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{NAME}:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }

    /// Stops it as a crash would: every connection is cut, nothing is finished. Returns when it has ended.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_hard(&self) -> anyhow::Result<()> {
        self.control(&["-w", "-t", "30", "-m", "immediate", "stop"])
    }

    /// Starts it again after a stop; returns when it has recovered and accepts connections.
    ///
    /// # Errors
    /// When it does not start; its log is in the error.
    pub fn start_again(&self) -> anyhow::Result<()> {
        let log = self.dir.join("log.txt");
        let options = format!(
            "-c port={} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
             -c full_page_writes=off -c shared_buffers=64MB",
            self.port
        );
        let log_path = log.to_string_lossy().into_owned();
        self.control(&["-w", "-t", "60", "-l", &log_path, "-o", &options, "start"]).with_context(|| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            format!("PostgreSQL does not start: {last:?}")
        })
    }

    /// SIGSTOP to the server and every process of it: connections stay open, and nothing answers.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> anyhow::Result<()> {
        let main = self.pid().context("PostgreSQL does not run")?;
        // The main process first, so that it makes no new ones meanwhile.
        signal("-STOP", &[main])?;
        signal("-STOP", &children(main))
    }

    /// SIGCONT to all of it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> anyhow::Result<()> {
        let main = self.pid().context("PostgreSQL does not run")?;
        signal("-CONT", &children(main))?;
        signal("-CONT", &[main])
    }

    /// The main process, as its own file in the data folder says.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let file = std::fs::read_to_string(self.dir.join("data/postmaster.pid")).ok()?;
        let pid: u32 = file.lines().next()?.trim().parse().ok()?;
        // A file that a crash left may name somebody else's process: ours works in our folder.
        let works_in = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (works_in == self.dir.join("data")).then_some(pid)
    }

    fn initialise(&self) -> anyhow::Result<()> {
        let password = self.dir.join("password");
        std::fs::write(&password, &self.password)?;
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600))?;
        own(&password, self.runs_as)?;
        let made = self
            .tool("initdb")
            .arg("--pgdata")
            .arg(self.dir.join("data"))
            .arg("--pwfile")
            .arg(&password)
            .args(["--username", NAME, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .output()
            .context("initdb cannot be run")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        std::fs::remove_file(&password)?;
        Ok(())
    }

    fn control(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = self.tool("pg_ctl");
        command.arg("-D").arg(self.dir.join("data")).args(arguments);
        // No pipes: the server would inherit them and hold them open.
        let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure!(ended.success(), "pg_ctl {}: {ended}", arguments.last().unwrap_or(&""));
        Ok(())
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        command.current_dir("/").stdin(Stdio::null());
        as_user(&mut command, self.runs_as);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A frozen process would not hear of its end.
        let _ = self.thaw();
        if self.pid().is_some() {
            let _ = self.stop_hard();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn as_user(command: &mut Command, runs_as: Option<(u32, u32)>) {
    if let Some((user, group)) = runs_as {
        command.gid(group).uid(user);
    }
}

fn own(path: &Path, runs_as: Option<(u32, u32)>) -> std::io::Result<()> {
    match runs_as {
        Some((user, group)) => std::os::unix::fs::chown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// The newest server of the system's packages.
fn binaries() -> anyhow::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-"), ("/usr/local", "pgsql")] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(version) = name.strip_prefix(prefix) else { continue };
            let binaries = entry.path().join("bin");
            if binaries.join("pg_ctl").exists() && binaries.join("initdb").exists() {
                found.push((version.parse().unwrap_or(0), binaries));
            }
        }
    }
    found.sort();
    let newest =
        found.pop().context("PostgreSQL's server is missing (Debian: apt-get install postgresql)")?;
    Ok(newest.1)
}

/// Whom to run the server as: nobody else, unless we are root; then the user of its package.
fn runs_as() -> anyhow::Result<Option<(u32, u32)>> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let ids = users.lines().find_map(|line| {
        let mut parts = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    Ok(Some(ids.context("PostgreSQL refuses to run as root, and there is no user `postgres`")?))
}

/// A new folder that the server's user can reach and nobody else can read.
fn folder(runs_as: Option<(u32, u32)>) -> anyhow::Result<PathBuf> {
    let name = format!("tidegate-pg-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    for parent in [std::env::temp_dir(), PathBuf::from("/var/tmp")] {
        let Ok(parent) = parent.canonicalize() else { continue };
        let dir = parent.join(&name);
        std::fs::create_dir(&dir)?;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))?;
        own(&dir, runs_as)?;
        let mut reach = Command::new("test");
        reach.arg("-w").arg(&dir).current_dir("/");
        as_user(&mut reach, runs_as);
        if reach.status().is_ok_and(|ended| ended.success()) {
            return Ok(dir);
        }
        std::fs::remove_dir(&dir)?;
    }
    anyhow::bail!("PostgreSQL's user can reach no folder for temporary files")
}

fn password() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

/// The processes whose parent is `main`.
fn children(main: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in brackets may hold anything; the state and the parent follow it.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        parent == Some(main.to_string().as_str())
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    numbers.filter(is_child).collect()
}

fn signal(name: &str, pids: &[u32]) -> anyhow::Result<()> {
    if pids.is_empty() {
        return Ok(());
    }
    // Processes may end meanwhile: what matters is that the tool could be run.
    Command::new("kill")
        .arg(name)
        .args(pids.iter().map(ToString::to_string))
        .stderr(Stdio::null())
        .status()
        .context("`kill` cannot be run")?;
    Ok(())
}
