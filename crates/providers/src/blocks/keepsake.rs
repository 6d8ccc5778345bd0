//! What a client loses and a provider wants back: thoughts and signatures of an answer that calls tools.
//!
//! Many clients keep of an answer only what their types know, and send the tool calls back without the thoughts that
//! led to them; Anthropic and Gemini then refuse the next turn. So the gateway remembers them for a while by the ids of
//! the calls, which every client sends back, and puts them where they were ([`restore`]).

use super::{Answer, Event, Fold, Part, Request, Role, ToolCall};

/// Of one answer at most this much is remembered, bytes.
const MOST: usize = 256 * 1024;

/// The thoughts and calls of one answer, without texts and arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keepsake {
    parts: Vec<Part>,
    bytes: usize,
}

impl Keepsake {
    /// Of a whole answer; `None` when there is nothing that a client could lose.
    pub fn of(answer: &Answer) -> Option<Self> {
        Self::keep(answer, false)
    }

    /// The same for a vendor that wants unsigned thoughts back too.
    pub fn with_plain_thoughts(answer: &Answer) -> Option<Self> {
        Self::keep(answer, true)
    }

    fn keep(answer: &Answer, plain: bool) -> Option<Self> {
        let choice = answer.choices.first()?;
        let mut parts = Vec::new();
        let mut bytes = 0;
        let mut opaque = false;
        for part in &choice.parts {
            match part {
                Part::Reasoning(thought) => {
                    opaque |= thought.opaque.is_some() || plain && !thought.text.is_empty();
                    bytes += thought.text.len()
                        + thought.summary.iter().map(String::len).sum::<usize>()
                        + thought.opaque.as_ref().map_or(0, |opaque| opaque.data.len());
                    parts.push(part.clone());
                }
                Part::ToolCall(call) => {
                    opaque |= call.opaque.is_some();
                    bytes += call.id.len() + call.opaque.as_ref().map_or(0, |opaque| opaque.data.len());
                    let (id, opaque) = (call.id.clone(), call.opaque.clone());
                    parts.push(Part::ToolCall(ToolCall { id, opaque, ..ToolCall::default() }));
                }
                _ => {}
            }
        }
        let calls = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
        (opaque && calls && bytes <= MOST).then_some(Self { parts, bytes })
    }

    /// The thoughts that nobody signed, as one text; `None` where there are none.
    pub fn plain_thoughts(&self) -> Option<String> {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Reasoning(thought) if thought.opaque.is_none() => Some(thought.text.as_str()),
            _ => None,
        });
        Some(texts.collect::<String>()).filter(|text| !text.is_empty())
    }

    /// Whether any of it is signed.
    fn is_signed(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Reasoning(thought) => thought.opaque.is_some(),
            Part::ToolCall(call) => call.opaque.is_some(),
            _ => false,
        })
    }

    /// The ids by which it is asked for.
    pub fn calls(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call.id.as_str()),
            _ => None,
        })
    }

    /// What it weighs, bytes.
    pub fn weight(&self) -> usize {
        self.bytes + self.parts.len() * size_of::<Part>()
    }
}

/// Collects the keepsake of a streamed answer.
#[derive(Debug, Default)]
pub struct Collector {
    fold: Fold,
    bytes: usize,
    plain: bool,
}

impl Collector {
    /// For a vendor that wants unsigned thoughts back too.
    pub fn with_plain_thoughts() -> Self {
        Self { plain: true, ..Self::default() }
    }

    /// Takes the next event. Texts and arguments are not kept.
    pub fn see(&mut self, event: &Event) {
        let kept = match event {
            Event::PartStart { choice: 0, .. } => 64,
            Event::Delta { choice: 0, delta, .. } => match delta {
                super::Delta::Thought(text) | super::Delta::Summary { text, .. } => text.len(),
                super::Delta::Opaque(opaque) => opaque.data.len(),
                _ => return,
            },
            _ => return,
        };
        self.bytes = self.bytes.saturating_add(kept);
        if self.bytes <= MOST {
            self.fold.push(event);
        }
    }

    /// At the end of the answer.
    pub fn finish(self) -> Option<Keepsake> {
        if self.bytes > MOST { None } else { Keepsake::keep(&self.fold.answer(), self.plain) }
    }
}

/// Puts back what turns of the assistant have lost, as far as `find` knows the ids of their calls.
pub fn restore<K: std::ops::Deref<Target = Keepsake>>(
    request: &mut Request,
    find: impl Fn(&str) -> Option<K>,
) {
    for turn in request.turns.iter_mut().filter(|turn| turn.role == Role::Assistant) {
        let Some(first) = turn.parts.iter().position(|part| matches!(part, Part::ToolCall(_))) else {
            continue;
        };
        let Part::ToolCall(call) = &turn.parts[first] else { continue };
        // Unsigned thoughts go back only to vendors that ask for them, and not by this way.
        let Some(keepsake) = find(&call.id).filter(|keepsake| keepsake.is_signed()) else { continue };
        for part in &mut turn.parts {
            if let Part::ToolCall(call) = part
                && call.opaque.is_none()
            {
                call.opaque = keepsake.parts.iter().find_map(|kept| match kept {
                    Part::ToolCall(kept) if kept.id == call.id => kept.opaque.clone(),
                    _ => None,
                });
            }
        }
        let signed = |part: &Part| matches!(part, Part::Reasoning(thought) if thought.opaque.is_some());
        if !turn.parts.iter().any(signed) {
            // Unsigned thoughts are the same ones without what makes them valid.
            turn.parts.retain(|part| !matches!(part, Part::Reasoning(_)));
            let at =
                turn.parts.iter().position(|part| !matches!(part, Part::Text { .. })).unwrap_or(0).min(first);
            let thoughts: Vec<Part> =
                keepsake.parts.iter().filter(|part| matches!(part, Part::Reasoning(_))).cloned().collect();
            // Thoughts come first in an answer: before its text.
            let at = if thoughts.is_empty() { at } else { 0 };
            turn.parts.splice(at..at, thoughts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{Choice, Issuer, Opaque, OpaqueKind, Reasoning, Turn};
    use crate::dialects::Dialect;

    fn opaque(data: &str) -> Opaque {
        let issuer = Issuer { dialect: Dialect::Messages, provider: "a".into() };
        Opaque { issuer, kind: OpaqueKind::Signature, data: data.into() }
    }

    fn answer() -> Answer {
        let thought = Reasoning { text: "hm".into(), opaque: Some(opaque("sig")), ..Reasoning::default() };
        let call =
            ToolCall { id: "c1".into(), name: "f".into(), arguments: "{}".into(), ..ToolCall::default() };
        let parts = vec![Part::Reasoning(thought), Part::text("I look"), Part::ToolCall(call)];
        Answer { choices: vec![Choice { parts, ..Choice::default() }], ..Answer::default() }
    }

    #[test]
    fn thoughts_come_back_before_the_text_that_they_led_to() {
        let keepsake = Keepsake::of(&answer());
        let parts = answer().choices.remove(0).parts;
        let mut request = Request {
            turns: vec![Turn { role: Role::Assistant, parts: parts[1..].to_vec(), name: None }],
            ..Request::default()
        };
        restore(&mut request, |id| keepsake.as_ref().filter(|_| id == "c1"));
        assert_eq!(request.turns[0].parts, parts);
        let again = request.clone();
        restore(&mut request, |_| keepsake.as_ref());
        assert_eq!(request, again, "what is there is left alone");
    }

    #[test]
    fn without_signatures_there_is_nothing_to_keep() {
        let mut answer = answer();
        answer.choices[0].parts.remove(0);
        assert_eq!(Keepsake::of(&answer), None);
    }
}
