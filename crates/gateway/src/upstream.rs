//! A provider as the data plane sees it: where it is, how to sign in there, and the connections that are open to it.
//!
//! An [`Upstream`] is made when a provider is first called after a release and holds whatever would otherwise be built
//! for each request (paths, host, credential header). Connections outlive releases: they belong to the origin.

pub(crate) mod connect;
pub(crate) mod pool;
mod tls;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use parking_lot::RwLock;
use policy::{Auth, Moment, Name, Provider};
use providers::request::Operation;

use self::pool::Origin;

/// What calls of one provider share.
pub(crate) struct Upstream {
    pub(crate) origin: Arc<Origin>,
    pub(crate) host: HeaderValue,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    paths: [http::Uri; 3],
    provider: Weak<Provider>,
}

impl Upstream {
    /// The request target of an operation.
    pub(crate) fn path(&self, operation: Operation) -> &http::Uri {
        match operation {
            Operation::Chat => &self.paths[0],
            Operation::Completions => &self.paths[1],
            Operation::Embeddings => &self.paths[2],
        }
    }
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct Place {
    tls: bool,
    host: Name,
    port: u16,
    authority: Option<PathBuf>,
    max_connections: u32,
}

/// All upstreams of this process.
#[derive(Default)]
pub(crate) struct Upstreams {
    by_provider: RwLock<HashMap<usize, Arc<Upstream>>>,
    origins: RwLock<HashMap<Place, Arc<Origin>>>,
}

impl Upstreams {
    /// The upstream of a provider. Providers are compared by identity: a new release brings new ones.
    ///
    /// # Errors
    /// A sentence that says what of the provider's settings cannot be used.
    pub(crate) fn of(&self, provider: &Arc<Provider>) -> Result<Arc<Upstream>, String> {
        let identity = Arc::as_ptr(provider) as usize;
        if let Some(upstream) = self.by_provider.read().get(&identity)
            && upstream.provider.strong_count() > 0
        {
            return Ok(Arc::clone(upstream));
        }
        let upstream = Arc::new(self.build(provider)?);
        self.by_provider.write().insert(identity, Arc::clone(&upstream));
        Ok(upstream)
    }

    /// Forgets providers of releases that nothing uses any more.
    pub(crate) fn forget_unused(&self) {
        self.by_provider.write().retain(|_, upstream| upstream.provider.strong_count() > 0);
        let used: Vec<_> = self.by_provider.read().values().map(|u| Arc::as_ptr(&u.origin)).collect();
        self.origins
            .write()
            .retain(|_, origin| Arc::strong_count(origin) > 1 || used.contains(&Arc::as_ptr(origin)));
    }

    /// Closes idle connections that are dead or old.
    pub(crate) fn sweep(&self, now: Moment) {
        let origins: Vec<_> = self.origins.read().values().cloned().collect();
        for origin in origins {
            origin.sweep(now);
        }
    }

    fn build(&self, provider: &Arc<Provider>) -> Result<Upstream, String> {
        let origin = self.origin(provider)?;
        let mut headers = Vec::with_capacity(provider.headers.len() + 1);
        for (name, value) in &provider.headers {
            let name = HeaderName::try_from(name.as_ref())
                .map_err(|_| format!("header name `{name}` is not valid"))?;
            let value = HeaderValue::try_from(value.as_ref())
                .map_err(|_| format!("the value of header `{name}` is not valid"))?;
            headers.push((name, value));
        }
        if let Some(signed) = sign_in(provider)? {
            headers.push(signed);
        }
        let default_port = if provider.origin.tls { 443 } else { 80 };
        let host = if provider.origin.port == default_port {
            provider.origin.host.to_string()
        } else {
            format!("{}:{}", provider.origin.host, provider.origin.port)
        };
        let path = |end: &str| {
            http::Uri::try_from(format!("{}/{end}", provider.base_path))
                .map_err(|_| format!("base_url of provider `{}` is not a valid path", provider.name))
        };
        Ok(Upstream {
            origin,
            host: HeaderValue::try_from(host).map_err(|_| "host is not valid".to_owned())?,
            headers,
            paths: [path("chat/completions")?, path("completions")?, path("embeddings")?],
            provider: Arc::downgrade(provider),
        })
    }

    fn origin(&self, provider: &Provider) -> Result<Arc<Origin>, String> {
        let place = Place {
            tls: provider.origin.tls,
            host: Arc::clone(&provider.origin.host),
            port: provider.origin.port,
            authority: provider.ca.clone(),
            max_connections: provider.max_connections,
        };
        if let Some(origin) = self.origins.read().get(&place) {
            return Ok(Arc::clone(origin));
        }
        let tls = if place.tls { Some(tls::config(place.authority.as_deref())?) } else { None };
        let origin = Arc::new(Origin::new(Arc::clone(&place.host), place.port, tls, place.max_connections));
        Ok(Arc::clone(self.origins.write().entry(place).or_insert(origin)))
    }
}

/// The header that carries the provider's credential; marked sensitive so that no log shows it.
fn sign_in(provider: &Provider) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let Some(credential) = &provider.credential else { return Ok(None) };
    let unusable = |_| {
        format!("the credential of provider `{}` holds characters that no header can carry", provider.name)
    };
    let (name, text) = match &provider.auth {
        Auth::None => return Ok(None),
        Auth::Bearer => (AUTHORIZATION, format!("Bearer {}", credential.expose())),
        Auth::Header(name) => {
            let name = HeaderName::try_from(name.as_ref())
                .map_err(|_| format!("auth header of provider `{}` is not valid", provider.name))?;
            (name, credential.expose().to_owned())
        }
    };
    let mut value = HeaderValue::try_from(text).map_err(unusable)?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}
