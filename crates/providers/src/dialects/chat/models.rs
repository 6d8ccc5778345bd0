//! What must be told from a model's name, because a target says nothing else of its vendor.
//!
//! OpenAI's own models and the many compatible servers differ in three points that break requests: the name of the
//! output limit, the role of the operator, and whether thoughts are sent back. Names are matched after a vendor's
//! prefix (`openai/gpt-5`), in lower case.

fn bare(model: &str) -> String {
    model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase()
}

/// Major and minor of `gpt-5.6-sol`; o-series are none.
fn gpt(bare: &str) -> Option<(u32, u32)> {
    let version = bare.strip_prefix("gpt-")?;
    let end = version.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(version.len());
    let (major, minor) = version[..end].split_once('.').unwrap_or((&version[..end], "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn o_series(bare: &str) -> bool {
    let mut letters = bare.bytes();
    letters.next() == Some(b'o')
        && letters.next().is_some_and(|digit| digit.is_ascii_digit())
        && matches!(letters.next(), None | Some(b'-'))
}

/// A model of OpenAI's own API (`gpt-oss` is run by others).
pub(super) fn is_openai(model: &str) -> bool {
    let bare = bare(model);
    o_series(&bare)
        || bare.starts_with("chatgpt-")
        || (bare.starts_with("gpt-") && !bare.starts_with("gpt-oss"))
}

/// The name of the output limit. `max_tokens` is refused by OpenAI's reasoning models, `max_completion_tokens` is
/// unknown to many compatible servers and to older models: o-series and gpt-5 on take the new name, all others the old.
pub(super) fn limit_name(model: &str) -> &'static str {
    let bare = bare(model);
    let new = o_series(&bare) || gpt(&bare).is_some_and(|(major, _)| major >= 5);
    if new { "max_completion_tokens" } else { "max_tokens" }
}

/// Whether the model thinks at this effort, and so refuses sampling parameters (OpenAI's guide to gpt-5 and later,
/// 2026-11). Without an effort, gpt-5.1 to 5.x do not think; gpt-5, gpt-6 and the o-series do.
pub(super) fn thinks(model: &str, effort: Option<&str>) -> bool {
    let bare = bare(model);
    if bare.contains("-chat") {
        return false;
    }
    let by_default = match gpt(&bare) {
        Some((5, minor)) => minor == 0,
        Some((major, _)) if major >= 6 => true,
        _ if o_series(&bare) => return true,
        _ => return false,
    };
    effort.map_or(by_default, |effort| effort != "none")
}

/// The least effort that the model can be told, for a caller who wants no thoughts; `None` where it cannot be told.
pub(super) fn least_effort(model: &str) -> Option<&'static str> {
    match gpt(&bare(model)) {
        Some((5, 0)) => Some("minimal"),
        Some((5.., _)) => Some("none"),
        _ => None,
    }
}

/// Explicit cache breakpoints on content parts: gpt-5.6 and later (OpenAI's SDK, 3.54).
pub(super) fn takes_breakpoints(model: &str) -> bool {
    gpt(&bare(model)).is_some_and(|version| version >= (5, 6))
}

/// Vendors whose models want their thoughts back in `reasoning_content` (some refuse a turn with tool calls without
/// them); every other server gets none, since a strict one refuses the member.
pub(super) fn wants_thoughts(model: &str) -> bool {
    let name = model.to_ascii_lowercase();
    ["deepseek", "kimi", "moonshot", "glm-", "minimax", "mimo"].iter().any(|vendor| name.contains(vendor))
}
