//! `[providers.NAME]`: where a provider is, how it speaks, by what credentials it is called.

use super::{Node, named};
use crate::adaptive::Adaptive;
use crate::ids::Name;
use crate::settings::document::{CredentialDocument, ModelList, ProviderDocument, TimeoutsDocument};
use crate::settings::source::{Spot, Value};
use crate::settings::value;
use crate::snapshot::Dialect;
use std::collections::BTreeMap;

pub(super) fn provider(node: &Node<'_, '_>) -> ProviderDocument {
    let headers = node.find("headers").and_then(|(spot, _)| spot.get_ref().as_table());
    let header = |(key, value): (&toml::Spanned<_>, &Spot<'_>)| -> Option<(Name, Name)> {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        Some((name.to_ascii_lowercase().into(), value.get_ref().as_str()?.into()))
    };
    let dialect =
        |text: &str| Dialect::NAMES.iter().find(|(name, _)| *name == text).map(|(_, it)| *it).ok_or(());
    let name = |text: &str| Ok::<_, ()>(Name::from(text));
    ProviderDocument {
        at: node.at,
        credential: node.placed("credential", value::secret),
        credentials: credentials(node),
        vendor: node.placed("vendor", name),
        dialect: node.placed("dialect", dialect),
        api_version: node.placed("api_version", name),
        base_url: node.placed("base_url", |text| Ok::<_, ()>(text.to_owned())),
        models: match node.find("models").map(|(spot, _)| spot.get_ref()) {
            None => ModelList::Open,
            Some(Value::Array(_)) => {
                ModelList::Closed(node.names("models").into_iter().map(|name| name.value).collect())
            }
            Some(_) => ModelList::Discover,
        },
        abort_stops_billing: node.boolean("abort_stops_billing"),
        stream_usage: node.boolean("stream_usage"),
        ca: node.read("ca", value::file),
        headers: headers.into_iter().flatten().filter_map(header).collect(),
        timeouts: timeouts(node),
        responses: node.placed_bool("responses"),
        adaptive: named(&Adaptive::NAMES, node.text("adaptive")),
        max_connections: node.count("max_connections").and_then(|count| u32::try_from(count).ok()),
        max_concurrency: node.count("max_concurrency").and_then(|count| u32::try_from(count).ok()),
    }
}

fn credentials(node: &Node<'_, '_>) -> BTreeMap<Name, CredentialDocument> {
    let read = |node: &Node<'_, '_>| {
        let credential = node.placed("credential", value::secret)?;
        Some(CredentialDocument { credential, weight: node.weight().unwrap_or(1.0) })
    };
    let all = node.named("credentials", read).into_iter();
    all.filter_map(|(name, said)| Some((name, said?))).collect()
}

pub(super) fn timeouts(node: &Node<'_, '_>) -> TimeoutsDocument {
    let Some(node) = node.table("timeouts") else { return TimeoutsDocument::default() };
    TimeoutsDocument {
        connect: node.duration("connect"),
        first_byte: node.duration("first_byte"),
        idle: node.duration("idle"),
        total: node.duration("total"),
    }
}
