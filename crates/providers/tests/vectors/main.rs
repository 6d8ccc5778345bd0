//! Embeddings and rerank between each pair of dialects: what one asks as the other is told it, what one answers as the
//! other shows it. The goldens (`golden/`) are to be read by people; `TIDEGATE_BLESS=1` writes them anew.
#![expect(clippy::unwrap_used, reason = "tests")]

mod inputs;
mod property;

use std::fmt::Write as _;
use std::path::Path;

use inputs::{ANSWERS, ASKS, RANKED, RERANKS};
use providers::vectors::{Shape, embed, rerank};

const SHAPES: [Shape; 4] = [Shape::OpenAi, Shape::Jina, Shape::Gemini, Shape::Cohere];

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/golden").join(format!("{name}.txt"));
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{}; TIDEGATE_BLESS=1 writes it anew", path.display());
}

fn asked(client: Shape, body: &str) -> Result<embed::Ask, providers::request::BadRequest> {
    embed::read_request(client, body.as_bytes(), body.starts_with(r#"{"content""#))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn embeddings_between_all_dialects() {
    for client in SHAPES {
        for provider in SHAPES.into_iter().filter(|provider| *provider != client) {
            let mut out = String::new();
            for (_, feature, body) in ASKS.iter().filter(|(of, ..)| *of == client) {
                let _ = writeln!(out, "# {feature}\n  asked   {body}");
                let ask = match asked(client, body) {
                    Ok(ask) => ask,
                    Err(bad) => {
                        let _ = writeln!(out, "  bad     {} ({:?})\n", bad.message, bad.param);
                        continue;
                    }
                };
                match embed::write_request(provider, client, &ask, "the-model") {
                    Ok(written) => {
                        let _ = writeln!(out, "  sent    {}", text(&written.body));
                        if !written.dropped.is_empty() {
                            let names: Vec<_> =
                                written.dropped.iter().map(|param| param.0.as_str()).collect();
                            let _ = writeln!(out, "  dropped {}", names.join(", "));
                        }
                    }
                    Err(refused) => {
                        let _ = writeln!(out, "  refused {} ({})", refused.message, refused.param);
                        let _ = writeln!(out);
                        continue;
                    }
                }
                for (_, what, answer) in ANSWERS.iter().filter(|(of, ..)| *of == provider) {
                    let answer = embed::read_answer(provider, &ask, answer.as_bytes()).unwrap();
                    let reply = embed::Reply { id: "the-id", model: "asked", ask: &ask };
                    match embed::write_answer(client, &answer, &reply) {
                        Ok(told) => drop(writeln!(out, "  {what:<7} {}", text(&told))),
                        Err(problem) => drop(writeln!(out, "  {what:<7} no answer: {problem}")),
                    }
                }
                out.push('\n');
            }
            check(&format!("embed-{client:?}-to-{provider:?}").to_lowercase(), &out);
        }
    }
}

#[test]
fn rerank_between_all_dialects() {
    for client in [Shape::Cohere, Shape::CohereV1, Shape::Jina] {
        for provider in [Shape::Cohere, Shape::Jina].into_iter().filter(|provider| *provider != client) {
            let mut out = String::new();
            for (feature, body) in RERANKS {
                let _ = writeln!(out, "# {feature}\n  asked   {body}");
                let ask = match rerank::read_request(body.as_bytes()) {
                    Ok(ask) => ask,
                    Err(bad) => {
                        let _ = writeln!(out, "  bad     {} ({:?})\n", bad.message, bad.param);
                        continue;
                    }
                };
                match rerank::write_request(provider, &ask, "the-model") {
                    Ok(written) => {
                        let names: Vec<_> = written.dropped.iter().map(|param| param.0.as_str()).collect();
                        let _ = writeln!(
                            out,
                            "  sent    {}\n  dropped {}",
                            text(&written.body),
                            names.join(", ")
                        );
                    }
                    Err(refused) => {
                        let _ = writeln!(out, "  refused {} ({})\n", refused.message, refused.param);
                        continue;
                    }
                }
                let (_, answer) = RANKED.iter().find(|(of, _)| *of == provider).unwrap();
                let answer = rerank::read_answer(answer.as_bytes()).unwrap();
                let reply = rerank::Reply { id: "the-id", model: "asked", ask: &ask };
                match rerank::write_answer(client, &answer, &reply) {
                    Ok(told) => drop(writeln!(out, "  told    {}\n", text(&told))),
                    Err(problem) => drop(writeln!(out, "  no answer: {problem}\n")),
                }
            }
            check(&format!("rerank-{client:?}-to-{provider:?}").to_lowercase(), &out);
        }
    }
}

#[test]
fn more_inputs_than_a_target_takes_are_refused_with_its_limit() {
    for (provider, most) in
        [(Shape::OpenAi, 2048), (Shape::Jina, 2048), (Shape::Gemini, 100), (Shape::Cohere, 96)]
    {
        let ask = |count| embed::Ask {
            inputs: vec![embed::Input::default(); count],
            task: Some(embed::Task::Query),
            ..embed::Ask::default()
        };
        assert!(embed::write_request(provider, Shape::Jina, &ask(most), "m").is_ok());
        let refused = embed::write_request(provider, Shape::Jina, &ask(most + 1), "m").unwrap_err();
        assert_eq!(refused.param, "input");
        assert!(refused.message.contains(&format!("at most {most}")), "{refused}");
    }
}

#[test]
fn what_is_no_answer_is_told_apart() {
    let ask = asked(Shape::OpenAi, r#"{"input":["a","b"]}"#).unwrap();
    for provider in SHAPES {
        let error =
            embed::read_answer(provider, &ask, br#"{"error":{"message":"no","code":"c"}}"#).unwrap_err();
        assert_eq!(error.error, Some(("no".to_owned(), Some("c".to_owned()))), "{provider:?}");
        assert_eq!(embed::read_answer(provider, &ask, b"<html>").unwrap_err().error, None);
    }
    let one = embed::read_answer(Shape::Gemini, &ask, br#"{"embedding":{"values":[1]}}"#).unwrap();
    let reply = embed::Reply { id: "", model: "", ask: &ask };
    assert!(embed::write_answer(Shape::OpenAi, &one, &reply).unwrap_err().contains("2 vectors"));
    let error = rerank::read_answer(br#"{"error":"down"}"#).unwrap_err();
    assert_eq!(error.error.unwrap().0, "down");
    let beyond = rerank::read_answer(br#"{"results":[{"index":9,"relevance_score":1}]}"#).unwrap();
    let ask = rerank::read_request(br#"{"query":"q","documents":["d"]}"#).unwrap();
    assert!(
        rerank::write_answer(Shape::Jina, &beyond, &rerank::Reply { id: "", model: "", ask: &ask }).is_err()
    );
}
