//! `tidegate environments`: the named places that traffic runs in.

use super::keys::text;
use crate::cli::Shape;
use crate::client::Control;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::table::{Lean, Table};
use crate::terminal::{Terminal, Tone};
use clap::Subcommand;
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List environments, and what each runs on
    #[command(after_help = "Example:\n  tidegate environments list --json")]
    List(Shape),
    /// Make an environment, with an empty first release
    #[command(
        after_help = "Examples:\n  tidegate environments create staging --layer production\n  tidegate environments create lab --layer innovation --region eu"
    )]
    Create(Create),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// What it is called
    name: String,
    /// Its class
    #[arg(long, value_parser = ["development", "production", "innovation", "domestic"])]
    layer: String,
    /// Where its data stays
    #[arg(long)]
    region: Option<String>,
    /// The workspace's id; the first one where none is named
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let control = Control::of(place)?;
    let mut terminal = Terminal::stdout();
    match args.what {
        What::List(shape) => list(&control, shape, &mut terminal).await,
        What::Create(ask) => create(&control, ask, &mut terminal).await,
    }
}

async fn list(control: &Control, shape: Shape, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let answer = control.get("/api/environments", &[]).await?;
    let environments = answer["environments"].as_array().map(Vec::as_slice).unwrap_or_default();
    if shape.json {
        for environment in environments {
            terminal.json(environment)?;
        }
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(&[
        ("ENVIRONMENT", Lean::Left),
        ("LAYER", Lean::Left),
        ("OWNER", Lean::Left),
        ("RELEASE", Lean::Left),
        ("ID", Lean::Left),
        ("", Lean::Left),
    ]);
    for environment in environments {
        let trouble = environment["trouble"][0].as_str().unwrap_or_default().to_owned();
        table.row(vec![
            (text(&environment["name"]), Tone::Strong),
            (text(&environment["layer"]), Tone::Plain),
            (text(&environment["owner"]), Tone::Plain),
            (running(environment), Tone::Plain),
            (text(&environment["id"]), Tone::Quiet),
            (trouble, Tone::Bad),
        ]);
    }
    table.print(terminal)?;
    Ok(Outcome::Done)
}

/// `4`, or `4, 5 for 10 %`.
fn running(environment: &Value) -> String {
    match (environment["release"].as_u64(), environment["candidate"].as_u64()) {
        (None, _) => "none".to_owned(),
        (Some(release), None) => release.to_string(),
        (Some(release), Some(next)) => {
            format!("{release}, {next} for {} %", environment["percent"].as_f64().unwrap_or_default())
        }
    }
}

async fn create(control: &Control, ask: Create, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let body =
        json!({ "name": ask.name, "layer": ask.layer, "region": ask.region, "workspace": ask.workspace });
    let answer = control.post("/api/environments", &body).await?;
    if ask.shape.json {
        terminal.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let environment = &answer["environment"];
    let name = text(&environment["name"]);
    terminal.line(&format!(
        "Environment {name} ({}) runs on release 1, which is empty.",
        text(&environment["id"])
    ))?;
    terminal.line(&format!("Give it a document:  tidegate apply FILE --environment {name}"))?;
    terminal.line(&format!("Make it a key:       tidegate keys create NAME --environment {name}"))?;
    Ok(Outcome::Done)
}
