//! Embeddings: what is asked, what is answered, and the dialects that say it.

mod cohere;
mod gemini;
mod openai;

use std::borrow::Cow;

use crate::blocks::{Raw, Refused, Written};
use crate::dialects::Unanswered;
use crate::request::BadRequest;

use super::{Counted, Shape, floats};

/// A call, from any dialect to any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// What becomes one vector each.
    pub inputs: Vec<Input>,
    /// How long the vectors shall be.
    pub dimensions: Option<u64>,
    /// How they shall be written, in the client's order; empty: as floats.
    pub encodings: Vec<Encoding>,
    /// What they are for.
    pub task: Option<Task>,
    /// What becomes of an input that is too long.
    pub truncate: Option<Truncate>,
    /// Who asks (`user`).
    pub end_user: Option<String>,
    /// Google's `embedContent`: one input, and an answer with one vector.
    pub single: bool,
    /// Members that the form has no place for, by their name in the client's dialect.
    pub extra: Vec<String>,
}

/// What becomes one vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Input {
    /// What it is made of.
    pub content: Content,
    /// Google's `title` of a document.
    pub title: Option<String>,
}

/// The content of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A text.
    Text(String),
    /// Tokens of the model's own vocabulary.
    Tokens(Vec<u64>),
    /// Several pieces, or pictures.
    Pieces(Vec<Piece>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// A piece of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// A text.
    Text(String),
    /// Bytes in base64, with their type.
    Data {
        /// The media type.
        mime: String,
        /// In base64.
        data: String,
    },
    /// Where it lies.
    Url(String),
}

impl Piece {
    /// A picture by its address, which may be a data URL.
    fn at(url: String) -> Self {
        let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
        match inline {
            Some((mime, data)) => Self::Data { mime: mime.to_owned(), data: data.to_owned() },
            None => Self::Url(url),
        }
    }

    /// The same as an address; `None` for a text.
    fn url(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(_) => None,
            Self::Data { mime, data } => Some(format!("data:{mime};base64,{data}").into()),
            Self::Url(url) => Some(url.as_str().into()),
        }
    }
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Numbers.
    Float,
    /// Base64 of 32-bit floats.
    Base64,
    /// Signed bytes.
    Int8,
    /// Bytes.
    Uint8,
    /// Bits, packed into signed bytes.
    Binary,
    /// Bits, packed into bytes.
    Ubinary,
}

impl Encoding {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Float, "float"),
        (Self::Base64, "base64"),
        (Self::Int8, "int8"),
        (Self::Uint8, "uint8"),
        (Self::Binary, "binary"),
        (Self::Ubinary, "ubinary"),
    ];

    fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, own)| *own == name).map(|(encoding, _)| *encoding)
    }

    fn is_floats(self) -> bool {
        matches!(self, Self::Float | Self::Base64)
    }
}

/// What vectors are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Questions that are searched with.
    Query,
    /// Texts that are searched.
    Document,
    /// Sorting into classes.
    Classification,
    /// Grouping.
    Clustering,
    /// Likeness of texts.
    Similarity,
    /// Descriptions that code is searched with.
    CodeQuery,
    /// A word of one dialect alone, as it was written.
    Other(String),
}

/// What becomes of an input that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncate {
    /// It is refused.
    Never,
    /// Its beginning is left out.
    Start,
    /// Its end is left out.
    End,
}

/// The vectors of one input, in the encodings that came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vector(pub Vec<(Encoding, Raw)>);

impl Vector {
    /// As JSON in an encoding, made from the other writing of floats where needed.
    fn written(&self, encoding: Encoding) -> Option<Raw> {
        let find = |wanted| self.0.iter().find(|(own, _)| *own == wanted).map(|(_, raw)| raw);
        find(encoding).cloned().or_else(|| match encoding {
            Encoding::Base64 => Some(Raw::string(&floats::packed(find(Encoding::Float)?.get())?)),
            Encoding::Float => Raw::parse(&floats::unpacked(&find(Encoding::Base64)?.as_text()?)?),
            _ => None,
        })
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// One for each input, in their order.
    pub vectors: Vec<Vector>,
    /// The model that says it answered.
    pub model: Option<String>,
    /// What it counted.
    pub counted: Counted,
}

/// What a writer of answers must know of the call.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Shown where the dialect has an id.
    pub id: &'a str,
    /// Shown where the provider names no model.
    pub model: &'a str,
    /// What was asked.
    pub ask: &'a Ask,
}

/// The words of a dialect for the members of the form, for errors and reports.
pub(crate) struct Words {
    input: &'static str,
    encodings: &'static str,
    task: &'static str,
    truncate: &'static str,
}

const fn words(client: Shape) -> Words {
    match client {
        Shape::OpenAi => {
            Words { input: "input", encodings: "encoding_format", task: "task", truncate: "truncate" }
        }
        Shape::Jina => Words { encodings: "embedding_type", ..words(Shape::OpenAi) },
        Shape::Gemini => {
            Words { input: "content", encodings: "encoding", task: "taskType", truncate: "autoTruncate" }
        }
        Shape::Cohere | Shape::CohereV1 => {
            Words { input: "inputs", encodings: "embedding_types", task: "input_type", truncate: "truncate" }
        }
    }
}

/// Reads a client's body.
///
/// # Errors
/// What is wrong with it, for the client.
pub fn read_request(client: Shape, body: &[u8], single: bool) -> Result<Ask, BadRequest> {
    match client {
        Shape::OpenAi | Shape::Jina => openai::read_request(client, body),
        Shape::Gemini => gemini::read_request(body, single),
        Shape::Cohere | Shape::CohereV1 => cohere::read_request(body),
    }
}

/// Whether a body at OpenAI's path uses a word that is Jina's and not OpenAI's.
pub fn is_jinas(body: &[u8]) -> bool {
    let own = ["task", "embedding_type", "late_chunking"];
    crate::json::top_level(body).is_ok_and(|object| own.iter().any(|name| object.value(body, name).is_some()))
}

/// Whether a body that a client of OpenAI's wrote says nothing but what Jina understands in the same words.
pub fn suits_jina(body: &[u8]) -> bool {
    openai::read_request(Shape::OpenAi, body).is_ok_and(|ask| {
        let texts = ask.inputs.iter().all(|input| !matches!(input.content, Content::Tokens(_)));
        ask.encodings.is_empty() && ask.end_user.is_none() && texts
    })
}

/// Whether Cohere's own endpoint can be asked this: it wants to know what the vectors are for.
pub fn suits_cohere(ask: &Ask) -> bool {
    cohere::input_type(ask).is_some()
}

/// Writes a provider's body. `client` says in whose words a report names what could not be said.
///
/// # Errors
/// What the target cannot be asked for.
pub fn write_request(target: Shape, client: Shape, ask: &Ask, model: &str) -> Result<Written, Refused> {
    let mut written = Written::default();
    let said = words(client);
    written.body = match target {
        Shape::OpenAi | Shape::Jina => openai::write_request(target, ask, model, &said, &mut written),
        Shape::Gemini => gemini::write_request(ask, model, &said, &mut written),
        Shape::Cohere | Shape::CohereV1 => cohere::write_request(ask, model, &said, &mut written),
    }?;
    if ask.end_user.is_some() && target != Shape::OpenAi {
        written.drop_param("user");
    }
    if ask.inputs.iter().any(|input| input.title.is_some()) && target != Shape::Gemini {
        written.drop_param("title");
    }
    for name in &ask.extra {
        written.drop_param(name);
    }
    Ok(written)
}

/// Reads a provider's whole answer of status 200.
///
/// # Errors
/// When it is no answer.
pub fn read_answer(target: Shape, ask: &Ask, body: &[u8]) -> Result<Answer, Unanswered> {
    let answer = match target {
        Shape::OpenAi | Shape::Jina => openai::read_answer(ask, body),
        Shape::Gemini => gemini::read_answer(body),
        Shape::Cohere | Shape::CohereV1 => cohere::read_answer(body),
    };
    answer.map(|answer| Answer { counted: super::counted(body), ..answer }).map_err(|message| {
        let (told, code, _) = crate::failure::read_error(body);
        let is_error = crate::json::top_level(body).is_ok_and(|object| object.value(body, "error").is_some());
        Unanswered { message, error: told.filter(|_| is_error).map(|told| (told, code)) }
    })
}

/// Writes a client's whole answer.
///
/// # Errors
/// When the provider left out a vector, or an encoding that was asked for.
pub fn write_answer(client: Shape, answer: &Answer, reply: &Reply<'_>) -> Result<Vec<u8>, String> {
    let (came, asked) = (answer.vectors.len(), reply.ask.inputs.len());
    if came != asked {
        return Err(format!("{asked} vectors were asked for and {came} came"));
    }
    match client {
        Shape::OpenAi | Shape::Jina => openai::write_answer(answer, reply),
        Shape::Gemini => gemini::write_answer(answer, reply),
        Shape::Cohere | Shape::CohereV1 => cohere::write_answer(answer, reply),
    }
}

/// The only encodings of a target that writes nothing but floats.
fn floats_only(ask: &Ask, target: &str, said: &Words) -> Result<bool, Refused> {
    if let Some(other) = ask.encodings.iter().find(|encoding| !encoding.is_floats()) {
        let message =
            format!("`{}` `{}` is not to be had from {target}; ask for floats", said.encodings, other.name());
        return Err(Refused::new(said.encodings, message));
    }
    Ok(ask.encodings == [Encoding::Base64])
}

/// More inputs than the target takes in one call: one attempt is one call, so it is not split here.
fn at_most(ask: &Ask, most: usize, target: &str, said: &Words) -> Result<(), Refused> {
    let count = ask.inputs.len();
    if count > most {
        let message = format!(
            "`{}` has {count} inputs and {target} takes at most {most} in one call; send fewer",
            said.input
        );
        return Err(Refused::new(said.input, message));
    }
    Ok(())
}

fn no_tokens(target: &str, said: &Words) -> Refused {
    let message = format!(
        "`{}` holds arrays of tokens, which only models of OpenAI's dialect read; send texts to {target}",
        said.input
    );
    Refused::new(said.input, message)
}

fn missing(encoding: Encoding) -> String {
    format!("a vector has no `{}`", encoding.name())
}
