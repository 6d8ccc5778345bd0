//! Ports for what a test starts, stops and starts again.
//!
//! A port that the system hands out for an instant (`bind` to 0) may be given to somebody's outgoing connection before
//! the program that is to listen there has started, or between its two runs. So these lie below the range from which
//! Linux takes such ports (32768 and up), and no two askers of one process get the same. Two processes may meet, seldom.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const PORTS: std::ops::Range<u32> = 12_000..32_000;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// An address on this machine where nobody listens, which nobody else is given.
///
/// # Errors
/// `AddrInUse` when every port of the range is taken.
pub fn free() -> std::io::Result<SocketAddr> {
    let width = PORTS.end - PORTS.start;
    // Processes that run side by side begin far from one another.
    let start = std::process::id().wrapping_mul(7919);
    for _ in 0..width {
        let step = start.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) % width;
        let port = u16::try_from(PORTS.start + step).unwrap_or(u16::MAX);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(std::io::ErrorKind::AddrInUse.into())
}
