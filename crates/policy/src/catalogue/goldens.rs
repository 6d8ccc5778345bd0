//! One golden for each row: the least settings for a vendor, and every address and header that come of them.
//!
//! A row is reviewed as a change of its golden. `TIDEGATE_UPDATE_GOLDENS=1 cargo test -p policy goldens` writes them
//! anew.

use crate::catalogue::{Quirk, built_in, pages};
use crate::compile::{Compiled, Discovered, Secrets, compile};
use crate::key::{Pepper, Secret};
use crate::settings::{SecretRef, parse};
use crate::snapshot::{Auth, Dialect, Provider};
use crate::time::Timestamp;
use std::fmt::Write;

struct Any;

impl Secrets for Any {
    fn read(&self, _: &SecretRef) -> Result<Secret, String> {
        Ok(Secret::new("KEY".to_owned()))
    }
}

fn compiled(text: &str) -> Compiled {
    let (mut document, _) = parse(text, "golden.toml").unwrap();
    document.set_demo_base("http://127.0.0.1:4321/v1");
    let pepper = Pepper::derive(&[0; 32]);
    compile(&document, 1, &Any, &pepper, &Discovered::default(), Timestamp::from_micros(0)).unwrap()
}

fn golden(settings: &str, name: &str) -> String {
    let compiled = compiled(settings);
    let provider = compiled.snapshot.environments["dev"].provider(name).unwrap();
    let mut text = format!("{settings}\nvendor: {}\ndialect: {}\n\n", provider.vendor, provider.dialect);
    calls(provider, &mut text);
    let quirks: Vec<_> = provider.quirks.iter().map(|quirk| quirk.as_str()).collect();
    let _ = write!(
        text,
        "\nabort_stops_billing: {}\nstream_usage: {}\napi_version: {}\nquirks: {}\n",
        provider.abort_stops_billing,
        provider.stream_usage,
        provider.api_version.as_deref().unwrap_or("none"),
        if quirks.is_empty() { "none".to_owned() } else { quirks.join(", ") },
    );
    for exception in &provider.exceptions {
        let quirks: Vec<_> =
            provider.quirks_of(exception.models[0].trim_matches('*')).map(Quirk::as_str).collect();
        let _ = writeln!(text, "quirks of {}: {}", exception.models.join(", "), quirks.join(", "));
    }
    for rule in built_in().api_rules().iter().filter(|rule| rule.vendors.contains(&provider.vendor)) {
        let _ = writeln!(text, "through chat: {} of {}", rule.chat, rule.models.join(", "));
    }
    for warning in &compiled.warnings {
        let _ = writeln!(text, "{warning}");
    }
    text
}

fn calls(provider: &Provider, text: &mut String) {
    let mut call = |what: &str, path: Option<String>, auth: &Auth| {
        let Some(path) = path else { return };
        let key = match auth {
            Auth::Bearer => "authorization: Bearer KEY".to_owned(),
            Auth::Header(name) => format!("{name}: KEY"),
            Auth::None => "no key".to_owned(),
        };
        let _ = writeln!(text, "{what:<10} {}{path}\n{:<10} {key}", provider.origin, "");
    };
    for (dialect, what, end) in [
        (Dialect::OpenAi, "chat", "/chat/completions"),
        (Dialect::Anthropic, "messages", "/messages"),
        (Dialect::Gemini, "gemini", "/models/MODEL:generateContent"),
    ] {
        if let Some((base, auth)) = provider.endpoint(dialect) {
            let (mut before, mut after) = (String::new(), String::new());
            if let (true, Some(version)) = (provider.has(Quirk::DeploymentPaths), &provider.api_version) {
                (before, after) = ("/deployments/MODEL".to_owned(), format!("?api-version={version}"));
            }
            call(what, Some(format!("{base}{before}{end}{after}")), auth);
        }
    }
    let openai = provider.endpoint(Dialect::OpenAi).map_or(Auth::Bearer, |(_, auth)| auth.clone());
    call("responses", provider.responses.as_ref().map(|base| format!("{base}/responses")), &openai);
    call("embed", provider.embed.as_ref().map(|embed| embed.path.to_string()), &openai);
    call("rerank", provider.rerank.as_ref().map(|rerank| rerank.path.to_string()), &openai);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test is told from outside to write its goldens")]
fn each_row_becomes_what_its_golden_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/vendors");
    let update = std::env::var("TIDEGATE_UPDATE_GOLDENS").is_ok();
    if update {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).unwrap();
    }
    for vendor in built_in().vendors() {
        let (file, text) =
            (format!("{folder}/{}.txt", vendor.name), golden(&pages::settings(vendor), &vendor.name));
        if update {
            std::fs::write(&file, &text).unwrap();
        }
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(there, text, "TIDEGATE_UPDATE_GOLDENS=1 cargo test -p policy goldens");
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), built_in().vendors().len(), "goldens of no row");
}

#[test]
fn the_least_settings_suffice_and_no_less() {
    for vendor in built_in().vendors().iter().filter(|vendor| !vendor.simulated) {
        let all = pages::settings(vendor);
        for line in all.lines().skip(1) {
            // A server of one's own has a usual place.
            if line.starts_with("base_url") && vendor.base_url().is_some() {
                continue;
            }
            let less: String =
                all.lines().filter(|other| *other != line).map(|line| format!("{line}\n")).collect();
            let (document, _) = parse(&less, "t").unwrap();
            let (pepper, now) = (Pepper::derive(&[0; 32]), Timestamp::from_micros(0));
            let told = compile(&document, 1, &Any, &pepper, &Discovered::default(), now).unwrap_err();
            let field = line.split(' ').next().unwrap_or_default();
            assert!(told.iter().any(|one| one.to_string().contains(field)), "{less}: {told:?}");
        }
    }
}
