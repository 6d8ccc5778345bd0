//! Environments that the console owns, beside those of the settings.
//!
//! The settings come first: what a file says of an environment is what it runs on, and what the console published for one of
//! the same name rests. One that cannot be compiled (its secret is gone) holds up no other: it goes on with what it ran on, and
//! its state says why.

use super::engine::{Engine, State};
use super::source::Source;
use policy::{Bound, Compiled, Document, EnvironmentDocument, Finding, Identity, Name, RolloutDocument};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use store::{HostedEnvironment, Store, StoreError};

/// How often the database is asked whether another gateway has published something.
const LOOK: Duration = Duration::from_millis(200);

/// What gateways know of the environments that the console owns.
#[derive(Default)]
pub(crate) struct Hosting {
    /// How new it is.
    pub(crate) revision: u64,
    /// By handle.
    pub(crate) environments: Vec<HostedEnvironment>,
}

/// Why some of them do not run on what was published, by handle.
pub(crate) type Troubles = BTreeMap<Name, Vec<String>>;

/// Who a hosted environment is.
pub(crate) fn identity(hosted: &HostedEnvironment) -> Identity {
    Identity {
        organization: hosted.organization.clone(),
        workspace: hosted.workspace.clone(),
        name: hosted.handle.clone(),
        layer: hosted.layer,
        region: hosted.region.clone(),
    }
}

/// What a hosted environment runs on, as a document.
fn read(hosted: &HostedEnvironment) -> Result<EnvironmentDocument, Vec<String>> {
    let bound = Bound::read(&hosted.bound).map_err(|error| vec![error.to_string()])?;
    let one = |text: &str, number: u64| {
        let text = bound.over(text).map_err(|error| vec![error.to_string()])?;
        let file = format!("release {number} of {}", hosted.name);
        // Who may name secrets of this host was decided when the release was made.
        let (mut read, _) = policy::parse_environment(&text, &file, &identity(hosted), true)
            .map_err(|findings| words(&findings))?;
        read.release = Some(number);
        Ok::<_, Vec<String>>(read)
    };
    let mut stable = one(&hosted.document, hosted.publication.stable)?;
    if let (Some(text), Some(number)) = (&hosted.candidate, hosted.publication.candidate) {
        stable.rollout = Some(Box::new(RolloutDocument {
            environment: one(text, number)?,
            share: hosted.publication.share,
            salt: hosted.publication.salt.clone(),
            chosen: Arc::new(hosted.chosen.iter().cloned().collect()),
        }));
    }
    Ok(stable)
}

fn words(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// The settings with the environments of the console. Those that cannot be read are left out, with the reason.
fn whole<'d>(document: &'d Document, hosting: &Hosting, troubles: &mut Troubles) -> Cow<'d, Document> {
    let mut whole = Cow::Borrowed(document);
    for hosted in &hosting.environments {
        let found = document.environments.iter().find(|own| own.name == hosted.handle);
        if found.is_some_and(|own| own.said) {
            let why = "the settings file describes it: what the console published rests".to_owned();
            troubles.insert(hosted.handle.clone(), vec![why]);
            continue;
        }
        match read(hosted) {
            Ok(mut read) => {
                if let Some(found) = found {
                    lend(&mut read, found);
                }
                let environments = &mut whole.to_mut().environments;
                environments.retain(|own| own.name != hosted.handle);
                environments.push(read);
            }
            Err(why) => drop(troubles.insert(hosted.handle.clone(), why)),
        }
    }
    whole
}

/// Where the settings say nothing of an environment, providers that were found for it are there for the console's releases.
fn lend(read: &mut EnvironmentDocument, found: &EnvironmentDocument) {
    let candidate = read.rollout.as_mut().map(|rollout| &mut rollout.environment);
    for environment in std::iter::once(&mut read.providers).chain(candidate.map(|next| &mut next.providers)) {
        for (name, provider) in &found.providers {
            environment.entry(name.clone()).or_insert_with(|| provider.clone());
        }
    }
}

impl Engine {
    /// Compiles the settings with the environments of the console. What is wrong with the settings is refused; what is wrong
    /// with an environment of the console is its own trouble.
    pub(super) fn compile_all(
        &self,
        state: &State,
        document: &Document,
        number: u64,
    ) -> Result<Compiled, Vec<Finding>> {
        let mut troubles = Troubles::new();
        let mut whole = whole(document, &state.hosting, &mut troubles);
        let mut compiled = self.compile_one(state, &whole, number);
        if compiled.is_err() && whole.environments.iter().any(|environment| environment.release.is_some()) {
            let bad: HashSet<Name> = self.unsound(state, whole.to_mut(), &mut troubles);
            whole.to_mut().environments.retain(|environment| !bad.contains(&environment.name));
            compiled = self.compile_one(state, &whole, number);
        }
        let mut compiled = compiled?;
        let before = self.gateway.snapshot();
        for (name, why) in &troubles {
            let known = before.as_ref().and_then(|snapshot| snapshot.environments.get(name));
            let mut told = self.hosting_troubles.lock();
            if told.get(name) != Some(why) {
                tracing::warn!(
                    environment = &**name,
                    "the console's release is not in force: {}",
                    why.join("; ")
                );
            }
            drop(told.insert(name.clone(), why.clone()));
            if let Some(known) = known {
                compiled.snapshot.environments.entry(name.clone()).or_insert_with(|| known.clone());
            }
        }
        self.hosting_troubles.lock().retain(|name, _| troubles.contains_key(name));
        Ok(compiled)
    }

    /// Those of the console's environments that do not compile by themselves. Where only the next release does not, the one
    /// that most have serves all.
    fn unsound(&self, state: &State, whole: &mut Document, troubles: &mut Troubles) -> HashSet<Name> {
        let mut bad = HashSet::new();
        let mut alone = Document { environments: Vec::new(), ..whole.clone() };
        for environment in whole.environments.iter_mut().filter(|environment| environment.release.is_some()) {
            alone.environments = vec![environment.clone()];
            let Err(findings) = self.compile_one(state, &alone, 0) else { continue };
            troubles.insert(environment.name.clone(), words(&findings));
            environment.rollout = None;
            alone.environments = vec![environment.clone()];
            if self.compile_one(state, &alone, 0).is_err() {
                bad.insert(environment.name.clone());
            }
        }
        bad
    }

    /// Whether a hosted environment would compile, with what is probably not meant; else what is wrong.
    pub(crate) fn check(&self, hosted: &HostedEnvironment) -> Result<Vec<String>, Vec<String>> {
        let mut read = read(hosted)?;
        let state = self.state.lock();
        let found = state.document.iter().flat_map(|document| &document.environments);
        if let Some(found) = found.into_iter().find(|own| own.name == hosted.handle && !own.said) {
            lend(&mut read, found);
        }
        let mut alone = state.document.clone().unwrap_or_else(|| Document::empty("settings"));
        alone.environments = vec![read];
        alone.file = "document".into();
        self.compile_one(&state, &alone, 0)
            .map(|compiled| words(&compiled.warnings))
            .map_err(|findings| words(&findings))
    }

    /// What the console published is in force when this returns, unless something newer is already.
    pub(crate) fn take(&self, revision: u64, environments: Vec<HostedEnvironment>) {
        let mut state = self.state.lock();
        if revision < state.hosting.revision {
            return;
        }
        state.hosting.revision = revision;
        if state.hosting.environments == environments {
            return;
        }
        state.hosting.environments = environments;
        self.republish(&state);
        drop(state);
        self.wake_saver.notify_one();
        self.wake_discovery.notify_one();
    }

    /// What the settings say of an environment, as a document of its own.
    pub(crate) fn text_of(&self, environment: &Name) -> Option<String> {
        let state = self.state.lock();
        let document = state.document.as_ref()?;
        let own = document.environments.iter().find(|own| own.name == *environment)?;
        match &self.source {
            Source::File(_) => policy::settings::extract(&state.text, environment).ok(),
            Source::Environment => Some(policy::settings::found_text(own)),
        }
    }

    /// Reads what the database knows and puts it into force.
    pub(crate) async fn read_hosted(&self, store: &Store) -> Result<(), StoreError> {
        let (revision, environments) = store.hosted().await?;
        self.take(revision, environments);
        store.acknowledge(&self.node, revision).await
    }
}

/// Follows what other gateways publish.
pub(super) async fn follow(engine: Arc<Engine>) {
    loop {
        tokio::select! {
            () = engine.tasks.stopping() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let Some(store) = engine.store.find() else { continue };
        let known = engine.state.lock().hosting.revision;
        let read = async {
            if store.revision().await? == known { Ok(()) } else { engine.read_hosted(&store).await }
        };
        if let Err(error) = read.await {
            // The keeper says it.
            tracing::debug!(%error, "what other gateways published cannot be read");
        }
    }
}
