//! Files one after another in a stream: the length of the name, the name, the length of the content, the content.

use anyhow::{Context, ensure};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

/// Adds a file of `length` bytes. One that has become longer is cut there; one that has become shorter is an error.
pub(super) fn put(out: &mut impl Write, name: &str, from: impl Read, length: u64) -> anyhow::Result<()> {
    let name_length = u16::try_from(name.len()).context("the name of a file is too long")?;
    out.write_all(&name_length.to_be_bytes())?;
    out.write_all(name.as_bytes())?;
    out.write_all(&length.to_be_bytes())?;
    let copied = io::copy(&mut from.take(length), out).with_context(|| format!("cannot copy `{name}`"))?;
    ensure!(copied == length, "`{name}` became shorter while it was copied");
    Ok(())
}

/// The head of the next file: its name and length. `None` at the end.
pub(super) fn next(from: &mut impl Read) -> anyhow::Result<Option<(String, u64)>> {
    let mut first = [0; 1];
    if from.read(&mut first)? == 0 {
        return Ok(None);
    }
    let mut second = [0; 1];
    from.read_exact(&mut second)?;
    let mut name = vec![0; usize::from(u16::from_be_bytes([first[0], second[0]]))];
    from.read_exact(&mut name)?;
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    Ok(Some((String::from_utf8(name)?, u64::from_be_bytes(length))))
}

/// Writes the content of a file below `dir`, for its owner alone and on the disk when this returns.
pub(super) fn take(from: &mut impl Read, dir: &Path, name: &str, length: u64) -> anyhow::Result<()> {
    let parts: Vec<Component> = Path::new(name).components().collect();
    let plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
    ensure!(plain && (1..=2).contains(&parts.len()), "it names a file that no backup holds: `{name}`");
    let path = dir.join(name);
    if let Some(folder) = path.parent() {
        super::make_folder(folder)?;
    }
    let unwritable = || format!("cannot write `{}`", path.display());
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).with_context(unwritable)?;
    let copied = io::copy(&mut from.take(length), &mut file).map_err(|error| match error.kind() {
        // What is wrong with the backup and not with the disk.
        ErrorKind::InvalidData => anyhow::Error::from(error),
        _ => anyhow::Error::from(error).context(unwritable()),
    })?;
    ensure!(copied == length, "`{name}` in it is shorter than it says");
    file.sync_all().with_context(unwritable)
}

/// Whatever is in these folders is on the disk by its name.
pub(super) fn sync_names(dirs: &[&Path]) -> anyhow::Result<()> {
    for dir in dirs {
        fs::File::open(dir)
            .and_then(|dir| dir.sync_all())
            .with_context(|| format!("cannot write `{}`", dir.display()))?;
    }
    Ok(())
}
