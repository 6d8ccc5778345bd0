//! Reads a request's body: bounded in size, and all bodies together bounded in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::listen::Refused;
use crate::refusal::{Code, Refusal};

/// A body that is refused is still read and thrown away up to this much, so that the client hears the reason instead of
/// a reset connection.
const LINGER_BYTES: u64 = 128 * 1024 * 1024;
/// The same for whoever has shown no good key.
pub(crate) const LINGER_STRANGER: u64 = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(10);
/// Whoever sends nothing for so long does not lose what it sends when the connection is closed, and hears the reason.
const LINGER_PAUSE: Duration = Duration::from_secs(1);
/// A body is held as it came, for another attempt, and beside it as it goes to the provider: both count.
const COPIES: u64 = 2;

/// The bytes of bodies that are held at once, over all requests.
pub(crate) struct Memory {
    held: AtomicU64,
    limit: u64,
}

/// A share of [`Memory`], given back when dropped.
pub(crate) struct Held {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Memory {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { held: AtomicU64::new(0), limit })
    }

    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn hold(self: &Arc<Self>, bytes: u64) -> Option<Held> {
        let mut held = Held { memory: Arc::clone(self), bytes: 0 };
        held.grow(bytes).then_some(held)
    }
}

impl Held {
    /// Takes what translating a body of so many bytes needs beside it: what it holds as a form, and one more copy of it
    /// while it is written (`providers/tests/weight.rs` weighs it).
    pub(crate) fn translated(&mut self, body: u64) -> Result<(), Box<Refusal>> {
        if self.grow(body.saturating_mul(COPIES)) { Ok(()) } else { Err(overloaded()) }
    }

    /// Takes `more` bytes; false, and nothing taken, when that passes the limit.
    pub(crate) fn grow(&mut self, more: u64) -> bool {
        let before = self.memory.held.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.memory.limit {
            self.memory.held.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Memory {
    /// The share of a body that is there already; `None` when there is no room.
    pub(crate) fn hold_body(self: &Arc<Self>, length: u64) -> Option<Held> {
        self.hold(length.saturating_mul(COPIES))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads the whole body. The share of memory lives as long as the returned value.
pub(crate) async fn receive(
    memory: &Arc<Memory>,
    max_body: u64,
    parts: &Parts,
    body: Incoming,
) -> Result<(Bytes, Held), Box<Refusal>> {
    if let Err(refusal) = plain(parts) {
        Box::pin(linger(body, LINGER_BYTES)).await;
        return Err(refusal);
    }
    let announced = http_body::Body::size_hint(&body).exact();
    if announced.is_some_and(|length| length > max_body) {
        Box::pin(linger(body, LINGER_BYTES)).await;
        return Err(too_large(max_body));
    }
    let Some(mut held) = memory.hold(announced.unwrap_or(0).saturating_mul(COPIES)) else {
        Box::pin(linger(body, LINGER_BYTES)).await;
        return Err(overloaded());
    };
    read(body, max_body, announced, &mut held).await.map(|bytes| (bytes, held))
}

/// The same for a body that is there.
pub(crate) fn whole(
    memory: &Arc<Memory>,
    max_body: u64,
    parts: &Parts,
    body: &Bytes,
) -> Result<Held, Box<Refusal>> {
    plain(parts)?;
    let length = body.len() as u64;
    if length > max_body { Err(too_large(max_body)) } else { memory.hold_body(length).ok_or_else(overloaded) }
}

/// Only a body as it is can be read.
fn plain(parts: &Parts) -> Result<(), Box<Refusal>> {
    match parts.headers.get(http::header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            let encoding = String::from_utf8_lossy(encoding.as_bytes());
            let message = format!("the body has `content-encoding: {encoding}`; send it without one");
            Err(Refusal::new(Code::UnsupportedEncoding, message))
        }
        _ => Ok(()),
    }
}

async fn read(
    mut body: Incoming,
    max_body: u64,
    announced: Option<u64>,
    held: &mut Held,
) -> Result<Bytes, Box<Refusal>> {
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    let mut length = 0u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken_off(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len() as u64;
        if length > max_body {
            Box::pin(linger(body, LINGER_BYTES)).await;
            return Err(too_large(max_body));
        }
        if announced.is_none() && !held.grow(data.len() as u64 * COPIES) {
            Box::pin(linger(body, LINGER_BYTES)).await;
            return Err(overloaded());
        }
        if first.is_empty() && rest.is_none() {
            first = data;
            continue;
        }
        let room = announced.map_or(length * 2, |total| total).min(max_body);
        let whole = rest.get_or_insert_with(|| {
            let mut whole = BytesMut::with_capacity(usize::try_from(room).unwrap_or(0));
            whole.extend_from_slice(&first);
            whole
        });
        whole.extend_from_slice(&data);
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}

/// Reads and drops what the client still sends, within bounds; whether that was all of it.
pub(crate) async fn linger(mut body: Incoming, limit: u64) -> bool {
    // What is announced to be more is not begun.
    if http_body::Body::size_hint(&body).lower() > limit {
        return false;
    }
    let dropping = async {
        let mut dropped = 0;
        while dropped <= limit {
            match tokio::time::timeout(LINGER_PAUSE, body.frame()).await {
                Ok(None) => return true,
                Ok(Some(Ok(frame))) => dropped += frame.data_ref().map_or(0, |data| data.len() as u64),
                Ok(Some(Err(_))) | Err(_) => return false,
            }
        }
        false
    };
    tokio::time::timeout(LINGER_TIME, dropping).await.unwrap_or(false)
}

/// A body that was refused or too slow says why; one that just ended has probably lost its client.
fn broken_off(error: &hyper::Error) -> Box<Refusal> {
    match Refused::find(error) {
        Some(refused) => refused.refusal(),
        None => Refusal::new(Code::InvalidRequest, format!("the body could not be read to its end: {error}")),
    }
}

fn too_large(max_body: u64) -> Box<Refusal> {
    Refusal::new(
        Code::RequestTooLarge,
        format!("the body is larger than {max_body} bytes (`server.max_body`)"),
    )
}

pub(crate) fn overloaded() -> Box<Refusal> {
    let message = "the gateway holds as many bytes of requests as it may; try again in a moment";
    Refusal::new(Code::Overloaded, message).after(Duration::from_secs(1))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back() {
        let memory = Memory::new(10);
        let mut held = memory.hold(6).unwrap();
        assert!(memory.hold(5).is_none());
        assert!(held.grow(4));
        assert!(!held.grow(1));
        drop(held);
        assert_eq!(memory.held(), 0);
        assert!(memory.hold(10).is_some());
    }
}
