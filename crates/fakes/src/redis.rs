//! A Redis of one's own, to be killed, frozen, emptied and begun anew: never the one that other tests share.
//!
//! It keeps nothing on disk by itself: begun anew it knows what it knew at its last `SAVE`, as a replica that was behind, or nothing.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

const PATIENCE: Duration = Duration::from_secs(30);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A running server, ended by its own id when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    dir: PathBuf,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts one on a free port, with a folder of its own and these options.
    ///
    /// # Errors
    /// When `redis-server` is not installed, or does not come up.
    pub fn start(options: &[&str]) -> anyhow::Result<Self> {
        let address = crate::ports::free()?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("tidegate-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { address, dir, options, child: None };
        server.start_again()?;
        Ok(server)
    }

    /// Where clients find it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Starts it after [`Server::kill`]; it knows what was saved.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let log = File::create(self.dir.join("redis.log"))?;
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(self.address.port().to_string())
            .arg("--dir")
            .arg(&self.dir)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .spawn()
            .context("redis-server cannot be started: eval \"$(scripts/services start)\" installs it")?;
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while self.say(&["PING"]).is_err() {
            if Instant::now() > deadline {
                bail!("redis-server did not come up");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// SIGKILL: its connections are reset, and nobody listens any more.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP: connections stay open, new ones are taken by the system, and nothing answers.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal("-STOP")
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal("-CONT")
    }

    /// What `SAVE` wrote.
    ///
    /// # Errors
    /// When nothing was saved.
    pub fn dump(&self) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.dir.join("dump.rdb"))?)
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.child.as_ref().context("it does not run")?.id().to_string();
        if !Command::new("kill").args([signal, &pid]).status()?.success() {
            bail!("kill {signal} {pid} failed");
        }
        Ok(())
    }

    /// Says one command and reads the answer, without its type.
    ///
    /// # Errors
    /// When the server is away, or refuses.
    pub fn say(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(text.as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        match line.split_at_checked(1) {
            Some(("$", length)) => {
                let Ok(length) = length.parse::<usize>() else { return Ok(String::new()) };
                let mut bytes = vec![0; length];
                reader.read_exact(&mut bytes)?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Some(("-", error)) => bail!("{error}"),
            Some((_, rest)) => Ok(rest.to_owned()),
            None => bail!("it said nothing"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
