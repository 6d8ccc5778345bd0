//! What is found in an environment.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::compile::{Discovered, Secrets, compile};
use crate::key::{Pepper, Secret};
use crate::snapshot::{Auth, Dialect};
use crate::time::Timestamp;

struct Any;

impl Secrets for Any {
    fn read(&self, reference: &SecretRef) -> Result<Secret, String> {
        Ok(Secret::new(format!("secret-of-{reference}")))
    }
}

fn providers(variables: &[(&str, &str)]) -> Vec<(String, String, bool)> {
    let get =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let document = document_from_environment(&get, "http://127.0.0.1:7777/v1");
    let compiled = compile(
        &document,
        1,
        &Any,
        &Pepper::derive(&[0; 32]),
        &Discovered::default(),
        Timestamp::from_micros(0),
    )
    .unwrap();
    let environment = &compiled.snapshot.environments["dev"];
    let mut found: Vec<_> = environment
        .providers()
        .map(|one| {
            (one.name.to_string(), format!("{}{}", one.origin, one.base_path), one.auth == Auth::Bearer)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn the_demo_is_always_there() {
    let demo = ("demo".to_owned(), "http://127.0.0.1:7777/v1".to_owned(), false);
    assert_eq!(providers(&[]), std::slice::from_ref(&demo));
    assert_eq!(providers(&[("OPENAI_API_KEY", " "), ("OLLAMA_HOST", ""), ("VLLM_API_KEY", "k")]), [demo]);
}

#[test]
fn keys_and_servers_are_found() {
    let found = providers(&[
        ("OPENAI_API_KEY", "a"),
        ("GOOGLE_API_KEY", "b"),
        ("OLLAMA_HOST", "0.0.0.0"),
        ("VLLM_BASE_URL", "https://gpu.internal/v1/"),
        ("VLLM_API_KEY", "c"),
    ]);
    let shown: Vec<_> = found.iter().map(|(name, base, bearer)| format!("{name} {base} {bearer}")).collect();
    assert_eq!(
        shown,
        [
            "demo http://127.0.0.1:7777/v1 false",
            "gemini https://generativelanguage.googleapis.com/v1beta false",
            "ollama http://127.0.0.1:11434/v1 false",
            "openai https://api.openai.com/v1 true",
            "vllm https://gpu.internal/v1 true",
        ]
    );
}

#[test]
fn the_first_variable_that_is_set_is_referred_to() {
    let get = |name: &str| name.starts_with("G").then(|| "x".to_owned());
    let document = document_from_environment(&get, "http://127.0.0.1:1/v1");
    let gemini = &document.environments[0].providers["gemini"];
    assert_eq!(gemini.credential.as_ref().unwrap().value, SecretRef::Env("GEMINI_API_KEY".to_owned()));
    assert_eq!(&*document.file, "environment");
}

#[test]
fn servers_as_people_write_them() {
    for (written, meant) in [
        ("localhost", "http://localhost:11434/v1"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        (":11434", "http://127.0.0.1:11434/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("http://h:1/api/v1/", "http://h:1/api/v1"),
        ("https://h", "https://h/v1"),
        ("[::]:5", "http://[::1]:5/v1"),
        ("[::1]", "http://[::1]:11434/v1"),
    ] {
        assert_eq!(server(built_in().vendor("ollama").unwrap(), written), meant, "{written}");
    }
    for (name, written, meant) in [
        ("lm-studio", "localhost", "http://localhost:1234/v1"),
        ("azure", "https://me.openai.azure.com/", "https://me.openai.azure.com/openai/v1"),
        ("treerouter", "gate.example", "https://gate.example/v1"),
    ] {
        assert_eq!(server(built_in().vendor(name).unwrap(), written), meant, "{name}");
    }
}

#[test]
fn the_promised_keys_make_native_providers() {
    let get = |name: &str| ["ANTHROPIC_API_KEY", "GEMINI_API_KEY"].contains(&name).then(|| "x".to_owned());
    let document = document_from_environment(&get, "http://127.0.0.1:1/v1");
    let pepper = Pepper::derive(&[0; 32]);
    let compiled =
        compile(&document, 1, &Any, &pepper, &Discovered::default(), Timestamp::from_micros(0)).unwrap();
    let environment = &compiled.snapshot.environments["dev"];
    for (name, dialect, path, header) in [
        ("anthropic", Dialect::Anthropic, "/v1", "x-api-key"),
        ("gemini", Dialect::Gemini, "/v1beta", "x-goog-api-key"),
    ] {
        let provider = environment.provider(name).unwrap();
        assert_eq!((provider.dialect, &*provider.base_path), (dialect, path));
        assert_eq!(provider.auth, Auth::Header(header.into()));
        assert!(environment.models().any(|model| &*model.owned_by == name), "{name} lists its models");
    }
}

#[test]
fn a_preset_is_found_only_with_its_place_and_its_key() {
    let both = [("TREEROUTER_API_KEY", "k"), ("TREEROUTER_BASE_URL", "https://api.example.com/v1")];
    let found = providers(&both);
    assert!(found.iter().any(|(name, base, _)| name == "treerouter" && base == "https://api.example.com/v1"));
    for one in both {
        assert_eq!(providers(&[one]).len(), 1, "{one:?}");
    }
}
