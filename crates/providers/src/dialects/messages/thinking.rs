//! How much to think, in the words of the model's family, and what else must give way to it.

use super::family::{Family, Off, Style};
use super::json::Out;
use crate::blocks::{Request, Thinking, Written};
use crate::dialects::Target;

/// The least budget that the target takes.
const LEAST_BUDGET: u64 = 1_024;

/// What is written about thinking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// `thinking.type`; absent for none.
    kind: Option<&'static str>,
    /// `thinking.budget_tokens`.
    budget: Option<u64>,
    /// `thinking.display`.
    display: Option<&'static str>,
    /// `output_config.effort`.
    pub(super) effort: Option<&'static str>,
    /// `max_tokens`.
    pub(super) max_tokens: u64,
}

impl Plan {
    /// Whether the model shall think, in the way that excludes sampling, prefill and forced tools.
    pub(super) fn thinks(&self) -> bool {
        matches!(self.kind, Some("enabled" | "adaptive"))
    }

    /// Writes `thinking`.
    pub(super) fn write(&self, body: &mut Out<'_>) {
        let Some(kind) = self.kind else { return };
        let mut out = Out::object(body.key("thinking"));
        out.text("type", kind);
        if let Some(budget) = self.budget {
            out.number("budget_tokens", budget);
        }
        if let Some(display) = self.display {
            out.text("display", display);
        }
        out.end();
    }
}

/// Plans it. `conflict`: something that the target does not take together with thinking.
pub(super) fn plan(
    request: &Request,
    family: &Family,
    target: &Target<'_>,
    conflict: bool,
    written: &mut Written,
) -> Plan {
    let most = target.max_output.unwrap_or(family.max_output);
    let mut plan = Plan { max_tokens: request.max_output.unwrap_or(most), ..Plan::default() };
    let asked = request.thinking.as_ref();
    let wants = asked.is_some_and(wants);
    // Models that always think settle it themselves.
    let conflict = conflict && family.off != Off::Impossible;
    if !wants || conflict {
        let effort = asked.filter(|_| wants).and_then(|asked| asked.effort.as_deref());
        if wants {
            written.drop_param("reasoning_effort");
        }
        // Nothing said and nothing in the way: the model's own default stands.
        if asked.is_some_and(is_off) || (conflict && (wants || family.claude)) {
            turn_off(family, asked, effort, &mut plan, written);
        }
        return plan;
    }
    let Some(asked) = asked else { return plan };
    match family.style {
        Style::Never => written.drop_param("reasoning_effort"),
        Style::Adaptive => adaptive(asked, family, &mut plan),
        Style::Budget => budget(asked, family, request.max_output, most, &mut plan, written),
    }
    plan
}

fn is_off(asked: &Thinking) -> bool {
    asked.effort.as_deref() == Some("none")
        || asked.budget == Some(0)
        || matches!(asked.mode.as_deref(), Some("disabled" | "between_tools"))
}

fn wants(asked: &Thinking) -> bool {
    !is_off(asked)
        && (asked.effort.is_some()
            || asked.budget.is_some()
            || asked.mode.is_some()
            || asked.show.as_deref().is_some_and(|show| show != "false"))
}

fn turn_off(
    family: &Family,
    asked: Option<&Thinking>,
    effort: Option<&str>,
    plan: &mut Plan,
    written: &mut Written,
) {
    let between = asked.is_some_and(|asked| asked.mode.as_deref() == Some("between_tools"));
    match family.off {
        _ if between && matches!(family.style, Style::Adaptive) && family.off == Off::BetweenTools => {
            plan.kind = Some("between_tools");
        }
        Off::Silence => {}
        Off::Disabled => plan.kind = Some("disabled"),
        Off::BetweenTools => plan.kind = Some("between_tools"),
        // As little as there is.
        Off::Impossible => {
            plan.effort = Some("low");
            written.drop_param("reasoning_effort");
        }
    }
    // Beside `disabled`, effort says how much is written; the highest levels are refused there.
    let kept = effort.or_else(|| asked.filter(|asked| asked.mode.is_some())?.effort.as_deref());
    if family.off != Off::Impossible
        && let Some(level) = kept.filter(|effort| *effort != "none")
    {
        plan.effort = effort_of(level, family).map(|level| match level {
            "xhigh" | "max" => "high",
            other => other,
        });
    }
}

fn adaptive(asked: &Thinking, family: &Family, plan: &mut Plan) {
    plan.kind = Some("adaptive");
    plan.display = display(asked);
    let by_budget = asked.budget.and_then(|budget| match budget {
        ..=0 => None,
        1..=4_096 => Some("low"),
        4_097..=16_384 => Some("medium"),
        _ => Some("high"),
    });
    plan.effort = asked.effort.as_deref().or(by_budget).and_then(|effort| effort_of(effort, family));
}

fn budget(
    asked: &Thinking,
    family: &Family,
    limit: Option<u64>,
    most: u64,
    plan: &mut Plan,
    written: &mut Written,
) {
    let given = asked.budget.and_then(|budget| u64::try_from(budget).ok()).filter(|budget| *budget > 0);
    let wanted = given.unwrap_or(match asked.effort.as_deref() {
        Some("minimal") => LEAST_BUDGET,
        Some("low") => 2_048,
        Some("high") => 16_384,
        Some("xhigh" | "max") => 32_000,
        _ => 8_192,
    });
    let mut budget = wanted.max(LEAST_BUDGET);
    // What the caller allows for the answer is left to it, on top of the thoughts.
    if plan.max_tokens <= budget {
        plan.max_tokens =
            limit.unwrap_or(LEAST_BUDGET).saturating_add(budget).min(most.max(LEAST_BUDGET + 1));
    }
    if plan.max_tokens <= budget {
        budget = (plan.max_tokens / 2).max(LEAST_BUDGET);
    }
    if plan.max_tokens <= budget {
        written.drop_param("reasoning_effort");
        plan.max_tokens = limit.unwrap_or(most);
        return;
    }
    plan.kind = Some("enabled");
    plan.budget = Some(budget);
    match display(asked) {
        Some("omitted") if family.claude => written.drop_param("thinking.display"),
        _ => {}
    }
    // Said beside a budget, effort is the caller's own second wish.
    if given.is_some() {
        plan.effort = asked.effort.as_deref().and_then(|effort| effort_of(effort, family));
    }
}

fn display(asked: &Thinking) -> Option<&'static str> {
    match asked.show.as_deref()? {
        "omitted" | "false" => Some("omitted"),
        "summarized" | "auto" | "concise" | "detailed" | "true" => Some("summarized"),
        _ => None,
    }
}

/// The nearest level that the family has, not above the one that is asked for where there is a choice.
fn effort_of(effort: &str, family: &Family) -> Option<&'static str> {
    let wanted: &[&str] = match effort {
        "minimal" | "low" => &["low"],
        "medium" => &["medium"],
        "high" => &["high"],
        "xhigh" => &["xhigh", "high"],
        "max" => &["max", "xhigh", "high"],
        _ => return None,
    };
    wanted.iter().find_map(|wanted| family.efforts.iter().find(|level| *level == wanted)).copied()
}
