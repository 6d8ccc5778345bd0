//! Google's `embedContent` and `batchEmbedContents`. To Google always the batch, as its own SDKs do.

use serde::{Deserialize, Serialize};

use crate::blocks::{Raw, Refused, Written};
use crate::request::BadRequest;
use crate::vectors::fields::{Fields, wrong};

use super::{
    Answer, Ask, Content, Encoding, Input, Piece, Reply, Task, Vector, Words, at_most, floats_only, missing,
    no_tokens,
};

/// Google refuses a batch of more than 100 requests (its own error text: "at most 100 requests can be in one batch").
const MOST: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    text: Option<String>,
    #[serde(alias = "inline_data")]
    inline_data: Option<Blob>,
    #[serde(alias = "file_data")]
    file_data: Option<File>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    #[serde(alias = "mime_type")]
    mime_type: String,
    data: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(alias = "file_uri")]
    file_uri: String,
}

pub(super) fn read_request(body: &[u8], single: bool) -> Result<Ask, BadRequest> {
    let mut fields = Fields::of(body)?;
    if single {
        return read_one(fields).map(|ask| Ask { single, ..ask });
    }
    let _: Option<Raw> = fields.take("model", "a text")?;
    let requests: Vec<Raw> = fields.need("requests", "a list of requests")?;
    let mut whole: Option<Ask> = None;
    for request in &requests {
        let mut one = read_one(Fields::of(request.get().as_bytes())?)?;
        let Some(all) = &mut whole else {
            whole = Some(one);
            continue;
        };
        let differs = [
            ("requests.taskType", one.task != all.task),
            ("requests.outputDimensionality", one.dimensions != all.dimensions),
        ];
        if let Some((param, _)) = differs.iter().find(|(_, differs)| *differs) {
            let message = format!("`{param}` must be the same in all requests of a batch to this model");
            return Err(wrong(param, message));
        }
        all.inputs.append(&mut one.inputs);
        one.extra.retain(|name| !all.extra.contains(name));
        all.extra.append(&mut one.extra);
    }
    let mut ask = whole.ok_or_else(|| wrong("requests", "`requests` must not be empty".to_owned()))?;
    ask.extra.extend(fields.rest());
    Ok(ask)
}

fn read_one(mut fields: Fields<'_>) -> Result<Ask, BadRequest> {
    let _: Option<Raw> = fields.take("model", "a text")?;
    let said: Said = fields.need("content", "an object with `parts`")?;
    let mut pieces = Vec::with_capacity(said.parts.len());
    for part in said.parts {
        pieces.push(match (part.text, part.inline_data, part.file_data) {
            (Some(text), None, None) => Piece::Text(text),
            (None, Some(blob), None) => Piece::Data { mime: blob.mime_type, data: blob.data },
            (None, None, Some(file)) => Piece::Url(file.file_uri),
            _ => {
                let message = "a part of `content` must be one of `text`, `inlineData`, `fileData`";
                return Err(wrong("content", message.to_owned()));
            }
        });
    }
    let content = match pieces.as_mut_slice() {
        [] => return Err(wrong("content", "`content` has no parts".to_owned())),
        [Piece::Text(text)] => Content::Text(std::mem::take(text)),
        _ => Content::Pieces(pieces),
    };
    let title = fields.take("title", "a text")?;
    let task = fields.take::<String>("taskType", "a text")?.filter(|task| task != "TASK_TYPE_UNSPECIFIED");
    let ask = Ask {
        inputs: vec![Input { content, title }],
        dimensions: fields.take("outputDimensionality", "a positive integer")?,
        task: task.map(|task| task_of(&task)),
        ..Ask::default()
    };
    Ok(Ask { extra: fields.rest(), ..ask })
}

const TASKS: [(&str, Task); 6] = [
    ("RETRIEVAL_QUERY", Task::Query),
    ("RETRIEVAL_DOCUMENT", Task::Document),
    ("CLASSIFICATION", Task::Classification),
    ("CLUSTERING", Task::Clustering),
    ("SEMANTIC_SIMILARITY", Task::Similarity),
    ("CODE_RETRIEVAL_QUERY", Task::CodeQuery),
];
/// Google's own, which no other dialect has.
const OWN_TASKS: [&str; 2] = ["QUESTION_ANSWERING", "FACT_VERIFICATION"];

fn task_of(name: &str) -> Task {
    let known = TASKS.iter().find(|(own, _)| *own == name).map(|(_, task)| task.clone());
    known.unwrap_or_else(|| Task::Other(name.to_owned()))
}

fn word_of(task: &Task) -> Option<&str> {
    match task {
        Task::Other(name) => Some(name.as_str()).filter(|name| OWN_TASKS.contains(name)),
        task => TASKS.iter().find(|(_, own)| own == task).map(|(name, _)| *name),
    }
}

#[derive(Serialize)]
struct Body<'a> {
    requests: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    model: &'a str,
    content: Parts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u64>,
}

#[derive(Serialize)]
struct Parts<'a> {
    parts: Vec<Out<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Out<'a> {
    Text(&'a str),
    InlineData(Blob),
    FileData(File),
}

pub(super) fn write_request(
    ask: &Ask,
    model: &str,
    said: &Words,
    written: &mut Written,
) -> Result<Vec<u8>, Refused> {
    floats_only(ask, "Gemini", said)?;
    at_most(ask, MOST, "Gemini", said)?;
    let task_type = ask.task.as_ref().and_then(word_of);
    if ask.task.is_some() && task_type.is_none() {
        written.drop_param(said.task);
    }
    if ask.truncate.is_some() {
        written.drop_param(said.truncate);
    }
    let whole = ["models/", "tunedModels/"].iter().any(|kind| model.starts_with(kind));
    let model = if whole { model.to_owned() } else { format!("models/{model}") };
    let mut requests = Vec::with_capacity(ask.inputs.len());
    for input in &ask.inputs {
        let parts = match &input.content {
            Content::Text(text) => vec![Out::Text(text)],
            Content::Tokens(_) => return Err(no_tokens("Gemini", said)),
            Content::Pieces(pieces) => pieces.iter().map(out).collect(),
        };
        requests.push(One {
            model: &model,
            content: Parts { parts },
            task_type,
            title: input.title.as_deref(),
            output_dimensionality: ask.dimensions,
        });
    }
    Ok(serde_json::to_vec(&Body { requests }).unwrap_or_default())
}

fn out(piece: &Piece) -> Out<'_> {
    match piece {
        Piece::Text(text) => Out::Text(text),
        Piece::Data { mime, data } => Out::InlineData(Blob { mime_type: mime.clone(), data: data.clone() }),
        Piece::Url(url) => Out::FileData(File { file_uri: url.clone() }),
    }
}

#[derive(Deserialize)]
struct Told {
    embeddings: Option<Vec<Values>>,
    embedding: Option<Values>,
}

#[derive(Deserialize, Serialize)]
struct Values {
    values: Raw,
}

pub(super) fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let told: Told = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let Some(values) = told.embeddings.or_else(|| told.embedding.map(|one| vec![one])) else {
        return Err("`embeddings` is missing".to_owned());
    };
    let vectors = values.into_iter().map(|one| Vector(vec![(Encoding::Float, one.values)])).collect();
    Ok(Answer { vectors, ..Answer::default() })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Telling {
    #[serde(skip_serializing_if = "Option::is_none")]
    embeddings: Option<Vec<Values>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<Values>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_metadata: Option<Usage>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    prompt_token_count: u64,
}

pub(super) fn write_answer(answer: &Answer, reply: &Reply<'_>) -> Result<Vec<u8>, String> {
    let written = |vector: &Vector| vector.written(Encoding::Float).map(|values| Values { values });
    let all: Option<Vec<_>> = answer.vectors.iter().map(written).collect();
    let mut all = all.ok_or_else(|| missing(Encoding::Float))?;
    let usage_metadata = answer.counted.tokens.map(|count| Usage { prompt_token_count: count });
    let telling = match reply.ask.single {
        true => Telling { embeddings: None, embedding: all.pop(), usage_metadata },
        false => Telling { embeddings: Some(all), embedding: None, usage_metadata },
    };
    serde_json::to_vec(&telling).map_err(|error| error.to_string())
}
