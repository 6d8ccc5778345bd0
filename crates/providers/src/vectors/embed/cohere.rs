//! Cohere's `/v2/embed`.

use serde::{Deserialize, Serialize};

use crate::blocks::{Raw, Refused, Written};
use crate::request::BadRequest;
use crate::vectors::fields::{Fields, wrong};

use super::{
    Answer, Ask, Content, Encoding, Input, Piece, Reply, Task, Truncate, Vector, Words, at_most, missing,
    no_tokens,
};

/// Of one call (docs.cohere.com, Embed API v2; the SDK's `config.embed_batch_size`, cohere 7.3.1).
const MOST: usize = 96;

#[derive(Deserialize, Serialize)]
struct Mixed {
    content: Vec<Part>,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    Text { text: String },
    ImageUrl { image_url: Address },
}

#[derive(Deserialize, Serialize)]
struct Address {
    url: String,
}

pub(super) fn read_request(body: &[u8]) -> Result<Ask, BadRequest> {
    let mut fields = Fields::of(body)?;
    let _: Option<Raw> = fields.take("model", "a text")?;
    let _: Option<Raw> = fields.take("models", "a list")?;
    let texts: Option<Vec<String>> = fields.take("texts", "a list of texts")?;
    let images: Option<Vec<String>> = fields.take("images", "a list of data URLs")?;
    let mixed: Option<Vec<Mixed>> = fields.take("inputs", "a list of objects with `content`")?;
    let of = |content| Input { content, title: None };
    let inputs: Vec<Input> = match (texts, images, mixed) {
        (Some(texts), None, None) => texts.into_iter().map(|text| of(Content::Text(text))).collect(),
        (None, Some(images), None) => {
            images.into_iter().map(|url| of(Content::Pieces(vec![Piece::at(url)]))).collect()
        }
        (None, None, Some(mixed)) => mixed.into_iter().map(|input| of(content(input.content))).collect(),
        _ => return Err(wrong("inputs", "one of `texts`, `images`, `inputs` must be given".to_owned())),
    };
    if inputs.is_empty() {
        return Err(wrong("inputs", "there are no inputs".to_owned()));
    }
    let names: Vec<String> = fields.take("embedding_types", "a list of texts")?.unwrap_or_default();
    let mut encodings = Vec::with_capacity(names.len());
    for name in names {
        let known = Encoding::of(&name);
        let encoding =
            known.ok_or_else(|| wrong("embedding_types", format!("`embedding_types` has no `{name}`")))?;
        encodings.push(encoding);
    }
    let ask = Ask {
        inputs,
        encodings,
        dimensions: fields.take("output_dimension", "a positive integer")?,
        task: fields.take::<String>("input_type", "a text")?.map(|task| task_of(&task)),
        truncate: truncate(fields.take::<String>("truncate", "a text")?.as_deref())?,
        ..Ask::default()
    };
    Ok(Ask { extra: fields.rest(), ..ask })
}

fn content(parts: Vec<Part>) -> Content {
    let piece = |part| match part {
        Part::Text { text } => Piece::Text(text),
        Part::ImageUrl { image_url } => Piece::at(image_url.url),
    };
    let mut pieces: Vec<Piece> = parts.into_iter().map(piece).collect();
    match pieces.as_mut_slice() {
        [Piece::Text(text)] => Content::Text(std::mem::take(text)),
        _ => Content::Pieces(pieces),
    }
}

fn truncate(name: Option<&str>) -> Result<Option<Truncate>, BadRequest> {
    Ok(match name {
        None => None,
        Some("NONE") => Some(Truncate::Never),
        Some("START") => Some(Truncate::Start),
        Some("END") => Some(Truncate::End),
        Some(name) => {
            return Err(wrong("truncate", format!("`truncate` `{name}` is none of NONE, START, END")));
        }
    })
}

const TASKS: [(&str, Task); 4] = [
    ("search_query", Task::Query),
    ("search_document", Task::Document),
    ("classification", Task::Classification),
    ("clustering", Task::Clustering),
];

fn task_of(name: &str) -> Task {
    let known = TASKS.iter().find(|(own, _)| *own == name).map(|(_, task)| task.clone());
    known.unwrap_or_else(|| Task::Other(name.to_owned()))
}

fn word_of(task: &Task) -> Option<&str> {
    match task {
        Task::Other(name) => Some(name.as_str()).filter(|name| *name == "image"),
        task => TASKS.iter().find(|(_, own)| own == task).map(|(name, _)| *name),
    }
}

/// What Cohere must be told: the purpose, or that pictures come.
pub(super) fn input_type(ask: &Ask) -> Option<&str> {
    let told = ask.task.as_ref().and_then(word_of);
    let picture = |input: &Input| matches!(&input.content, Content::Pieces(pieces) if pieces.iter().any(|piece| !matches!(piece, Piece::Text(_))));
    told.or_else(|| ask.inputs.iter().any(picture).then_some("image"))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    texts: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Vec<Mixed>>,
    input_type: &'a str,
    embedding_types: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimension: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncate: Option<&'static str>,
}

pub(super) fn write_request(
    ask: &Ask,
    model: &str,
    said: &Words,
    written: &mut Written,
) -> Result<Vec<u8>, Refused> {
    at_most(ask, MOST, "Cohere", said)?;
    let Some(input_type) = input_type(ask) else {
        let message = format!(
            "`{}` must say what the vectors are for: Cohere makes them for searching, being searched, classification or clustering",
            said.task
        );
        return Err(Refused::new(said.task, message));
    };
    if ask.task.as_ref().is_some_and(|task| word_of(task).is_none()) {
        written.drop_param(said.task);
    }
    let text = |input: &'_ Input| matches!(&input.content, Content::Text(_));
    let mut body = Body {
        model,
        texts: None,
        inputs: None,
        input_type,
        embedding_types: ask.encodings.iter().map(|encoding| encoding.name()).collect(),
        output_dimension: ask.dimensions,
        truncate: ask.truncate.map(|truncate| match truncate {
            Truncate::Never => "NONE",
            Truncate::Start => "START",
            Truncate::End => "END",
        }),
    };
    if body.embedding_types.is_empty() {
        body.embedding_types.push("float");
    }
    if ask.inputs.iter().all(text) {
        let texts = ask.inputs.iter().filter_map(|input| match &input.content {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        });
        body.texts = Some(texts.collect());
    } else {
        body.inputs = Some(ask.inputs.iter().map(|input| mixed(input, said)).collect::<Result<_, _>>()?);
    }
    Ok(serde_json::to_vec(&body).unwrap_or_default())
}

fn mixed(input: &Input, said: &Words) -> Result<Mixed, Refused> {
    let part = |piece: &Piece| match (piece, piece.url()) {
        (Piece::Text(text), _) => Part::Text { text: text.clone() },
        (_, url) => Part::ImageUrl { image_url: Address { url: url.unwrap_or_default().into_owned() } },
    };
    match &input.content {
        Content::Text(text) => Ok(Mixed { content: vec![Part::Text { text: text.clone() }] }),
        Content::Tokens(_) => Err(no_tokens("Cohere", said)),
        Content::Pieces(pieces) => Ok(Mixed { content: pieces.iter().map(part).collect() }),
    }
}

#[derive(Deserialize)]
struct Told {
    embeddings: std::collections::BTreeMap<String, Vec<Raw>>,
}

pub(super) fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let told: Told = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut vectors: Vec<Vector> = Vec::new();
    for (name, list) in told.embeddings {
        let Some(encoding) = Encoding::of(&name) else { continue };
        vectors.resize(vectors.len().max(list.len()), Vector::default());
        for (vector, raw) in vectors.iter_mut().zip(list) {
            vector.0.push((encoding, raw));
        }
    }
    Ok(Answer { vectors, ..Answer::default() })
}

#[derive(Serialize)]
struct Telling<'a> {
    id: &'a str,
    embeddings: std::collections::BTreeMap<&'static str, Vec<Raw>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    texts: Option<Vec<&'a str>>,
    meta: super::super::rerank::Meta,
    response_type: &'static str,
}

pub(super) fn write_answer(answer: &Answer, reply: &Reply<'_>) -> Result<Vec<u8>, String> {
    let asked: &[Encoding] =
        if reply.ask.encodings.is_empty() { &[Encoding::Float] } else { &reply.ask.encodings };
    let mut embeddings = std::collections::BTreeMap::new();
    for encoding in asked {
        let list: Option<Vec<Raw>> = answer.vectors.iter().map(|vector| vector.written(*encoding)).collect();
        embeddings.insert(encoding.name(), list.ok_or_else(|| missing(*encoding))?);
    }
    let text = |input: &'_ Input| matches!(&input.content, Content::Text(_));
    let texts = reply.ask.inputs.iter().all(text).then(|| {
        let texts = reply.ask.inputs.iter().filter_map(|input| match &input.content {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    });
    let meta = super::super::rerank::Meta::billed(answer.counted);
    let telling = Telling { id: reply.id, embeddings, texts, meta, response_type: "embeddings_by_type" };
    serde_json::to_vec(&telling).map_err(|error| error.to_string())
}
