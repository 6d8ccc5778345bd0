//! What a provider says it counted, from the many shapes in which vendors say it.
//!
//! One rule above all: absent is unknown and `0` is data. Nothing is made up, nothing said is dropped.
//! Shapes (vendors' pages and recorded answers, 2026-11):
//! - OpenAI: `prompt_tokens` includes `prompt_tokens_details.{cached,cache_write,audio}_tokens`,
//!   `completion_tokens` includes `completion_tokens_details.{reasoning,audio}_tokens`. The Responses
//!   names (`input_tokens`, …) are taken where these are absent.
//! - DeepSeek: `prompt_cache_hit_tokens`; Moonshot: `cached_tokens` beside `prompt_tokens`.
//! - DashScope: `prompt_tokens_details.cache_creation_input_tokens`.
//! - DeepSeek without `prompt_tokens`: its `prompt_cache_hit_tokens` and `prompt_cache_miss_tokens` are the whole.
//! - Anthropic, as relays tell it: `cache_creation.ephemeral_1h_input_tokens`, `server_tool_use.web_search_requests`.
//! - Perplexity: `reasoning_tokens` and `num_search_queries` beside the others. Groq, in streams: `x_groq.usage`.
//! - xAI and Gemini's OpenAI endpoint: `completion_tokens` does *not* include reasoning, while
//!   `total_tokens` does; see `Counts::output`.
//!
//! Streams tell usage once, or on every chunk with growing numbers: the last non-null value of each
//! field counts.

use serde::{Deserialize, Serialize};

use crate::json::{Span, StringToken, Visitor, scan_value};

/// Tokens of one call. `None`: the provider never said; `Some(0)`: it said zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Usage {
    /// All input tokens, cached ones included.
    pub input: Option<u64>,
    /// The part of `input` that was read from the provider's cache.
    pub cached_input: Option<u64>,
    /// The part of `input` that was written to the provider's cache.
    pub cache_write: Option<u64>,
    /// All output tokens, reasoning included.
    pub output: Option<u64>,
    /// The part of `output` that is reasoning.
    pub reasoning: Option<u64>,
    /// The part of `input` that is sound.
    pub audio_input: Option<u64>,
    /// The part of `output` that is sound.
    pub audio_output: Option<u64>,
    /// Pictures made; no endpoint of today tells it.
    pub images: Option<u64>,
    /// The part of `cache_write` that is kept for an hour; the rest is kept for minutes.
    pub cache_write_hour: Option<u64>,
    /// The part of `input` that is pictures.
    pub image_input: Option<u64>,
    /// The part of `output` that is pictures.
    pub image_output: Option<u64>,
    /// The part of `input` that the provider's own tools put there.
    pub tool_input: Option<u64>,
    /// The part of a predicted output that came to be.
    pub accepted_prediction: Option<u64>,
    /// The part of a predicted output that did not, and is billed as output.
    pub rejected_prediction: Option<u64>,
    /// Searches of the web that the provider made.
    pub searches: Option<u64>,
    /// A stream told less input or output at its end than before.
    pub taken_back: bool,
}

impl Usage {
    /// Whether a part is told to be larger than its whole, or two parts that exclude one another are together, or what was
    /// told first was taken back: then the provider's word cannot be true in every number.
    pub fn contradicts_itself(&self) -> bool {
        let beyond = |whole: Option<u64>, parts: &[Option<u64>]| {
            let sum = parts.iter().flatten().fold(0u64, |sum, part| sum.saturating_add(*part));
            whole.is_some_and(|whole| sum > whole)
        };
        self.taken_back
            || beyond(self.input, &[self.cached_input, self.cache_write])
            || beyond(self.input, &[self.audio_input, self.image_input])
            || beyond(self.input, &[self.tool_input])
            || beyond(self.cache_write, &[self.cache_write_hour])
            || beyond(self.output, &[self.reasoning])
            || beyond(self.output, &[self.audio_output, self.image_output])
    }
}

/// Fields as vendors name them, merged over a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    audio_input: Option<u64>,
    audio_output: Option<u64>,
    /// The same counts under the names that some vendors use instead of, or beside, the usual ones.
    input: Option<u64>,
    output: Option<u64>,
    cached_aside: Option<u64>,
    missed: Option<u64>,
    cache_write_aside: Option<u64>,
    reasoning_aside: Option<u64>,
    cache_write_hour: Option<u64>,
    image_input: Option<u64>,
    image_output: Option<u64>,
    accepted: Option<u64>,
    rejected: Option<u64>,
    searches: Option<u64>,
    taken_back: bool,
}

impl Counts {
    /// Merges the JSON object in `text`; what it does not tell keeps its value. Text that is no
    /// object, and numbers that are no counts, change nothing.
    ///
    /// Some servers end a stream with counts that are all zero, after they told the true ones: those change nothing.
    pub(crate) fn merge(&mut self, text: &[u8]) {
        let mut merged = *self;
        let mut reader = Reader { counts: &mut merged, parent: Parent::Usage, slot: None, told: 0 };
        // What was read before an error stands: the event was validated, or came as it came.
        let _ = scan_value(text, 0, &mut reader);
        let anything = |counts: &Self| {
            [counts.prompt, counts.completion, counts.input, counts.output]
                .iter()
                .any(|count| *count > Some(0))
        };
        if reader.told > 0 || !anything(self) {
            let wholes = |counts: &Self| [counts.prompt, counts.completion, counts.input, counts.output];
            merged.taken_back |= wholes(self).iter().zip(wholes(&merged)).any(|(before, now)| now < *before);
            *self = merged;
        }
    }

    /// In the gateway's terms; `None` when neither input nor output is known.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let parts = self.cached_aside.zip(self.missed).map(|(hit, missed)| hit.saturating_add(missed));
        let input = self.prompt.or(self.input).or(parts);
        let output = self.output(input);
        if input.is_none() && output.is_none() {
            return None;
        }
        Some(Usage {
            input,
            cached_input: self.cached.or(self.cached_aside),
            cache_write: self.cache_write.or(self.cache_write_aside),
            output,
            reasoning: self.reasoning.or(self.reasoning_aside),
            audio_input: self.audio_input,
            audio_output: self.audio_output,
            cache_write_hour: self.cache_write_hour,
            image_input: self.image_input,
            image_output: self.image_output,
            accepted_prediction: self.accepted,
            rejected_prediction: self.rejected,
            searches: self.searches,
            taken_back: self.taken_back,
            ..Usage::default()
        })
    }

    /// A total without its parts, as rerankers tell it: all of it is input.
    pub(crate) fn total_alone(&self) -> Option<Usage> {
        self.total.map(|total| Usage { input: Some(total), output: Some(0), ..Usage::default() })
    }

    /// Output tokens with reasoning included, also for vendors that count it apart: when the total
    /// exceeds input plus output by just the reasoning that was told, or by anything at all while
    /// neither reasoning nor caching (the other thing that may be left out) was told.
    fn output(&self, input: Option<u64>) -> Option<u64> {
        let output = self.completion.or(self.output);
        let (Some(input), Some(told), Some(total)) = (input, output, self.total) else { return output };
        let beyond = total.saturating_sub(input).saturating_sub(told);
        let reasoning = self.reasoning.or(self.reasoning_aside).unwrap_or(0);
        let cached = self.cached.or(self.cached_aside).or(self.cache_write).or(self.cache_write_aside);
        let counted_apart =
            beyond > 0 && (beyond == reasoning || (reasoning == 0 && cached.unwrap_or(0) == 0));
        if counted_apart { Some(told + beyond) } else { output }
    }

    fn slot(&mut self, parent: Parent, key: &[u8]) -> Option<&mut Option<u64>> {
        Some(match (parent, key) {
            (Parent::Usage, b"prompt_tokens") => &mut self.prompt,
            (Parent::Usage, b"completion_tokens") => &mut self.completion,
            (Parent::Usage, b"total_tokens") => &mut self.total,
            (Parent::Usage, b"input_tokens") => &mut self.input,
            (Parent::Usage, b"output_tokens") => &mut self.output,
            (Parent::Usage, b"prompt_cache_hit_tokens" | b"cached_tokens" | b"cache_read_input_tokens") => {
                &mut self.cached_aside
            }
            (Parent::Usage, b"cache_creation_input_tokens" | b"cache_write_tokens") => {
                &mut self.cache_write_aside
            }
            (Parent::Usage, b"prompt_cache_miss_tokens") => &mut self.missed,
            (Parent::Usage, b"reasoning_tokens") => &mut self.reasoning_aside,
            (Parent::Usage, b"num_search_queries") | (Parent::Searches, b"web_search_requests") => {
                &mut self.searches
            }
            (Parent::Written, b"ephemeral_1h_input_tokens") => &mut self.cache_write_hour,
            (Parent::Input, b"image_tokens") => &mut self.image_input,
            (Parent::Output, b"image_tokens") => &mut self.image_output,
            (Parent::Output, b"accepted_prediction_tokens") => &mut self.accepted,
            (Parent::Output, b"rejected_prediction_tokens") => &mut self.rejected,
            (Parent::Input, b"cached_tokens") => &mut self.cached,
            (
                Parent::Input,
                b"cache_write_tokens" | b"cache_creation_tokens" | b"cache_creation_input_tokens",
            ) => &mut self.cache_write,
            (Parent::Input, b"audio_tokens") => &mut self.audio_input,
            (Parent::Output, b"reasoning_tokens") => &mut self.reasoning,
            (Parent::Output, b"audio_tokens") => &mut self.audio_output,
            _ => return None,
        })
    }
}

/// The object whose members are being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    Usage,
    Input,
    Output,
    /// `cache_creation`: what was written to the cache, by how long it is kept.
    Written,
    /// `server_tool_use`: what the provider's own tools did.
    Searches,
    Unknown,
}

struct Reader<'c> {
    counts: &'c mut Counts,
    /// Of the members at depth 2.
    parent: Parent,
    /// The member whose value comes next, if it is a count.
    slot: Option<(Parent, Span)>,
    /// The largest count that this object tells.
    told: u64,
}

impl Visitor for Reader<'_> {
    fn key(&mut self, depth: usize, text: &[u8], key: StringToken) {
        self.slot = match depth {
            1 => {
                self.parent = match key.inner.of(text) {
                    b"prompt_tokens_details" | b"input_tokens_details" => Parent::Input,
                    b"completion_tokens_details" | b"output_tokens_details" => Parent::Output,
                    b"cache_creation" => Parent::Written,
                    b"server_tool_use" => Parent::Searches,
                    _ => Parent::Unknown,
                };
                Some((Parent::Usage, key.inner))
            }
            2 => Some((self.parent, key.inner)),
            _ => None,
        };
    }

    fn scalar(&mut self, _: usize, text: &[u8], span: Span) {
        if let Some((parent, key)) = self.slot.take()
            && let Some(slot) = self.counts.slot(parent, key.of(text))
            && let Some(count) = count(span.of(text))
        {
            *slot = Some(count);
            self.told = self.told.max(count);
        }
    }

    fn string(&mut self, _: usize, _: &[u8], _: StringToken) {
        self.slot = None;
    }

    fn open(&mut self, _: usize, _: &[u8], _: usize, _: bool) {
        self.slot = None;
    }
}

/// A count, also when a vendor writes `12.0`; `null` and negative numbers are none.
fn count(number: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(number).ok()?;
    if let Ok(count) = text.parse() {
        return Some(count);
    }
    let float = text.parse::<f64>().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "integral, not negative, small"
    )]
    (float.fract() == 0.0 && (0.0..1e15).contains(&float)).then_some(float as u64)
}

#[cfg(test)]
#[path = "usage/tests.rs"]
mod tests;
