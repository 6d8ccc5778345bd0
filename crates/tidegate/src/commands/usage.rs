//! `tidegate usage`: where the tokens and the money went.

use super::keys::text;
use crate::cli::Shape;
use crate::client::Control;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::table::{Lean, Table, grouped};
use crate::terminal::{Terminal, Tone};
use serde_json::Value;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate usage
  tidegate usage --by day --since 30d
  tidegate usage --by key,model --since 2026-11-01T00:00:00Z --json")]
pub(crate) struct Args {
    /// Group by: key, model, provider, environment, day, hour, end_user; comma-separated
    #[arg(long, default_value = "key,model", value_name = "LIST")]
    by: String,
    /// From when: a span back from now (7d) or a time
    #[arg(long, default_value = "7d", value_name = "WHEN")]
    since: String,
    /// Until when [default: now]
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let control = Control::of(place)?;
    let query = [("by", Some(args.by.clone())), ("since", Some(args.since.clone())), ("until", args.until)];
    let answer = control.get("/api/usage", &query).await?;
    let rows = answer["usage"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut terminal = Terminal::stdout();
    if args.shape.json {
        for row in rows {
            terminal.json(row)?;
        }
        return Ok(Outcome::Done);
    }
    if rows.is_empty() {
        terminal.line(&format!("No requests since {}.", text(&answer["since"])))?;
        return Ok(Outcome::Done);
    }
    let by: Vec<String> = answer["by"].as_array().into_iter().flatten().map(text).collect();
    print_table(&mut terminal, &by, rows)?;
    Ok(Outcome::Done)
}

fn print_table(terminal: &mut Terminal, by: &[String], rows: &[Value]) -> anyhow::Result<()> {
    let mut heads: Vec<(&'static str, Lean)> = by.iter().map(|word| (head_of(word), Lean::Left)).collect();
    heads.extend([
        ("REQUESTS", Lean::Right),
        ("INPUT TOKENS", Lean::Right),
        ("OUTPUT TOKENS", Lean::Right),
        ("COST", Lean::Right),
        ("", Lean::Left),
        ("COST UNKNOWN", Lean::Right),
    ]);
    let mut table = Table::new(&heads);
    for row in rows {
        let mut cells: Vec<(String, Tone)> = by.iter().map(|word| (text(&row[word]), Tone::Plain)).collect();
        let unknown = row["unknown_cost_requests"].as_u64().unwrap_or(0);
        cells.extend([
            (count(&row["requests"]), Tone::Plain),
            (count(&row["input_tokens"]), Tone::Plain),
            (count(&row["output_tokens"]), Tone::Plain),
            (text(&row["cost"]), Tone::Strong),
            (text(&row["currency"]), Tone::Quiet),
            (if unknown == 0 { String::new() } else { grouped(unknown) }, Tone::Warn),
        ]);
        table.row(cells);
    }
    table.print(terminal)?;
    Ok(())
}

fn head_of(word: &str) -> &'static str {
    match word {
        "key" => "KEY",
        "model" => "MODEL",
        "provider" => "PROVIDER",
        "environment" => "ENVIRONMENT",
        "day" => "DAY",
        "hour" => "HOUR",
        "end_user" => "END USER",
        _ => "GROUP",
    }
}

pub(super) fn count(value: &Value) -> String {
    value.as_u64().map(grouped).unwrap_or_default()
}
