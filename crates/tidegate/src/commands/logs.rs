//! `tidegate logs`: requests as a list, newest last, and on request as they finish.

mod follow;

use super::keys::text;
use super::usage::count;
use crate::cli::Shape;
use crate::client::Control;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::table::{Lean, Table};
use crate::terminal::{Terminal, Tone};
use serde_json::Value;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate logs --limit 20
  tidegate logs --follow --key my-app
  tidegate logs --status 429 --since 24h --json")]
pub(crate) struct Args {
    /// How many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on printing requests as they finish
    #[arg(long)]
    follow: bool,
    /// Only this key
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Only this model
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Only this HTTP status
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(100..=599))]
    status: Option<u16>,
    /// Only this environment
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// From when: a span back from now (1h) or a time
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let control = Control::of(place)?;
    let mut terminal = Terminal::stdout();
    if !args.follow {
        let logs = page(&control, &args, args.limit, Cursor::Newest).await?;
        print(&mut terminal, &args, &logs, true)?;
        return Ok(Outcome::Done);
    }
    follow::run(&control, &args, &mut terminal).await
}

/// Where a page of the log lies.
#[derive(Clone, Copy)]
enum Cursor<'a> {
    Newest,
    /// The newest of those older than this request.
    Before(&'a str),
    /// The oldest of those newer than this request.
    After(&'a str),
}

/// A page in the order of time.
async fn page(control: &Control, args: &Args, limit: u32, cursor: Cursor<'_>) -> anyhow::Result<Vec<Value>> {
    let (before, after) = match cursor {
        Cursor::Newest => (None, None),
        Cursor::Before(id) => (Some(id.to_owned()), None),
        Cursor::After(id) => (None, Some(id.to_owned())),
    };
    let query = [
        ("limit", Some(limit.to_string())),
        ("key", args.key.clone()),
        ("model", args.model.clone()),
        ("status", args.status.map(|status| status.to_string())),
        ("environment", args.environment.clone()),
        ("since", args.since.clone()),
        ("before", before),
        ("after", after),
    ];
    let mut answer = control.get("/api/logs", &query).await?;
    let mut logs = answer["logs"].as_array_mut().map(std::mem::take).unwrap_or_default();
    logs.reverse();
    Ok(logs)
}

fn print(terminal: &mut Terminal, args: &Args, logs: &[Value], first: bool) -> anyhow::Result<()> {
    if args.shape.json {
        for log in logs {
            terminal.json(log)?;
        }
        return Ok(());
    }
    if logs.is_empty() {
        if first && !args.follow {
            terminal.line("No requests match.")?;
        }
        return Ok(());
    }
    if args.follow { print_lines(terminal, logs) } else { print_table(terminal, logs) }
}

const HEADS: [(&str, Lean); 11] = [
    ("TIME", Lean::Left),
    ("KEY", Lean::Left),
    ("MODEL", Lean::Left),
    ("STATUS", Lean::Right),
    ("ERROR", Lean::Left),
    ("IN", Lean::Right),
    ("OUT", Lean::Right),
    ("COST", Lean::Right),
    ("FIRST", Lean::Right),
    ("TOTAL", Lean::Right),
    ("REQUEST", Lean::Left),
];

fn print_table(terminal: &mut Terminal, logs: &[Value]) -> anyhow::Result<()> {
    let mut table = Table::new(&HEADS);
    for log in logs {
        table.row(cells_of(log));
    }
    table.print(terminal)?;
    Ok(())
}

/// A follower does not know the widths of what comes, so its columns are fixed and only grow.
fn print_lines(terminal: &mut Terminal, logs: &[Value]) -> anyhow::Result<()> {
    const WIDTHS: [usize; 11] = [23, 10, 20, 3, 16, 6, 6, 15, 7, 7, 36];
    for log in logs {
        let mut line = String::new();
        for (((cell, tone), width), (_, lean)) in cells_of(log).iter().zip(WIDTHS).zip(HEADS) {
            let cell = crate::terminal::harmless(cell, false);
            let space = " ".repeat(width.saturating_sub(crate::table::width(&cell)));
            let painted = terminal.paint(*tone, &cell);
            match lean {
                Lean::Left => line.extend([painted, space]),
                Lean::Right => line.extend([space, painted]),
            }
            line.push_str("  ");
        }
        terminal.line(line.trim_end())?;
    }
    terminal.flush()?;
    Ok(())
}

fn cells_of(log: &Value) -> Vec<(String, Tone)> {
    let status = log["status"].as_u64().unwrap_or(0);
    let tone = match status {
        200..=399 => Tone::Good,
        400..=499 => Tone::Warn,
        _ => Tone::Bad,
    };
    let cost = match (log["cost"].as_str(), log["currency"].as_str()) {
        // What had an earlier answer cost nothing.
        (_, Some(currency)) if log["cache"] == "hit" => match log["saved"].as_str() {
            Some(saved) => format!("saved {saved} {currency}"),
            None => "cached".to_owned(),
        },
        _ if log["cache"] == "replay" => "replayed".to_owned(),
        (Some(cost), Some(currency)) if log["estimated"] == true => format!("~{cost} {currency}"),
        (Some(cost), Some(currency)) => format!("{cost} {currency}"),
        _ => String::new(),
    };
    vec![
        (text(&log["time"]).replace('T', " ").replace('Z', ""), Tone::Quiet),
        (text(&log["key"]), Tone::Plain),
        (text(&log["model"]), Tone::Strong),
        (status.to_string(), tone),
        (text(&log["error_code"]), tone),
        (count(&log["input_tokens"]), Tone::Plain),
        (count(&log["output_tokens"]), Tone::Plain),
        (cost, Tone::Plain),
        (log["first_byte_ms"].as_f64().map(span).unwrap_or_default(), Tone::Plain),
        (log["duration_ms"].as_f64().map(span).unwrap_or_default(), Tone::Plain),
        (text(&log["request_id"]), Tone::Quiet),
    ]
}

/// Milliseconds as a person says them.
pub(super) fn span(milliseconds: f64) -> String {
    if milliseconds < 10.0 {
        format!("{milliseconds:.1} ms")
    } else if milliseconds < 1_000.0 {
        format!("{milliseconds:.0} ms")
    } else if milliseconds < 60_000.0 {
        format!("{:.2} s", milliseconds / 1_000.0)
    } else {
        format!("{:.1} min", milliseconds / 60_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_estimated_cost_is_marked_and_an_unknown_one_is_empty() {
        let mut log = json!({ "status": 200, "cost": "0.0012", "currency": "USD", "estimated": true });
        assert_eq!(cells_of(&log)[7].0, "~0.0012 USD");
        log["estimated"] = json!(false);
        assert_eq!(cells_of(&log)[7].0, "0.0012 USD");
        let mut hit =
            json!({ "status": 200, "cost": "0.00", "currency": "USD", "cache": "hit", "saved": "0.0012" });
        assert_eq!(cells_of(&hit)[7].0, "saved 0.0012 USD");
        hit["saved"] = json!(null);
        assert_eq!(cells_of(&hit)[7].0, "cached");
        hit["cache"] = json!("replay");
        assert_eq!(cells_of(&hit)[7].0, "replayed");
        log["cost"] = Value::Null;
        assert_eq!(cells_of(&log)[7].0, "");
    }

    #[test]
    fn spans_read_well_at_every_size() {
        let spans = [0.42, 42.4, 1_234.0, 90_000.0].map(span);
        assert_eq!(spans, ["0.4 ms", "42 ms", "1.23 s", "1.5 min"]);
    }
}
