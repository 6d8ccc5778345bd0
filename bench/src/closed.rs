//! The closed loop: a number of connections, each with one request in flight, until a total is done.
//!
//! One thread and one task per connection: wake-ups are shared, so the generator leaves the cores to the proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::wire;

/// No answer takes longer; a proxy that hangs fails the run instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to send.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    /// Whole requests, taken in turn (they differ by the key they present).
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) connections: usize,
    /// Requests altogether.
    pub(crate) total: usize,
}

/// What came back.
pub(crate) struct Done {
    pub(crate) elapsed: Duration,
    /// Microseconds from the first byte sent to the last byte read, one for each request.
    pub(crate) latencies: Vec<f64>,
    /// Events of streamed answers.
    pub(crate) events: usize,
}

impl Done {
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Runs the load; any answer that is not a complete 200 is an error.
pub(crate) fn run(load: &Load) -> anyhow::Result<Done> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let next = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(load.requests.clone());
        let mut streams = Vec::new();
        for _ in 0..load.connections {
            let stream = TcpStream::connect(load.address).await.context("cannot connect")?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for stream in streams {
            tasks.spawn(connection(stream, Arc::clone(&requests), Arc::clone(&next), load.total));
        }
        let mut done = Done { elapsed: Duration::ZERO, latencies: Vec::with_capacity(load.total), events: 0 };
        while let Some(finished) = tasks.join_next().await {
            let (latencies, events) = finished??;
            done.latencies.extend(latencies);
            done.events += events;
        }
        done.elapsed = start.elapsed();
        Ok(done)
    })
}

async fn connection(
    mut stream: TcpStream,
    requests: Arc<Vec<Vec<u8>>>,
    next: Arc<AtomicUsize>,
    total: usize,
) -> anyhow::Result<(Vec<f64>, usize)> {
    let mut reader = wire::Reader::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut latencies = Vec::new();
    let mut events = 0;
    loop {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        if turn >= total {
            return Ok((latencies, events));
        }
        let start = Instant::now();
        stream.write_all(&requests[turn % requests.len()]).await?;
        let answer = async {
            loop {
                let read = stream.read(&mut buffer).await?;
                if read == 0 {
                    bail!("the connection ended within an answer");
                }
                if reader.push(&buffer[..read]).map_err(anyhow::Error::msg)? {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.context("no answer within 60 s")??;
        latencies.push(start.elapsed().as_secs_f64() * 1e6);
        check(&reader)?;
        events += wire::events(&reader.body);
        reader.next_message();
    }
}

/// An answer counts only when it is a 200 with a body.
pub(crate) fn check(reader: &wire::Reader) -> anyhow::Result<()> {
    if reader.status() != 200 || reader.body.is_empty() {
        let body = String::from_utf8_lossy(&reader.body);
        bail!("answered `{}`: {}", reader.first_line, body.chars().take(300).collect::<String>());
    }
    Ok(())
}
