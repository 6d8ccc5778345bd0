//! A provider as the data plane sees it: where it is, how to sign in there, and the connections that are open to it.
//!
//! An [`Upstream`] is made when a provider is first called after a release and holds whatever would otherwise be built
//! for each request (paths, host, credential header). Connections outlive releases: they belong to the origin.

mod chunks;
pub(crate) mod connect;
pub(crate) mod pool;
mod tls;
pub(crate) mod wire;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use parking_lot::RwLock;
use policy::{Auth, Deployment, Moment, Name, Provider, Quirk};
use providers::dialects::Dialect;
use providers::request::Operation;

use self::pool::Origin;
use crate::exchange::Exchange;
use crate::lanes::Lane;
use crate::refusal::{Code, Refusal};
use crate::vectors;

/// Connections at once to somebody who is no provider.
const MOST_ASIDE: u32 = 64;

/// What calls of one provider share.
pub(crate) struct Upstream {
    pub(crate) origin: Arc<Origin>,
    /// OpenAI's, Anthropic's and Google's way in, where the provider has them.
    doors: [Option<Door>; 3],
    /// Chat, completions, embeddings, responses, messages, and what Google's models stand below.
    paths: [String; 6],
    provider: Weak<Provider>,
}

/// What requests in one dialect begin with.
struct Door {
    /// Header lines that every request has: host, types, what the settings add, the credential.
    lines: Bytes,
    /// The same without a type of content, for what is no conversation.
    bare: Bytes,
    /// Names that the settings and the credential set: a client's own are left out.
    names: Vec<HeaderName>,
}

static NO_DOOR: Door = Door { lines: Bytes::new(), bare: Bytes::new(), names: Vec::new() };

/// The first line and the headers of a request to a provider, while they are written.
pub(crate) struct RequestHead<'a> {
    door: &'a Door,
    bytes: BytesMut,
}

impl RequestHead<'_> {
    /// Whether the provider's settings set a header of this name.
    pub(crate) fn is_set(&self, name: &HeaderName) -> bool {
        self.door.names.contains(name)
    }

    /// Adds a line; a value of the type cannot hold a line end.
    pub(crate) fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        put_line(&mut self.bytes, name, value);
    }

    /// Ends the head of a request whose body has so many bytes.
    pub(crate) fn finish(mut self, body: usize) -> Bytes {
        self.add(&CONTENT_LENGTH, &HeaderValue::from(body));
        self.finish_bare()
    }

    /// Ends the head of a request that has no body.
    pub(crate) fn finish_bare(mut self) -> Bytes {
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.freeze()
    }
}

fn put_line(bytes: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    bytes.extend_from_slice(name.as_str().as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value.as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

impl Upstream {
    /// The request target of an attempt.
    ///
    /// # Errors
    /// When the model's name cannot stand in a path.
    pub(crate) fn target(
        &self,
        exchange: &Exchange,
        lane: Lane,
        deployment: &Deployment,
    ) -> Result<Cow<'_, str>, Box<Refusal>> {
        let dialect = match lane {
            Lane::Same => exchange.operation.dialect(),
            Lane::Across { provider, .. } => Some(provider),
            Lane::Vectors { provider, .. } => return vectors::target(self, exchange, provider, deployment),
        };
        if deployment.provider.has(Quirk::DeploymentPaths) && matches!(dialect, None | Some(Dialect::Chat)) {
            return self.by_deployment(exchange.operation, deployment);
        }
        Ok(Cow::Borrowed(match dialect {
            Some(Dialect::Chat) => &self.paths[0],
            None if exchange.operation == Operation::Completions => &self.paths[1],
            None => &self.paths[2],
            Some(Dialect::Responses) => &self.paths[3],
            Some(Dialect::Messages) => &self.paths[4],
            Some(Dialect::Gemini) => {
                let stream = exchange.asked.stream;
                let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                return self.gemini(verb, &deployment.upstream_model);
            }
        }))
    }

    /// Where embeddings in OpenAI's dialect are.
    pub(crate) fn embeddings(&self, deployment: &Deployment) -> Result<Cow<'_, str>, Box<Refusal>> {
        match deployment.provider.has(Quirk::DeploymentPaths) {
            true => self.by_deployment(Operation::Embeddings, deployment),
            false => Ok(Cow::Borrowed(&self.paths[2])),
        }
    }

    /// Azure's older form: `{base}/deployments/{model}/chat/completions?api-version=…`.
    fn by_deployment(
        &self,
        operation: Operation,
        deployment: &Deployment,
    ) -> Result<Cow<'_, str>, Box<Refusal>> {
        let model = &deployment.upstream_model;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if model.is_empty() || !model.bytes().all(fits) {
            let message = format!("`{model}` is no deployment name that fits into a path");
            return Err(Refusal::new(Code::InvalidRequest, message).about("model"));
        }
        let end = match operation {
            Operation::Completions => "/completions",
            Operation::Embeddings => "/embeddings",
            _ => "/chat/completions",
        };
        let base = self.paths[0].strip_suffix("/chat/completions").unwrap_or_default();
        let version = deployment.provider.api_version.as_ref();
        let query = version.map_or_else(String::new, |version| format!("?api-version={version}"));
        Ok(Cow::Owned(format!("{base}/deployments/{model}{end}{query}")))
    }

    /// Google puts model and verb into the path.
    pub(crate) fn gemini(&self, verb: &str, model: &str) -> Result<Cow<'_, str>, Box<Refusal>> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
        if model.is_empty() || !model.bytes().all(fits) || model.split('/').any(|part| part == "..") {
            let message = format!("`{model}` is no model name that fits into a path");
            return Err(Refusal::new(Code::InvalidRequest, message).about("model"));
        }
        let path = &self.paths[5];
        Ok(Cow::Owned(format!("{path}/{}:{verb}", google_name(model))))
    }

    /// Begins a request in a dialect (`None`: OpenAI's, or else the provider's own) for a target (path and query, valid
    /// in a request line).
    pub(crate) fn request(
        &self,
        dialect: Option<Dialect>,
        method: &http::Method,
        target: &str,
    ) -> RequestHead<'_> {
        let door = self.door(dialect);
        begin(door, &door.lines, method, target)
    }

    /// The same for a body of any type.
    pub(crate) fn bare_request(
        &self,
        dialect: Option<Dialect>,
        method: &http::Method,
        target: &str,
    ) -> RequestHead<'_> {
        let door = self.door(dialect);
        begin(door, &door.bare, method, target)
    }

    fn door(&self, dialect: Option<Dialect>) -> &Door {
        let door = dialect.and_then(|dialect| self.doors[door_of(dialect)].as_ref());
        door.or_else(|| self.doors.iter().find_map(Option::as_ref)).unwrap_or(&NO_DOOR)
    }
}

fn begin<'a>(door: &'a Door, lines: &Bytes, method: &http::Method, target: &str) -> RequestHead<'a> {
    let mut bytes = BytesMut::with_capacity(2048 + target.len() + lines.len());
    bytes.extend_from_slice(method.as_str().as_bytes());
    bytes.extend_from_slice(b" ");
    bytes.extend_from_slice(target.as_bytes());
    bytes.extend_from_slice(b" HTTP/1.1\r\n");
    bytes.extend_from_slice(lines);
    RequestHead { door, bytes }
}

const fn door_of(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Chat | Dialect::Responses => 0,
        Dialect::Messages => 1,
        Dialect::Gemini => 2,
    }
}

const DOORS: [policy::Dialect; 3] =
    [policy::Dialect::OpenAi, policy::Dialect::Anthropic, policy::Dialect::Gemini];

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
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(provider.headers.len() + 1);
        for (name, value) in &provider.headers {
            let name = HeaderName::try_from(name.as_ref())
                .map_err(|_| format!("header name `{name}` is not valid"))?;
            let value = HeaderValue::try_from(value.as_ref())
                .map_err(|_| format!("the value of header `{name}` is not valid"))?;
            if [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&name) {
                return Err(format!("header `{name}` belongs to the connection and cannot be set"));
            }
            headers.push((name, value));
        }
        let default_port = if provider.origin.tls { 443 } else { 80 };
        let host = if provider.origin.port == default_port {
            provider.origin.host.to_string()
        } else {
            format!("{}:{}", provider.origin.host, provider.origin.port)
        };
        let base = |dialect| provider.endpoint(dialect).map(|(base, _)| &**base);
        let path = |base: Option<&str>, end: &str| {
            let path = base.map_or_else(String::new, |base| format!("{base}{end}"));
            match http::Uri::try_from(if path.is_empty() { "/" } else { &path }) {
                Ok(_) => Ok(path),
                Err(_) => Err(format!("base_url of provider `{}` is not a valid path", provider.name)),
            }
        };
        let host = HeaderValue::try_from(host).map_err(|_| "host is not valid".to_owned())?;
        let [openai, anthropic, gemini] = DOORS;
        let mut doors = [None, None, None];
        for (dialect, door) in DOORS.into_iter().zip(&mut doors) {
            let Some((_, auth)) = provider.endpoint(dialect) else { continue };
            *door = Some(door_to(provider, auth, &host, headers.clone())?);
        }
        Ok(Upstream {
            origin,
            doors,
            paths: [
                path(base(openai), "/chat/completions")?,
                path(base(openai), "/completions")?,
                path(base(openai), "/embeddings")?,
                path(provider.responses.as_deref(), "/responses")?,
                path(base(anthropic), "/messages")?,
                path(base(gemini), "")?,
            ],
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
        self.origin_at(place)
    }

    /// Who is asked besides providers; with connections of its own.
    pub(crate) fn at(&self, origin: &policy::Origin) -> Result<Arc<Origin>, String> {
        let policy::Origin { tls, host, port } = origin;
        let host = Arc::clone(host);
        self.origin_at(Place { tls: *tls, host, port: *port, authority: None, max_connections: MOST_ASIDE })
    }

    fn origin_at(&self, place: Place) -> Result<Arc<Origin>, String> {
        if let Some(origin) = self.origins.read().get(&place) {
            return Ok(Arc::clone(origin));
        }
        let tls = if place.tls { Some(tls::config(place.authority.as_deref())?) } else { None };
        let origin = Arc::new(Origin::new(Arc::clone(&place.host), place.port, tls, place.max_connections));
        Ok(Arc::clone(self.origins.write().entry(place).or_insert(origin)))
    }
}

/// A model as Google names it.
pub(crate) fn google_name(model: &str) -> String {
    let whole = ["models/", "tunedModels/"].iter().any(|kind| model.starts_with(kind));
    if whole { model.to_owned() } else { format!("models/{model}") }
}

/// The lines with which requests in one dialect begin.
fn door_to(
    provider: &Provider,
    auth: &Auth,
    host: &HeaderValue,
    mut headers: Vec<(HeaderName, HeaderValue)>,
) -> Result<Door, String> {
    headers.extend(sign_in(provider, auth)?);
    let mut bare = BytesMut::new();
    put_line(&mut bare, &HOST, host);
    if !headers.iter().any(|(own, _)| *own == ACCEPT_ENCODING) {
        put_line(&mut bare, &ACCEPT_ENCODING, &HeaderValue::from_static("identity"));
    }
    for (name, value) in &headers {
        put_line(&mut bare, name, value);
    }
    let mut lines = bare.clone();
    if !headers.iter().any(|(own, _)| *own == CONTENT_TYPE) {
        put_line(&mut lines, &CONTENT_TYPE, &HeaderValue::from_static("application/json"));
    }
    let names = headers.into_iter().map(|(name, _)| name).collect();
    Ok(Door { lines: lines.freeze(), bare: bare.freeze(), names })
}

/// Where a provider speaks OpenAI's dialect, in which models are listed.
pub(crate) fn openai(provider: &Provider) -> Result<(&Name, &Auth), String> {
    provider.endpoint(policy::Dialect::OpenAi).ok_or_else(|| {
        format!(
            "provider `{}` speaks the {} dialect; its models are not listed by the gateway, name them in `models`",
            provider.name, provider.dialect
        )
    })
}

/// The header that carries the provider's credential; marked sensitive so that no log shows it.
fn sign_in(provider: &Provider, auth: &Auth) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let Some(credential) = &provider.credential else { return Ok(None) };
    let unusable = |_| {
        format!("the credential of provider `{}` holds characters that no header can carry", provider.name)
    };
    let (name, text) = match auth {
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
