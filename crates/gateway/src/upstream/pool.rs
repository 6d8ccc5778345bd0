//! Idle connections to one origin, and one call over one of them.
//!
//! A connection's driver is polled by whoever uses the connection, not by a task of its own: an upstream event then
//! reaches the client without a hop between tasks. While a connection is idle nobody polls it; it is looked at when it
//! is taken (a closed one is thrown away) and swept now and then.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use policy::Moment;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connect::{ConnectError, Socket, connect};
use crate::listen::{place, places};
use crate::wakes::Wakes;

/// Longer than this an idle connection is not trusted: many servers close after 60 s.
const IDLE: Duration = Duration::from_secs(50);
const MAX_IDLE: usize = 512;

type Driver = Pin<Box<http1::Connection<TokioIo<Socket>, Full<Bytes>>>>;

/// One HTTP/1.1 connection that is ready for a request.
pub(crate) struct Wire {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
    driven_out: bool,
    wakes: Wakes,
    idle_since: Moment,
    reused: bool,
}

impl Wire {
    fn drive(&mut self, context: &mut Context<'_>) {
        drive(&mut self.driver, &mut self.driven_out, context);
    }

    /// Looks whether the other side has closed; does not wait.
    fn is_usable(&mut self, now: Moment) -> bool {
        if now.since(self.idle_since) > IDLE {
            return false;
        }
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.driven_out && self.sender.is_ready()
    }
}

fn drive(driver: &mut Driver, driven_out: &mut bool, context: &mut Context<'_>) {
    if !*driven_out && driver.as_mut().poll(context).is_ready() {
        *driven_out = true;
    }
}

/// One host and port, with its idle connections.
pub(crate) struct Origin {
    pub(crate) host: policy::Name,
    pub(crate) port: u16,
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
        host: policy::Name,
        port: u16,
        tls: Option<Arc<rustls::ClientConfig>>,
        max_connections: u32,
    ) -> Self {
        let idle = (0..places()).map(|_| Mutex::default()).collect();
        let places = Arc::new(Semaphore::new(max_connections.max(1) as usize));
        Self { host, port, tls, idle, places }
    }

    /// An idle connection, if there is one and a place for it.
    pub(crate) fn take_idle(self: &Arc<Self>, now: Moment) -> Option<(Wire, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.usable(now).map(|wire| (wire, place))
    }

    fn usable(&self, now: Moment) -> Option<Wire> {
        while let Some(mut wire) = self.pop() {
            if wire.is_usable(now) {
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
        let (sender, driver) = connect(&self.host, self.port, self.tls.as_ref()).await?;
        Ok((
            Wire { sender, driver, driven_out: false, wakes: Wakes::new(), idle_since: now, reused: false },
            place,
        ))
    }

    fn here(&self) -> &Mutex<Vec<Wire>> {
        // There is a list for every place.
        &self.idle[place().min(self.idle.len() - 1)]
    }

    fn pop(&self) -> Option<Wire> {
        self.here().lock().pop()
    }

    fn put(&self, mut wire: Wire, now: Moment) {
        wire.idle_since = now;
        let mut idle = self.here().lock();
        if idle.len() < MAX_IDLE {
            idle.push(wire);
        }
    }

    /// Throws away idle connections that are closed or too old.
    pub(crate) fn sweep(&self, now: Moment) {
        for list in &self.idle {
            let waiting = std::mem::take(&mut *list.lock());
            let mut kept: Vec<Wire> =
                waiting.into_iter().filter_map(|mut wire| wire.is_usable(now).then_some(wire)).collect();
            let mut idle = list.lock();
            kept.append(&mut idle);
            kept.truncate(MAX_IDLE);
            *idle = kept;
        }
    }
}

type Sending = Pin<Box<dyn Future<Output = hyper::Result<http::Response<Incoming>>> + Send>>;

/// One request on its way: first its head is awaited, then its body read. Dropping it closes the connection, which is
/// how a call is cancelled.
pub(crate) struct Call {
    wire: Wire,
    origin: Arc<Origin>,
    sending: Option<Sending>,
    body: Option<Incoming>,
    _place: OwnedSemaphorePermit,
}

impl Call {
    /// Hands the request to the connection; bytes leave when the call is polled.
    pub(crate) fn send(
        origin: &Arc<Origin>,
        (mut wire, place): (Wire, OwnedSemaphorePermit),
        request: http::Request<Full<Bytes>>,
    ) -> Self {
        let sending: Sending = Box::pin(wire.sender.send_request(request));
        Self { wire, origin: Arc::clone(origin), sending: Some(sending), body: None, _place: place }
    }

    /// True when the connection had served before: it may have been closed under our hands.
    pub(crate) fn reused(&self) -> bool {
        self.wire.reused
    }

    /// Waits for status and headers.
    pub(crate) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Parts, hyper::Error>> {
        let Self { wire, sending, body, .. } = self;
        let Wire { driver, driven_out, wakes, .. } = wire;
        wakes.poll(context, |context| {
            for _ in 0..2 {
                if let Some(waiting) = sending.as_mut()
                    && let Poll::Ready(outcome) = waiting.as_mut().poll(context)
                {
                    *sending = None;
                    return Poll::Ready(outcome.map(|response| {
                        let (parts, coming) = response.into_parts();
                        *body = Some(coming);
                        parts
                    }));
                }
                drive(driver, driven_out, context);
            }
            Poll::Pending
        })
    }

    /// The next bytes of the body; `None` at its proper end.
    pub(crate) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        let Self { wire, body, .. } = self;
        let Wire { driver, driven_out, wakes, .. } = wire;
        wakes.poll(context, |context| {
            let mut driven = false;
            loop {
                let Some(coming) = body.as_mut() else { return Poll::Ready(None) };
                match Pin::new(coming).poll_frame(context) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Some(Ok(bytes))),
                        _ => {}
                    },
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                    Poll::Ready(None) => {
                        *body = None;
                        return Poll::Ready(None);
                    }
                    Poll::Pending if driven => return Poll::Pending,
                    Poll::Pending => {
                        drive(driver, driven_out, context);
                        driven = true;
                    }
                }
            }
        })
    }

    /// Gives the connection back for the next call, if the answer was read to its end.
    pub(crate) fn recycle(mut self, now: Moment) {
        if self.body.is_none() && self.sending.is_none() {
            self.wire.drive(&mut Context::from_waker(Waker::noop()));
            if !self.wire.driven_out && self.wire.sender.is_ready() {
                let Self { wire, origin, .. } = self;
                origin.put(wire, now);
            }
        }
    }
}
