//! `tidegate releases`: every accepted change of the settings, numbered.

use super::apply;
use super::keys::text;
use crate::cli::Shape;
use crate::client::{Control, escape};
use crate::located::Place;
use crate::outcome::Outcome;
use crate::table::{Lean, Table};
use crate::terminal::{Terminal, Tone, harmless};
use clap::Subcommand;
use serde_json::{Value, json};

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
    /// Say what a release changes, field by field
    #[command(
        after_help = "Examples:\n  tidegate releases diff 4\n  tidegate releases diff 4 --against 2 --json"
    )]
    Diff(DiffOf),
    /// Put a release into force, for all or for some end users
    #[command(
        after_help = "Examples:\n  tidegate releases publish 4 --environment prod\n  tidegate releases publish 4 --environment prod --percent 10"
    )]
    Publish(Publish),
    /// Go back to a release that was in force
    #[command(after_help = "Example:\n  tidegate releases rollback 3 --environment prod")]
    Rollback(Show),
    /// Approve a release that somebody else made
    #[command(after_help = "Example:\n  tidegate releases approve 4 --environment prod")]
    Approve(Show),
    /// Make the same release in another environment
    #[command(after_help = "Example:\n  tidegate releases promote 4 --environment staging --to prod")]
    Promote(Promote),
}

#[derive(Debug, clap::Args)]
struct DiffOf {
    #[command(flatten)]
    which: Show,
    /// The release to compare with [default: the one in force]
    #[arg(long, value_name = "N")]
    against: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct Publish {
    #[command(flatten)]
    which: Show,
    /// Only for so many percent of end users
    #[arg(long, value_name = "P")]
    percent: Option<f64>,
    /// An end user who has it whatever the share is; may be given several times
    #[arg(long = "user", value_name = "ID")]
    users: Vec<String>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Promote {
    #[command(flatten)]
    which: Show,
    /// The other environment
    #[arg(long, value_name = "NAME")]
    to: String,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
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
        What::Diff(ask) => {
            let against = [("against", ask.against.map(|number| number.to_string()))];
            let answer = control.get(&ask.which.path("diff"), &against).await?;
            apply::print(&answer, &ask.which.environment, ask.which.shape, &mut terminal)?;
            Ok(Outcome::Done)
        }
        What::Publish(ask) => {
            let body = json!({ "percent": ask.percent, "users": ask.users, "message": ask.message });
            put(&control, &ask.which, "publish", &body, &mut terminal).await
        }
        What::Rollback(ask) => put(&control, &ask, "rollback", &json!({}), &mut terminal).await,
        What::Approve(ask) => approve(&control, &ask, &mut terminal).await,
        What::Promote(ask) => promote(&control, &ask, &mut terminal).await,
    }
}

impl Show {
    fn path(&self, what: &str) -> String {
        format!("/api/environments/{}/releases/{}/{what}", escape(&self.environment), self.number)
    }
}

async fn put(
    control: &Control,
    which: &Show,
    what: &str,
    body: &Value,
    terminal: &mut Terminal,
) -> anyhow::Result<Outcome> {
    let answer = control.post(&which.path(what), body).await?;
    if which.shape.json {
        terminal.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let environment = &which.environment;
    let said = match answer["candidate"].as_u64() {
        Some(next) => format!(
            "Release {next} of {environment} is in force for {} % of end users, release {} for all others.",
            answer["percent"], answer["release"]
        ),
        None => format!("Release {} of {environment} is in force.", answer["release"]),
    };
    terminal.line(&said)?;
    let late: Vec<String> = answer["waiting_for"].as_array().into_iter().flatten().map(text).collect();
    if !late.is_empty() {
        terminal.line(&format!("Not heard yet from: {}.", late.join(", ")))?;
    }
    Ok(Outcome::Done)
}

async fn approve(control: &Control, which: &Show, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let answer = control.post(&which.path("approve"), &json!({})).await?;
    if which.shape.json {
        terminal.json(&answer)?;
    } else {
        let by: Vec<String> = answer["approvals"].as_array().into_iter().flatten().map(text).collect();
        terminal.line(&format!(
            "Release {} is approved by {}; {} needed.",
            which.number,
            by.join(", "),
            answer["needed"]
        ))?;
    }
    Ok(Outcome::Done)
}

async fn promote(control: &Control, ask: &Promote, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let body = json!({ "to": ask.to, "message": ask.message });
    let answer = control.post(&ask.which.path("promote"), &body).await?;
    if ask.which.shape.json {
        terminal.json(&answer)?;
    } else {
        terminal.line(&apply::said(&ask.to, &answer))?;
    }
    Ok(Outcome::Done)
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
