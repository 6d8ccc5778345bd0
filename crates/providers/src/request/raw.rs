//! Endpoints that are no conversation: their bytes go to a provider of the same dialect as they came, and back.
//!
//! Of such a body at most the model's name is touched. Bodies that are not JSON (forms, files) are the gateway's to
//! scan; what stands here is what all of them have in common, and the names inside Google's embedding requests.

use super::BadRequest;
use crate::dialects::Dialect;
use crate::json::{Span, StringToken, Visitor, scan_document};

/// What is asked beside conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Raw {
    /// `POST /v1/moderations`
    Moderations,
    /// `POST /v1/rerank`, `/rerank`
    Rerank,
    /// `POST /v2/rerank`
    RerankV2,
    /// `POST /v2/embed`
    Embed,
    /// `POST /v1/images/generations`
    Images,
    /// `POST /v1/images/edits`
    ImageEdits,
    /// `POST /v1/images/variations`
    ImageVariations,
    /// `POST /v1/audio/speech`
    Speech,
    /// `POST /v1/audio/transcriptions`
    Transcriptions,
    /// `POST /v1/audio/translations`
    Translations,
    /// `/v1/files…`
    Files,
    /// `/v1/batches…`
    Batches,
    /// `/v1/messages/batches…`
    MessageBatches,
    /// `/v1/files…` as Anthropic's clients ask
    AnthropicFiles,
    /// `/v1beta/files…`
    GoogleFiles,
    /// `/upload/v1beta/files`: a file of Google's, announced and then sent in pieces
    GoogleUpload,
    /// `/v1/videos…`
    Videos,
    /// `GET /v1/realtime`, a session over a WebSocket
    Realtime,
    /// `/passthrough/{provider}/…`
    Passthrough,
    /// `/v1/responses/{id}…`: what was kept of an answer
    StoredResponses,
    /// `POST /v1/responses/input_tokens`
    InputTokens,
    /// `POST /v1/responses/compact`
    Compact,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST /v1beta/models/{model}:countTokens`
    GeminiCountTokens,
    /// `POST /v1beta/models/{model}:embedContent`
    EmbedContent,
    /// `POST /v1beta/models/{model}:batchEmbedContents`
    BatchEmbedContents,
}

impl Raw {
    /// Asked of a model in JSON and answered once: such a call can be repeated under an idempotency key. Files, batches and
    /// the passage are the provider's business, forms are written anew by their clients at every try.
    pub const fn is_repeatable(self) -> bool {
        matches!(
            self,
            Self::Moderations
                | Self::Rerank
                | Self::RerankV2
                | Self::Embed
                | Self::Images
                | Self::Speech
                | Self::EmbedContent
                | Self::BatchEmbedContents
                | Self::Compact
        )
    }

    /// The endpoint's name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Moderations => "moderations",
            Self::Rerank | Self::RerankV2 => "rerank",
            Self::Embed => "embed",
            Self::Images => "images",
            Self::ImageEdits => "image_edits",
            Self::ImageVariations => "image_variations",
            Self::Speech => "speech",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
            Self::Files | Self::AnthropicFiles | Self::GoogleFiles | Self::GoogleUpload => "files",
            Self::Batches | Self::MessageBatches => "batches",
            Self::Videos => "videos",
            Self::Realtime => "realtime",
            Self::Passthrough => "passthrough",
            Self::StoredResponses => "stored_responses",
            Self::InputTokens => "input_tokens",
            Self::Compact => "compact",
            Self::CountTokens | Self::GeminiCountTokens => "count_tokens",
            Self::EmbedContent => "embed_content",
            Self::BatchEmbedContents => "batch_embed_contents",
        }
    }

    /// The dialect that errors are told in, and that the provider must speak; `None` is OpenAI's, or for
    /// [`Raw::Passthrough`] nobody knows.
    pub const fn dialect(self) -> Option<Dialect> {
        match self {
            Self::StoredResponses | Self::InputTokens | Self::Compact => Some(Dialect::Responses),
            Self::CountTokens | Self::MessageBatches | Self::AnthropicFiles => Some(Dialect::Messages),
            Self::GeminiCountTokens
            | Self::EmbedContent
            | Self::BatchEmbedContents
            | Self::GoogleFiles
            | Self::GoogleUpload => Some(Dialect::Gemini),
            _ => None,
        }
    }

    /// Whether the request names no model, and goes to a provider as a whole.
    pub const fn is_of_a_provider(self) -> bool {
        matches!(
            self,
            Self::Files
                | Self::Batches
                | Self::MessageBatches
                | Self::AnthropicFiles
                | Self::GoogleFiles
                | Self::GoogleUpload
                | Self::Videos
                | Self::Passthrough
        )
    }

    /// Whether files are kept or read, which takes no tokens.
    pub const fn is_of_files(self) -> bool {
        matches!(self, Self::Files | Self::AnthropicFiles | Self::GoogleFiles | Self::GoogleUpload)
    }

    /// Whether only tokens are counted.
    pub const fn counts_tokens(self) -> bool {
        matches!(self, Self::CountTokens | Self::GeminiCountTokens | Self::InputTokens)
    }

    /// Whether no provider bills it.
    pub const fn is_free(self) -> bool {
        self.counts_tokens() || matches!(self, Self::StoredResponses)
    }

    /// Whether nothing is generated, so that there are no tokens of output.
    pub const fn has_no_output(self) -> bool {
        self.is_free() || self.is_of_vectors() || matches!(self, Self::Moderations)
    }

    /// Whether embeddings or rerank are asked, which have dialects of their own (`crate::vectors`).
    pub const fn is_of_vectors(self) -> bool {
        matches!(
            self,
            Self::Rerank | Self::RerankV2 | Self::Embed | Self::EmbedContent | Self::BatchEmbedContents
        )
    }
}

/// Where Google's embedding requests repeat the model that their URL names: `model`, and `requests[].model`. Google
/// refuses a body that names another one.
///
/// # Errors
/// When the body is not a JSON object.
pub fn model_names(body: &[u8]) -> Result<Vec<Span>, BadRequest> {
    let mut names = Names::default();
    scan_document(body, &mut names).map_err(|error| BadRequest {
        message: format!("the request body is not valid JSON: {error}"),
        param: None,
        code: Some("invalid_json"),
    })?;
    Ok(names.found)
}

#[derive(Default)]
struct Names {
    found: Vec<Span>,
    in_requests: bool,
    next: bool,
}

impl Visitor for Names {
    fn key(&mut self, depth: usize, text: &[u8], key: StringToken) {
        if depth == 1 {
            self.in_requests = key.is(text, "requests");
        }
        self.next = key.is(text, "model") && (depth == 1 || (depth == 3 && self.in_requests));
    }

    fn string(&mut self, _: usize, _: &[u8], string: StringToken) {
        if std::mem::take(&mut self.next) {
            self.found.push(string.outer());
        }
    }

    fn scalar(&mut self, _: usize, _: &[u8], _: Span) {
        self.next = false;
    }

    fn open(&mut self, _: usize, _: &[u8], _: usize, _: bool) {
        self.next = false;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_the_models_of_the_request_are_names() {
        let body = br#"{"model":"a","requests":[{"model":"b","content":{"model":"no"}},{"mod\u0065l":"c"}],"x":[{"model":"no"}]}"#;
        let found: Vec<_> = model_names(body).unwrap().into_iter().map(|span| span.of(body)).collect();
        assert_eq!(found, [b"\"a\"", b"\"b\"", b"\"c\""]);
        assert!(model_names(b"[").is_err());
    }
}
