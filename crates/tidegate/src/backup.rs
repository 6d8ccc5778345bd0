//! Backups: everything that a gateway keeps, in one sealed file; and back.
//!
//! A backup is taken beside the running gateway, without asking it. The order makes it whole: the spool first, then the databases. What
//! was acknowledged before the backup began is in the copied spool, or was drained into a database that is copied later; so it is in
//! the file once at least, and what is in it twice counts once, as in any drain.
//!
//! A restore unpacks into a folder beside, hands the spool to the copied database as a start would, and looks whether all is as it was
//! noted; only then are the files moved to where they belong. The spool ends empty, so that the next start takes what budgets have paid
//! from the entries alone: a call that was under way then and is recorded since is not paid for twice.
//!
//! Reading order: `sealed.rs` (the envelope), `archive.rs` (files in it), `noted.rs` (what it says of itself), `pack.rs`, `unpack.rs`.

mod archive;
mod noted;
mod pack;
mod sealed;
mod unpack;

pub(crate) use pack::write;
pub(crate) use unpack::{restore, take_in, verify};

use crate::located::Place;
use crate::outcome::WrongUsage;
use crate::secrets::ProcessSecrets;
use crate::serve::folder;
use crate::serve::source::{Overrides, Source};
use anyhow::{Context, bail};
use policy::StoreUrl;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The simulated provider runs only inside a gateway; this address is never asked.
const STAND_IN: &str = "http://127.0.0.1:1/v1";
const CONTROL: &str = "control.sqlite";
const RESPONSES: &str = "responses.sqlite";
const SNAPSHOT: &str = "snapshot.json";
const LOGS: &str = "logs";
const SPOOL: &str = "spool";
const NODE: &str = "node";

/// Whose backup it is.
pub(crate) struct Grounds {
    pub(crate) data_dir: PathBuf,
    pub(crate) store: StoreUrl,
    pub(crate) master: [u8; 32],
}

impl Grounds {
    /// What the settings, or without them the data folder, say.
    pub(crate) fn find(place: &Place) -> anyhow::Result<Self> {
        let source = place.find_settings().map_or(Source::Environment, Source::File);
        let overrides = Overrides { listen: None, data_dir: place.data_dir.clone() };
        let read = source.read(&overrides, STAND_IN).map_err(|refused| WrongUsage(refused.0.join("\n")))?;
        let server = &read.document.server;
        let declared = server.master_key.as_ref().map(|declared| {
            folder::read_declared_master_key(declared, &read.document.file, &ProcessSecrets)
                .map_err(|finding| WrongUsage(finding.to_string()))
        });
        let found = match declared.transpose()? {
            Some(master) => Some(master),
            None => folder::find_master_key(&server.data_dir)?,
        };
        let shown = server.data_dir.display();
        let master = found.with_context(|| format!("there is no `{}` in `{shown}`", folder::MASTER_KEY))?;
        Ok(Self { data_dir: server.data_dir.clone(), store: read.document.store.url.clone(), master })
    }

    fn is_sqlite(&self) -> bool {
        matches!(self.store, StoreUrl::Sqlite)
    }
}

/// A folder that only this process works in, empty at first and gone at the end.
struct Scratch {
    dir: PathBuf,
    _lock: File,
}

impl Scratch {
    fn make(parent: &Path, name: &str) -> anyhow::Result<Self> {
        let dir = parent.join(name);
        let shown = dir.display();
        make_folder(&dir)?;
        let lock = File::open(&dir).with_context(|| format!("cannot open `{shown}`"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another command works in `{shown}` just now"),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock `{shown}`"));
            }
        }
        // What one that was killed has left.
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
                .with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
        Ok(Self { dir, _lock: lock })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn make_folder(dir: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make `{}`", dir.display()))
}
