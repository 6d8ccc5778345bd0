//! `data_dir/snapshot.json`: what must be remembered where the database is not there to ask.
//!
//! The number of the last release, releases and file keys that the database has not seen yet, and every key
//! with its hash (never its secret). Written beside and moved, so a reader finds the old one or the new one.

use anyhow::Context;
use policy::{KeyRecord, Timestamp};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use store::HostedEnvironment;

const FILE: &str = "snapshot.json";
const FORMAT: u32 = 1;

/// What is remembered.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Last {
    format: u32,
    /// The number of the last release; 0 before the first.
    pub(crate) number: u64,
    /// What that release was made of.
    pub(crate) release_checksum: String,
    /// Releases that the database has not seen.
    pub(crate) unsaved_releases: Vec<Accepted>,
    /// Every key known, with those of the file that the database has not seen.
    pub(crate) keys: Vec<KeyRecord>,
    /// What the console owns, and how new that is.
    #[serde(default)]
    pub(crate) hosted: Vec<HostedEnvironment>,
    #[serde(default)]
    pub(crate) revision: u64,
}

/// One accepted release, until it is a row.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Accepted {
    pub(crate) environment: policy::Name,
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
    pub(crate) source: String,
    pub(crate) checksum: String,
    pub(crate) message: String,
    pub(crate) document: String,
}

impl Last {
    pub(crate) fn new(
        number: u64,
        release_checksum: &str,
        unsaved: Vec<Accepted>,
        keys: Vec<KeyRecord>,
    ) -> Self {
        Self {
            format: FORMAT,
            number,
            release_checksum: release_checksum.to_owned(),
            unsaved_releases: unsaved,
            keys,
            hosted: Vec::new(),
            revision: 0,
        }
    }

    /// What was remembered, if anything was.
    pub(crate) fn load(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = path_in(dir);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        };
        let last: Self = serde_json::from_slice(&bytes)
            .with_context(|| format!("`{}` cannot be understood", path.display()))?;
        anyhow::ensure!(last.format == FORMAT, "`{}` is of another version of this program", path.display());
        Ok(Some(last))
    }

    /// Replaces what was remembered, on the disk when this returns.
    pub(crate) fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let path = path_in(dir);
        let beside = path.with_extension("json.new");
        let unwritable = || format!("cannot write `{}`", path.display());
        let bytes = serde_json::to_vec(self)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&beside).with_context(unwritable)?;
        file.write_all(&bytes).and_then(|()| file.sync_data()).with_context(unwritable)?;
        std::fs::rename(&beside, &path).with_context(unwritable)
    }
}

fn path_in(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// A folder of one test, gone with it.
    pub(crate) struct Scratch(PathBuf);

    impl Scratch {
        pub(crate) fn new(name: &str) -> Self {
            let unique: String =
                runtime::random_bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
            let path = std::env::temp_dir().join(format!("tidegate-{name}-{unique}"));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_remembered_is_found_again_by_its_owner_alone() {
        let scratch = Scratch::new("last");
        assert!(Last::load(scratch.path()).unwrap().is_none());
        Last::new(7, "sum", Vec::new(), Vec::new()).save(scratch.path()).unwrap();
        let last = Last::load(scratch.path()).unwrap().unwrap();
        assert_eq!((last.number, last.release_checksum.as_str()), (7, "sum"));
        assert_eq!(std::fs::metadata(path_in(scratch.path())).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn damage_is_said_and_not_taken_for_nothing() {
        let scratch = Scratch::new("damage");
        std::fs::write(path_in(scratch.path()), b"{\"format\":1,").unwrap();
        assert!(Last::load(scratch.path()).is_err());
    }
}
