//! Opens a connection to a provider: name, TCP, TLS; each step counts against one deadline.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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
    #[error("cannot connect to {host}:{port}: {source}")]
    Tcp { host: String, port: u16, source: io::Error },
    #[error("tls with `{host}` failed: {source}")]
    Tls { host: String, source: io::Error },
}

/// Opens one connection; the caller bounds the time.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    tls: Option<&Arc<rustls::ClientConfig>>,
) -> Result<Socket, ConnectError> {
    let tcp = connect_tcp(host, port).await?;
    let Some(config) = tls else { return Ok(Socket::Plain(tcp)) };
    let failed = |source| ConnectError::Tls { host: host.to_owned(), source };
    let name = ServerName::try_from(host.to_owned()).map_err(|e| failed(io::Error::other(e)))?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(failed)?;
    Ok(Socket::Tls(Box::new(stream)))
}

/// Tries each address of the name in turn.
async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = tokio::net::lookup_host((literal, port))
        .await
        .map_err(|source| ConnectError::Resolve { host: host.to_owned(), source })?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let failed = |source| ConnectError::Tcp { host: host.to_owned(), port, source };
                stream.set_nodelay(true).map_err(failed)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(ConnectError::Tcp { host: host.to_owned(), port, source: last })
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
