//! Providers: the vendor's row, what the document says otherwise, the credential.

use super::{Work, vendor_names};
use crate::catalogue::{Vendor, built_in};
use crate::ids::Name;
use crate::key::Secret;
use crate::nearest;
use crate::settings::{EnvironmentDocument, ModelList, ProviderDocument, base_url};
use crate::snapshot::{Auth, Origin, Provider, Timeouts};
use std::collections::HashMap;
use std::sync::Arc;

/// Connections open at once where the document does not say.
const CONNECTIONS: u32 = 1_024;

/// Where the simulated provider is before it is anywhere: a port where nothing listens (discard).
const NOWHERE: &str = "http://127.0.0.1:9/v1";

/// The providers of an environment. One with an error stands there all the same, as far as it can be told: nothing of
/// this is published then, and whatever refers to it by name must not be called a mistake as well.
pub(super) fn compile(work: &mut Work<'_>, described: &EnvironmentDocument) -> HashMap<Name, Arc<Provider>> {
    let mut providers = HashMap::with_capacity(described.providers.len());
    for (name, said) in &described.providers {
        if let Some(responses) = &said.responses {
            let message = format!("`providers.{name}.responses` has no effect in this version");
            work.findings.warning(responses.at, message, None);
        }
        providers.insert(name.clone(), Arc::new(provider(work, name, said)));
    }
    providers
}

fn provider(work: &mut Work<'_>, name: &Name, said: &ProviderDocument) -> Provider {
    let vendor = built_in().vendor(name);
    let credential = credential(work, name, said, vendor);
    let (origin, base_path) = base(work, name, said, vendor);
    let auth = match (vendor.map_or(&Auth::Bearer, |vendor| &vendor.auth), &credential) {
        (_, None) => Auth::None,
        (Auth::None, Some(_)) => Auth::Bearer,
        (auth, Some(_)) => auth.clone(),
    };
    Provider {
        name: name.clone(),
        vendor: vendor.map_or_else(|| "custom".into(), |vendor| vendor.name.clone()),
        origin,
        base_path,
        credential,
        auth,
        abort_stops_billing: said.abort_stops_billing.unwrap_or(vendor.is_none_or(|v| v.abort_stops_billing)),
        stream_usage: said.stream_usage.unwrap_or(vendor.is_none_or(|v| v.stream_usage)),
        ca: said.ca.clone(),
        timeouts: said.timeouts.over(Timeouts::default()),
        headers: said.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        max_connections: said.max_connections.unwrap_or(CONNECTIONS),
        discover: said.models == ModelList::Discover,
        simulated: vendor.is_some_and(|vendor| vendor.simulated),
    }
}

/// The origin of a provider whose base URL is an error.
fn nowhere() -> (Origin, Name) {
    (Origin { tls: false, host: "127.0.0.1".into(), port: 9 }, "/v1".into())
}

fn base(
    work: &mut Work<'_>,
    name: &Name,
    said: &ProviderDocument,
    vendor: Option<&Vendor>,
) -> (Origin, Name) {
    let demo = || {
        let known = vendor.is_some_and(|vendor| vendor.simulated);
        known.then(|| work.document.demo_base.as_deref().unwrap_or(NOWHERE))
    };
    let own = said.base_url.as_ref().map(|base| &*base.value);
    let text = own.or_else(demo).or_else(|| vendor?.base_url.as_deref());
    let Some(text) = text else {
        let help = match nearest::one(name, vendor_names()) {
            Some(near) => format!("did you mean `providers.{near}`?"),
            None => "give `base_url`, such as \"http://127.0.0.1:8000/v1\"".to_owned(),
        };
        let message = format!("`{name}` is not a known vendor, so it needs a `base_url`");
        work.findings.error(said.at, message, Some(help));
        return nowhere();
    };
    match base_url(text) {
        Ok((origin, path)) => (origin, path.into()),
        Err(why) => {
            let at = said.base_url.as_ref().map_or(said.at, |base| base.at);
            work.findings.error(at, format!("the base URL of provider `{name}` cannot be used: {why}"), None);
            nowhere()
        }
    }
}

/// The credential, where one is needed; also `None` after a finding.
fn credential(
    work: &mut Work<'_>,
    name: &Name,
    said: &ProviderDocument,
    vendor: Option<&Vendor>,
) -> Option<Secret> {
    let Some(reference) = &said.credential else {
        let vendor = vendor.filter(|vendor| vendor.auth != Auth::None && said.base_url.is_none())?;
        let variable = vendor.key_variables.first().map_or("NAME", |variable| variable);
        let message = format!("provider `{name}` has no credential");
        work.findings.error(said.at, message, Some(format!("add `credential = \"env:{variable}\"`")));
        return None;
    };
    match work.secret(&reference.value) {
        Ok(secret) if secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) => Some(secret),
        Ok(_) => {
            let message = format!("the credential of provider `{name}` cannot be sent in a header");
            let help = "it holds spaces or characters that are not ASCII: is it the right file or variable?";
            work.findings.error(reference.at, message, Some(help.to_owned()));
            None
        }
        Err(why) => {
            work.no_secret(reference.at, format!("the credential of provider `{name}`: {why}"), None);
            None
        }
    }
}
