//! `usageMetadata`.
//!
//! `promptTokenCount` includes the cached part; what the provider's own tools put into the prompt is counted beside it.
//! `candidatesTokenCount` leaves thoughts out. The total is the sum of all four. Google leaves zeros out.

use serde_json::value::RawValue;

use crate::Usage;

use super::emit::{List, Object};
use super::members::{Members, integer};

/// Counts by Google's names, merged over a stream: later ones replace earlier ones, field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    prompt: Option<u64>,
    tools: Option<u64>,
    cached: Option<u64>,
    candidates: Option<u64>,
    thoughts: Option<u64>,
    total: Option<u64>,
    audio_input: Option<u64>,
    audio_output: Option<u64>,
}

impl Counts {
    /// Takes what a chunk tells.
    pub(super) fn merge(&mut self, told: &RawValue) {
        let Some(told) = Members::parse(told.get()) else { return };
        let count = |name: &str| told.get(name).and_then(integer).and_then(|count| u64::try_from(count).ok());
        let audio = |name: &str| told.get(name).and_then(audio);
        let slots = [
            (&mut self.prompt, count("promptTokenCount")),
            (&mut self.tools, count("toolUsePromptTokenCount")),
            (&mut self.cached, count("cachedContentTokenCount")),
            (&mut self.candidates, count("candidatesTokenCount")),
            (&mut self.thoughts, count("thoughtsTokenCount")),
            (&mut self.total, count("totalTokenCount")),
            (&mut self.audio_input, audio("promptTokensDetails")),
            (&mut self.audio_output, audio("candidatesTokensDetails")),
        ];
        for (slot, told) in slots {
            *slot = told.or(*slot);
        }
    }

    /// In the gateway's terms; `None` when neither input nor output is known.
    pub(super) fn usage(&self) -> Option<Usage> {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
        };
        let input = sum(self.prompt, self.tools);
        // A zero is left out; the total that was told says that it is one.
        let by_total = self.total.zip(input).and_then(|(total, input)| total.checked_sub(input));
        let output = sum(self.candidates, self.thoughts).or(by_total);
        if input.is_none() && output.is_none() {
            return None;
        }
        Some(Usage {
            input,
            cached_input: self.cached,
            cache_write: None,
            output,
            reasoning: self.thoughts,
            audio_input: self.audio_input,
            audio_output: self.audio_output,
            images: None,
        })
    }
}

/// The sound in a list of counts by modality.
fn audio(details: &RawValue) -> Option<u64> {
    let details: Vec<Members<'_>> = serde_json::from_str(details.get()).ok()?;
    details.into_iter().find_map(|mut detail| {
        let is_audio = detail.take_text("modality").is_some_and(|modality| modality == "AUDIO");
        let count = integer(detail.take("tokenCount")?).and_then(|count| u64::try_from(count).ok());
        count.filter(|_| is_audio)
    })
}

/// Writes counts so that the same sums hold.
pub(super) fn write(usage: &Usage, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    if let Some(input) = usage.input {
        object.number("promptTokenCount", input);
    }
    if let Some(cached) = usage.cached_input {
        object.number("cachedContentTokenCount", cached);
    }
    let thoughts = usage.reasoning.map(|thoughts| thoughts.min(usage.output.unwrap_or(thoughts)));
    if let Some(output) = usage.output {
        object.number("candidatesTokenCount", output - thoughts.unwrap_or(0));
    }
    if let Some(thoughts) = thoughts {
        object.number("thoughtsTokenCount", thoughts);
    }
    if let (Some(input), Some(output)) = (usage.input, usage.output) {
        object.number("totalTokenCount", input.saturating_add(output));
    }
    let details =
        [("promptTokensDetails", usage.audio_input), ("candidatesTokensDetails", usage.audio_output)];
    for (name, audio) in details {
        if let Some(audio) = audio {
            let mut list = List::new(object.name(name));
            let mut detail = Object::new(list.item());
            detail.text("modality", "AUDIO");
            detail.number("tokenCount", audio);
            detail.end();
            list.end();
        }
    }
    object.end();
}
