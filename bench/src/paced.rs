//! Latency: one connection back to back, and the open loop at a fixed rate.
//!
//! Blocking threads and not tasks: a task's timer is a millisecond coarse, which is many times what is measured here.
//! In the open loop a request that starts late because its predecessor was slow counts from when it was due, so a
//! stall is charged to everybody who would have waited in it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::{closed, wire};

/// Connections that share the open loop's rate.
const CONNECTIONS: usize = 32;

/// Latencies in microseconds of `total` requests sent back to back on one connection.
pub(crate) fn one_connection(address: SocketAddr, request: &[u8], total: usize) -> anyhow::Result<Vec<f64>> {
    let mut client = Client::connect(address)?;
    let mut latencies = Vec::with_capacity(total);
    for _ in 0..total {
        let start = Instant::now();
        client.ask(request)?;
        latencies.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(latencies)
}

/// Latencies in microseconds of `rate` requests a second for `length`, whatever the answers take.
pub(crate) fn open_loop(
    address: SocketAddr,
    request: &[u8],
    rate: f64,
    length: Duration,
) -> anyhow::Result<Vec<f64>> {
    let gap = Duration::from_secs_f64(CONNECTIONS as f64 / rate);
    let each = (length.as_secs_f64() / gap.as_secs_f64()).round().max(1.0) as u32;
    let start = Instant::now() + Duration::from_millis(50);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS as u32)
            .map(|n| {
                let first = start + gap * n / CONNECTIONS as u32;
                scope.spawn(move || one_of_many(address, request, first, gap, each))
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(latencies) => all.extend(latencies?),
                Err(_) => bail!("a thread of the load generator panicked"),
            }
        }
        Ok(all)
    })
}

fn one_of_many(
    address: SocketAddr,
    request: &[u8],
    first: Instant,
    gap: Duration,
    each: u32,
) -> anyhow::Result<Vec<f64>> {
    let mut client = Client::connect(address)?;
    let mut latencies = Vec::with_capacity(each as usize);
    for n in 0..each {
        let due = first + gap * n;
        let now = Instant::now();
        let from = if now < due {
            std::thread::sleep(due - now);
            // The sleep's own lateness is this program's, not the proxy's.
            Instant::now()
        } else {
            due
        };
        client.ask(request)?;
        latencies.push(from.elapsed().as_secs_f64() * 1e6);
    }
    Ok(latencies)
}

/// One connection that blocks.
pub(crate) struct Client {
    stream: TcpStream,
    reader: wire::Reader,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Client { stream, reader: wire::Reader::default(), buffer: vec![0; 64 * 1024] })
    }

    /// Sends one request and reads its whole answer, which must be a 200.
    pub(crate) fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.reader.next_message();
        self.stream.write_all(request)?;
        loop {
            let read = self.stream.read(&mut self.buffer)?;
            if read == 0 {
                bail!("the connection ended within an answer");
            }
            if self.reader.push(&self.buffer[..read]).map_err(anyhow::Error::msg)? {
                return closed::check(&self.reader);
            }
        }
    }

    /// The body of the answer just read.
    pub(crate) fn body(&self) -> &[u8] {
        &self.reader.body
    }
}
