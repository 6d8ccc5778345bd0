//! The pieces that turns and answers are made of.

use super::{Opaque, Raw};
use crate::dialects::Dialect;

/// One piece of a turn or of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Text; never empty in a request that a reader made.
    Text {
        /// The text.
        text: String,
        /// What it is drawn from, in the shape of the dialect that it came in (passed on within that dialect alone).
        citations: Vec<Raw>,
        /// Gemini puts a thought's signature on text too.
        opaque: Option<Opaque>,
        /// Prompt caching up to here.
        cache: Option<CacheMark>,
    },
    /// An image, sound, film or document.
    Media(Media),
    /// What the model thought.
    Reasoning(Reasoning),
    /// The model wants a tool called.
    ToolCall(ToolCall),
    /// What the tool said.
    ToolResult(ToolResult),
    /// The model's own words of refusal.
    Refusal {
        /// The words.
        text: String,
    },
    /// Something that the form does not know: kept for its own dialect, reported as dropped for every other.
    Unknown {
        /// Where it came from.
        dialect: Dialect,
        /// Its `type`, or the name of its member.
        kind: String,
        /// Verbatim.
        raw: Raw,
    },
}

impl Part {
    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), citations: Vec::new(), opaque: None, cache: None }
    }
}

/// A mark for the provider's prompt cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMark {
    /// As written: `5m`, `1h`, `30m`, …; absent = the dialect's default.
    pub ttl: Option<String>,
}

/// What kind of medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
    /// A PDF, a text, any other file.
    File,
}

/// An image, sound, film or document.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// What it is.
    pub kind: MediaKind,
    /// Where its bytes are.
    pub source: MediaSource,
    /// `image/png`, …; absent when nobody said.
    pub mime: Option<String>,
    /// A file's name.
    pub name: Option<String>,
    /// OpenAI's `detail` of an image: `auto`, `low`, `high`, `original`.
    pub detail: Option<String>,
    /// Prompt caching up to here.
    pub cache: Option<CacheMark>,
    /// Members that only its own dialect knows (Anthropic's `title`, `context`, `citations`; Gemini's `videoMetadata`).
    pub extra: Vec<(String, Raw)>,
}

/// Where a medium's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource {
    /// Standard base64 (a reader turns the URL-safe alphabet into it), without line ends.
    Base64(String),
    /// An address that the provider fetches.
    Url(String),
    /// Plain text in place of a file.
    Text(String),
    /// A file that was uploaded to the provider.
    FileId(String),
}

/// What the model thought, as far as it shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// Responses' item id (`rs_…`).
    pub id: Option<String>,
    /// Raw thoughts.
    pub text: String,
    /// Summaries, each a paragraph.
    pub summary: Vec<String>,
    /// Signature or encrypted form. A redacted thought is this alone.
    pub opaque: Option<Opaque>,
}

/// What kind of tool is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ToolKind {
    /// A function with JSON arguments.
    #[default]
    Function,
    /// OpenAI's custom tools: the input is free text.
    Custom,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// Pairs the call with its result (`call_id` in Responses); a reader makes a stable one where the dialect has none.
    pub id: String,
    /// Responses' second id, of the item (`fc_…`).
    pub item_id: Option<String>,
    /// The tool's name as the caller declared it.
    pub name: String,
    /// JSON text as it came, `""` for none; free text for [`ToolKind::Custom`].
    pub arguments: String,
    /// Function or custom.
    pub kind: ToolKind,
    /// Gemini puts a thought's signature on the call.
    pub opaque: Option<Opaque>,
    /// Prompt caching up to here.
    pub cache: Option<CacheMark>,
}

/// The result of a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolResult {
    /// Which call.
    pub call_id: String,
    /// The tool's name, where the dialect says it or the reader found the call in an earlier turn.
    pub name: Option<String>,
    /// Text, and media where the dialect takes them.
    pub parts: Vec<Part>,
    /// The tool failed.
    pub is_error: bool,
    /// The call was of a custom tool.
    pub kind: ToolKind,
    /// Prompt caching up to here.
    pub cache: Option<CacheMark>,
}
