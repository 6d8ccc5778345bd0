//! What each dialect's requests, answers and streams become in each other one.

use std::fmt::Write as _;
use std::path::Path;

use providers::dialects::Dialect;

use crate::{asked, inputs, pairs, read_answer, read_request, reply, translate, wire, write_request};

/// Compares with a file, or writes it.
pub(crate) fn check(client: Dialect, provider: Dialect, what: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pairs/golden")
        .join(format!("{}-client-{}-provider", client.name(), provider.name()))
        .join(format!("{what}.txt"));
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (is, was)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(is, was, "{} line {}; TIDEGATE_BLESS=1 writes it anew", path.display(), number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{}", path.display());
}

/// JSON with a line for each thing of the outer three levels.
pub(crate) fn lines(json: &str) -> String {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::new(), 0usize, false, false);
    for letter in json.chars() {
        if quoted {
            quoted = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            out.push(letter);
            continue;
        }
        let line = |out: &mut String, depth: usize| {
            if depth <= 3 {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', depth));
            }
        };
        match letter {
            '{' | '[' => {
                depth += 1;
                out.push(letter);
                line(&mut out, depth);
            }
            '}' | ']' => {
                line(&mut out, depth - usize::from(depth <= 3));
                depth -= 1;
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                line(&mut out, depth);
            }
            letter => {
                quoted = letter == '"';
                out.push(letter);
            }
        }
    }
    out
}

#[test]
fn requests() {
    for (client, provider) in pairs() {
        let mut text = String::new();
        for (feature, body) in inputs::of(client).requests {
            let request = read_request(client, inputs::compact(body.get()).as_bytes());
            match write_request(provider, &request) {
                Ok(written) => {
                    let dropped: Vec<&str> = written.dropped.iter().map(|param| param.0.as_str()).collect();
                    writeln!(text, "## {feature}\ndropped: {}", dropped.join(", ")).unwrap();
                    for (name, value) in &written.headers {
                        writeln!(text, "{name}: {value}").unwrap();
                    }
                    let body = String::from_utf8(written.body).unwrap();
                    serde_json::from_str::<serde_json::Value>(&body).unwrap();
                    writeln!(text, "{}\n", lines(&body)).unwrap();
                }
                Err(refused) => {
                    writeln!(text, "## {feature}\nrefused {}: {}\n", refused.param, refused.message).unwrap();
                }
            }
        }
        check(client, provider, "requests", &text);
    }
}

#[test]
fn answers() {
    let asked = asked();
    for (client, provider) in pairs() {
        let mut text = String::new();
        for (feature, told) in inputs::of(provider).answers {
            if feature == "error" {
                let error = providers::dialects::read_answer(
                    provider,
                    told.body().as_bytes(),
                    &crate::issuer(provider),
                )
                .unwrap_err();
                writeln!(text, "## error\n{error}\n{:?}\n", error.error).unwrap();
                continue;
            }
            let answer = read_answer(provider, told.body().as_bytes());
            let body = providers::dialects::write_answer(client, &answer, &reply(&asked));
            let body = String::from_utf8(body).unwrap();
            serde_json::from_str::<serde_json::Value>(&body).unwrap();
            writeln!(text, "## {feature}\n{}\n", lines(&body)).unwrap();
        }
        check(client, provider, "answers", &text);
    }
}

#[test]
fn streams() {
    for (client, provider) in pairs() {
        let mut text = String::new();
        for (feature, told) in inputs::of(provider).answers {
            let stream = translate(provider, client, &wire(provider, &told.events()), usize::MAX);
            let stream = String::from_utf8(stream).unwrap().replace('\r', "");
            writeln!(text, "## {feature}\n{stream}").unwrap();
        }
        check(client, provider, "streams", &text);
    }
}
