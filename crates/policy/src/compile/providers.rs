//! Providers: the vendor's row, what the document says otherwise, the credential.

use super::{Work, vendor_names};
use crate::adaptive::Adaptive;
use crate::catalogue::{Kind, Quirk, ShapedDoor, Vendor, built_in};
use crate::ids::{Name, NameMap};
use crate::key::Secret;
use crate::nearest;
use crate::settings::{EnvironmentDocument, ModelList, Placed, ProviderDocument, SecretRef, base_url};
use crate::snapshot::{Auth, Dialect, Endpoint, Origin, Provider, Shaped, Timeouts};
use std::sync::Arc;

/// Connections open at once where the document does not say.
const CONNECTIONS: u32 = 1_024;

/// Where the simulated provider is before it is anywhere: a port where nothing listens (discard).
const NOWHERE: &str = "http://127.0.0.1:9/v1";

/// The providers of an environment. One with an error stands there all the same, as far as it can be told: nothing of
/// this is published then, and whatever refers to it by name must not be called a mistake as well.
pub(super) fn compile(work: &mut Work<'_>, described: &EnvironmentDocument) -> NameMap<Arc<Provider>> {
    let mut providers = NameMap::default();
    for (name, said) in &described.providers {
        providers.insert(name.clone(), Arc::new(provider(work, name, said)));
    }
    providers
}

fn provider(work: &mut Work<'_>, name: &Name, said: &ProviderDocument) -> Provider {
    let vendor = vendor(work, name, said);
    let mut credentials = credentials(work, name, said, vendor).into_iter();
    let credential = credentials.next();
    let unknown = said.vendor.is_some() && vendor.is_none();
    let place = if unknown { None } else { Place::of(work, name, said, vendor) };
    let place = place.unwrap_or_else(Place::nowhere);
    let auth = |dialect| auth(vendor, dialect, credential.is_some());
    let quirks = vendor.map(|vendor| vendor.quirks.clone()).unwrap_or_default();
    let mut provider = Provider {
        name: name.clone(),
        vendor: vendor.map_or_else(|| "custom".into(), |vendor| vendor.name.clone()),
        dialect: place.dialect,
        also: Vec::new(),
        responses: None,
        rerank: None,
        embed: None,
        api_version: said.api_version.as_ref().map(|said| said.value.clone()),
        quirks,
        exceptions: vendor.map(|vendor| vendor.exceptions.clone()).unwrap_or_default(),
        auth: auth(place.dialect),
        origin: place.origin,
        base_path: place.base_path,
        abort_stops_billing: said.abort_stops_billing.unwrap_or(vendor.is_none_or(|v| v.abort_stops_billing)),
        stream_usage: said.stream_usage.unwrap_or(vendor.is_none_or(|v| v.stream_usage)),
        ca: said.ca.clone(),
        timeouts: said.timeouts.over(Timeouts::default()),
        headers: said.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        max_connections: said.max_connections.unwrap_or(CONNECTIONS),
        max_concurrency: said.max_concurrency,
        adaptive: said.adaptive.unwrap_or(match vendor.map(|vendor| vendor.kind) {
            Some(Kind::Vendor) => Adaptive::Aimd,
            _ => Adaptive::Off,
        }),
        discover: said.models == ModelList::Discover,
        simulated: vendor.is_some_and(|vendor| vendor.simulated),
        // The simulated provider is in this process, unless somebody says that it is elsewhere.
        may_be_private: work.may_be_private
            || (said.base_url.is_none() && vendor.is_some_and(|vendor| vendor.simulated)),
        credential: None,
        credential_name: None,
        weight: 1.0,
        others: Box::default(),
    };
    provider.quirks.sort_unstable();
    if let Some(vendor) = vendor {
        further(&mut provider, vendor, said, &auth);
    }
    if let Some(responses) = &said.responses {
        let usual = provider.endpoint(Dialect::OpenAi).map(|(path, _)| path.clone());
        provider.responses = if responses.value { provider.responses.or(usual) } else { None };
    }
    if let Some(first) = credential {
        let first = first.of(&provider);
        let others = credentials.map(|credential| Arc::new(credential.of(&first))).collect();
        provider = Provider { others, ..first };
    }
    remarks(work, said, &provider);
    provider
}

/// The vendor's row: that of `vendor`, else that of the provider's own name.
fn vendor(work: &mut Work<'_>, name: &Name, said: &ProviderDocument) -> Option<&'static Vendor> {
    let Some(named) = &said.vendor else { return built_in().vendor(name) };
    let vendor = built_in().vendor(&named.value);
    if vendor.is_none() {
        let help = match nearest::one(&named.value, vendor_names()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "leave `vendor` out and give `base_url`".to_owned(),
        };
        let message = format!("provider `{name}`: there is no known vendor `{}`", named.value);
        work.findings.error(named.at, message, Some(help));
    }
    vendor
}

/// Where a provider is, and how it speaks there.
struct Place {
    dialect: Dialect,
    origin: Origin,
    base_path: Name,
}

impl Place {
    /// That of a provider whose address is an error.
    fn nowhere() -> Place {
        let origin = Origin { tls: false, host: "127.0.0.1".into(), port: 9 };
        Place { dialect: Dialect::OpenAi, origin, base_path: "/v1".into() }
    }

    fn of(
        work: &mut Work<'_>,
        name: &Name,
        said: &ProviderDocument,
        vendor: Option<&Vendor>,
    ) -> Option<Place> {
        let usual = vendor.map_or(Dialect::OpenAi, |vendor| vendor.dialect);
        let dialect = said.dialect.as_ref().map_or(usual, |said| said.value);
        let demo = || {
            let known = vendor.is_some_and(|vendor| vendor.simulated);
            known.then(|| work.document.demo_base.as_deref().unwrap_or(NOWHERE))
        };
        let own = said.base_url.as_ref().map(|base| &*base.value);
        let row = || vendor?.door(dialect)?.base_url.as_deref();
        let Some(text) = own.or_else(demo).or_else(row) else {
            nowhere(work, name, said, vendor, dialect);
            return None;
        };
        let at = said.base_url.as_ref().map_or(said.at, |base| base.at);
        let (origin, mut path) = match base_url(text) {
            Ok(placed) => placed,
            Err(why) => {
                let message = format!("the base URL of provider `{name}` cannot be used: {why}");
                work.findings.error(at, message, None);
                return None;
            }
        };
        if dialect == Dialect::Gemini && path.ends_with("/openai") {
            let message =
                format!("the base URL of provider `{name}` is Gemini's door for the openai dialect");
            let help = "add `dialect = \"openai\"`, or name the root, without `/v1beta/openai`";
            work.findings.error(at, message, Some(help.to_owned()));
            return None;
        }
        if let Some(root) = vendor.and_then(|vendor| vendor.root_path.as_ref()).filter(|_| path.is_empty()) {
            path.push_str(root);
        }
        Some(Place { dialect, origin, base_path: dialect.versioned(&path) })
    }
}

/// Says why there is no address.
fn nowhere(
    work: &mut Work<'_>,
    name: &Name,
    said: &ProviderDocument,
    vendor: Option<&Vendor>,
    dialect: Dialect,
) {
    let example = "give `base_url`, such as \"http://127.0.0.1:8000/v1\"";
    let (message, help) = match vendor {
        None => {
            let help = match nearest::one(name, vendor_names()) {
                Some(near) => format!("did you mean `providers.{near}`?"),
                None => example.to_owned(),
            };
            (format!("`{name}` is not a known vendor, so it needs a `base_url`"), help)
        }
        Some(vendor) if vendor.door(dialect).is_some() => {
            let why = vendor.note.as_deref().unwrap_or(example);
            (
                format!("provider `{name}` has no `base_url`, and {} has none for everybody", vendor.title),
                why.into(),
            )
        }
        Some(vendor) => {
            let spoken: Vec<_> = vendor.doors.iter().map(|door| format!("\"{}\"", door.dialect)).collect();
            let message = format!("{} is not known to speak the {dialect} dialect", vendor.title);
            (
                format!("provider `{name}`: {message}"),
                format!("use {}, or give `base_url`", spoken.join(" or ")),
            )
        }
    };
    work.findings.error(said.at, message, Some(help));
}

/// Where a dialect takes the credential: where the vendor has it, else where it is usual.
fn auth(vendor: Option<&Vendor>, dialect: Dialect, credential: bool) -> Auth {
    if !credential {
        return Auth::None;
    }
    match vendor.and_then(|vendor| vendor.door(dialect)).map(|door| &door.auth) {
        None | Some(Auth::None) => dialect.usual_auth(),
        Some(auth) => auth.clone(),
    }
}

/// What else the vendor speaks. A vendor's own address that the document replaces says nothing of its other doors;
/// a server of one's own has them all at one place, whatever stands before the paths.
fn further(
    provider: &mut Provider,
    vendor: &Vendor,
    said: &ProviderDocument,
    auth: &dyn Fn(Dialect) -> Auth,
) {
    provider.api_version = provider.api_version.take().or_else(|| vendor.api_version.clone());
    let moved = match (&said.base_url, vendor.door(provider.dialect)) {
        (None, _) if vendor.simulated => None,
        (None, _) => Some(""),
        (Some(_), Some(door)) if vendor.kind == Kind::Server => {
            provider.base_path.strip_suffix(&*door.base_path)
        }
        (Some(_), _) => None,
    };
    let Some(before) = moved.map(str::to_owned) else {
        let usual = provider.endpoint(Dialect::OpenAi).map(|(path, _)| path.clone());
        provider.responses = usual.filter(|_| vendor.responses && vendor.responses_path.is_none());
        // Another address whose path is the vendor's own is a relay before it, where the rest lies as well.
        let own = vendor.door(provider.dialect).map(|door| &*door.base_path).filter(|path| !path.is_empty());
        let before = own.and_then(|own| provider.base_path.strip_suffix(own)).map(str::to_owned);
        if let Some(before) = before {
            shaped(provider, vendor, &before);
        }
        return;
    };
    let placed = |path: &Name| Name::from(format!("{before}{path}"));
    let others =
        vendor.doors.iter().filter(|door| door.dialect != provider.dialect && door.base_url.is_some());
    provider.also = others
        .map(|door| Endpoint {
            dialect: door.dialect,
            base_path: placed(&door.base_path),
            auth: auth(door.dialect),
        })
        .collect();
    if vendor.responses {
        let usual = vendor.door(Dialect::OpenAi).map(|door| &door.base_path);
        provider.responses = vendor.responses_path.as_ref().or(usual).map(placed);
    }
    shaped(provider, vendor, before.as_str());
}

/// Where it makes embeddings and sorts documents in a shape of its own.
fn shaped(provider: &mut Provider, vendor: &Vendor, before: &str) {
    let place =
        |door: &ShapedDoor| Shaped { shape: door.shape, path: format!("{before}{}", door.path).into() };
    provider.rerank = vendor.rerank.as_ref().map(place);
    provider.embed = vendor.embed.as_ref().map(place);
}

/// What is accepted and does nothing, or not what one may think.
fn remarks(work: &mut Work<'_>, said: &ProviderDocument, provider: &Provider) {
    let name = &provider.name;
    let by_deployment = provider.has(Quirk::DeploymentPaths);
    if let (Some(version), false) = (&said.api_version, by_deployment) {
        let message = format!("`providers.{name}.api_version` has no effect: its paths carry none");
        work.findings.warning(version.at, message, None);
    }
}

/// One credential of a provider.
struct Credential {
    /// Where there are several.
    name: Option<Name>,
    weight: f64,
    secret: Secret,
}

impl Credential {
    /// The provider with this one.
    fn of(self, provider: &Provider) -> Provider {
        Provider {
            credential: Some(self.secret),
            credential_name: self.name,
            weight: self.weight,
            ..provider.clone()
        }
    }
}

/// The credentials, where any is needed, by their names; also none after a finding.
fn credentials(
    work: &mut Work<'_>,
    name: &Name,
    said: &ProviderDocument,
    vendor: Option<&Vendor>,
) -> Vec<Credential> {
    if said.credentials.is_empty() {
        let secret = credential(work, name, said, vendor);
        return secret.map(|secret| Credential { name: None, weight: 1.0, secret }).into_iter().collect();
    }
    if let Some(one) = &said.credential {
        let message = format!("provider `{name}` has both `credential` and `credentials`");
        let help = format!("move it to `[providers.{name}.credentials.NAME]`, or take one of them out");
        work.findings.error(one.at, message, Some(help));
    }
    let mut all: Vec<Credential> = Vec::with_capacity(said.credentials.len());
    for (own, described) in &said.credentials {
        let whose = format!("the credential `{own}` of provider `{name}`");
        let Some(secret) = secret(work, &whose, &described.credential) else { continue };
        let same = |known: &&Credential| known.secret.expose() == secret.expose();
        if let Some(Credential { name: Some(known), .. }) = all.iter().find(same) {
            let message = format!("{whose} is the same as `{known}`, and counts as that one alone");
            work.findings.warning(described.credential.at, message, None);
            continue;
        }
        all.push(Credential { name: Some(own.clone()), weight: described.weight, secret });
    }
    all
}

/// The one credential, where one is needed; also `None` after a finding.
fn credential(
    work: &mut Work<'_>,
    name: &Name,
    said: &ProviderDocument,
    vendor: Option<&Vendor>,
) -> Option<Secret> {
    let Some(reference) = &said.credential else {
        // Whoever moves a vendor's address may have something in between that signs in; a vendor that has no address
        // of its own is always moved.
        let moved = said.base_url.is_some() && vendor.is_some_and(|vendor| vendor.base_url().is_some());
        let vendor = vendor.filter(|vendor| *vendor.auth() != Auth::None && !moved)?;
        let variable = vendor.key_variables.first().map_or("NAME", |variable| variable);
        let message = format!("provider `{name}` has no credential");
        work.findings.error(said.at, message, Some(format!("add `credential = \"env:{variable}\"`")));
        return None;
    };
    secret(work, &format!("the credential of provider `{name}`"), reference)
}

/// A secret that can be sent in a header.
fn secret(work: &mut Work<'_>, whose: &str, reference: &Placed<SecretRef>) -> Option<Secret> {
    match work.secret(&reference.value) {
        Ok(secret) if secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) => Some(secret),
        Ok(_) => {
            let message = format!("{whose} cannot be sent in a header");
            let help = "it holds spaces or characters that are not ASCII: is it the right file or variable?";
            work.findings.error(reference.at, message, Some(help.to_owned()));
            None
        }
        Err(why) => {
            work.no_secret(reference.at, format!("{whose}: {why}"), None);
            None
        }
    }
}
