//! `tidegate logs --follow`: prints requests as they finish.
//!
//! Requests are ordered by when they came, but their lines appear when they end. So there are two questions: twice a
//! second, what is newer than the newest line seen (which costs the server only those lines), and every few seconds,
//! what has ended since among older ones. The second looks back two minutes and at least one page within the last hour,
//! so that on a quiet gateway also a request of an hour is shown; what was printed is known by its id.

use super::{Args, Cursor, page, print};
use crate::client::Control;
use crate::commands::keys::text;
use crate::outcome::Outcome;
use crate::terminal::Terminal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// How often a follower asks for what is newer.
const PACE: Duration = Duration::from_millis(500);
/// Every how many paces it looks back.
const LOOK_BACK: u32 = 10;
/// How far back, milliseconds, at most so many pages and at least one.
const FAR: u64 = 120_000;
const PAGES: usize = 10;
/// The longest request that is looked for, as the server reads it.
const LONGEST: &str = "1h";
/// As many as the server gives at once.
const PAGE: u32 = 1_000;

/// Prints the last requests, then goes on until interrupted.
pub(super) async fn run(control: &Control, args: &Args, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let mut seen = Seen::default();
    // What is there already is not news, but for the last lines of it.
    seen.begin(&look_back(control, args).await?);
    let logs = page(control, args, args.limit, Cursor::Newest).await?;
    print(terminal, args, &logs, true)?;
    seen.fresh(logs);
    let mut pace = 0;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(Outcome::Done),
            () = tokio::time::sleep(PACE) => {}
        }
        pace = (pace + 1) % LOOK_BACK;
        let logs =
            if pace == 0 { look_back(control, args).await? } else { newer(control, args, &seen).await? };
        print(terminal, args, &seen.fresh(logs), false)?;
        seen.forget(if pace == 0 { seen.reach() } else { None });
    }
}

/// Everything newer than the newest line seen.
async fn newer(control: &Control, args: &Args, seen: &Seen) -> anyhow::Result<Vec<Value>> {
    let Some(newest) = seen.newest() else { return page(control, args, PAGE, Cursor::Newest).await };
    let mut logs: Vec<Value> = Vec::new();
    loop {
        let after = logs.last().map_or_else(|| newest.to_owned(), |log| text(&log["request_id"]));
        let more = page(control, args, PAGE, Cursor::After(&after)).await?;
        let full = more.len() >= PAGE as usize;
        logs.extend(more);
        if !full || logs.len() >= PAGES * PAGE as usize {
            return Ok(logs);
        }
    }
}

/// The newest page, and further ones while they are not older than [`FAR`]; nothing older than [`LONGEST`], since with a
/// filter that few lines match a page would be the whole log.
async fn look_back(control: &Control, args: &Args) -> anyhow::Result<Vec<Value>> {
    let args = &Args { since: args.since.clone().or_else(|| Some(LONGEST.to_owned())), ..args.clone() };
    let mut logs = page(control, args, PAGE, Cursor::Newest).await?;
    let Some(until) = logs.last().and_then(|log| made_at(&text(&log["request_id"]))) else { return Ok(logs) };
    for _ in 1..PAGES {
        let Some(oldest) = logs.first().map(|log| text(&log["request_id"])) else { break };
        let near = made_at(&oldest).is_some_and(|at| at + FAR > until);
        if logs.len() % PAGE as usize != 0 || !near {
            break;
        }
        let mut older = page(control, args, PAGE, Cursor::Before(&oldest)).await?;
        if older.is_empty() {
            break;
        }
        older.append(&mut logs);
        logs = older;
    }
    Ok(logs)
}

/// When a request came, in milliseconds: the first 48 bits of its id (UUIDv7).
fn made_at(id: &str) -> Option<u64> {
    let digits: String = id.chars().filter(|c| *c != '-').take(12).collect();
    u64::from_str_radix(&digits, 16).ok()
}

/// The ids of what was printed or was there before, in the order of time.
#[derive(Default)]
struct Seen {
    ids: BTreeSet<String>,
    /// What is older was not looked at in the beginning, so nobody can say whether it is new.
    floor: String,
}

impl Seen {
    /// Takes what is there already.
    fn begin(&mut self, logs: &[Value]) {
        self.ids = logs.iter().map(|log| text(&log["request_id"])).collect();
        if logs.len() >= PAGE as usize {
            self.floor = self.ids.first().cloned().unwrap_or_default();
        }
    }

    /// Those not seen before.
    fn fresh(&mut self, mut logs: Vec<Value>) -> Vec<Value> {
        logs.retain(|log| {
            let id = text(&log["request_id"]);
            id >= self.floor && self.ids.insert(id)
        });
        logs
    }

    fn newest(&self) -> Option<&str> {
        self.ids.last().map(String::as_str)
    }

    /// The oldest id that a look back can still bring: that many lines, newest first.
    fn reach(&self) -> Option<String> {
        self.ids.iter().rev().nth(PAGES * PAGE as usize).cloned()
    }

    /// Forgets what is older, so that it never grows beyond what is looked back at.
    fn forget(&mut self, reach: Option<String>) {
        if let Some(reach) = reach {
            self.ids = self.ids.split_off(&reach);
            self.floor = reach;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_follower_shows_a_long_request_that_ends_after_newer_ones() {
        let log = |id: &str| json!({ "request_id": id });
        let mut seen = Seen::default();
        assert_eq!(seen.fresh(vec![log("2"), log("3")]).len(), 2);
        assert_eq!(seen.newest(), Some("3"));
        assert_eq!(seen.fresh(vec![log("1"), log("2"), log("3")]), [log("1")]);
        assert!(seen.fresh(vec![log("1"), log("2"), log("3")]).is_empty());
    }

    /// A page may reach further back than the one of the beginning did.
    #[test]
    fn what_was_there_before_is_not_news() {
        let logs = |numbers: std::ops::Range<u32>| -> Vec<Value> {
            numbers.map(|number| json!({ "request_id": format!("{number:08}") })).collect()
        };
        let mut seen = Seen::default();
        seen.begin(&logs(500..1500));
        assert_eq!(seen.fresh(logs(0..1501)), logs(1500..1501));
        let mut quiet = Seen::default();
        quiet.begin(&logs(10..20));
        assert_eq!(quiet.fresh(logs(5..20)).len(), 5, "all that there was is known, so these are new");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut seen = Seen::default();
        let logs = (0..30_000).map(|number| json!({ "request_id": format!("{number:08}") })).collect();
        assert_eq!(seen.fresh(logs).len(), 30_000);
        seen.forget(seen.reach());
        assert_eq!(seen.ids.len(), PAGES * PAGE as usize + 1);
        assert_eq!(seen.newest(), Some("00029999"));
    }

    #[test]
    fn an_id_tells_its_time() {
        assert_eq!(made_at("019361d1-4e80-7abc-8def-0123456789ab"), Some(0x0193_61d1_4e80));
        assert_eq!(made_at("x"), None);
    }
}
