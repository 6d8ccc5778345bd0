//! The tool calls of one answer, as deltas come for them in any order.
//!
//! OpenAI keys them by `index` and tells id and name once. Others leave out the index, the id, or both, give every call
//! index 0 with an id of its own, repeat id and name on each delta, or send arguments as an object.

use serde_json::value::RawValue;

use crate::blocks::{Delta, Event, Issuer, Opaque, OpaqueKind, PartHead, ToolKind};
use crate::dialects::chat::members::{Members, read, text};
use crate::dialects::chat::thoughts::google_signature;

/// More calls than any model makes; what comes for others is passed over.
const MOST_CALLS: usize = 1_024;

/// All calls of a choice, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    /// As the provider told it.
    told: String,
    /// As it is shown: the same, or made up.
    id: String,
    name: String,
    kind: ToolKind,
    /// The number of its part, once it has a name.
    part: Option<u32>,
    /// What came before the name.
    early: String,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads `tool_calls` and the older `function_call`. `place` is the choice and the number of its next part.
    #[expect(clippy::too_many_arguments, reason = "the state of the choice that these calls belong to")]
    pub(super) fn read(
        &mut self,
        deltas: &[&RawValue],
        legacy: Option<&Members<'_>>,
        whole: bool,
        answer: Option<&str>,
        issuer: &Issuer,
        place: (u32, &mut u32),
        out: &mut Vec<Event>,
    ) {
        let (choice, next) = place;
        for (ordinal, raw) in deltas.iter().enumerate() {
            let Some(delta) = Members::of(raw) else { continue };
            let (function, kind) = match delta.object("custom") {
                Some(custom) => (Some(custom), ToolKind::Custom),
                None => (delta.object("function"), ToolKind::Function),
            };
            let function = function.unwrap_or_default();
            let index = if whole { Some(ordinal as u64) } else { delta.get("index").and_then(read) };
            let id = delta.text("id").unwrap_or_default();
            let name = function.text("name").unwrap_or_default();
            let at =
                self.find(index, &id, &name, whole).unwrap_or_else(|| self.begin(index, &id, choice, answer));
            let Some(call) = self.0.get_mut(at) else { continue };
            if call.part.is_none() {
                call.kind = kind;
            }
            call.take(&name, &function, choice, next, out);
            if let (Some(data), Some(part)) = (google_signature(&delta), call.part) {
                let opaque = Opaque { issuer: issuer.clone(), kind: OpaqueKind::ThoughtSignature, data };
                out.push(Event::Delta { choice, part, delta: Delta::Opaque(opaque) });
            }
        }
        if let Some(function) = legacy {
            let at = if self.0.is_empty() { self.begin(None, "", choice, answer) } else { 0 };
            if let Some(call) = self.0.get_mut(at) {
                let name = function.text("name").unwrap_or_default();
                call.take(&name, function, choice, next, out);
            }
        }
    }

    /// The call that a delta belongs to.
    fn find(&self, index: Option<u64>, id: &str, name: &str, whole: bool) -> Option<usize> {
        if whole {
            return None;
        }
        let new_id = |call: &Call| !id.is_empty() && !call.told.is_empty() && call.told != id;
        let Some(index) = index else {
            // Without an index: the id says it; a delta that only goes on belongs to the last.
            let known = self.0.iter().rposition(|call| !id.is_empty() && call.told == id);
            let goes_on = id.is_empty() && name.is_empty();
            return known.or_else(|| self.0.len().checked_sub(1).filter(|_| goes_on));
        };
        if !id.is_empty()
            && let Some(at) = self.0.iter().rposition(|call| call.told == id && call.index == Some(index))
        {
            return Some(at);
        }
        let at = self.0.iter().rposition(|call| call.index == Some(index))?;
        // The same index with a new id and a name is a call of its own.
        let other = self.0.get(at).is_some_and(new_id) && !name.is_empty();
        (!other).then_some(at)
    }

    /// A call that no delta came for yet; beyond the bound, no call.
    fn begin(&mut self, index: Option<u64>, id: &str, choice: u32, answer: Option<&str>) -> usize {
        if self.0.len() >= MOST_CALLS {
            return usize::MAX;
        }
        let shown = if id.is_empty() { made_up(answer, choice, self.0.len()) } else { id.to_owned() };
        self.0.push(Call { index, told: id.to_owned(), id: shown, ..Call::default() });
        self.0.len() - 1
    }

    /// Ends all of them; one that never had a name begins and ends here.
    pub(super) fn close(&mut self, choice: u32, next: &mut u32, out: &mut Vec<Event>) {
        for call in &mut self.0 {
            let part = call.start(choice, next, out);
            out.push(Event::PartEnd { choice, part });
        }
    }
}

impl Call {
    fn take(
        &mut self,
        name: &str,
        function: &Members<'_>,
        choice: u32,
        next: &mut u32,
        out: &mut Vec<Event>,
    ) {
        let input = function.get("arguments").or_else(|| function.get("input"));
        let more = input.map(|raw| text(raw).unwrap_or_else(|| raw.get().into())).unwrap_or_default();
        if self.part.is_none() {
            self.name.push_str(name);
            if self.name.is_empty() {
                self.early.push_str(&more);
                return;
            }
        }
        let part = self.start(choice, next, out);
        if !more.is_empty() {
            out.push(Event::Delta { choice, part, delta: Delta::Arguments(more.into_owned()) });
        }
    }

    fn start(&mut self, choice: u32, next: &mut u32, out: &mut Vec<Event>) -> u32 {
        if let Some(part) = self.part {
            return part;
        }
        let part = *next;
        *next += 1;
        self.part = Some(part);
        let (id, name, kind) = (self.id.clone(), self.name.clone(), self.kind.clone());
        out.push(Event::PartStart {
            choice,
            part,
            head: PartHead::ToolCall { id, item_id: None, name, kind },
        });
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            out.push(Event::Delta { choice, part, delta: Delta::Arguments(early) });
        }
        part
    }
}

/// A stable id for a call that the provider gave none: of the answer's id, so that it is one of its kind in a
/// conversation, in the letters that every dialect takes.
fn made_up(answer: Option<&str>, choice: u32, index: usize) -> String {
    let letters: Vec<char> = answer.unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
    let tail: String = letters[letters.len().saturating_sub(20)..].iter().collect();
    let parting = if tail.is_empty() { "" } else { "_" };
    format!("call_{tail}{parting}{choice}_{index}")
}
