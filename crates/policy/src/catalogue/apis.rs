//! The rows of `apis.toml`: models that Chat Completions does not serve, or not wholly.
//!
//! A name is all that is known of a model before it is called, so the rows are patterns of names. They may be wrong for
//! the model of tomorrow: the settings overrule them, and the gateway learns from a vendor's refusal.

use super::{Confidence, Fact};
use crate::ids::Name;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What of a model its vendor serves through Chat Completions; the rest is put to Responses where the provider has it.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThroughChat {
    /// Every call.
    #[default]
    Everything,
    /// Calls without tools; calls with tools only when the effort is `none`.
    ToolsWithoutThinking,
    /// Calls without tools.
    NoTools,
    /// No call at all.
    Nothing,
}

impl ThroughChat {
    /// Its name in the rows.
    pub fn as_str(self) -> &'static str {
        match self {
            ThroughChat::Everything => "everything",
            ThroughChat::ToolsWithoutThinking => "tools_without_thinking",
            ThroughChat::NoTools => "no_tools",
            ThroughChat::Nothing => "nothing",
        }
    }
}

impl fmt::Display for ThroughChat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiFile {
    sources: BTreeMap<Name, SourceRow>,
    model: Vec<ApiRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceRow {
    page: Name,
    date: Name,
    confidence: Confidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiRow {
    vendors: Vec<Name>,
    models: Vec<Name>,
    chat: ThroughChat,
    source: Name,
}

/// One row: some models of some vendors.
#[derive(Clone, Debug)]
pub struct ApiRule {
    /// Names of vendors.
    pub vendors: Vec<Name>,
    /// Patterns of their models' names.
    pub models: Vec<Name>,
    /// What Chat Completions serves of them.
    pub chat: ThroughChat,
    /// Where that is from.
    pub fact: Fact,
}

impl ApiFile {
    /// The rules in their order, or what is wrong with a row.
    pub(super) fn rules(self) -> Result<Vec<ApiRule>, String> {
        let ApiFile { sources, model } = self;
        let rule = |row: ApiRow| {
            let source = sources.get(&row.source).ok_or(format!("no source `{}`", row.source))?;
            let (page, date) = (Arc::clone(&source.page), Arc::clone(&source.date));
            let fact = Fact { of: "chat", page, date, confidence: source.confidence };
            Ok(ApiRule { vendors: row.vendors, models: row.models, chat: row.chat, fact })
        };
        model.into_iter().map(rule).collect()
    }
}

impl ApiRule {
    /// Whether it speaks of this model.
    pub fn fits(&self, vendor: &str, model: &str) -> bool {
        self.vendors.iter().any(|named| **named == *vendor)
            && self.models.iter().any(|pattern| matches(pattern, &model.to_ascii_lowercase()))
    }
}

/// Whether a name fits a pattern in which `*` stands for any characters.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    while let Some((piece, more)) = rest.split_once('*') {
        let Some(at) = name.find(piece) else { return false };
        name = &name[at + piece.len()..];
        rest = more;
    }
    name.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::built_in;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, fits) in [
            ("o3-pro*", "o3-pro", true),
            ("o3-pro*", "o3-pro-2025-06-10", true),
            ("o3-pro*", "o3", false),
            ("*-codex", "gpt-5.1-codex", true),
            ("*-codex", "gpt-5.1-codex-max", false),
            ("*-codex-*", "gpt-5.1-codex-max", true),
            ("gpt-5.*-pro*", "gpt-5.2-pro", true),
            ("gpt-5.*-pro*", "gpt-5.2", false),
            ("o*-deep-research*", "o4-mini-deep-research-2025-06-26", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn the_rows_say_what_chat_serves() {
        for (vendor, model, chat) in [
            ("openai", "gpt-5-mini", ThroughChat::Everything),
            ("openai", "gpt-6-astra", ThroughChat::NoTools),
            ("openai", "gpt-6.1-sol-2026-10-01", ThroughChat::NoTools),
            ("openai", "gpt-6-luna", ThroughChat::ToolsWithoutThinking),
            ("openai", "gpt-5.6-sol", ThroughChat::ToolsWithoutThinking),
            ("azure", "GPT-5-Codex", ThroughChat::Nothing),
            ("openai", "o3-deep-research", ThroughChat::Nothing),
            ("openrouter", "gpt-5-codex", ThroughChat::Everything),
        ] {
            assert_eq!(built_in().through_chat(vendor, model).unwrap_or_default(), chat, "{vendor}/{model}");
        }
        assert!(built_in().api_rules().iter().all(|rule| {
            rule.vendors.iter().all(|vendor| built_in().vendor(vendor).is_some_and(|vendor| vendor.responses))
        }));
    }
}
