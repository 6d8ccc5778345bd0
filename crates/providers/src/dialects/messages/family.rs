//! What a model takes, by the pattern of its name.
//!
//! Only what changes the form of a request stands here. Sources, all read in November 2026: the models' migration guides
//! and "what's new" pages of the vendor (platform.claude.com/docs/en/models/…/migration-guide), its pages on thinking,
//! effort, prefill errors and system messages inside conversations, and the types of its Python SDK 2.12.

/// How thinking is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// The model does not think.
    Never,
    /// `enabled` with `budget_tokens`.
    Budget,
    /// `adaptive`, how much by `output_config.effort`.
    Adaptive,
}

/// How thinking is turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Off {
    /// By saying nothing: it is off until asked for.
    Silence,
    /// `disabled`; it is on when nothing is said.
    Disabled,
    /// `between_tools`, the nearest there is.
    BetweenTools,
    /// Not at all.
    Impossible,
}

/// What a family of models takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// `temperature`, `top_p` and `top_k`, under version 2023-06-01.
    pub(super) sampling: bool,
    /// How thinking is asked for.
    pub(super) style: Style,
    /// How it is turned off.
    pub(super) off: Off,
    /// The levels of `output_config.effort`.
    pub(super) efforts: &'static [&'static str],
    /// `tool_choice` may force a call.
    pub(super) forced_tools: bool,
    /// Messages of role `system` inside the conversation.
    pub(super) system_turns: bool,
    /// The conversation may end with words of the assistant.
    pub(super) prefill: bool,
    /// `output_config.format` and strict tools.
    pub(super) schemas: bool,
    /// The most output tokens.
    pub(super) max_output: u64,
    /// It is one of the vendor's own models, for which version 2026-10-21 exists.
    pub(super) claude: bool,
}

const ALL: &[&str] = &["low", "medium", "high", "xhigh", "max"];
const NO_XHIGH: &[&str] = &["low", "medium", "high", "max"];
const NO_MAX: &[&str] = &["low", "medium", "high"];

/// The newest shape; also taken for names of the vendor that are not known yet, but forcing a tool is left to it to
/// refuse.
const NEWEST: Family = Family {
    sampling: false,
    style: Style::Adaptive,
    off: Off::Impossible,
    efforts: ALL,
    forced_tools: true,
    system_turns: true,
    prefill: false,
    schemas: true,
    max_output: 128_000,
    claude: true,
};

/// 3.7 to 4.5: "manual" thinking alone, prefill, sampling.
const BUDGET: Family = Family {
    sampling: true,
    style: Style::Budget,
    off: Off::Silence,
    efforts: &[],
    forced_tools: true,
    system_turns: false,
    prefill: true,
    schemas: false,
    max_output: 64_000,
    claude: true,
};

/// Models of others behind an endpoint of this dialect.
const OTHER: Family = Family { claude: false, max_output: 8_192, off: Off::Disabled, ..BUDGET };

/// Patterns are looked for anywhere in the name (`anthropic.claude-…`, `claude-…@date`), the first that is found counts.
const FAMILIES: &[(&[&str], Family)] = &[
    // What's new in Opus 5.5, which also names Fable 5.1: thinking cannot be turned off, forced tool use is an error.
    (
        &["opus-5-5", "opus-5.5", "fable-5-", "fable-5.", "mythos-5-", "mythos-5."],
        Family { forced_tools: false, ..NEWEST },
    ),
    // Migration guide of Fable 5 and Mythos 5: adaptive is always on, `disabled` and budgets are errors.
    (&["fable-5", "mythos-5"], NEWEST),
    // Migration guide of Sonnet 5.5: `disabled` is an error, `between_tools` takes its place.
    (&["sonnet-5-5", "sonnet-5.5"], Family { off: Off::BetweenTools, ..NEWEST }),
    // Migration guide of Haiku 5.5: adaptive by default, no sampling, no prefill.
    (&["haiku-5-5", "haiku-5.5"], Family { off: Off::Disabled, ..NEWEST }),
    // Migration guide of Opus 5 and Sonnet 5: thinking is on unless `disabled`, at effort `high` at the most.
    (&["opus-5", "sonnet-5"], Family { off: Off::Disabled, ..NEWEST }),
    // What's new in Opus 4.8: first to take system messages inside the conversation. Thinking is off until asked for.
    (&["opus-4-8", "opus-4.8"], Family { off: Off::Silence, ..NEWEST }),
    // Migration guide of Opus 4.7: sampling parameters and budgets are errors, `xhigh` is new.
    (&["opus-4-7", "opus-4.7"], Family { off: Off::Silence, system_turns: false, ..NEWEST }),
    // What's new in 4.6: adaptive thinking and effort `max`; prefill is an error; sampling still works.
    (
        &["opus-4-6", "opus-4.6", "sonnet-4-6", "sonnet-4.6", "mythos-preview"],
        Family { sampling: true, off: Off::Silence, efforts: NO_XHIGH, system_turns: false, ..NEWEST },
    ),
    // Effort page: Opus 4.5 has three levels beside its budget. Structured outputs page: the 4.5 models and Opus 4.1.
    (&["opus-4-5", "opus-4.5"], Family { efforts: NO_MAX, schemas: true, ..BUDGET }),
    (&["sonnet-4-5", "sonnet-4.5", "haiku-4-5", "haiku-4.5"], Family { schemas: true, ..BUDGET }),
    (&["opus-4-1", "opus-4.1"], Family { schemas: true, max_output: 32_000, ..BUDGET }),
    // Models overview of 2025: Opus 4 makes 32 000 tokens, Sonnet 4 and 3.7 make 64 000.
    (&["claude-opus-4", "claude-4-opus"], Family { max_output: 32_000, ..BUDGET }),
    (&["claude-sonnet-4", "claude-4-sonnet", "claude-3-7", "claude-3.7"], BUDGET),
    (&["claude-3-5", "claude-3.5"], Family { style: Style::Never, max_output: 8_192, ..BUDGET }),
    (
        &["claude-3", "claude-2", "claude-instant", "claude-1"],
        Family { style: Style::Never, max_output: 4_096, ..BUDGET },
    ),
    (&["claude"], NEWEST),
];

/// The family of a model.
pub(super) fn of(model: &str) -> Family {
    let model = model.to_ascii_lowercase();
    let vendor = ["claude", "anthropic", "opus-", "sonnet-", "haiku-", "fable-", "mythos-"];
    if !vendor.iter().any(|word| model.contains(word)) {
        return OTHER;
    }
    FAMILIES
        .iter()
        .find(|(patterns, _)| patterns.iter().any(|pattern| model.contains(pattern)))
        .map_or(OTHER, |(_, family)| *family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_by_their_names() {
        assert_eq!(of("claude-opus-5-5").off, Off::Impossible);
        assert!(!of("claude-opus-5-5").forced_tools && !of("claude-fable-5-1").forced_tools);
        assert!(of("claude-fable-5").forced_tools);
        assert_eq!(of("claude-sonnet-5-5").off, Off::BetweenTools);
        assert_eq!(of("claude-sonnet-5").off, Off::Disabled);
        assert!(of("claude-opus-4-8").system_turns && !of("claude-opus-4-7").system_turns);
        assert!(of("us.anthropic.claude-sonnet-4-6").sampling && !of("claude-opus-4-7").sampling);
        assert_eq!(of("claude-sonnet-4-5-20250929").style, Style::Budget);
        assert_eq!(of("claude-opus-4@20250514").max_output, 32_000);
        assert_eq!(of("claude-3-5-haiku-latest").style, Style::Never);
        assert_eq!(of("claude-next-9"), NEWEST);
        assert_eq!(of("deepseek-chat"), OTHER);
    }
}
