//! "Did you mean": the known names that a mistyped one looks like.

use crate::ids::Name;

/// The known name that is most like `given`, if any is like it at all.
pub(crate) fn one<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = clip(given);
    let reach = reach(given);
    let near = known.into_iter().filter(|name| name.len().abs_diff(given.len()) <= reach * 4);
    let scored = near.map(|name| (strsim::osa_distance(given, name), name));
    scored
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Up to three model names that look like `given`, the likest first. The part after the provider counts as
/// well, so `gpt-5-mni` finds `openai/gpt-5-mini`.
pub(crate) fn models<'a>(given: &str, known: impl Iterator<Item = &'a Name>) -> Vec<Name> {
    let given = clip(given);
    let bare = |name: &'a str| name.split_once('/').map_or(name, |(_, bare)| bare);
    let wanted = given.split_once('/').map_or(given, |(_, bare)| bare);
    let mut scored: Vec<(usize, &Name)> = known
        .filter_map(|name| {
            let whole = distance(given, name);
            let part = distance(wanted, bare(name)).map(|distance| distance + 1);
            let starts = (wanted.len() >= 3 && bare(name).starts_with(wanted)).then_some(2);
            let score = [whole, part, starts].into_iter().flatten().min()?;
            Some((score, name))
        })
        .collect();
    scored.sort();
    scored.into_iter().take(3).map(|(_, name)| name.clone()).collect()
}

fn distance(given: &str, name: &str) -> Option<usize> {
    let reach = reach(given);
    if name.len().abs_diff(given.len()) > reach * 4 {
        return None;
    }
    Some(strsim::osa_distance(given, name)).filter(|distance| *distance <= reach)
}

/// How many changes a word may be away: about a third of it.
fn reach(given: &str) -> usize {
    (given.chars().count() / 3).clamp(1, 4)
}

/// The distance costs the product of both lengths, and what is given may be hostile.
fn clip(given: &str) -> &str {
    let end = given.char_indices().nth(64).map_or(given.len(), |(end, _)| end);
    &given[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_like_the_given_one() {
        assert_eq!(one("limts", ["limits", "listen"]), Some("limits"));
        assert_eq!(one("lsiten", ["limits", "listen"]), Some("listen"));
        assert_eq!(one("xyz", ["limits", "listen"]), None);
        assert_eq!(one("", ["limits"]), None);
        assert_eq!(one(&"é".repeat(10_000), ["limits"]), None);
    }

    #[test]
    fn models_by_either_part() {
        let known: Vec<Name> =
            ["openai/gpt-5-mini", "openai/gpt-5", "demo/echo", "chat"].map(Name::from).into();
        let near =
            |given| models(given, known.iter()).iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(near("openai/gpt-5-mni"), ["openai/gpt-5-mini", "openai/gpt-5"]);
        assert_eq!(near("gpt5"), ["openai/gpt-5"]);
        assert_eq!(near("gpt-5"), ["openai/gpt-5", "openai/gpt-5-mini"]);
        assert_eq!(near("opnai/gpt-5"), ["openai/gpt-5", "openai/gpt-5-mini"]);
        assert_eq!(near("cat"), ["chat"]);
        assert_eq!(near("demo/ehco"), ["demo/echo"]);
        assert!(near("nothing/like/it").is_empty());
    }
}
