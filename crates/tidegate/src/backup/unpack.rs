//! Reads a backup: unpacks it beside, proves that it is whole, and moves it to where it belongs.

use super::noted::{FILE, FORMAT, Noted, Sums};
use super::sealed::Opener;
use super::{Grounds, SPOOL, Scratch, archive, make_folder};
use crate::serve::folder::{MASTER_KEY, RESTORING};
use anyhow::{Context, bail, ensure};
use ledger::{Ledger, Options};
use policy::StoreUrl;
use runtime::{Clock, Tasks};
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// Where a backup is unpacked to be looked at.
const VERIFYING: &str = "verify.tmp";
/// For what the spool holds to reach the copied database.
const FLUSH: Duration = Duration::from_secs(600);
const TASKS: Duration = Duration::from_secs(10);

/// What a backup held, and what came of it.
pub(crate) struct Restored {
    pub(crate) noted: Noted,
    /// What the databases hold now that the spool is in them.
    pub(crate) sums: Sums,
    /// Calls that were under way when the backup was begun and have no record but their last mark.
    pub(crate) settled: u64,
}

/// Unpacks the backup in a place of its own, opens and counts everything, and removes it again.
pub(crate) async fn verify(grounds: &Grounds, file: &Path) -> anyhow::Result<Restored> {
    make_folder(&grounds.data_dir)?;
    let scratch = Scratch::make(&grounds.data_dir, VERIFYING)?;
    unpack(grounds, file, &scratch.dir).await
}

/// Unpacks the backup into the data folder, which must hold nothing but the master key.
pub(crate) async fn restore(grounds: &Grounds, file: &Path) -> anyhow::Result<Restored> {
    let dir = &grounds.data_dir;
    make_folder(dir)?;
    ensure_empty(dir)?;
    let scratch = Scratch::make(dir, RESTORING)?;
    let restored = unpack(grounds, file, &scratch.dir).await?;
    for entry in fs::read_dir(&scratch.dir)? {
        let entry = entry?;
        let place = dir.join(entry.file_name());
        fs::rename(entry.path(), &place).with_context(|| format!("cannot make `{}`", place.display()))?;
    }
    archive::sync_names(&[dir])?;
    drop(scratch);
    archive::sync_names(&[dir])?;
    Ok(restored)
}

fn ensure_empty(dir: &Path) -> anyhow::Result<()> {
    let shown = dir.display();
    let mut others = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot look at `{shown}`"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if ![MASTER_KEY, RESTORING, "lost+found"].contains(&name.as_str()) {
            others.push(name);
        }
    }
    others.sort_unstable();
    ensure!(
        others.is_empty(),
        "`{shown}` has data ({}): a restore needs a data folder with nothing in it but `{MASTER_KEY}`",
        others.join(", ")
    );
    Ok(())
}

async fn unpack(grounds: &Grounds, file: &Path, into: &Path) -> anyhow::Result<Restored> {
    let shown = file.display();
    let from = File::open(file).with_context(|| format!("cannot read `{shown}`"))?;
    let unusable = || format!("`{shown}` cannot be restored");
    let mut opener = Opener::begin(BufReader::new(from), &grounds.master).with_context(unusable)?;
    let noted = take_all(&mut opener, into).with_context(unusable)?;
    let is_sqlite = noted.store == "sqlite";
    ensure!(
        is_sqlite == grounds.is_sqlite(),
        "`{shown}` is of a gateway on {}, and the settings say {}",
        noted.store,
        if grounds.is_sqlite() { "sqlite" } else { "postgres" }
    );
    if !is_sqlite {
        let (sums, settled) = (noted.sums.clone(), 0);
        return Ok(Restored { noted, sums, settled });
    }
    let sums = count(&noted, into).await?;
    ensure!(
        sums == noted.sums,
        "`{shown}` does not hold what it says: {} instead of {}",
        sums.words(),
        noted.sums.words()
    );
    let settled = take_in_spool(into).await?;
    let sums = count(&noted, into).await?;
    Ok(Restored { noted, sums, settled })
}

fn take_all(from: &mut impl Read, into: &Path) -> anyhow::Result<Noted> {
    let mut files = std::collections::BTreeMap::new();
    while let Some((name, length)) = archive::next(from)? {
        if name != FILE {
            archive::take(from, into, &name, length)?;
            files.insert(name, length);
            continue;
        }
        let mut text = Vec::new();
        from.take(length).read_to_end(&mut text)?;
        let noted: Noted =
            serde_json::from_slice(&text).context("what it says of itself cannot be understood")?;
        ensure!(
            noted.format == FORMAT,
            "it was written by another version of this program ({})",
            noted.version
        );
        ensure!(noted.files == files, "its files are not those that it names");
        ensure!(archive::next(from)?.is_none(), "something follows what should be its last file");
        return Ok(noted);
    }
    bail!("it does not say what it holds")
}

/// Has SQLite look at every page, and counts.
async fn count(noted: &Noted, dir: &Path) -> anyhow::Result<Sums> {
    let mut sums = Sums::default();
    for name in noted.files.keys().filter(|name| name.ends_with(".sqlite")) {
        let contents = store::contents(&dir.join(name), true).await.with_context(|| format!("`{name}`"))?;
        sums.add(contents)?;
    }
    Ok(sums)
}

/// What a start would do with the spool: calls without an end are settled, and everything goes into the database. The folder is this
/// process's until the ledger is dropped and `tasks` have ended. Also how many calls were settled.
pub(crate) async fn take_in(dir: &Path, tasks: &Tasks) -> anyhow::Result<(Store, Ledger, u64)> {
    let clock = Clock::system();
    let (ledger, recovery) = Ledger::open(Options::new(dir.join(SPOOL)), clock.clone(), tasks)?;
    let store = Store::open(&StoreUrl::Sqlite, dir, clock).await.context("the database cannot be opened")?;
    ledger.start_drain(Arc::new(store.clone()), tasks);
    let all = ledger.flush(FLUSH).await;
    let why = ledger.depth().last_error.unwrap_or_default();
    ensure!(all, "the records of the spool cannot be taken into the database: {why}");
    Ok((store, ledger, recovery.open_intents_settled))
}

/// Takes the spool in and leaves it so that it remembers nothing; how many calls were settled.
async fn take_in_spool(dir: &Path) -> anyhow::Result<u64> {
    let (tasks, spool) = (Tasks::new(), dir.join(SPOOL));
    let (store, ledger, settled) = take_in(dir, &tasks).await?;
    drop(ledger);
    tasks.stop();
    tasks.drained(TASKS).await;
    store.close().await;
    for entry in fs::read_dir(&spool)? {
        let path = entry?.path();
        let stays = path.file_name().is_some_and(|name| name == super::NODE || name == "poison.jsonl");
        if !stays {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(settled)
}
