//! `tidegate migrate --to postgres://…`: from the SQLite files of the data folder to PostgreSQL, no record lost.

use crate::backup::take_in;
use crate::cli::Shape;
use crate::environment;
use crate::located::Place;
use crate::outcome::{Outcome, WrongUsage};
use crate::serve::folder;
use crate::table::grouped;
use crate::terminal::Terminal;
use anyhow::{Context, ensure};
use policy::{Money, StoreUrl};
use runtime::{Clock, Tasks};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use store::{Moved, Store};

/// So many rows between two lines of progress.
const STRIDE: u64 = 100_000;
const TASKS: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate migrate --to postgres://tidegate@db.internal/tidegate
  tidegate migrate --to env:DATABASE_URL --json             where the address holds a password

Stop the gateway first. What the spool holds is taken in, every row is copied, and both sides are counted and summed up at
the end. Where it is killed, run it again: it goes on. The SQLite files stay as they are; afterwards set `store.url` and start.")]
pub(crate) struct Args {
    /// The empty database: postgres://…, or env:NAME for a variable that holds it
    #[arg(long, value_name = "URL")]
    to: String,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let url = match args.to.strip_prefix("env:") {
        Some(name) => environment::find(name)
            .ok_or_else(|| WrongUsage(format!("environment variable `{name}` is not set, or is empty")))?,
        None => args.to,
    };
    let dir = place.data_dir()?;
    let control = dir.join("control.sqlite");
    ensure!(control.exists(), "there is nothing to move: `{}` does not exist", control.display());
    let mut terminal = Terminal::stdout();
    let moved = move_all(&dir, url, &mut terminal, args.shape.json).await?;
    if args.shape.json {
        terminal.json(&json!({
            "moved_before": moved.before,
            "rows": moved.rows,
            "cost": decimals(&moved.cost),
            "paid": decimals(&moved.paid),
        }))?;
        return Ok(Outcome::Done);
    }
    if moved.before {
        terminal.line("Everything was moved there already, by an earlier call. Nothing was changed.")?;
    } else {
        let count = |table: &str| grouped(moved.rows.get(table).copied().unwrap_or(0));
        terminal.line(&format!(
            "Moved, and equal on both sides: {} records of usage, {} keys, {} releases, {} lines of the request log.",
            count("entries"),
            count("keys"),
            count("releases"),
            count("request_log")
        ))?;
        for (what, sums) in [("Cost", &moved.cost), ("Paid by budgets", &moved.paid)] {
            for (currency, sum) in decimals(sums).as_object().into_iter().flatten() {
                terminal.line(&format!("{what}: {} {currency}", sum.as_str().unwrap_or_default()))?;
            }
        }
    }
    terminal.line("Now set `[store] url = \"postgres://…\"` in the settings, and start the gateway.")?;
    Ok(Outcome::Done)
}

async fn move_all(dir: &Path, url: String, terminal: &mut Terminal, quiet: bool) -> anyhow::Result<Moved> {
    let clock = Clock::system();
    let node = folder::load_node_id(dir)?;
    let tasks = Tasks::new();
    // Held to the end: no gateway may serve from the folder meanwhile.
    let (source, ledger, _) = take_in(dir, &tasks).await?;
    let target =
        Store::open(&StoreUrl::Postgres(url), dir, clock).await.context("the database cannot be opened")?;
    let mut tell = |table: &str, rows: u64| {
        if !quiet && rows.is_multiple_of(STRIDE) {
            // Whoever does not read on does not stop the move.
            let _ = terminal.line(&format!("{table}: {} rows", grouped(rows)));
        }
    };
    let moved = source.move_to(&target, &node, &mut tell).await.context("not all was moved")?;
    target.close().await;
    drop(ledger);
    tasks.stop();
    tasks.drained(TASKS).await;
    source.close().await;
    Ok(moved)
}

fn decimals(sums: &[(String, i64)]) -> Value {
    let decimal = |(code, nano): &(String, i64)| {
        let currency = code.parse().ok()?;
        Some((code.clone(), Value::from(Money { currency, nano: *nano }.decimal().to_string())))
    };
    sums.iter().filter_map(decimal).collect::<serde_json::Map<_, _>>().into()
}
