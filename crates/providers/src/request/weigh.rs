//! How many tokens an input may have, and how many it probably has, without a tokenizer.
//!
//! The bound is what a budget reserves, so it must not be too small: a tokenizer that falls back to bytes never makes more
//! tokens than there are bytes, and the bytes of a string in JSON are never fewer than those of its text. (Some bring
//! characters into their usual form first, which can make them longer: `tokens::growth`.) To each string and number come
//! a few tokens for the punctuation that a template may write around it, to each message [`MESSAGE_OVERHEAD_BOUND`], to
//! tools what vendors write around them. Three things are not text:
//!
//! - Media. A string that begins with `data:` (where text is not expected) and each part that names an
//!   image, video or file (`image_url`, `file_id`, …) count [`MEDIA_TOKENS_BOUND`], not their bytes:
//!   an image costs what its size in pixels costs, and base64 would be wrong by a factor of a hundred. A document that
//!   comes with the request counts at least [`DOCUMENT_BYTES_PER_TOKEN_BOUND`] of its characters a token.
//! - Sound: `input_audio.data` counts half its bytes; real encodings stay far below.
//! - Token arrays (`prompt` and `input` as numbers) count one token a number.
//!
//! The estimate serves rate limits, `count_tokens` and what is charged when an answer breaks off. It depends on the family
//! of the model, which is not known yet: the scan keeps a [`Weight`], and that is weighed when the model is chosen.

use super::{Content, Operation};
use crate::tokens::{Counts, Family, growth, media};

/// Tokens assumed, at most, of one image, video or file: above what the large vendors charge for a
/// picture in high detail. A long document can cost more; its true usage is settled afterwards.
pub const MEDIA_TOKENS_BOUND: u64 = 20_000;

/// Tokens assumed, at most, for the frame that a template draws around one message.
pub const MESSAGE_OVERHEAD_BOUND: u64 = 16;

/// The same for the request as a whole: beginning of text, the head of the answer, a tool preamble.
const REQUEST_OVERHEAD_BOUND: u64 = 64;
const CONTAINER_OVERHEAD_BOUND: u64 = 4;
/// Quotes and a colon or comma.
const STRING_OVERHEAD_BOUND: u64 = 3;
/// Around the definition of a tool, and once where there are tools: a preamble of the vendor's. Anthropic's page of prices
/// told up to 530 tokens for it (Claude 3 Opus) and 346 for later models.
const TOOL_OVERHEAD_BOUND: u64 = 32;
const TOOLS_OVERHEAD_BOUND: u64 = 1_024;
/// For a tool of the vendor's own, which is described by the vendor: 735 tokens for the dearest one that is told (computer
/// use, Anthropic's pages of 2025 and 2026).
const BUILT_IN_TOOL_BOUND: u64 = 2_048;
/// A document in base64 has, at most, a token for each so many of its characters: far more than pages of text have.
pub const DOCUMENT_BYTES_PER_TOKEN_BOUND: u64 = 8;
/// And probably one for so many: a page of 1,500 tokens for 60 kB.
const DOCUMENT_BYTES_PER_TOKEN_ESTIMATE: u64 = 40;
/// What GPT-4o mini charges, at most, for a picture: 2,833 and 5,667 for each of eight tiles (OpenAI's pages, 2025).
const MINI_PICTURE_BOUND: u64 = 50_000;
/// Sound: OpenAI tells ten tokens a second, Google 32 (their pages of 2026).
const SOUND_TOKENS_A_SECOND: u64 = 10;
const SOUND_TOKENS_A_SECOND_GEMINI: u64 = 32;
/// Characters of an encrypted thought for one token: base64 of some four bytes a token.
const SEALED_BYTES_PER_TOKEN: u64 = 6;

/// What an input weighs, before the model is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    counts: Counts,
    pictures: media::Pictures,
    picture_count: u32,
    seconds: u64,
    messages: u64,
    tools: u64,
    /// Tokens that are known as such: token arrays, documents, sealed thoughts.
    plain: u64,
    content: Content,
}

impl Weight {
    /// What there is of other kinds than text.
    pub fn content(&self) -> Content {
        let mut content = self.content;
        if self.tools > 0 {
            content.add(Content::TOOLS);
        }
        content
    }

    /// Tokens that the input probably has for this upstream model.
    pub fn estimate(&self, model: &str) -> u64 {
        self.estimate_in(Family::of(model))
    }

    /// The same for a family.
    pub fn estimate_in(&self, family: Family) -> u64 {
        let rate =
            if family == Family::Gemini { SOUND_TOKENS_A_SECOND_GEMINI } else { SOUND_TOKENS_A_SECOND };
        family.weigh(&self.counts)
            + family.frame(self.messages, self.tools)
            + self.pictures.tokens(family.image())
            + self.seconds * rate
            + self.plain
    }

    /// What a model may charge beyond the general bound.
    pub(super) fn beyond(&self, model: &str) -> u64 {
        if self.picture_count > 0 && model.contains("4o-mini") {
            u64::from(self.picture_count) * (MINI_PICTURE_BOUND - MEDIA_TOKENS_BOUND)
        } else {
            0
        }
    }
}

/// Which top-level member is being weighed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Region {
    /// Never reaches the model.
    Weightless,
    Messages,
    /// The system's part, where it stands apart.
    System,
    /// `prompt` or `input`: texts, or tokens.
    Input,
    /// Steers the model and is no text of its prompt.
    Setting,
    /// Tools, schemas, whatever a vendor adds: keys are text there too.
    Other,
}

/// What the last key says of the string that follows it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Text,
    Media,
    Sound,
    /// Bytes of a medium in base64, without `data:`.
    Blob,
    /// The kind of a tool.
    ToolKind,
    /// An id, a signature, a name of a type: not written into the prompt, or only as a word of the template.
    Mark,
    /// An encrypted thought.
    Sealed,
    Unknown,
}

/// Adds up a body as the scanner walks it.
pub(super) struct Scale {
    operation: Operation,
    region: Region,
    expected: Expected,
    /// The media part that is open has been counted; its `data:` string shall not count again.
    media_counted: bool,
    /// An `input_audio` is open, whose `data` is sound.
    in_audio: bool,
    /// The member that is walked defines tools.
    in_tools: bool,
    bound: u64,
    weight: Weight,
    prompts: u64,
}

impl Scale {
    pub(super) fn new(operation: Operation) -> Self {
        Self {
            operation,
            region: Region::Weightless,
            expected: Expected::Unknown,
            media_counted: false,
            in_audio: false,
            in_tools: false,
            bound: REQUEST_OVERHEAD_BOUND,
            weight: Weight::default(),
            prompts: 0,
        }
    }

    /// A top-level member begins; an escaped key is unknown here, which only makes it weigh more.
    pub(super) fn member(&mut self, key: &[u8]) {
        (self.media_counted, self.in_audio, self.in_tools) = (false, false, false);
        self.expected = Expected::Unknown;
        self.region = match key {
            b"messages" | b"contents" => Region::Messages,
            b"system" | b"instructions" | b"systemInstruction" | b"system_instruction" => {
                self.expected = Expected::Text;
                self.bound += MESSAGE_OVERHEAD_BOUND;
                self.weight.messages += 1;
                Region::System
            }
            b"input" | b"prompt" => {
                self.expected = Expected::Text;
                Region::Input
            }
            _ if is_weightless(key) => Region::Weightless,
            _ if is_setting(key) => {
                self.bound += key.len() as u64 + STRING_OVERHEAD_BOUND;
                Region::Setting
            }
            _ => {
                self.in_tools = matches!(key, b"tools" | b"functions");
                self.add_text(key);
                Region::Other
            }
        };
    }

    #[inline]
    pub(super) fn key(&mut self, depth: usize, key: &[u8]) {
        self.bound += match self.region {
            Region::Weightless => return,
            _ => key.len() as u64 + STRING_OVERHEAD_BOUND,
        };
        match self.region {
            Region::Weightless | Region::Setting => return,
            Region::Other => {
                if self.in_tools && depth == 3 && key == b"type" {
                    self.expected = Expected::ToolKind;
                }
                self.weight.counts.add(key);
                return self.weight.counts.punctuate(1);
            }
            Region::Messages | Region::System | Region::Input => {}
        }
        self.expected = match key {
            b"text" | b"content" | b"arguments" | b"refusal" | b"reasoning_content" => Expected::Text,
            b"image_url" | b"video_url" | b"audio_url" | b"file_url" | b"file_id" | b"file_data" => {
                self.bound += MEDIA_TOKENS_BOUND;
                self.media_counted = true;
                Expected::Media
            }
            b"url" => Expected::Media,
            b"input_audio" => {
                self.in_audio = true;
                Expected::Unknown
            }
            b"data" if self.in_audio => Expected::Sound,
            // The base64 of Anthropic's `source` and Gemini's `inlineData`.
            b"data" if matches!(self.operation, Operation::Messages | Operation::Gemini) => Expected::Blob,
            b"encrypted_content" => Expected::Sealed,
            _ if is_mark(key) => Expected::Mark,
            _ => {
                if !is_structure(key) {
                    self.weight.counts.add(key);
                    self.weight.counts.punctuate(1);
                }
                Expected::Unknown
            }
        };
    }

    #[inline]
    pub(super) fn string(&mut self, depth: usize, raw: &[u8]) {
        match self.region {
            Region::Weightless => return,
            Region::Setting => return self.bound += raw.len() as u64 + STRING_OVERHEAD_BOUND,
            Region::Other => {
                if std::mem::replace(&mut self.expected, Expected::Unknown) == Expected::ToolKind
                    && !matches!(raw, b"function" | b"custom")
                {
                    self.bound += BUILT_IN_TOOL_BOUND;
                }
                self.weight.counts.punctuate(1);
            }
            Region::Input if depth <= 2 => {
                self.prompts += 1;
                if depth == 1 && self.operation == Operation::Responses {
                    self.weight.messages += 1;
                }
            }
            Region::Input | Region::Messages | Region::System => {}
        }
        match self.expected {
            Expected::Text | Expected::ToolKind => {}
            Expected::Sound => {
                self.in_audio = false;
                self.weight.content.add(Content::AUDIO);
                self.bound += raw.len() as u64 / 2 + STRING_OVERHEAD_BOUND;
                self.weight.seconds += media::seconds(raw);
                return;
            }
            Expected::Blob => {
                self.bound += MEDIA_TOKENS_BOUND;
                return self.medium(raw);
            }
            Expected::Media | Expected::Unknown if raw.starts_with(b"data:") => {
                if !std::mem::take(&mut self.media_counted) {
                    self.bound += MEDIA_TOKENS_BOUND;
                }
                return self.medium(raw);
            }
            Expected::Media => {
                self.media_counted = false;
                self.bound += raw.len() as u64 + STRING_OVERHEAD_BOUND;
                return self.picture(None);
            }
            Expected::Mark => {
                self.weight.content.note(raw);
                return self.bound += raw.len() as u64 + STRING_OVERHEAD_BOUND;
            }
            Expected::Sealed => {
                self.weight.plain += raw.len() as u64 / SEALED_BYTES_PER_TOKEN;
                return self.bound += raw.len() as u64 + STRING_OVERHEAD_BOUND;
            }
            Expected::Unknown => {}
        }
        self.add_text(raw);
    }

    #[inline]
    pub(super) fn scalar(&mut self, depth: usize, length: usize) {
        match self.region {
            Region::Weightless => {}
            Region::Input => {
                self.bound += 1;
                self.weight.plain += 1;
                // `[1, 2, 3]` is one prompt; `[[1], [2]]` are two, counted when they open.
                if depth == 2 {
                    self.prompts = self.prompts.max(1);
                }
            }
            Region::Other => {
                self.bound += length as u64 + 1;
                self.weight.plain += 1;
            }
            Region::Messages | Region::System | Region::Setting => self.bound += length as u64 + 1,
        }
    }

    #[inline]
    pub(super) fn open(&mut self, depth: usize, is_object: bool) {
        // Gemini's declarations stand in a list of their own.
        let tool_depth = if self.operation == Operation::Gemini { 4 } else { 2 };
        match self.region {
            Region::Weightless => return,
            Region::Messages if depth == 2 => self.message(),
            Region::Input if depth == 2 && is_object => self.message(),
            Region::Input if depth == 2 => self.prompts += 1,
            Region::Other if self.in_tools && is_object && depth == tool_depth => {
                self.bound +=
                    TOOL_OVERHEAD_BOUND + if self.weight.tools == 0 { TOOLS_OVERHEAD_BOUND } else { 0 };
                self.weight.tools += 1;
            }
            _ => {}
        }
        self.bound += CONTAINER_OVERHEAD_BOUND;
    }

    fn message(&mut self) {
        self.bound += MESSAGE_OVERHEAD_BOUND;
        self.weight.messages += 1;
    }

    fn add_text(&mut self, text: &[u8]) {
        self.bound += text.len() as u64 + growth(text) + STRING_OVERHEAD_BOUND;
        self.weight.counts.add(text);
    }

    /// A file that came with the request; its media bound is counted.
    fn medium(&mut self, raw: &[u8]) {
        match media::kind(raw) {
            media::Kind::Picture(size) => {
                self.weight.content.add(Content::IMAGE);
                self.picture(Some(size));
            }
            media::Kind::Document => {
                self.weight.content.add(Content::FILE);
                let length = raw.len() as u64;
                self.bound += (length / DOCUMENT_BYTES_PER_TOKEN_BOUND).saturating_sub(MEDIA_TOKENS_BOUND);
                self.weight.plain += (length / DOCUMENT_BYTES_PER_TOKEN_ESTIMATE).max(1);
            }
            media::Kind::Sound => {
                self.weight.content.add(Content::AUDIO);
                self.bound += (raw.len() as u64 / 2).saturating_sub(MEDIA_TOKENS_BOUND);
                self.weight.seconds += media::seconds(raw);
            }
            media::Kind::Unknown => self.picture(None),
        }
    }

    fn picture(&mut self, size: Option<media::Size>) {
        self.weight.pictures.add(size);
        self.weight.picture_count = self.weight.picture_count.saturating_add(1);
    }

    /// Tokens of input at most, and what they are made of.
    pub(super) const fn weighed(&self) -> (u64, Weight) {
        (self.bound, self.weight)
    }

    /// How many completions a batch of prompts asks for, before `n`.
    pub(super) fn prompts(&self) -> u64 {
        if self.operation == Operation::Completions { self.prompts.max(1) } else { 1 }
    }
}

/// Members that never reach the model.
fn is_weightless(key: &[u8]) -> bool {
    matches!(
        key,
        b"model"
            | b"models"
            | b"stream"
            | b"stream_options"
            | b"max_tokens"
            | b"max_completion_tokens"
            | b"max_output_tokens"
            | b"n"
            | b"best_of"
            | b"user"
            | b"safety_identifier"
            | b"metadata"
            | b"logit_bias"
            | b"prompt_cache_key"
            | b"temperature"
            | b"top_p"
            | b"seed"
            | b"stop"
            | b"store"
            | b"service_tier"
            | b"encoding_format"
            | b"dimensions"
    )
}

/// Members that steer a model and are probably not written into its prompt; the bound counts them.
fn is_setting(key: &[u8]) -> bool {
    matches!(
        key,
        b"reasoning_effort"
            | b"reasoning"
            | b"thinking"
            | b"tool_choice"
            | b"toolConfig"
            | b"tool_config"
            | b"parallel_tool_calls"
            | b"safetySettings"
            | b"safety_settings"
            | b"include"
            | b"previous_response_id"
            | b"conversation"
            | b"truncation"
            | b"verbosity"
            | b"frequency_penalty"
            | b"presence_penalty"
            | b"logprobs"
            | b"top_logprobs"
            | b"top_k"
            | b"stop_sequences"
            | b"modalities"
            | b"audio"
            | b"cache_control"
            | b"context_management"
            | b"anthropic_version"
            | b"anthropic_beta"
            | b"background"
    )
}

/// Inside messages: what names or signs a part.
fn is_mark(key: &[u8]) -> bool {
    matches!(
        key,
        b"type"
            | b"role"
            | b"id"
            | b"tool_call_id"
            | b"tool_use_id"
            | b"call_id"
            | b"signature"
            | b"thoughtSignature"
            | b"thought_signature"
            | b"media_type"
            | b"mimeType"
            | b"mime_type"
            | b"format"
            | b"detail"
            | b"status"
            | b"ttl"
            | b"cache_control"
    )
}

/// Inside messages: members that hold text, and are not text.
fn is_structure(key: &[u8]) -> bool {
    matches!(
        key,
        b"parts"
            | b"name"
            | b"source"
            | b"tool_calls"
            | b"function"
            | b"function_call"
            | b"functionCall"
            | b"functionResponse"
            | b"args"
            | b"response"
            | b"input"
            | b"output"
            | b"thinking"
            | b"thought"
            | b"summary"
            | b"inlineData"
            | b"inline_data"
            | b"fileData"
            | b"file_data"
            | b"file"
            | b"filename"
            | b"index"
            | b"is_error"
            | b"annotations"
            | b"citations"
            | b"title"
            | b"context"
            | b"reasoning"
            | b"reasoning_details"
    )
}

/// Tokens that a text probably has, by its ASCII bytes and its other bytes.
pub(crate) const fn tokens_of(ascii: u64, wide: u64) -> u64 {
    (5 * ascii + 4 * wide) / 20
}

/// Bytes that are not ASCII: all of them stand inside strings, else the text were not JSON.
pub(crate) fn count_wide(text: &[u8]) -> u64 {
    // A byte of counters at a time, so that the compiler can use vectors of bytes.
    text.chunks(255).map(|chunk| u64::from(chunk.iter().map(|byte| byte >> 7).sum::<u8>())).sum()
}
