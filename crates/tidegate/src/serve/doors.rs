//! Who may come in, and where: the public port, a port of the console's own, the owner-only socket.

use crate::client::socket::Reachable;
use crate::located::socket_in;
use anyhow::{Context, bail};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use gateway::{Aside, AsideAnswer, BoxBody, Gateway};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use policy::{Server, Tls};
use runtime::Tasks;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::Permissions;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tower_service::Service;

/// What the public port answers besides model calls. The gateway is made before the control plane is, so the
/// router arrives later.
#[derive(Default)]
pub(super) struct Console {
    router: OnceLock<Router>,
}

impl Console {
    /// From now on this router answers.
    pub(super) fn open(&self, router: Router) {
        // Only the start calls this, once.
        let _ = self.router.set(router);
    }
}

impl Aside for Console {
    fn call(&self, request: Request<Incoming>) -> AsideAnswer {
        let router = self.router.get().cloned();
        Box::pin(async move {
            let Some(mut router) = router else {
                let mut starting = Response::new(boxed(Body::from("starting\n")));
                *starting.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                return starting;
            };
            match router.call(request.map(Body::new)).await {
                Ok(answer) => answer.map(boxed),
                Err(never) => match never {},
            }
        })
    }
}

fn boxed(body: Body) -> BoxBody {
    BoxBody::new(body.map_err(Into::into))
}

/// Whether the public port also carries the console; refuses the one dangerous combination.
pub(super) fn carries_console(server: &Server) -> anyhow::Result<bool> {
    if server.admin_listen.is_some() {
        return Ok(false);
    }
    if server.listen.ip().is_loopback() || server.admin_on_public_port {
        return Ok(true);
    }
    bail!(
        "{} is not a loopback address, so the console and /metrics would be public: set server.admin_listen \
         to a port of their own, or server.admin_on_public_port = true",
        server.listen
    )
}

/// Opens a listening socket, or says in words why it cannot be.
pub(super) fn bind(address: SocketAddr, field: &str) -> anyhow::Result<TcpListener> {
    gateway::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is in use: another program (or another tidegate) listens there; stop it, or choose another \
             {field}, for example {}",
            SocketAddr::new(address.ip(), address.port().saturating_add(1))
        ),
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("{address}: this user may not listen there; ports below 1024 need a privilege")
        }
        ErrorKind::AddrNotAvailable => anyhow::anyhow!("{address}: this machine has no such address"),
        _ => anyhow::Error::from(error).context(format!("cannot listen on {address}")),
    })
}

/// The certificate and key of the public port.
pub(super) fn tls(settings: &Tls) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let unreadable = |what: &str, path: &str| format!("server.tls.{what}: cannot read `{path}`");
    let chain = CertificateDer::pem_file_iter(&settings.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| unreadable("certificate", &settings.certificate))?;
    let key =
        PrivateKeyDer::from_pem_file(&settings.key).with_context(|| unreadable("key", &settings.key))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("server.tls: certificate and key do not fit together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The port of the console's own, with the metrics and the probes.
pub(super) fn serve_admin_port(
    listener: TcpListener,
    router: Router,
    gateway: &Arc<Gateway>,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let measured = gateway.clone();
    let kind = [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let asked = gateway.clone();
    let ready = move || {
        let (ready, text) = asked.readiness();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready((status, text))
    };
    let router = router
        .route("/readyz", get(ready))
        .route("/metrics", get(move || std::future::ready((kind, measured.metrics_text()))))
        .route("/healthz", get(|| async { "ok\n" }));
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let stopping = tasks.stopping();
    tasks.spawn("admin_port", async move {
        // Whoever signs in is counted by address.
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stopping).await {
            tracing::error!(%error, "the admin port stopped");
        }
    });
    Ok(())
}

/// The owner-only socket. The data folder is 0700 already, and the ledger's lock makes us the only gateway in
/// it, so a socket that is there was left by a process that is gone.
pub(super) fn serve_socket(data_dir: &Path, router: Router, tasks: &Tasks) -> anyhow::Result<()> {
    let path = socket_in(data_dir);
    let shown = path.display().to_string();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace `{shown}`"));
        }
        _ => {}
    }
    let reachable = Reachable::new(&path)?;
    let listener =
        tokio::net::UnixListener::bind(reachable.path()).with_context(|| format!("cannot make `{shown}`"))?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    let stopping = tasks.stopping();
    tasks.spawn("control_socket", async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopping).await {
            tracing::error!(%error, "the control socket stopped");
        }
        // It is ours; a successor makes its own.
        let _ = std::fs::remove_file(&path);
    });
    Ok(())
}

/// The address as others reach it: an address that means "all" is shown as this host.
pub(super) fn origin(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let host = if address.ip().is_unspecified() {
        "localhost".to_owned()
    } else if address.is_ipv6() {
        format!("[{}]", address.ip())
    } else {
        address.ip().to_string()
    };
    format!("{scheme}://{host}:{}", address.port())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_console_is_never_public_by_accident() {
        let mut server = Server::default();
        assert!(carries_console(&server).unwrap());
        server.listen = "0.0.0.0:8080".parse().unwrap();
        assert!(carries_console(&server).unwrap_err().to_string().contains("admin_listen"));
        server.admin_on_public_port = true;
        assert!(carries_console(&server).unwrap());
        server.admin_listen = Some("127.0.0.1:8081".parse().unwrap());
        assert!(!carries_console(&server).unwrap());
    }

    #[test]
    fn a_port_in_use_is_said_in_words() {
        let taken = bind("127.0.0.1:0".parse().unwrap(), "--listen").unwrap();
        let told = bind(taken.local_addr().unwrap(), "--listen").unwrap_err().to_string();
        assert!(told.contains("in use") && told.contains("--listen"), "{told}");
    }

    #[test]
    fn an_address_that_means_all_is_shown_as_this_host() {
        assert_eq!(origin("0.0.0.0:80".parse().unwrap(), false), "http://localhost:80");
        assert_eq!(origin("[::1]:9".parse().unwrap(), true), "https://[::1]:9");
    }
}
