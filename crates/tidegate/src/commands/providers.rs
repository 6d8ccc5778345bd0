//! `tidegate providers`: whom the gateway calls, and who is passed over at present.

use super::keys::text;
use crate::cli::Shape;
use crate::client::Control;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::table::{Lean, Table};
use crate::terminal::{Terminal, Tone};
use serde_json::Value;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tidegate providers\n  tidegate providers --json")]
pub(crate) struct Args {
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let control = Control::of(place)?;
    let mut terminal = Terminal::stdout();
    let answer = control.get("/api/providers", &[]).await?;
    let providers = answer["providers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if args.shape.json {
        for provider in providers {
            terminal.json(provider)?;
        }
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(&[
        ("PROVIDER", Lean::Left),
        ("ENVIRONMENT", Lean::Left),
        ("ADDRESS", Lean::Left),
        ("STATE", Lean::Left),
    ]);
    for provider in providers {
        let address =
            if provider["simulated"] == true { "(simulated)".to_owned() } else { text(&provider["address"]) };
        let mut states = states(provider).into_iter();
        let (state, tone) = states.next().unwrap_or_else(|| (String::new(), Tone::Plain));
        table.row(vec![
            (text(&provider["name"]), Tone::Strong),
            (text(&provider["environment"]), Tone::Plain),
            (address, Tone::Quiet),
            (state, tone),
        ]);
        for (state, tone) in states {
            let nothing = || (String::new(), Tone::Plain);
            table.row(vec![nothing(), nothing(), nothing(), (state, tone)]);
        }
    }
    table.print(&mut terminal)?;
    Ok(Outcome::Done)
}

/// A line for each thing that is not well, or one that all is.
fn states(provider: &Value) -> Vec<(String, Tone)> {
    let mut lines: Vec<_> = provider["standings"].as_array().into_iter().flatten().map(state).collect();
    if let Some(error) = provider["error"].as_str() {
        lines.push((format!("its models could not be listed: {error}"), Tone::Bad));
    }
    let credentials: Vec<_> = provider["credentials"].as_array().into_iter().flatten().map(text).collect();
    let ill = |name: &String| {
        let mut standings = provider["standings"].as_array().into_iter().flatten();
        standings.any(|standing| standing["credential"] == name.as_str())
    };
    let well: Vec<_> = credentials.into_iter().filter(|name| !ill(name)).collect();
    if !well.is_empty() {
        lines.push((format!("nothing bad is known of credential {}", well.join(", ")), Tone::Good));
    }
    if lines.is_empty() {
        lines.push(("nothing bad is known".to_owned(), Tone::Good));
    }
    for bearing in provider["bearings"].as_array().into_iter().flatten() {
        let (limit, under_way) = (&bearing["limit"], &bearing["under_way"]);
        let name = named(bearing);
        lines.push((format!("{name}: bears {limit} calls at once; {under_way} under way"), Tone::Plain));
    }
    lines
}

/// A model, with its credential where there are several.
fn named(place: &Value) -> String {
    let mut name = text(&place["name"]);
    if let Some(credential) = place["credential"].as_str() {
        name.push_str(&format!(" (credential {credential})"));
    }
    name
}

fn state(standing: &Value) -> (String, Tone) {
    let name = named(standing);
    let failures = standing["failures"].as_u64().unwrap_or_default();
    let what = match standing["reason"].as_str() {
        Some("credential") => "refuses the gateway's credential".to_owned(),
        Some("forbidden") => "does not let our account use it".to_owned(),
        Some("rate_limited") => "limits the rate".to_owned(),
        Some("mostly_failed") => {
            let (of, failed) = (&standing["recent_attempts"], &standing["recent_failures"]);
            format!("failed {failed} of its last {of} attempts")
        }
        _ => format!("failed {failures} times in a row"),
    };
    let seconds = standing["tried_in_ms"].as_u64().unwrap_or_default().div_ceil(1000);
    match (standing["away"] == true, seconds) {
        (true, 0) => (format!("{name}: {what}; being tried"), Tone::Bad),
        (true, seconds) => (format!("{name}: {what}; passed over for {seconds} s"), Tone::Bad),
        (false, _) => (format!("{name}: {what}"), Tone::Plain),
    }
}
