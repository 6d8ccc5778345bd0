//! A stream added up: what the events of an answer come to is the answer that was not streamed.

use serde::{Deserialize, Serialize};

use super::{Answer, Choice, Delta, Event, Part, PartHead, Raw, Reasoning, ToolCall};
use crate::Usage;

/// Adds events up.
#[derive(Debug, Default)]
pub struct Fold {
    answer: Answer,
    /// Whether the end has come.
    pub ended: bool,
    /// The error that came, message and code.
    pub error: Option<(String, Option<String>)>,
}

impl Fold {
    /// Takes the next event.
    pub fn push(&mut self, event: &Event) {
        match event {
            Event::Start { id, model, created } => {
                self.answer.id.clone_from(id);
                self.answer.model.clone_from(model);
                self.answer.created = *created;
            }
            Event::PartStart { choice, head, .. } => {
                let part = begin(head);
                self.choice(*choice).parts.push(part);
            }
            Event::Delta { choice, part, delta } => {
                if let Some(part) = self.choice(*choice).parts.get_mut(*part as usize) {
                    add(part, delta);
                }
            }
            Event::PartEnd { .. } => {}
            Event::Stop { choice, stop } => self.choice(*choice).stop = Some(stop.clone()),
            Event::Logprobs { choice, raw } => {
                let told = &mut self.choice(*choice).logprobs;
                *told = Some(told.take().map_or_else(|| raw.clone(), |before| join(&before, raw)));
            }
            Event::Usage(usage) => merge(self.answer.usage.get_or_insert_default(), usage),
            Event::ServiceTier(tier) => self.answer.service_tier = Some(tier.clone()),
            Event::Error { message, code } => self.error = Some((message.clone(), code.clone())),
            Event::End => self.ended = true,
        }
    }

    /// What came, so far.
    pub fn answer(self) -> Answer {
        self.answer
    }

    fn choice(&mut self, number: u32) -> &mut Choice {
        let number = number as usize;
        if self.answer.choices.len() <= number {
            self.answer.choices.resize_with(number + 1, Choice::default);
        }
        &mut self.answer.choices[number]
    }
}

fn begin(head: &PartHead) -> Part {
    match head {
        PartHead::Text => Part::text(""),
        PartHead::Refusal => Part::Refusal { text: String::new() },
        PartHead::Reasoning { id } => Part::Reasoning(Reasoning { id: id.clone(), ..Reasoning::default() }),
        PartHead::ToolCall { id, item_id, name, kind } => Part::ToolCall(ToolCall {
            id: id.clone(),
            item_id: item_id.clone(),
            name: name.clone(),
            kind: kind.clone(),
            ..ToolCall::default()
        }),
        PartHead::Media(media) => Part::Media((**media).clone()),
        PartHead::Unknown { dialect, kind, raw } => {
            Part::Unknown { dialect: *dialect, kind: kind.clone(), raw: raw.clone() }
        }
    }
}

fn add(part: &mut Part, delta: &Delta) {
    match (part, delta) {
        (Part::Text { text, .. } | Part::Refusal { text }, Delta::Text(more)) => text.push_str(more),
        (Part::Text { citations, .. }, Delta::Citation(citation)) => citations.push(citation.clone()),
        (Part::Text { opaque, .. }, Delta::Opaque(new)) => *opaque = Some(new.clone()),
        (Part::ToolCall(call), Delta::Arguments(more)) => call.arguments.push_str(more),
        (Part::ToolCall(call), Delta::Opaque(new)) => call.opaque = Some(new.clone()),
        (Part::Reasoning(thought), Delta::Thought(more)) => thought.text.push_str(more),
        (Part::Reasoning(thought), Delta::Summary { paragraph, text }) => {
            let paragraph = *paragraph as usize;
            if thought.summary.len() <= paragraph {
                thought.summary.resize(paragraph + 1, String::new());
            }
            thought.summary[paragraph].push_str(text);
        }
        (Part::Reasoning(thought), Delta::Opaque(new)) => thought.opaque = Some(new.clone()),
        _ => {}
    }
}

/// OpenAI's log probabilities, told piece by piece.
#[derive(Default, Serialize, Deserialize)]
struct Logprobs {
    #[serde(default)]
    content: Option<Vec<Raw>>,
    #[serde(default)]
    refusal: Option<Vec<Raw>>,
}

fn join(before: &Raw, more: &Raw) -> Raw {
    let (mut sum, more): (Logprobs, Logprobs) =
        (before.read().unwrap_or_default(), more.read().unwrap_or_default());
    for (sum, more) in [(&mut sum.content, more.content), (&mut sum.refusal, more.refusal)] {
        if let Some(more) = more {
            sum.get_or_insert_default().extend(more);
        }
    }
    Raw::of(&sum).unwrap_or_else(|| before.clone())
}

/// Later counts replace earlier ones, field by field.
pub fn merge(sum: &mut Usage, told: &Usage) {
    let slots: [(&mut Option<u64>, Option<u64>); 8] = [
        (&mut sum.input, told.input),
        (&mut sum.cached_input, told.cached_input),
        (&mut sum.cache_write, told.cache_write),
        (&mut sum.output, told.output),
        (&mut sum.reasoning, told.reasoning),
        (&mut sum.audio_input, told.audio_input),
        (&mut sum.audio_output, told.audio_output),
        (&mut sum.images, told.images),
    ];
    for (slot, told) in slots {
        *slot = told.or(*slot);
    }
}
