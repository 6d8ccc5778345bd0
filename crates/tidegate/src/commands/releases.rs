//! `tidegate releases`: every accepted change of the settings, numbered.

use super::keys::text;
use crate::cli::Shape;
use crate::client::Control;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::table::{Lean, Table};
use crate::terminal::{Terminal, Tone, harmless};
use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List releases, newest first
    #[command(after_help = "Example:\n  tidegate releases list --json")]
    List(List),
    /// Show one release with its document
    #[command(after_help = "Example:\n  tidegate releases show 3")]
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only this environment
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// How many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The release's number
    number: u64,
    /// The environment
    #[arg(long, default_value = "dev", value_name = "NAME")]
    environment: String,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let control = Control::of(place)?;
    let mut terminal = Terminal::stdout();
    match args.what {
        What::List(ask) => list(&control, &ask, &mut terminal).await,
        What::Show(ask) => show(&control, &ask, &mut terminal).await,
    }
}

async fn list(control: &Control, ask: &List, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let query = [("environment", ask.environment.clone()), ("limit", Some(ask.limit.to_string()))];
    let answer = control.get("/api/releases", &query).await?;
    let releases = answer["releases"].as_array().map(Vec::as_slice).unwrap_or_default();
    if ask.shape.json {
        for release in releases {
            terminal.json(release)?;
        }
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(&[
        ("RELEASE", Lean::Right),
        ("ENVIRONMENT", Lean::Left),
        ("ACCEPTED", Lean::Left),
        ("FROM", Lean::Left),
        ("WHAT", Lean::Left),
        ("", Lean::Left),
    ]);
    for release in releases {
        let current = if release["current"] == true { "serving" } else { "" };
        table.row(vec![
            (release["number"].to_string(), Tone::Strong),
            (text(&release["environment"]), Tone::Plain),
            (text(&release["at"]), Tone::Quiet),
            (text(&release["source"]), Tone::Plain),
            (text(&release["message"]), Tone::Plain),
            (current.to_owned(), Tone::Good),
        ]);
    }
    table.print(terminal)?;
    Ok(Outcome::Done)
}

async fn show(control: &Control, ask: &Show, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let path = format!("/api/releases/{}", ask.number);
    let release = control.get(&path, &[("environment", Some(ask.environment.clone()))]).await?;
    if ask.shape.json {
        terminal.json(&release)?;
        return Ok(Outcome::Done);
    }
    let head = format!("Release {} of {}", release["number"], text(&release["environment"]));
    terminal.line(&terminal.paint(Tone::Strong, &head))?;
    terminal.line(&format!("accepted  {}", text(&release["at"])))?;
    terminal.line(&format!("from      {}", text(&release["source"])))?;
    terminal.line(&format!("checksum  {}\n", text(&release["checksum"])))?;
    let document = release["document"].as_str().unwrap_or_default();
    terminal.line(harmless(document, true).trim_end())?;
    Ok(Outcome::Done)
}
