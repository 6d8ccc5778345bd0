//! The data folder and the master key in it: made for their owner alone.

use anyhow::{Context, bail, ensure};
use policy::{Finding, Name, Placed, SecretRef, Secrets, Severity};
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The file of the master key, 64 hex digits.
pub(crate) const MASTER_KEY: &str = "master.key";
/// The file of the gateway's id, 16 hex digits. It lies with the spool, which knows what the gateway of this id has spent: one is
/// never without the other.
const NODE: &str = "spool/node";

/// Where a restore unpacks; gone when it has ended.
pub(crate) const RESTORING: &str = "restore.tmp";

/// Makes the folder with mode 0700, or closes an existing one of ours to others.
pub(crate) fn prepare(dir: &Path) -> anyhow::Result<()> {
    let shown = dir.display();
    ensure!(
        !dir.join(RESTORING).exists(),
        "a restore into `{shown}` did not end: remove everything in it but `{MASTER_KEY}`, and restore again"
    );
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make the data folder `{shown}`"))?;
    let mode =
        std::fs::metadata(dir).with_context(|| format!("cannot look at the data folder `{shown}`"))?.mode();
    if mode & 0o077 != 0 && std::fs::set_permissions(dir, Permissions::from_mode(0o700)).is_err() {
        tracing::warn!(folder = %shown, "the data folder is open to others and is not ours to close");
    }
    Ok(())
}

/// The master key that the settings declare, or what is wrong with it, at its place in `file`. The same words for
/// `check` and for `serve`.
pub(crate) fn read_declared_master_key(
    declared: &Placed<SecretRef>,
    file: &str,
    secrets: &dyn Secrets,
) -> Result<[u8; 32], Finding> {
    let finding = |severity, why: String| Finding {
        severity,
        file: file.to_owned(),
        line: declared.at.line as usize,
        column: declared.at.column as usize,
        message: format!("`server.master_key`: {why}"),
        help: None,
    };
    let absent = if secrets.may_be_absent() { Severity::Warning } else { Severity::Error };
    let secret = secrets.read(&declared.value).map_err(|why| finding(absent, why))?;
    parse_master_key(secret.expose())
        .map_err(|why| finding(Severity::Error, format!("{}: {why}", declared.value)))
}

/// The master key of a data folder whose settings declare none: from the folder, else made there now.
pub(crate) fn load_master_key(dir: &Path) -> anyhow::Result<[u8; 32]> {
    let path = dir.join(MASTER_KEY);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            if std::fs::metadata(&path)?.mode() & 0o077 != 0 {
                tracing::warn!(file = %path.display(), "the master key can be read by others; run chmod 600 on it");
            }
            parse_master_key(&text).with_context(|| format!("`{}`", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => make_master_key(&path),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

/// The master key in a data folder, where there is one.
pub(crate) fn find_master_key(dir: &Path) -> anyhow::Result<Option<[u8; 32]>> {
    if dir.join(MASTER_KEY).exists() { load_master_key(dir).map(Some) } else { Ok(None) }
}

/// Which gateway this folder is of: made once and kept, since what a gateway holds of shared budgets goes by it.
pub(crate) fn load_node_id(dir: &Path) -> anyhow::Result<Name> {
    let path = dir.join(NODE);
    let spool = path.parent().unwrap_or(dir);
    std::fs::create_dir_all(spool).with_context(|| format!("cannot make `{}`", spool.display()))?;
    match std::fs::read_to_string(&path) {
        Ok(text) if is_node_id(text.trim()) => Ok(text.trim().into()),
        Ok(_) => bail!("`{}` does not hold the id of a gateway (16 hex digits)", path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id: String = runtime::random_bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
            write_new(&path, &format!("{id}\n"))?;
            Ok(id.into())
        }
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

fn is_node_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn make_master_key(path: &Path) -> anyhow::Result<[u8; 32]> {
    let key: [u8; 32] = runtime::random_bytes();
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    write_new(path, &text)?;
    Ok(key)
}

/// Written beside and moved, so that a crash never leaves half of it.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let _ = std::fs::remove_file(&beside);
    let unwritable = || format!("cannot write `{}`", path.display());
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).with_context(unwritable)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(unwritable)?;
    std::fs::rename(&beside, path).with_context(unwritable)
}

/// Reads 64 hex digits. Something short or repeated is refused: it protects every secret there is.
pub(crate) fn parse_master_key(text: &str) -> anyhow::Result<[u8; 32]> {
    let text = text.trim();
    ensure!(
        text.len() == 64 && text.is_ascii(),
        "a master key is 64 hex digits; `openssl rand -hex 32` makes one"
    );
    let mut key = [0_u8; 32];
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(pair)?;
        *byte = u8::from_str_radix(digits, 16).context("a master key is 64 hex digits")?;
    }
    let mut seen = [false; 256];
    key.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    if seen.iter().filter(|seen| **seen).count() < 8 {
        bail!("this master key is too regular to be random; `openssl rand -hex 32` makes one");
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::serve::last::tests::Scratch;

    #[test]
    fn the_folder_and_the_key_are_for_their_owner_alone_and_the_key_stays() {
        let scratch = Scratch::new("folder");
        let dir = scratch.path().join("data");
        prepare(&dir).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        let first = load_master_key(&dir).unwrap();
        let mode = std::fs::metadata(dir.join(MASTER_KEY)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(load_master_key(&dir).unwrap(), first);
    }

    #[test]
    fn a_gateway_keeps_its_id_and_no_other_folder_has_it() {
        let (one, other) = (Scratch::new("node"), Scratch::new("node"));
        let id = load_node_id(one.path()).unwrap();
        assert_eq!(load_node_id(one.path()).unwrap(), id);
        assert_ne!(load_node_id(other.path()).unwrap(), id);
        assert!(one.path().join("spool/node").exists());
        std::fs::write(other.path().join(NODE), "half").unwrap();
        assert!(load_node_id(other.path()).is_err());
    }

    #[test]
    fn a_declared_master_key_that_is_not_there_is_told_with_its_place() {
        let declared = Placed {
            value: SecretRef::Env("TIDEGATE_TEST_ABSENT_MASTER".into()),
            at: policy::Place { line: 3, column: 14 },
        };
        let finding =
            read_declared_master_key(&declared, "x.toml", &crate::secrets::ProcessSecrets).unwrap_err();
        assert_eq!(
            finding.to_string(),
            "x.toml:3:14: error: `server.master_key`: environment variable `TIDEGATE_TEST_ABSENT_MASTER` is not set, or \
             is empty"
        );
    }

    #[test]
    fn a_weak_master_key_is_refused() {
        assert!(parse_master_key(&"ab".repeat(32)).is_err());
        assert!(parse_master_key("short").is_err());
        assert!(parse_master_key(&"zz".repeat(32)).is_err());
        let good: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(parse_master_key(&good).unwrap()[31], 31);
    }
}
