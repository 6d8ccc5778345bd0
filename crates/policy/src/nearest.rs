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

/// Up to three model names that look like `given`, the likest first. Provider and model are compared each by itself: in
/// `demo/nope` the provider is right, and that must not make up for a model that is like none. `gpt-5-mni` finds
/// `openai/gpt-5-mini`; the very same model at another provider is near as well.
pub(crate) fn models<'a>(given: &str, known: impl Iterator<Item = &'a Name>) -> Vec<Name> {
    let given = clip(given);
    let mut scored: Vec<(usize, &Name)> =
        known.filter_map(|name| Some((likeness(given, name)?, name))).collect();
    scored.sort();
    scored.into_iter().take(3).map(|(_, name)| name.clone()).collect()
}

/// How far a model's name is from what was asked for, 0 being nearest; `None` where it is not near.
fn likeness(given: &str, name: &str) -> Option<usize> {
    let split = |name| match str::split_once(name, '/') {
        Some((provider, model)) => (Some(provider), model),
        None => (None, name),
    };
    let ((asked, wanted), (provider, model)) = (split(given), split(name));
    let begins = wanted.len() >= 3 && model.starts_with(wanted);
    let part = distance(wanted, model).or(begins.then_some(2))?;
    match (asked, provider) {
        (Some(asked), Some(provider)) if asked == provider => Some(part),
        (Some(asked), Some(provider)) => match distance(asked, provider) {
            Some(apart) => Some(part + apart + 1),
            None => (part == 0).then_some(5),
        },
        (None, None) => Some(part),
        (None, Some(_)) | (Some(_), None) => Some(part + 1),
    }
}

/// Changes between two parts of a name, where there are few: one in about four letters. A name of one or two letters
/// is near to nothing but itself.
fn distance(given: &str, name: &str) -> Option<usize> {
    let length = given.chars().count();
    let reach = if length < 3 { 0 } else { ((length + 1) / 4).clamp(1, 3) };
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
        assert_eq!(near("openai/gpt-5-mni"), ["openai/gpt-5-mini"]);
        assert_eq!(near("gpt5"), ["openai/gpt-5"]);
        assert_eq!(near("gpt-5"), ["openai/gpt-5", "openai/gpt-5-mini"]);
        assert_eq!(near("opnai/gpt-5"), ["openai/gpt-5", "openai/gpt-5-mini"]);
        assert_eq!(near("cat"), ["chat"]);
        assert_eq!(near("demo/ehco"), ["demo/echo"]);
        assert_eq!(near("azure/gpt-5"), ["openai/gpt-5"], "the same model elsewhere");
        assert_eq!(near("demoo/echo"), ["demo/echo"]);
        assert!(near("nothing/like/it").is_empty());
    }

    /// A right provider, or letters in common, are not a likeness.
    #[test]
    fn a_name_that_is_like_none_is_given_none() {
        let demo = "echo fast slow story terse tools vision json refuse fail flaky embed code";
        let known: Vec<Name> = demo.split(' ').map(|model| format!("demo/{model}").into()).collect();
        for given in
            ["demo/nope", "demo/none", "demo/mine", "demo/abcd", "nope/x", "nope", "demo/y", "ab", "demo/"]
        {
            assert_eq!(models(given, known.iter()), [] as [Name; 0], "{given}");
        }
    }
}
