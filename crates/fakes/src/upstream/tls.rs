//! Certificates made at start: an authority, and one server certificate in the state that the test wants.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

/// The certificate that a TLS upstream shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certificate {
    /// For `localhost` and `127.0.0.1`, valid.
    Good,
    /// The same, expired in 2020.
    Expired,
    /// For another name.
    OtherName,
}

/// A server's TLS and the authority (PEM) that a client must trust for it.
pub(super) struct Identity {
    pub(super) config: Arc<rustls::ServerConfig>,
    pub(super) authority: String,
}

/// Makes an authority and a server certificate signed by it.
pub(super) fn identity(certificate: Certificate) -> anyhow::Result<Identity> {
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "fakes authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let names = match certificate {
        Certificate::OtherName => vec!["elsewhere.example.org".to_owned()],
        _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()],
    };
    let mut server = CertificateParams::new(names)?;
    if certificate == Certificate::Expired {
        server.not_before = date_time_ymd(2019, 1, 1);
        server.not_after = date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate()?;
    let signed = server.signed_by(&key, &authority)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![signed.der().clone()], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { config: Arc::new(config), authority: authority.pem() })
}
