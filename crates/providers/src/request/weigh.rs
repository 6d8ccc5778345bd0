//! How many tokens an input may have, and how many it probably has, without a tokenizer.
//!
//! The bound is what a budget reserves, so it must not be too small: a byte-level tokenizer never
//! makes more tokens than there are bytes, and the bytes of a string in JSON are never fewer than
//! those of its text. To each string and number come a few tokens for the punctuation that a template
//! may write around it, to each message [`MESSAGE_OVERHEAD_BOUND`]. Three things are not text:
//!
//! - Media. A string that begins with `data:` (where text is not expected) and each part that names an
//!   image, video or file (`image_url`, `file_id`, …) count [`MEDIA_TOKENS_BOUND`], not their bytes:
//!   an image costs what its size in pixels costs, and base64 would be wrong by a factor of a hundred.
//! - Sound: `input_audio.data` counts half its bytes; real encodings stay far below.
//! - Token arrays (`prompt` and `input` as numbers) count one token a number.
//!
//! The estimate serves rate limits and what is charged when an answer breaks off: a quarter of a token
//! for each ASCII byte and a fifth for each other byte, so 0.6 for a Chinese character (three bytes).

use super::Operation;

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
const MEDIA_TOKENS_ESTIMATE: u64 = 1_000;
const MESSAGE_OVERHEAD_ESTIMATE: u64 = 3;
/// Ten tokens a second of sound, at the bit rate of common encodings in base64.
const AUDIO_BYTES_PER_TOKEN_ESTIMATE: u64 = 1_000;

/// Which top-level member is being weighed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Region {
    /// Never reaches the model.
    Weightless,
    Messages,
    /// `prompt` or `input`: texts, or tokens.
    Input,
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
    bound: u64,
    text_bytes: u64,
    other_estimate: u64,
    unicode_escapes: u64,
    prompts: u64,
}

impl Scale {
    pub(super) const fn new(operation: Operation) -> Self {
        Self {
            operation,
            region: Region::Weightless,
            expected: Expected::Unknown,
            media_counted: false,
            in_audio: false,
            bound: REQUEST_OVERHEAD_BOUND,
            text_bytes: 0,
            other_estimate: MESSAGE_OVERHEAD_ESTIMATE,
            unicode_escapes: 0,
            prompts: 0,
        }
    }

    /// A top-level member begins; an escaped key is unknown here, which only makes it weigh more.
    pub(super) fn member(&mut self, key: &[u8]) {
        (self.media_counted, self.in_audio) = (false, false);
        self.expected = Expected::Unknown;
        self.region = match key {
            b"messages" | b"contents" => Region::Messages,
            b"input" | b"prompt" => {
                self.expected = Expected::Text;
                Region::Input
            }
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
            | b"dimensions" => Region::Weightless,
            _ => {
                self.add_text(key.len());
                Region::Other
            }
        };
    }

    #[inline]
    pub(super) fn key(&mut self, key: &[u8]) {
        match self.region {
            Region::Weightless => return,
            Region::Other => return self.add_text(key.len()),
            Region::Messages | Region::Input => {}
        }
        self.bound += key.len() as u64 + STRING_OVERHEAD_BOUND;
        self.expected = match key {
            b"text" | b"content" | b"arguments" | b"refusal" | b"reasoning_content" => Expected::Text,
            b"image_url" | b"video_url" | b"audio_url" | b"file_url" | b"file_id" | b"file_data" => {
                self.add_media();
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
            _ => Expected::Unknown,
        };
    }

    #[inline]
    pub(super) fn string(&mut self, depth: usize, raw: &[u8]) {
        if self.region == Region::Weightless {
            return;
        }
        if self.region == Region::Input && depth <= 2 {
            self.prompts += 1;
        }
        match self.expected {
            Expected::Text => {}
            Expected::Sound => {
                self.in_audio = false;
                self.bound += raw.len() as u64 / 2 + STRING_OVERHEAD_BOUND;
                self.other_estimate += raw.len() as u64 / AUDIO_BYTES_PER_TOKEN_ESTIMATE;
                return;
            }
            Expected::Blob => return self.add_media(),
            Expected::Media | Expected::Unknown if raw.starts_with(b"data:") => {
                if !std::mem::take(&mut self.media_counted) {
                    self.add_media();
                }
                return;
            }
            Expected::Media => self.media_counted = false,
            Expected::Unknown => {}
        }
        self.add_text(raw.len());
    }

    #[inline]
    pub(super) fn scalar(&mut self, depth: usize, length: usize) {
        match self.region {
            Region::Weightless => {}
            Region::Input => {
                self.bound += 1;
                self.other_estimate += 1;
                // `[1, 2, 3]` is one prompt; `[[1], [2]]` are two, counted when they open.
                if depth == 2 {
                    self.prompts = self.prompts.max(1);
                }
            }
            Region::Messages | Region::Other => self.bound += length as u64 + 1,
        }
    }

    #[inline]
    pub(super) fn open(&mut self, depth: usize, is_object: bool) {
        match self.region {
            Region::Weightless => return,
            Region::Messages if depth == 2 => {
                self.bound += MESSAGE_OVERHEAD_BOUND;
                self.other_estimate += MESSAGE_OVERHEAD_ESTIMATE;
            }
            Region::Input if depth == 2 && !is_object => self.prompts += 1,
            _ => {}
        }
        self.bound += CONTAINER_OVERHEAD_BOUND;
    }

    pub(super) fn unicode_escape(&mut self) {
        if self.region != Region::Weightless {
            self.unicode_escapes += 1;
        }
    }

    fn add_text(&mut self, bytes: usize) {
        self.bound += bytes as u64 + STRING_OVERHEAD_BOUND;
        self.text_bytes += bytes as u64;
    }

    fn add_media(&mut self) {
        self.bound += MEDIA_TOKENS_BOUND;
        self.other_estimate += MEDIA_TOKENS_ESTIMATE;
    }

    /// Tokens of input at most.
    pub(super) const fn bound(&self) -> u64 {
        self.bound
    }

    /// Tokens of input probably.
    pub(super) fn estimate(&self, body: &[u8]) -> u64 {
        // `\u4f60` is six bytes of JSON for three of text.
        let escaped = self.unicode_escapes * 6;
        let text = self.text_bytes.saturating_sub(escaped) + self.unicode_escapes * 3;
        let wide = (count_wide(body) + self.unicode_escapes * 3).min(text);
        tokens_of(text - wide, wide) + self.other_estimate
    }

    /// How many completions a batch of prompts asks for, before `n`.
    pub(super) fn prompts(&self) -> u64 {
        if self.operation == Operation::Completions { self.prompts.max(1) } else { 1 }
    }
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
