//! Embeddings and rerank between dialects: which lane an attempt takes, and what it sends and brings back.
//!
//! As with conversations the client's own bytes go to a provider that speaks the client's dialect; else the call goes
//! through the small form of `providers::vectors`. Where a provider has several ways in, its own comes first, and the
//! one of OpenAI's dialect where its own could not be asked (Cohere wants to know what vectors are for).

use std::borrow::Cow;

use bytes::Bytes;
use policy::{Deployment, Provider, VectorShape};
use providers::blocks::{Refused, Written};
use providers::dialects::{Dialect, Unanswered};
use providers::request::{Operation, Raw};
use providers::vectors::{Shape, embed, rerank};

use crate::exchange::Exchange;
use crate::lanes::{Body, Lane, NoAnswer, Whole, dialects_of, refused};
use crate::refusal::{Code, Refusal};
use crate::upstream::Upstream;

/// A request in the form between dialects, read once for all attempts.
#[derive(Debug)]
pub(crate) enum Parsed {
    Embed(embed::Ask),
    Rerank(rerank::Ask),
}

/// The shape of an endpoint, in the words of the codecs.
const fn shape(door: VectorShape) -> Shape {
    match door {
        VectorShape::Cohere => Shape::Cohere,
        VectorShape::Jina => Shape::Jina,
    }
}

/// The lane of an attempt; `None` where something else is asked.
pub(crate) fn decide(
    exchange: &mut Exchange,
    deployment: &Deployment,
    body: &Bytes,
) -> Option<Result<Lane, Box<Refusal>>> {
    let provider = &deployment.provider;
    let client = match exchange.operation {
        Operation::Embeddings if embed::is_jinas(body) => Shape::Jina,
        Operation::Embeddings => Shape::OpenAi,
        Operation::Raw(Raw::Embed) => Shape::Cohere,
        Operation::Raw(Raw::EmbedContent | Raw::BatchEmbedContents) => Shape::Gemini,
        Operation::Raw(raw @ (Raw::Rerank | Raw::RerankV2)) => {
            return Some(decide_rerank(exchange, raw, provider, body));
        }
        _ => return None,
    };
    Some(decide_embed(exchange, client, provider, body))
}

fn decide_rerank(
    exchange: &Exchange,
    raw: Raw,
    provider: &Provider,
    body: &Bytes,
) -> Result<Lane, Box<Refusal>> {
    let coheres = exchange.raw.as_ref().is_some_and(|wanted| wanted.by_cohere) || rerank::is_coheres(body);
    let client = match raw {
        Raw::RerankV2 => Shape::Cohere,
        _ if coheres => Shape::CohereV1,
        _ => Shape::Jina,
    };
    let spoken = match &provider.rerank {
        Some(door) => shape(door.shape),
        None if speaks_openai(provider) => Shape::Jina,
        None => return Err(none(exchange, provider)),
    };
    Ok(if client == spoken { Lane::Same } else { Lane::Vectors { client, provider: spoken } })
}

fn decide_embed(
    exchange: &mut Exchange,
    client: Shape,
    provider: &Provider,
    body: &Bytes,
) -> Result<Lane, Box<Refusal>> {
    let own = provider.embed.as_ref().map(|door| shape(door.shape));
    let (openai, google) = (speaks_openai(provider), dialects_of(provider).contains(&Dialect::Gemini));
    let known = &*provider.vendor != "custom";
    let same = match client {
        Shape::OpenAi if own == Some(Shape::Jina) => embed::suits_jina(body),
        Shape::OpenAi => openai,
        // A server that nobody knows may understand Jina's words.
        Shape::Jina => own == Some(Shape::Jina) || (openai && !known),
        Shape::Gemini => google,
        Shape::Cohere | Shape::CohereV1 => own == Some(Shape::Cohere),
    };
    if same {
        return Ok(Lane::Same);
    }
    let gemini_first = dialects_of(provider).first() == Some(&Dialect::Gemini);
    let spoken = match own {
        Some(Shape::Cohere) if openai && !embed::suits_cohere(asked_embed(exchange, client, body)?) => {
            Shape::OpenAi
        }
        Some(own) => own,
        None if gemini_first => Shape::Gemini,
        None if openai => Shape::OpenAi,
        None if google => Shape::Gemini,
        None => return Err(none(exchange, provider)),
    };
    Ok(Lane::Vectors { client, provider: spoken })
}

fn speaks_openai(provider: &Provider) -> bool {
    provider.endpoint(policy::Dialect::OpenAi).is_some()
}

fn none(exchange: &Exchange, provider: &Provider) -> Box<Refusal> {
    let (name, what) = (&provider.name, exchange.endpoint());
    let message = format!("provider `{name}` has no {what}; ask a model of another provider");
    Refusal::new(Code::InvalidRequest, message).about("model")
}

fn asked<'e>(exchange: &'e mut Exchange, client: Shape, body: &Bytes) -> Result<&'e Parsed, Box<Refusal>> {
    if exchange.vectors.is_none() {
        if let Some(held) = &mut exchange.held {
            held.translated(body.len() as u64)?;
        }
        let read = match exchange.operation {
            Operation::Raw(Raw::Rerank | Raw::RerankV2) => rerank::read_request(body).map(Parsed::Rerank),
            operation => {
                let single = operation == Operation::Raw(Raw::EmbedContent);
                embed::read_request(client, body, single).map(Parsed::Embed)
            }
        };
        exchange.vectors = Some(Box::new(read.map_err(crate::raw::bad)?));
    }
    match exchange.vectors.as_deref() {
        Some(parsed) => Ok(parsed),
        None => Err(Refusal::new(Code::InternalError, "nothing was asked")),
    }
}

fn asked_embed<'e>(
    exchange: &'e mut Exchange,
    client: Shape,
    body: &Bytes,
) -> Result<&'e embed::Ask, Box<Refusal>> {
    match asked(exchange, client, body)? {
        Parsed::Embed(ask) => Ok(ask),
        Parsed::Rerank(_) => Err(Refusal::new(Code::InternalError, "nothing was asked")),
    }
}

/// The body in the provider's dialect. What it cannot be told is noted in the exchange.
pub(crate) fn written(
    exchange: &mut Exchange,
    (client, provider): (Shape, Shape),
    deployment: &Deployment,
    body: &Bytes,
) -> Result<Body, Box<Refusal>> {
    let model = &deployment.upstream_model;
    let write: Result<Written, Refused> = match asked(exchange, client, body)? {
        Parsed::Embed(ask) => embed::write_request(provider, client, ask, model),
        Parsed::Rerank(ask) => rerank::write_request(provider, ask, model),
    };
    let written = write.map_err(|problem| refused(deployment, problem))?;
    exchange.dropped = written.dropped.into_iter().map(|param| param.0).collect();
    Ok(Body { bytes: written.body.into(), headers: written.headers })
}

/// Where a provider's own endpoint of this kind is, in either lane; `None`: where its dialect has it.
pub(crate) fn own_path(operation: Operation, spoken: Option<Shape>, provider: &Provider) -> Option<String> {
    let base = || provider.endpoint(policy::Dialect::OpenAi).map(|(base, _)| format!("{base}/rerank"));
    match operation {
        Operation::Raw(Raw::Rerank | Raw::RerankV2) => {
            provider.rerank.as_ref().map(|door| door.path.to_string()).or_else(base)
        }
        Operation::Embeddings | Operation::Raw(_) => {
            let own = |shape: Shape| matches!(shape, Shape::Cohere | Shape::Jina);
            let door = provider.embed.as_ref().filter(|_| spoken.is_none_or(own));
            door.map(|door| door.path.to_string())
        }
        _ => None,
    }
}

/// The request target of an attempt.
pub(crate) fn target<'u>(
    upstream: &'u Upstream,
    exchange: &Exchange,
    spoken: Shape,
    deployment: &Deployment,
) -> Result<Cow<'u, str>, Box<Refusal>> {
    if let Some(path) = own_path(exchange.operation, Some(spoken), &deployment.provider) {
        return Ok(Cow::Owned(path));
    }
    match spoken {
        Shape::Gemini => upstream.gemini("batchEmbedContents", &deployment.upstream_model),
        _ => upstream.embeddings(deployment),
    }
}

/// Reads a whole answer, and writes it anew for the client.
pub(crate) fn whole(
    exchange: &Exchange,
    (client, provider): (Shape, Shape),
    body: &Bytes,
) -> Result<Whole, NoAnswer> {
    let id = exchange.id.to_string();
    let model = &*exchange.model_asked;
    let (written, counted) = match exchange.vectors.as_deref() {
        Some(Parsed::Embed(ask)) => {
            let answer = embed::read_answer(provider, ask, body).map_err(no_answer)?;
            let reply = embed::Reply { id: &id, model, ask };
            (embed::write_answer(client, &answer, &reply), answer.counted)
        }
        Some(Parsed::Rerank(ask)) => {
            let answer = rerank::read_answer(body).map_err(no_answer)?;
            let reply = rerank::Reply { id: &id, model, ask };
            (rerank::write_answer(client, &answer, &reply), answer.counted)
        }
        None => return Err(NoAnswer::Other("nothing was asked".to_owned())),
    };
    Ok(Whole {
        body: written.map_err(NoAnswer::Other)?.into(),
        usage: counted.usage(),
        output_estimate: 0,
        finish_reason: None,
    })
}

fn no_answer(problem: Unanswered) -> NoAnswer {
    match problem.error {
        Some(_) => NoAnswer::Error,
        None => NoAnswer::Other(problem.message),
    }
}
