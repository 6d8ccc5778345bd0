//! TLS towards providers: the system's roots, or the one authority that a provider names.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// The configuration for a provider; made once for the system's roots, since reading them takes milliseconds.
///
/// # Errors
/// A sentence that names the file when a provider's own authority cannot be read.
pub(crate) fn config(authority: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let Some(path) = authority else {
        return Ok(Arc::clone(SYSTEM.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                tracing::warn!("no root certificates found on this system: calls over https will fail");
            }
            Arc::new(build(roots))
        })));
    };
    let named =
        |problem: String| format!("cannot use the certificate authority {}: {problem}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| named(e.to_string()))? {
        roots.add(certificate.map_err(|e| named(e.to_string()))?).map_err(|e| named(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(named("it holds no certificate".to_owned()));
    }
    Ok(Arc::new(build(roots)))
}

fn build(roots: RootCertStore) -> ClientConfig {
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}
