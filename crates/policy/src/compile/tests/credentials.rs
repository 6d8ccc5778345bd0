//! Providers with several credentials.

use super::*;

const SEVERAL: &str = "[providers.openai.credentials]\nsecond = { credential = \"env:EMPTY_NOT\", weight = 3 }\n\
                       first = { credential = \"env:OPENAI_API_KEY\" }\n";

/// Name, secret and weight of each, in their order.
fn credentials(environment: &Environment, name: &str) -> Vec<(Option<String>, String, f64)> {
    let provider = environment.provider(name).unwrap();
    let all = provider.with_each_credential().map(|by| {
        assert_eq!((&by.name, &by.origin, &by.auth), (&provider.name, &provider.origin, &provider.auth));
        let name = by.credential_name.as_deref().map(str::to_owned);
        (name, by.credential.as_ref().unwrap().expose().to_owned(), by.weight)
    });
    all.collect()
}

#[test]
fn each_is_the_same_provider_and_the_first_is_the_first_by_name() {
    let environment = dev(SEVERAL);
    let named = |name: &str, secret: &str, weight| (Some(name.to_owned()), secret.to_owned(), weight);
    let expected = [named("first", "sk-test", 1.0), named("second", "second", 3.0)];
    assert_eq!(credentials(&environment, "openai"), expected);
    let provider = environment.provider("openai").unwrap();
    assert_eq!((provider.auth.clone(), provider.others.len()), (Auth::Bearer, 1));
    assert!(provider.others[0].others.is_empty() && provider.others[0].responses.is_some());
    assert!(!format!("{environment:?}").contains("sk-test"));
    let single = dev(OPENAI);
    assert_eq!(credentials(&single, "openai"), [(None, "sk-test".to_owned(), 1.0)]);
}

#[test]
fn what_is_wrong_with_one_is_told_of_that_one() {
    let both = SEVERAL.replace(
        "[providers.openai.cr",
        "[providers.openai]\ncredential = \"env:SPACED\"\n[providers.openai.cr",
    );
    assert_eq!(
        errors(&both),
        "t.toml:2:14: error: provider `openai` has both `credential` and `credentials`\n  help: move it to \
         `[providers.openai.credentials.NAME]`, or take one of them out"
    );
    let text = "[providers.openai.credentials]\na = { credential = \"env:MISSING\" }\nb = { credential = \"env:SPACED\" }\n";
    assert_eq!(
        errors(text),
        "t.toml:2:20: error: the credential `a` of provider `openai`: environment variable `MISSING` is not set\n\
         t.toml:3:20: error: the credential `b` of provider `openai` cannot be sent in a header\n  help: it holds spaces or \
         characters that are not ASCII: is it the right file or variable?"
    );
    assert_eq!(
        errors("[providers.openai.credentials]\n"),
        "t.toml:1:12: error: provider `openai` has no credential\n  help: add `credential = \"env:OPENAI_API_KEY\"`"
    );
    let same = compiled(&SEVERAL.replace("EMPTY_NOT", "OPENAI_API_KEY"));
    assert_eq!(
        show(&same.warnings),
        "t.toml:2:25: warning: the credential `second` of provider `openai` is the same as `first`, and counts as that one \
         alone"
    );
    assert_eq!(credentials(&same.snapshot.environments["dev"], "openai").len(), 1);
}

#[test]
fn a_secret_that_changes_is_a_change_and_no_release() {
    let (one, other) = (compiled(SEVERAL), compiled(&SEVERAL.replace("weight = 3", "weight = 2")));
    assert!(one.release_checksum != other.release_checksum, "a weight is part of a release");
    let other = compiled(&SEVERAL.replace("env:EMPTY_NOT", "env:APP_KEY"));
    assert!(one.checksum != other.checksum);
}
