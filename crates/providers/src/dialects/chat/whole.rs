//! Whole answers: read as a stream of one chunk, written as OpenAI's `chat.completion`.

use super::hear::{Reader, error_of};
use super::json::Json;
use super::members::Members;
use super::put_turns::write_call;
use super::thoughts::{needs_detail, write_detail, write_google_signature};
use super::{counts, parts, stops};
use crate::blocks::{Answer, Choice, Fold, Issuer, MediaKind, Part, Raw, Reasoning, StopKind, ToolCall};
use crate::dialects::{Dialect, Reply, Unanswered};

/// Reads a provider's whole answer.
pub(crate) fn read_answer(body: &[u8], issuer: &Issuer) -> Result<Answer, Unanswered> {
    let unreadable = |message: &str| Unanswered { message: message.to_owned(), error: None };
    let members: Members<'_> =
        serde_json::from_slice(body).map_err(|_| unreadable("the provider's answer is not a JSON object"))?;
    if let Some((message, code)) = error_of(&members, false) {
        return Err(Unanswered { message: message.clone(), error: Some((message, code)) });
    }
    if members.get("choices").is_none() {
        return Err(unreadable("the provider's answer has no `choices`"));
    }
    let mut events = Vec::new();
    let mut reader = Reader::new(issuer.clone());
    reader.chunk(&members, &mut events);
    if reader.is_empty() {
        return Err(unreadable("the provider's answer has nothing in `choices`"));
    }
    reader.finish_all(&mut events);
    let mut fold = Fold::default();
    for event in &events {
        fold.push(event);
    }
    Ok(fold.answer())
}

/// The id that clients see: OpenAI's prefix is what some of them look for.
pub(super) fn shown_id(told: Option<&str>, reply: &str) -> String {
    match told {
        Some(id) if id.starts_with("chatcmpl-") => id.to_owned(),
        _ => format!("chatcmpl-{reply}"),
    }
}

/// Writes a client's whole answer.
pub(crate) fn write_answer(answer: &Answer, reply: &Reply<'_>) -> Vec<u8> {
    let mut json = Json::default();
    json.open(b'{');
    json.text("id", &shown_id(answer.id.as_deref(), reply.id));
    json.text("object", "chat.completion");
    json.number("created", answer.created.unwrap_or(reply.created));
    json.text("model", answer.model.as_deref().unwrap_or(reply.model));
    json.array("choices");
    for (number, choice) in answer.choices.iter().enumerate() {
        write_choice(number, choice, &mut json);
    }
    json.close(b']');
    if let Some(usage) = &answer.usage {
        counts::write(usage, &mut json);
    }
    json.text_if("service_tier", answer.service_tier.as_deref());
    json.close(b'}');
    json.0
}

fn write_choice(number: usize, choice: &Choice, json: &mut Json) {
    let has_calls = choice.parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    json.open(b'{');
    json.number("index", number);
    json.object("message");
    write_message(choice, json);
    json.close(b'}');
    json.json("logprobs", logprobs(choice.logprobs.as_ref()).unwrap_or("null"));
    let ended = if has_calls { StopKind::ToolCalls } else { StopKind::End };
    let kind = choice.stop.as_ref().map_or(ended, |stop| stop.kind);
    let word = stops::word(kind);
    json.text("finish_reason", word);
    if let Some(stop) = &choice.stop {
        json.text_if("native_finish_reason", stops::native(stop, word));
        json.text_if("stop_reason", stop.sequence.as_deref());
    }
    json.close(b'}');
}

/// OpenAI's are an object; what another dialect calls by the name is not shown.
pub(super) fn logprobs(raw: Option<&Raw>) -> Option<&str> {
    raw.filter(|raw| raw.is_object()).map(Raw::get)
}

fn write_message(choice: &Choice, json: &mut Json) {
    let mut sorted = Sorted::default();
    for (place, part) in choice.parts.iter().enumerate() {
        sorted.add(place, part);
    }
    json.text("role", "assistant");
    let silent = !sorted.calls.is_empty() || sorted.refusal.is_some() || sorted.audio.is_some();
    if sorted.text.is_empty() && silent {
        json.json("content", "null");
    } else {
        json.text("content", &sorted.text);
    }
    match &sorted.refusal {
        Some(refusal) => json.text("refusal", refusal),
        None => json.json("refusal", "null"),
    }
    json.raw_if("audio", sorted.audio);
    write_list("annotations", &sorted.annotations, json);
    write_list("images", &sorted.images, json);
    write_thoughts(&sorted.thoughts, json);
    if let Some(signature) = &sorted.signature {
        write_google_signature(signature, json);
    }
    if !sorted.calls.is_empty() {
        json.array("tool_calls");
        for call in &sorted.calls {
            json.open(b'{');
            json.text("id", &call.id);
            write_call(call, json);
            if let Some(opaque) = &call.opaque {
                write_google_signature(&opaque.shown(Dialect::Chat), json);
            }
            json.close(b'}');
        }
        json.close(b']');
    }
}

/// The parts of an answer where a message has them.
#[derive(Default)]
struct Sorted<'p> {
    text: String,
    refusal: Option<String>,
    thoughts: Vec<(usize, &'p Reasoning)>,
    calls: Vec<&'p ToolCall>,
    annotations: Vec<String>,
    images: Vec<String>,
    audio: Option<&'p Raw>,
    signature: Option<String>,
}

impl<'p> Sorted<'p> {
    fn add(&mut self, place: usize, part: &'p Part) {
        match part {
            Part::Text { text, citations, opaque, .. } => {
                self.text.push_str(text);
                self.annotations.extend(citations.iter().filter_map(annotation));
                if let Some(opaque) = opaque {
                    self.signature = Some(opaque.shown(Dialect::Chat));
                }
            }
            Part::Refusal { text } => self.refusal.get_or_insert_default().push_str(text),
            Part::Reasoning(thought) => self.thoughts.push((place, thought)),
            Part::ToolCall(call) => self.calls.push(call),
            Part::Media(media) if media.kind == MediaKind::Image => {
                self.images.extend(parts::image_url(media).map(|url| image(&url)));
            }
            Part::Unknown { dialect: Dialect::Chat, kind, raw } => match kind.as_str() {
                "audio" => self.audio = Some(raw),
                "image_url" => self.images.push(raw.get().to_owned()),
                _ => {}
            },
            Part::Media(_) | Part::ToolResult(_) | Part::Unknown { .. } => {}
        }
    }
}

/// OpenRouter's form of an image that a model made.
pub(super) fn image(url: &str) -> String {
    let mut json = Json::default();
    json.open(b'{');
    json.text("type", "image_url");
    json.object("image_url");
    json.text("url", url);
    json.close(b'}');
    json.close(b'}');
    String::from_utf8(json.0).unwrap_or_default()
}

/// A citation as `annotations` have it: Chat's own, or that of Responses with its members moved down.
pub(super) fn annotation(raw: &Raw) -> Option<String> {
    let members: Members<'_> = raw.read()?;
    if members.text("type")? != "url_citation" {
        return None;
    }
    if members.object("url_citation").is_some() {
        return Some(raw.get().to_owned());
    }
    let mut json = Json::default();
    json.open(b'{');
    json.text("type", "url_citation");
    json.object("url_citation");
    for name in ["url", "title", "start_index", "end_index"] {
        json.json(name, members.get(name)?.get());
    }
    json.close(b'}');
    json.close(b'}');
    String::from_utf8(json.0).ok()
}

/// `"name":[…]`, where there is anything.
pub(super) fn write_list(name: &str, items: &[String], json: &mut Json) {
    if items.is_empty() {
        return;
    }
    json.array(name);
    for item in items {
        json.raw(item);
    }
    json.close(b']');
}

/// What of a thought is text for people.
fn told(thought: &Reasoning) -> String {
    if thought.text.is_empty() { thought.summary.join("\n\n") } else { thought.text.clone() }
}

fn write_thoughts(thoughts: &[(usize, &Reasoning)], json: &mut Json) {
    let told: String = thoughts.iter().map(|(_, thought)| told(thought)).collect();
    if !told.is_empty() {
        json.text("reasoning_content", &told);
    }
    if !thoughts.iter().any(|(_, thought)| needs_detail(thought)) {
        return;
    }
    json.array("reasoning_details");
    for (place, thought) in thoughts.iter().filter(|(_, thought)| needs_detail(thought)) {
        let shown = thought.opaque.as_ref().map(|opaque| (opaque.kind, opaque.shown(Dialect::Chat)));
        write_detail(thought, shown.as_ref().map(|(kind, text)| (*kind, text.as_str())), *place, json);
    }
    json.close(b']');
}
