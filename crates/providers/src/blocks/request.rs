//! What is asked.

use super::{CacheMark, Media, MediaSource, Part, Raw, ToolKind};
use crate::request::BadRequest;

/// A request for text, from any dialect to any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// As the client wrote it (the gateway tells the writer the upstream's own name).
    pub model: String,
    /// Answer as events.
    pub stream: bool,
    /// Chat: `stream_options.include_usage`. The other dialects always tell usage.
    pub include_usage: bool,
    /// The conversation, oldest first, system turns where they stood.
    pub turns: Vec<Turn>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it must.
    pub tool_choice: Option<ToolChoice>,
    /// `Some(false)`: at most one call an answer.
    pub parallel_tools: Option<bool>,
    /// The shape of the answer.
    pub format: Format,
    /// Most output tokens, reasoning included.
    pub max_output: Option<u64>,
    /// How much to think.
    pub thinking: Option<Thinking>,
    /// Numbers stay as they were written.
    pub temperature: Option<Raw>,
    /// Nucleus sampling.
    pub top_p: Option<Raw>,
    /// Sampling from the k likeliest.
    pub top_k: Option<Raw>,
    /// Repeatable sampling.
    pub seed: Option<Raw>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// OpenAI's and Gemini's penalty.
    pub frequency_penalty: Option<Raw>,
    /// OpenAI's and Gemini's penalty.
    pub presence_penalty: Option<Raw>,
    /// OpenAI: token id to bias.
    pub logit_bias: Option<Raw>,
    /// Tell log probabilities.
    pub logprobs: Option<bool>,
    /// Of how many alternatives.
    pub top_logprobs: Option<u64>,
    /// How many answers; absent = 1.
    pub choices: Option<u64>,
    /// Chat `user` / `safety_identifier`, Anthropic `metadata.user_id`.
    pub end_user: Option<String>,
    /// OpenAI `metadata` (key-value pairs).
    pub metadata: Option<Raw>,
    /// `service_tier` as written.
    pub service_tier: Option<String>,
    /// OpenAI `prompt_cache_key`.
    pub cache_key: Option<String>,
    /// OpenAI `verbosity` / Responses `text.verbosity`.
    pub verbosity: Option<String>,
    /// Responses and Chat `store`.
    pub store: Option<bool>,
    /// Responses `previous_response_id`.
    pub previous: Option<String>,
    /// What answers repeat of the request although no provider is told, because the gateway does it itself.
    pub ours: Ours,
    /// Members that the form has no place for, by their JSON name in the caller's dialect (`a.b` when nested).
    pub extra: Vec<(String, Raw)>,
}

impl Request {
    /// About how many bytes its conversation takes in any dialect, so that a writer takes them at once.
    pub(crate) fn weight(&self) -> usize {
        let of = |part: &Part| match part {
            Part::Text { text, .. } | Part::Refusal { text } => text.len() + 32,
            Part::Media(media) => match &media.source {
                MediaSource::Base64(text) | MediaSource::Url(text) | MediaSource::Text(text) => {
                    text.len() + 128
                }
                MediaSource::FileId(_) => 128,
            },
            Part::Reasoning(thought) => thought.text.len() + 64,
            Part::ToolCall(call) => call.arguments.len() + 128,
            Part::ToolResult(result) => result.parts.iter().map(of_result).sum::<usize>() + 128,
            Part::Unknown { raw, .. } => raw.get().len(),
        };
        1024 + self.turns.iter().flat_map(|turn| &turn.parts).map(of).sum::<usize>()
    }
}

fn of_result(part: &Part) -> usize {
    match part {
        Part::Text { text, .. } => text.len() + 32,
        Part::Media(Media { source: MediaSource::Base64(data), .. }) => data.len() + 128,
        _ => 64,
    }
}

/// What a gateway does itself of what a client of Responses asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours {
    /// `previous_response_id`: what came before stands in the turns already.
    pub previous: Option<String>,
    /// `background`.
    pub background: bool,
}

impl Request {
    /// Whether a tool that providers run may be left out, and reported, for one that does not run it: an agent that offers
    /// tools of its own offers a search beside them, and goes on without. A search alone is what was asked for, and what
    /// the question itself stands on (files to be searched, a computer, code) may not be left out, nor what is demanded.
    pub(crate) fn can_do_without(&self, kind: &str) -> bool {
        let extra = kind.starts_with("web_search")
            || ["tool_search", "image_generation", "googleSearch", "google_search"].contains(&kind);
        let own = |tool: &Tool| match tool {
            Tool::Function { name, .. } | Tool::Custom { name, .. } => Some(name.clone()),
            Tool::Hosted { .. } => None,
        };
        let own: Vec<String> = self.tools.iter().filter_map(own).collect();
        let demanded = match &self.tool_choice {
            Some(ToolChoice::Required) => true,
            Some(ToolChoice::One { name, .. }) => !own.contains(name),
            _ => self.extra.iter().any(|(name, _)| name == "tool_choice"),
        };
        extra && !demanded && !own.is_empty()
    }

    /// The tools that are told to a provider, which `runs` some of them itself: what it does not run and the model can do
    /// without is reported and left out.
    pub(crate) fn tools_for(&self, written: &mut Written, runs: impl Fn(&str, &Raw) -> bool) -> Vec<&Tool> {
        let mut told = |tool: &&Tool| match tool {
            Tool::Hosted { kind, raw } if !runs(kind, raw) && self.can_do_without(kind) => {
                written.drop_param(&format!("tools.{kind}"));
                false
            }
            _ => true,
        };
        self.tools.iter().filter(|tool| told(tool)).collect()
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions of the operator.
    System,
    /// OpenAI's newer word for the same.
    Developer,
    /// The user; also carries tool results where the dialect puts them there.
    #[default]
    User,
    /// The model.
    Assistant,
    /// Results of tools. Readers of all dialects put every [`Part::ToolResult`] into a turn of this role, so that
    /// writers find them in one place; several results of one step are one turn.
    Tool,
}

/// One turn of the conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What, in order.
    pub parts: Vec<Part>,
    /// Chat's `name` of a participant.
    pub name: Option<String>,
}

/// Something that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    /// A function.
    Function {
        /// Its name.
        name: String,
        /// What it does.
        description: Option<String>,
        /// JSON Schema of the arguments (always an object, or absent).
        parameters: Option<Raw>,
        /// OpenAI's and Anthropic's `strict`.
        strict: Option<bool>,
        /// Prompt caching up to here.
        cache: Option<CacheMark>,
    },
    /// OpenAI's custom tool.
    Custom {
        /// Its name.
        name: String,
        /// What it does.
        description: Option<String>,
        /// Its grammar, verbatim.
        format: Option<Raw>,
    },
    /// A tool that the provider runs (web search, code, …): verbatim, for its own dialect alone. Others refuse it, or leave it
    /// out and say so.
    Hosted {
        /// Its `type` or name.
        kind: String,
        /// Verbatim.
        raw: Raw,
    },
}

/// Whether a tool must be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    Auto,
    /// Any of them.
    Required,
    /// None of them.
    None,
    /// This one.
    One {
        /// Its name.
        name: String,
        /// Function or custom.
        kind: ToolKind,
    },
    /// Only these.
    Allowed {
        /// Their names.
        names: Vec<String>,
        /// One of them must be called.
        required: bool,
    },
}

/// The shape of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format {
    /// Free text.
    #[default]
    Text,
    /// Any JSON object.
    Json,
    /// JSON of this schema.
    Schema {
        /// OpenAI wants a name; writers make one up (`answer`) where there is none.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// JSON Schema.
        schema: Raw,
        /// OpenAI's `strict`.
        strict: Option<bool>,
    },
}

/// How much to think.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thinking {
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`: OpenAI's levels, Anthropic's effort, Gemini's level
    /// in lower case.
    pub effort: Option<String>,
    /// Tokens: Anthropic `budget_tokens`, Gemini `thinkingBudget` (-1 = the model decides, 0 = off).
    pub budget: Option<i64>,
    /// Anthropic `thinking.type` as written: `enabled`, `adaptive`, `between_tools`, `disabled`.
    pub mode: Option<String>,
    /// Whether thoughts or their summary shall be shown: Responses `reasoning.summary` (`auto`, `concise`, `detailed`),
    /// Anthropic `display` (`summarized`, `omitted`), Gemini `includeThoughts` (`true`, `false`), as written.
    pub show: Option<String>,
}

/// A parameter by its canonical name (the one of Chat), or by the caller's own where the form has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Param(pub String);

impl Param {
    /// Of these the caller relies on the effect: a writer that cannot say one refuses the request.
    pub const MUST_BE_KEPT: [&'static str; 9] = [
        "response_format",
        "tools",
        "tool_choice",
        "n",
        "logprobs",
        "top_logprobs",
        "stop",
        "modalities",
        "previous_response_id",
    ];

    /// By name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Whether it may not be dropped.
    pub fn must_be_kept(&self) -> bool {
        Self::MUST_BE_KEPT.contains(&self.0.as_str())
    }
}

/// A request in a dialect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// The body.
    pub body: Vec<u8>,
    /// What the target cannot be told, each once, in the order found.
    pub dropped: Vec<Param>,
    /// Headers that belong to the body, such as `anthropic-version`.
    pub headers: Vec<(&'static str, String)>,
}

impl Written {
    /// Reports a parameter, once; at most 64 different ones.
    pub fn drop_param(&mut self, name: &str) {
        if self.dropped.len() < 64 && !self.dropped.iter().any(|param| param.0 == name) {
            self.dropped.push(Param::new(name));
        }
    }
}

/// Why a request cannot be put to a target: what it asks for does not exist there. Status 400, names the parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The canonical name.
    pub param: String,
    /// For the caller: names the parameter, the target's limit, and the way out.
    pub message: String,
}

impl Refused {
    /// About a parameter.
    pub fn new(param: &str, message: impl Into<String>) -> Self {
        Self { param: param.to_owned(), message: message.into() }
    }
}

/// A request that cannot be read in its own dialect.
pub type Unreadable = BadRequest;
