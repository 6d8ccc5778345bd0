//! Calls that are no conversation and have dialects all the same: embeddings ([`embed`]) and rerank ([`rerank`]).
//!
//! One small form for each, and a codec for each dialect, as for conversations: n dialects are n codecs and never a pair.
//! Where client and provider speak the same, nothing here touches the bytes. Numbers stay the text that the provider
//! wrote; only where a client wants the other encoding (base64 of little-endian 32-bit floats) are they read.

pub mod embed;
mod fields;
pub mod floats;
pub mod rerank;

use serde::Deserialize;

use crate::Usage;
use crate::json::top_level;

/// Whose words a request is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// OpenAI's `/embeddings`; it has no rerank.
    OpenAi,
    /// Jina's `/embeddings` (OpenAI's with words of its own) and `/rerank`.
    Jina,
    /// Google's `embedContent` and `batchEmbedContents`; it has no rerank.
    Gemini,
    /// Cohere's `/v2/embed` and `/v2/rerank`.
    Cohere,
    /// Cohere's older `/v1/rerank`, which may return the documents.
    CohereV1,
}

/// What a call of this kind counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Tokens of input; `None`: the provider never said.
    pub tokens: Option<u64>,
    /// Cohere's unit of rerank: a query with up to 100 documents.
    pub search_units: Option<u64>,
}

impl Counted {
    /// As usage: nothing is generated, so the output is none. `None` where no tokens were told.
    pub fn usage(self) -> Option<Usage> {
        self.tokens.map(|tokens| Usage { input: Some(tokens), output: Some(0), ..Usage::default() })
    }
}

#[derive(Default, Deserialize)]
struct Meta {
    billed_units: Option<Units>,
    tokens: Option<Units>,
}

#[derive(Default, Deserialize)]
struct Units {
    input_tokens: Option<f64>,
    image_tokens: Option<f64>,
    search_units: Option<f64>,
}

#[derive(Default, Deserialize)]
struct Tokens {
    prompt_tokens: Option<f64>,
    input_tokens: Option<f64>,
    total_tokens: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoogleTokens {
    prompt_token_count: Option<f64>,
    total_token_count: Option<f64>,
}

/// What a whole answer of any of the dialects tells.
pub fn counted(answer: &[u8]) -> Counted {
    let Ok(object) = top_level(answer) else { return Counted::default() };
    let mut counted = Counted::default();
    if let Some(meta) = object.value(answer, "meta").and_then(read::<Meta>) {
        let billed = meta.billed_units.unwrap_or_default();
        let text = count(billed.input_tokens).or_else(|| count(meta.tokens?.input_tokens));
        let images = count(billed.image_tokens);
        counted.tokens = match (text, images) {
            (None, None) => None,
            (text, images) => Some(text.unwrap_or(0) + images.unwrap_or(0)),
        };
        counted.search_units = count(billed.search_units);
    }
    if let Some(usage) = object.value(answer, "usage").and_then(read::<Tokens>) {
        let told = count(usage.prompt_tokens).or(count(usage.input_tokens)).or(count(usage.total_tokens));
        counted.tokens = counted.tokens.or(told);
    }
    if let Some(usage) = object.value(answer, "usageMetadata").and_then(read::<GoogleTokens>) {
        let told = count(usage.prompt_token_count).or(count(usage.total_token_count));
        counted.tokens = counted.tokens.or(told);
    }
    counted
}

fn read<'t, T: Deserialize<'t>>(text: &'t [u8]) -> Option<T> {
    serde_json::from_slice(text).ok()
}

/// A count, also when it is written `12.0`.
fn count(number: Option<f64>) -> Option<u64> {
    let number = number.filter(|number| number.fract() == 0.0 && (0.0..1e15).contains(number))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "integral, not negative, small"
    )]
    Some(number as u64)
}

#[cfg(test)]
#[path = "vectors/tests.rs"]
mod tests;
