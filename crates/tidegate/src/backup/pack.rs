//! Writes a backup: the spool, what is remembered beside it, then a copy of each database, sealed as they come.

use super::noted::{FILE, FORMAT, Noted, Sums};
use super::sealed::Sealer;
use super::{CONTROL, Grounds, LOGS, NODE, RESPONSES, SNAPSHOT, SPOOL, Scratch, archive};
use anyhow::{Context, ensure};
use runtime::Clock;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use store::StoreError;

/// Where copies lie until they are sealed, in the data folder: they are as secret as what they are of.
const COPIES: &str = "backup.tmp";
/// The spool is listed anew when its newest segment went in between; it goes only after many seconds.
const LOOKS: usize = 5;

/// Writes the backup beside `file` and moves it there when it is whole and on the disk.
pub(crate) async fn write(grounds: &Grounds, file: &Path) -> anyhow::Result<Noted> {
    let shown = file.display();
    ensure!(!file.exists(), "`{shown}` exists already");
    if grounds.is_sqlite() {
        let control = grounds.data_dir.join(CONTROL);
        ensure!(control.exists(), "there is nothing to back up: `{}` does not exist", control.display());
    }
    let copies = Scratch::make(&grounds.data_dir, COPIES)?;
    let beside = beside(file);
    let unwritable = || format!("cannot write `{}`", beside.display());
    let _ = fs::remove_file(&beside);
    let out =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).with_context(unwritable)?;
    let written = async {
        let sealer = Sealer::begin(BufWriter::new(out), &grounds.master)?;
        let (sealer, noted) = fill(grounds, &copies, sealer).await?;
        let out = sealer.end()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        out.sync_all().with_context(unwritable)?;
        fs::rename(&beside, file).with_context(|| format!("cannot write `{shown}`"))?;
        anyhow::Ok(noted)
    };
    let noted = written.await.inspect_err(|_| drop(fs::remove_file(&beside)))?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        archive::sync_names(&[folder])?;
    }
    Ok(noted)
}

fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".part");
    name.into()
}

async fn fill<W: Write>(
    grounds: &Grounds,
    copies: &Scratch,
    sealer: Sealer<W>,
) -> anyhow::Result<(Sealer<W>, Noted)> {
    let mut pack = Pack { sealer, files: BTreeMap::new(), sums: Sums::default() };
    let at = Clock::system().now().to_string();
    let dir = &grounds.data_dir;
    pack.spool(&dir.join(SPOOL), grounds.is_sqlite())?;
    pack.plain(&dir.join(SNAPSHOT), SNAPSHOT)?;
    if grounds.is_sqlite() {
        // The ledger before the log: a line without its entry is nothing, an entry without its line is money.
        pack.database(&dir.join(CONTROL), CONTROL, copies).await?;
        pack.database(&dir.join(RESPONSES), RESPONSES, copies).await?;
        for day in days(&dir.join(LOGS))? {
            pack.database(&dir.join(LOGS).join(&day), &format!("{LOGS}/{day}"), copies).await?;
        }
    }
    let noted = Noted {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at,
        store: if grounds.is_sqlite() { "sqlite" } else { "postgres" }.to_owned(),
        files: pack.files,
        sums: pack.sums,
    };
    let text = serde_json::to_vec(&noted)?;
    archive::put(&mut pack.sealer, FILE, &text[..], text.len() as u64)?;
    Ok((pack.sealer, noted))
}

/// The files of the request log, oldest first.
fn days(logs: &Path) -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(logs) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot list `{}`", logs.display()))?,
    };
    let mut days = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        days.extend(name.to_str().filter(|name| name.ends_with(".sqlite")).map(str::to_owned));
    }
    days.sort_unstable();
    Ok(days)
}

struct Pack<W> {
    sealer: Sealer<W>,
    files: BTreeMap<String, u64>,
    sums: Sums,
}

impl<W: Write> Pack<W> {
    /// `alone`: no other gateway is on the database. Where others may be, the id of this one and what it held of shared budgets stay
    /// out: a gateway that comes back with an old share could spend it a second time.
    fn spool(&mut self, dir: &Path, alone: bool) -> anyhow::Result<()> {
        let unreadable = || format!("cannot read `{}`", dir.display());
        for _ in 0..LOOKS {
            let names = ledger::read::files(dir).with_context(unreadable)?;
            let newest = names.iter().rfind(|name| name.ends_with(".seg"));
            // Held open, it stays whatever happens to its name.
            let held = newest.map(|name| open(&dir.join(name))).transpose()?.flatten();
            if newest.is_some() && held.is_none() {
                continue;
            }
            for name in &names {
                let inside = format!("{SPOOL}/{name}");
                match &held {
                    Some(file) if Some(name) == newest => self.add(&inside, file)?,
                    _ => self.plain(&dir.join(name), &inside)?,
                }
            }
            return if alone { self.plain(&dir.join(NODE), &format!("{SPOOL}/{NODE}")) } else { Ok(()) };
        }
        anyhow::bail!("the spool changes faster than it can be read")
    }

    /// A file as it is; none where there is none.
    fn plain(&mut self, path: &Path, name: &str) -> anyhow::Result<()> {
        match open(path)? {
            Some(file) => self.add(name, &file),
            None => Ok(()),
        }
    }

    /// A database that others write; none where there is none, or its day was dropped just now.
    async fn database(&mut self, path: &Path, name: &str, copies: &Scratch) -> anyhow::Result<()> {
        let copy = copies.dir.join("copy.sqlite");
        let failed = || format!("cannot copy `{}`", path.display());
        match store::copy_file(path, &copy).await {
            Err(StoreError::Missing(_)) => return Ok(()),
            copied => copied.with_context(failed)?,
        }
        self.sums.add(store::contents(&copy, false).await.with_context(failed)?).with_context(failed)?;
        self.plain(&copy, name)?;
        fs::remove_file(&copy).with_context(failed)
    }

    fn add(&mut self, name: &str, file: &File) -> anyhow::Result<()> {
        let length = file.metadata()?.len();
        archive::put(&mut self.sealer, name, file, length)?;
        self.files.insert(name.to_owned(), length);
        Ok(())
    }
}

fn open(path: &Path) -> anyhow::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}
