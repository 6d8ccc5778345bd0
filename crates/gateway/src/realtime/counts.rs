//! What a session has used: read from the events that pass, and never in their way.
//!
//! OpenAI tells the usage of each answer in its `response.done` (text, sound and cached tokens apart); a session is the
//! sum of its answers. An answer that was begun and whose end never came is estimated from what was heard of it: text
//! at four bytes a token, sound at 20 tokens a second (platform.openai.com, guide on realtime costs: one token of output
//! for 50 ms; from memory, 2026-11-26).

use std::borrow::Cow;
use std::collections::HashMap;

use memchr::memmem;
use policy::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Bytes of base64 for one token of PCM sound: 24,000 samples of two bytes a second.
const SOUND_BYTES: u64 = 24_000 * 2 / 20 * 4 / 3;
const TEXT_BYTES: u64 = 4;
/// Answers that may be under way at once, as far as they are counted.
const MAX_OPEN: usize = 64;

/// What an event said.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// Nothing of use.
    Other,
    /// An answer has ended; its usage was told, or not.
    Done { told: bool },
}

#[derive(Debug, Default)]
struct Open {
    text: u64,
    sound: u64,
}

/// The sums of one session.
#[derive(Debug, Default)]
pub(super) struct Counts {
    told: Usage,
    any: bool,
    /// An answer ended without a word on what it used.
    untold: u64,
    untold_output: u64,
    open: HashMap<String, Open>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    response_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<Answer<'a>>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    usage: Option<Told>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_token_details: Option<Parts>,
    output_token_details: Option<Parts>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Parts {
    cached_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

impl Counts {
    /// Takes note of an event of the provider.
    pub(super) fn hear(&mut self, event: &str) -> Heard {
        // Most events are deltas; what names no answer is not even parsed.
        if memmem::find(event.as_bytes(), b"\"response").is_none() {
            return Heard::Other;
        }
        let Ok(event) = serde_json::from_str::<Event<'_>>(event) else { return Heard::Other };
        match &*event.r#type {
            "response.created" => {
                if let Some(id) = event.response.and_then(|answer| answer.id)
                    && self.open.len() < MAX_OPEN
                {
                    self.open.entry(id.into_owned()).or_default();
                }
                Heard::Other
            }
            "response.done" => self.done(event.response),
            kind if kind.ends_with(".delta") => {
                let open = event.response_id.and_then(|id| self.open.get_mut(&*id));
                if let (Some(open), Some(delta)) = (open, event.delta) {
                    let bytes = delta.get().len().saturating_sub(2) as u64;
                    match kind {
                        "response.output_audio.delta" | "response.audio.delta" => open.sound += bytes,
                        // What is said is heard as well: it is billed as sound.
                        _ if kind.contains("transcript") => {}
                        _ => open.text += bytes,
                    }
                }
                Heard::Other
            }
            _ => Heard::Other,
        }
    }

    fn done(&mut self, answer: Option<Answer<'_>>) -> Heard {
        let Some(answer) = answer else { return Heard::Other };
        let open = answer.id.and_then(|id| self.open.remove(&*id)).unwrap_or_default();
        let Some(told) =
            answer.usage.filter(|told| told.input_tokens.is_some() || told.output_tokens.is_some())
        else {
            self.untold += 1;
            self.untold_output += tokens(&open);
            return Heard::Done { told: false };
        };
        self.any = true;
        let (input, output) =
            (told.input_token_details.unwrap_or_default(), told.output_token_details.unwrap_or_default());
        let sums = &mut self.told;
        for (sum, more) in [
            (&mut sums.input, told.input_tokens),
            (&mut sums.output, told.output_tokens),
            (&mut sums.cached_input, input.cached_tokens),
            (&mut sums.audio_input, input.audio_tokens),
            (&mut sums.audio_output, output.audio_tokens),
            (&mut sums.reasoning, output.reasoning_tokens),
        ] {
            // What one answer did not tell and another did is at least what was told.
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        }
        Heard::Done { told: true }
    }

    /// The usage so far, and whether all of it is the provider's own word.
    pub(super) fn usage(&self) -> (Usage, bool) {
        let unheard: u64 = self.open.values().map(tokens).sum::<u64>() + self.untold_output;
        let exact = self.open.is_empty() && self.untold == 0;
        let mut usage = self.told;
        usage.input = Some(usage.input.unwrap_or(0));
        usage.output = Some(usage.output.unwrap_or(0).saturating_add(unheard));
        (usage, exact)
    }

    /// Tokens of output so far, for the marks of the ledger.
    pub(super) fn output(&self) -> u64 {
        self.usage().0.output.unwrap_or(0)
    }

    /// Tokens of input and of output that the provider has told.
    pub(super) fn told(&self) -> (u64, u64) {
        (self.told.input.unwrap_or(0), self.told.output.unwrap_or(0))
    }

    /// The largest that one more answer is expected to be: as much as all before it, since each reads what was said.
    pub(super) fn next(&self) -> (u64, u64) {
        (self.told.input.unwrap_or(0).max(super::NEXT_ANSWER), super::NEXT_ANSWER)
    }
}

fn tokens(open: &Open) -> u64 {
    open.text.div_ceil(TEXT_BYTES) + open.sound.div_ceil(SOUND_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_the_sum_of_its_answers() {
        let mut counts = Counts::default();
        assert_eq!(counts.usage(), (Usage { input: Some(0), output: Some(0), ..Usage::default() }, true));
        for (id, audio) in [("resp_1", 5), ("resp_2", 0)] {
            counts.hear(&format!(r#"{{"type":"response.created","response":{{"id":"{id}","usage":null}}}}"#));
            let done = format!(
                r#"{{"type":"response.done","response":{{"id":"{id}","usage":{{"total_tokens":33,"input_tokens":20,"output_tokens":13,"input_token_details":{{"cached_tokens":8,"audio_tokens":{audio},"text_tokens":15}},"output_token_details":{{"audio_tokens":10}}}}}}}}"#
            );
            assert_eq!(counts.hear(&done), Heard::Done { told: true });
        }
        let (usage, exact) = counts.usage();
        assert!(exact);
        assert_eq!((usage.input, usage.output, usage.cached_input), (Some(40), Some(26), Some(16)));
        assert_eq!((usage.audio_input, usage.audio_output, usage.reasoning), (Some(5), Some(20), None));
        assert_eq!(counts.told(), (40, 26));
    }

    #[test]
    fn an_answer_that_was_cut_off_is_estimated_and_said_to_be() {
        let mut counts = Counts::default();
        counts.hear(r#"{"type":"response.created","response":{"id":"r"}}"#);
        counts.hear(r#"{"type":"response.output_text.delta","response_id":"r","delta":"12345678"}"#);
        counts.hear(
            r#"{"type":"response.output_audio_transcript.delta","response_id":"r","delta":"not counted"}"#,
        );
        let sound = "A".repeat(6400);
        counts.hear(&format!(
            r#"{{"type":"response.output_audio.delta","response_id":"r","delta":"{sound}"}}"#
        ));
        assert_eq!(counts.usage(), (Usage { input: Some(0), output: Some(4), ..Usage::default() }, false));
        assert_eq!(
            counts.hear(r#"{"type":"response.done","response":{"id":"r"}}"#),
            Heard::Done { told: false }
        );
        assert_eq!(counts.usage().0.output, Some(4), "ended, and never told");
        assert!(!counts.usage().1);
    }

    #[test]
    fn what_is_no_event_is_passed_over() {
        let mut counts = Counts::default();
        for odd in
            ["", "{", "[]", "\"response\"", r#"{"type":5,"response":1}"#, r#"{"type":"response.done"}"#]
        {
            assert_eq!(counts.hear(odd), Heard::Other, "{odd}");
        }
        for n in 0..1000 {
            counts.hear(&format!(r#"{{"type":"response.created","response":{{"id":"{n}"}}}}"#));
        }
        assert_eq!(counts.open.len(), MAX_OPEN);
    }
}
