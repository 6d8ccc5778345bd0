//! The document of a process without a settings file: providers found in its environment.
//!
//! It makes an ordinary document, which is compiled like any other: so there is one way to a snapshot, and
//! what was found can be printed as a file to go on from.

use crate::catalogue::{Vendor, built_in};
use crate::settings::{Document, EnvironmentDocument, ModelList, Place, Placed, ProviderDocument, SecretRef};
use crate::snapshot::Auth;

/// Reads the well-known environment variables through `get`: keys of vendors, and where servers of one's own
/// are. Always with the provider `demo`, at `demo_base`. Variables that are empty count as absent.
pub fn document_from_environment(get: &dyn Fn(&str) -> Option<String>, demo_base: &str) -> Document {
    let mut document = Document { environments: Vec::new(), ..Document::empty("environment") };
    let mut dev = EnvironmentDocument::dev();
    for vendor in built_in().vendors().iter().filter(|vendor| vendor.found) {
        if let Some(provider) = found(vendor, get) {
            dev.providers.insert(vendor.name.clone(), provider);
        }
    }
    document.environments.push(dev);
    document.set_demo_base(demo_base);
    document
}

fn found(vendor: &Vendor, get: &dyn Fn(&str) -> Option<String>) -> Option<ProviderDocument> {
    let filled = |name: &str| get(name).filter(|value| !value.trim().is_empty());
    let key = vendor.key_variables.iter().find(|name| filled(name).is_some());
    let credential = key.map(|name| Placed { value: SecretRef::Env(name.to_string()), at: Place::default() });
    let base_url = match &vendor.base_variable {
        // A key alone does not say where the server is.
        Some(variable) => Some(Placed { value: server(vendor, &filled(variable)?), at: Place::default() }),
        None => None,
    };
    // A place alone is enough only where nobody has to sign in.
    if credential.is_none() && (base_url.is_none() || *vendor.auth() != Auth::None) {
        return None;
    }
    let models = if vendor.discover { ModelList::Discover } else { ModelList::Open };
    Some(ProviderDocument { credential, base_url, models, ..ProviderDocument::default() })
}

/// A base URL from what people write: `localhost`, `0.0.0.0:11434` (which is where a server listens, not
/// where one connects), `http://host:port`, with or without `/v1`. What has no usual place is on the web.
fn server(vendor: &Vendor, written: &str) -> String {
    let written = written.trim().trim_end_matches('/');
    let usual = vendor.doors.first().and_then(|door| door.origin.as_ref());
    let (scheme, rest) =
        written.split_once("://").unwrap_or((if usual.is_some() { "http" } else { "https" }, written));
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let host = match host {
        "" | "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    let port = match (port, usual) {
        (Some(port), _) => format!(":{port}"),
        (None, Some(usual)) if !written.contains("://") => format!(":{}", usual.port),
        (None, _) => String::new(),
    };
    let path = if path.is_empty() { vendor.root_path.as_deref().unwrap_or("/v1") } else { path };
    format!("{scheme}://{host}{port}{path}")
}

#[cfg(test)]
#[path = "discover/tests.rs"]
mod tests;
