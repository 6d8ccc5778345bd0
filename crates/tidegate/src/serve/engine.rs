//! A document becomes a numbered release and is put into force.
//!
//! Everything that decides what serves goes through [`Engine::accept`]: the start, a changed file, SIGHUP. A
//! release is remembered on disk before it is published, so no number is ever given twice; the database hears
//! of it afterwards from the keeper and may be away for as long as it likes.

use super::file_keys;
use super::hosting::{Hosting, Troubles};
use super::last::{Accepted, Last};
use super::source::{Overrides, Read, Refused, Source};
use crate::secrets::ProcessSecrets;
use admin::StoreHandle;
use admin::live::SettingsState;
use gateway::Gateway;
use ledger::Ledger;
use parking_lot::Mutex;
use policy::{
    ClusterSettings, Compiled, Discovered, Document, FileKey, Finding, KeyId, KeyRecord, Keyring, Name,
    Pepper, Secret, Server, SmtpSettings, StoreSettings, Timestamp,
};
use runtime::{Clock, Tasks};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::Declared;
use tokio::sync::Notify;

/// Releases kept for a database that is away; older ones are dropped, their numbers are not reused.
const MOST_UNSAVED: usize = 10_000;

/// The running gateway as the binary sees it.
pub(crate) struct Engine {
    pub(crate) source: Source,
    pub(crate) overrides: Overrides,
    pub(crate) demo_base: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) pepper: Arc<Pepper>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) ledger: Ledger,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) store: StoreHandle,
    /// Which of the gateways on the database this is.
    pub(crate) node: Name,
    /// What `[server]` and `[store]` said at the start; other values need another start.
    pub(crate) server: Server,
    pub(crate) store_settings: StoreSettings,
    /// What `[cluster]` said then.
    pub(crate) cluster: Option<ClusterSettings>,
    /// What `[smtp]` said then.
    pub(crate) smtp: Option<SmtpSettings>,
    /// The settings of the start declared keys, so nobody waits for a first one.
    pub(crate) declares_keys: bool,
    pub(crate) started_at: Timestamp,
    pub(crate) state: Mutex<State>,
    /// Why the database did not answer when it was last asked.
    pub(crate) store_trouble: Mutex<Option<String>>,
    /// Why environments of the console do not run on what was published.
    pub(crate) hosting_troubles: Mutex<Troubles>,
    draining: AtomicBool,
    saving: Mutex<()>,
    /// What the start has to tell its person; see `banner`.
    pub(crate) news: Mutex<News>,
    /// Serving has begun after waiting for the database.
    pub(crate) came_up: Notify,
    /// Something waits for the database.
    pub(crate) wake_keeper: Notify,
    /// The environments that the database has rows for.
    pub(crate) places_written: Mutex<Vec<Declared>>,
    /// What is remembered on disk is out of date.
    pub(crate) wake_saver: Notify,
    /// Providers may have changed.
    pub(crate) wake_discovery: Notify,
}

/// What changes while it runs.
#[derive(Default)]
pub(crate) struct State {
    /// What serves now; `None` before the first publication.
    pub(crate) document: Option<Document>,
    /// The text that it was read from.
    pub(crate) text: String,
    checksum: String,
    pub(crate) number: u64,
    pub(crate) release_checksum: String,
    pub(crate) discovered: Discovered,
    /// Why a provider could not be asked for its models, by `environment/provider`.
    pub(crate) discovery_errors: HashMap<Name, String>,
    pub(crate) file_keys: Vec<FileKey>,
    pub(crate) settings: SettingsState,
    /// What the console owns.
    pub(crate) hosting: Hosting,
    pub(crate) unsaved_releases: Vec<Accepted>,
    pub(crate) unsaved_keys: HashMap<KeyId, KeyRecord>,
}

impl State {
    /// The number of the next release of the settings: after theirs, and after those that the console gave an environment
    /// which the settings describe again.
    fn next_number(&self, document: &Document) -> u64 {
        let taken = self.hosting.environments.iter().filter_map(|hosted| {
            let described = document.environments.iter().any(|own| own.said && own.name == hosted.handle);
            described.then(|| hosted.publication.stable.max(hosted.publication.candidate.unwrap_or(0)))
        });
        taken.fold(self.number, u64::max) + 1
    }
}

/// The first key is shown once: in the banner, or after it when the database came up later.
#[derive(Default)]
pub(crate) struct News {
    /// The banner is printed.
    pub(crate) said: bool,
    /// Waits for the banner.
    pub(crate) first_key: Option<Secret>,
}

/// What an accepted document changed.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// It means what the one before meant.
    Nothing,
    /// Keys or secrets changed; the release stays.
    Keys,
    /// It is a new release.
    Release(u64),
}

/// What an engine is made of, besides what it makes itself.
pub(crate) struct Made {
    pub(crate) source: Source,
    pub(crate) overrides: Overrides,
    pub(crate) demo_base: String,
    pub(crate) server: Server,
    pub(crate) store_settings: StoreSettings,
    pub(crate) cluster: Option<ClusterSettings>,
    pub(crate) smtp: Option<SmtpSettings>,
    pub(crate) declares_keys: bool,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) pepper: Arc<Pepper>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) ledger: Ledger,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) store: StoreHandle,
    pub(crate) node: Name,
}

impl Engine {
    pub(crate) fn new(made: Made) -> Arc<Self> {
        Arc::new(Self {
            source: made.source,
            overrides: made.overrides,
            demo_base: made.demo_base,
            data_dir: made.server.data_dir.clone(),
            started_at: made.clock.now(),
            clock: made.clock,
            tasks: made.tasks,
            pepper: made.pepper,
            keyring: made.keyring,
            ledger: made.ledger,
            gateway: made.gateway,
            store: made.store,
            node: made.node,
            server: made.server,
            store_settings: made.store_settings,
            cluster: made.cluster,
            smtp: made.smtp,
            declares_keys: made.declares_keys,
            state: Mutex::default(),
            store_trouble: Mutex::new(None),
            hosting_troubles: Mutex::default(),
            draining: AtomicBool::new(false),
            saving: Mutex::new(()),
            news: Mutex::default(),
            places_written: Mutex::default(),
            came_up: Notify::new(),
            wake_keeper: Notify::new(),
            wake_saver: Notify::new(),
            wake_discovery: Notify::new(),
        })
    }

    /// Whether anything is published yet.
    pub(crate) fn is_serving(&self) -> bool {
        self.state.lock().document.is_some()
    }

    /// A stop has begun.
    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.gateway.begin_drain();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn store_error(&self) -> Option<String> {
        self.store_trouble.lock().clone()
    }

    /// Takes over what was remembered from the last run.
    pub(crate) fn remember(&self, last: Last) {
        let mut state = self.state.lock();
        state.number = last.number;
        state.release_checksum = last.release_checksum;
        state.unsaved_releases = last.unsaved_releases;
        state.hosting = Hosting { revision: last.revision, environments: last.hosted };
        for record in last.keys {
            self.keyring.upsert(record);
        }
    }

    /// Reads the settings again and accepts them, or says why not and changes nothing.
    pub(crate) fn reload(&self) -> Result<Change, Refused> {
        let outcome = self.source.read(&self.overrides, &self.demo_base).and_then(|read| self.accept(read));
        if let Err(Refused(findings)) = &outcome {
            let mut state = self.state.lock();
            state.settings.accepted = false;
            state.settings.findings.clone_from(findings);
            state.settings.read_at = Some(self.clock.now());
        }
        outcome
    }

    /// Compiles a document and, when it says something new, puts it into force.
    pub(crate) fn accept(&self, read: Read) -> Result<Change, Refused> {
        let mut state = self.state.lock();
        let first = state.document.is_none();
        let mut compiled = self.compile(&state, &read.document, state.number)?;
        self.note_settings(&mut state, &read, &compiled);
        if !first && compiled.checksum == state.checksum {
            return Ok(Change::Nothing);
        }
        for finding in &state.settings.findings {
            tracing::warn!("{finding}");
        }
        let mut change = Change::Keys;
        if state.number == 0 || compiled.release_checksum != state.release_checksum {
            let number = state.next_number(&read.document);
            compiled = self.compile(&state, &read.document, number)?;
            self.number(&mut state, &read, &compiled, number)?;
            change = Change::Release(number);
        }
        state.checksum = compiled.checksum;
        state.document = Some(read.document);
        state.text = read.text;
        state.file_keys = compiled.keys;
        // Keys first: whoever sees the new release may already use its keys.
        self.sync_file_keys(&mut state);
        self.gateway.publish(compiled.snapshot);
        drop(state);
        self.wake_keeper.notify_one();
        self.wake_saver.notify_one();
        self.wake_discovery.notify_one();
        Ok(change)
    }

    /// The same document again: providers told of other models, or the release was renumbered.
    pub(crate) fn republish(&self, state: &State) {
        let Some(document) = &state.document else { return };
        match self.compile(state, document, state.number) {
            Ok(compiled) => self.gateway.publish(compiled.snapshot),
            // A secret may have been taken away since; what serves goes on serving.
            Err(Refused(findings)) => {
                tracing::warn!(reasons = findings.join("; "), "the settings no longer compile");
            }
        }
    }

    fn compile(&self, state: &State, document: &Document, number: u64) -> Result<Compiled, Refused> {
        self.compile_all(state, document, number).map_err(Refused::from)
    }

    pub(super) fn compile_one(
        &self,
        state: &State,
        document: &Document,
        number: u64,
    ) -> Result<Compiled, Vec<Finding>> {
        let now = self.clock.now();
        let mut document = Cow::Borrowed(document);
        // It works from the next start on, like all of `[server]`.
        let private = self.server.allow_private_upstreams;
        if document.server.allow_private_upstreams != private {
            document.to_mut().server.allow_private_upstreams = private;
        }
        policy::compile(&document, number, &ProcessSecrets, &self.pepper, &state.discovered, now)
    }

    fn note_settings(&self, state: &mut State, read: &Read, compiled: &Compiled) {
        let warnings = read.warnings.iter().chain(&compiled.warnings).map(ToString::to_string);
        state.settings = SettingsState {
            file: match &self.source {
                Source::File(path) => Some(path.display().to_string()),
                Source::Environment => None,
            },
            accepted: true,
            findings: warnings.collect(),
            restart_needed: restart_needed(
                &self.server,
                &self.store_settings,
                self.cluster.as_ref(),
                self.smtp.as_ref(),
                &read.document,
            ),
            read_at: Some(self.clock.now()),
        };
    }

    /// Gives the next number and remembers it on disk before anybody sees it.
    fn number(
        &self,
        state: &mut State,
        read: &Read,
        compiled: &Compiled,
        number: u64,
    ) -> Result<(), Refused> {
        let message = match (number, &self.source) {
            (1, _) => "first release",
            (_, Source::File(_)) => "settings file changed",
            (_, Source::Environment) => "environment changed",
        };
        // What the console owns is numbered there.
        let hosted = |name: &Name| state.hosting.environments.iter().any(|hosted| hosted.handle == *name);
        let own = read.document.environments.iter().filter(|own| own.said || !hosted(&own.name));
        let rows: Vec<Accepted> = own
            .map(|environment| Accepted {
                environment: environment.name.clone(),
                number,
                at: self.clock.now(),
                source: self.source.describe(),
                checksum: compiled.release_checksum.clone(),
                message: message.to_owned(),
                document: read.text.clone(),
            })
            .collect();
        let before =
            (state.number, std::mem::take(&mut state.release_checksum), state.unsaved_releases.len());
        state.unsaved_releases.extend(rows);
        state.number = number;
        state.release_checksum.clone_from(&compiled.release_checksum);
        if let Err(error) = self.save(state) {
            state.unsaved_releases.truncate(before.2);
            (state.number, state.release_checksum) = (before.0, before.1);
            return Err(Refused(vec![format!("the release cannot be remembered: {error:#}")]));
        }
        let excess = state.unsaved_releases.len().saturating_sub(MOST_UNSAVED);
        state.unsaved_releases.drain(..excess);
        Ok(())
    }

    /// Brings the keyring to what the file declares; the keeper brings the database there.
    pub(crate) fn sync_file_keys(&self, state: &mut State) {
        if self.source == Source::Environment {
            return;
        }
        let known: Vec<KeyRecord> = self.keyring.all().iter().map(|key| key.record.clone()).collect();
        let plan = file_keys::decide(&state.file_keys, &known, self.clock.now());
        for record in plan.changed {
            self.keyring.upsert(record.clone());
            state.unsaved_keys.insert(record.id.clone(), record);
        }
        for remark in plan.remarks {
            tracing::warn!("{remark}");
            state.settings.findings.push(remark);
        }
    }

    /// Writes what must be remembered without the database.
    pub(crate) fn save(&self, state: &State) -> anyhow::Result<()> {
        let keys = self.keyring.all().iter().map(|key| key.record.clone()).collect();
        let mut last = Last::new(state.number, &state.release_checksum, state.unsaved_releases.clone(), keys);
        last.revision = state.hosting.revision;
        last.hosted.clone_from(&state.hosting.environments);
        let _turn = self.saving.lock();
        last.save(&self.data_dir)
    }
}

/// Settings that were read but work only from the next start on.
fn restart_needed(
    server: &Server,
    store: &StoreSettings,
    cluster: Option<&ClusterSettings>,
    smtp: Option<&SmtpSettings>,
    document: &Document,
) -> Vec<String> {
    let differs = |field: &str, same: bool| (!same).then(|| field.to_owned());
    let now = &document.server;
    let fields = [
        differs("server.listen", now.listen == server.listen),
        differs("server.data_dir", now.data_dir == server.data_dir),
        differs("server.admin_listen", now.admin_listen == server.admin_listen),
        differs("server.trusted_proxies", now.trusted_proxies == server.trusted_proxies),
        differs("server.admin_on_public_port", now.admin_on_public_port == server.admin_on_public_port),
        differs("server.tls", now.tls == server.tls),
        differs(
            "server.master_key",
            now.master_key.as_ref().map(|key| &key.value) == server.master_key.as_ref().map(|key| &key.value),
        ),
        differs("server.max_body", now.max_body == server.max_body),
        differs("server.max_memory", now.max_memory == server.max_memory),
        differs("server.overload", now.overload == server.overload),
        differs("server.drain", now.drain == server.drain),
        differs("server.segment_bytes", now.segment_bytes == server.segment_bytes),
        differs("server.log", now.log == server.log),
        differs(
            "server.allow_private_upstreams",
            now.allow_private_upstreams == server.allow_private_upstreams,
        ),
        differs("server.sign_up", now.sign_up == server.sign_up),
        differs("store.url", document.store.url == store.url),
        differs("store.retention", document.store.retention == store.retention),
        differs("cluster", same_cluster(document.cluster.as_ref(), cluster)),
        differs("smtp", same_smtp(document.smtp.as_ref(), smtp)),
    ];
    fields.into_iter().flatten().collect()
}

/// Whether both say the same, wherever it stands in the file.
fn same_cluster(one: Option<&ClusterSettings>, other: Option<&ClusterSettings>) -> bool {
    let said = |settings: Option<&ClusterSettings>| {
        settings.map(|said| {
            let redis = said.redis.as_ref().map(|redis| redis.value.clone());
            (redis, said.limits, said.deadline, said.nodes)
        })
    };
    said(one) == said(other)
}

/// The same of `[smtp]`.
fn same_smtp(one: Option<&SmtpSettings>, other: Option<&SmtpSettings>) -> bool {
    let said = |settings: Option<&SmtpSettings>| {
        settings.map(|said| {
            let credential =
                said.credential.as_ref().map(|(user, secret)| (user.clone(), secret.value.clone()));
            (SmtpSettings { credential: None, ..said.clone() }, credential)
        })
    };
    said(one) == said(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_port_asks_for_a_restart() {
        let mut document = Document::empty("x.toml");
        let (server, store) = (document.server.clone(), document.store.clone());
        assert!(restart_needed(&server, &store, None, None, &document).is_empty());
        document.server.listen.set_port(9);
        document.cluster = Some(ClusterSettings::default());
        assert_eq!(restart_needed(&server, &store, None, None, &document), ["server.listen", "cluster"]);
    }
}
