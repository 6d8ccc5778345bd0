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
    image_input: Option<u64>,
    image_output: Option<u64>,
}

impl Counts {
    /// Takes what a chunk tells.
    pub(super) fn merge(&mut self, told: &RawValue) {
        let Some(told) = Members::parse(told.get()) else { return };
        let count = |name: &str| told.get(name).and_then(integer).and_then(|count| u64::try_from(count).ok());
        let part = |name: &str, modality: &str| told.get(name).and_then(|details| of(details, modality));
        let slots = [
            (&mut self.prompt, count("promptTokenCount")),
            (&mut self.tools, count("toolUsePromptTokenCount")),
            (&mut self.cached, count("cachedContentTokenCount")),
            (&mut self.candidates, count("candidatesTokenCount")),
            (&mut self.thoughts, count("thoughtsTokenCount")),
            (&mut self.total, count("totalTokenCount")),
            (&mut self.audio_input, part("promptTokensDetails", "AUDIO")),
            (&mut self.audio_output, part("candidatesTokensDetails", "AUDIO")),
            (&mut self.image_input, part("promptTokensDetails", "IMAGE")),
            (&mut self.image_output, part("candidatesTokensDetails", "IMAGE")),
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
            image_input: self.image_input,
            image_output: self.image_output,
            tool_input: self.tools,
            ..Usage::default()
        })
    }
}

/// One modality's tokens in a list of counts.
fn of(details: &RawValue, wanted: &str) -> Option<u64> {
    let details: Vec<Members<'_>> = serde_json::from_str(details.get()).ok()?;
    details.into_iter().find_map(|mut detail| {
        let is_it = detail.take_text("modality").is_some_and(|modality| modality == wanted);
        let count = integer(detail.take("tokenCount")?).and_then(|count| u64::try_from(count).ok());
        count.filter(|_| is_it)
    })
}

/// Writes counts so that the same sums hold.
pub(super) fn write(usage: &Usage, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    let tools = usage.tool_input.map(|tools| tools.min(usage.input.unwrap_or(tools)));
    if let Some(input) = usage.input {
        object.number("promptTokenCount", input - tools.unwrap_or(0));
    }
    if let Some(tools) = tools {
        object.number("toolUsePromptTokenCount", tools);
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
    let details = [
        ("promptTokensDetails", [("IMAGE", usage.image_input), ("AUDIO", usage.audio_input)]),
        ("candidatesTokensDetails", [("IMAGE", usage.image_output), ("AUDIO", usage.audio_output)]),
    ];
    for (name, parts) in details {
        if parts.iter().all(|(_, tokens)| tokens.is_none()) {
            continue;
        }
        let mut list = List::new(object.name(name));
        for (modality, tokens) in parts {
            if let Some(tokens) = tokens {
                let mut detail = Object::new(list.item());
                detail.text("modality", modality);
                detail.number("tokenCount", tokens);
                detail.end();
            }
        }
        list.end();
    }
    object.end();
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_tools_put_into_the_prompt_is_input() {
        let told = r#"{"promptTokenCount":23,"candidatesTokenCount":75,"toolUsePromptTokenCount":110,
            "thoughtsTokenCount":50,"totalTokenCount":258,
            "promptTokensDetails":[{"modality":"TEXT","tokenCount":5},{"modality":"IMAGE","tokenCount":18}]}"#;
        let mut counts = Counts::default();
        counts.merge(&RawValue::from_string(told.to_owned()).unwrap());
        let usage = counts.usage().unwrap();
        assert_eq!((usage.input, usage.output, usage.reasoning), (Some(133), Some(125), Some(50)));
        assert_eq!((usage.tool_input, usage.image_input, usage.audio_input), (Some(110), Some(18), None));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(parts in prop::collection::vec(prop::option::of(0..1_000_u64), 8)) {
            let usage = Usage {
                input: Some(5_000),
                output: Some(5_000),
                cached_input: parts[0],
                reasoning: parts[1],
                audio_input: parts[2],
                audio_output: parts[3],
                image_input: parts[4],
                image_output: parts[5],
                tool_input: parts[6],
                ..Usage::default()
            };
            let mut out = Vec::new();
            write(&usage, &mut out);
            let mut counts = Counts::default();
            counts.merge(&RawValue::from_string(String::from_utf8(out).unwrap()).unwrap());
            prop_assert_eq!(counts.usage(), Some(usage));
        }
    }
}
