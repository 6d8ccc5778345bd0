//! What is found in an environment.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::compile::{Discovered, Secrets, compile};
use crate::key::{Pepper, Secret};
use crate::snapshot::Auth;
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
            "gemini https://generativelanguage.googleapis.com/v1beta/openai true",
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
        assert_eq!(server(written), meant, "{written}");
    }
}
