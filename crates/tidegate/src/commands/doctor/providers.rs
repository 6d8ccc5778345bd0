//! What the gateway calls: providers and the database server, asked from here.

use super::Check;
use crate::client::{Door, connect};
use crate::secrets::ProcessSecrets;
use crate::serve::cluster::read_url;
use gateway::ProbeError;
use policy::{Document, Provider, Snapshot, StoreSettings, StoreUrl};
use std::sync::Arc;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(8);
/// A Redis is waited for at most this long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Every provider that is not simulated, with its environment and each of its credentials, in a steady order.
pub(super) fn listed(snapshot: &Snapshot) -> Vec<(String, Arc<Provider>)> {
    let mut listed: Vec<(String, Arc<Provider>)> = snapshot
        .environments
        .values()
        .flat_map(|environment| environment.providers().map(move |provider| (environment, provider)))
        .filter(|(_, provider)| !provider.simulated)
        .flat_map(|(environment, provider)| provider.with_each_credential().map(move |by| (environment, by)))
        .map(|(environment, provider)| {
            let credential = provider.credential_name.as_ref();
            let credential = credential.map_or_else(String::new, |name| format!(", credential {name}"));
            (format!("provider {} of {}{credential}", provider.name, environment.name), provider.clone())
        })
        .collect();
    listed.sort_by(|a, b| a.0.cmp(&b.0));
    listed
}

/// Connects, and asks for the models with the credential.
pub(super) async fn look((name, provider): &(String, Arc<Provider>)) -> Check {
    let place = provider.origin.authority();
    match gateway::list_models(provider, WITHIN).await {
        Ok(models) => Check::fine(name, format!("{place} answers and lists {} models", models.len())),
        Err(error) => judge(name, &place, &error, provider.credential.is_some()),
    }
}

fn judge(name: &str, place: &str, error: &ProbeError, has_credential: bool) -> Check {
    match error {
        ProbeError::Credential(status) if has_credential => Check::wrong(
            name,
            format!("{place} answers, but refuses our credential (status {status})"),
            "the key is wrong, expired or of another account; put a fresh one where `credential` points",
        ),
        ProbeError::Credential(status) => Check::wrong(
            name,
            format!("{place} answers, but wants a credential (status {status})"),
            "set `credential = \"env:NAME\"` for this provider",
        ),
        // Some servers speak the model API and list nothing: they can be called all the same.
        ProbeError::Status(404 | 405 | 501) => {
            Check::fine(name, format!("{place} answers; it does not list its models"))
        }
        ProbeError::Status(status) => Check::remark(
            name,
            format!("{place} answers with status {status}"),
            "it is reached, but may be in trouble; look at the provider's own status",
        ),
        ProbeError::Answer(reason) => Check::remark(
            name,
            format!("{place} answers with something that is not a list of models: {reason}"),
            "is `base_url` right? It is what the vendor's own SDK takes, with the version",
        ),
        ProbeError::Unreachable(reason) => Check::wrong(
            name,
            format!("{place} cannot be reached: {reason}"),
            "is the address right, the server running, the way out open (proxy, firewall, certificate)?",
        ),
        ProbeError::Timeout(span) => Check::wrong(
            name,
            format!("{place} said nothing for {} s", span.as_secs()),
            "the way there is blocked or the server hangs",
        ),
        ProbeError::Settings(reason) => Check::wrong(name, reason.clone(), "mend this provider's settings"),
    }
}

/// Whether a database server takes connections; `None` where files are used.
pub(super) async fn look_at_database(store: &StoreSettings) -> Option<Check> {
    let StoreUrl::Postgres(url) = &store.url else { return None };
    let rest = url.split("://").nth(1).unwrap_or_default();
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let Ok((Door::Plain { host, port }, _)) = Door::of_url(&format!("http://{host}")) else {
        // A socket folder or a list of hosts: only the database's own client understands those.
        return None;
    };
    let port = if authority.ends_with(&format!(":{port}")) { port } else { 5432 };
    Some(match connect::reach(&host, port).await {
        Ok(()) => Check::fine("database server", format!("{host}:{port} takes connections")),
        Err(error) => Check::wrong(
            "database server",
            format!("{error:#}"),
            "start it, or mend store.url; meanwhile calls go on with the keys known, and records wait in the spool",
        ),
    })
}

/// Whether the Redis that nodes share answers; `None` without one.
pub(super) async fn look_at_redis(document: &Document) -> Option<Check> {
    let name = "redis";
    let url = match read_url(document.cluster.as_ref(), &document.file, &ProcessSecrets) {
        Ok(url) => url?,
        Err(finding) => return Some(Check::wrong(name, finding.message, "mend cluster.redis")),
    };
    Some(match cluster::probe(&url, PATIENCE).await {
        Ok(version) => Check::fine(name, format!("it answers, version {version}")),
        Err(error) => Check::wrong(
            name,
            error.to_string(),
            "start it, or mend cluster.redis; meanwhile each node admits its share of each limit",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_refused_credential_is_told_in_words() {
        let check = judge("provider openai", "api.openai.com:443", &ProbeError::Credential(401), true);
        assert_eq!(check.verdict, Verdict::Wrong);
        assert!(check.message.contains("refuses our credential") && check.message.contains("401"));
        assert_eq!(judge("p", "h", &ProbeError::Status(404), true).verdict, Verdict::Fine);
    }
}
