//! `/v1/embeddings`, as OpenAI has it and as Jina does: the same frame, other words for encoding and purpose.

use serde::{Deserialize, Serialize};

use crate::blocks::{Raw, Refused, Written};
use crate::request::BadRequest;
use crate::vectors::Shape;
use crate::vectors::fields::{Fields, wrong};

use super::{
    Answer, Ask, Content, Encoding, Input, Piece, Reply, Task, Truncate, Vector, Words, at_most, floats_only,
    missing, no_tokens,
};

/// OpenAI's own limit (developers.openai.com, API reference, embeddings, read in the SDK's types 2026-11-22).
const MOST: usize = 2048;
const INPUT: &str = "a text, a list of texts, or tokens";

#[derive(Deserialize)]
#[serde(untagged)]
enum Inputs {
    Text(String),
    Tokens(Vec<u64>),
    Batch(Vec<Tokens>),
    List(Vec<Item>),
}

#[derive(Deserialize)]
struct Tokens(Vec<u64>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Text(String),
    Piece(Piecewise),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Piecewise {
    text: Option<String>,
    image: Option<String>,
    url: Option<String>,
}

pub(super) fn read_request(client: Shape, body: &[u8]) -> Result<Ask, BadRequest> {
    let mut fields = Fields::of(body)?;
    // The names of models are the gateway's, and read before.
    let _: Option<Raw> = fields.take("model", "a text")?;
    let _: Option<Raw> = fields.take("models", "a list")?;
    let inputs = inputs(fields.need("input", INPUT)?)?;
    if inputs.is_empty() {
        return Err(wrong("input", "`input` must not be empty".to_owned()));
    }
    let mut ask = Ask {
        inputs,
        dimensions: fields.take("dimensions", "a positive integer")?,
        end_user: fields.take("user", "a text")?,
        ..Ask::default()
    };
    let encoding = if client == Shape::Jina { "embedding_type" } else { "encoding_format" };
    ask.encodings = encodings(encoding, fields.take(encoding, "a text")?)?;
    if client == Shape::Jina {
        ask.task = fields.take::<String>("task", "a text")?.map(|task| task_of(&task));
        let cut = fields.take::<bool>("truncate", "true or false")?;
        ask.truncate = cut.map(|cut| if cut { Truncate::End } else { Truncate::Never });
        if ask.encodings.is_empty() {
            ask.encodings = encodings("encoding_format", fields.take("encoding_format", "a text")?)?;
        }
    }
    ask.extra = fields.rest();
    Ok(ask)
}

fn inputs(read: Inputs) -> Result<Vec<Input>, BadRequest> {
    let of = |content| Input { content, title: None };
    Ok(match read {
        Inputs::Text(text) => vec![of(Content::Text(text))],
        Inputs::Tokens(tokens) if tokens.is_empty() => Vec::new(),
        Inputs::Tokens(tokens) => vec![of(Content::Tokens(tokens))],
        Inputs::Batch(lists) => lists.into_iter().map(|list| of(Content::Tokens(list.0))).collect(),
        Inputs::List(items) => items
            .into_iter()
            .map(|item| match item {
                Item::Text(text) | Item::Piece(Piecewise { text: Some(text), image: None, url: None }) => {
                    Ok(of(Content::Text(text)))
                }
                Item::Piece(
                    Piecewise { image: Some(url), text: None, url: None }
                    | Piecewise { url: Some(url), text: None, image: None },
                ) => Ok(of(Content::Pieces(vec![Piece::at(url)]))),
                Item::Piece(_) => Err(wrong(
                    "input",
                    "an item of `input` must have one of `text`, `image`, `url`".to_owned(),
                )),
            })
            .collect::<Result<_, _>>()?,
    })
}

fn encodings(param: &'static str, name: Option<String>) -> Result<Vec<Encoding>, BadRequest> {
    let Some(name) = name else { return Ok(Vec::new()) };
    match Encoding::of(&name) {
        Some(encoding) => Ok(vec![encoding]),
        None => Err(wrong(param, format!("`{param}` `{name}` is not known; it is `float` or `base64`"))),
    }
}

const TASKS: [(&str, Task); 6] = [
    ("retrieval.query", Task::Query),
    ("retrieval.passage", Task::Document),
    ("classification", Task::Classification),
    ("separation", Task::Clustering),
    ("text-matching", Task::Similarity),
    ("code.query", Task::CodeQuery),
];

fn task_of(name: &str) -> Task {
    let known = TASKS.iter().find(|(own, _)| *own == name).map(|(_, task)| task.clone());
    known.unwrap_or_else(|| Task::Other(name.to_owned()))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    input: Vec<Out<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Out<'a> {
    Text(&'a str),
    Tokens(&'a [u64]),
    Image { image: std::borrow::Cow<'a, str> },
}

pub(super) fn write_request(
    target: Shape,
    ask: &Ask,
    model: &str,
    said: &Words,
    written: &mut Written,
) -> Result<Vec<u8>, Refused> {
    let jina = target == Shape::Jina;
    let whom = if jina { "models of Jina" } else { "models of OpenAI's dialect" };
    at_most(ask, MOST, whom, said)?;
    let mut input = Vec::with_capacity(ask.inputs.len());
    for item in &ask.inputs {
        input.push(match &item.content {
            Content::Text(text) => Out::Text(text),
            Content::Tokens(_) if jina => return Err(no_tokens(whom, said)),
            Content::Tokens(tokens) => Out::Tokens(tokens),
            Content::Pieces(pieces) => piece(pieces, jina, whom, said)?,
        });
    }
    let mut body = Body {
        model,
        input,
        task: None,
        dimensions: ask.dimensions,
        encoding_format: None,
        embedding_type: None,
        truncate: None,
        user: ask.end_user.as_deref().filter(|_| !jina),
    };
    if jina {
        body.embedding_type = jinas_encoding(ask, said)?;
        body.task = jinas_task(ask);
        body.truncate = match ask.truncate {
            Some(Truncate::End) => Some(true),
            Some(Truncate::Never) => Some(false),
            Some(Truncate::Start) | None => None,
        };
    } else {
        body.encoding_format = floats_only(ask, whom, said)?.then_some("base64");
    }
    if ask.task.is_some() && body.task.is_none() {
        written.drop_param(said.task);
    }
    // OpenAI refuses what is too long, so that one need not be said.
    let said_anyway = body.truncate.is_some() || (!jina && ask.truncate == Some(Truncate::Never));
    if ask.truncate.is_some() && !said_anyway {
        written.drop_param(said.truncate);
    }
    Ok(serde_json::to_vec(&body).unwrap_or_default())
}

fn piece<'a>(pieces: &'a [Piece], jina: bool, whom: &str, said: &Words) -> Result<Out<'a>, Refused> {
    match pieces {
        [Piece::Text(text)] => Ok(Out::Text(text)),
        [one] if jina => match one.url() {
            Some(image) => Ok(Out::Image { image }),
            None => Err(Refused::new(said.input, format!("`{}` holds an empty piece", said.input))),
        },
        _ => {
            let what = if jina { "several pieces in one input" } else { "something else than texts" };
            Err(Refused::new(said.input, format!("`{}` holds {what}, which {whom} do not take", said.input)))
        }
    }
}

fn jinas_task(ask: &Ask) -> Option<&str> {
    match ask.task.as_ref()? {
        // `retrieval`, `code.passage` and what comes.
        Task::Other(name) => Some(name.as_str()).filter(|name| name.contains('.') && !name.contains(' ')),
        task => TASKS.iter().find(|(_, own)| own == task).map(|(name, _)| *name),
    }
}

fn jinas_encoding(ask: &Ask, said: &Words) -> Result<Option<&'static str>, Refused> {
    let floats = ask.encodings.iter().all(|encoding| encoding.is_floats());
    match ask.encodings.as_slice() {
        [] => Ok(None),
        [one @ (Encoding::Base64 | Encoding::Binary | Encoding::Ubinary)] => Ok(Some(one.name())),
        _ if floats => Ok(Some("float")),
        _ => {
            let message = format!(
                "`{}`: Jina answers in one of float, base64, binary and ubinary; ask for one of them",
                said.encodings
            );
            Err(Refused::new(said.encodings, message))
        }
    }
}

#[derive(Deserialize)]
struct Told {
    data: Vec<Given>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Given {
    index: Option<usize>,
    embedding: Raw,
}

pub(super) fn read_answer(ask: &Ask, body: &[u8]) -> Result<Answer, String> {
    let mut told: Told = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if told.data.iter().all(|item| item.index.is_some()) {
        told.data.sort_by_key(|item| item.index);
    }
    // Packed bits are lists of numbers too: which they are, the question says.
    let numbers = match ask.encodings.as_slice() {
        [packed @ (Encoding::Binary | Encoding::Ubinary)] => *packed,
        _ => Encoding::Float,
    };
    let of = |raw: Raw| {
        let encoding = if raw.get().starts_with('"') { Encoding::Base64 } else { numbers };
        Vector(vec![(encoding, raw)])
    };
    let vectors = told.data.into_iter().map(|item| of(item.embedding)).collect();
    Ok(Answer { vectors, model: told.model, ..Answer::default() })
}

#[derive(Serialize)]
struct Telling<'a> {
    object: &'static str,
    data: Vec<Datum>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Datum {
    object: &'static str,
    index: usize,
    embedding: Raw,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

pub(super) fn write_answer(answer: &Answer, reply: &Reply<'_>) -> Result<Vec<u8>, String> {
    let encoding = reply.ask.encodings.first().copied().unwrap_or(Encoding::Float);
    let mut data = Vec::with_capacity(answer.vectors.len());
    for (index, vector) in answer.vectors.iter().enumerate() {
        let embedding = vector.written(encoding).ok_or_else(|| missing(encoding))?;
        data.push(Datum { object: "embedding", index, embedding });
    }
    // The client's type wants a number.
    let tokens = answer.counted.tokens.unwrap_or(0);
    let told = Telling {
        object: "list",
        data,
        model: answer.model.as_deref().unwrap_or(reply.model),
        usage: Usage { prompt_tokens: tokens, total_tokens: tokens },
    };
    serde_json::to_vec(&told).map_err(|error| error.to_string())
}
