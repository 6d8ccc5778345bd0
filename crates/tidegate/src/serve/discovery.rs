//! Asks providers with `models = "discover"` what they serve: at the start, when settings change, and every
//! five minutes. A provider that does not answer keeps the models it last named.

use super::engine::Engine;
use policy::{Name, Provider};
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(300);
/// While a provider does not answer, it is asked more often: it is probably being started.
const RETRY: Duration = Duration::from_secs(15);
const WITHIN: Duration = Duration::from_secs(10);

/// Starts asking.
pub(crate) fn start(engine: &Arc<Engine>) {
    engine.tasks.spawn("discovery", run(engine.clone()));
}

async fn run(engine: Arc<Engine>) {
    let mut stopping = std::pin::pin!(engine.tasks.stopping());
    loop {
        let failed = tokio::select! {
            () = &mut stopping => return,
            failed = ask_all(&engine) => failed,
        };
        tokio::select! {
            () = &mut stopping => return,
            () = engine.wake_discovery.notified() => {}
            () = tokio::time::sleep(if failed { RETRY } else { EVERY }) => {}
        }
    }
}

/// The providers to ask, each with its name among all environments.
pub(crate) fn discovering(engine: &Engine) -> Vec<(Name, Arc<Provider>)> {
    let Some(snapshot) = engine.gateway.snapshot() else { return Vec::new() };
    let environments = snapshot.environments.values();
    environments
        .flat_map(|environment| {
            let asked = environment.providers().filter(|provider| provider.discover);
            asked.map(|provider| (full_name(&environment.name, &provider.name), provider.clone()))
        })
        .collect()
}

pub(crate) fn full_name(environment: &str, provider: &str) -> Name {
    format!("{environment}/{provider}").into()
}

/// Asks each in turn; whether any did not answer.
async fn ask_all(engine: &Engine) -> bool {
    let (mut changed, mut failed) = (false, false);
    for (name, provider) in discovering(engine) {
        let answer = gateway::list_models(&provider, WITHIN).await;
        let mut state = engine.state.lock();
        match answer {
            Ok(mut models) => {
                models.sort();
                models.dedup();
                if state.discovery_errors.remove(&name).is_some() {
                    tracing::info!(provider = %name, "the provider answers again");
                }
                if state.discovered.models.get(&name) != Some(&models) {
                    tracing::info!(provider = %name, models = models.len(), "models discovered");
                    state.discovered.models.insert(name, models);
                    changed = true;
                }
            }
            Err(error) => {
                failed = true;
                let reason = error.to_string();
                if state.discovery_errors.get(&name) != Some(&reason) {
                    tracing::warn!(provider = %name, error = reason, "the provider's models cannot be listed");
                    state.discovery_errors.insert(name, reason);
                }
            }
        }
    }
    if changed {
        engine.republish(&engine.state.lock());
    }
    failed
}
