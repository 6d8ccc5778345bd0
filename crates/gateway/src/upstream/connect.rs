//! Opens a connection to a provider: name, TCP, TLS; each step counts against one deadline.
//!
//! A name is looked up once for all who wait, since a look-up that hangs holds a thread until the system gives it up, long
//! after the deadline of whoever asked. Where only public addresses are allowed, those that the name led to are judged, and
//! exactly those are connected to: a name that leads elsewhere a moment later leads nobody there.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use policy::Reach;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A byte stream to a provider.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Socket {
    /// Whether the other side has closed, as the system knows it now. Bytes that wait say nothing of TLS (a session
    /// ticket may come at any time); in the clear nothing may come unasked.
    pub(crate) fn is_hung_up(&self) -> bool {
        let (tcp, clear) = match self {
            Self::Plain(tcp) => (tcp, true),
            Self::Tls(tls) => (tls.get_ref().0, false),
        };
        let mut byte = [std::mem::MaybeUninit::uninit()];
        match socket2::SockRef::from(tcp).peek(&mut byte) {
            Ok(0) => true,
            Ok(_) => clear,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Why no connection came about; the text names the step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot resolve `{host}`: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("`{0}` leads to a private address, which `server.allow_private_upstreams = false` forbids")]
    Private(String),
    #[error("`{0}` leads to an address where no provider is: link-local, multicast or a cloud's metadata")]
    Never(String),
    #[error("cannot connect to {host}:{port}: {source}")]
    Tcp { host: String, port: u16, source: io::Error },
    #[error("tls with `{host}` failed: {source}")]
    Tls { host: String, source: io::Error },
}

/// Where a provider is, and whether it may be there.
pub(crate) struct Whereabouts {
    pub(crate) host: policy::Name,
    pub(crate) port: u16,
    may_be_private: bool,
    /// How many look-ups have ended.
    ended: AtomicU64,
    names: tokio::sync::Mutex<Names>,
}

type Addresses = Vec<SocketAddr>;

#[derive(Default)]
struct Names {
    /// The look-up that is under way, also when whoever began it is gone.
    pending: Option<Pin<Box<dyn Future<Output = io::Result<Addresses>> + Send>>>,
    last: Addresses,
}

impl Whereabouts {
    pub(crate) fn new(host: policy::Name, port: u16, may_be_private: bool) -> Self {
        Self { host, port, may_be_private, ended: AtomicU64::new(0), names: tokio::sync::Mutex::default() }
    }

    /// Opens one connection; the caller bounds the time.
    pub(crate) async fn connect(
        &self,
        tls: Option<&Arc<rustls::ClientConfig>>,
    ) -> Result<Socket, ConnectError> {
        let tcp = self.connect_tcp().await?;
        let Some(config) = tls else { return Ok(Socket::Plain(tcp)) };
        let failed = |source| ConnectError::Tls { host: self.host.to_string(), source };
        let name = ServerName::try_from(self.host.to_string()).map_err(|e| failed(io::Error::other(e)))?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(failed)?;
        Ok(Socket::Tls(Box::new(stream)))
    }

    /// Tries each address of the name in turn.
    async fn connect_tcp(&self) -> Result<TcpStream, ConnectError> {
        let host = || self.host.to_string();
        let found = self.addresses().await;
        let addresses = found.map_err(|source| ConnectError::Resolve { host: host(), source })?;
        let failed = |source| ConnectError::Tcp { host: host(), port: self.port, source };
        let mut last = failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for address in addresses {
            match Reach::of(address.ip()) {
                Reach::Never => last = ConnectError::Never(host()),
                Reach::Private if !self.may_be_private => last = ConnectError::Private(host()),
                _ => match TcpStream::connect(address).await {
                    Ok(stream) => {
                        stream.set_nodelay(true).map_err(failed)?;
                        return Ok(stream);
                    }
                    Err(error) => last = failed(error),
                },
            }
        }
        Err(last)
    }

    /// What the name leads to, as a look-up says that ended since this was asked.
    async fn addresses(&self) -> io::Result<Addresses> {
        let literal = self.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let before = self.ended.load(Ordering::Acquire);
        let mut names = self.names.lock().await;
        // Whoever was before us has asked for us too.
        if self.ended.load(Ordering::Acquire) > before && !names.last.is_empty() {
            return Ok(names.last.clone());
        }
        if let Some(pending) = &mut names.pending {
            // What is there at once has been waiting, nobody knows for how long.
            let there = std::future::poll_fn(|context| Poll::Ready(pending.as_mut().poll(context))).await;
            if there.is_ready() {
                names.pending = None;
            }
        }
        let (name, port) = (literal.to_owned(), self.port);
        let begin = || async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) };
        let found = names.pending.get_or_insert_with(|| Box::pin(begin())).as_mut().await;
        names.pending = None;
        names.last = found.as_ref().map_or_else(|_| Vec::new(), Clone::clone);
        self.ended.fetch_add(1, Ordering::Release);
        found
    }
}

macro_rules! either {
    ($self:expr, $inner:ident => $call:expr) => {
        match $self.get_mut() {
            Socket::Plain($inner) => $call,
            Socket::Tls($inner) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, s => Pin::new(s).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, s => Pin::new(s).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, s => Pin::new(s).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(s) => s.is_write_vectored(),
            Self::Tls(s) => s.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, s => Pin::new(s).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, s => Pin::new(s).poll_shutdown(cx))
    }
}
