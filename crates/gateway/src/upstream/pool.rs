//! Idle connections to one origin, and one call over one of them.
//!
//! A connection is polled by whoever uses it, not by a task of its own: an upstream event then reaches the client
//! without a hop between tasks. While a connection is idle nobody polls it; it is looked at when it is taken (a closed
//! one is thrown away) and swept now and then.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use policy::Moment;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connect::{ConnectError, Socket, Whereabouts};
use super::wire::{Head, Wire, WireError};
use crate::listen::{place, places};

/// Longer than this an idle connection is not trusted: many servers close after 60 s.
const IDLE: Duration = Duration::from_secs(50);
/// After this long the system is asked whether the other side has closed.
const DOUBT: Duration = Duration::from_millis(250);
const MAX_IDLE: usize = 512;

/// One host and port, with its idle connections.
pub(crate) struct Origin {
    place: Whereabouts,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// A list for each thread: a connection is woken by the event loop of the thread that opened it.
    idle: Box<[Mutex<Vec<Wire>>]>,
    places: Arc<Semaphore>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreachable {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("all connections to the provider are in use")]
    Full,
}

impl Origin {
    pub(crate) fn new(
        place: Whereabouts,
        tls: Option<Arc<rustls::ClientConfig>>,
        max_connections: u32,
    ) -> Self {
        let idle = (0..places()).map(|_| Mutex::default()).collect();
        let places = Arc::new(Semaphore::new(max_connections.max(1) as usize));
        Self { place, tls, idle, places }
    }

    /// A connection that nobody else will use. The caller bounds the time.
    pub(crate) async fn connect(&self) -> Result<Socket, ConnectError> {
        self.place.connect(self.tls.as_ref()).await
    }

    /// An idle connection, if there is one and a place for it.
    pub(crate) fn take_idle(self: &Arc<Self>, now: Moment) -> Option<(Wire, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.usable(now).map(|wire| (wire, place))
    }

    fn usable(&self, now: Moment) -> Option<Wire> {
        while let Some(mut wire) = self.pop() {
            if is_usable(&mut wire, now) {
                wire.reused = true;
                return Some(wire);
            }
        }
        None
    }

    /// An idle connection, or a new one, when there is a place. The caller bounds the time.
    pub(crate) async fn take(
        self: &Arc<Self>,
        now: Moment,
    ) -> Result<(Wire, OwnedSemaphorePermit), Unreachable> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Unreachable::Full)?;
        if let Some(wire) = self.usable(now) {
            return Ok((wire, place));
        }
        let socket = self.connect().await?;
        Ok((Wire::new(socket, now), place))
    }

    fn here(&self) -> &Mutex<Vec<Wire>> {
        // There is a list for every place.
        &self.idle[place().min(self.idle.len() - 1)]
    }

    fn pop(&self) -> Option<Wire> {
        self.here().lock().pop()
    }

    fn put(&self, mut wire: Wire, now: Moment) {
        wire.rest(now);
        let mut idle = self.here().lock();
        if idle.len() < MAX_IDLE {
            idle.push(wire);
        }
    }

    /// Connections that may be opened beside those in use.
    pub(crate) fn free(&self) -> u32 {
        u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX)
    }

    /// Throws away idle connections that are closed or too old.
    pub(crate) fn sweep(&self, now: Moment) {
        for list in &self.idle {
            let waiting = std::mem::take(&mut *list.lock());
            let mut kept: Vec<Wire> = waiting
                .into_iter()
                .filter_map(|mut wire| is_usable(&mut wire, now).then_some(wire))
                .collect();
            let mut idle = list.lock();
            kept.append(&mut idle);
            kept.truncate(MAX_IDLE);
            *idle = kept;
        }
    }
}

fn is_usable(wire: &mut Wire, now: Moment) -> bool {
    now.since(wire.idle_since) <= IDLE && wire.is_open(now, DOUBT)
}

/// One request on its way: first its head is awaited, then its body read. Dropping it closes the connection, which is
/// how a call is cancelled.
pub(crate) struct Call {
    wire: Wire,
    origin: Arc<Origin>,
    _place: OwnedSemaphorePermit,
}

impl Call {
    /// Hands the request (its head with the empty line, and its body) to the connection; bytes leave when the call is
    /// polled.
    pub(crate) fn send(
        origin: &Arc<Origin>,
        (mut wire, place): (Wire, OwnedSemaphorePermit),
        head: Bytes,
        body: Bytes,
    ) -> Self {
        wire.begin(head, body);
        Self { wire, origin: Arc::clone(origin), _place: place }
    }

    /// True when the connection had served before: it may have been closed under our hands.
    pub(crate) fn reused(&self) -> bool {
        self.wire.reused
    }

    /// Waits for status and headers.
    pub(crate) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, WireError>> {
        self.wire.poll_head(context)
    }

    /// The next bytes of the body; `None` at its proper end.
    pub(crate) fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        self.wire.poll_chunk(context)
    }

    /// Gives the connection back for the next call, if the answer was read to its end.
    pub(crate) fn recycle(self, now: Moment) {
        if self.wire.is_reusable() {
            let Self { wire, origin, .. } = self;
            origin.put(wire, now);
        }
    }
}
