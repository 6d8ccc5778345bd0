//! What is known of whoever asks besides who they are: address, browser, and whether they came by a loopback name or by TLS.

use super::Identity;
use crate::{Admin, ApiError};
use axum::extract::{ConnectInfo, FromRequestParts};
use http::header;
use http::request::Parts;
use policy::{Secret, SignUp};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const LONGEST_AGENT: usize = 200;

/// Whoever asks.
pub(crate) struct Visitor {
    /// The address that is counted; empty on the socket.
    pub(crate) address: String,
    /// What the browser calls itself, as far as it can be shown.
    pub(crate) agent: String,
    /// The name that was asked for means this machine.
    by_loopback_name: bool,
    tls: bool,
}

impl FromRequestParts<Admin> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Admin) -> Result<Self, Infallible> {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        let address = parts.extensions.get::<IpAddr>().copied().or(peer);
        let agent = text(header::USER_AGENT).chars().filter(|c| !c.is_control()).take(LONGEST_AGENT);
        Ok(Self {
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            agent: agent.collect(),
            by_loopback_name: is_loopback_name(text(header::HOST)) && !came_by_proxy(&parts.headers),
            tls: text(header::HeaderName::from_static("x-forwarded-proto")) == "https",
        })
    }
}

/// `localhost:8080`, `127.0.0.1`, `[::1]:8080`. Any other name may have been made to lead here by somebody else.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A proxy on this machine speaks for others, whatever name it asks for.
fn came_by_proxy(headers: &http::HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip" | "via")
    })
}

impl Visitor {
    /// Who may sign up by this way.
    pub(crate) fn sign_up(&self, identity: &Identity) -> SignUp {
        let open = identity.loopback && self.by_loopback_name;
        identity.sign_up.unwrap_or(if open { SignUp::Open } else { SignUp::Invite })
    }

    /// The cookie of a session, for so long.
    pub(crate) fn cookie(&self, identity: &Identity, secret: &Secret, lasts: Duration) -> String {
        self.write_cookie(identity, secret.expose(), lasts.as_secs())
    }

    /// The cookie that takes it away.
    pub(crate) fn no_cookie(&self, identity: &Identity) -> String {
        self.write_cookie(identity, "", 0)
    }

    fn write_cookie(&self, identity: &Identity, value: &str, seconds: u64) -> String {
        let secure = if identity.secure || self.tls { "; Secure" } else { "" };
        let name = crate::access::COOKIE;
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")
    }
}

/// Says how long to wait.
pub(crate) fn too_many(wait: Duration) -> ApiError {
    ApiError::TooMany(wait.as_secs().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for name in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "[::1]:80", "127.8.8.8"] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in [
            "",
            "localhost.evil.example",
            "evil.example:8080",
            "10.0.0.1",
            "127.0.0.1.nip.io",
            "[::2]",
            "0.0.0.0",
        ] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }
}
