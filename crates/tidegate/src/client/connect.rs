//! One request over one fresh connection: plain TCP, TLS, or a Unix socket.

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use runtime::Tasks;
use rustls::pki_types::ServerName;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The longest wait for a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// Where a server is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Door {
    /// A socket in the file system.
    Unix(PathBuf),
    /// Plain HTTP.
    Plain { host: String, port: u16 },
    /// HTTPS; with certificates of one's own beside the system's.
    Tls { host: String, port: u16, ca: Option<PathBuf> },
}

/// A whole answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Door {
    /// The door named by a base URL, and the path under it without a trailing slash.
    pub(crate) fn of_url(url: &str) -> anyhow::Result<(Door, String)> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is not a URL"))?;
        let host = uri.host().with_context(|| format!("`{url}` names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path().trim_end_matches('/').to_owned();
        let door = match uri.scheme_str() {
            Some("http") => Door::Plain { host, port: uri.port_u16().unwrap_or(80) },
            Some("https") => Door::Tls { host, port: uri.port_u16().unwrap_or(443), ca: None },
            _ => bail!("`{url}` must begin with http:// or https://"),
        };
        Ok((door, path))
    }

    /// What belongs into the `Host` header.
    fn host_header(&self) -> String {
        let bracketed = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        match self {
            Door::Unix(_) => "localhost".to_owned(),
            Door::Plain { host, port: 80 } | Door::Tls { host, port: 443, .. } => bracketed(host),
            Door::Plain { host, port } | Door::Tls { host, port, .. } => {
                format!("{}:{port}", bracketed(host))
            }
        }
    }
}

/// Sends one request and gives back the head of the answer, its body still flowing.
pub(crate) async fn send(
    door: &Door,
    tasks: &Tasks,
    mut request: Request<Full<Bytes>>,
    head_within: Duration,
) -> anyhow::Result<Response<Incoming>> {
    request.headers_mut().insert(hyper::header::HOST, door.host_header().parse()?);
    let opened = tokio::time::timeout(CONNECT, open(door));
    let stream =
        opened.await.map_err(|_| anyhow::anyhow!("no connection within {} s", CONNECT.as_secs()))??;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tasks.spawn("client_connection", async move {
        // What ends a connection badly is seen by whoever reads the answer.
        let _ = connection.await;
    });
    let answered = tokio::time::timeout(head_within, sender.send_request(request)).await;
    let answer = answered.map_err(|_| anyhow::anyhow!("no answer within {} s", head_within.as_secs()))?;
    Ok(answer?)
}

/// Sends one request and reads the whole answer, at most `most` bytes of it.
pub(crate) async fn fetch(
    door: &Door,
    tasks: &Tasks,
    request: Request<Full<Bytes>>,
    within: Duration,
    most: usize,
) -> anyhow::Result<Reply> {
    let whole = async {
        let answer = send(door, tasks, request, within).await?;
        let status = answer.status();
        let limited = http_body_util::Limited::new(answer.into_body(), most).collect().await;
        let body =
            limited.map_err(|error| anyhow::anyhow!("the answer broke off or is too long: {error}"))?;
        Ok(Reply { status, body: body.to_bytes() })
    };
    tokio::time::timeout(within, whole)
        .await
        .map_err(|_| anyhow::anyhow!("no whole answer within {} s", within.as_secs()))?
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn open(door: &Door) -> anyhow::Result<Box<dyn Stream>> {
    match door {
        Door::Unix(path) => {
            let reachable = super::socket::Reachable::new(path)?;
            Ok(Box::new(UnixStream::connect(reachable.path()).await?))
        }
        Door::Plain { host, port } => Ok(Box::new(tcp(host, *port).await?)),
        Door::Tls { host, port, ca } => {
            let stream = tcp(host, *port).await?;
            let roots = roots(ca.as_deref())?;
            let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            let name =
                ServerName::try_from(host.clone()).context("not a name that a certificate can carry")?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            Ok(Box::new(connector.connect(name, stream).await.context("TLS handshake failed")?))
        }
    }
}

/// Whether anything takes connections there.
pub(crate) async fn reach(host: &str, port: u16) -> anyhow::Result<()> {
    let opened = tokio::time::timeout(CONNECT, tcp(host, port)).await;
    opened
        .map_err(|_| anyhow::anyhow!("{host}:{port} takes no connection within {} s", CONNECT.as_secs()))??;
    Ok(())
}

async fn tcp(host: &str, port: u16) -> anyhow::Result<TcpStream> {
    let stream =
        TcpStream::connect((host, port)).await.with_context(|| format!("cannot connect to {host}:{port}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The system's certificates, and one's own where the provider names them.
fn roots(ca: Option<&std::path::Path>) -> anyhow::Result<rustls::RootCertStore> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let unreadable = || format!("cannot read certificates from `{}`", path.display());
        for certificate in CertificateDer::pem_file_iter(path).with_context(unreadable)? {
            roots.add(certificate.with_context(unreadable)?)?;
        }
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_url_is_a_door_and_a_path() {
        let plain = |host: &str, port| Door::Plain { host: host.into(), port };
        assert_eq!(
            Door::of_url("http://127.0.0.1:8080/v1/").unwrap(),
            (plain("127.0.0.1", 8080), "/v1".into())
        );
        assert_eq!(Door::of_url("http://[::1]:9").unwrap(), (plain("::1", 9), String::new()));
        let (door, _) = Door::of_url("https://gate.example").unwrap();
        assert_eq!(door, Door::Tls { host: "gate.example".into(), port: 443, ca: None });
        assert_eq!(door.host_header(), "gate.example");
        assert_eq!(plain("::1", 9).host_header(), "[::1]:9");
        for bad in ["gate.example", "ftp://x", "http://", "/v1"] {
            assert!(Door::of_url(bad).is_err(), "{bad}");
        }
    }
}
