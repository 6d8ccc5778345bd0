//! What a client asks, read in one pass, and the few bytes that policy may change.
//!
//! [`read`] scans a body once and keeps spans; [`rewrite()`] copies it once with the edits spliced in.
//! Nothing else of the body is interpreted, so key order, number spelling, escapes and unknown fields
//! reach the upstream as they came: prompt caches are byte-sensitive, and clients know fields that we
//! do not.
//!
//! Two readers of one text must not disagree about it. A member that the gateway reads or edits may
//! therefore occur only once, however its key is escaped (`"mod\u0065l"` is `model`), and, if anything is
//! decided by it, not in other upper and lower case at all: some servers match keys without regard to
//! case, so a `Model` or a `Stream` that the gateway passed over could be what they obey (see
//! `known.rs`). What the gateway does not read may be as odd as it likes.

mod content;
mod known;
mod members;
mod print;
pub mod raw;
mod rewrite;
pub mod stored;
pub mod texts;
mod values;
pub(crate) mod weigh;

use bytes::Bytes;

use crate::dialects::Dialect;
use crate::json::text::encode;
use crate::json::{Span, scan_document, top_level};
use members::Members;

pub use content::Content;
pub use print::{Print, print};
pub use raw::Raw;
pub use rewrite::{Edits, rewrite};
pub use weigh::{DOCUMENT_BYTES_PER_TOKEN_BOUND, MEDIA_TOKENS_BOUND, MESSAGE_OVERHEAD_BOUND, Weight};

/// Which endpoint a body was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`: model and streaming stand in the URL.
    Gemini,
    /// What is no conversation: relayed as it is to a provider of the same dialect.
    Raw(Raw),
}

impl Operation {
    /// The dialect of the conversation, or of what else is asked; `None` for OpenAI's other endpoints.
    pub const fn dialect(self) -> Option<Dialect> {
        match self {
            Self::Chat => Some(Dialect::Chat),
            Self::Responses => Some(Dialect::Responses),
            Self::Messages => Some(Dialect::Messages),
            Self::Gemini => Some(Dialect::Gemini),
            Self::Completions | Self::Embeddings => None,
            Self::Raw(raw) => raw.dialect(),
        }
    }
}

/// What a request asks for, as far as policy must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The `model` as written by the client, unescaped; never empty.
    pub model: String,
    /// Whether the answer shall come as events.
    pub stream: bool,
    /// Whether the client itself asked for `stream_options.include_usage`.
    pub include_usage: bool,
    /// Most output tokens of each choice: the least of `max_tokens` and `max_completion_tokens`.
    /// `None` when neither is given, or given as -1, which local servers take as "no limit".
    pub max_output: Option<u64>,
    /// How many answers are generated and billed: the larger of `n` and `best_of`, times the prompts
    /// of a batch of completions. At least 1.
    pub choices: u64,
    /// `safety_identifier`, else `user`.
    pub end_user: Option<String>,
    /// `models`: what the client wants tried after `model`, in order.
    pub fallbacks: Vec<String>,
    /// Tokens that the input has at most; see [`MEDIA_TOKENS_BOUND`] for what is assumed of media.
    pub input_bound: u64,
    /// Tokens that the input probably has, for the model that [`Asked::weigh_for`] was told last.
    pub input_estimate: u64,
    /// What the input is made of, to be weighed for a model.
    pub weight: Weight,
    /// Where the editable members stand, in the body that was read.
    spans: Spans,
    /// What the body itself says, where the URL names another model.
    spelled: Option<String>,
}

impl Asked {
    /// The model that the URL names counts, whatever the body says.
    pub fn name(&mut self, model: String) {
        if model != self.model {
            self.spelled = Some(std::mem::replace(&mut self.model, model));
        }
    }

    /// An upstream model is chosen: estimates for it.
    pub fn weigh_for(&mut self, model: &str) {
        self.input_estimate = self.estimate_for(model);
    }

    /// Tokens that the input probably has for an upstream model; the same as [`Asked::weigh_for`] notes.
    pub fn estimate_for(&self, model: &str) -> u64 {
        if self.weight == Weight::default() {
            return self.input_estimate;
        }
        self.weight.estimate(model).min(self.input_bound)
    }

    /// Tokens that the input has at most, for this upstream model.
    pub fn bound_for(&self, model: &str) -> u64 {
        self.input_bound + self.weight.beyond(model)
    }

    /// The model as the body spells it.
    fn spelled(&self) -> &str {
        self.spelled.as_deref().unwrap_or(&self.model)
    }
}

/// Places in the body for [`rewrite()`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spans {
    /// The value of `model` with its quotes.
    model: Span,
    /// `models` with the comma that would be left over.
    models: Option<Span>,
    /// What to do for `include_usage`.
    usage: UsagePlace,
}

/// How `stream_options.include_usage` becomes `true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UsagePlace {
    /// It is already.
    Done,
    /// There is no `stream_options`: insert one here, after the last member.
    InsertOptions(usize),
    /// `stream_options` is `null`: replace it.
    ReplaceOptions(Span),
    /// Insert the member here, after the opening brace; `alone` when the object is empty.
    InsertMember { at: usize, alone: bool },
    /// Replace this value.
    ReplaceValue(Span),
}

impl Default for UsagePlace {
    fn default() -> Self {
        Self::InsertOptions(0)
    }
}

/// Why a body is refused: the client's fault, said so that the client can mend it. Status 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// Names the thing and what is wrong with it. Quotes at most a short piece of the body's keys.
    pub message: String,
    /// The parameter at fault.
    pub param: Option<&'static str>,
    /// A code for programs: `invalid_json`, `missing_required_parameter`, `invalid_type`,
    /// `invalid_value`, `duplicate_parameter` or `unknown_parameter`.
    pub code: Option<&'static str>,
}

impl BadRequest {
    fn new(param: &'static str, code: &'static str, message: String) -> Self {
        Self { message, param: Some(param), code: Some(code) }
    }
}

/// The body with the model that its URL names, where the body itself names none (Azure's older form); `None` where it
/// does, or where it cannot be said which.
pub fn with_model(body: &Bytes, model: &str) -> Option<Bytes> {
    let object = top_level(body).ok()?;
    if object.fields.iter().any(|field| field.key_is(body, "model")) {
        return None;
    }
    let at = object.fields.first()?.key.start;
    let mut out = Vec::with_capacity(body.len() + model.len() + 16);
    out.extend_from_slice(body.get(..at)?);
    out.extend_from_slice(b"\"model\":");
    encode(model, &mut out);
    out.push(b',');
    out.extend_from_slice(body.get(at..)?);
    Some(out.into())
}

/// Reads a request body: validates it as JSON, refuses what two readers could take differently, and
/// collects what policy must know, in one pass over the bytes.
pub fn read(operation: Operation, body: &[u8]) -> Result<Asked, BadRequest> {
    let mut members = Members::new(operation);
    scan_document(body, &mut members)
        .map_err(|error| invalid_body(format!("the request body is not valid JSON: {error}")))?;
    if !members.is_object {
        return Err(invalid_body("the request body must be a JSON object".to_owned()));
    }
    if let Some(refusal) = members.refusal.take() {
        return Err(refusal);
    }
    values::interpret(operation, body, &members)
}

fn invalid_body(message: String) -> BadRequest {
    BadRequest { message, param: None, code: Some("invalid_json") }
}

#[cfg(test)]
#[path = "request/tests.rs"]
mod tests;
