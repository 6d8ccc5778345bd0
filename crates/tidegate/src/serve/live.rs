//! What the control plane sees of the running process.

use super::discovery::full_name;
use super::engine::Engine;
use super::keeper::kind_of;
use admin::live::{
    BearingState, EnvironmentState, LiveState, Owner, ProviderState, SpoolState, StandingState, StoreState,
};
use admin::{BudgetPlace, Live};
use policy::{KeyOrigin, KeyRecord, Name};
use store::{Declared, HostedEnvironment};

impl Live for Engine {
    fn upsert_key(&self, record: KeyRecord) {
        self.keyring.upsert(record);
        self.wake_saver.notify_one();
    }

    fn keys(&self) -> Vec<KeyRecord> {
        self.keyring.all().iter().map(|key| key.record.clone()).collect()
    }

    fn declares_secret(&self, record: &KeyRecord) -> bool {
        record.origin == KeyOrigin::File
            && self.state.lock().file_keys.iter().any(|key| key.id == record.id && key.hash.is_some())
    }

    fn environments(&self) -> Vec<Name> {
        let state = self.state.lock();
        let declared = state.document.iter().flat_map(|document| &document.environments);
        let mut all: Vec<Name> = declared.map(|environment| environment.name.clone()).collect();
        let hosted = state.hosting.environments.iter().map(|hosted| &hosted.handle);
        all.extend(hosted.filter(|handle| !all.contains(handle)).cloned().collect::<Vec<_>>());
        all
    }

    fn places(&self) -> Vec<Declared> {
        let state = self.state.lock();
        let environments = state.document.iter().flat_map(|document| &document.environments);
        let place = |environment: &policy::EnvironmentDocument| Declared {
            organization: environment.organization.clone(),
            workspace: environment.workspace.clone(),
            environment: environment.name.clone(),
            layer: environment.layer.as_str().into(),
        };
        environments.map(place).collect()
    }

    fn doubt_model(&self, environment: &Name, allowed: &str) -> Option<String> {
        let snapshot = self.gateway.snapshot()?;
        let doubt = snapshot.environments.get(environment)?.doubt_allowed(allowed)?;
        Some(match doubt.help {
            Some(help) => format!("{}; {help}", doubt.message),
            None => doubt.message,
        })
    }

    fn budgets(&self) -> Vec<admin::KnownBudget> {
        let adds_up = |rule: &policy::BudgetRule| rule.window != policy::Window::Request;
        let mut all = Vec::new();
        for key in self.keyring.all() {
            let own = key.record.budgets.iter().filter(|rule| adds_up(rule));
            all.extend(own.map(|rule| admin::KnownBudget {
                scope: key.budget_scope(rule),
                whole: true,
                whose: format!("key {}", key.record.name),
                place: BudgetPlace::Environment(key.record.environment.clone()),
                rule: rule.clone(),
            }));
        }
        all.extend(
            self.gateway.shared_budgets().into_iter().filter(|(_, shared)| adds_up(&shared.rule)).map(
                |(scope, shared)| admin::KnownBudget {
                    place: place_of(&scope, shared.per),
                    scope,
                    whole: false,
                    whose: shared.per.words().to_owned(),
                    rule: shared.rule.clone(),
                },
            ),
        );
        all
    }

    fn crossed(&self) -> Vec<(policy::Timestamp, ledger::Crossed)> {
        self.ledger.crossed().0
    }

    fn balances(&self) -> Vec<ledger::Balance> {
        self.ledger.balances()
    }

    fn shares_budgets(&self) -> bool {
        self.ledger.sharing().is_some()
    }

    fn explain(&self, asked: admin::Explain) -> Result<serde_json::Value, String> {
        let mut headers = http::HeaderMap::new();
        for (name, value) in &asked.headers {
            let name = http::HeaderName::try_from(name.as_str())
                .map_err(|_| format!("headers: `{name}` is no name"))?;
            let value =
                http::HeaderValue::try_from(value).map_err(|_| format!("headers: the value of `{name}`"))?;
            headers.insert(name, value);
        }
        let question = gateway::Question {
            environment: asked.environment.unwrap_or_default(),
            key: asked.key,
            endpoint: asked.endpoint,
            body: asked.request.unwrap_or_default().to_string().into(),
            headers,
        };
        let explained =
            self.gateway.explain(&question).map_err(|error| format!("{} ({})", error.message, error.code))?;
        serde_json::to_value(explained).map_err(|error| error.to_string())
    }

    fn owner(&self, environment: &Name) -> Owner {
        let state = self.state.lock();
        let mut declared = state.document.iter().flat_map(|document| &document.environments);
        let said = declared.any(|own| own.name == *environment && own.said);
        if said { Owner::File } else { Owner::Console }
    }

    fn trouble(&self, environment: &Name) -> Vec<String> {
        self.hosting_troubles.lock().get(environment).cloned().unwrap_or_default()
    }

    fn export(&self, environment: &Name) -> Option<String> {
        self.text_of(environment)
    }

    fn check_hosted(&self, hosted: &HostedEnvironment) -> Result<Vec<String>, Vec<String>> {
        self.check(hosted)
    }

    fn take_hosted(&self, revision: u64, environments: Vec<HostedEnvironment>) {
        self.take(revision, environments);
    }

    fn node(&self) -> Name {
        self.node.clone()
    }

    fn ready(&self) -> bool {
        self.is_serving() && !self.tasks.is_stopping() && !self.is_draining()
    }

    fn state(&self) -> LiveState {
        let settings = self.state.lock().settings.clone();
        LiveState {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            listen: self.server.listen.to_string(),
            ready: self.ready(),
            draining: self.is_draining(),
            settings,
            environments: self.environment_states(),
            store: self.store_state(),
            spool: self.spool_state(),
            keys: self.keyring.len(),
            providers: self.provider_states(),
        }
    }
}

/// The place that the name of a shared budget begins with; see where the gateway makes these names.
fn place_of(scope: &str, per: policy::Per) -> BudgetPlace {
    let within =
        |kind: &str| scope.strip_prefix(kind).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    match per {
        policy::Per::Organization => BudgetPlace::Organizations,
        policy::Per::Workspace => BudgetPlace::Workspaces(within("organization ").into()),
        _ => BudgetPlace::Environment(within("environment ").into()),
    }
}

impl Engine {
    fn store_state(&self) -> StoreState {
        let connected = self.store.find().is_some();
        StoreState {
            kind: kind_of(&self.store_settings.url).to_owned(),
            connected,
            error: self.store_error().or_else(|| (!connected).then(|| self.store.reason())),
        }
    }

    fn spool_state(&self) -> SpoolState {
        let depth = self.ledger.depth();
        SpoolState {
            bytes: depth.bytes,
            records: depth.records,
            segments: depth.segments,
            writable: depth.writable,
            backlog: depth.backlog,
            last_error: depth.last_error,
        }
    }

    fn environment_states(&self) -> Vec<EnvironmentState> {
        let Some(snapshot) = self.gateway.snapshot() else { return Vec::new() };
        let mut states: Vec<EnvironmentState> = snapshot
            .environments
            .values()
            .map(|environment| EnvironmentState {
                workspace: environment.workspace.clone(),
                name: environment.name.clone(),
                layer: environment.layer.as_str().to_owned(),
                region: environment.region.clone(),
                release: environment.release,
                models: environment.models().count(),
            })
            .collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        states
    }

    fn provider_states(&self) -> Vec<ProviderState> {
        let Some(snapshot) = self.gateway.snapshot() else { return Vec::new() };
        let state = self.state.lock();
        let mut states: Vec<ProviderState> = snapshot
            .environments
            .values()
            .flat_map(|environment| environment.providers().map(move |provider| (environment, provider)))
            .map(|(environment, provider)| {
                let name = full_name(&environment.name, &provider.name);
                ProviderState {
                    environment: environment.name.clone(),
                    name: provider.name.clone(),
                    discovers: provider.discover,
                    discovered_models: state.discovered.models.get(&name).map_or(0, Vec::len),
                    error: state.discovery_errors.get(&name).cloned(),
                    address: provider.origin.to_string(),
                    simulated: provider.simulated,
                    credentials: provider
                        .with_each_credential()
                        .filter_map(|by| by.credential_name.clone())
                        .collect(),
                    bearings: self.gateway.bearings(provider).into_iter().map(bearing).collect(),
                    standings: self.gateway.standings(provider).into_iter().map(standing).collect(),
                }
            })
            .collect();
        states.sort_by(|a, b| (&a.environment, &a.name).cmp(&(&b.environment, &b.name)));
        states
    }
}

fn bearing(bearing: gateway::Bearing) -> BearingState {
    BearingState {
        name: bearing.name,
        credential: bearing.credential,
        limit: bearing.limit,
        under_way: bearing.under_way,
    }
}

fn standing(standing: gateway::Standing) -> StandingState {
    StandingState {
        name: standing.name,
        credential: standing.credential,
        reason: standing.reason,
        failures: standing.failures,
        recent_attempts: standing.recent.0,
        recent_failures: standing.recent.1,
        away: standing.away,
        tried_in_ms: u64::try_from(standing.tried_in.as_millis()).unwrap_or(u64::MAX),
    }
}
