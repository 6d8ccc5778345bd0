//! `[server]`: the process.

use super::{ByteSize, Network, Placed, SecretRef};
use crate::settings::overload::Overload;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// `[server]`: the process.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Where the data plane listens.
    pub listen: SocketAddr,
    /// SQLite files, spool, last snapshot.
    pub data_dir: PathBuf,
    /// A port of their own for `/api`, `/` and `/metrics`.
    pub admin_listen: Option<SocketAddr>,
    /// Proxies whose `x-forwarded-for` is believed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Network>,
    /// Allows `/api`, `/` and `/metrics` on a `listen` that is not loopback.
    pub admin_on_public_port: bool,
    /// TLS on `listen`.
    pub tls: Option<Tls>,
    /// The key-encryption key. `None`: a file in `data_dir`, made when absent.
    pub master_key: Option<Placed<SecretRef>>,
    /// The largest request body.
    pub max_body: ByteSize,
    /// The cap of all bodies in memory together. `None`: chosen by the gateway.
    pub max_memory: Option<ByteSize>,
    /// How many calls may be under way, and what may wait.
    #[serde(skip_serializing_if = "Overload::is_usual")]
    pub overload: Overload,
    /// How a stop goes.
    pub drain: DrainTimes,
    /// The size at which the spool begins a new file.
    pub segment_bytes: ByteSize,
    /// How the process writes its own log.
    pub log: LogFormat,
    /// Providers may be at loopback and private addresses.
    pub allow_private_upstreams: bool,
    /// Who may sign up. `None`: everybody on loopback, elsewhere whoever is invited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_up: Option<SignUp>,
}

/// Who may sign up to the console.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignUp {
    /// Everybody.
    Open,
    /// Whoever is invited.
    Invite,
    /// Nobody.
    Closed,
}

impl Default for Server {
    fn default() -> Self {
        Server {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            data_dir: PathBuf::from("tidegate-data"),
            admin_listen: None,
            trusted_proxies: Vec::new(),
            admin_on_public_port: false,
            tls: None,
            master_key: None,
            max_body: ByteSize(32 << 20),
            max_memory: None,
            overload: Overload::default(),
            drain: DrainTimes::default(),
            segment_bytes: ByteSize(64 << 20),
            log: LogFormat::Text,
            allow_private_upstreams: true,
            sign_up: None,
        }
    }
}

/// A certificate and its key: paths of PEM files.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Tls {
    /// The chain, leaf first.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// The two spans of a graceful stop.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
pub struct DrainTimes {
    /// Connections are still accepted for this long, while `/readyz` says no.
    pub accept: Duration,
    /// Whatever is under way is ended after this long.
    pub deadline: Duration,
}

impl Default for DrainTimes {
    fn default() -> Self {
        DrainTimes { accept: Duration::from_secs(5), deadline: Duration::from_secs(30) }
    }
}

/// How the process writes its own log.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}
