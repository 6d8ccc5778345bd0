//! `tidegate backup FILE`: everything that the gateway keeps, sealed, in one file; also while it serves.

use crate::backup::{self, Grounds};
use crate::cli::Shape;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::terminal::Terminal;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate backup /srv/backups/tidegate-2026-11-28
  tidegate backup --config /etc/tidegate.toml /srv/backups/tonight && tidegate restore --verify /srv/backups/tonight

The file is encrypted with the master key and does not hold it: keep the master key in another place. On PostgreSQL it holds
what is beside the database (the spool and the last snapshot); the database is backed up by pg_dump, after this command.")]
pub(crate) struct Args {
    /// Where to; must not exist yet
    file: PathBuf,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let grounds = Grounds::find(place)?;
    let noted = backup::write(&grounds, &args.file).await?;
    let mut terminal = Terminal::stdout();
    if args.shape.json {
        terminal.json(&noted)?;
        return Ok(Outcome::Done);
    }
    let shown = args.file.display();
    if noted.store == "sqlite" {
        terminal.line(&format!("Backed up to {shown}: {}.", noted.sums.words()))?;
        terminal.line("It opens with this gateway's master key alone; keep that in another place.")?;
    } else {
        terminal.line(&format!("Backed up to {shown}: the spool and the last snapshot."))?;
        terminal.line("The database is not in it: back it up now, with pg_dump.")?;
    }
    Ok(Outcome::Done)
}
