//! `tidegate restore FILE`: what `backup` wrote comes back, or is shown to be whole.

use crate::backup::{self, Grounds};
use crate::cli::Shape;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::terminal::Terminal;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate restore --data-dir /var/lib/tidegate /srv/backups/tonight
  tidegate restore --verify /srv/backups/tonight           unpack it beside, open it, count it, and remove it again

The data folder must hold nothing but `master.key` (or nothing, where the settings say where the master key is), and no gateway
may serve from it. --verify changes nothing and may be run beside a gateway that serves.")]
pub(crate) struct Args {
    /// What `tidegate backup` wrote
    file: PathBuf,
    /// Only show that it can be restored
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let grounds = Grounds::find(place)?;
    let restored = if args.verify {
        backup::verify(&grounds, &args.file).await?
    } else {
        backup::restore(&grounds, &args.file).await?
    };
    let (noted, sums) = (&restored.noted, &restored.sums);
    let mut terminal = Terminal::stdout();
    if args.shape.json {
        terminal.json(&json!({
            "verified_only": args.verify,
            "backup": noted,
            "rows": sums.rows,
            "cost": sums.cost,
            "paid": sums.paid,
            "settled": restored.settled,
        }))?;
        return Ok(Outcome::Done);
    }
    let shown = args.file.display();
    let (at, version) = (&noted.at, &noted.version);
    terminal.line(&format!("{shown} was written at {at} by version {version} and is whole."))?;
    if noted.store == "sqlite" {
        let sentence = if args.verify { "It would bring back" } else { "Restored" };
        terminal.line(&format!("{sentence}: {}.", sums.words()))?;
    } else {
        terminal.line(
            "It holds the spool and the last snapshot. The database comes back from what pg_dump wrote.",
        )?;
    }
    if restored.settled > 0 {
        let settled = restored.settled;
        terminal.line(&format!("{settled} calls were under way when it was begun: where nothing else is known they are settled from their last mark."))?;
    }
    Ok(Outcome::Done)
}
