//! What a model family takes: how thinking is asked for, and whether signatures are checked.
//!
//! By the model's name, because nothing else tells: Gemini 2.5 thinks by a budget of tokens, 3 and later by a level
//! (a budget is still read there, but not both), earlier ones not at all (ai.google.dev, thinking, 2026-11).

use crate::blocks::Thinking;

use super::emit::Object;

/// How a family thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Level,
    Budget,
    Not,
}

/// A model's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Family {
    how: How,
    /// Of the Gemini family; with [`How::Level`] that means that signatures are checked.
    is_gemini: bool,
    is_pro: bool,
    /// Has the highest level, which the first models with levels have not.
    has_xhigh: bool,
}

impl Family {
    /// By the name of a model, with or without `models/` before it.
    pub(super) fn of(model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let is_pro = name.contains("-pro");
        let Some(version) = name.strip_prefix("gemini-") else {
            let how = if ["gemma-3", "gemma3", "learnlm"].iter().any(|old| name.starts_with(old)) {
                How::Not
            } else {
                How::Level
            };
            return Self { how, is_gemini: false, is_pro, has_xhigh: true };
        };
        let number = version.split('-').next().unwrap_or_default();
        let mut digits = number.split('.').map(|digits| digits.parse::<u32>().ok());
        // `gemini-flash-latest` has no number and is the newest.
        let major = digits.next().flatten().unwrap_or(u32::MAX);
        let minor = digits.next().flatten().unwrap_or(0);
        let how = match (major, minor) {
            (..2, _) | (2, ..5) => How::Not,
            (2, _) => How::Budget,
            _ => How::Level,
        };
        Self { how, is_gemini: true, is_pro, has_xhigh: (major, minor) > (3, 1) }
    }

    /// Whether the first call of each step must have a signature.
    pub(super) fn checks_signatures(self) -> bool {
        self.is_gemini && self.how == How::Level
    }

    /// Whether a result of a tool may hold media.
    pub(super) fn takes_media_in_results(self) -> bool {
        self.checks_signatures()
    }

    /// Writes `thinkingConfig`'s members; `false`, and nothing written, when the family does not think.
    pub(super) fn write_thinking(
        self,
        thinking: &Thinking,
        limit: Option<u64>,
        config: &mut Object<'_>,
    ) -> bool {
        let off = thinking.mode.as_deref() == Some("disabled");
        let effort = if off { Some("none") } else { thinking.effort.as_deref() };
        if self.how == How::Not {
            // Not to think is what it does.
            return effort == Some("none") || (effort.is_none() && thinking.budget == Some(0));
        }
        let mut members = Object::new(config.name("thinkingConfig"));
        match (self.how, effort, thinking.budget) {
            (How::Level, Some(effort), _) => {
                if let Some(level) = self.level(effort) {
                    members.text("thinkingLevel", level);
                }
            }
            (_, effort, Some(budget)) if effort.is_none() || !off => members.number("thinkingBudget", budget),
            (_, Some(effort), _) => {
                if let Some(budget) = self.budget(effort, limit) {
                    members.number("thinkingBudget", budget);
                }
            }
            (_, None, _) => {}
        }
        let asked = thinking.mode.as_deref().is_some_and(|mode| mode != "disabled");
        match thinking.show.as_deref() {
            Some("false" | "omitted") => members.flag("includeThoughts", false),
            Some(_) => members.flag("includeThoughts", true),
            // Anthropic's clients see thoughts unless they say otherwise.
            None if asked => members.flag("includeThoughts", true),
            None => {}
        }
        members.end();
        true
    }

    fn level(self, effort: &str) -> Option<&'static str> {
        Some(match effort {
            // The least there is: these models cannot be kept from thinking, and Pro has no level below low.
            "none" | "minimal" if self.is_pro && self.is_gemini => "LOW",
            "none" | "minimal" => "MINIMAL",
            "low" => "LOW",
            "medium" => "MEDIUM",
            "xhigh" | "max" if self.has_xhigh => "XHIGH",
            "high" | "xhigh" | "max" => "HIGH",
            _ => return None,
        })
    }

    /// Google's own table for its OpenAI endpoint, and room for the answer within the limit.
    fn budget(self, effort: &str, limit: Option<u64>) -> Option<i64> {
        let budget = match effort {
            "none" if self.is_pro => return Some(128),
            "none" => return Some(0),
            "minimal" => 512,
            "low" => 1_024,
            "medium" => 8_192,
            "xhigh" | "max" if self.is_pro => 32_768,
            "high" | "xhigh" | "max" => 24_576,
            _ => return None,
        };
        let half = limit.and_then(|limit| i64::try_from(limit / 2).ok()).unwrap_or(i64::MAX);
        Some(budget.min(half.max(128)))
    }
}
