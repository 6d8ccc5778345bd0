//! `/v1/embeddings`: unit vectors made of hashed tokens, so that texts that share words are near one another.

use serde_json::{Value, json};

use crate::ask::{self, Text};
use crate::images;
use crate::models::Model;
use crate::refusal::Refusal;
use crate::tokens::{self, Numbers};

const DEFAULT: u64 = 256;
const MAX: u64 = 4_096;
/// Floats of one answer: what bounds its memory.
const MAX_TOTAL: u64 = 1 << 20;

/// The whole answer.
pub(crate) fn answer(body: &Value, model: &Model) -> Result<Value, Refusal> {
    let inputs = ask::texts(&body["input"], "input")?;
    if inputs.is_empty() || inputs.iter().any(|input| input.text.is_empty()) {
        return Err(Refusal::bad("input", "`input` must not be empty"));
    }
    let dimensions = match &body["dimensions"] {
        Value::Null => DEFAULT,
        value => value.as_u64().filter(|size| (1..=MAX).contains(size)).ok_or_else(|| {
            Refusal::bad("dimensions", format!("`dimensions` must be an integer from 1 to {MAX}"))
        })?,
    };
    if dimensions * inputs.len() as u64 > MAX_TOTAL {
        return Err(Refusal::bad("input", format!("inputs times dimensions is over {MAX_TOTAL}")));
    }
    let base64 = match body["encoding_format"].as_str() {
        None if body["encoding_format"].is_null() => false,
        Some("float") => false,
        Some("base64") => true,
        _ => return Err(Refusal::bad("encoding_format", "`encoding_format` must be float or base64")),
    };
    let total: u64 = inputs.iter().map(|input| input.tokens).sum();
    let data: Vec<Value> = inputs.iter().enumerate().map(|(index, input)| {
        json!({"object": "embedding", "index": index, "embedding": written(&vector(input, dimensions), base64)})
    }).collect();
    Ok(json!({
        "object": "list", "data": data, "model": model.name, "system_fingerprint": "simulated",
        "usage": {"prompt_tokens": total, "total_tokens": total},
    }))
}

fn written(vector: &[f32], base64: bool) -> Value {
    if base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        Value::String(images::encode(&bytes))
    } else {
        json!(vector)
    }
}

/// The sum of one random direction for each token, of length one.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a direction, not a count")]
fn vector(input: &Text, dimensions: u64) -> Vec<f32> {
    let mut sum = vec![0.0_f64; usize::try_from(dimensions).unwrap_or(0)];
    for token in tokens::pieces(&input.text).take(8_192) {
        let mut numbers = Numbers(tokens::hash(&[token.trim().to_lowercase().as_bytes()]));
        for value in &mut sum {
            *value += numbers.next() as f64 / u64::MAX as f64 - 0.5;
        }
    }
    let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    sum.iter().map(|value| (value / length) as f32).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn near(left: &str, right: &str) -> f32 {
        let of = |text: &str| vector(&Text { text: text.to_owned(), tokens: 1 }, 256);
        of(left).iter().zip(of(right)).map(|(left, right)| left * right).sum()
    }

    #[test]
    fn unit_length_and_likeness() {
        assert!((near("the tide gate", "the tide gate") - 1.0).abs() < 1e-5);
        assert!(
            near("the tide gate opens", "the tide gate closes")
                > near("the tide gate opens", "buy some bread")
        );
    }

    #[test]
    fn shapes_of_input() {
        let model = crate::models::find("embed").unwrap();
        for (input, count) in
            [(json!("a b"), 1), (json!(["a", "b"]), 2), (json!([1, 2, 3]), 1), (json!([[1], [2, 3]]), 2)]
        {
            let made = answer(&json!({"input": input, "dimensions": 8}), model).unwrap();
            assert_eq!(made["data"].as_array().unwrap().len(), count);
            assert_eq!(made["data"][0]["embedding"].as_array().unwrap().len(), 8);
        }
        let made =
            answer(&json!({"input": "a", "encoding_format": "base64", "dimensions": 3}), model).unwrap();
        assert_eq!(made["data"][0]["embedding"].as_str().unwrap().len(), 16);
        for wrong in [
            json!({"input": ""}),
            json!({"input": []}),
            json!({"input": {}}),
            json!({"input": "a", "dimensions": 0}),
        ] {
            assert_eq!(answer(&wrong, model).unwrap_err().status, 400, "{wrong}");
        }
    }
}
