//! How much to think, in the vendor's own switch.
//!
//! What the client says in the vendor's own words stays; only OpenAI's `reasoning_effort` (and what a client of another
//! dialect wanted) is mapped. A level that the vendor's switch cannot say is reported.

use super::request::Ask;
use super::splice::Members;
use super::{Quirk, Quirks};
use crate::blocks::Thinking;
use crate::json::text::decode;

/// Tokens for the lower levels where a vendor bounds thinking by tokens; higher levels are not bounded.
const LOW: u32 = 4_096;
const MEDIUM: u32 = 16_384;

/// What is wanted.
struct Wish {
    on: bool,
    effort: Option<String>,
    /// Tokens, where the caller counted them.
    budget: Option<i64>,
}

/// Maps the wish to the vendor's switch. Gives the names that the writer reported as lost and that are not.
pub(super) fn edit(
    members: &mut Members<'_>,
    quirks: Quirks,
    ask: &Ask<'_>,
    dropped: &mut Vec<String>,
) -> Vec<&'static str> {
    let by_object = quirks.has(Quirk::ThinkingObject);
    let by_flag = quirks.has(Quirk::EnableThinkingFlag);
    let by_level = quirks.has(Quirk::EffortLowHighMax);
    if !by_object && !by_flag && !by_level {
        return Vec::new();
    }
    let said = ["thinking", "enable_thinking", "thinking_budget"].iter().any(|name| members.has(name));
    let Some(wish) = wish(members, ask).filter(|_| !said) else { return Vec::new() };
    if by_flag {
        members.remove("reasoning_effort");
        members.add("enable_thinking", if wish.on { b"true" } else { b"false" });
        if let Some(bound) = wish.bound().filter(|_| wish.on) {
            members.add("thinking_budget", bound.to_string().as_bytes());
        }
        return vec!["reasoning_effort", "thinking_budget"];
    }
    if !by_object {
        return by_level_alone(members, &wish, dropped);
    }
    let switch: &[u8] = if wish.on { br#"{"type":"enabled"}"# } else { br#"{"type":"disabled"}"# };
    members.add("thinking", switch);
    match wish.effort.as_deref().filter(|_| wish.on) {
        Some(effort) if by_level => set_level(members, effort),
        Some(_) => {
            members.remove("reasoning_effort");
            // Thinking is on, how deeply cannot be said.
            dropped.push("reasoning_effort".to_owned());
        }
        None => _ = members.remove("reasoning_effort"),
    }
    if wish.on && wish.budget.is_some() { Vec::new() } else { vec!["reasoning_effort"] }
}

/// A model that always thinks: how deeply can be said, and not that it shall not.
fn by_level_alone(members: &mut Members<'_>, wish: &Wish, dropped: &mut Vec<String>) -> Vec<&'static str> {
    match wish.effort.as_deref().filter(|_| wish.on) {
        Some(effort) => set_level(members, effort),
        None => {
            members.remove("reasoning_effort");
            if !wish.on {
                dropped.push("reasoning_effort".to_owned());
            }
        }
    }
    Vec::new()
}

/// The nearest of the three levels.
fn set_level(members: &mut Members<'_>, effort: &str) {
    let level: &[u8] = match effort {
        "minimal" | "low" => br#""low""#,
        "max" => br#""max""#,
        _ => br#""high""#,
    };
    if members.has("reasoning_effort") {
        members.replace("reasoning_effort", level);
    } else {
        members.add("reasoning_effort", level);
    }
}

impl Wish {
    fn bound(&self) -> Option<i64> {
        if let Some(budget) = self.budget.filter(|budget| *budget > 0) {
            return Some(budget);
        }
        match self.effort.as_deref()? {
            "minimal" | "low" => Some(LOW.into()),
            "medium" => Some(MEDIUM.into()),
            _ => None,
        }
    }
}

/// What the caller wants, in its own dialect's words first.
fn wish(members: &Members<'_>, ask: &Ask<'_>) -> Option<Wish> {
    let written = members.value("reasoning_effort").and_then(decode);
    if let Some(thinking) = ask.thinking {
        return of_other_dialect(thinking, written);
    }
    let effort = written?;
    Some(Wish { on: effort != "none", effort: Some(effort).filter(|effort| effort != "none"), budget: None })
}

fn of_other_dialect(thinking: &Thinking, written: Option<String>) -> Option<Wish> {
    let effort = thinking.effort.clone().or(written).filter(|effort| effort != "none");
    let none = thinking.effort.as_deref() == Some("none");
    let off = none || thinking.mode.as_deref() == Some("disabled") || thinking.budget == Some(0);
    let on = effort.is_some() || thinking.mode.is_some() || thinking.budget.is_some();
    if !off && !on {
        return None;
    }
    Some(Wish { on: !off, effort: effort.filter(|_| !off), budget: thinking.budget })
}
