//! A TCP proxy that goes wrong as told: between the gateway and an upstream or a database.
//!
//! One listener, one target. Faults are set at any time, for each direction, and reach connections that are open
//! already. Bytes are forwarded as read, one write for one read, unless a fault wants it otherwise.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::random::Random;

/// What goes wrong in one direction. The default is nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Milliseconds that every read waits before it is passed on.
    pub latency: u64,
    /// Up to so many milliseconds more, evenly spread.
    pub jitter: u64,
    /// Bytes a second; 0: no limit.
    pub bandwidth: u64,
    /// Bytes are read and thrown away.
    pub blackhole: bool,
    /// Nothing is read (the sender's window fills).
    pub pause: bool,
    /// Both sides are reset after so many bytes in this direction.
    pub rst_after: Option<u64>,
    /// This direction is closed after so many bytes, the other goes on.
    pub half_close: Option<u64>,
    /// Writes of at most so many bytes; 0: as read.
    pub slice: usize,
    /// The chance that a byte is changed.
    pub corrupt: f64,
    /// Both sides are closed as soon as these bytes were passed on: `COMMIT` towards a database loses its answer.
    pub cut_after: Option<String>,
    /// Both sides are closed when a PostgreSQL server tells that a transaction is committed, and nobody hears it.
    pub lose_commits: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            latency: 0,
            jitter: 0,
            bandwidth: 0,
            blackhole: false,
            pause: false,
            rst_after: None,
            half_close: None,
            slice: 0,
            corrupt: 0.0,
            cut_after: None,
            lose_commits: 0.0,
        }
    }
}

/// Everything that is set at a moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Setting {
    /// From the client to the target.
    pub up: Faults,
    /// From the target to the client.
    pub down: Faults,
    /// New connections are reset.
    pub refuse: bool,
    /// Counts the calls of [`Proxy::cut_all`]; a connection ends when it changes.
    pub cuts: u64,
}

/// A running proxy; dropping it ends all its connections.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    setting: watch::Sender<Setting>,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

/// What went through so far.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    lost_commits: AtomicU64,
}

/// `CommandComplete` of a `COMMIT`: type, length, tag (PostgreSQL's documentation, 55.7).
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

/// How one connection of the proxy ended.
enum Ended {
    Orderly,
    Reset,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `target`. `seed` is behind jitter and corruption.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(target: SocketAddr, seed: u64) -> std::io::Result<Self> {
        Self::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), target, seed).await
    }

    /// The same on an address of choice.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub async fn listen(listen: SocketAddr, target: SocketAddr, seed: u64) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let setting = watch::Sender::new(Setting::default());
        let counts = Arc::new(Counts::default());
        let accepting =
            tokio::spawn(accept(listener, target, setting.subscribe(), Arc::clone(&counts), seed));
        Ok(Self { addr, setting, counts, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the faults, also of open connections.
    pub fn set(&self, change: impl FnOnce(&mut Setting)) {
        self.setting.send_modify(change);
    }

    /// Ends every fault (not the connections).
    pub fn heal(&self) {
        self.set(|setting| *setting = Setting { cuts: setting.cuts, ..Setting::default() });
    }

    /// Resets every open connection.
    pub fn cut_all(&self) {
        self.set(|setting| setting.cuts += 1);
    }

    /// What is set now.
    #[must_use]
    pub fn setting(&self) -> Setting {
        self.setting.borrow().clone()
    }

    /// Connections accepted so far, bytes passed up, bytes passed down.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.counts.connections), read(&self.counts.up), read(&self.counts.down))
    }
}

impl Proxy {
    /// How many commits were carried out and not heard of, by `lose_commits`.
    #[must_use]
    pub fn lost_commits(&self) -> u64 {
        self.counts.lost_commits.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    setting: watch::Receiver<Setting>,
    counts: Arc<Counts>,
    seed: u64,
) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        let Ok((client, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let number = counts.connections.fetch_add(1, Ordering::Relaxed);
        if setting.borrow().refuse {
            // If linger cannot be set the close is orderly; the client still gets no answer.
            let _ = client.set_zero_linger();
            continue;
        }
        open.spawn(connection(
            client,
            target,
            setting.clone(),
            Arc::clone(&counts),
            seed.wrapping_add(number),
        ));
    }
}

async fn connection(
    client: TcpStream,
    target: SocketAddr,
    setting: watch::Receiver<Setting>,
    counts: Arc<Counts>,
    seed: u64,
) {
    let Ok(server) = TcpStream::connect(target).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let way = |up: bool, from, to| Way {
        from,
        to,
        up,
        setting: setting.clone(),
        counts: Arc::clone(&counts),
        random: Random::seeded(seed.wrapping_mul(2).wrapping_add(u64::from(up))),
        passed: 0,
        tail: Vec::new(),
    };
    let (mut up, mut down) = (way(true, client_in, server_out), way(false, server_in, client_out));
    let mut cuts = setting.clone();
    let at_start = cuts.borrow().cuts;
    let cut = async move {
        // An error means that the proxy is gone, which ends this task anyway.
        let _ = cuts.wait_for(|setting| setting.cuts != at_start).await;
    };
    let ended = tokio::select! {
        ended = async { tokio::try_join!(up.run(), down.run()) } => match ended {
            Ok(_) => Ended::Orderly,
            Err(ended) => ended,
        },
        () = cut => Ended::Reset,
    };
    if matches!(ended, Ended::Reset) {
        // A dropped writing half would say goodbye first. If linger cannot be set the close is orderly.
        let _ = (up.from.as_ref().set_zero_linger(), down.from.as_ref().set_zero_linger());
        up.to.forget();
        down.to.forget();
    }
}

/// One direction of one connection.
struct Way {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    up: bool,
    setting: watch::Receiver<Setting>,
    counts: Arc<Counts>,
    random: Random,
    passed: u64,
    /// The last bytes passed on, to find what `cut_after` looks for across reads.
    tail: Vec<u8>,
}

impl Way {
    fn faults(&self) -> Faults {
        let setting = self.setting.borrow();
        if self.up { setting.up.clone() } else { setting.down.clone() }
    }

    /// `Ok` when this direction ended in order; `Err` ends the whole connection.
    async fn run(&mut self) -> Result<(), Ended> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            self.unpaused().await?;
            let mut changed = self.setting.clone();
            changed.mark_unchanged();
            let read = tokio::select! {
                read = self.from.read(&mut buffer) => read,
                // A pause that begins while waiting for bytes must hold before they are read.
                changed = changed.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Err(Ended::Reset),
                },
            };
            match read {
                Ok(0) => {
                    let _ = self.to.shutdown().await;
                    return Ok(());
                }
                Ok(length) => {
                    if self.pass(&mut buffer[..length]).await? {
                        return Ok(());
                    }
                }
                Err(_) => return Err(Ended::Reset),
            }
        }
    }

    async fn unpaused(&mut self) -> Result<(), Ended> {
        let up = self.up;
        let running = |setting: &Setting| !(if up { setting.up.pause } else { setting.down.pause });
        self.setting.wait_for(running).await.map(|_| ()).map_err(|_| Ended::Reset)
    }

    /// Passes bytes on; `true` when this direction is now closed by a fault.
    async fn pass(&mut self, bytes: &mut [u8]) -> Result<bool, Ended> {
        let faults = self.faults();
        if faults.latency > 0 || faults.jitter > 0 {
            let wait = faults.latency + self.random.below(faults.jitter + 1);
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        if faults.blackhole {
            return Ok(false);
        }
        if faults.corrupt > 0.0 {
            for byte in bytes.iter_mut() {
                if self.random.unit() < faults.corrupt {
                    *byte ^= 1 << self.random.below(8);
                }
            }
        }
        if faults.lose_commits > 0.0
            && self.finds(COMMITTED, bytes)
            && self.random.unit() < faults.lose_commits
        {
            self.counts.lost_commits.fetch_add(1, Ordering::Relaxed);
            return Err(Ended::Orderly);
        }
        let room = |limit: u64| usize::try_from(limit.saturating_sub(self.passed)).unwrap_or(usize::MAX);
        let limit = [faults.rst_after, faults.half_close].into_iter().flatten().map(room).min();
        let allowed = limit.unwrap_or(usize::MAX).min(bytes.len());
        // What was read together goes together: a message's end may follow what is looked for.
        let cut = self.finds_cut(&faults, &bytes[..allowed]);
        self.write(&faults, &bytes[..allowed]).await?;
        if cut {
            // Orderly towards the receiver, so that it acts on what it got; its answer finds nobody.
            return Err(Ended::Orderly);
        }
        let reached = |limit: Option<u64>| limit.is_some_and(|limit| self.passed >= limit);
        if reached(faults.rst_after) {
            return Err(Ended::Reset);
        }
        if reached(faults.half_close) {
            let _ = self.to.shutdown().await;
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether what `cut_after` looks for ends within `bytes`.
    fn finds_cut(&mut self, faults: &Faults, bytes: &[u8]) -> bool {
        let wanted = faults.cut_after.as_ref().filter(|wanted| !wanted.is_empty());
        wanted.is_some_and(|wanted| self.finds(wanted.as_bytes(), bytes))
    }

    /// Whether `wanted` ends within `bytes`.
    fn finds(&mut self, wanted: &[u8], bytes: &[u8]) -> bool {
        self.tail.extend_from_slice(bytes);
        let found = self.tail.windows(wanted.len()).any(|window| window == wanted);
        let old = self.tail.len().saturating_sub(wanted.len() - 1);
        self.tail.drain(..old);
        found
    }

    async fn write(&mut self, faults: &Faults, bytes: &[u8]) -> Result<(), Ended> {
        let piece = match (faults.slice, faults.bandwidth) {
            (0, 0) => bytes.len().max(1),
            (0, bandwidth) => usize::try_from(bandwidth / 20).unwrap_or(usize::MAX).max(1),
            (slice, _) => slice,
        };
        for piece in bytes.chunks(piece) {
            if let Some(nanos) = (piece.len() as u64 * 1_000_000_000).checked_div(faults.bandwidth) {
                tokio::time::sleep(Duration::from_nanos(nanos)).await;
            }
            self.to.write_all(piece).await.map_err(|_| Ended::Reset)?;
            if faults.slice > 0 {
                tokio::task::yield_now().await;
            }
            self.passed += piece.len() as u64;
            let count = if self.up { &self.counts.up } else { &self.counts.down };
            count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}
