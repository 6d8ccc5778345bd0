//! Counts texts as the gateway does: a JSON string on each line in, one JSON object on each line out with the kinds, the
//! bound and each family's estimate of the text as the one message of a request. `scripts/token-estimates` compares them with
//! the real tokenizers.

#![expect(clippy::print_stdout, reason = "a program whose output is read by another")]

use std::io::BufRead as _;

use providers::request::{Operation, read};
use providers::tokens::{Counts, Family};

fn main() -> std::io::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let text = line.trim();
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":{text}}}]}}"#);
        let asked = read(Operation::Chat, body.as_bytes()).map_err(std::io::Error::other)?;
        let mut counts = Counts::default();
        counts.add(text.trim_matches('"').as_bytes());
        let families: Vec<String> = Family::all()
            .map(|family| {
                format!(
                    r#""{}":[{},{}]"#,
                    family.name(),
                    family.weigh(&counts),
                    asked.weight.estimate_in(family)
                )
            })
            .collect();
        println!(
            r#"{{"kinds":{:?},"bound":{},"families":{{{}}}}}"#,
            counts.kinds(),
            asked.input_bound,
            families.join(",")
        );
    }
    Ok(())
}
