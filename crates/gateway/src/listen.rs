//! Accepts connections and hands each request to the URL table.
//!
//! One task for a connection: it polls the request, the upstream call and the answer, so that a streamed event goes from
//! upstream socket to client socket without changing tasks. Calls over HTTP/1 go the quick way (`quick.rs`), all else
//! goes to hyper. A stop is a wave in three steps: readiness off,
//! connections asked to end after their present request, and at the deadline what still streams is cut with an error
//! event (`Gateway::cut`).

mod crew;
mod framing;
mod gate;
mod quick;
mod refused;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use self::crew::Crew;
pub(crate) use self::crew::{place, places};
pub(crate) use self::gate::Answer;
use self::gate::{Answering, Gate, Patience, Protocol};
use self::quick::Quick;
pub(crate) use self::refused::Refused;
use self::refused::RefusedHead;
use crate::body::Body;
use crate::wakes::Wakes;
use crate::{Gateway, endpoints};

/// Connections at once; one more waits in the kernel's queue.
const MAX_CONNECTIONS: usize = 32 * 1024;
const BACKLOG: i32 = 4096;
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What is known of the client's end of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    /// It speaks TLS to us.
    pub(crate) secure: bool,
    /// Where it connects from.
    pub(crate) address: Option<IpAddr>,
    answering: Answering,
    refused_head: RefusedHead,
}

impl Client {
    fn at(address: IpAddr, secure: bool) -> Self {
        Self { secure, address: Some(address), ..Self::default() }
    }

    /// Why there is no request, where `request` only stands in for a head that was refused: it has no host, and no
    /// head of a client without one passes the framing.
    pub(crate) fn refused<B>(&self, request: &http::Request<B>) -> Option<Refused> {
        let refused = self.refused_head.get()?;
        let stands_in = request.version() == http::Version::HTTP_11
            && !request.headers().contains_key(http::header::HOST);
        stands_in.then_some(refused)
    }

    /// The upgrade that the present request asks for is granted.
    pub(crate) fn becomes_a_tunnel(&self) {
        self.answering.become_tunnel();
    }

    /// Marks one request as being answered until the value is dropped.
    pub(crate) fn answer(&self) -> Answer {
        self.answering.begin()
    }
}

/// Opens a listening socket; `EADDRINUSE` and its like come back as they are.
///
/// # Errors
/// Whatever the system says of the address.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Serves `listener` until [`Gateway::stop_accepting`]; connections that are open then go on in tasks of their own.
///
/// # Errors
/// When the listener cannot be handed to the runtime.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: std::net::TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let acceptor = tls.map(TlsAcceptor::from);
    let places = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    let crew = Crew::start(
        &gateway.tasks,
        {
            let gateway = Arc::downgrade(&gateway);
            move || gateway.upgrade().is_none_or(|gateway| gateway.in_flight() == 0)
        },
        gateway.quiet,
    )?;
    let mut ended = pin!(gateway.lifecycle.not_accepting.clone().cancelled_owned());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut ended => return Ok(()),
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, address, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors or memory: what is open goes on; new ones are tried again soon.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (gateway, acceptor) = (Arc::clone(&gateway), acceptor.clone());
        crew.board(&gateway.tasks.clone(), "connection", move |aboard| async move {
            let _held = (aboard, place);
            if let Err(error) = connection(gateway, stream, acceptor, address.ip()).await {
                tracing::debug!(%error, client = %address, "connection ended");
            }
        });
    }
}

async fn connection(
    gateway: Arc<Gateway>,
    stream: std::net::TcpStream,
    acceptor: Option<TlsAcceptor>,
    address: IpAddr,
) -> io::Result<()> {
    let stream = tokio::net::TcpStream::from_std(stream)?;
    let Some(acceptor) = acceptor else { return converse(gateway, stream, Client::at(address, false)).await };
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    Box::pin(converse(gateway, stream, Client::at(address, true))).await
}

type Accepted = (std::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(
    listener: &tokio::net::TcpListener,
    places: &Arc<tokio::sync::Semaphore>,
) -> io::Result<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream.into_std()?, address, place))
}

/// The life of one connection.
async fn converse<S>(gateway: Arc<Gateway>, stream: S, client: Client) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (answering, refused_head) = (client.answering.clone(), client.refused_head.clone());
    let mut gate = Gate::new(stream, gateway.clock.clone(), Patience::default(), answering, refused_head);
    match gate.recognise().await? {
        Protocol::Http1 => {
            let mut quick = Quick::new(Arc::clone(&gateway), client.clone(), gate);
            let left = until_stopped(&gateway, |context, stops| {
                if stops {
                    quick.end_gently();
                }
                quick.poll(context)
            })
            .await?;
            drop(quick);
            match left {
                Some(gate) => Box::pin(any_http1(gateway, client, gate)).await,
                None => Ok(()),
            }
        }
        Protocol::Http2 => Box::pin(http2(gateway, client, gate)).await,
    }
}

/// Everything that HTTP/1 can be.
async fn any_http1<S>(gateway: Arc<Gateway>, client: Client, gate: Gate<S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = Service { gateway: Arc::clone(&gateway), client };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(framing::MAX_HEAD + 8192)
        .serve_connection(TokioIo::new(gate), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    driven(&gateway, |context, stops| {
        if stops {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    })
    .await
}

async fn http2<S>(gateway: Arc<Gateway>, client: Client, gate: Gate<S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = Service { gateway: Arc::clone(&gateway), client };
    let connection = http2::Builder::new(NamedTasks(gateway.tasks.clone()))
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_pending_accept_reset_streams(32)
        .max_local_error_reset_streams(64)
        .max_header_list_size(32 * 1024)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(256 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .serve_connection(TokioIo::new(gate), service);
    let mut connection = pin!(connection);
    driven(&gateway, |context, stops| {
        if stops {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    })
    .await
}

/// Drives a connection of hyper's, whose parts wake one another.
async fn driven(
    gateway: &Gateway,
    mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<hyper::Result<()>>,
) -> io::Result<()> {
    let wakes = Wakes::new();
    until_stopped(gateway, |context, mut stops| {
        wakes.poll(context, |context| poll(context, std::mem::take(&mut stops))).map_err(io::Error::other)
    })
    .await
}

/// Polls a connection; when the gateway stops accepting, it is told once that it stops, to end after what it is doing,
/// and at the cut it is polled again so that open streams see it.
async fn until_stopped<T>(
    gateway: &Gateway,
    mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<io::Result<T>>,
) -> io::Result<T> {
    let mut not_accepting = pin!(gateway.lifecycle.not_accepting.cancelled());
    let mut cut = pin!(gateway.lifecycle.cut.cancelled());
    let mut told = false;
    let mut seen = None;
    std::future::poll_fn(move |context: &mut Context<'_>| {
        // Waiting for a step of the stop takes a lock, so it is begun once and looked at when there was a step.
        let stage = gateway.lifecycle.stage();
        let mut stops = false;
        if seen != Some(stage) {
            seen = Some(stage);
            if !told && not_accepting.as_mut().poll(context).is_ready() {
                (told, stops) = (true, true);
            }
            // Being woken is enough: what the connection polls sees the cut by itself.
            let _ = cut.as_mut().poll(context);
        }
        poll(context, stops)
    })
    .await
}

/// hyper's view of the gateway for one connection.
struct Service {
    gateway: Arc<Gateway>,
    client: Client,
}

impl hyper::service::Service<http::Request<Incoming>> for Service {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let (gateway, client) = (Arc::clone(&self.gateway), self.client.clone());
        Box::pin(async move { Ok(endpoints::answer(gateway, client, request).await) })
    }
}

/// Lets HTTP/2 streams run as named tasks.
#[derive(Clone)]
struct NamedTasks(Tasks);

impl<F> hyper::rt::Executor<F> for NamedTasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn("http2-stream", async move {
            future.await;
        });
    }
}
