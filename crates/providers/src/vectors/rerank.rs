//! Rerank: documents in the order of their likeness to a query. Cohere's dialects and Jina's, which most servers of one's
//! own speak too.

use serde::{Deserialize, Serialize};

use crate::blocks::{Raw, Refused, Written};
use crate::dialects::Unanswered;
use crate::request::BadRequest;

use super::fields::{Fields, wrong};
use super::{Counted, Shape};

/// A call, from any dialect to any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// What is looked for: a text, or at Jina an object.
    pub query: Option<Raw>,
    /// What is sorted: texts, or objects as they came.
    pub documents: Vec<Raw>,
    /// How many results at most.
    pub top_n: Option<u64>,
    /// Whether results carry their documents, where the client said so.
    pub return_documents: Option<bool>,
    /// Cohere's `max_tokens_per_doc`.
    pub max_tokens_per_doc: Option<u64>,
    /// Members that the form has no place for.
    pub extra: Vec<String>,
}

/// A document and how near it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Its place in what was asked.
    pub index: usize,
    /// As the provider wrote it.
    pub score: Raw,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The nearest first.
    pub results: Vec<Ranked>,
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

/// Whether a body at the path that Cohere and Jina share uses words that are Cohere's.
pub fn is_coheres(body: &[u8]) -> bool {
    let own = ["rank_fields", "max_chunks_per_doc", "max_tokens_per_doc", "priority"];
    crate::json::top_level(body).is_ok_and(|object| own.iter().any(|name| object.value(body, name).is_some()))
}

/// Reads a client's body, in whichever of the dialects.
///
/// # Errors
/// What is wrong with it, for the client.
pub fn read_request(body: &[u8]) -> Result<Ask, BadRequest> {
    let mut fields = Fields::of(body)?;
    let _: Option<Raw> = fields.take("model", "a text")?;
    let _: Option<Raw> = fields.take("models", "a list")?;
    let query: Raw = fields.need("query", "a text")?;
    let documents: Vec<Raw> = fields.need("documents", "a list of texts or objects")?;
    if documents.is_empty() {
        return Err(wrong("documents", "`documents` must not be empty".to_owned()));
    }
    let ask = Ask {
        query: Some(query),
        documents,
        top_n: fields.take("top_n", "a positive integer")?,
        return_documents: fields.take("return_documents", "true or false")?,
        max_tokens_per_doc: fields.take("max_tokens_per_doc", "a positive integer")?,
        extra: Vec::new(),
    };
    Ok(Ask { extra: fields.rest(), ..ask })
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    query: &'a Raw,
    documents: Vec<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_n: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens_per_doc: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_documents: Option<bool>,
}

/// Writes a provider's body.
///
/// # Errors
/// What the target cannot be asked for.
pub fn write_request(target: Shape, ask: &Ask, model: &str) -> Result<Written, Refused> {
    let mut written = Written::default();
    if ask.extra.iter().any(|name| name == "rank_fields") {
        let message = "`rank_fields` chooses among the members of documents, which only Cohere's older API does; send texts";
        return Err(Refused::new("rank_fields", message));
    }
    let jina = matches!(target, Shape::Jina | Shape::OpenAi);
    let null = Raw::string("");
    let query = ask.query.as_ref().unwrap_or(&null);
    if !jina && !query.get().starts_with('"') {
        return Err(Refused::new("query", "`query` must be a text: Cohere searches with nothing else"));
    }
    let mut documents = Vec::with_capacity(ask.documents.len());
    for (at, document) in ask.documents.iter().enumerate() {
        documents.push(if jina || document.get().starts_with('"') {
            document.clone()
        } else {
            text_of(document).ok_or_else(|| {
                let message =
                    format!("`documents[{at}]` must be a text or have a `text`: Cohere reads nothing else");
                Refused::new("documents", message)
            })?
        });
    }
    let body = Body {
        model,
        query,
        documents,
        top_n: ask.top_n,
        max_tokens_per_doc: ask.max_tokens_per_doc.filter(|_| !jina),
        // They are put back from what was asked.
        return_documents: jina.then_some(false),
    };
    written.body = serde_json::to_vec(&body).unwrap_or_default();
    if ask.max_tokens_per_doc.is_some() && jina {
        written.drop_param("max_tokens_per_doc");
    }
    for name in &ask.extra {
        written.drop_param(name);
    }
    Ok(written)
}

#[derive(Deserialize)]
struct WithText {
    text: String,
}

/// The text of a document that is an object with nothing else in it.
fn text_of(document: &Raw) -> Option<Raw> {
    document.read::<WithText>().map(|document| Raw::string(&document.text))
}

#[derive(Deserialize)]
struct Told {
    results: Vec<Given>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Given {
    index: usize,
    relevance_score: Raw,
}

/// Reads a provider's whole answer of status 200, in whichever of the dialects.
///
/// # Errors
/// When it is no answer.
pub fn read_answer(body: &[u8]) -> Result<Answer, Unanswered> {
    let told: Told = serde_json::from_slice(body).map_err(|error| {
        let (told, code, _) = crate::failure::read_error(body);
        let is_error = crate::json::top_level(body).is_ok_and(|object| object.value(body, "error").is_some());
        let error_told = told.filter(|_| is_error).map(|told| (told, code));
        Unanswered { message: error.to_string(), error: error_told }
    })?;
    let ranked = |one: Given| Ranked { index: one.index, score: one.relevance_score };
    Ok(Answer {
        results: told.results.into_iter().map(ranked).collect(),
        model: told.model,
        counted: super::counted(body),
    })
}

/// Cohere's `meta`.
#[derive(Serialize)]
pub(super) struct Meta {
    api_version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    billed_units: Option<Units>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Tokens>,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

#[derive(Serialize)]
struct Units {
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search_units: Option<u64>,
}

#[derive(Serialize)]
struct Tokens {
    input_tokens: u64,
}

impl Meta {
    /// Of embeddings: tokens are what is billed.
    pub(super) fn billed(counted: Counted) -> Self {
        let units = Units { input_tokens: counted.tokens, search_units: None };
        let billed_units = counted.tokens.is_some().then_some(units);
        Self { api_version: Version { version: "2" }, billed_units, tokens: None }
    }

    fn searched(counted: Counted, version: &'static str) -> Self {
        let units = Units { input_tokens: None, search_units: counted.search_units };
        Self {
            api_version: Version { version },
            billed_units: counted.search_units.is_some().then_some(units),
            tokens: counted.tokens.map(|input_tokens| Tokens { input_tokens }),
        }
    }
}

#[derive(Serialize)]
struct Telling<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Used>,
    results: Vec<Line<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

#[derive(Serialize)]
struct Used {
    total_tokens: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    relevance_score: &'a Raw,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Document<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Document<'a> {
    Text { text: &'a Raw },
    Whole(&'a Raw),
}

/// Writes a client's whole answer.
///
/// # Errors
/// When the provider ranked a document that nobody gave it.
pub fn write_answer(client: Shape, answer: &Answer, reply: &Reply<'_>) -> Result<Vec<u8>, String> {
    let jina = matches!(client, Shape::Jina | Shape::OpenAi);
    // Jina returns documents unless told not to, Cohere's older API when told to, its newer one never.
    let documents = match client {
        Shape::Cohere => false,
        _ => reply.ask.return_documents.unwrap_or(jina),
    };
    let mut results = Vec::with_capacity(answer.results.len());
    for one in &answer.results {
        let given = reply.ask.documents.get(one.index);
        let given =
            given.ok_or_else(|| format!("a result is of document {}, which there is not", one.index))?;
        let document = documents.then(|| match given.get().starts_with('"') {
            true => Document::Text { text: given },
            false => Document::Whole(given),
        });
        results.push(Line { index: one.index, relevance_score: &one.score, document });
    }
    let version = if client == Shape::CohereV1 { "1" } else { "2" };
    let telling = Telling {
        id: (!jina).then_some(reply.id),
        model: jina.then(|| answer.model.as_deref().unwrap_or(reply.model)),
        object: jina.then_some("list"),
        // The client's type wants a number.
        usage: jina.then(|| Used { total_tokens: answer.counted.tokens.unwrap_or(0) }),
        results,
        meta: (!jina).then(|| Meta::searched(answer.counted, version)),
    };
    serde_json::to_vec(&telling).map_err(|error| error.to_string())
}
