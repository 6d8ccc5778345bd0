//! `tidegate nodes`: the gateways on one database.

use super::keys::text;
use crate::cli::Shape;
use crate::client::Control;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::table::{Lean, Table};
use crate::terminal::{Terminal, Tone};
use clap::Subcommand;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the gateways
    #[command(after_help = "Example:\n  tidegate nodes list --json")]
    List(Shape),
    /// Give the others what a gateway held of budgets that will not come back
    #[command(
        after_help = "Only for a gateway whose data folder is lost: one that comes back goes on by itself.\n\nExample:\n  tidegate nodes forget 3f0c9a7be5d24816"
    )]
    Forget(Forget),
}

#[derive(Debug, clap::Args)]
struct Forget {
    /// Its id, as `tidegate nodes list` shows it
    id: String,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let control = Control::of(place)?;
    let mut terminal = Terminal::stdout();
    match args.what {
        What::List(shape) => list(&control, shape, &mut terminal).await,
        What::Forget(ask) => {
            let answer = control.post(&format!("/api/nodes/{}/forget", ask.id), &json!({})).await?;
            if ask.shape.json {
                terminal.json(&answer)?;
            } else {
                terminal.line(
                    "It is forgotten. What it held of budgets and had not used is there for the others.",
                )?;
            }
            Ok(Outcome::Done)
        }
    }
}

async fn list(control: &Control, shape: Shape, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let answer = control.get("/api/nodes", &[]).await?;
    let nodes = answer["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if shape.json {
        for node in nodes {
            terminal.json(node)?;
        }
        return Ok(Outcome::Done);
    }
    if nodes.is_empty() {
        terminal
            .line("This gateway has its database for itself. Several can share a PostgreSQL: `store.url`.")?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(&[
        ("GATEWAY", Lean::Left),
        ("ID", Lean::Left),
        ("VERSION", Lean::Left),
        ("STARTED", Lean::Left),
        ("LAST SEEN", Lean::Left),
        ("", Lean::Left),
    ]);
    for node in nodes {
        let (state, tone) = if node["lives"] == true { ("lives", Tone::Good) } else { ("gone", Tone::Bad) };
        table.row(vec![
            (text(&node["name"]), Tone::Strong),
            (text(&node["id"]), Tone::Plain),
            (text(&node["version"]), Tone::Plain),
            (text(&node["started_at"]), Tone::Quiet),
            (text(&node["seen_at"]), Tone::Quiet),
            (state.to_owned(), tone),
        ]);
    }
    table.print(terminal)?;
    Ok(Outcome::Done)
}
