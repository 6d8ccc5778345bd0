//! `tidegate budgets`: what each budget has spent and holds.

use serde_json::Value;

use super::keys::text;
use crate::cli::Shape;
use crate::client::Control;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::table::{Lean, Table};
use crate::terminal::{Terminal, Tone};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate budgets\n  tidegate budgets --scope 'environment prod/' --json"
)]
pub(crate) struct Args {
    /// Only those whose scope begins with this
    #[arg(long, value_name = "TEXT")]
    scope: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let control = Control::of(place)?;
    let mut terminal = Terminal::stdout();
    let answer = control.get("/api/budgets", &[("scope", args.scope)]).await?;
    let budgets = answer["budgets"].as_array().map(Vec::as_slice).unwrap_or_default();
    if args.shape.json {
        for budget in budgets {
            terminal.json(budget)?;
        }
        return Ok(Outcome::Done);
    }
    if budgets.is_empty() {
        terminal.line("No budget is in force, or none has been used yet in its window.")?;
        terminal.line("A key gets one by `tidegate keys create NAME --budget 25.00/month`, others by [[budgets]] in the settings.")?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(&[
        ("BUDGET", Lean::Left),
        ("OF", Lean::Left),
        ("SPENT", Lean::Right),
        ("RESERVED", Lean::Right),
        ("AMOUNT", Lean::Right),
        ("WINDOW", Lean::Left),
        ("RESETS", Lean::Left),
    ]);
    for budget in budgets {
        table.row(row(budget));
    }
    table.print(&mut terminal)?;
    for reached in answer["reached"].as_array().into_iter().flatten().rev().take(5) {
        let (percent, spent) = (&reached["percent"], text(&reached["spent"]));
        let (name, at) = (text(&reached["budget"]), text(&reached["at"]));
        terminal
            .line(&format!("{at}: `{name}` reached {percent} % ({spent} {})", text(&reached["currency"])))?;
    }
    Ok(Outcome::Done)
}

fn row(budget: &Value) -> Vec<(String, Tone)> {
    let number = |name: &str| text(&budget[name]).parse::<f64>().unwrap_or(0.0);
    let part = number("spent") / number("amount").max(f64::MIN_POSITIVE);
    let tone = if part >= 1.0 { Tone::Bad } else { Tone::Plain };
    let resets = budget["resets_at"].as_str().unwrap_or("never").to_owned();
    vec![
        (text(&budget["name"]), Tone::Strong),
        (text(&budget["whose"]), Tone::Plain),
        (text(&budget["spent"]), tone),
        (text(&budget["reserved"]), Tone::Plain),
        (format!("{} {}", text(&budget["amount"]), text(&budget["currency"])), Tone::Plain),
        (text(&budget["window"]), Tone::Plain),
        (resets, Tone::Quiet),
    ]
}
