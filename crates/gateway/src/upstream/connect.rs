//! Opens a connection to a provider: name, TCP, TLS, HTTP/1.1 handshake; each step counts against one deadline.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The largest answer head, and the most that is read ahead of the client, bytes.
const READ_AHEAD: usize = 128 * 1024;

/// A byte stream to a provider.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// The sending half and the driver of one HTTP/1.1 connection.
pub(crate) type Halves =
    (http1::SendRequest<Full<Bytes>>, Pin<Box<http1::Connection<TokioIo<Socket>, Full<Bytes>>>>);

/// Why no connection came about; the text names the step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot resolve `{host}`: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("cannot connect to {host}:{port}: {source}")]
    Tcp { host: String, port: u16, source: io::Error },
    #[error("tls with `{host}` failed: {source}")]
    Tls { host: String, source: io::Error },
    #[error("http handshake with `{host}` failed: {source}")]
    Handshake { host: String, source: hyper::Error },
}

/// Opens one connection; the caller bounds the time.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    tls: Option<&Arc<rustls::ClientConfig>>,
) -> Result<Halves, ConnectError> {
    let socket = match tls {
        None => Socket::Plain(connect_tcp(host, port).await?),
        Some(config) => {
            let tcp = connect_tcp(host, port).await?;
            let failed = |source| ConnectError::Tls { host: host.to_owned(), source };
            let name = ServerName::try_from(host.to_owned()).map_err(|e| failed(io::Error::other(e)))?;
            let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(failed)?;
            Socket::Tls(Box::new(stream))
        }
    };
    let (sender, driver) = http1::Builder::new()
        .max_buf_size(READ_AHEAD)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(|source| ConnectError::Handshake { host: host.to_owned(), source })?;
    Ok((sender, Box::pin(driver)))
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
