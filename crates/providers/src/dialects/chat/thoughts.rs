//! Thoughts where Chat has no place for them: `reasoning_content`, `reasoning_details`, `extra_content`.
//!
//! `reasoning_details` is OpenRouter's list of entries `reasoning.text` (`text`, `signature`), `reasoning.summary`
//! (`summary`) and `reasoning.encrypted` (`data`). Entries of one thought share an `index`. What we write carries the
//! thought's place among all parts of the answer as its index, so that thoughts between tool calls come back to where
//! they were; a list numbered from 0 without gaps, as others write it, means "before everything else" in the same way.

use serde_json::value::RawValue;

use super::json::Json;
use super::members::{Members, array, read};
use crate::blocks::{Opaque, OpaqueKind, Part, Reasoning};
use crate::dialects::Dialect;

/// One entry, read.
#[derive(Debug, Default)]
pub(super) struct Detail {
    /// Entries of the same number are one thought.
    pub(super) index: Option<u64>,
    /// The item's id.
    pub(super) id: Option<String>,
    /// Raw thoughts.
    pub(super) text: String,
    /// A summary; its paragraphs are parted by empty lines.
    pub(super) summary: String,
    /// Signature or encrypted form.
    pub(super) opaque: Option<(OpaqueKind, String)>,
}

impl Detail {
    /// What of it people read.
    pub(super) fn words(&self) -> &str {
        if self.text.is_empty() { &self.summary } else { &self.text }
    }
}

/// Reads `reasoning_details`; entries of other shapes are passed over.
pub(super) fn read_details(raw: &RawValue) -> Vec<Detail> {
    let items = array(raw).unwrap_or_default();
    items.into_iter().filter_map(Members::of).map(|entry| read_detail(&entry)).collect()
}

fn read_detail(entry: &Members<'_>) -> Detail {
    let filled = |name: &str| entry.text(name).filter(|text| !text.is_empty()).map(String::from);
    let signature = filled("signature").map(|text| (OpaqueKind::Signature, text));
    let data = filled("data").map(|text| (OpaqueKind::Encrypted, text));
    Detail {
        index: entry.get("index").and_then(read),
        id: filled("id"),
        text: filled("text").unwrap_or_default(),
        summary: filled("summary").unwrap_or_default(),
        opaque: data.or(signature),
    }
}

/// The one name under which a message tells its thoughts as text.
pub(super) fn plain<'a>(message: &Members<'a>) -> Option<std::borrow::Cow<'a, str>> {
    ["reasoning_content", "reasoning"]
        .iter()
        .find_map(|name| message.text(name).filter(|text| !text.is_empty()))
}

/// `extra_content.google.thought_signature` of a call or of a message.
pub(super) fn google_signature(members: &Members<'_>) -> Option<String> {
    let google = members.object("extra_content")?.object("google")?;
    google.text("thought_signature").filter(|text| !text.is_empty()).map(String::from)
}

/// The same as a client sent it.
pub(super) fn received_signature(members: &Members<'_>) -> Option<Opaque> {
    let text = google_signature(members)?;
    Some(Opaque::received(Dialect::Chat, OpaqueKind::ThoughtSignature, &text))
}

/// `"extra_content":{"google":{"thought_signature":…}}`.
pub(super) fn write_google_signature(signature: &str, json: &mut Json) {
    json.object("extra_content");
    json.object("google");
    json.text("thought_signature", signature);
    json.close(b'}');
    json.close(b'}');
}

/// Puts the thoughts of an assistant message that a client sent among its other `parts`.
pub(super) fn replayed(message: &Members<'_>, parts: Vec<Part>) -> Vec<Part> {
    let details = message.get("reasoning_details").map(read_details).unwrap_or_default();
    let mut thoughts = gather(details);
    let told: String = thoughts.iter().map(|(_, thought)| told(thought)).collect();
    if let Some(plain) = plain(message).filter(|plain| **plain != *told) {
        // What the details do not repeat stands before them.
        let rest = plain.strip_suffix(told.as_str()).filter(|_| !told.is_empty());
        if told.is_empty() || rest.is_some() {
            let text = rest.unwrap_or(&plain).to_owned();
            thoughts.insert(0, (Some(0), Reasoning { text, ..Reasoning::default() }));
        }
    }
    place(thoughts, parts)
}

/// What of a thought is told in `reasoning_content`.
fn told(thought: &Reasoning) -> String {
    if thought.text.is_empty() { thought.summary.join("\n\n") } else { thought.text.clone() }
}

/// Joins entries of one index to one thought.
fn gather(details: Vec<Detail>) -> Vec<(Option<u64>, Reasoning)> {
    let mut thoughts: Vec<(Option<u64>, Reasoning)> = Vec::new();
    for detail in details {
        let same = thoughts.last().is_some_and(|(index, thought)| {
            detail.index.is_some() && *index == detail.index && thought.opaque.is_none()
        });
        if !same {
            thoughts.push((detail.index, Reasoning::default()));
        }
        let Some((_, thought)) = thoughts.last_mut() else { continue };
        thought.id = detail.id.or(thought.id.take());
        thought.text.push_str(&detail.text);
        if !detail.summary.is_empty() {
            thought.summary.extend(detail.summary.split("\n\n").map(str::to_owned));
        }
        let opaque = detail.opaque.map(|(kind, text)| Opaque::received(Dialect::Chat, kind, &text));
        thought.opaque = opaque.or(thought.opaque.take());
    }
    thoughts
}

/// Each thought at the place that its index says, the other parts in the gaps.
fn place(thoughts: Vec<(Option<u64>, Reasoning)>, parts: Vec<Part>) -> Vec<Part> {
    let mut out = Vec::with_capacity(thoughts.len() + parts.len());
    let mut parts = parts.into_iter();
    for (index, thought) in thoughts {
        while (out.len() as u64) < index.unwrap_or(0)
            && let Some(part) = parts.next()
        {
            out.push(part);
        }
        out.push(Part::Reasoning(thought));
    }
    out.extend(parts);
    out
}

/// Whether a thought must be told in `reasoning_details`, too.
pub(super) fn needs_detail(thought: &Reasoning) -> bool {
    thought.opaque.is_some() || thought.id.is_some()
}

/// Writes the entry of a thought; `opaque` is its signature as the reader may see it, `index` its place.
///
/// It is one entry even where OpenRouter has two (a summary and its encrypted form): SDKs that add a stream's deltas up
/// take `index` for the place in the list, and join what meets there. An index is never less than the number of
/// entries before it, so each is appended.
pub(super) fn write_detail(
    thought: &Reasoning,
    opaque: Option<(OpaqueKind, &str)>,
    index: usize,
    json: &mut Json,
) {
    let signature = opaque.filter(|(kind, _)| *kind == OpaqueKind::Signature).map(|(_, text)| text);
    let data = opaque.filter(|(kind, _)| *kind != OpaqueKind::Signature).map(|(_, text)| text);
    let kind = match (data, signature) {
        (Some(_), _) => "reasoning.encrypted",
        (None, None) if thought.text.is_empty() => "reasoning.summary",
        _ => "reasoning.text",
    };
    json.open(b'{');
    json.text("type", kind);
    if !thought.text.is_empty() || kind == "reasoning.text" {
        json.text("text", &thought.text);
    }
    if !thought.summary.is_empty() || kind == "reasoning.summary" {
        json.text("summary", &thought.summary.join("\n\n"));
    }
    json.text_if("signature", signature);
    json.text_if("data", data);
    json.text_if("id", thought.id.as_deref());
    json.number("index", index);
    json.close(b'}');
}
